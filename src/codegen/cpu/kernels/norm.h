// rms_norm (Zhang & Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * gain. layer_norm (Ba et al. 2016) takes the mean of x
// away first and adds a bias at the end.
//
// The squares are summed in sixteen lanes (lane i: columns i, i + 16, ...) and the lanes as a tree. Buffers
// are padded with zeros to a multiple of 16 columns, which adds nothing to the sum.
#pragma once

#include "codegen/cpu/kernels/bf16.h"
#include "codegen/cpu/kernels/quantize.h"
#include "codegen/cpu/kernels/step.h"

namespace forge::kernels {
namespace {

FORGE_INLINE constexpr uint32_t pad16(uint32_t n) { return (n + 15) / 16 * 16; }

// Writes value(i), sixteen columns from i on, in each form whose place is not null: y (pad16(N) floats), q (a Q8Row), bf16
// (as prompt_row gives it).
template <uint32_t N, class Value>
FORGE_INLINE void put_forms(Value value, float* y, void* q, uint16_t* bf16) {
  if (y != nullptr)
    for (uint32_t i = 0; i < N; i += 16) store(y + i, value(i));
  if constexpr (N % 32 == 0) {
    if (q != nullptr)
      for (uint32_t b = 0; b < N / 32; ++b)
        quantize_block(value(32 * b), value(32 * b + 16), b, *(Q8Row<N>*)q);
    if (bf16 != nullptr)
      for (uint32_t b = 0; b < N / 32; ++b)
        store_bf16(value(32 * b), value(32 * b + 16), bf16 + 32 * kTileRows * b);
  }
}

template <uint32_t N>
FORGE_INLINE void put_row(const float* x, float* y, void* q, uint16_t* bf16 = nullptr) {
  put_forms<N>([&](uint32_t i) __attribute__((always_inline)) { return load<f32x16>(x + i); }, y, q, bf16);
}

// Reads pad16(N) floats of x and gains.
template <uint32_t N, class Gain>
FORGE_INLINE void rms_norm_row(const float* x, const uint8_t* gain, float eps, float* y, void* q,
                               uint16_t* bf16 = nullptr) {
  f32x16 squares = {};
  for (uint32_t i = 0; i < N; i += 16) {
    const f32x16 v = load<f32x16>(x + i);
    squares = fma(v, v, squares);
  }
  const float inv = 1.0F / __builtin_sqrtf(reduce_add(squares) / (float)N + eps);
  const auto value = [&](uint32_t i) __attribute__((always_inline)) {
    return load<f32x16>(x + i) * inv * load_as_f32<Gain>(gain + i * sizeof(typename Gain::Element));
  };
  put_forms<N>(value, y, q, bf16);
}

// bias may be null.
template <uint32_t N, class Gain, class Bias = F32>
FORGE_INLINE void layer_norm_row(const float* x, const uint8_t* gain, const uint8_t* bias, float eps,
                                 float* y, void* q, uint16_t* bf16 = nullptr) {
  f32x16 sum = {};
  for (uint32_t i = 0; i < N; i += 16) sum += load<f32x16>(x + i);
  const float mean = reduce_add(sum) / (float)N;
  // Sixteen columns without the mean. Those of the padding stay zero.
  const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto centred = [&](uint32_t i) __attribute__((always_inline)) {
    const f32x16 v = load<f32x16>(x + i) - mean;
    return i + 16 <= N ? v : (lane + (int32_t)i < (int32_t)N ? v : f32x16{});
  };
  f32x16 squares = {};
  for (uint32_t i = 0; i < N; i += 16) squares = fma(centred(i), centred(i), squares);
  const float inv = 1.0F / __builtin_sqrtf(reduce_add(squares) / (float)N + eps);
  const auto value = [&](uint32_t i) __attribute__((always_inline)) {
    const f32x16 v = centred(i) * inv * load_as_f32<Gain>(gain + i * sizeof(typename Gain::Element));
    return bias == nullptr ? v : v + load_as_f32<Bias>(bias + i * sizeof(typename Bias::Element));
  };
  put_forms<N>(value, y, q, bf16);
}

// rms_norm of each of the given heads of a row; all heads share the gain. A head need not begin at a multiple of
// sixteen columns nor end at one, so it is normed in a padded copy.
template <uint32_t head_dim, class Gain>
FORGE_INLINE void head_norm_row(const float* x, Range heads, const uint8_t* gain, float eps, float* y) {
  alignas(64) float head[pad16(head_dim)] = {}, normed[pad16(head_dim)];
  for (uint32_t h = heads.begin; h < heads.end; ++h) {
    __builtin_memcpy(head, x + h * head_dim, head_dim * sizeof(float));
    rms_norm_row<head_dim, Gain>(head, gain, eps, normed, nullptr);
    __builtin_memcpy(y + h * head_dim, normed, head_dim * sizeof(float));
  }
}

}  // namespace
}  // namespace forge::kernels
