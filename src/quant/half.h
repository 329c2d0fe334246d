// 16-bit floats in plain bit code, so that every build and every machine gives the same bits.
// Conversions round to nearest, ties to even; a NaN stays one, made quiet, with its sign and upper payload
// bits (as x86's F16C and AVX-512 BF16 instructions leave it).
#pragma once

#include <bit>
#include <cstdint>

namespace forge {

// IEEE binary16, exact.
constexpr float half_to_float(uint16_t half) {
  constexpr uint32_t kExponent = 0x7c00u << 13;
  const uint32_t sign = (half & 0x8000u) << 16;
  const uint32_t magnitude = (half & 0x7fffu) << 13;
  uint32_t bits = magnitude + ((127u - 15u) << 23);
  if ((magnitude & kExponent) == kExponent) {  // infinity, NaN
    bits = magnitude | 0x7f800000u | (magnitude > kExponent ? 0x00400000u : 0u);
  } else if ((magnitude & kExponent) == 0) {  // zero, subnormal: put the leading one there, then take it away
    constexpr float kSmallestNormal = 0x1p-14f;
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(bits + (1u << 23)) - kSmallestNormal);
  }
  return std::bit_cast<float>(bits | sign);
}

// Magnitudes from 65520 up become infinity.
constexpr uint16_t float_to_half(float value) {
  const uint32_t all = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (all >> 16) & 0x8000u;
  uint32_t bits = all & 0x7fffffffu;
  if (bits > 0x7f800000u) {
    bits = 0x7e00u | ((bits >> 13) & 0x3ffu);
  } else if (bits >= (143u << 23)) {
    bits = 0x7c00u;
  } else if (bits < (113u << 23)) {
    // Subnormal: adding 0.5 leaves the ten mantissa bits at the bottom of the sum, rounded by the addition
    // itself.
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  } else {
    const uint32_t odd = (bits >> 13) & 1u;
    bits = (bits - ((127u - 15u) << 23) + 0xfffu + odd) >> 13;
  }
  return static_cast<uint16_t>(bits | sign);
}

constexpr float bfloat16_to_float(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

constexpr uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace forge
