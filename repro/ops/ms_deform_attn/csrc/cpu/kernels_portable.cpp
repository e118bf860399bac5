// For any processor: vectors of 16 bytes, which every x86-64 and aarch64 has.
#define REPRO_VECTOR_BYTES 16
#define REPRO_VARIANT portable
#include "kernels_impl.h"
