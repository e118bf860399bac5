// For x86-64 processors with AVX-512 (F, VL, DQ, BW): vectors of 64 bytes.
#if defined(__x86_64__)
#define REPRO_VECTOR_BYTES 64
#define REPRO_VARIANT avx512
#include "kernels_impl.h"
#endif
