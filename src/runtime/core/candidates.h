// Tokens with their logits, and the best k of a vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace forge::rt {

struct Candidate {
  float logit;
  int32_t token;
};

// The order in which candidates are ranked: of equal logits the lower token is better.
struct Better {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
  }
};

// Replaces `out` with the best k (k > 0) of logits [n_vocab], best first; fewer where fewer are usable: NaN and
// -infinity are not, +infinity counts as the largest float. Linear but for sorting the k.
void select_top_k(std::span<const float> logits, size_t k, std::vector<Candidate>& out);

}  // namespace forge::rt
