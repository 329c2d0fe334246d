// The type tables of each family, joined by dtype.cpp. Blocks lie as bytes in little-endian order, unaligned.
#pragma once

#include <array>
#include <cmath>
#include <cstring>

#include "quant/dtype.h"
#include "quant/half.h"

namespace forge {

std::array<DTypeInfo, 3> float_types();      // f32, f16, bf16
std::array<DTypeInfo, 5> legacy_types();     // q4_0, q4_1, q5_0, q5_1, q8_0
std::array<DTypeInfo, 6> k_quant_types();    // q2_k, q3_k, q4_k, q5_k, q6_k, q8_k
std::array<DTypeInfo, 4> low_bit_types();    // tq1_0, tq2_0, q1_0, q2_0
std::array<DTypeInfo, 4> nonlinear_types();  // iq4_nl, iq4_xs, mxfp4, nvfp4
std::array<DTypeInfo, 7> grid_types();       // iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s

template <class T>
T load(const uint8_t* src) {
  T value;
  std::memcpy(&value, src, sizeof value);
  return value;
}

template <class T>
void store(uint8_t* dst, T value) {
  std::memcpy(dst, &value, sizeof value);
}

inline float load_half(const uint8_t* src) { return half_to_float(load<uint16_t>(src)); }
inline void store_half(uint8_t* dst, float value) { store(dst, float_to_half(value)); }

// The first of the n values with the largest magnitude; NaNs don't count. The magnitude has a variable of its
// own: clang 19.1.7 compiles `if (fabs(x[i]) > fabs(f)) f = x[i]`, starting from f = 0 and unrolled, to a
// comparison that takes a negative f as it is.
inline float farthest_from_zero(const float* x, size_t n) {
  float farthest = 0.0f, magnitude = 0.0f;
  for (size_t i = 0; i < n; ++i) {
    const float m = std::fabs(x[i]);
    if (m > magnitude) {
      magnitude = m;
      farthest = x[i];
    }
  }
  return farthest;
}

// Nearest, ties to even, limited to [low, high]; NaN gives low.
inline int round_within(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (value >= static_cast<float>(high)) return high;
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: the sum's last mantissa bit is worth one
  return static_cast<int>((value + kShift) - kShift);
}

// Groups of weights with none above this are encoded as zeros.
inline constexpr float kNothing = 1e-15f;

// Toward zero, limited to [low, high]; NaN gives low. For finite values in range the same as a cast.
inline int truncate_within(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  return value >= static_cast<float>(high) ? high : static_cast<int>(value);
}

}  // namespace forge
