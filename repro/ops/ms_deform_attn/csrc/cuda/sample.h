// Where a location reads, and with what shares: the arithmetic of one sample, alike in all kernels.
#pragma once

#include "kernels.h"

namespace repro::msda::cuda {

// Corners 0 above left, 1 above right, 2 below left, 3 below right. A discrete sample has corner 0 alone.
template <class Sum>
struct Sample {
  int height, width;  // of the level
  int row, column;    // of corner 0; -1 just outside
  int token;          // of corner 0, meaningless where that is outside
  Sum x, y;           // shares of the right column and of the lower row
  unsigned inside;    // bit c: corner c lies in the map
};

__device__ __forceinline__ float unfused(float a, float b, float c) { return __fadd_rn(__fmul_rn(a, b), c); }
__device__ __forceinline__ double unfused(double a, double b, double c) { return __dadd_rn(__dmul_rn(a, b), c); }

// All lanes compare with the same constants, so unequal points cost nothing. The first four levels without a loop: there,
// absent ones start beyond the last point.
inline constexpr int kUnrolledLevels = 4;
__device__ __forceinline__ Level level_of_point(const Problem& problem, int point) {
  Level found = problem.level[0];
#pragma unroll
  for (int index = 1; index < kUnrolledLevels; ++index) {
    if (point >= problem.level[index].first_point) found = problem.level[index];
  }
#pragma unroll 1
  for (int index = kUnrolledLevels; index < problem.levels; ++index) {
    if (point >= problem.level[index].first_point) found = problem.level[index];
  }
  return found;
}

__device__ __forceinline__ Level level_of_token(const Problem& problem, int token) {
  Level found = problem.level[0];
  for (int index = 1; index < problem.levels; ++index) {
    if (token >= problem.level[index].start) found = problem.level[index];
  }
  return found;
}

// The token at a place of another order: strips of four rows, each column by column. Blocks take successive places, so
// each has a patch of pixels and not a piece of a row, and what they read lies closer together: for 32 queries of the
// encoder whose samples are spread by three pixels, 35 % of the corners are not among those read before, instead of 47 %.
__device__ __forceinline__ int in_strips(const Problem& problem, int place) {
  constexpr int kRows = 4;
  const Level level = level_of_token(problem, place);
  const int within = place - level.start, strip_tokens = kRows * level.width;
  const int strip = within / strip_tokens, inside = within - strip * strip_tokens;
  const int rows = min(kRows, level.height - kRows * strip), column = inside / rows;
  return level.start + (kRows * strip + inside - column * rows) * level.width + column;
}

// Pixel centres lie at whole numbers. A location a pixel or more outside, infinite or NaN reads nothing, at token 0.
template <class Sum>
__device__ __forceinline__ Sample<Sum> bilinear_sample(const Level& level, Sum x, Sum y) {
  Sample<Sum> sample{level.height, level.width, 0, 0, 0, Sum(0), Sum(0), 0};
  x = unfused(x, Sum(level.width), Sum(-0.5));
  y = unfused(y, Sum(level.height), Sum(-0.5));
  if (!(x >= Sum(-1) && x < Sum(level.width) && y >= Sum(-1) && y < Sum(level.height))) return sample;
  const Sum left = floor(x), upper = floor(y);
  sample.column = static_cast<int>(left);
  sample.row = static_cast<int>(upper);
  sample.token = level.start + sample.row * level.width + sample.column;
  sample.x = x - left;
  sample.y = y - upper;
  // As unsigned numbers, -1 is outside too.
  const unsigned width = level.width, height = level.height;
  const bool in_left = unsigned(sample.column) < width, in_right = unsigned(sample.column + 1) < width;
  const bool in_upper = unsigned(sample.row) < height, in_lower = unsigned(sample.row + 1) < height;
  sample.inside = unsigned(in_left && in_upper) | unsigned(in_right && in_upper) << 1 |
                  unsigned(in_left && in_lower) << 2 | unsigned(in_right && in_lower) << 3;
  return sample;
}

// RT-DETRv2's rule, trunc(location * size + 0.5) kept in the map; rounded twice, as PyTorch does, since one rounding
// would read another pixel now and then. Negative, NaN: 0.
template <class Sum>
__device__ __forceinline__ int discrete_index(Sum location, int size, int last) {
  const Sum position = unfused(location, Sum(size), Sum(0.5));
  const Sum kept = position > Sum(0) ? (position < Sum(last) ? position : Sum(last)) : Sum(0);
  const int index = static_cast<int>(kept);
  return index < last ? index : last;  // Sum(last) may have been rounded up
}

template <class Sum>
__device__ __forceinline__ Sample<Sum> discrete_sample(const Level& level, Sum x, Sum y) {
  Sample<Sum> sample{level.height, level.width, 0, 0, 0, Sum(0), Sum(0), 0};
  if (level.height == 0 || level.width == 0) return sample;
  sample.column = discrete_index(x, level.width, level.last_column);
  sample.row = discrete_index(y, level.height, level.height - 1);
  sample.token = level.start + sample.row * level.width + sample.column;
  sample.inside = 1;
  return sample;
}

template <bool kBilinear, class Sum>
__device__ __forceinline__ Sample<Sum> sample_at(const Level& level, Sum x, Sum y) {
  if constexpr (kBilinear) return bilinear_sample(level, x, y);
  return discrete_sample(level, x, y);
}

// 1 for a discrete sample.
template <class Sum>
__device__ __forceinline__ Sum corner_share(Sum x, Sum y, int corner) {
  return (corner & 1 ? x : Sum(1) - x) * (corner & 2 ? y : Sum(1) - y);
}

__device__ __forceinline__ int corner_token(int token, int width, int corner) {
  return token + (corner & 1) + (corner & 2 ? width : 0);
}

}  // namespace repro::msda::cuda
