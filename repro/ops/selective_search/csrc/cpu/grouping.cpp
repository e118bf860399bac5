#include "grouping.h"

#include <algorithm>
#include <bit>

namespace repro::selective_search {
namespace {

Box united(const Box& a, const Box& b) {
  return {std::min(a.x0, b.x0), std::min(a.y0, b.y0), std::max(a.x1, b.x1), std::max(a.y1, b.y1)};
}

// Added one by one, in this order: OpenCV's sum to the last bit, which decides between near-equals.
float intersection(const float* a, const float* b, int64_t size) {
  float sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += std::min(a[i], b[i]);
  return sum;
}

// Histograms [regions, size] that grow by a row with every merge.
class Rows {
 public:
  Rows(const std::vector<float>& first, int64_t size, size_t regions) : size_(size) {
    values_.reserve(regions * size);
    values_ = first;
  }

  float similarity(int32_t a, int32_t b) const { return intersection(row(a), row(b), size_); }

  void merge(int32_t a, int32_t b, float size_a, float size_b) {
    const size_t end = values_.size();
    values_.resize(end + size_);
    float* to = values_.data() + end;
    const float *from_a = row(a), *from_b = row(b);
    for (int64_t i = 0; i < size_; ++i) to[i] = (from_a[i] * size_a + from_b[i] * size_b) / (size_a + size_b);
  }

 private:
  const float* row(int32_t region) const { return values_.data() + region * size_; }

  int64_t size_;
  std::vector<float> values_;
};

class Grouping {
 public:
  Grouping(const Regions& regions, int64_t strategy)
      : strategy_(strategy),
        pixels_(float(regions.pixels)),
        boxes_(regions.boxes),
        sizes_(regions.sizes),
        levels_(regions.boxes.size(), 1),
        colour_(regions.histograms.colour, regions.colour_size, 2 * regions.boxes.size()),
        texture_(regions.histograms.texture, regions.texture_size, 2 * regions.boxes.size()) {
    for (const auto& [a, b] : regions.neighbours) pairs_.push_back({similarity(a, b), a, b});
  }

  void run() {
    while (!pairs_.empty()) {
      size_t best = 0;  // of equals the one that was found last
      for (size_t i = 1; i < pairs_.size(); ++i) {
        if (pairs_[i].similarity >= pairs_[best].similarity) best = i;
      }
      merge(pairs_[best].a, pairs_[best].b);
    }
  }

  const std::vector<Box>& boxes() const { return boxes_; }
  const std::vector<int32_t>& levels() const { return levels_; }

 private:
  struct Pair {
    float similarity;
    int32_t a, b;
  };

  void merge(int32_t a, int32_t b) {
    const int32_t merged = int32_t(boxes_.size());
    boxes_.push_back(united(boxes_[a], boxes_[b]));
    levels_.push_back(std::max(levels_[a], levels_[b]) + 1);
    if (strategy_ & kColour) colour_.merge(a, b, float(sizes_[a]), float(sizes_[b]));
    if (strategy_ & kTexture) texture_.merge(a, b, float(sizes_[a]), float(sizes_[b]));
    sizes_.push_back(sizes_[a] + sizes_[b]);
    for (const int32_t other : take_neighbours(a, b)) pairs_.push_back({similarity(merged, other), merged, other});
  }

  // Remove all pairs of a or b; returns who stood in them beside these two, each once, in the order of the pairs.
  std::vector<int32_t> take_neighbours(int32_t a, int32_t b) {
    std::vector<int32_t> others;
    const auto involved = [&](const Pair& pair) {
      const bool first = pair.a == a || pair.a == b, second = pair.b == a || pair.b == b;
      if (first == second) return first;
      const int32_t other = first ? pair.b : pair.a;
      if (std::find(others.begin(), others.end(), other) == others.end()) others.push_back(other);
      return true;
    };
    std::erase_if(pairs_, involved);
    return others;
  }

  // Weighted mean of what the strategy asks for. A third is 0.3333 in OpenCV, which shows in the last bits.
  float similarity(int32_t a, int32_t b) const {
    constexpr float kWeights[] = {0, 1, 0.5f, 0.3333f, 0.25f};
    const float weight = kWeights[std::popcount(uint64_t(strategy_))];
    float sum = 0, weights = 0;
    const auto add = [&](float value) {
      sum += value * weight;
      weights += weight;
    };
    if (strategy_ & kColour) add(colour_.similarity(a, b));
    if (strategy_ & kFill) {
      const Box box = united(boxes_[a], boxes_[b]);
      add(rest(float((box.x1 - box.x0) * (box.y1 - box.y0) - sizes_[a] - sizes_[b])));
    }
    if (strategy_ & kTexture) add(texture_.similarity(a, b));
    if (strategy_ & kSize) add(rest(float(sizes_[a] + sizes_[b])));
    return sum / weights;
  }

  // 1 minus a share of the image, in 0…1.
  float rest(float area) const { return std::clamp(1.0f - area / pixels_, 0.0f, 1.0f); }

  int64_t strategy_;
  float pixels_;
  std::vector<Box> boxes_;
  std::vector<int32_t> sizes_, levels_;
  Rows colour_, texture_;
  std::vector<Pair> pairs_;
};

}  // namespace

Regions::Regions(const Segments& segments, int64_t height, int64_t width, const Appearance& appearance)
    : pixels(height * width),
      boxes(segments.count, Box{int32_t(width), int32_t(height), 0, 0}),
      sizes(segments.count, 0),
      histograms(appearance.count(segments)),
      colour_size(appearance.colour_size()),
      texture_size(appearance.texture_size()) {
  const auto meet = [&](int32_t a, int32_t b) {
    const std::pair<int32_t, int32_t> pair(std::min(a, b), std::max(a, b));
    if (a != b && (neighbours.empty() || neighbours.back() != pair)) neighbours.push_back(pair);
  };
  for (int32_t y = 0; y < height; ++y) {
    for (int32_t x = 0; x < width; ++x) {
      const int32_t* label = segments.labels.data() + y * width + x;
      Box& box = boxes[*label];
      box = united(box, {x, y, x + 1, y + 1});
      ++sizes[*label];
      if (x) meet(*label, label[-1]);
      if (y) meet(*label, label[-width]);
      if (x && y) meet(*label, label[-width - 1]);  // and not the other diagonal: OpenCV's neighbourhood
    }
  }
  std::sort(neighbours.begin(), neighbours.end());
  neighbours.erase(std::unique(neighbours.begin(), neighbours.end()), neighbours.end());
}

void group(const Regions& regions, int64_t strategy, std::vector<Box>& boxes, std::vector<int32_t>& levels) {
  Grouping grouping(regions, strategy);
  grouping.run();
  boxes.insert(boxes.end(), grouping.boxes().begin(), grouping.boxes().end());
  levels.insert(levels.end(), grouping.levels().begin(), grouping.levels().end());
}

}  // namespace repro::selective_search
