// What the CUDA kernels are told, and the functions that launch them. No torch here: the .cu files compile in seconds.
//
// Every function queues its work on the stream, waits for nothing, and returns the launch's error, if any.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace repro::msda::cuda {

inline constexpr int kMaxLevels = 16;

enum class Type { float32, float64, float16, bfloat16 };

// A feature map, and the points that read it: those from `first_point` to the next level's. Entries beyond the last level
// have a `first_point` that no point reaches.
struct Level {
  int first_point;
  int height, width;
  int last_column;  // greatest column that a discrete sample may read
  int start;        // the level's first token
  int first_bin;    // see value_gradient.cu
};

// Sizes of one call: B images of S tokens, M heads of D channels, Q queries with P points a head. Passed to the kernels
// by value, so that the levels lie in constant memory and no tensor of them is ever read.
struct Problem {
  int batch, tokens, heads, channels, queries, points;
  int bins;  // of one head, over all levels
  int levels;
  bool bilinear;
  Level level[kMaxLevels];
};

// All tensors contiguous and 16-byte aligned. Locations have the type in which is summed: float64 beside float64, else
// float32. So have the weights, unless `weights_as_value`.
struct Inputs {
  Type type;  // of the value
  const void* value;      // [B, S, M, D]
  const void* locations;  // [B, Q, M, P, 2]
  const void* weights;    // [B, Q, M, P]
  bool weights_as_value;
};

// Writes every element of the output [B, Q, M * D], of the value's type.
cudaError_t forward(const Problem& problem, const Inputs& inputs, void* output, int multiprocessors,
                    cudaStream_t stream);

// Writes the gradients of locations (bilinear only) and weights, and adds that of the value to `grad_value`
// [B, S, M, D] of the type in which is summed, in no fixed order; null leaves it out.
cudaError_t backward(const Problem& problem, const Inputs& inputs, const void* grad_output, void* grad_value,
                     void* grad_locations, void* grad_weights, int multiprocessors, cudaStream_t stream);

// Scratch memory of `value_gradient`, which goes through the batch in passes of so many images: for all their samples, and
// all bins of their heads.
struct Workspace {
  int images;
  int *keys, *sorted_keys, *ids, *sorted_ids;  // [samples]
  int* starts;                                 // [bins + 1]
};

// A stable sort of `count` pairs by key, keys below 2^bits.
using Sort = void (*)(const int* keys, int* sorted_keys, const int* ids, int* sorted_ids, std::int64_t count, int bits);

// How many images a pass should take; 0 if not even one fits 32-bit numbers.
int images_per_pass(const Problem& problem);

// Writes every element of the value's gradient [B, S, M, D], of the value's type: equal inputs, equal bits.
cudaError_t value_gradient(const Problem& problem, const Inputs& inputs, const void* grad_output, void* grad_value,
                           const Workspace& workspace, Sort sort, int multiprocessors, cudaStream_t stream);

}  // namespace repro::msda::cuda
