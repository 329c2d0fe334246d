// Log probabilities of tokens, as APIs report them beside a text: of the model, before any sampling stage.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace forge::rt {

struct TokenLogprob {
  int32_t token;
  float logprob;  // natural; -infinity for a token that the model rules out
};

// The log-softmax of logits [n_vocab] at `chosen` and at the n_top most likely tokens, most likely first, of
// equals the lower id. The same bits on every machine; error below 2^-24 of the value (it is a float) plus
// n_vocab * 2^-53. NaN and -infinity count as impossible: never among `top`, which is shorter where fewer than
// n_top tokens are possible; +infinity counts as the largest float. A `chosen` outside of the vocabulary is
// impossible, too.
void top_logprobs(std::span<const float> logits, int32_t chosen, uint32_t n_top, TokenLogprob& of_chosen,
                  std::vector<TokenLogprob>& top);

}  // namespace forge::rt
