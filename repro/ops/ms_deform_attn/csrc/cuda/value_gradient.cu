// The value's gradient with equal bits for equal inputs: without atomics, each pixel gathers what it receives.
//
// 1. A sample's key is its head and the pixel of its corner 0, its bin. A level has (height + 1) * (width + 1) bins, since
//    corner 0 may be one row above or one column left of the map. Samples outside get the last key.
// 2. Sample numbers are sorted by key, stably: the order is a function of the locations alone.
// 3. A search finds where each bin starts.
// 4. A group of lanes (device.h) takes one pixel of one head. Its samples are those of four bins, in two runs of the sorted
//    numbers, since neighbours in a row have neighbouring keys. It works out their shares anew, adds up the gradients of
//    their outputs, and writes its channels once, in their type. Coarse levels, whose pixels receive most, go first.
//
// The other way, sums of whole numbers (order does not matter to them), needs a scale from the largest gradient, 8 bytes of
// buffer a channel, 8-byte atomics without a vector form (twice the traffic of float32's, eight times the instructions),
// is not exact for float64, and loses which pixels a NaN reached. Here sums are in the type of the fast kernel, so the
// error bound is that of any float sum of n terms, (n - 1) * eps * sum |term|; only the order is fixed.
// Bytes, a sample of D float32 channels: 8 location, 16 written and read again in each of 3 passes of the sort, then four
// times (4 number, 8 location, 4 weight, 4 * D gradient) from the caches. The fast kernel adds four times 4 * D by atomics
// instead: about the same traffic, so twice its time is a loose bound. Exception: a pixel's samples are summed one after
// another, by one group; many thousands on one pixel are slow.
#include <algorithm>
#include <bit>

#include "device.h"

namespace repro::msda::cuda {
namespace {

__device__ __forceinline__ int bin_of(const Level& level, int row, int column) {
  return level.first_bin + (row + 1) * (level.width + 1) + column + 1;
}

template <class Sum>
__device__ __forceinline__ Sample<Sum> sample_at(const Problem& problem, const Level& level, const Sum* locations,
                                                 std::int64_t index) {
  const auto location = location_at(locations, index);
  return problem.bilinear ? bilinear_sample(level, location.x, location.y)
                          : discrete_sample(level, location.x, location.y);
}

template <class Sum>
__global__ void __launch_bounds__(kMaxThreads)
    key_kernel(const __grid_constant__ Problem problem, const Sum* locations, int samples, int* keys, int* ids) {
  const unsigned step = gridDim.x * blockDim.x;  // unsigned: must not overflow beyond the last sample
  for (unsigned id = blockIdx.x * blockDim.x + threadIdx.x; id < static_cast<unsigned>(samples); id += step) {
    const int pair = id / problem.points, point = id - pair * problem.points;
    const int head = pair % problem.heads, image = pair / problem.heads / problem.queries;
    const Level level = level_of_point(problem, point);
    const auto sample = sample_at(problem, level, locations, id);
    const int bin = bin_of(level, sample.row, sample.column);
    keys[id] = (image * problem.heads + head) * problem.bins + bin;
    if (!sample.inside) keys[id] = problem.batch * problem.heads * problem.bins;
    ids[id] = id;
  }
}

// starts[bin]: how many keys are smaller.
__global__ void __launch_bounds__(kMaxThreads) start_kernel(const int* sorted_keys, int samples, int bins, int* starts) {
  const unsigned step = gridDim.x * blockDim.x, most = bins;  // unsigned: must not overflow beyond the last bin
  for (unsigned at = blockIdx.x * blockDim.x + threadIdx.x; at <= most; at += step) {
    const int bin = static_cast<int>(at);
    int low = 0, high = samples;
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (sorted_keys[middle] < bin) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    starts[bin] = low;
  }
}

// Two runs of sorted sample numbers, one after the other.
struct Runs {
  int first, first_size, second, size;
  __device__ __forceinline__ int at(int index) const {
    return index < first_size ? first + index : second + index - first_size;
  }
};

__device__ __forceinline__ Runs runs_of(const int* starts, const Level& level, int row, int column, bool bilinear) {
  const int bin = bin_of(level, row, column);
  if (!bilinear) return {starts[bin], starts[bin + 1] - starts[bin], 0, starts[bin + 1] - starts[bin]};
  // Corner 0 at this pixel or left of it; one row above, the same.
  const int above = bin - (level.width + 1);
  const int first = starts[above - 1], second = starts[bin - 1];
  const int first_size = starts[above + 1] - first;
  return {first, first_size, second, first_size + starts[bin + 1] - second};
}

// What a sample gives a pixel: its query and head, and attention times share.
template <class Sum>
struct Contribution {
  int pair;
  Sum weight;
};

template <class T, int N, int G, bool kExact>
__global__ void __launch_bounds__(kMaxThreads, kBlocksPerProcessor<kExact>)
    gather_kernel(const __grid_constant__ Problem problem, const Tiling tiling, const Inputs inputs,
                  const T* grad_output, const int* sorted_ids, const int* starts, T* grad_value) {
  using Sum = SumOf<T>;
  constexpr int kSamples = G < 4 ? G : 4;  // read at once; divides G
  const Place<G> place(tiling);
  const int token = place.active ? in_strips(problem, problem.tokens - 1 - place.row) : 0;
  const Level level = level_of_token(problem, token);
  const int row = (token - level.start) / max(level.width, 1), column = token - level.start - row * level.width;
  const int pair_bytes = problem.channels * static_cast<int>(sizeof(T));
  for (int image = blockIdx.y; image < problem.batch; image += gridDim.y) {
    Runs runs = {};
    if (place.active) {
      const int first_bin = (image * problem.heads + place.head) * problem.bins;
      runs = runs_of(starts + first_bin, level, row, column, problem.bilinear);
    }
    const auto contribution = [&](int index) -> Contribution<Sum> {
      if (index >= runs.size) return {0, Sum(0)};
      const int id = sorted_ids[runs.at(index)];
      const auto sample = sample_at(problem, level, static_cast<const Sum*>(inputs.locations), id);
      const int corner = problem.bilinear ? (column != sample.column) + 2 * (row != sample.row) : 0;
      return {id / problem.points, weight_at<T>(inputs, id) * corner_share(sample.x, sample.y, corner)};
    };
    for (int slice = 0; slice < (kExact ? 1 : problem.channels); slice += N * G) {
      const int channel = slice + place.lane * N;
      const bool owns = place.active && (kExact || channel < problem.channels);
      const char* base = reinterpret_cast<const char*>(grad_output + channel);
      Sum sums[N] = {};
      Contribution<Sum> next = contribution(place.lane);
      for (int first = 0; __any_sync(kWarp, first < runs.size); first += G) {
        const Contribution<Sum> mine = next;
        next = contribution(first + G + place.lane);  // on its way while these are summed
        for (int k = 0; k < G; k += kSamples) {
          Contribution<Sum> told[kSamples];
          Pack<T, N> packs[kSamples];
#pragma unroll
          for (int i = 0; i < kSamples; ++i) {
            told[i] = {__shfl_sync(kWarp, mine.pair, k + i, G), __shfl_sync(kWarp, mine.weight, k + i, G)};
          }
#pragma unroll
          for (int i = 0; i < kSamples; ++i) {
            packs[i] = load_if<T, N>(owns && first + k + i < runs.size, token_at(base, told[i].pair, pair_bytes));
          }
#pragma unroll
          for (int i = 0; i < kSamples; ++i) {
            Sum numbers[N];
            widen(packs[i], numbers);
#pragma unroll
            for (int n = 0; n < N; ++n) sums[n] += told[i].weight * numbers[n];
          }
        }
      }
      if (owns) {
        const std::int64_t pixel = static_cast<std::int64_t>(image) * problem.tokens + token;
        store(grad_value + (pixel * problem.heads + place.head) * problem.channels + channel, sums);
      }
    }
  }
}

// As many blocks as keep the device busy, for kernels that step through what is left.
cudaLaunchConfig_t stepping(std::int64_t items, int multiprocessors, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(std::min<std::int64_t>((items + kMaxThreads - 1) / kMaxThreads,
                                                                     std::int64_t{8} * multiprocessors)));
  config.blockDim = dim3(kMaxThreads);
  config.stream = stream;
  return config;
}

std::int64_t samples_of_image(const Problem& problem) {
  return static_cast<std::int64_t>(problem.queries) * problem.heads * problem.points;
}

// The images of one pass; all pointers start at its first image.
template <class T>
cudaError_t gather(const Problem& problem, const Inputs& inputs, const T* grad_output, T* grad_value,
                   const Workspace& workspace, Sort sort, int multiprocessors, cudaStream_t stream) {
  const int samples = static_cast<int>(samples_of_image(problem) * problem.batch);
  const int bins = problem.batch * problem.heads * problem.bins;
  cudaLaunchConfig_t config = stepping(samples, multiprocessors, stream);
  cudaError_t error = cudaLaunchKernelEx(&config, key_kernel<SumOf<T>>, problem,
                                         static_cast<const SumOf<T>*>(inputs.locations), samples, workspace.keys,
                                         workspace.ids);
  if (error != cudaSuccess) return error;
  sort(workspace.keys, workspace.sorted_keys, workspace.ids, workspace.sorted_ids, samples,
       std::bit_width(static_cast<unsigned>(bins)));
  config = stepping(bins + 1, multiprocessors, stream);
  error = cudaLaunchKernelEx(&config, start_kernel, static_cast<const int*>(workspace.sorted_keys), samples, bins,
                             workspace.starts);
  if (error != cudaSuccess) return error;
  return with_channels<T>(problem.channels, [&]<int N, int G, bool kExact>() {
    Launch launch;
    error = plan_launch<T, N, G>(problem, problem.tokens, problem.batch, multiprocessors, stream, launch);
    if (error != cudaSuccess) return error;
    return cudaLaunchKernelEx(&launch.config, gather_kernel<T, N, G, kExact>, problem, launch.tiling, inputs,
                              grad_output, static_cast<const int*>(workspace.sorted_ids),
                              static_cast<const int*>(workspace.starts), grad_value);
  });
}

}  // namespace

int images_per_pass(const Problem& problem) {
  constexpr std::int64_t kMost = 0x7ffffffe, kSamples = 1 << 24;  // 16 bytes of workspace each
  const std::int64_t samples = samples_of_image(problem), bins = static_cast<std::int64_t>(problem.heads) * problem.bins;
  if (samples > kMost || bins > kMost) return 0;
  const std::int64_t wanted = std::min<std::int64_t>({problem.batch, kSamples / samples, kMost / bins});
  return static_cast<int>(std::max<std::int64_t>(wanted, 1));
}

cudaError_t value_gradient(const Problem& problem, const Inputs& inputs, const void* grad_output, void* grad_value,
                           const Workspace& workspace, Sort sort, int multiprocessors, cudaStream_t stream) {
  return with_type(inputs.type, [&]<class T>() {
    const std::int64_t samples = samples_of_image(problem);
    for (int first = 0; first < problem.batch; first += workspace.images) {
      Problem pass = problem;
      pass.batch = std::min(workspace.images, problem.batch - first);
      Inputs from = inputs;
      from.locations = static_cast<const SumOf<T>*>(inputs.locations) + 2 * samples * first;
      from.weights = static_cast<const char*>(inputs.weights) +
                     samples * first * (inputs.weights_as_value ? sizeof(T) : sizeof(SumOf<T>));
      const std::int64_t output = static_cast<std::int64_t>(problem.queries) * problem.heads * problem.channels * first;
      const std::int64_t value = static_cast<std::int64_t>(problem.tokens) * problem.heads * problem.channels * first;
      const cudaError_t error = gather<T>(pass, from, static_cast<const T*>(grad_output) + output,
                                          static_cast<T*>(grad_value) + value, workspace, sort, multiprocessors, stream);
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
}

}  // namespace repro::msda::cuda
