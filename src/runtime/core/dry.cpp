#include "runtime/core/dry.h"

#include <algorithm>

namespace forge::rt {
namespace {

std::span<const DryBreaker> breakers_from(std::span<const DryBreaker> breakers, int32_t head) {
  const auto range = std::ranges::equal_range(breakers, head, {}, &DryBreaker::head);
  return {range.begin(), range.end()};
}

// The tokens behind the window's latest breaker; all where it has none.
size_t tokens_behind_breaker(std::span<const int32_t> newest_first, std::span<const DryBreaker> breakers) {
  if (breakers.empty()) return newest_first.size();
  for (size_t i = 0; i < newest_first.size(); ++i) {
    bool found = false;
    size_t longest = 0;
    for (const DryBreaker& b : breakers_from(breakers, newest_first[i])) {
      const size_t n = b.tail.size();
      if (n > i || !std::equal(b.tail.rbegin(), b.tail.rend(), newest_first.begin() + (i - n))) continue;
      found = true;
      longest = std::max(longest, n);
    }
    if (found) return i - longest;
  }
  return newest_first.size();
}

}  // namespace

void find_repetitions(std::span<const int32_t> newest_first, std::span<const DryBreaker> breakers,
                      uint32_t min_length, std::vector<Repetition>& out) {
  out.clear();
  const size_t n = newest_first.size();
  if (n <= min_length) return;
  const size_t limit = tokens_behind_breaker(newest_first, breakers);
  if (limit < min_length) return;
  // The Z-algorithm: matched(k) is how far the window backwards from its end and from the k-th last token are
  // equal. [box_begin, box_end) is the match found so far that reaches furthest; inside of it the lengths of its
  // original are known. Lengths are cut at `limit` as they are stored, which changes no comparison's outcome but
  // for lengths that are cut anyway.
  out.resize(n - 1);
  size_t box_begin = 0, box_end = 0;
  for (size_t k = 1; k < n; ++k) {
    size_t length = 0;
    const size_t known = k < box_end ? out[k - box_begin - 1].length : 0;
    if (k < box_end && known < box_end - k) {
      length = known;
    } else {
      size_t end = std::max(k, box_end);
      while (end < n && newest_first[end] == newest_first[end - k]) ++end;
      length = end - k;
      box_begin = k;
      box_end = end;
    }
    out[k - 1] = {newest_first[k - 1], static_cast<uint32_t>(std::min(length, limit))};
  }
}

bool is_breaker(std::span<const DryBreaker> breakers, int32_t token) {
  const auto of_token = breakers_from(breakers, token);
  return !of_token.empty() && of_token.front().tail.empty();
}

}  // namespace forge::rt
