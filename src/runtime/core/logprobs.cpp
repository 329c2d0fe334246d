#include "runtime/core/logprobs.h"

#include <algorithm>
#include <cfloat>
#include <limits>

#include "runtime/core/candidates.h"
#include "runtime/core/portable_math.h"

namespace forge::rt {

void top_logprobs(std::span<const float> logits, int32_t chosen, uint32_t n_top, TokenLogprob& of_chosen,
                  std::vector<TokenLogprob>& top) {
  constexpr float kImpossible = -std::numeric_limits<float>::infinity();
  of_chosen = {chosen, kImpossible};
  top.clear();
  float best = kImpossible;
  for (const float logit : logits) {
    if (logit > best) best = logit;
  }
  if (best == kImpossible) return;
  const auto usable = [](float logit) { return static_cast<double>(std::min(logit, FLT_MAX)); };
  const double highest = usable(best);
  // The sum of e^(logit - highest), in order of the tokens: in [1, n_vocab], so that its logarithm is exact
  // enough. An impossible token adds 0, and so does a NaN.
  double total = 0;
  for (const float logit : logits) total += portable_exp(usable(logit) - highest);
  const double log_total = portable_log(total);
  const auto logprob = [&](float logit) {
    return static_cast<float>(std::max((usable(logit) - highest) - log_total, -double{FLT_MAX}));
  };
  if (chosen >= 0 && static_cast<size_t>(chosen) < logits.size()) {
    const float logit = logits[static_cast<size_t>(chosen)];
    if (logit > kImpossible) of_chosen.logprob = logprob(logit);
  }
  if (n_top == 0) return;
  std::vector<Candidate> candidates;
  select_top_k(logits, std::min<size_t>(n_top, logits.size()), candidates);
  top.reserve(candidates.size());
  for (const Candidate& c : candidates) top.push_back({c.token, logprob(c.logit)});
}

}  // namespace forge::rt
