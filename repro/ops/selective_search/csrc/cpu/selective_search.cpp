// Takes tensors apart, and runs every combination of scale and strategy on one image.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "grouping.h"

namespace repro::selective_search {
namespace {

void check(const at::Tensor& pixels, const at::Tensor& smoothed, const at::Tensor& gradients) {
  TORCH_CHECK(pixels.dim() == 3 && pixels.scalar_type() == at::kByte, "pixels must be uint8 [H, W, C]");
  TORCH_CHECK(smoothed.sizes() == pixels.sizes() && smoothed.scalar_type() == at::kFloat,
              "smoothed must be float32 [H, W, C] like pixels");
  TORCH_CHECK(gradients.dim() == 4 && gradients.size(0) == Appearance::kDirections / 2 &&
                  gradients.sizes().slice(1) == pixels.sizes() && gradients.scalar_type() == at::kFloat,
              "gradients must be float32 [4, H, W, C], H, W and C those of pixels");
  TORCH_CHECK(pixels.is_contiguous() && smoothed.is_contiguous() && gradients.is_contiguous(),
              "all three images must be contiguous");
  TORCH_CHECK(pixels.numel() > 0, "the image is empty");
  TORCH_CHECK(pixels.size(0) * pixels.size(1) < (int64_t(1) << 30), "the image has more than a billion pixels");
}

std::tuple<at::Tensor, at::Tensor> search(const at::Tensor& pixels, const at::Tensor& smoothed,
                                          const at::Tensor& gradients, at::ArrayRef<double> scales, int64_t min_size,
                                          at::IntArrayRef strategies) {
  check(pixels, smoothed, gradients);
  for (const int64_t strategy : strategies) {
    TORCH_CHECK(strategy > 0 && strategy < 16, "a strategy is a sum of 1, 2, 4 and 8, not ", strategy);
  }
  const int64_t height = pixels.size(0), width = pixels.size(1), channels = pixels.size(2);
  const PixelGraph graph(smoothed.const_data_ptr<float>(), height, width, channels);
  const Appearance appearance(pixels.const_data_ptr<uint8_t>(), gradients.const_data_ptr<float>(), height, width,
                              channels);
  std::vector<Box> boxes;
  std::vector<int32_t> levels;
  for (const double scale : scales) {
    const Regions regions(graph.segment(float(scale), int32_t(min_size)), height, width, appearance);
    for (const int64_t strategy : strategies) group(regions, strategy, boxes, levels);
  }
  static_assert(sizeof(Box) == 4 * sizeof(int32_t));
  const at::Tensor found_boxes = at::empty({int64_t(boxes.size()), 4}, at::kInt);
  const at::Tensor found_levels = at::empty({int64_t(levels.size())}, at::kInt);
  std::copy_n(reinterpret_cast<const int32_t*>(boxes.data()), 4 * boxes.size(), found_boxes.data_ptr<int32_t>());
  std::copy(levels.begin(), levels.end(), found_levels.data_ptr<int32_t>());
  return {found_boxes, found_levels};
}

}  // namespace

TORCH_LIBRARY_IMPL(repro, CPU, m) { m.impl("selective_search", &search); }

}  // namespace repro::selective_search
