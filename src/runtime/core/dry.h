// DRY ("don't repeat yourself"): finds the tokens with which a text would go on repeating itself. Semantics of
// llama.cpp's sampler of that name.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

namespace forge::rt {

// Tokens that repetitions don't reach across: `head`, then `tail`.
struct DryBreaker {
  int32_t head = 0;
  std::vector<int32_t> tail;
  auto operator<=>(const DryBreaker&) const = default;
};
using DryBreakers = std::vector<DryBreaker>;  // ascending

// `token`, if it came next, would extend a repetition of `length` tokens.
struct Repetition {
  int32_t token;
  uint32_t length;
};

// Replaces `out` with one entry for each token of the window but the last: how many tokens right in front of it
// stand at the window's end, too, at most as many as follow the window's latest breaker (which is the one whose
// head stands last, of those with this head the longest). Empty where nothing repeats for min_length tokens.
// newest_first: the window, backwards. Linear in the window, times the breakers of one head.
void find_repetitions(std::span<const int32_t> newest_first, std::span<const DryBreaker> breakers,
                      uint32_t min_length, std::vector<Repetition>& out);

// Whether `token` alone is a breaker.
bool is_breaker(std::span<const DryBreaker> breakers, int32_t token);

}  // namespace forge::rt
