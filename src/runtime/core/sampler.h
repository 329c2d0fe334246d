// Chooses a token from logits. The order of the stages is llama.cpp's: bias and mask, repeat penalty, top-k,
// top-p, min-p, temperature, draw. Deterministic: own random numbers, own exp, so a seed gives one text on
// every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/core/result.h"

namespace forge::rt {

struct SamplingParams {
  float temperature = 0.8F;     // 0 (or below): the most likely token
  int32_t top_k = 40;           // 0 (or below): off
  float top_p = 0.95F;          // 1 (or above): off
  float min_p = 0.05F;          // 0 (or below): off
  float repeat_penalty = 1.0F;  // 1: off
  uint32_t repeat_last_n = 64;  // tokens that the penalty looks back
  uint64_t seed = 0;
};

struct TokenBias {
  int32_t token;
  float bias;  // added to the logit
};

// What constrains one draw; both may be empty.
struct TokenConstraint {
  std::span<const uint32_t> allowed = {};  // bit t % 32 of word t / 32: token t may be chosen
  std::span<const TokenBias> bias = {};
};

// e^x for x <= 0 with the same bits on every machine; 0 for x < -700 and for NaN.
double portable_exp(double x);

class Sampler {
 public:
  explicit Sampler(const SamplingParams& params);

  // Tells the sampler of a token that now stands in the text (prompt or sampled), for the repeat penalty.
  void accept(int32_t token);
  // Draws from logits [n_vocab]; NaN counts as impossible. Does not accept the token.
  // Error when no token has a usable logit or the constraint allows none.
  Result<int32_t> sample(std::span<const float> logits, const TokenConstraint& constraint = {});

  const SamplingParams& params() const { return params_; }

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };
  struct Better {
    bool operator()(const Candidate& a, const Candidate& b) const {
      return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
    }
  };
  // The logits that penalty, bias and mask leave: those of all tokens, in token order.
  std::span<const float> adjust(std::span<const float> logits, const TokenConstraint& constraint);
  void select_top_k(std::span<const float> logits, size_t k);
  void select_top_p(std::span<const float> logits);
  double uniform();  // in [0, 1)

  SamplingParams params_;
  double min_p_gap_ = 0;  // candidates whose logit is further below the best are dropped by min-p
  uint64_t rng_;
  std::vector<int32_t> recent_;  // ring of the last repeat_last_n tokens
  size_t recent_next_ = 0;
  std::vector<float> adjusted_;
  std::vector<bool> penalized_;        // by token
  std::vector<Candidate> candidates_;  // best first where a top-k or top-p made them
};

}  // namespace forge::rt
