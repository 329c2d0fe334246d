// Levels and scales of the types that are no plain integers times a half.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace forge {

// iq4_nl, iq4_xs: closer together around zero, where a trained model's weights are.
inline constexpr std::array<int8_t, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};

// mxfp4, nvfp4: twice the values of e2m1 (sign, two bits of exponent, one of mantissa).
inline constexpr std::array<int8_t, 16> kFp4Levels = {0, 1,  2,  3,  4,  6,  8,  12,
                                                      0, -1, -2, -3, -4, -6, -8, -12};

// iq1_*, iq2_*, iq3_*: of the codes in grids.cpp, a digit with a sign above it.
inline constexpr std::array<int8_t, 16> kIq1Levels = {-7, 1, 9, 0, -9, -1, 7};
inline constexpr std::array<int8_t, 16> kIq2Levels = {8, 25, 43, 0, -8, -25, -43};
inline constexpr std::array<int8_t, 16> kIq3XxsLevels = {4,  12,  20,  28,  36,  44,  52,  62,
                                                         -4, -12, -20, -28, -36, -44, -52, -62};
inline constexpr std::array<int8_t, 16> kIq3SLevels = {1,  3,  5,  7,  9,  11,  13,  15,
                                                       -1, -3, -5, -7, -9, -11, -13, -15};

// Half of an e8m0 number, 2^(e - 128), which undoes the doubling of the levels. The two smallest are subnormal
// floats; 255, in the MX specification no number, goes on in the row.
constexpr float e8m0_half(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1u) << 23);
}

// Half of an unsigned e4m3 number (four bits of exponent, bias 7, three of mantissa); the top bit does not
// count and 0x7f, elsewhere no number, is zero.
constexpr float e4m3_half(uint8_t x) {
  // As the top bits of a float its exponent is 120 too small, also where it is subnormal.
  return x == 0x7f ? 0.0f : std::bit_cast<float>((x & 0x7fu) << 20) * 0x1p119f;
}

}  // namespace forge
