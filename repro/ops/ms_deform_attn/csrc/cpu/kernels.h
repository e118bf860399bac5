// What the CPU kernels are told, and the table of them that a set of instructions offers. No torch here: the kernels
// compile in seconds and run alone, under a sanitizer or on another processor.
#pragma once

#include <cstdint>

namespace repro::msda {

enum class Mode { bilinear, discrete, discrete_per_axis };

// One call's sizes: B images of S tokens, M heads of D channels, Q queries with N = M * P samples each.
struct Sizes {
  std::int64_t batch, tokens, heads, channels, queries, points;
  std::int64_t samples() const { return heads * points; }
  std::int64_t width() const { return heads * channels; }  // of a token, and of a query's output
};

// The level that each sample of a query reads, repeated for every head, so that unequal numbers of points cost nothing.
// An empty level is `live` = 0, with sizes that put every location outside.
template <class T>
struct Samples {
  const T* width;
  const T* height;
  const T* live;                // 0 on levels without pixels
  const std::int32_t* columns;  // width as an integer
  const std::int32_t* rows;
  const std::int32_t* last_column;  // greatest index that a discrete sample may get
  const std::int32_t* start;        // the level's first token
};

template <class T>
struct Forward {
  Sizes sizes;
  Samples<T> samples;
  Mode mode;
  const std::int32_t* order;  // in which an image's queries are visited; null for the natural order
  const T* value;
  const T* locations;
  const T* weights;
  T* output;
};

template <class T>
struct Backward {
  Sizes sizes;
  Samples<T> samples;
  Mode mode;
  const std::int32_t* order;
  const T* grad_output;
  const T* value;
  const T* locations;
  const T* weights;
  T* grad_value;      // zero on entry
  T* grad_locations;  // null in the discrete modes
  T* grad_weights;
};

// Scratch is memory of one thread, of at least scratch_bytes(sizes) bytes, aligned to 64.
template <class T>
struct Kernels {
  // Outputs of the visits [first, last), counted over all images.
  void (*forward)(const Forward<T>&, std::int64_t first, std::int64_t last, void* scratch);
  // All gradients that the heads [first, last) of one image cause.
  void (*backward)(const Backward<T>&, std::int64_t image, std::int64_t first, std::int64_t last, void* scratch);
};

inline std::int64_t padded(std::int64_t samples) { return (samples + 15) / 16 * 16; }

// The backward pass plans 4 tokens and 16 numbers a sample; the forward pass less.
inline std::int64_t scratch_bytes(const Sizes& sizes) {
  return padded(sizes.samples()) * (4 * sizeof(std::int32_t) + 16 * sizeof(double));
}

namespace portable { template <class T> Kernels<T> kernels(); }
namespace avx2 { template <class T> Kernels<T> kernels(); }
namespace avx512 { template <class T> Kernels<T> kernels(); }

}  // namespace repro::msda
