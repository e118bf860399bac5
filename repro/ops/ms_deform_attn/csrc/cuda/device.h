// What the kernels share: element types, vectors of channels, and which thread works on what.
//
// A group of G neighbouring lanes works on one (image, query, head); a lane owns N neighbouring channels, 16 bytes. The
// lanes of a group read one point's location and weight each and work out where it reads, once; then the group goes
// through the points, each told by its lane with shuffles. So locations and weights are read once, by neighbouring lanes
// from neighbouring addresses, and the arithmetic of coordinates is shared by all channels of a head.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "sample.h"

namespace repro::msda::cuda {

inline constexpr unsigned kWarp = 0xffffffffu;
inline constexpr int kMaxThreads = 256;
// Room for 80 registers a thread, and so for the eight loads of two points. Left to itself the compiler takes 32 to 40 and
// waits for one load before it asks for the next; many loads of few warps hide more than few loads of many. The kernels
// for any number of channels, and those for float64, need more.
template <bool kExact>
inline constexpr int kBlocksPerProcessor = kExact ? 3 : 2;

__device__ __forceinline__ float to_sum(float number) { return number; }
__device__ __forceinline__ double to_sum(double number) { return number; }
__device__ __forceinline__ float to_sum(__half number) { return __half2float(number); }
__device__ __forceinline__ float to_sum(__nv_bfloat16 number) { return __bfloat162float(number); }

template <class T>
using SumOf = decltype(to_sum(T{}));

__device__ __forceinline__ void assign(float& to, float number) { to = number; }
__device__ __forceinline__ void assign(double& to, double number) { to = number; }
__device__ __forceinline__ void assign(__half& to, float number) { to = __float2half_rn(number); }
__device__ __forceinline__ void assign(__nv_bfloat16& to, float number) { to = __float2bfloat16_rn(number); }

// N channels; moved by one instruction where they are 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <class T, int N>
__device__ __forceinline__ void widen(const Pack<T, N>& pack, SumOf<T> (&numbers)[N]) {
#pragma unroll
  for (int n = 0; n < N; ++n) numbers[n] = to_sum(pack.at[n]);
}
// A bfloat16 is the upper half of a float: one instruction each.
__device__ __forceinline__ void widen(const Pack<__nv_bfloat16, 8>& pack, float (&numbers)[8]) {
  const uint4& bits = reinterpret_cast<const uint4&>(pack);
  const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    numbers[2 * word] = __uint_as_float(words[word] << 16);
    numbers[2 * word + 1] = __uint_as_float(words[word] & 0xffff0000u);
  }
}

// Zeros unless `wanted`. Through the read-only path, which keeps it in the first cache: neighbouring queries read the same
// pixels. As an instruction with a predicate: of a C++ condition the compiler makes a sequence that waits for each load
// before it asks for the next one or the one after it.
template <class T, int N>
__device__ __forceinline__ Pack<T, N> load_if(bool wanted, const void* from) {
  Pack<T, N> pack = {};
#if defined(__CUDACC__)
  if constexpr (sizeof(pack) == 16) {
    uint4& bits = reinterpret_cast<uint4&>(pack);
    asm volatile(
        "{\n"
        ".reg .pred wanted;\n"
        "setp.ne.u32 wanted, %5, 0;\n"
        "mov.u32 %0, 0; mov.u32 %1, 0; mov.u32 %2, 0; mov.u32 %3, 0;\n"
        "@wanted ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];\n"
        "}"
        : "=&r"(bits.x), "=&r"(bits.y), "=&r"(bits.z), "=&r"(bits.w)
        : "l"(from), "r"(static_cast<unsigned>(wanted)));
    return pack;
  }
#endif
  if (wanted) pack = *static_cast<const Pack<T, N>*>(from);
  return pack;
}

template <class T, int N>
__device__ __forceinline__ void store(T* to, const SumOf<T> (&numbers)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int n = 0; n < N; ++n) assign(pack.at[n], numbers[n]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// One multiply-add, safe beyond 2^31 elements; the compiler would widen the factors first and take four.
__device__ __forceinline__ const char* token_at(const char* base, int token, int token_bytes) {
#if defined(__CUDACC__)
  const char* address;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(address) : "r"(token), "r"(token_bytes), "l"(base));
  return address;
#else
  return base + static_cast<std::int64_t>(token) * token_bytes;
#endif
}

// Locations and weights are read once: not to push values out of the caches.
__device__ __forceinline__ float2 location_at(const float* locations, std::int64_t index) {
  return __ldcs(reinterpret_cast<const float2*>(locations) + index);
}
__device__ __forceinline__ double2 location_at(const double* locations, std::int64_t index) {
  return __ldcs(reinterpret_cast<const double2*>(locations) + index);
}

template <class T>
__device__ __forceinline__ SumOf<T> weight_at(const Inputs& inputs, std::int64_t index) {
  if (inputs.weights_as_value) return to_sum(static_cast<const T*>(inputs.weights)[index]);
  return static_cast<const SumOf<T>*>(inputs.weights)[index];
}

// How blocks are laid over rows (queries, or tokens) and heads. A block takes `bundle` heads, as many as fill the 128
// bytes of a cache line, of as many successive rows as it has room for: neighbours in the image, which read the same
// pixels of these heads, so that the first cache serves most of the four corners. Taking all heads of few rows instead
// shares little: of the encoder's corners, 79 % would be read for the first time in their block, not 35 % (in_strips).
struct Tiling {
  int bundle_bits;  // 2^bits heads
  int bundles;      // of a row
  int rows;         // in all
};

template <int G>
struct Place {
  int lane, row, head;
  bool active;

  __device__ __forceinline__ explicit Place(const Tiling& tiling) {
    const int group = threadIdx.x / G, groups = blockDim.x / G;
    const int tile = blockIdx.x / tiling.bundles, bundle = blockIdx.x % tiling.bundles;
    lane = threadIdx.x % G;
    head = (bundle << tiling.bundle_bits) + (group & ((1 << tiling.bundle_bits) - 1));
    row = tile * (groups >> tiling.bundle_bits) + (group >> tiling.bundle_bits);
    active = row < tiling.rows;
  }
};

struct Launch {
  Tiling tiling;
  cudaLaunchConfig_t config;
};

// As many blocks as there are rows and heads of all images; smaller ones where they would not fill the device.
template <class T, int N, int G>
cudaError_t plan_launch(const Problem& problem, int rows, int images, int multiprocessors, cudaStream_t stream,
                        Launch& launch) {
  int bits = 0;
  while ((problem.heads % (2 << bits)) == 0 && (G << (bits + 1)) <= 32 &&
         (problem.channels * static_cast<int>(sizeof(T)) << (bits + 1)) <= 128) {
    ++bits;
  }
  launch.tiling = {bits, problem.heads >> bits, rows};
  std::int64_t blocks = 0;
  int threads = kMaxThreads;
  for (;; threads /= 2) {
    const int tile = threads / G >> bits;
    blocks = (static_cast<std::int64_t>(rows) + tile - 1) / tile * launch.tiling.bundles;
    if (threads == 64 || blocks * images >= 2 * multiprocessors) break;
  }
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  launch.config = {};
  launch.config.gridDim = dim3(static_cast<unsigned>(blocks), images < 65535 ? images : 65535);
  launch.config.blockDim = dim3(threads);
  launch.config.stream = stream;
  return cudaSuccess;
}

// Calls work.operator()<N, G, kExact>(): N channels a lane, G lanes a group. `kExact`: these are all channels of a head;
// otherwise the group takes them in slices of N * G.
template <class T, class Work>
cudaError_t with_channels(int channels, Work work) {
  constexpr int N = 16 / static_cast<int>(sizeof(T));
  if constexpr (sizeof(T) <= 4) {
    if (channels == 16) return work.template operator()<N, 16 / N, true>();
    if (channels == 32) return work.template operator()<N, 32 / N, true>();
    if (channels == 64) return work.template operator()<N, 64 / N, true>();
  }
  if (channels % N == 0) return work.template operator()<N, 8, false>();
  return work.template operator()<1, 8, false>();
}

// Calls work.operator()<T>().
template <class Work>
cudaError_t with_type(Type type, Work work) {
  switch (type) {
    case Type::float32: return work.template operator()<float>();
    case Type::float64: return work.template operator()<double>();
    case Type::float16: return work.template operator()<__half>();
    case Type::bfloat16: return work.template operator()<__nv_bfloat16>();
  }
  return cudaErrorInvalidValue;
}

}  // namespace repro::msda::cuda
