// The numerics of codegen/cpu/kernels/simd.h, one lane at a time: same steps, same rounding.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "quant/half.h"

namespace forge {

constexpr float kLog2E = 1.44269504F;

inline float kernel_exp(float x) {
  x = x > -87.0F ? x : -87.0F;
  x = x > 88.0F ? 88.0F : x;
  const float n = std::nearbyintf(x * kLog2E);
  float r = std::fmaf(n, -0.693359375F, x);
  r = std::fmaf(n, 2.12194440e-4F, r);
  float p = 1.9875691500e-4F;
  p = std::fmaf(p, r, 1.3981999507e-3F);
  p = std::fmaf(p, r, 8.3334519073e-3F);
  p = std::fmaf(p, r, 4.1665795894e-2F);
  p = std::fmaf(p, r, 1.6666665459e-1F);
  p = std::fmaf(p, r, 5.0000001201e-1F);
  const float e = std::fmaf(p, r * r, r) + 1.0F;
  return e * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

// Of less than -126, and of a NaN, it is 2^-126.
inline float kernel_exp2_for_bf16(float t) {
  t = t > -126.0F ? t : -126.0F;
  const float whole = std::nearbyintf(t), r = t - whole;
  float p = 5.5008946220760885e-2F;
  for (const float c : {2.4221099709565935e-1F, 6.932829296269772e-1F, 1.0F}) p = std::fmaf(p, r, c);
  return std::ldexp(p, static_cast<int>(whole));
}

inline float kernel_exp2_of_negative(float x) { return kernel_exp2_for_bf16(x); }

inline float kernel_sigmoid_for_bf16(float x) {
  float t = x * -kLog2E;
  t = t < 120.0F ? t : 120.0F;
  const float y = kernel_exp2_for_bf16(t) + 1.0F;
  const auto inverse = std::bit_cast<float>(0x7EF311C7U - std::bit_cast<uint32_t>(y));
  const float e = std::fmaf(-y, inverse, 1.0F);
  return std::fmaf(inverse, std::fmaf(e, e, e), inverse);
}

inline float kernel_silu(float x) { return x / (kernel_exp(-x) + 1.0F); }
inline float kernel_silu_of_prompt(float x) { return x * kernel_sigmoid_for_bf16(x); }

inline float kernel_gelu_argument(float x) { return (x + 0.044715F * (x * x * x)) * 1.5957691216F; }
inline float kernel_gelu(float x) { return x / (kernel_exp(-kernel_gelu_argument(x)) + 1.0F); }
inline float kernel_gelu_of_prompt(float x) { return x * kernel_sigmoid_for_bf16(kernel_gelu_argument(x)); }

inline float kernel_tanh(float x) {
  const float a = std::fabs(x), z = x * x;
  float p = -5.70498872745e-3F;
  p = std::fmaf(p, z, 2.06390887954e-2F);
  p = std::fmaf(p, z, -5.37397155531e-2F);
  p = std::fmaf(p, z, 1.33314422036e-1F);
  p = std::fmaf(p, z, -3.33332819422e-1F);
  const float near_zero = std::fmaf(p * z, x, x);
  const float far = std::copysign(1.0F - 2.0F / (kernel_exp(a + a) + 1.0F), x);
  return a < 0.625F ? near_zero : far;
}

inline float kernel_softcap(float x, float cap) { return kernel_tanh(x / cap) * cap; }

// Sixteen partial sums, added as a tree of halves.
struct LaneSum {
  float lane[16] = {};
  float total() const {
    float v[16];
    for (int i = 0; i < 16; ++i) v[i] = lane[i];
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) v[i] += v[i + half];
    return v[0];
  }
};

// To bfloat16 and back; subnormal numbers become zero (src/codegen/cpu/kernels/bf16.h).
inline float round_to_bf16(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0F, x)
                                                          : bfloat16_to_float(float_to_bfloat16(x));
}

// To binary16, cut off behind its last bit; beyond its largest number that is left.
inline uint16_t cut_off_to_half(double x) {
  if (!std::isfinite(x)) return float_to_half(static_cast<float>(x));
  constexpr double largest = 65504;
  const double step = std::ldexp(1.0, (x == 0 ? -14 : std::max(std::ilogb(x), -14)) - 10);
  return float_to_half(static_cast<float>(std::clamp(std::trunc(x / step) * step, -largest, largest)));
}

// Whether the matrix unit gets weights of such scales by way of one power of two for all: at least 2^-14, and too small for any
// weight to reach one, where levels are 2^level_bits at most.
inline bool have_common_scale(float scale, std::optional<float> minimum, uint32_t level_bits) {
  const float products = std::ldexp(minimum ? 0.5F : 1.0F, -static_cast<int>(level_bits));
  return std::fabs(scale) >= 0x1p-14F && std::fabs(scale) < products && std::fabs(minimum.value_or(0)) < 0.5F;
}

// level * scale + minimum as the matrix unit gets it: in binary16, the scales divided by a power of two, then bfloat16
// (src/codegen/cpu/kernels/bf16_weights.h). |level| of the type is 2^level_bits at most (BlockCodec).
inline float bf16_weight(int level, float scale, std::optional<float> minimum, uint32_t level_bits) {
  constexpr uint32_t exponents = 0x7F800000, least = (127 - 112) << 23, most = (127 + 112) << 23,
                     common = (127 - 16) << 23;
  const auto exponent = [](float x) { return std::bit_cast<uint32_t>(x) & exponents; };
  const uint32_t e = have_common_scale(scale, minimum, level_bits)
                         ? common
                         : std::clamp(std::max(exponent(scale), exponent(minimum.value_or(0))), least, most);
  const auto factor = std::bit_cast<float>((254U << 23) - e);
  const auto divided = [&](float x) {
    return std::isnan(x) ? std::numeric_limits<double>::quiet_NaN()
                         : double{half_to_float(float_to_half(x * factor))};
  };
  double exact = level * divided(scale);
  if (minimum) exact += divided(*minimum);
  const uint16_t half = cut_off_to_half(exact);
  const auto sign = static_cast<uint16_t>(half & 0x8000), magnitude = static_cast<uint16_t>(half & 0x7FFF);
  // Eight of eleven bits, ties away from zero; the exponent is where bfloat16 has it, but for what e adds.
  const auto bits = static_cast<uint16_t>(((magnitude + 4) >> 3) + ((e - least) >> 16));
  return bits < 0x80 ? bfloat16_to_float(sign) : bfloat16_to_float(static_cast<uint16_t>(sign | bits));
}

// sum + the products of the pairs factors(0), ..., factors(n - 1), as a matrix unit adds them: 32 at a time, the even and the
// odd ones in chains of their own.
template <class Factors>
float bf16_sum(float sum, size_t n, Factors factors) {
  for (size_t k = 0; k < n; k += 32) {
    std::array<float, 2> chain{};
    for (size_t i = k; i < std::min<size_t>(k + 32, n); ++i) {
      const auto [a, b] = factors(i);
      chain[i % 2] = std::fmaf(a, b, chain[i % 2]);
    }
    sum += chain[0] + chain[1];
  }
  return sum;
}

}  // namespace forge
