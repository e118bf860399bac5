// Multi-scale deformable attention on CUDA devices: checks and takes tensors apart, allocates, launches.
//
// Everything is queued on the current stream and nothing waits for it, so calls can be captured in a CUDA graph.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/cuda/cub.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string_view>
#include <tuple>

#include "kernels.h"

namespace repro::msda::cuda {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<int>::max();

Type type_of(const at::Tensor& value) {
  switch (value.scalar_type()) {
    case at::kFloat: return Type::float32;
    case at::kDouble: return Type::float64;
    case at::kHalf: return Type::float16;
    case at::kBFloat16: return Type::bfloat16;
    default:
      TORCH_CHECK_TYPE(false, "value is ", value.scalar_type(),
                       "; the CUDA kernel takes float32, float64, float16 and bfloat16");
  }
}

at::ScalarType sum_type(const at::Tensor& value) { return value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

void check_tensor(const char* name, const at::Tensor& tensor, const at::Tensor& value) {
  TORCH_CHECK_VALUE(tensor.device() == value.device(), name, " is on ", tensor.device(), "; value is on ",
                    value.device());
  TORCH_CHECK_VALUE(tensor.is_contiguous(), name, " has shape ", tensor.sizes(), " and strides ", tensor.strides(),
                    "; expected a contiguous tensor");
}

// Whoever calls the operator past ../../__init__.py must still not read outside a tensor.
void check_tensors(const at::Tensor& value, const at::Tensor& locations, const at::Tensor& weights) {
  TORCH_CHECK_VALUE(value.dim() == 4, "value has shape ", value.sizes(), "; expected [B, S, M, D]");
  TORCH_CHECK_VALUE(locations.dim() == 5 && locations.size(0) == value.size(0) &&
                        locations.size(2) == value.size(2) && locations.size(4) == 2,
                    "sampling_locations has shape ", locations.sizes(), "; expected [", value.size(0), ", Q, ",
                    value.size(2), ", P, 2]");
  TORCH_CHECK_VALUE(weights.sizes() == locations.sizes().slice(0, 4), "attention_weights has shape ", weights.sizes(),
                    "; expected ", locations.sizes().slice(0, 4));
  check_tensor("value", value, value);
  check_tensor("sampling_locations", locations, value);
  check_tensor("attention_weights", weights, value);
  const auto sum = sum_type(value);
  TORCH_CHECK_TYPE(locations.scalar_type() == sum, "sampling_locations is ", locations.scalar_type(), "; expected ", sum,
                   " beside a value in ", value.scalar_type());
  TORCH_CHECK_TYPE(weights.scalar_type() == sum || weights.scalar_type() == value.scalar_type(),
                   "attention_weights is ", weights.scalar_type(), "; expected ", sum, " or the value's ",
                   value.scalar_type());
}

int narrowed(const char* what, std::int64_t count) {
  TORCH_CHECK_VALUE(count <= kMost, what, " is ", count, "; the CUDA kernel takes at most ", kMost);
  return static_cast<int>(count);
}

void fill_levels(Problem& problem, at::IntArrayRef shapes, at::IntArrayRef points, bool per_axis) {
  const auto levels = static_cast<std::int64_t>(points.size());
  TORCH_CHECK_VALUE(shapes.size() == 2 * points.size(), "spatial_shapes has ", shapes.size(),
                    " numbers; expected two for each of ", levels, " levels");
  TORCH_CHECK_VALUE(levels <= kMaxLevels, "spatial_shapes has ", levels, " levels; the CUDA kernel takes at most ",
                    kMaxLevels);
  std::int64_t point = 0, token = 0, bin = 0;
  for (std::int64_t index = 0; index < levels; ++index) {
    const std::int64_t height = shapes[2 * index], width = shapes[2 * index + 1];
    TORCH_CHECK_VALUE(height >= 0 && width >= 0 && points[index] >= 0, "level ", index, " has shape (", height, ", ",
                      width, ") and ", points[index], " points; expected no negative number");
    TORCH_CHECK_VALUE(height < kMost && width < kMost, "level ", index, " has shape (", height, ", ", width,
                      "); too large for the CUDA kernel");
    problem.level[index] = {static_cast<int>(point),
                            static_cast<int>(height),
                            static_cast<int>(width),
                            static_cast<int>((per_axis ? width : std::min(height, width)) - 1),
                            static_cast<int>(token),
                            static_cast<int>(bin)};
    point += points[index];
    token += height * width;
    bin += (height + 1) * (width + 1);
    TORCH_CHECK_VALUE(point <= problem.points && token <= problem.tokens && bin <= kMost,
                      "points_per_level ", points, " and spatial_shapes ", shapes, " do not fit ", problem.points,
                      " points and ", problem.tokens, " tokens");
  }
  TORCH_CHECK_VALUE(token == problem.tokens, "value has ", problem.tokens, " tokens, but spatial_shapes ", shapes,
                    " need ", token);
  TORCH_CHECK_VALUE(point == problem.points, "points_per_level is ", points, "; expected a sum of ", problem.points);
  for (std::int64_t index = levels; index < kMaxLevels; ++index) problem.level[index].first_point = narrowed("P", kMost);
  problem.levels = static_cast<int>(levels);
  problem.bins = static_cast<int>(bin);
}

Problem problem_of(const at::Tensor& value, const at::Tensor& locations, const at::Tensor& weights,
                   at::IntArrayRef shapes, at::IntArrayRef points, std::string_view mode) {
  TORCH_CHECK_VALUE(mode == "bilinear" || mode == "discrete" || mode == "discrete_per_axis", "mode is '", mode,
                    "'; expected one of bilinear, discrete, discrete_per_axis");
  check_tensors(value, locations, weights);
  Problem problem{};
  problem.batch = narrowed("B", value.size(0));
  problem.tokens = narrowed("S", value.size(1));
  problem.heads = narrowed("M", value.size(2));
  problem.channels = narrowed("D", value.size(3));
  problem.queries = narrowed("Q", locations.size(1));
  problem.points = narrowed("P", locations.size(3));
  narrowed("M * D * 8", value.size(2) * value.size(3) * 8);
  problem.bilinear = mode == "bilinear";
  fill_levels(problem, shapes, points, mode == "discrete_per_axis");
  return problem;
}

bool empty(const Problem& problem) {
  return problem.batch == 0 || problem.tokens == 0 || problem.heads == 0 || problem.channels == 0 ||
         problem.queries == 0 || problem.points == 0;
}

// Tensors start at multiples of 16 bytes unless they are a part of another one.
at::Tensor aligned(const at::Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr()) % 16 == 0 ? tensor : tensor.clone();
}

// Keeps what its pointers point to.
struct Arguments {
  at::Tensor value, locations, weights;
  Inputs inputs;

  Arguments(const at::Tensor& value_, const at::Tensor& locations_, const at::Tensor& weights_)
      : value(aligned(value_)), locations(aligned(locations_)), weights(aligned(weights_)) {
    inputs = {type_of(value), value.const_data_ptr(), locations.const_data_ptr(), weights.const_data_ptr(),
              weights.scalar_type() != sum_type(value)};
  }
};

int multiprocessors() {
  int count = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, c10::cuda::current_device()));
  return count;
}

std::array<std::int64_t, 3> output_sizes(const Problem& problem) {
  return {problem.batch, problem.queries, static_cast<std::int64_t>(problem.heads) * problem.channels};
}

at::Tensor ms_deform_attn(const at::Tensor& value, const at::Tensor& locations, const at::Tensor& weights,
                          at::IntArrayRef shapes, at::IntArrayRef points, std::string_view mode) {
  const Problem problem = problem_of(value, locations, weights, shapes, points, mode);
  const c10::cuda::CUDAGuard guard(value.device());
  if (empty(problem)) return at::zeros(output_sizes(problem), value.options());
  at::Tensor output = at::empty(output_sizes(problem), value.options());
  const Arguments arguments(value, locations, weights);
  C10_CUDA_CHECK(forward(problem, arguments.inputs, output.mutable_data_ptr(), multiprocessors(),
                         c10::cuda::getCurrentCUDAStream()));
  return output;
}

// On the current stream, with scratch memory from torch's allocator.
void sort(const int* keys, int* sorted_keys, const int* ids, int* sorted_ids, std::int64_t count, int bits) {
  at::cuda::cub::radix_sort_pairs(keys, sorted_keys, ids, sorted_ids, count, /*descending=*/false, 0, bits);
}

at::Tensor gathered_value_gradient(const Problem& problem, const Arguments& arguments, const at::Tensor& grad_output) {
  const int images = images_per_pass(problem);
  TORCH_CHECK_VALUE(images > 0, "sampling_locations has shape ", arguments.locations.sizes(),
                    "; the deterministic gradient takes fewer than 2^31 samples and bins an image");
  const std::int64_t samples = static_cast<std::int64_t>(images) * problem.queries * problem.heads * problem.points;
  const at::Tensor scratch = at::empty({4, samples}, arguments.value.options().dtype(at::kInt));
  const at::Tensor starts = at::empty({static_cast<std::int64_t>(images) * problem.heads * problem.bins + 1}, scratch.options());
  const auto row = [&](int index) { return scratch.mutable_data_ptr<int>() + index * samples; };
  at::Tensor gradient = at::empty_like(arguments.value);
  C10_CUDA_CHECK(value_gradient(problem, arguments.inputs, grad_output.const_data_ptr(), gradient.mutable_data_ptr(),
                                {images, row(0), row(1), row(2), row(3), starts.mutable_data_ptr<int>()}, sort,
                                multiprocessors(), c10::cuda::getCurrentCUDAStream()));
  return gradient;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> ms_deform_attn_backward(
    const at::Tensor& grad_output, const at::Tensor& value, const at::Tensor& locations, const at::Tensor& weights,
    at::IntArrayRef shapes, at::IntArrayRef points, std::string_view mode, bool deterministic) {
  const Problem problem = problem_of(value, locations, weights, shapes, points, mode);
  const auto expected = output_sizes(problem);
  TORCH_CHECK_VALUE(grad_output.sizes() == at::IntArrayRef(expected) && grad_output.scalar_type() == value.scalar_type(),
                    "grad_output has shape ", grad_output.sizes(), " and type ", grad_output.scalar_type(),
                    "; expected ", at::IntArrayRef(expected), " and ", value.scalar_type());
  check_tensor("grad_output", grad_output, value);
  const c10::cuda::CUDAGuard guard(value.device());
  const std::array<std::int64_t, 1> no_locations{0};
  if (empty(problem)) {
    return {at::zeros_like(value),
            problem.bilinear ? at::zeros_like(locations) : at::empty(no_locations, locations.options()),
            at::zeros_like(weights)};
  }
  const Arguments arguments(value, locations, weights);
  const at::Tensor grad = aligned(grad_output);
  at::Tensor grad_locations =
      problem.bilinear ? at::empty_like(locations) : at::empty(no_locations, locations.options());
  at::Tensor grad_weights = at::empty_like(weights);
  // Also when torch was told so after the forward pass, or called past autograd.
  deterministic = deterministic || at::globalContext().deterministicAlgorithms();
  at::Tensor sums;
  if (!deterministic) sums = at::zeros(value.sizes(), value.options().dtype(sum_type(value)));
  C10_CUDA_CHECK(backward(problem, arguments.inputs, grad.const_data_ptr(),
                          deterministic ? nullptr : sums.mutable_data_ptr(), grad_locations.mutable_data_ptr(),
                          grad_weights.mutable_data_ptr(), multiprocessors(), c10::cuda::getCurrentCUDAStream()));
  at::Tensor grad_value =
      deterministic ? gathered_value_gradient(problem, arguments, grad) : sums.to(value.scalar_type());
  return {grad_value, grad_locations, grad_weights};
}

}  // namespace
}  // namespace repro::msda::cuda

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("ms_deform_attn", TORCH_FN(repro::msda::cuda::ms_deform_attn));
  m.impl("ms_deform_attn_backward", TORCH_FN(repro::msda::cuda::ms_deform_attn_backward));
}
