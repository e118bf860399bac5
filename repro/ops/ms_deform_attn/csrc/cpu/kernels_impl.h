// The CPU kernels, compiled once for each set of instructions (REPRO_VARIANT, REPRO_VECTOR_BYTES).
//
// A query's samples (heads * points) are planned together, without branches, by loops that the compiler vectorises over
// samples: four tokens and four weights each, an index outside the map moved inside and its weight set to 0. Then each
// head gathers whole vectors of channels. Tokens hold all heads side by side, as the value projection leaves them: the
// heads of a pixel share cache lines, and nothing is copied or transposed. (A non-finite value on a map's border can so
// reach samples outside the map, as 0 * inf.)
//
// In the backward pass one task owns a range of heads of one image, and with them their slice of every gradient: no
// atomics, and sums in the order of the queries whatever the number of threads.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace repro::msda::REPRO_VARIANT {
namespace {

using Index = std::int32_t;

template <class T>
inline constexpr int lanes = REPRO_VECTOR_BYTES / static_cast<int>(sizeof(T));

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(REPRO_VECTOR_BYTES)));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
inline Vector<T> load(const T* from) {
  Vector<T> vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <class T>
inline void store(T* to, Vector<T> vector) {
  std::memcpy(to, &vector, sizeof(vector));
}

// sum + factor * vector, rounded once where the processor can. Spelled out, since everything else must be rounded as
// PyTorch rounds it (-ffp-contract=off): a coordinate rounded once would read another pixel now and then.
#if REPRO_VECTOR_BYTES == 64
inline Vector<float> multiply_add(Vector<float> factor, Vector<float> vector, Vector<float> sum) {
  return (Vector<float>)_mm512_fmadd_ps((__m512)factor, (__m512)vector, (__m512)sum);
}
inline Vector<double> multiply_add(Vector<double> factor, Vector<double> vector, Vector<double> sum) {
  return (Vector<double>)_mm512_fmadd_pd((__m512d)factor, (__m512d)vector, (__m512d)sum);
}
#elif REPRO_VECTOR_BYTES == 32
inline Vector<float> multiply_add(Vector<float> factor, Vector<float> vector, Vector<float> sum) {
  return (Vector<float>)_mm256_fmadd_ps((__m256)factor, (__m256)vector, (__m256)sum);
}
inline Vector<double> multiply_add(Vector<double> factor, Vector<double> vector, Vector<double> sum) {
  return (Vector<double>)_mm256_fmadd_pd((__m256d)factor, (__m256d)vector, (__m256d)sum);
}
#else
inline Vector<float> multiply_add(Vector<float> factor, Vector<float> vector, Vector<float> sum) {
  return sum + factor * vector;
}
inline Vector<double> multiply_add(Vector<double> factor, Vector<double> vector, Vector<double> sum) {
  return sum + factor * vector;
}
#endif

template <class T>
inline T horizontal_sum(Vector<T> vector) {
  T sum = 0;
  for (int lane = 0; lane < lanes<T>; ++lane) sum += vector[lane];
  return sum;
}

// The sums of four vectors.
template <class T>
inline void horizontal_sums(const Vector<T> (&vectors)[4], T (&sums)[4]) {
  for (int k = 0; k < 4; ++k) sums[k] = horizontal_sum<T>(vectors[k]);
}

#if defined(__AVX2__)
inline void horizontal_sums_256(__m256 a, __m256 b, __m256 c, __m256 d, float (&sums)[4]) {
  const __m256 quarters = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(quarters), _mm256_extractf128_ps(quarters, 1)));
}
#if REPRO_VECTOR_BYTES == 64
inline __m256 folded(Vector<float> vector) {
  __m256 halves[2];
  std::memcpy(halves, &vector, sizeof(vector));
  return _mm256_add_ps(halves[0], halves[1]);
}
#else
inline __m256 folded(Vector<float> vector) { return reinterpret_cast<__m256>(vector); }
#endif
template <>
inline void horizontal_sums<float>(const Vector<float> (&vectors)[4], float (&sums)[4]) {
  horizontal_sums_256(folded(vectors[0]), folded(vectors[1]), folded(vectors[2]), folded(vectors[3]), sums);
}
#endif

// Which tokens the samples of a query read, and with what weight. Corners: 0 above left, 1 above right, 2 below left,
// 3 below right; the discrete modes use the first alone.
template <class T>
struct Plan {
  Index* token[4];
  T* weight[4];
  // For the backward pass: the shares of left, right, upper and lower pixels, 0 outside the map; and whether those
  // pixels are inside, 1 or 0. Times the attention weight they give `weight`.
  T *share_left, *share_right, *share_up, *share_down;
  T *left, *right, *up, *down;

  static Plan in(void*& scratch, std::int64_t samples, bool backward) {
    const std::int64_t size = padded(samples);
    Plan plan{};
    for (auto& token : plan.token) token = take<Index>(scratch, size);
    for (auto& weight : plan.weight) weight = take<T>(scratch, size);
    if (!backward) return plan;
    for (T** part : {&plan.share_left, &plan.share_right, &plan.share_up, &plan.share_down, &plan.left, &plan.right,
                     &plan.up, &plan.down}) {
      *part = take<T>(scratch, size);
    }
    return plan;
  }

  template <class Element>
  static Element* take(void*& scratch, std::int64_t size) {
    auto* taken = static_cast<Element*>(scratch);
    scratch = taken + size;
    return taken;
  }
};

// A coordinate in pixels, moved to the nearer end of [-1, size]: at both ends, and beyond, no pixel is reached. NaN
// becomes -1.
template <class T>
inline T within(T pixel, T size) {
  pixel = pixel > -1 ? pixel : T(-1);
  return pixel < size ? pixel : size;
}

template <class T>
inline Index floored(T pixel) {
  const Index towards_zero = static_cast<Index>(pixel);
  return towards_zero - static_cast<Index>(static_cast<T>(towards_zero) > pixel);
}

inline Index clamped(Index index, Index last) {
  index = index > 0 ? index : 0;
  return index < last ? index : last;
}

// Samples [first, last) of a query, whose locations and weights start at these pointers.
template <class T, bool backward>
void plan_bilinear(const Plan<T>& plan, const Samples<T>& samples, std::int64_t first, std::int64_t last,
                   const T* __restrict locations, const T* __restrict weights) {
#pragma GCC ivdep
  for (std::int64_t i = first; i < last; ++i) {
    const T width = samples.width[i], height = samples.height[i];
    const T at_x = locations[2 * i], at_y = locations[2 * i + 1];
    // A location that is not finite makes the output NaN: what diverged must be seen.
    const T given = weights[i] + (at_x * 0 + at_y * 0), weight = samples.live[i] > 0 ? given : 0;
    const Index columns = samples.columns[i], rows = samples.rows[i], start = samples.start[i];
    const T x = within(at_x * width - T(0.5), width);
    const T y = within(at_y * height - T(0.5), height);
    const Index column = floored(x), row = floored(y);
    const T right_of = x - static_cast<T>(column), below = y - static_cast<T>(row);
    const T left = static_cast<T>((column >= 0) & (column < columns));
    const T right = static_cast<T>((x > -1) & (column + 1 < columns));
    const T up = static_cast<T>((row >= 0) & (row < rows));
    const T down = static_cast<T>((y > -1) & (row + 1 < rows));
    const T share_left = left * (1 - right_of), share_right = right * right_of;
    const T share_up = up * (1 - below), share_down = down * below;
    // An empty level has no pixel to move to; its start is token 0, and all shares are 0.
    const Index last_column = columns > 0 ? columns - 1 : 0, last_row = rows > 0 ? rows - 1 : 0;
    const Index column_0 = clamped(column, last_column), column_1 = clamped(column + 1, last_column);
    const Index row_0 = start + clamped(row, last_row) * columns;
    const Index row_1 = start + clamped(row + 1, last_row) * columns;
    plan.token[0][i] = row_0 + column_0;
    plan.token[1][i] = row_0 + column_1;
    plan.token[2][i] = row_1 + column_0;
    plan.token[3][i] = row_1 + column_1;
    plan.weight[0][i] = weight * share_up * share_left;
    plan.weight[1][i] = weight * share_up * share_right;
    plan.weight[2][i] = weight * share_down * share_left;
    plan.weight[3][i] = weight * share_down * share_right;
    if constexpr (backward) {
      plan.share_left[i] = share_left;
      plan.share_right[i] = share_right;
      plan.share_up[i] = share_up;
      plan.share_down[i] = share_down;
      plan.left[i] = left;
      plan.right[i] = right;
      plan.up[i] = up;
      plan.down[i] = down;
    }
  }
}

// RT-DETRv2's rule: the integer part of location * size + 0.5, kept inside the map. NaN counts as 0.
template <class T>
void plan_discrete(const Plan<T>& plan, const Samples<T>& samples, std::int64_t first, std::int64_t last,
                   const T* __restrict locations, const T* __restrict weights) {
#pragma GCC ivdep
  for (std::int64_t i = first; i < last; ++i) {
    const T x = locations[2 * i] * samples.width[i] + T(0.5), y = locations[2 * i + 1] * samples.height[i] + T(0.5);
    const Index rows = samples.rows[i];
    const T last_column = static_cast<T>(samples.last_column[i]), last_row = static_cast<T>(rows > 0 ? rows - 1 : 0);
    T column = x > 0 ? x : 0, row = y > 0 ? y : 0;  // in this order NaN becomes 0
    column = column < last_column ? column : last_column;
    row = row < last_row ? row : last_row;
    plan.token[0][i] = samples.start[i] + static_cast<Index>(row) * samples.columns[i] + static_cast<Index>(column);
    const T weight = weights[i];
    plan.weight[0][i] = samples.live[i] > 0 ? weight : 0;
  }
}

template <class T, bool backward>
void make_plan(const Plan<T>& plan, const Samples<T>& samples, Mode mode, std::int64_t first, std::int64_t last,
               const T* locations, const T* weights) {
  if (mode == Mode::bilinear) {
    plan_bilinear<T, backward>(plan, samples, first, last, locations, weights);
  } else {
    plan_discrete<T>(plan, samples, first, last, locations, weights);
  }
}

// Calls body<vectors>(channel) for tiles that cover [0, channels): 8, 4, 2 or 1 vectors wide, then <0> for the rest.
template <class T, class Body>
inline void for_tiles(std::int64_t channels, const Body& body) {
  std::int64_t channel = 0;
  for (; channel + 8 * lanes<T> <= channels; channel += 8 * lanes<T>) body.template operator()<8>(channel);
  if (channel + 4 * lanes<T> <= channels) body.template operator()<4>(channel), channel += 4 * lanes<T>;
  if (channel + 2 * lanes<T> <= channels) body.template operator()<2>(channel), channel += 2 * lanes<T>;
  if (channel + lanes<T> <= channels) body.template operator()<1>(channel), channel += lanes<T>;
  if (channel < channels) body.template operator()<0>(channel);
}

// One head's weighted sum, for a tile of `vectors` vectors of channels.
template <class T, int vectors, int corners>
inline void gather(const Plan<T>& plan, std::int64_t first, std::int64_t last, const T* base, std::int64_t stride,
                   T* output) {
  // So many independent sums that additions need not wait for one another.
  constexpr int sets = vectors >= 8 ? 1 : vectors == 4 ? 2 : 4;
  Vector<T> sum[sets][vectors] = {};
  for (std::int64_t i = first; i < last; ++i) {
#pragma GCC unroll 4
    for (int k = 0; k < corners; ++k) {
      const T* from = base + plan.token[k][i] * stride;
      const Vector<T> weight = plan.weight[k][i] - Vector<T>{};  // in every lane
      for (int v = 0; v < vectors; ++v) {
        sum[k % sets][v] = multiply_add(weight, load(from + v * lanes<T>), sum[k % sets][v]);
      }
    }
  }
  for (int v = 0; v < vectors; ++v) {
    for (int set = 1; set < sets; ++set) sum[0][v] += sum[set][v];
    store(output + v * lanes<T>, sum[0][v]);
  }
}

// The channels that do not fill a vector.
template <class T, int corners>
inline void gather_rest(const Plan<T>& plan, std::int64_t first, std::int64_t last, const T* base, std::int64_t stride,
                        std::int64_t channels, T* output) {
  std::fill(output, output + channels, T(0));
  for (std::int64_t i = first; i < last; ++i) {
    for (int k = 0; k < corners; ++k) {
      const T* from = base + plan.token[k][i] * stride;
      for (std::int64_t c = 0; c < channels; ++c) output[c] += plan.weight[k][i] * from[c];
    }
  }
}

template <class T>
inline void fetch_ahead(const T* from, std::int64_t count) {
  const auto* bytes = reinterpret_cast<const char*>(from);
  for (std::int64_t byte = 0; byte < count * static_cast<std::int64_t>(sizeof(T)); byte += 64) {
    __builtin_prefetch(bytes + byte);
  }
}

template <class T, int corners>
void forward_with(const Forward<T>& call, std::int64_t first, std::int64_t last, void* scratch) {
  const Sizes& sizes = call.sizes;
  const std::int64_t samples = sizes.samples(), stride = sizes.width();
  const Plan<T> plan = Plan<T>::in(scratch, samples, false);
  for (std::int64_t visit = first; visit < last; ++visit) {
    const std::int64_t image = visit / sizes.queries, begin = image * sizes.queries;
    const std::int64_t query = call.order ? begin + call.order[visit - begin] : visit;
    const T* base = call.value + image * sizes.tokens * stride;
    if (call.order && visit + 1 < last) {
      const std::int64_t next = (visit + 1) / sizes.queries * sizes.queries + call.order[(visit + 1) % sizes.queries];
      fetch_ahead(call.locations + next * samples * 2, samples * 2);
      fetch_ahead(call.weights + next * samples, samples);
    }
    make_plan<T, false>(plan, call.samples, call.mode, 0, samples, call.locations + query * samples * 2,
                        call.weights + query * samples);
    for (std::int64_t head = 0; head < sizes.heads; ++head) {
      const std::int64_t from = head * sizes.points, to = from + sizes.points, offset = head * sizes.channels;
      T* output = call.output + query * stride + offset;
      for_tiles<T>(sizes.channels, [&]<int vectors>(std::int64_t channel) {
        const T* here = base + offset + channel;
        if constexpr (vectors > 0) {
          gather<T, vectors, corners>(plan, from, to, here, stride, output + channel);
        } else {
          gather_rest<T, corners>(plan, from, to, here, stride, sizes.channels - channel, output + channel);
        }
      });
    }
  }
}

template <class T>
void forward(const Forward<T>& call, std::int64_t first, std::int64_t last, void* scratch) {
  if (call.mode == Mode::bilinear) return forward_with<T, 4>(call, first, last, scratch);
  forward_with<T, 1>(call, first, last, scratch);
}

// Adds weight * grad_output to the pixels that were read, and leaves in `dots` the product of each of those pixels with
// grad_output: all that the other two gradients need.
template <class T, int vectors, int corners>
inline void scatter(const Plan<T>& plan, std::int64_t first, std::int64_t last, const T* base, T* grad_base,
                    std::int64_t stride, const T* grad_output, T* const (&dots)[4], bool add) {
  Vector<T> grad[vectors];
  for (int v = 0; v < vectors; ++v) grad[v] = load(grad_output + v * lanes<T>);
  for (std::int64_t i = first; i < last; ++i) {
    Vector<T> product[4] = {};
#pragma GCC unroll 4
    for (int k = 0; k < corners; ++k) {
      const std::int64_t offset = plan.token[k][i] * stride;
      const T* from = base + offset;
      T* to = grad_base + offset;
      const Vector<T> weight = plan.weight[k][i] - Vector<T>{};  // in every lane
      for (int v = 0; v < vectors; ++v) {
        product[k] = multiply_add(grad[v], load(from + v * lanes<T>), product[k]);
        store(to + v * lanes<T>, multiply_add(weight, grad[v], load(to + v * lanes<T>)));
      }
    }
    if constexpr (corners == 1) {
      const T sum = horizontal_sum<T>(product[0]);
      dots[0][i] = add ? dots[0][i] + sum : sum;
    } else {
      T sums[4];
      horizontal_sums<T>(product, sums);
      for (int k = 0; k < corners; ++k) dots[k][i] = add ? dots[k][i] + sums[k] : sums[k];
    }
  }
}

template <class T, int corners>
inline void scatter_rest(const Plan<T>& plan, std::int64_t first, std::int64_t last, const T* base, T* grad_base,
                         std::int64_t stride, std::int64_t channels, const T* grad_output, T* const (&dots)[4],
                         bool add) {
  for (std::int64_t i = first; i < last; ++i) {
    for (int k = 0; k < corners; ++k) {
      const std::int64_t offset = plan.token[k][i] * stride;
      T sum = add ? dots[k][i] : T(0);
      for (std::int64_t c = 0; c < channels; ++c) {
        sum += grad_output[c] * base[offset + c];
        grad_base[offset + c] += plan.weight[k][i] * grad_output[c];
      }
      dots[k][i] = sum;
    }
  }
}

// Gradients of locations and weights from the dot products, for the samples [first, last) of a query.
template <class T>
void finish_bilinear(const Plan<T>& plan, const Samples<T>& samples, T* const (&dots)[4], std::int64_t first,
                     std::int64_t last, const T* __restrict weights, T* __restrict grad_locations,
                     T* __restrict grad_weights) {
#pragma GCC ivdep
  for (std::int64_t i = first; i < last; ++i) {
    const T up = plan.share_up[i], down = plan.share_down[i], left = plan.share_left[i], right = plan.share_right[i];
    const T dot_0 = dots[0][i], dot_1 = dots[1][i], dot_2 = dots[2][i], dot_3 = dots[3][i];
    grad_weights[i] = up * (left * dot_0 + right * dot_1) + down * (left * dot_2 + right * dot_3);
    const T along_x = up * (plan.right[i] * dot_1 - plan.left[i] * dot_0) +
                      down * (plan.right[i] * dot_3 - plan.left[i] * dot_2);
    const T along_y = left * (plan.down[i] * dot_2 - plan.up[i] * dot_0) +
                      right * (plan.down[i] * dot_3 - plan.up[i] * dot_1);
    grad_locations[2 * i] = weights[i] * samples.width[i] * along_x;
    grad_locations[2 * i + 1] = weights[i] * samples.height[i] * along_y;
  }
}

template <class T, int corners>
void backward_with(const Backward<T>& call, std::int64_t image, std::int64_t first, std::int64_t last, void* scratch) {
  const Sizes& sizes = call.sizes;
  const std::int64_t samples = sizes.samples(), stride = sizes.width();
  const std::int64_t from = first * sizes.points, to = last * sizes.points;
  const Plan<T> plan = Plan<T>::in(scratch, samples, true);
  T* dots[4];
  for (auto& dot : dots) dot = Plan<T>::template take<T>(scratch, padded(samples));
  const T* value = call.value + image * sizes.tokens * stride;
  T* grad_value = call.grad_value + image * sizes.tokens * stride;
  for (std::int64_t visit = 0; visit < sizes.queries; ++visit) {
    const std::int64_t query = image * sizes.queries + (call.order ? call.order[visit] : visit);
    const T* weights = call.weights + query * samples;
    T* grad_weights = call.grad_weights + query * samples;
    make_plan<T, true>(plan, call.samples, call.mode, from, to, call.locations + query * samples * 2, weights);
    for (std::int64_t head = first; head < last; ++head) {
      const std::int64_t begin = head * sizes.points, end = begin + sizes.points, offset = head * sizes.channels;
      for_tiles<T>(sizes.channels, [&]<int vectors>(std::int64_t channel) {
        const std::int64_t shift = offset + channel;
        const T* grad = call.grad_output + query * stride + shift;
        if constexpr (vectors > 0) {
          scatter<T, vectors, corners>(plan, begin, end, value + shift, grad_value + shift, stride, grad, dots,
                                       channel > 0);
        } else {
          scatter_rest<T, corners>(plan, begin, end, value + shift, grad_value + shift, stride,
                                   sizes.channels - channel, grad, dots, channel > 0);
        }
      });
    }
    if constexpr (corners == 4) {
      finish_bilinear<T>(plan, call.samples, dots, from, to, weights, call.grad_locations + query * samples * 2,
                         grad_weights);
    } else {
      for (std::int64_t i = from; i < to; ++i) grad_weights[i] = dots[0][i] * call.samples.live[i];
    }
  }
}

template <class T>
void backward(const Backward<T>& call, std::int64_t image, std::int64_t first, std::int64_t last, void* scratch) {
  if (call.mode == Mode::bilinear) return backward_with<T, 4>(call, image, first, last, scratch);
  backward_with<T, 1>(call, image, first, last, scratch);
}

}  // namespace

template <class T>
Kernels<T> kernels() {
  return {forward<T>, backward<T>};
}
template Kernels<float> kernels<float>();
template Kernels<double> kernels<double>();

}  // namespace repro::msda::REPRO_VARIANT
