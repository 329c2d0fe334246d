#include "runtime/core/sampler.h"

#include <algorithm>
#include <cfloat>
#include <limits>
#include <utility>

#include "runtime/core/portable_math.h"

namespace forge::rt {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

// base^n by squaring: the same bits on every machine. Infinite where it is too large.
double power(double base, uint32_t n) {
  double out = 1;
  for (; n != 0; n >>= 1) {
    if ((n & 1) != 0) out *= base;
    base *= base;
  }
  return out;
}

}  // namespace

void TokenWindow::push(int32_t token) {
  if (capacity == 0) return;
  if (tokens.size() < capacity) {
    tokens.push_back(token);
    return;
  }
  tokens[oldest] = token;
  oldest = (oldest + 1) % tokens.size();
}

void TokenWindow::newest_first(std::vector<int32_t>& out) const {
  out.clear();
  out.reserve(tokens.size());
  for (size_t i = oldest; i > 0; --i) out.push_back(tokens[i - 1]);
  for (size_t i = tokens.size(); i > oldest; --i) out.push_back(tokens[i - 1]);
}

Sampler::Sampler(const SamplingParams& params)
    : params_(params),
      rng_(params.seed),
      uses_dry_(params.dry_multiplier != 0 && params.dry_base >= 1 && params.dry_penalty_last_n != 0),
      uses_xtc_(params.xtc_probability > 0 && params.xtc_threshold <= 0.5F),
      recent_{.capacity = params.repeat_last_n},
      dry_recent_{.capacity = uses_dry_ ? params.dry_penalty_last_n : 0} {
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
  recent_.push(token);
  dry_recent_.push(token);
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
  const bool penalizes =
      (params_.repeat_penalty != 1.0F || params_.presence_penalty != 0 || params_.frequency_penalty != 0) &&
      !recent_.tokens.empty();
  const bool dry = uses_dry_ && !dry_recent_.tokens.empty();
  if (!penalizes && !dry && constraint.allowed.empty() && constraint.bias.empty()) return logits;
  adjusted_.assign(logits.begin(), logits.end());
  for (const TokenBias& b : constraint.bias) {
    if (b.token >= 0 && static_cast<size_t>(b.token) < adjusted_.size())
      adjusted_[static_cast<size_t>(b.token)] += b.bias;
  }
  if (!constraint.allowed.empty()) {
    for (size_t t = 0; t < adjusted_.size(); ++t) {
      const size_t word = t / 32;
      if (word >= constraint.allowed.size() || (constraint.allowed[word] >> (t % 32) & 1) == 0) {
        adjusted_[t] = kImpossible;
      }
    }
  }
  if (penalizes || dry) marks_.resize(adjusted_.size());
  if (penalizes) penalize();
  if (dry) penalize_repetitions();
  return adjusted_;
}

void Sampler::penalize() {
  // A mark: how often the token stands in the window.
  const auto in_vocab = [&](int32_t token) {
    return token >= 0 && static_cast<size_t>(token) < marks_.size();
  };
  for (const int32_t token : recent_.tokens) {
    if (in_vocab(token)) ++marks_[static_cast<size_t>(token)];
  }
  for (const int32_t token : recent_.tokens) {
    if (!in_vocab(token)) continue;
    const uint32_t count = std::exchange(marks_[static_cast<size_t>(token)], 0);
    if (count == 0) continue;  // had its turn
    float& logit = adjusted_[static_cast<size_t>(token)];
    logit = logit <= 0 ? logit * params_.repeat_penalty : logit / params_.repeat_penalty;
    logit -= static_cast<float>(count) * params_.frequency_penalty + params_.presence_penalty;
  }
}

void Sampler::penalize_repetitions() {
  std::span<const DryBreaker> breakers;
  if (params_.dry_breakers != nullptr) breakers = *params_.dry_breakers;
  dry_recent_.newest_first(newest_first_);
  find_repetitions(newest_first_, breakers, params_.dry_allowed_length, repetitions_);
  // The entries of a token that count; of these the longest.
  const auto mark_of = [&](const Repetition& r) -> uint32_t* {
    const bool counts = r.length >= params_.dry_allowed_length && r.token >= 0 &&
                        static_cast<size_t>(r.token) < marks_.size();
    return counts ? &marks_[static_cast<size_t>(r.token)] : nullptr;
  };
  for (const Repetition& r : repetitions_) {
    // One more than the length, so that a mark is never 0: a window has fewer than 2^32 tokens.
    if (uint32_t* mark = mark_of(r); mark != nullptr) *mark = std::max(*mark, r.length + 1);
  }
  for (const Repetition& r : repetitions_) {
    uint32_t* mark = mark_of(r);
    if (mark == nullptr || *mark == 0) continue;
    const uint32_t length = std::exchange(*mark, 0) - 1;
    float& logit = adjusted_[static_cast<size_t>(r.token)];
    if (!(logit > kImpossible) || is_breaker(breakers, r.token)) continue;
    const double penalty = static_cast<double>(params_.dry_multiplier) *
                           power(static_cast<double>(params_.dry_base), length - params_.dry_allowed_length);
    // However long the repetition, it makes no token impossible.
    logit = static_cast<float>(
        std::clamp(static_cast<double>(logit) - penalty, -double{FLT_MAX}, double{FLT_MAX}));
  }
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

// top: the logit of the best candidate.
void Sampler::exclude_top_choices(double top) {
  if (candidates_.size() < 2 || uniform() >= static_cast<double>(params_.xtc_probability)) return;
  const auto weight = [top](const Candidate& c) { return portable_exp(static_cast<double>(c.logit) - top); };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  const double bar = static_cast<double>(params_.xtc_threshold) * total;
  // The worst of those above the bar: it stays, with all that are worse.
  const Candidate* last = nullptr;
  for (const Candidate& c : candidates_) {
    if (weight(c) >= bar && (last == nullptr || Better{}(*last, c))) last = &c;
  }
  if (last == nullptr) return;
  std::erase_if(candidates_, [kept = *last](const Candidate& c) { return Better{}(c, kept); });
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
  const bool greedy = !(params_.temperature > 0);
  // XTC alone can take the most likely token away.
  if (greedy && !uses_xtc_) return static_cast<int32_t>(best);

  candidates_.clear();
  const bool use_top_k = params_.top_k > 0 && static_cast<size_t>(params_.top_k) < logits.size();
  if (use_top_k) select_top_k(logits, static_cast<size_t>(params_.top_k), candidates_);
  if (params_.top_p < 1.0F) select_top_p(logits);
  double top = static_cast<double>(std::min(best_logit, FLT_MAX));
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
  if (uses_xtc_) {
    exclude_top_choices(top);
    const Candidate& first = *std::min_element(candidates_.begin(), candidates_.end(), Better{});
    if (greedy) return first.token;
    top = static_cast<double>(first.logit);
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
