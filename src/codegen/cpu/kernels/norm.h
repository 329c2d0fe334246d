// rms_norm (Zhang & Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * gain.
//
// The squares are summed in sixteen lanes (lane i: columns i, i + 16, ...) and the lanes as a tree. Buffers
// are padded with zeros to a multiple of 16 columns, which adds nothing to the sum.
#pragma once

#include "codegen/cpu/kernels/quantize.h"

namespace forge::kernels {
namespace {

FORGE_INLINE constexpr uint32_t pad16(uint32_t n) { return (n + 15) / 16 * 16; }

// Reads pad16(N) floats of x and gains; writes y (pad16(N) floats) and/or q, each may be null.
template <uint32_t N, class Gain>
FORGE_INLINE void rms_norm_row(const float* x, const uint8_t* gain, float eps, float* y, void* q) {
  f32x16 squares = {};
  for (uint32_t i = 0; i < N; i += 16) {
    const f32x16 v = load<f32x16>(x + i);
    squares = fma(v, v, squares);
  }
  const float inv = 1.0F / __builtin_sqrtf(reduce_add(squares) / (float)N + eps);
  const auto value = [&](uint32_t i) __attribute__((always_inline)) {
    return load<f32x16>(x + i) * inv * load_as_f32<Gain>(gain + i * sizeof(typename Gain::Element));
  };
  if (y != nullptr)
    for (uint32_t i = 0; i < N; i += 16) store(y + i, value(i));
  if constexpr (N % 32 == 0) {
    if (q != nullptr)
      for (uint32_t b = 0; b < N / 32; ++b)
        quantize_block(value(32 * b), value(32 * b + 16), b, *(Q8Row<N>*)q);
  }
}

}  // namespace
}  // namespace forge::kernels
