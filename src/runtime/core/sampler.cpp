#include "runtime/core/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>

namespace forge::rt {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

// 1 / 13!, 1 / 12!, … 1 / 0!.
constexpr std::array<double, 14> kTaylor = [] {
  std::array<double, 14> c{};
  double factorial = 1;
  for (size_t i = 0; i < c.size(); ++i) {
    c[c.size() - 1 - i] = 1 / factorial;
    factorial *= static_cast<double>(i + 1);
  }
  return c;
}();

}  // namespace

double portable_exp(double x) {
  if (!(x >= -700.0)) return 0.0;
  if (x > 0.0) x = 0.0;
  // x = k ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts so that k * high is exact.
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
  // Taylor's series to degree 13: the remainder is below 2^-56 of the sum.
  double e = 0.0;
  for (const double c : kTaylor) e = e * r + c;
  return e * std::bit_cast<double>(static_cast<uint64_t>(1023 + static_cast<int64_t>(k)) << 52);
}

Sampler::Sampler(const SamplingParams& params) : params_(params), rng_(params.seed) {
  if (params_.min_p > 0) {
    // The largest gap with e^-gap >= min_p, by bisection: a logarithm with the same bits everywhere.
    double low = 0;
    double high = 700;
    for (int i = 0; i < 64; ++i) {
      const double middle = 0.5 * (low + high);
      (portable_exp(-middle) >= static_cast<double>(params_.min_p) ? low : high) = middle;
    }
    min_p_gap_ = low;
  }
}

void Sampler::accept(int32_t token) {
  if (params_.repeat_last_n == 0) return;
  if (recent_.size() < params_.repeat_last_n) {
    recent_.push_back(token);
    return;
  }
  recent_[recent_next_] = token;
  recent_next_ = (recent_next_ + 1) % recent_.size();
}

double Sampler::uniform() {
  // SplitMix64.
  rng_ += 0x9e3779b97f4a7c15;
  uint64_t z = rng_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

std::span<const float> Sampler::adjust(std::span<const float> logits, const TokenConstraint& constraint) {
  const bool penalize = params_.repeat_penalty != 1.0F && !recent_.empty();
  if (!penalize && constraint.allowed.empty() && constraint.bias.empty()) return logits;
  adjusted_.assign(logits.begin(), logits.end());
  const auto in_vocab = [&](int32_t token) {
    return token >= 0 && static_cast<size_t>(token) < adjusted_.size();
  };
  for (const TokenBias& b : constraint.bias) {
    if (in_vocab(b.token)) adjusted_[static_cast<size_t>(b.token)] += b.bias;
  }
  if (!constraint.allowed.empty()) {
    for (size_t t = 0; t < adjusted_.size(); ++t) {
      const size_t word = t / 32;
      if (word >= constraint.allowed.size() || (constraint.allowed[word] >> (t % 32) & 1) == 0) {
        adjusted_[t] = kImpossible;
      }
    }
  }
  if (penalize) {
    penalized_.assign(adjusted_.size(), false);
    for (const int32_t token : recent_) {
      // Once a token, however often it stands in the window.
      if (!in_vocab(token) || penalized_[static_cast<size_t>(token)]) continue;
      penalized_[static_cast<size_t>(token)] = true;
      float& logit = adjusted_[static_cast<size_t>(token)];
      logit = logit <= 0 ? logit * params_.repeat_penalty : logit / params_.repeat_penalty;
    }
  }
  return adjusted_;
}

// One pass: candidates above the bar collect in a buffer; when it is full the best k stay and the bar rises.
void Sampler::select_top_k(std::span<const float> logits, size_t k) {
  const size_t capacity = std::max<size_t>(2 * k, 256);
  float bar = kImpossible;
  const auto keep_best = [&] {
    if (candidates_.size() <= k) return;
    std::nth_element(candidates_.begin(), candidates_.begin() + (k - 1), candidates_.end(), Better{});
    candidates_.resize(k);
    bar = candidates_[k - 1].logit;
  };
  for (size_t t = 0; t < logits.size(); ++t) {
    if (!(logits[t] > bar)) continue;
    candidates_.push_back({std::min(logits[t], FLT_MAX), static_cast<int32_t>(t)});
    if (candidates_.size() == capacity) keep_best();
  }
  keep_best();
  std::sort(candidates_.begin(), candidates_.end(), Better{});
}

// The smallest set of most likely tokens whose probability reaches top_p, without sorting the whole
// vocabulary.
void Sampler::select_top_p(std::span<const float> logits) {
  if (candidates_.empty()) {
    for (size_t t = 0; t < logits.size(); ++t) {
      if (logits[t] > kImpossible) {
        candidates_.push_back({std::min(logits[t], FLT_MAX), static_cast<int32_t>(t)});
      }
    }
  }
  if (candidates_.empty()) return;
  const double best =
      static_cast<double>(std::min_element(candidates_.begin(), candidates_.end(), Better{})->logit);
  const auto weight = [best](const Candidate& c) {
    return portable_exp(static_cast<double>(c.logit) - best);
  };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  const double wanted = static_cast<double>(params_.top_p) * total;
  double reached = 0;
  size_t sorted = 0;
  for (size_t n = 64; sorted < candidates_.size(); n *= 4) {
    const size_t end = std::min(n, candidates_.size());
    if (end < candidates_.size()) {
      std::nth_element(candidates_.begin() + sorted, candidates_.begin() + end, candidates_.end(), Better{});
    }
    std::sort(candidates_.begin() + sorted, candidates_.begin() + end, Better{});
    for (; sorted < end; ++sorted) {
      reached += weight(candidates_[sorted]);
      if (reached >= wanted) {
        candidates_.resize(sorted + 1);
        return;
      }
    }
  }
}

Result<int32_t> Sampler::sample(std::span<const float> logits, const TokenConstraint& constraint) {
  logits = adjust(logits, constraint);
  size_t best = logits.size();
  float best_logit = kImpossible;
  for (size_t t = 0; t < logits.size(); ++t) {
    if (logits[t] > best_logit) {
      best_logit = logits[t];
      best = t;
    }
  }
  if (best == logits.size()) {
    return Error{constraint.allowed.empty() ? "sampling: no token has a finite logit"
                                            : "sampling: no allowed token has a finite logit"};
  }
  if (!(params_.temperature > 0)) return static_cast<int32_t>(best);

  candidates_.clear();
  const bool use_top_k = params_.top_k > 0 && static_cast<size_t>(params_.top_k) < logits.size();
  if (use_top_k) select_top_k(logits, static_cast<size_t>(params_.top_k));
  if (params_.top_p < 1.0F) select_top_p(logits);
  const double top = static_cast<double>(std::min(best_logit, FLT_MAX));
  const double gap = params_.min_p > 0 ? min_p_gap_ : std::numeric_limits<double>::infinity();
  if (candidates_.empty()) {
    for (size_t t = 0; t < logits.size(); ++t) {
      if (logits[t] > kImpossible && top - static_cast<double>(logits[t]) <= gap) {
        candidates_.push_back({std::min(logits[t], FLT_MAX), static_cast<int32_t>(t)});
      }
    }
  } else {
    while (top - static_cast<double>(candidates_.back().logit) > gap) candidates_.pop_back();
  }

  const auto weight = [&](const Candidate& c) {
    return portable_exp((static_cast<double>(c.logit) - top) / static_cast<double>(params_.temperature));
  };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  const double drawn = uniform() * total;
  double reached = 0;
  for (const Candidate& c : candidates_) {
    reached += weight(c);
    if (drawn < reached) return c.token;
  }
  return candidates_.back().token;
}

}  // namespace forge::rt
