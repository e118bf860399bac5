#include "segmentation.h"

#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <utility>

namespace repro::selective_search {
namespace {

// Disjoint sets of pixels. A set's root knows its size and the heaviest weight it takes another edge at.
class Forest {
 public:
  Forest(int64_t pixels, float scale) : scale_(scale), parents_(pixels), roots_(pixels, Root{1, scale}) {
    std::iota(parents_.begin(), parents_.end(), 0);
  }

  int32_t root(int32_t pixel) {
    while (parents_[pixel] != pixel) pixel = parents_[pixel] = parents_[parents_[pixel]];  // halve the path
    return pixel;
  }

  bool takes(int32_t root, float weight) const { return weight <= roots_[root].limit; }
  int32_t size(int32_t root) const { return roots_[root].size; }

  void join(int32_t a, int32_t b, float weight) {
    if (roots_[a].size < roots_[b].size) std::swap(a, b);
    parents_[b] = a;
    roots_[a].size += roots_[b].size;
    roots_[a].limit = weight + scale_ / float(roots_[a].size);
  }

 private:
  struct Root {
    int32_t size;
    float limit;
  };

  float scale_;
  std::vector<int32_t> parents_;
  std::vector<Root> roots_;
};

float distance(const float* a, const float* b, int64_t channels) {
  float sum = 0;
  for (int64_t c = 0; c < channels; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return std::sqrt(sum);
}

}  // namespace

PixelGraph::PixelGraph(const float* smoothed, int64_t height, int64_t width, int64_t channels)
    : height_(height), width_(width) {
  edges_.reserve(2 * height * width);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t pixel = y * width + x;
      const float* here = smoothed + pixel * channels;
      if (x + 1 < width) edges_.push_back({distance(here, here + channels, channels), uint32_t(2 * pixel)});
      if (y + 1 < height) edges_.push_back({distance(here, here + width * channels, channels), uint32_t(2 * pixel + 1)});
    }
  }
  sort_edges();
}

// Radix sort: weights are not negative, so their bits sort like them. Edges of equal weight keep their order.
void PixelGraph::sort_edges() {
  constexpr int kBits = 11, kPasses = 3;
  constexpr uint32_t kMask = (1u << kBits) - 1;
  std::array<std::vector<uint32_t>, kPasses> starts;
  starts.fill(std::vector<uint32_t>(kMask + 2, 0));
  for (const Edge& edge : edges_) {
    const uint32_t key = std::bit_cast<uint32_t>(edge.weight);
    for (int pass = 0; pass < kPasses; ++pass) ++starts[pass][((key >> (kBits * pass)) & kMask) + 1];
  }
  std::vector<Edge> sorted(edges_.size());
  for (int pass = 0; pass < kPasses; ++pass) {
    auto& start = starts[pass];
    for (size_t bucket = 1; bucket < start.size(); ++bucket) start[bucket] += start[bucket - 1];
    for (const Edge& edge : edges_) {
      sorted[start[(std::bit_cast<uint32_t>(edge.weight) >> (kBits * pass)) & kMask]++] = edge;
    }
    edges_.swap(sorted);
  }
}

Segments PixelGraph::segment(float scale, int32_t min_size) const {
  const int64_t pixels = height_ * width_;
  Forest forest(pixels, scale);
  std::vector<Edge> refused;  // all that the second round needs to look at
  for (const Edge& edge : edges_) {
    const int32_t a = forest.root(int32_t(edge.place >> 1)), b = forest.root(other_end(edge.place));
    if (a == b) continue;
    if (forest.takes(a, edge.weight) && forest.takes(b, edge.weight)) {
      forest.join(a, b, edge.weight);
    } else {
      refused.push_back(edge);
    }
  }
  for (const Edge& edge : refused) {
    const int32_t a = forest.root(int32_t(edge.place >> 1)), b = forest.root(other_end(edge.place));
    if (a != b && (forest.size(a) < min_size || forest.size(b) < min_size)) forest.join(a, b, edge.weight);
  }

  Segments found;
  found.labels.resize(pixels);
  std::vector<int32_t> number(pixels, -1);
  for (int64_t i = 0; i < pixels; ++i) {
    int32_t& label = number[forest.root(int32_t(i))];
    if (label < 0) label = found.count++;
    found.labels[i] = label;
  }
  return found;
}

}  // namespace repro::selective_search
