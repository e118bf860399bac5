// Schemas of multi-scale deformable attention. What the arguments mean: ../__init__.py.
//
// Sizes of the levels come as [h0, w0, h1, w1, ...]. The backward's gradient of the locations is an empty tensor in the
// discrete modes, which have none.

#include <torch/library.h>

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "ms_deform_attn(Tensor value, Tensor sampling_locations, Tensor attention_weights, SymInt[] spatial_shapes, "
      "int[] points_per_level, str mode) -> Tensor");
  m.def(
      "ms_deform_attn_backward(Tensor grad_output, Tensor value, Tensor sampling_locations, Tensor attention_weights, "
      "SymInt[] spatial_shapes, int[] points_per_level, str mode, bool deterministic) -> (Tensor, Tensor, Tensor)");
}
