// For x86-64 processors since 2013: vectors of 32 bytes and fused multiply-add.
#if defined(__x86_64__)
#define REPRO_VECTOR_BYTES 32
#define REPRO_VARIANT avx2
#include "kernels_impl.h"
#endif
