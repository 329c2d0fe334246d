#include "runtime/core/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "runtime/core/dry_breakers.h"
#include "tests/runtime/fake_model.h"
#include "tests/runtime/fake_payload.h"

namespace forge::rt {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

SamplingParams all_off(uint64_t seed = 1) {
  return {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .repeat_penalty = 1, .seed = seed};
}

// The tokens that `n` draws give.
std::map<int32_t, int> draws(const SamplingParams& params, std::span<const float> logits, int n,
                             const TokenConstraint& constraint = {}) {
  Sampler s(params);
  std::map<int32_t, int> out;
  for (int i = 0; i < n; ++i) {
    const auto token = s.sample(logits, constraint);
    EXPECT_TRUE(token);
    if (token) ++out[*token];
  }
  return out;
}

std::vector<float> random_logits(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> out(n);
  for (float& l : out) l = normal(random);
  return out;
}

TEST(Sampler, GreedyTakesTheFirstOfTheBest) {
  SamplingParams p = all_off();
  p.temperature = 0;
  const std::vector<float> logits = {1, kNaN, 5, 5, -kInf};
  EXPECT_EQ(draws(p, logits, 3), (std::map<int32_t, int>{{2, 3}}));
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  const std::vector<float> logits = {0, 1, 2, 3};
  for (const bool top_k : {false, true}) {
    SamplingParams p = all_off();
    p.temperature = 1.5;
    if (top_k) p.top_k = 4;
    const int n = 200000;
    auto seen = draws(p, logits, n);
    double total = 0;
    for (const float l : logits) total += std::exp(static_cast<double>(l) / 1.5);
    for (int32_t t = 0; t < 4; ++t) {
      const double expected = std::exp(t / 1.5) / total;
      // Five standard deviations of a binomial count.
      EXPECT_NEAR(seen[t], n * expected, 5 * std::sqrt(n * expected * (1 - expected))) << t;
    }
  }
}

TEST(Sampler, TopKAgreesWithSorting) {
  auto logits = random_logits(5000, 3);
  logits[17] = logits[18] = *std::max_element(logits.begin(), logits.end()) + 1;
  logits[100] = kNaN;
  for (const int32_t k : {1, 2, 40, 300, 4999}) {
    std::vector<int32_t> order(logits.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    std::erase(order, 100);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
    });
    const std::set<int32_t> kept(order.begin(), order.begin() + std::min<size_t>(k, order.size()));
    SamplingParams p = all_off();
    p.top_k = k;
    p.temperature = 50;  // nearly even, so that many of the kept are drawn
    const auto seen = draws(p, logits, 3000);
    for (const auto& [token, count] : seen) EXPECT_TRUE(kept.contains(token)) << token << " with k " << k;
    EXPECT_GE(seen.size(), std::min<size_t>(k, 1000));
  }
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> logits = {std::log(0.125F), std::log(0.5F), std::log(0.25F), std::log(0.125F)};
  SamplingParams p = all_off();
  p.top_p = 0.6F;
  EXPECT_EQ(draws(p, logits, 2000).size(), 2U);
  p.top_p = 0.8F;
  auto seen = draws(p, logits, 2000);
  EXPECT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen.count(3), 0U);  // of equals the lower token stays
  p.top_p = 0.0F;
  EXPECT_EQ(draws(p, logits, 100).size(), 1U);
  // With top-k the probabilities are those of the kept tokens: 2/3 and 1/3.
  p.top_k = 2;
  p.top_p = 0.66F;
  EXPECT_EQ(draws(p, logits, 1000).size(), 1U);
}

TEST(Sampler, TopPOverALargeVocabulary) {
  const std::vector<float> flat(150000, 1.0F);
  SamplingParams p = all_off();
  p.top_p = 0.5F;
  for (const auto& [token, count] : draws(p, flat, 20)) EXPECT_LT(token, 75001);
}

TEST(Sampler, MinPDropsTheUnlikely) {
  const std::vector<float> logits = {0, std::log(0.2F), std::log(0.04F), -20};
  SamplingParams p = all_off();
  p.min_p = 0.05F;
  EXPECT_EQ(draws(p, logits, 3000).size(), 2U);
  p.top_k = 3;
  EXPECT_EQ(draws(p, logits, 3000).size(), 2U);
  p.min_p = 0.03F;
  EXPECT_EQ(draws(p, logits, 3000).size(), 3U);
  p.min_p = 1.0F;
  EXPECT_EQ(draws(p, logits, 100).size(), 1U);
}

TEST(Sampler, RepeatPenaltyLooksBackOverItsWindow) {
  SamplingParams p = all_off();
  p.temperature = 0;
  p.repeat_penalty = 2;
  p.repeat_last_n = 3;
  Sampler s(p);
  const std::vector<float> logits = {3, 2, -1};
  EXPECT_EQ(*s.sample(logits), 0);
  s.accept(0);
  s.accept(0);  // counts once: 3 / 2, not 3 / 4
  const std::vector<float> close = {3, 1.4F, -1};
  EXPECT_EQ(*s.sample(close), 0);
  EXPECT_EQ(*s.sample(logits), 1);
  for (int i = 0; i < 3; ++i) s.accept(2);
  EXPECT_EQ(*s.sample(logits), 0);
  const std::vector<float> negative = {-3, -2.5F, -1.5F};  // a penalty makes negative logits smaller: -3
  EXPECT_EQ(*s.sample(negative), 1);
}

TEST(Sampler, MaskAndBias) {
  const std::vector<float> logits = random_logits(70, 5);
  const uint32_t allowed[] = {0, 0, 1u << 2};  // only token 66
  EXPECT_EQ(draws(all_off(), logits, 50, {.allowed = allowed}), (std::map<int32_t, int>{{66, 50}}));
  const uint32_t short_mask[] = {1u << 9};
  EXPECT_EQ(draws(all_off(), logits, 50, {.allowed = short_mask}), (std::map<int32_t, int>{{9, 50}}));
  const TokenBias bias[] = {{3, 1000}, {-1, 5}, {70, 5}};
  EXPECT_EQ(draws(all_off(), logits, 50, {.bias = bias}), (std::map<int32_t, int>{{3, 50}}));
  const uint32_t nothing[] = {0, 0, 0};
  Sampler s(all_off());
  EXPECT_FALSE(s.sample(logits, {.allowed = nothing}));
}

TEST(Sampler, HostileLogits) {
  for (const bool greedy : {false, true}) {
    for (const int32_t top_k : {0, 2}) {
      for (const float top_p : {1.0F, 0.9F}) {
        SamplingParams p = all_off();
        p.top_k = top_k;
        p.top_p = top_p;
        p.min_p = 0.05F;
        if (greedy) p.temperature = 0;
        Sampler s(p);
        EXPECT_FALSE(s.sample(std::vector<float>(10, kNaN)));
        EXPECT_FALSE(s.sample(std::vector<float>(10, -kInf)));
        EXPECT_FALSE(s.sample({}));
        EXPECT_EQ(*s.sample(std::vector<float>{kNaN, -kInf, -1e38F, kNaN}), 2);
        EXPECT_EQ(*s.sample(std::vector<float>{1, kInf, 2, -3e38F}), 1);
      }
    }
  }
}

TEST(Sampler, SeedsGiveTheSameDraws) {
  const auto logits = random_logits(1000, 8);
  SamplingParams p = {.seed = 7};
  const auto sequence = [&](const SamplingParams& params) {
    Sampler s(params);
    std::vector<int32_t> out;
    for (int i = 0; i < 12; ++i) {
      out.push_back(*s.sample(logits));
      s.accept(out.back());
    }
    return out;
  };
  EXPECT_EQ(sequence(p), sequence(p));
  SamplingParams other = p;
  other.seed = 8;
  EXPECT_NE(sequence(p), sequence(other));
  // Written down: a seed is a promise across machines and versions.
  EXPECT_EQ(sequence(p), (std::vector<int32_t>{197, 342, 858, 407, 382, 186, 382, 214, 342, 197, 342, 410}));
}

// What turns a stage off, beside what sits beside it.
TEST(Sampler, StagesThatAreOffChangeNoDraw) {
  struct Case {
    const char* name;
    void (*set)(SamplingParams&);
  };
  const Case cases[] = {
      {"DRY without a multiplier",
       [](SamplingParams& p) { p.dry_base = 3, p.dry_allowed_length = 0, p.dry_penalty_last_n = 1000; }},
      {"DRY with a base below 1", [](SamplingParams& p) { p.dry_multiplier = 5, p.dry_base = 0.5F; }},
      {"DRY that looks back no token",
       [](SamplingParams& p) { p.dry_multiplier = 5, p.dry_penalty_last_n = 0; }},
      {"DRY whose allowed length is the window",
       [](SamplingParams& p) { p.dry_multiplier = 5, p.dry_allowed_length = p.dry_penalty_last_n = 8; }},
      {"XTC without a probability", [](SamplingParams& p) { p.xtc_threshold = 0; }},
      {"XTC with a threshold above one half",
       [](SamplingParams& p) { p.xtc_probability = 1, p.xtc_threshold = 0.51F; }},
      {"penalties that look back no token",
       [](SamplingParams& p) {
         p.presence_penalty = 2, p.frequency_penalty = 2, p.repeat_penalty = 2, p.repeat_last_n = 0;
       }},
  };
  const auto logits = random_logits(50, 21);
  const auto sequence = [&](const SamplingParams& params) {
    Sampler s(params);
    std::vector<int32_t> out;
    for (int i = 0; i < 200; ++i) {
      out.push_back(*s.sample(logits));
      s.accept(out.back());
    }
    return out;
  };
  const SamplingParams plain = {.seed = 3};
  for (const Case& c : cases) {
    SamplingParams p = plain;
    c.set(p);
    EXPECT_EQ(sequence(p), sequence(plain)) << c.name;
  }
  // And what is on does.
  const Case on[] = {
      {"presence", [](SamplingParams& p) { p.presence_penalty = 1; }},
      {"frequency", [](SamplingParams& p) { p.frequency_penalty = 0.5F; }},
      {"DRY", [](SamplingParams& p) { p.dry_multiplier = 1, p.dry_allowed_length = 0; }},
      {"XTC", [](SamplingParams& p) { p.xtc_probability = 0.5F; }},
  };
  for (const Case& c : on) {
    SamplingParams p = plain;
    c.set(p);
    EXPECT_NE(sequence(p), sequence(plain)) << c.name;
  }
}

TEST(Sampler, PresenceAndFrequencyPenalties) {
  struct Case {
    const char* name;
    float repeat, presence, frequency;
    std::vector<int32_t> text;
    std::vector<float> logits;
    int32_t expected;
  };
  // The greedy choice between two logits says on which side of the other's the penalized one lies.
  const std::vector<Case> cases = {
      {"presence below the gap", 1, 0.9F, 0, {0, 0, 0}, {1, 0}, 0},
      {"presence above the gap", 1, 1.1F, 0, {0}, {1, 0}, 1},
      {"frequency once", 1, 0, 0.4F, {0}, {1, 0}, 0},
      {"frequency twice", 1, 0, 0.4F, {0, 0}, {1, 0}, 0},
      {"frequency three times", 1, 0, 0.4F, {0, 0, 0}, {1, 0}, 1},
      {"both add up", 1, 0.3F, 0.4F, {0, 0}, {1, 0}, 1},
      {"a negative penalty rewards", 1, -2, 0, {1}, {1, 0}, 1},
      {"negative logits get lower", 1, 1.1F, 0, {0}, {-1, -2}, 1},
      {"the window is 4 tokens", 1, 5, 0, {0, 1, 1, 1, 1}, {1, 2}, 0},
      {"it has the fourth", 1, 5, 0, {0, 2, 2, 2}, {1, 0, -9}, 1},
      {"the repeat penalty comes first: 4 / 2 - 1 = 1", 2, 1, 0, {0}, {4, 1.1F}, 1},
      {"and not (4 - 1) / 2 = 1.5", 2, 1, 0, {0}, {4, 0.9F}, 0},
      {"tokens outside of the vocabulary", 1, 5, 5, {-1, 2, INT32_MAX}, {1, 0}, 0},
  };
  for (const Case& c : cases) {
    SamplingParams p = all_off();
    p.temperature = 0;
    p.repeat_penalty = c.repeat;
    p.presence_penalty = c.presence;
    p.frequency_penalty = c.frequency;
    p.repeat_last_n = 4;
    Sampler s(p);
    for (const int32_t token : c.text) s.accept(token);
    EXPECT_EQ(*s.sample(c.logits), c.expected) << c.name;
    EXPECT_EQ(*s.sample(c.logits), c.expected) << c.name << ", once more";
  }
}

// DRY as it is defined, without an algorithm: for every token the longest repetition that it would extend.
std::map<int32_t, uint32_t> repetitions_by_definition(const std::vector<int32_t>& window,
                                                      const DryBreakers& breakers) {
  const size_t n = window.size();
  // The last place where a breaker begins, and the longest one there.
  size_t behind = n;
  for (size_t at = n; at-- > 0 && behind == n;) {
    for (const DryBreaker& b : breakers) {
      std::vector<int32_t> all = {b.head};
      all.insert(all.end(), b.tail.begin(), b.tail.end());
      if (at + all.size() > n || !std::equal(all.begin(), all.end(), window.begin() + at)) continue;
      behind = std::min(behind, n - at - all.size());
    }
  }
  std::map<int32_t, uint32_t> out;
  for (size_t next = 1; next < n; ++next) {
    uint32_t length = 0;
    while (length < next && window[next - 1 - length] == window[n - 1 - length]) ++length;
    uint32_t& longest = out[window[next]];
    longest = std::max(longest, static_cast<uint32_t>(std::min<size_t>(length, behind)));
  }
  return out;
}

TEST(Dry, AgreesWithItsDefinition) {
  std::mt19937 random(17);
  const auto below = [&](uint32_t n) { return static_cast<int32_t>(random() % n); };
  size_t n_long = 0;
  for (int round = 0; round < 3000; ++round) {
    const uint32_t n_tokens = 1 + round % 4;
    std::vector<int32_t> text;
    for (int n = below(40); n > 0 && text.size() < 300; --n) {
      if (text.empty() || below(4) != 0) {
        text.push_back(below(n_tokens));
      } else {
        const auto from = static_cast<size_t>(
            below(static_cast<uint32_t>(text.size())));  // so that there are long repetitions
        const std::vector<int32_t> part(text.begin() + from, text.end());
        text.insert(text.end(), part.begin(), part.end());
      }
    }
    DryBreakers breakers;
    for (int n = below(4) * (round % 2); n > 0; --n) {
      DryBreaker& b = breakers.emplace_back();
      b.head = below(n_tokens + 1);
      for (int m = below(4); m > 0; --m) b.tail.push_back(below(n_tokens + 1));
    }
    std::sort(breakers.begin(), breakers.end());
    const auto min_length = static_cast<uint32_t>(below(4));
    auto expected = repetitions_by_definition(text, breakers);
    std::erase_if(expected, [&](const auto& e) { return e.second < min_length; });
    for (const auto& [token, length] : expected) n_long += length > 5;

    std::vector<Repetition> found;
    find_repetitions(std::vector<int32_t>(text.rbegin(), text.rend()), breakers, min_length, found);
    std::map<int32_t, uint32_t> seen;
    for (const Repetition& r : found) {
      if (r.length >= min_length) seen[r.token] = std::max(seen[r.token], r.length);
    }
    ASSERT_EQ(seen, expected) << "round " << round;
  }
  EXPECT_GT(n_long, 500U);
}

TEST(Dry, TakesLinearTime) {
  // Of one token only, the worst for plain comparing: 4 * 10^10 steps.
  const std::vector<int32_t> same(200000, 7);
  std::vector<Repetition> found;
  find_repetitions(same, {}, 2, found);
  ASSERT_EQ(found.size(), same.size() - 1);
  EXPECT_EQ(found[0].length, same.size() - 1);
  EXPECT_EQ(found.back().length, 1U);
}

TEST(Sampler, DryPenalty) {
  struct Case {
    const char* name;
    std::vector<int32_t> text;
    std::vector<float> logits;  // greedy
    int32_t expected;
    DryBreakers breakers = {};
  };
  // Multiplier 1, base 2, allowed length 2, window 8: a repetition of L tokens costs 2^(L - 2).
  const std::vector<Case> cases = {
      {"one token is allowed", {1, 2, 3, 1}, {0, 0, 0.1F, 0}, 2},
      {"two cost 1", {1, 2, 3, 1, 2}, {0, 0, 0, 0.9F}, 0},
      {"and no more", {1, 2, 3, 1, 2}, {0, 0, 0, 1.1F}, 3},
      {"three cost 2", {0, 1, 2, 3, 0, 1, 2}, {0, 0, 0, 2.1F}, 3},
      {"three cost no less", {0, 1, 2, 3, 0, 1, 2}, {0, 0, 0, 1.9F}, 0},
      {"the longest counts, once", {1, 2, 3, 1, 2, 3, 1, 2}, {0, 0, 0, 7.9F}, 0},
      {"which is 5 tokens: 8", {1, 2, 3, 1, 2, 3, 1, 2}, {0, 0, 0, 8.1F}, 3},
      {"beyond the window nothing is seen", {1, 2, 3, 0, 0, 0, 0, 0, 1, 2}, {0, 0, 0, 0.1F}, 3},
      {"a breaker ends what repeats", {1, 2, 3, 1, 2}, {0, 0, 0, 0.1F}, 3, {{.head = 1, .tail = {}}}},
      {"of two tokens, too", {1, 2, 3, 1, 2}, {0, 0, 0, 0.1F}, 3, {{.head = 1, .tail = {2}}}},
      {"only as a whole", {1, 2, 3, 1, 2}, {0, 0, 0, 0.9F}, 0, {{.head = 1, .tail = {2, 3, 1, 1}}}},
      {"a breaker is never penalized", {1, 2, 3, 1, 2}, {0, 0, 0, 0.1F}, 3, {{.head = 3, .tail = {}}}},
      {"the head of one is", {1, 2, 3, 1, 2}, {0, 0, 0, 0.9F}, 0, {{.head = 3, .tail = {3}}}},
      {"tokens outside of the vocabulary", {1, 9, -5, 1, 9}, {0.1F, 0, 0, 0}, 0},
  };
  for (const Case& c : cases) {
    SamplingParams p = all_off();
    p.temperature = 0;
    p.dry_multiplier = 1;
    p.dry_base = 2;
    p.dry_penalty_last_n = 8;
    p.dry_breakers = std::make_shared<const DryBreakers>(c.breakers);
    // Wherever the text begins in the window's ring.
    for (int32_t n_before = 0; n_before < 10; ++n_before) {
      Sampler s(p);
      for (int32_t i = 0; i < n_before; ++i) s.accept(1000 + i);
      for (const int32_t token : c.text) s.accept(token);
      EXPECT_EQ(*s.sample(c.logits), c.expected) << c.name << " behind " << n_before;
      EXPECT_EQ(*s.sample(c.logits), c.expected) << c.name << ", once more";
    }
  }
}

TEST(Sampler, LongRepetitionsDoNotOverflow) {
  SamplingParams p = all_off();
  p.temperature = 0;
  p.dry_multiplier = 100;
  p.dry_base = 100;
  p.dry_penalty_last_n = 5000;
  Sampler s(p);
  for (int i = 0; i < 5000; ++i) s.accept(1);
  EXPECT_EQ(*s.sample(std::vector<float>{-1e30F, 1}), 0);
  // Unlikely, but not impossible; what is impossible stays it.
  EXPECT_EQ(*s.sample(std::vector<float>{kNaN, 1}), 1);
  EXPECT_FALSE(s.sample(std::vector<float>{kNaN, -kInf}));
}

TEST(Sampler, XtcLeavesTheLeastLikelyAboveTheThreshold) {
  struct Case {
    const char* name;
    float threshold;
    std::set<int32_t> left;
  };
  // Probabilities 0.05, 0.4, 0.2, 0.2, 0.15.
  const std::vector<float> logits = {std::log(0.05F), std::log(0.4F), std::log(0.2F), std::log(0.2F),
                                     std::log(0.15F)};
  const Case cases[] = {
      {"all but the least likely", 0.0F, {0}},
      {"four above it", 0.1F, {0, 4}},
      {"of equals the higher token stays", 0.19F, {0, 3, 4}},
      {"one above it: nothing happens", 0.3F, {0, 1, 2, 3, 4}},
      {"none above it", 0.45F, {0, 1, 2, 3, 4}},
      {"off", 0.51F, {0, 1, 2, 3, 4}},
  };
  for (const Case& c : cases) {
    for (const bool sorted : {false, true}) {
      SamplingParams p = all_off();
      p.xtc_probability = 1;
      p.xtc_threshold = c.threshold;
      if (sorted) p.top_p = 0.9999F;
      std::set<int32_t> seen;
      for (const auto& [token, count] : draws(p, logits, 2000)) seen.insert(token);
      EXPECT_EQ(seen, c.left) << c.name;
    }
  }
  // Temperature comes behind: its threshold is that of the plain probabilities, and 0 takes the best of what is left.
  SamplingParams p = all_off();
  p.xtc_probability = 1;
  p.xtc_threshold = 0.1F;
  p.temperature = 0;
  EXPECT_EQ(draws(p, logits, 20), (std::map<int32_t, int>{{4, 20}}));
  // e^(-ln(0.4 / 0.15) / 0.001) is nothing: what is left must have weights of its own, in any order.
  p.temperature = 0.001F;
  EXPECT_EQ(draws(p, logits, 20), (std::map<int32_t, int>{{4, 20}}));
  const std::vector<float> backwards(logits.rbegin(), logits.rend());
  EXPECT_EQ(draws(p, backwards, 20), (std::map<int32_t, int>{{0, 20}}));
  // top-k comes before: of two tokens with 2/3 and 1/3 the second stays.
  p.temperature = 1;
  p.top_k = 2;
  EXPECT_EQ(draws(p, logits, 20), (std::map<int32_t, int>{{2, 20}}));
}

TEST(Sampler, XtcHappensWithItsProbability) {
  const std::vector<float> logits = {5, 0};
  SamplingParams p = all_off();
  p.temperature = 0;  // the choice then says whether it happened
  p.xtc_probability = 0.3F;
  p.xtc_threshold = 0;
  const int n = 100000;
  auto seen = draws(p, logits, n);
  EXPECT_EQ(seen[0] + seen[1], n);
  // Five standard deviations of a binomial count.
  EXPECT_NEAR(seen[1], 0.3 * n, 5 * std::sqrt(n * 0.3 * 0.7));
}

TEST(DryBreakers, AreTokensThatContainThemAndBeginnings) {
  const PayloadInput payload = fake_payload_input();  // the tokenizer points into it
  const auto tokenizer = Tokenizer::open(payload.tokenizer);
  ASSERT_TRUE(tokenizer);
  // Tokens are single bytes, but for "<|end|>" (256) and "<|start|>" (257).
  const auto of = [&](const std::vector<std::string>& strings) { return *dry_breakers(*tokenizer, strings); };
  EXPECT_EQ(of({}), DryBreakers{});
  EXPECT_EQ(of({""}), DryBreakers{});
  EXPECT_EQ(of({"\n", "\n"}), (DryBreakers{{.head = '\n', .tail = {}}}));
  EXPECT_EQ(of({"end"}), (DryBreakers{{.head = 'e', .tail = {'n', 'd'}}, {.head = 256, .tail = {}}}));
  EXPECT_EQ(of({">:", "x"}), (DryBreakers{{.head = '>', .tail = {':'}},
                                          {.head = 'x', .tail = {}},
                                          {.head = 256, .tail = {':'}},
                                          {.head = 257, .tail = {':'}}}));
  // |> ends with both the beginning | > of |>|>! and the whole of its first half.
  EXPECT_EQ(of({"|>|!"}), (DryBreakers{{.head = '|', .tail = {'>', '|', '!'}},
                                       {.head = 256, .tail = {'|', '!'}},
                                       {.head = 257, .tail = {'|', '!'}}}));
  const DryBreakers of_long = of({std::string(1000, 'a')});
  ASSERT_EQ(of_long.size(), 1U);
  EXPECT_EQ(of_long[0].tail.size(), 20U);
  EXPECT_TRUE(dry_breakers(*tokenizer, std::vector<std::string>(kMaxDryBreakers, "a")));
  EXPECT_FALSE(dry_breakers(*tokenizer, std::vector<std::string>(kMaxDryBreakers + 1, "a")));
}

}  // namespace
}  // namespace forge::rt
