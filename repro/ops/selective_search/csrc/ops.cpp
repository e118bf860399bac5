// The operator's schema.
#include <torch/library.h>

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "selective_search(Tensor pixels, Tensor smoothed, Tensor gradients, float[] scales, int min_size, "
      "int[] strategies) -> (Tensor, Tensor)");
}
