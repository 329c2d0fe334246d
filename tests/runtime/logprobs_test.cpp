#include "runtime/core/logprobs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <random>

#include "runtime/core/portable_math.h"

namespace forge::rt {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(PortableExp, MatchesTheLibrary) {
  for (int i = 0; i < 18500; ++i) {
    const double x = i * -0.0371;
    EXPECT_NEAR(portable_exp(x) / std::exp(x), 1, 4e-16) << x;
  }
  EXPECT_EQ(portable_exp(0), 1);
  EXPECT_EQ(portable_exp(-1e9), 0);
  EXPECT_EQ(portable_exp(std::nan("")), 0);
}

TEST(PortableLog, MatchesTheLibrary) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(-300, 300);
  const auto check = [](double x) {
    EXPECT_NEAR(portable_log(x), std::log(x), 4e-16 * (1 + std::abs(std::log(x)))) << x;
  };
  for (int i = 0; i < 20000; ++i) check(std::pow(10.0, uniform(random)));
  for (int i = 1; i < 20000; ++i) check(1 + i * 1e-5);
  // Where its range of mantissas is cut.
  for (const double x : {std::sqrt(2.0), std::sqrt(0.5), DBL_MIN, DBL_MAX, 150000.0}) {
    for (const double y : {std::nextafter(x, 0.0), x, x < DBL_MAX ? std::nextafter(x, DBL_MAX) : x}) {
      if (y >= DBL_MIN) check(y);
    }
  }
  EXPECT_EQ(portable_log(1), 0);
}

TEST(TopLogprobs, AgreeWithTheLibrary) {
  std::mt19937 random(9);
  for (const size_t n : {size_t{1}, size_t{7}, size_t{1000}, size_t{150000}}) {
    for (const float spread : {0.0F, 1.0F, 30.0F, 1e6F}) {
      std::normal_distribution<float> normal(20, 1);
      std::vector<float> logits(n);
      for (float& l : logits) l = spread * normal(random);
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      long double total = 0;
      for (const float l : logits) total += std::exp(static_cast<long double>(l) - logits[best]);
      const auto check = [&](const TokenLogprob& p) {
        const auto exact =
            static_cast<double>(static_cast<long double>(logits[p.token]) - logits[best] - std::log(total));
        // One rounding to float; the sum's n roundings (and as many errors of the exponential, which weigh
        // less than 4 of them each) move its logarithm by less than their share of it.
        const double tolerance =
            std::abs(exact) * 0x1p-24 * (1 + 1e-6) + 5.0 * static_cast<double>(n) * 0x1p-53;
        EXPECT_NEAR(static_cast<double>(p.logprob), exact, tolerance) << n << " " << spread << " " << p.token;
      };
      TokenLogprob of_chosen{};
      std::vector<TokenLogprob> top;
      const auto chosen = static_cast<int32_t>(random() % n);
      top_logprobs(logits, chosen, 20, of_chosen, top);
      EXPECT_EQ(of_chosen.token, chosen);
      check(of_chosen);
      ASSERT_EQ(top.size(), std::min<size_t>(n, 20));
      std::vector<int32_t> order(n);
      for (size_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(i);
      std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
      });
      for (size_t i = 0; i < top.size(); ++i) {
        EXPECT_EQ(top[i].token, order[i]);
        check(top[i]);
      }
    }
  }
}

TEST(TopLogprobs, HostileLogits) {
  struct Case {
    const char* name;
    std::vector<float> logits;
    int32_t chosen;
    uint32_t n_top;
    float logprob;
    std::vector<int32_t> top;
  };
  const float half = -std::log(2.0F);
  const std::vector<Case> cases = {
      {"nothing", {}, 0, 5, -kInf, {}},
      {"all NaN", {kNaN, kNaN}, 0, 5, -kInf, {}},
      {"all impossible", {-kInf, -kInf}, 1, 5, -kInf, {}},
      {"a chosen NaN", {kNaN, 1, 1}, 0, 5, -kInf, {1, 2}},
      {"a chosen impossible token", {1, -kInf, 1}, 1, 1, -kInf, {0}},
      {"NaN weighs nothing", {kNaN, 1, -kInf, 1}, 3, 9, half, {1, 3}},
      {"infinity is the largest float", {kInf, FLT_MAX, 3}, 0, 3, half, {0, 1, 2}},
      {"far below", {FLT_MAX, -FLT_MAX}, 1, 2, -FLT_MAX, {0, 1}},
      {"chosen beyond the vocabulary", {1, 2}, 2, 1, -kInf, {1}},
      {"chosen below it", {1, 2}, -1, 1, -kInf, {1}},
      {"no top", {1, 1}, 0, 0, half, {}},
      {"more than there are", {1, 1}, 0, UINT32_MAX, half, {0, 1}},
      {"lower tokens first", {0, 0, 0, 0}, 2, 2, -std::log(4.0F), {0, 1}},
  };
  for (const Case& c : cases) {
    TokenLogprob of_chosen{};
    std::vector<TokenLogprob> top = {{77, 1}};
    top_logprobs(c.logits, c.chosen, c.n_top, of_chosen, top);
    EXPECT_EQ(of_chosen.token, c.chosen) << c.name;
    EXPECT_FLOAT_EQ(of_chosen.logprob, c.logprob) << c.name;
    std::vector<int32_t> tokens;
    tokens.reserve(top.size());
    for (const TokenLogprob& p : top) tokens.push_back(p.token);
    EXPECT_EQ(tokens, c.top) << c.name;
  }
}

}  // namespace
}  // namespace forge::rt
