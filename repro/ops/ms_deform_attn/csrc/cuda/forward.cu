// The weighted sums of multi-scale deformable attention. What a group of lanes does: device.h.
//
// What moves, for each sample of a head: 12 bytes of location and weight, from memory, once; four corners of D channels,
// from the caches. Nothing else leaves the registers but the output. Bounded by the corners (L1, then L2), so several
// loads of 16 bytes are under way at once, and blocks are laid out for reuse in L1.
#include "device.h"

namespace repro::msda::cuda {
namespace {

// What a lane works out for its own point: where the corners are, and attention times share, 0 outside the map.
template <class Sum, int kCorners>
struct Taps {
  int token, width;
  Sum weight[kCorners];
};

template <class T, bool kBilinear, class Sum = SumOf<T>, int kCorners = kBilinear ? 4 : 1>
__device__ __forceinline__ Taps<Sum, kCorners> taps_of(const Problem& problem, const Inputs& inputs, std::int64_t pair,
                                                       int point) {
  const std::int64_t index = pair * problem.points + point;
  const auto location = location_at(static_cast<const Sum*>(inputs.locations), index);
  const Sum attention = weight_at<T>(inputs, index);
  const auto sample = sample_at<kBilinear>(level_of_point(problem, point), location.x, location.y);
  Taps<Sum, kCorners> taps{sample.token, sample.width, {}};
#pragma unroll
  for (int corner = 0; corner < kCorners; ++corner) {
    const Sum share = kBilinear ? corner_share(sample.x, sample.y, corner) : Sum(1);
    taps.weight[corner] = sample.inside >> corner & 1 ? attention * share : Sum(0);
  }
  // A location that is not finite makes the output NaN: what diverged must be seen. It weighs some token, the first, so.
  if (kBilinear && !(sample.inside & 1)) taps.weight[0] = location.x * Sum(0) + location.y * Sum(0);
  return taps;
}

// The taps of a group's `lane`, for all its lanes.
template <int G, class Sum, int kCorners>
__device__ __forceinline__ Taps<Sum, kCorners> told_by(int lane, const Taps<Sum, kCorners>& mine) {
  Taps<Sum, kCorners> told;
  told.token = __shfl_sync(kWarp, mine.token, lane, G);
  told.width = kCorners > 1 ? __shfl_sync(kWarp, mine.width, lane, G) : 0;
#pragma unroll
  for (int corner = 0; corner < kCorners; ++corner) {
    told.weight[corner] = __shfl_sync(kWarp, mine.weight[corner], lane, G);
  }
  return told;
}

template <class T, int N, int G, bool kBilinear, bool kExact>
__global__ void __launch_bounds__(kMaxThreads, kBlocksPerProcessor<kExact>)
    forward_kernel(const __grid_constant__ Problem problem, const Tiling tiling, const Inputs inputs, T* output) {
  using Sum = SumOf<T>;
  constexpr int kCorners = kBilinear ? 4 : 1;
  constexpr int kPoints = kBilinear ? 2 : (G < 4 ? G : 4);  // read at once; divides G
  const Place<G> place(tiling);
  // In an encoder every token asks.
  const bool in_order = problem.queries != problem.tokens || !place.active;
  const int query = in_order ? place.row : in_strips(problem, place.row);
  const int token_bytes = problem.heads * problem.channels * static_cast<int>(sizeof(T));
  for (int image = blockIdx.y; image < problem.batch; image += gridDim.y) {
    const std::int64_t pair =
        (static_cast<std::int64_t>(image) * problem.queries + query) * problem.heads + place.head;
    const char* value = static_cast<const char*>(inputs.value) + image * problem.tokens * static_cast<std::int64_t>(token_bytes);
    for (int slice = 0; slice < (kExact ? 1 : problem.channels); slice += N * G) {
      const int channel = slice + place.lane * N;
      const bool owns = place.active && (kExact || channel < problem.channels);
      const char* base = value + (place.head * problem.channels + channel) * static_cast<int>(sizeof(T));
      Sum sums[N] = {};
      for (int first = 0; first < problem.points; first += G) {
        Taps<Sum, kCorners> mine = {};
        if (place.active && first + place.lane < problem.points) {
          mine = taps_of<T, kBilinear>(problem, inputs, pair, first + place.lane);
        }
        const int count = min(G, problem.points - first);
        for (int point = 0; point < count; point += kPoints) {  // lanes beyond the last point tell weights of 0
          // In three steps, so that all loads are under way before the first sum waits for one.
          Taps<Sum, kCorners> taps[kPoints];
#pragma unroll
          for (int k = 0; k < kPoints; ++k) taps[k] = told_by<G>(point + k, mine);
          Pack<T, N> corners[kPoints][kCorners];
#pragma unroll
          for (int k = 0; k < kPoints; ++k) {
#pragma unroll
            for (int c = 0; c < kCorners; ++c) {
              const int token = corner_token(taps[k].token, taps[k].width, c);
              corners[k][c] =
                  load_if<T, N>(owns && taps[k].weight[c] != Sum(0), token_at(base, token, token_bytes));
            }
          }
#pragma unroll
          for (int k = 0; k < kPoints; ++k) {
#pragma unroll
            for (int c = 0; c < kCorners; ++c) {
              Sum numbers[N];
              widen(corners[k][c], numbers);
#pragma unroll
              for (int n = 0; n < N; ++n) sums[n] += taps[k].weight[c] * numbers[n];
            }
          }
        }
      }
      if (owns) store(output + pair * problem.channels + channel, sums);
    }
  }
}

}  // namespace

cudaError_t forward(const Problem& problem, const Inputs& inputs, void* output, int multiprocessors,
                    cudaStream_t stream) {
  return with_type(inputs.type, [&]<class T>() {
    return with_channels<T>(problem.channels, [&]<int N, int G, bool kExact>() {
      Launch launch;
      const cudaError_t error =
          plan_launch<T, N, G>(problem, problem.queries, problem.batch, multiprocessors, stream, launch);
      if (error != cudaSuccess) return error;
      const auto kernel =
          problem.bilinear ? forward_kernel<T, N, G, true, kExact> : forward_kernel<T, N, G, false, kExact>;
      return cudaLaunchKernelEx(&launch.config, kernel, problem, launch.tiling, inputs, static_cast<T*>(output));
    });
  });
}

}  // namespace repro::msda::cuda
