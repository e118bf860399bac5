#include "appearance.h"

#include <algorithm>
#include <array>

namespace repro::selective_search {
namespace {

// Rows [count, size] of counts as shares of their sums.
std::vector<float> shares(const std::vector<uint32_t>& counts, int64_t stride, int64_t offset, int64_t size) {
  const int64_t rows = int64_t(counts.size()) / stride;
  std::vector<float> found(rows * size);
  for (int64_t row = 0; row < rows; ++row) {
    const uint32_t* from = counts.data() + row * stride + offset;
    uint64_t sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += from[i];
    for (int64_t i = 0; i < size; ++i) found[row * size + i] = float(from[i]) / float(sum);
  }
  return found;
}

constexpr int64_t kBlock = 512;  // pixels at a time, so that all their bins stay in the nearest cache
constexpr int kAxes = Appearance::kDirections / 2;

using Block = std::array<float, kBlock>;

// How a part of a map is spread over 0…255: value × scale + shift.
struct Spread {
  float scale = 0, shift = 0;  // of a flat part: all in the first bin
};

struct Parts {
  Spread positive, negative;
};

Spread spread(float low, float high) {
  if (!(high > low)) return {};
  const double range = 255.0 / (double(high) - double(low));
  return {float(range), float(-double(low) * range)};
}

// One channel of a map [pixels, channels].
Parts spreads(const float* map, int64_t pixels, int64_t channels) {
  constexpr int64_t kLanes = 8;
  std::array<float, kLanes> low, high;
  low.fill(map[0]);
  high.fill(map[0]);
  const auto look = [&](int64_t i, int64_t lane) {
    low[lane] = std::min(low[lane], map[i * channels]);
    high[lane] = std::max(high[lane], map[i * channels]);
  };
  int64_t i = 0;
  for (; i + kLanes <= pixels; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) look(i + lane, lane);
  }
  for (; i < pixels; ++i) look(i, 0);
  const float least = *std::min_element(low.begin(), low.end()), most = *std::max_element(high.begin(), high.end());
  return {spread(std::max(least, 0.0f), std::max(most, 0.0f)), spread(std::min(least, 0.0f), std::min(most, 0.0f))};
}

// Spread, round half to even, and cut into bins. Single precision with one rounding, as OpenCV's conversions have it:
// values on the edge of a bin are common.
void cut(const Block& values, int64_t size, const Spread& spread, std::array<uint8_t, kBlock>& bins) {
  constexpr float kRounder = 3 << 22;  // from here on floats are whole numbers
  const double scale = spread.scale, shift = spread.shift;
  for (int64_t i = 0; i < size; ++i) {
    const int32_t level = int32_t(float(double(values[i]) * scale + shift) + kRounder) - (3 << 22);
    bins[i] = uint8_t(uint32_t(level) * Appearance::kTextureBins / 256);
  }
}

}  // namespace

Appearance::Appearance(const uint8_t* pixels, const float* gradients, int64_t height, int64_t width, int64_t channels)
    : pixels_(height * width), channels_(channels), slots_(channels * (1 + kDirections)), bins_(pixels_ * slots_) {
  std::vector<Parts> parts;
  for (int64_t c = 0; c < channels; ++c) {
    for (int axis = 0; axis < kAxes; ++axis) {
      parts.push_back(spreads(gradients + axis * pixels_ * channels + c, pixels_, channels));
    }
  }
  Block values, part;
  std::array<uint8_t, kBlock> bins;
  for (int64_t start = 0; start < pixels_; start += kBlock) {
    const int64_t size = std::min(kBlock, pixels_ - start);
    uint8_t* to = bins_.data() + start * slots_;
    const auto put = [&](int64_t slot) {
      for (int64_t i = 0; i < size; ++i) to[i * slots_ + slot] = bins[i];
    };
    int64_t slot = channels;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < size; ++i) bins[i] = uint8_t(pixels[(start + i) * channels + c] * kColourBins / 256);
      put(c);
      for (int axis = 0; axis < kAxes; ++axis) {
        const float* map = gradients + (axis * pixels_ + start) * channels + c;
        for (int64_t i = 0; i < size; ++i) values[i] = map[i * channels];
        for (int64_t i = 0; i < size; ++i) part[i] = std::max(values[i], 0.0f);
        cut(part, size, parts[c * kAxes + axis].positive, bins);
        put(slot++);
        for (int64_t i = 0; i < size; ++i) part[i] = std::min(values[i], 0.0f);
        cut(part, size, parts[c * kAxes + axis].negative, bins);
        put(slot++);
      }
    }
  }
}

Appearance::Histograms Appearance::count(const Segments& segments) const {
  const int64_t colour = colour_size(), stride = colour + texture_size();
  std::vector<uint32_t> counts(segments.count * stride, 0);
  const uint8_t* bins = bins_.data();
  for (int64_t i = 0; i < pixels_; ++i, bins += slots_) {
    uint32_t* row = counts.data() + segments.labels[i] * stride;
    for (int64_t c = 0; c < channels_; ++c, row += kColourBins) ++row[bins[c]];
    for (int64_t slot = channels_; slot < slots_; ++slot, row += kTextureBins) ++row[bins[slot]];
  }
  return {shares(counts, stride, 0, colour), shares(counts, stride, colour, stride - colour)};
}

}  // namespace repro::selective_search
