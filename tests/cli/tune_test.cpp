// Which schedule is taken for what times; that programs with it are the same is tests/codegen/compiled_test.cpp.
#include "cli/tune.h"

#include <gtest/gtest.h>

#include <random>

namespace forge {
namespace {

// Nine rounds of a first candidate, in which a neighbour has the processor now and then.
const std::vector<double> kFirst = {1.0, 1.1, 0.9, 3.0, 1.0, 2.5, 1.2, 0.8, 1.0};

std::vector<double> times(double factor, size_t n_slower = 0) {
  std::vector<double> out = kFirst;
  for (size_t r = 0; r < out.size(); ++r) out[r] *= r < n_slower ? 1.5 : factor;
  return out;
}

TEST(Fastest, IsTheOneThatWinsByMostInNearlyAllRounds) {
  EXPECT_EQ(fastest({kFirst}), 0U);
  EXPECT_EQ(fastest({kFirst, kFirst}), 0U);
  EXPECT_EQ(fastest({kFirst, times(0.9)}), 1U);
  EXPECT_EQ(fastest({kFirst, times(0.9), times(0.8), times(0.85)}), 2U);
  EXPECT_EQ(fastest({kFirst, times(0.9), times(1.2)}), 1U);
  EXPECT_EQ(fastest({kFirst, times(0.98)}), 0U) << "3% are asked for";
  EXPECT_EQ(fastest({kFirst, times(0.8, 1)}), 1U);
  EXPECT_EQ(fastest({kFirst, times(0.8, 2)}), 0U) << "slower in two rounds of nine";
  EXPECT_EQ(fastest({kFirst, std::vector<double>(kFirst.size(), 0.0)}), 0U) << "nothing was measured";
}

// Three candidates that differ in nothing: one in 17 of such decisions is for one of them at most.
TEST(Fastest, IsSeldomTakenIn) {
  std::mt19937 random(1);
  std::lognormal_distribution<double> noise(0, 0.3);
  constexpr int kDecisions = 2000;
  int taken_in = 0;
  for (int i = 0; i < kDecisions; ++i) {
    RoundSeconds seconds(4, std::vector<double>(9));
    for (auto& candidate : seconds)
      for (double& s : candidate) s = noise(random);
    taken_in += fastest(seconds) != 0;
  }
  EXPECT_GT(taken_in, 0);
  EXPECT_LT(taken_in, kDecisions / 17);
}

}  // namespace
}  // namespace forge
