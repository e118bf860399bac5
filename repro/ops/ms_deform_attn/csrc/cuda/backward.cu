// The gradients of multi-scale deformable attention with respect to value, locations and weights.
//
// A group of lanes (device.h) has the gradient of its query's head in registers. For each sample it reads the four
// corners again, takes their products with that gradient, sums three numbers over the channels by shuffles, and the lane
// that owns the point writes them: no atomics, no shared memory, always in one order. Value gradients are added to memory
// as they arise, so in no fixed order; value_gradient.cu has the other way.
//
// The additions bound this kernel: four corners of D channels for each sample, in the second cache. Compute capability
// 9.0 adds 16 bytes with one instruction; before, a group adds neighbouring words of 4 bytes, so that each instruction
// still fills whole 32-byte sectors. Half types are summed in float32 and cast once at the end (ops.cpp): a pixel of the
// encoder receives a hundred numbers and more, and in bfloat16's 8 bits the small ones of them would vanish; 2-byte
// additions would halve the traffic, at 3 decimal digits less.
#include "device.h"

namespace repro::msda::cuda {
namespace {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
inline constexpr int kWords = 4;  // that one instruction adds
#else
inline constexpr int kWords = 1;
#endif

__device__ __forceinline__ void add_words(float* to, const float (&words)[4]) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
  // atomicAdd(float4*) would do, but is compiled to the instruction that brings the old numbers back.
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(to), "f"(words[0]), "f"(words[1]), "f"(words[2]), "f"(words[3])
               : "memory");
#else
  for (int word = 0; word < 4; ++word) atomicAdd(to + word, words[word]);
#endif
}
template <class Sum>
__device__ __forceinline__ void add_words(Sum* to, const Sum (&words)[1]) {
  atomicAdd(to, words[0]);
}

// In value gradients a lane does not own N successive channels but, for each of N / kWide instructions, kWide of them,
// next to its neighbours'. The channel of its k-th number, from the start of the slice:
template <class Sum, int N, int G>
struct Scatter {
  static constexpr int kWide = sizeof(Sum) == 4 && N % kWords == 0 ? kWords : 1;

  static __device__ __forceinline__ int channel(int lane, int k) {
    return (k / kWide * G + lane) * kWide + k % kWide;
  }

  // Adds scale * numbers to a slice of which `channels` exist.
  static __device__ __forceinline__ void add(Sum* slice, int lane, int channels, Sum scale, const Sum (&numbers)[N]) {
#pragma unroll
    for (int k = 0; k < N; k += kWide) {
      Sum words[kWide];
#pragma unroll
      for (int word = 0; word < kWide; ++word) words[word] = scale * numbers[k + word];
      if (channel(lane, k) < channels) add_words(slice + channel(lane, k), words);
    }
  }
};

// The gradient of the output: `read`, this lane's channels; `scattered`, those whose value gradients it adds up.
template <class T, int N, int G>
struct Upstream {
  using Sum = SumOf<T>;
  Sum read[N], scattered[N];

  __device__ __forceinline__ void load_slice(const T* slice, int lane, int channels, bool active) {
    widen(load_if<T, N>(active && lane * N < channels, slice + lane * N), read);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const int channel = Scatter<Sum, N, G>::channel(lane, k);
      scattered[k] = active && channel < channels ? to_sum(slice[channel]) : Sum(0);
    }
  }
};

template <int G, class Sum>
__device__ __forceinline__ Sum sum_over_group(Sum number) {
#pragma unroll
  for (int distance = G / 2; distance > 0; distance /= 2) number += __shfl_xor_sync(kWarp, number, distance, G);
  return number;
}

// With respect to the weight, and to the pixel coordinates before multiplication with the weight.
template <class Sum>
struct Slopes {
  Sum weight, x, y;
};

template <bool kBilinear, class Sum>
__device__ __forceinline__ Slopes<Sum> slopes_of(Sum x, Sum y, const Sum (&products)[kBilinear ? 4 : 1]) {
  if constexpr (kBilinear) {
    const Sum above = products[0] + x * (products[1] - products[0]);
    const Sum below = products[2] + x * (products[3] - products[2]);
    return {above + y * (below - above),
            (Sum(1) - y) * (products[1] - products[0]) + y * (products[3] - products[2]), below - above};
  }
  return {products[0], Sum(0), Sum(0)};
}

__device__ __forceinline__ void store_location(float* to, std::int64_t index, float x, float y) {
  __stcs(reinterpret_cast<float2*>(to) + index, make_float2(x, y));
}
__device__ __forceinline__ void store_location(double* to, std::int64_t index, double x, double y) {
  __stcs(reinterpret_cast<double2*>(to) + index, make_double2(x, y));
}

template <class T>
struct Gradients {
  const T* output;
  SumOf<T>* value;      // may be null
  SumOf<T>* locations;  // not written in the discrete modes
  void* weights;
};

template <class T, int N, int G, bool kBilinear, bool kExact>
__global__ void __launch_bounds__(kMaxThreads, kBlocksPerProcessor<kExact>)
    backward_kernel(const __grid_constant__ Problem problem, const Tiling tiling, const Inputs inputs,
                    const Gradients<T> gradients) {
  using Sum = SumOf<T>;
  constexpr int kCorners = kBilinear ? 4 : 1;
  const Place<G> place(tiling);
  // In an encoder every token asks.
  const bool in_order = problem.queries != problem.tokens || !place.active;
  const int query = in_order ? place.row : in_strips(problem, place.row);
  const int width = problem.heads * problem.channels, first_channel = place.head * problem.channels;
  const int token_bytes = width * static_cast<int>(sizeof(T)), sum_bytes = width * static_cast<int>(sizeof(Sum));
  for (int image = blockIdx.y; image < problem.batch; image += gridDim.y) {
    const std::int64_t pair =
        (static_cast<std::int64_t>(image) * problem.queries + query) * problem.heads + place.head;
    const std::int64_t start = static_cast<std::int64_t>(image) * problem.tokens * width + first_channel;
    const char* value = reinterpret_cast<const char*>(static_cast<const T*>(inputs.value) + start);
    const char* sums = reinterpret_cast<const char*>(gradients.value + (gradients.value ? start : 0));
    const T* output = gradients.output + pair * problem.channels;
    Upstream<T, N, G> upstream;
    if constexpr (kExact) upstream.load_slice(output, place.lane, N * G, place.active);

    for (int first = 0; first < problem.points; first += G) {
      const std::int64_t index = pair * problem.points + first + place.lane;
      const bool owns = place.active && first + place.lane < problem.points;
      Sample<Sum> mine = {};
      Sum attention = 0;
      if (owns) {
        const auto location = location_at(static_cast<const Sum*>(inputs.locations), index);
        attention = weight_at<T>(inputs, index);
        mine = sample_at<kBilinear>(level_of_point(problem, first + place.lane), location.x, location.y);
      }
      Slopes<Sum> result = {};
      const int count = min(G, problem.points - first);
      for (int point = 0; point < count; ++point) {
        const int token = __shfl_sync(kWarp, mine.token, point, G);
        const unsigned inside = __shfl_sync(kWarp, mine.inside, point, G);
        const Sum weight = __shfl_sync(kWarp, attention, point, G);
        const int row_tokens = kBilinear ? __shfl_sync(kWarp, mine.width, point, G) : 0;
        const Sum x = kBilinear ? __shfl_sync(kWarp, mine.x, point, G) : Sum(0);
        const Sum y = kBilinear ? __shfl_sync(kWarp, mine.y, point, G) : Sum(0);
        Sum products[kCorners] = {};
        for (int slice = 0; slice < (kExact ? 1 : problem.channels); slice += N * G) {
          const int channels = kExact ? N * G : problem.channels - slice;
          if constexpr (!kExact) upstream.load_slice(output + slice, place.lane, channels, place.active);
          Pack<T, N> corners[kCorners];
#pragma unroll
          for (int c = 0; c < kCorners; ++c) {
            const char* from = token_at(value, corner_token(token, row_tokens, c), token_bytes);
            corners[c] = load_if<T, N>((inside >> c & 1) && place.lane * N < channels,
                                       from + (slice + place.lane * N) * sizeof(T));
          }
#pragma unroll
          for (int c = 0; c < kCorners; ++c) {
            Sum numbers[N];
            widen(corners[c], numbers);
#pragma unroll
            for (int n = 0; n < N; ++n) products[c] += upstream.read[n] * numbers[n];
          }
          if (gradients.value) {
#pragma unroll
            for (int c = 0; c < kCorners; ++c) {
              if (!(inside >> c & 1)) continue;
              auto* to = reinterpret_cast<Sum*>(
                  const_cast<char*>(token_at(sums, corner_token(token, row_tokens, c), sum_bytes)));
              const Sum scale = weight * corner_share(x, y, c);
              Scatter<Sum, N, G>::add(to + slice, place.lane, channels, scale, upstream.scattered);
            }
          }
        }
        Slopes<Sum> slopes = slopes_of<kBilinear>(x, y, products);
        slopes.weight = sum_over_group<G>(slopes.weight);
        if (kBilinear) slopes.x = sum_over_group<G>(slopes.x), slopes.y = sum_over_group<G>(slopes.y);
        if (place.lane == point) result = slopes;
      }
      if (!owns) continue;
      if (inputs.weights_as_value) {
        assign(static_cast<T*>(gradients.weights)[index], result.weight);
      } else {
        static_cast<Sum*>(gradients.weights)[index] = result.weight;
      }
      if constexpr (kBilinear) {
        store_location(gradients.locations, index, attention * result.x * Sum(mine.width),
                       attention * result.y * Sum(mine.height));
      }
    }
  }
}

}  // namespace

cudaError_t backward(const Problem& problem, const Inputs& inputs, const void* grad_output, void* grad_value,
                     void* grad_locations, void* grad_weights, int multiprocessors, cudaStream_t stream) {
  return with_type(inputs.type, [&]<class T>() {
    return with_channels<T>(problem.channels, [&]<int N, int G, bool kExact>() {
      Launch launch;
      const cudaError_t error =
          plan_launch<T, N, G>(problem, problem.queries, problem.batch, multiprocessors, stream, launch);
      if (error != cudaSuccess) return error;
      const Gradients<T> gradients{static_cast<const T*>(grad_output), static_cast<SumOf<T>*>(grad_value),
                                   static_cast<SumOf<T>*>(grad_locations), grad_weights};
      const auto kernel =
          problem.bilinear ? backward_kernel<T, N, G, true, kExact> : backward_kernel<T, N, G, false, kExact>;
      return cudaLaunchKernelEx(&launch.config, kernel, problem, launch.tiling, inputs, gradients);
    });
  });
}

}  // namespace repro::msda::cuda
