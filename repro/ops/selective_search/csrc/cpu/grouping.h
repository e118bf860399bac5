// Merging segments into ever larger regions, the most similar neighbours first (Uijlings et al. 2013, Algorithm 1).
#pragma once

#include <cstdint>
#include <vector>

#include "appearance.h"
#include "segmentation.h"

namespace repro::selective_search {

struct Box {
  int32_t x0, y0, x1, y1;  // pixels; the last two are not inside
};

// What makes regions similar. A strategy is a sum of these.
enum Similarity : int64_t { kColour = 1, kFill = 2, kTexture = 4, kSize = 8 };

// The segments that grouping starts from, and what all strategies share.
struct Regions {
  Regions(const Segments& segments, int64_t height, int64_t width, const Appearance& appearance);

  int64_t pixels;
  std::vector<Box> boxes;
  std::vector<int32_t> sizes;  // pixels
  std::vector<std::pair<int32_t, int32_t>> neighbours;
  Appearance::Histograms histograms;
  int64_t colour_size, texture_size;
};

// Append the box of every segment (level 1) and of every merged region (one level above the higher of its two parts).
void group(const Regions& regions, int64_t strategy, std::vector<Box>& boxes, std::vector<int32_t>& levels);

}  // namespace repro::selective_search
