// What regions look like: histograms of colour and of texture (Uijlings et al. 2013, "Selective Search for Object
// Recognition", Sec. 3.2).
#pragma once

#include <cstdint>
#include <vector>

#include "segmentation.h"

namespace repro::selective_search {

// Bins of every pixel, ready to be counted: 25 a channel for colour, and 10 for each of eight directions a channel for
// texture.
class Appearance {
 public:
  static constexpr int kColourBins = 25, kTextureBins = 10, kDirections = 8;

  // `pixels` is [height, width, channels]; `gradients` [4, height, width, channels] are derivatives along two pairs of
  // axes, one of them turned by 45°; their positive and negative parts are the eight directions, each spread over its
  // own range.
  Appearance(const uint8_t* pixels, const float* gradients, int64_t height, int64_t width, int64_t channels);

  int64_t colour_size() const { return kColourBins * channels_; }
  int64_t texture_size() const { return kTextureBins * kDirections * channels_; }

  // Histograms of all segments, each [count, size] with rows that sum to 1.
  struct Histograms {
    std::vector<float> colour, texture;
  };
  Histograms count(const Segments& segments) const;

 private:
  int64_t pixels_, channels_, slots_;
  std::vector<uint8_t> bins_;  // [pixels, slots]: channels of colour, then channels × 8 directions
};

}  // namespace repro::selective_search
