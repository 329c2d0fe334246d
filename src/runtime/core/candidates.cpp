#include "runtime/core/candidates.h"

#include <algorithm>
#include <cfloat>
#include <limits>

namespace forge::rt {

// One pass: candidates above the bar collect in a buffer; when it is full the best k stay and the bar rises.
void select_top_k(std::span<const float> logits, size_t k, std::vector<Candidate>& out) {
  out.clear();
  const size_t capacity = std::max<size_t>(2 * k, 256);
  float bar = -std::numeric_limits<float>::infinity();
  const auto keep_best = [&] {
    if (out.size() <= k) return;
    std::nth_element(out.begin(), out.begin() + (k - 1), out.end(), Better{});
    out.resize(k);
    bar = out[k - 1].logit;
  };
  for (size_t t = 0; t < logits.size(); ++t) {
    if (!(logits[t] > bar)) continue;
    out.push_back({std::min(logits[t], FLT_MAX), static_cast<int32_t>(t)});
    if (out.size() == capacity) keep_best();
  }
  keep_best();
  std::sort(out.begin(), out.end(), Better{});
}

}  // namespace forge::rt
