// Graph-based segmentation of an image (Felzenszwalb & Huttenlocher 2004, "Efficient Graph-Based Image Segmentation").
#pragma once

#include <cstdint>
#include <vector>

namespace repro::selective_search {

// An image cut into segments: `labels` [height, width] are numbered from 0 in the order in which a scan by rows meets
// them.
struct Segments {
  std::vector<int32_t> labels;
  int32_t count = 0;
};

// The graph of an image: every pixel is joined to its right and its lower neighbour, by an edge that weighs the
// distance between their colours. Edges are sorted once and serve every scale.
class PixelGraph {
 public:
  // `smoothed` is [height, width, channels].
  PixelGraph(const float* smoothed, int64_t height, int64_t width, int64_t channels);

  // Merge along edges in order of weight where the edge is not heavier than both sides' heaviest one plus scale/size;
  // then give segments of fewer than `min_size` pixels to a neighbour.
  Segments segment(float scale, int32_t min_size) const;

 private:
  struct Edge {
    float weight;
    uint32_t place;  // 2 × index of the left or upper pixel, plus 1 for an edge that goes down
  };

  void sort_edges();
  int32_t other_end(uint32_t place) const { return int32_t(place >> 1) + ((place & 1) ? int32_t(width_) : 1); }

  int64_t height_, width_;
  std::vector<Edge> edges_;
};

}  // namespace repro::selective_search
