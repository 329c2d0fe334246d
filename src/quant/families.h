// The type tables of each family, joined by dtype.cpp. Blocks lie as bytes in little-endian order, unaligned.
#pragma once

#include <array>
#include <cmath>
#include <cstring>

#include "quant/dtype.h"
#include "quant/half.h"

namespace forge {

std::array<DTypeInfo, 3> float_types();    // f32, f16, bf16
std::array<DTypeInfo, 5> legacy_types();   // q4_0, q4_1, q5_0, q5_1, q8_0
std::array<DTypeInfo, 3> k_quant_types();  // q4_k, q5_k, q6_k

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

// Toward zero, limited to [low, high]; NaN gives low. For finite values in range the same as a cast.
inline int truncate_within(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  return value >= static_cast<float>(high) ? high : static_cast<int>(value);
}

}  // namespace forge
