// What the test calls through ctypes: the launch functions, with plain numbers.
#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels.h"

using namespace repro::msda::cuda;

namespace {

void stable_sort(const int* keys, int* sorted_keys, const int* ids, int* sorted_ids, std::int64_t count, int bits) {
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] < keys[b]; });
  for (std::int64_t i = 0; i < count; ++i) {
    sorted_keys[i] = keys[order[i]];
    sorted_ids[i] = ids[order[i]];
    if (sorted_keys[i] >> bits) std::abort();
  }
}

}  // namespace

// sizes: B, S, M, D, Q, P, levels, bilinear, multiprocessors, type, weights_as_value; each level: first point, height,
// width, last column. `sum_bytes`: of the value's gradient where it is added up by atomics. `most_images`: in a pass of the
// deterministic value gradient; 0 takes atomics.
extern "C" int run(const int* sizes, const int* levels, const void* const* inputs, void* const* outputs,
                   long sum_bytes, int most_images) {
  Problem problem{};
  problem.batch = sizes[0], problem.tokens = sizes[1], problem.heads = sizes[2], problem.channels = sizes[3];
  problem.queries = sizes[4], problem.points = sizes[5], problem.levels = sizes[6], problem.bilinear = sizes[7];
  int token = 0;
  for (int index = 0; index < kMaxLevels; ++index) {
    const int* level = levels + 4 * index;
    if (index >= problem.levels) {
      problem.level[index].first_point = 0x7fffffff;
      continue;
    }
    problem.level[index] = {level[0], level[1], level[2], level[3], token, problem.bins};
    token += level[1] * level[2];
    problem.bins += (level[1] + 1) * (level[2] + 1);
  }
  const int multiprocessors = sizes[8];
  const Inputs from{static_cast<Type>(sizes[9]), inputs[0], inputs[1], inputs[2], sizes[10] != 0};
  emulator::first_sum = outputs[1];
  emulator::last_sum = static_cast<char*>(outputs[1]) + sum_bytes;
  int error = forward(problem, from, outputs[0], multiprocessors, nullptr);
  error |= backward(problem, from, inputs[3], most_images ? nullptr : outputs[1], outputs[2], outputs[3],
                    multiprocessors, nullptr);
  if (!most_images) return error;
  const int images = std::min(images_per_pass(problem), most_images);
  const std::size_t samples = static_cast<std::size_t>(images) * problem.queries * problem.heads * problem.points;
  std::vector<int> keys(samples), sorted_keys(samples), ids(samples), sorted_ids(samples);
  std::vector<int> starts(static_cast<std::size_t>(images) * problem.heads * problem.bins + 1);
  return error | value_gradient(problem, from, inputs[3], outputs[1],
                                {images, keys.data(), sorted_keys.data(), ids.data(), sorted_ids.data(), starts.data()},
                                stable_sort, multiprocessors, nullptr);
}
