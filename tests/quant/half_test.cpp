#include "quant/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace forge {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

static_assert(half_to_float(0x3c00) == 1.0f && float_to_half(1.0f) == 0x3c00);
static_assert(bfloat16_to_float(0x3f80) == 1.0f && float_to_bfloat16(1.0f) == 0x3f80);

uint32_t bits(float f) { return std::bit_cast<uint32_t>(f); }

// Every pattern against the format's definition.
TEST(Half, DecodesEveryPattern) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const int exponent = static_cast<int>(h >> 10 & 31), mantissa = static_cast<int>(h & 1023);
    const uint32_t sign = (h & 0x8000u) << 16;
    uint32_t expected = 0;
    if (exponent == 31) {
      expected = 0x7f800000u | static_cast<uint32_t>(mantissa) << 13 | (mantissa != 0 ? 0x00400000u : 0u);
    } else if (exponent == 0) {
      expected = bits(std::ldexp(static_cast<float>(mantissa), -24));
    } else {
      expected = bits(std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25));
    }
    ASSERT_EQ(bits(half_to_float(static_cast<uint16_t>(h))), expected | sign) << h;
  }
}

TEST(Half, EncodesWhatItDecoded) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const bool is_nan = (h & 0x7fffu) > 0x7c00u;
    ASSERT_EQ(float_to_half(half_to_float(static_cast<uint16_t>(h))), is_nan ? (h | 0x200u) : h) << h;
  }
}

// Around the middle between each two neighbours: ties go to the even one.
TEST(Half, RoundsToNearestEven) {
  for (uint16_t h = 0; h < 0x7c00; ++h) {
    const float low = half_to_float(h);
    const float high = h == 0x7bff ? 65536.0f : half_to_float(static_cast<uint16_t>(h + 1));
    const float middle = (low + high) / 2.0f;
    const auto above = static_cast<uint16_t>(h + 1);
    const uint16_t even = h % 2 == 0 ? h : above;
    ASSERT_EQ(float_to_half(middle), even) << h;
    ASSERT_EQ(float_to_half(-middle), even | 0x8000) << h;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), h) << h;
    ASSERT_EQ(float_to_half(std::nextafter(middle, kInfinity)), above) << h;
  }
}

TEST(Half, Extremes) {
  EXPECT_EQ(float_to_half(kInfinity), 0x7c00);
  EXPECT_EQ(float_to_half(-kInfinity), 0xfc00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
  EXPECT_EQ(float_to_half(std::bit_cast<float>(0xff800001u)),
            0xfe00);  // a NaN whose payload is all in the low bits
}

TEST(Bfloat16, EncodesWhatItDecoded) {
  for (uint32_t b = 0; b < 0x10000; ++b) {
    const float value = bfloat16_to_float(static_cast<uint16_t>(b));
    ASSERT_EQ(bits(value), b << 16);
    const bool is_nan = (b & 0x7fffu) > 0x7f80u;
    ASSERT_EQ(float_to_bfloat16(value), is_nan ? (b | 0x40u) : b) << b;
  }
}

TEST(Bfloat16, RoundsToNearestEven) {
  for (uint32_t b = 0; b < 0x7f80; ++b) {
    const uint32_t middle = b << 16 | 0x8000u;
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(middle)), b % 2 == 0 ? b : b + 1) << b;
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(middle - 1)), b) << b;
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(middle + 1)), b + 1) << b;
  }
  EXPECT_EQ(float_to_bfloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)), 0x7fc0);
}

}  // namespace
}  // namespace forge
