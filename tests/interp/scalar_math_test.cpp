#include "interp/scalar_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>

namespace forge {
namespace {

// The largest relative error of a function at multiples of 2^-14.
template <class Function, class Exact>
double worst_error(int from, int to, Function function, Exact exact) {
  double worst = 0;
  for (int i = from * 16384; i <= to * 16384; ++i) {
    const float at = static_cast<float>(i) / 16384.0F;
    const double expected = exact(static_cast<double>(at));
    worst = std::max(worst, std::fabs(static_cast<double>(function(at)) - expected) / expected);
  }
  return worst;
}

// Roundings, relative to e^x: the last sum 2^-24, r and the fma before the sum 2^-26 each of values up to
// 2^-1.5 beside a result of at least 2^-0.5, the polynomial's own error and that of its terms 2^-26. Together
// less than 2^-23; a unit in the last place is between 2^-24 and 2^-23 of a number.
TEST(KernelExp, IsWithinTwoUnitsInTheLastPlace) {
  const double worst = worst_error(-87, 88, kernel_exp, [](double x) { return std::exp(x); });
  EXPECT_LT(worst, 0x1p-23);
  EXPECT_GT(worst, 0x1p-26);  // the loop saw something
}

TEST(KernelExp, Ends) {
  EXPECT_EQ(kernel_exp(0.0F), 1.0F);
  EXPECT_EQ(kernel_exp(-0.0F), 1.0F);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(kernel_exp(-infinity), kernel_exp(-87.0F));
  EXPECT_EQ(kernel_exp(-1e30F), kernel_exp(-87.0F));
  EXPECT_GE(kernel_exp(-87.0F), std::numeric_limits<float>::min());
  EXPECT_EQ(kernel_exp(infinity), kernel_exp(88.0F));
  EXPECT_LT(kernel_exp(88.0F), infinity);
  for (int i = -300; i < 300; ++i)
    EXPECT_LE(kernel_exp(0.3F * static_cast<float>(i)), kernel_exp(0.3F * static_cast<float>(i + 1)));
}

// The polynomial's own error 2^-13.27, and roundings of 2^-23.
TEST(KernelExp2, IsWithinItsBound) {
  const double worst = worst_error(-126, 0, kernel_exp2_of_negative, [](double x) { return std::exp2(x); });
  EXPECT_LT(worst, 0x1p-13);
  EXPECT_GT(worst, 0x1p-14);  // the loop saw something
}

TEST(KernelExp2, Ends) {
  EXPECT_EQ(kernel_exp2_of_negative(0.0F), 1.0F);
  EXPECT_EQ(kernel_exp2_of_negative(-0.0F), 1.0F);
  EXPECT_EQ(kernel_exp2_of_negative(-126.0F), std::numeric_limits<float>::min());
  EXPECT_EQ(kernel_exp2_of_negative(-3e38F), std::numeric_limits<float>::min());
  EXPECT_EQ(kernel_exp2_of_negative(-std::numeric_limits<float>::infinity()),
            std::numeric_limits<float>::min());
}

TEST(KernelSilu, IsXTimesItsSigmoid) {
  for (int i = -8000; i <= 8000; ++i) {
    const float x = 0.01F * static_cast<float>(i);
    const double exact = static_cast<double>(x) / (1.0 + std::exp(-static_cast<double>(x)));
    // Of the exponential, the sum and the quotient.
    EXPECT_NEAR(static_cast<double>(kernel_silu(x)), exact, std::fabs(exact) * 0x1p-22);
  }
  EXPECT_EQ(kernel_silu(0.0F), 0.0F);
  EXPECT_TRUE(std::isnan(kernel_silu(std::numeric_limits<float>::quiet_NaN())));
}

// The reciprocal's line is off by less than 5.06%, which the step makes 2^-12.9; the power adds 2^-13.27, and the rounded
// exponent of up to 115 2^-18.7.
TEST(KernelSigmoidForBf16, IsWithinItsBound) {
  const double worst =
      worst_error(-80, 80, kernel_sigmoid_for_bf16, [](double x) { return 1.0 / (1.0 + std::exp(-x)); });
  EXPECT_LT(worst, 0x1p-12);
  EXPECT_GT(worst, 0x1p-13);  // the loop saw something
}

TEST(KernelSigmoidForBf16, Ends) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(kernel_sigmoid_for_bf16(-infinity), kernel_sigmoid_for_bf16(-90.0F));
  EXPECT_EQ(kernel_sigmoid_for_bf16(infinity), kernel_sigmoid_for_bf16(80.0F));
  EXPECT_NEAR(kernel_sigmoid_for_bf16(infinity), 1.0F, 0x1p-12);
  for (const auto of_prompt : {kernel_silu_of_prompt, kernel_gelu_of_prompt}) {
    EXPECT_EQ(of_prompt(0.0F), 0.0F);
    EXPECT_EQ(of_prompt(infinity), infinity);
    EXPECT_TRUE(std::isnan(of_prompt(std::numeric_limits<float>::quiet_NaN())));
  }
}

// Scales of any size, with a minimum of about the size of the largest product, none, or one of any size.
TEST(Bf16Weight, IsWithinItsBound) {
  std::mt19937 random(17);
  std::uniform_real_distribution<float> mantissa(-2, 2), exponent(-60, 60);
  double worst = 0;
  for (int i = 0; i < 300'000; ++i) {
    const float scale = mantissa(random) * std::exp2(std::floor(exponent(random)));
    const int level = static_cast<int>(random() % 256) - 128;
    std::optional<float> minimum;
    if (i % 3 == 1) minimum = mantissa(random) * 16 * scale;
    if (i % 3 == 2) minimum = mantissa(random) * std::exp2(std::floor(exponent(random)));
    const double product = level * static_cast<double>(scale), added = minimum.value_or(0),
                 exact = product + added;
    const double base =
        std::exp2(std::floor(std::log2(std::max(std::fabs(static_cast<double>(scale)), std::fabs(added)))));
    // Scale and minimum are rounded to eleven bits, subnormal ones to 2^-25, then the sum to eight; and what can't be told from
    // the smallest number is less than it.
    const double before =
        0x1p-11 * (std::fabs(product) + std::fabs(added)) + (std::abs(level) + 1) * base * 0x1p-25;
    const double bound = before + 0x1p-8 * (std::fabs(exact) + before) + base * 0x1p-14;
    const double error = std::fabs(bf16_weight(level, scale, minimum, 7) - exact);
    ASSERT_LE(error, bound) << level << " * " << scale << " + " << added;
    worst = std::max(worst, error / bound);
  }
  EXPECT_GT(worst, 0.5);  // the bound is no idle one
}

// Q8_0's weights of all scales: nearest of eight bits. A mean would not average out over k, so it is held as well: no more than
// what exact ties, which all go one way, add to it.
TEST(Bf16Weight, RoundsToNearestWithoutBias) {
  for (const float unit : {0x1p-10F, 0x1p-20F}) {  // of scales from 1 on, and of common ones
    double sum = 0, ties = 0, n = 0;
    for (int mantissa = 1024; mantissa < 2048; ++mantissa)
      for (int level = 1; level < 128; ++level, ++n) {
        const int exact = mantissa * level;
        const int below = std::max(std::ilogb(exact) - 7, 0), step = 1 << below, rest = exact % step;
        const int nearest = exact - rest + (2 * rest >= step && rest != 0 ? step : 0);
        const float scale = static_cast<float>(mantissa) * unit;
        ASSERT_EQ(bf16_weight(level, scale, std::nullopt, 7), static_cast<float>(nearest) * unit) << exact;
        ASSERT_EQ(bf16_weight(-level, scale, std::nullopt, 7), static_cast<float>(-nearest) * unit) << exact;
        sum += static_cast<double>(nearest) / exact - 1;
        ties += rest != 0 && 2 * rest == step;
      }
    EXPECT_GT(ties, 0);
    // What is no tie goes up and down alike, but for the slope of 1 / exact in between, which is of second order: 2^-16.
    EXPECT_LT(std::fabs(sum / n), ties / n * 0x1p-8 + 0x1p-16);
  }
}

TEST(Bf16Weight, Ends) {
  EXPECT_EQ(bf16_weight(127, 0, std::nullopt, 7), 0.0F);
  EXPECT_EQ(bf16_weight(0, 0, 0.0F, 7), 0.0F);
  EXPECT_EQ(bf16_weight(0, 1, std::nullopt, 7), 0x1p-15F);  // as near to zero as it gets
  EXPECT_EQ(bf16_weight(0, -1, std::nullopt, 7), -0x1p-15F);
  // The ends of what is common.
  EXPECT_EQ(bf16_weight(0, 0x1p-14F, std::nullopt, 7), 0x1p-31F);
  EXPECT_EQ(bf16_weight(127, 0x1p-14F, std::nullopt, 7), 127 * 0x1p-14F);
  EXPECT_EQ(bf16_weight(-128, 0x1.FFCp-8F, std::nullopt, 7), -1.0F);
  EXPECT_EQ(bf16_weight(0, 0x1p-7F, std::nullopt, 7), 0x1p-22F);
  EXPECT_EQ(bf16_weight(31, 0x1.FFCp-7F, 0x1.FFCp-2F, 5), 0.984375F);
  EXPECT_EQ(bf16_weight(127, 0x1p-24F, std::nullopt, 7),
            127 * 0x1p-24F);  // the smallest scale that a file holds
  EXPECT_EQ(bf16_weight(-128, 0x1p119F, std::nullopt, 7), -0x1p126F);
  EXPECT_EQ(bf16_weight(-127, 0x1p-126F, std::nullopt, 7), -127 * 0x1p-126F);
  EXPECT_EQ(bf16_weight(1, 0x1p-127F, std::nullopt, 7), 0.0F);  // subnormal
  EXPECT_EQ(bf16_weight(1, std::numeric_limits<float>::infinity(), std::nullopt, 7),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(bf16_weight(1, std::numeric_limits<float>::quiet_NaN(), std::nullopt, 7)));
  // Ties go away from zero: 257 lies between 256 and 258.
  EXPECT_EQ(bf16_weight(1, 257, std::nullopt, 7), 258.0F);
  EXPECT_EQ(bf16_weight(-1, 257, std::nullopt, 7), -258.0F);
  // What is cut off does not make a tie of what is below one: 1 + 143 * 401 * 2^-24 is 0.4375 of a step above 1.
  EXPECT_EQ(bf16_weight(143, 401 * 0x1p-24F, 1.0F, 8), 1.0F);
  EXPECT_EQ(bf16_weight(-143, 401 * 0x1p-24F, -1.0F, 8), -1.0F);
  for (const uint16_t half : std::initializer_list<uint16_t>{0x7C01, 0x7FFC, 0x7FFF, 0xFFFF})  // NaNs
    EXPECT_TRUE(std::isnan(bf16_weight(1, half_to_float(half), std::nullopt, 7)));
  EXPECT_TRUE(std::isnan(bf16_weight(0, std::numeric_limits<float>::infinity(), std::nullopt, 7)));
}

TEST(LaneSum, AddsHalves) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 100; ++round) {
    LaneSum s;
    for (float& l : s.lane) l = normal(random);
    const float* l = s.lane;
    const float even = ((l[0] + l[8]) + (l[4] + l[12])) + ((l[2] + l[10]) + (l[6] + l[14]));
    const float odd = ((l[1] + l[9]) + (l[5] + l[13])) + ((l[3] + l[11]) + (l[7] + l[15]));
    EXPECT_EQ(s.total(), even + odd);
  }
  // The order shows: with 1 first, 1e8 - 1e8 would leave nothing of it.
  LaneSum s;
  s.lane[0] = 1e8F;
  s.lane[8] = -1e8F;
  s.lane[4] = 1.0F;
  EXPECT_EQ(s.total(), 1.0F);
  std::swap(s.lane[8], s.lane[4]);
  EXPECT_EQ(s.total(), 0.0F);
}

}  // namespace
}  // namespace forge
