#include "cli/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace forge {
namespace {

// Logits of given probabilities, shifted: a shift changes nothing.
std::vector<float> logits(std::initializer_list<double> p, double shift) {
  std::vector<float> out;
  for (const double x : p) out.push_back(static_cast<float>(std::log(x) + shift));
  return out;
}

constexpr double kTolerance = 1e-6;  // logits are float32: 2^-24 of values up to 8

TEST(Divergence, OfOnePrediction) {
  Divergence d;
  d.add(logits({0.5, 0.25, 0.25}, 3), logits({0.25, 0.5, 0.25}, -2), 0);
  const DivergenceReport r = d.report();
  EXPECT_EQ(r.n_tokens, 1u);
  EXPECT_NEAR(r.perplexity_a.value, 2, 2 * kTolerance);
  EXPECT_NEAR(r.perplexity_b.value, 4, 4 * kTolerance);
  EXPECT_NEAR(r.log_ratio.value, std::log(2), kTolerance);
  EXPECT_NEAR(r.divergence.value, 0.5 * std::log(2) + 0.25 * std::log(0.5), kTolerance);
  EXPECT_EQ(r.same_first.value, 0);
  EXPECT_NEAR(r.rms_p.value, 0.25, kTolerance);
  EXPECT_NEAR(r.mean_p.value, -0.25, kTolerance);
  EXPECT_NEAR(r.max_p, 0.25, kTolerance);
  EXPECT_EQ(r.divergence.error, 0);  // of one there is none
}

TEST(Divergence, OfAModelFromItselfIsNone) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 4);
  Divergence d;
  for (uint32_t i = 0; i < 50; ++i) {
    std::vector<float> x(100);
    for (float& v : x) v = normal(random);
    d.add(x, x, i);
  }
  const DivergenceReport r = d.report();
  EXPECT_EQ(r.divergence.value, 0);
  EXPECT_EQ(r.log_ratio.value, 0);
  EXPECT_EQ(r.log_ratio.error, 0);
  EXPECT_EQ(r.same_first.value, 1);
  EXPECT_EQ(r.max_p, 0);
  EXPECT_EQ(r.perplexity_a.value, r.perplexity_b.value);
  EXPECT_GT(r.perplexity_a.error, 0);
}

// Against the definitions: the error of a mean is sqrt((mean of squares - square of the mean) / (n - 1)).
TEST(Divergence, ErrorsAreThoseOfMeans) {
  const std::vector<float> even = logits({0.5, 0.5}, 0), sure = logits({0.8, 0.2}, 0);
  Divergence d;
  d.add(even, sure, 0);
  d.add(even, sure, 1);
  d.add(even, even, 0);
  const DivergenceReport r = d.report();
  const double nll[] = {-std::log(0.8), -std::log(0.2), -std::log(0.5)};
  const double mean = (nll[0] + nll[1] + nll[2]) / 3;
  const double error =
      std::sqrt(((nll[0] * nll[0] + nll[1] * nll[1] + nll[2] * nll[2]) / 3 - mean * mean) / 2);
  EXPECT_NEAR(r.perplexity_b.value, std::exp(mean), kTolerance);
  EXPECT_NEAR(r.perplexity_b.error, std::exp(mean) * error, kTolerance);
  EXPECT_NEAR(r.perplexity_a.error, 0, 1e-4);  // all the same but for rounding
  EXPECT_NEAR(r.log_ratio.value, mean - std::log(2), kTolerance);
  EXPECT_NEAR(r.log_ratio.error, error, kTolerance);  // A's does not vary
  EXPECT_EQ(r.same_first.value, 1);
  const double kl = 0.5 * std::log(0.5 / 0.8) + 0.5 * std::log(0.5 / 0.2);
  EXPECT_NEAR(r.divergence.value, 2 * kl / 3, kTolerance);
  EXPECT_NEAR(r.divergence.error, std::sqrt((2 * kl * kl / 3 - 4 * kl * kl / 9) / 2), kTolerance);
  EXPECT_NEAR(r.rms_p.value, std::sqrt(2 * 0.09 / 3), kTolerance);
}

TEST(Quantile, InterpolatesBetweenTwo) {
  const std::vector<float> values = {0, 1, 2, 10};
  EXPECT_EQ(quantile(values, 0), 0);
  EXPECT_EQ(quantile(values, 1), 10);
  EXPECT_EQ(quantile(values, 0.5), 1.5);
  EXPECT_NEAR(quantile(values, 0.9), 2 + 0.7 * 8, 1e-12);
  EXPECT_EQ(quantile(std::vector<float>{3}, 0.25), 3);
}

}  // namespace
}  // namespace forge
