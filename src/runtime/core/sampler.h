// Chooses a token from logits. The order of the stages is llama.cpp's: bias and mask, penalties, DRY, top-k,
// top-p, min-p, XTC, temperature, draw. Deterministic: own random numbers, own exp, so a seed gives one text on
// every machine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/core/candidates.h"
#include "runtime/core/dry.h"
#include "runtime/core/result.h"

namespace forge::rt {

struct SamplingParams {
  float temperature = 0.8F;     // 0 (or below): the most likely token
  int32_t top_k = 40;           // 0 (or below): off
  float top_p = 0.95F;          // 1 (or above): off
  float min_p = 0.05F;          // 0 (or below): off
  float repeat_penalty = 1.0F;  // 1: off
  // Taken off a token's logit if it stands in the window, and for each time that it does; 0: off. As in llama.cpp
  // the window is the last repeat_last_n tokens, those of the prompt too (OpenAI counts all of the answer and
  // nothing of the prompt).
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  uint32_t repeat_last_n = 64;  // tokens that the three penalties look back
  // A token that would extend a repetition of L >= dry_allowed_length tokens loses
  // dry_multiplier * dry_base^(L - dry_allowed_length), unless it is a breaker itself.
  float dry_multiplier = 0.0F;  // 0: off
  float dry_base = 1.75F;       // below 1: off
  uint32_t dry_allowed_length = 2;
  uint32_t dry_penalty_last_n = 64;                           // tokens that DRY looks back; 0: off
  std::shared_ptr<const DryBreakers> dry_breakers = nullptr;  // none where null
  // With this probability all tokens that have at least the threshold's are dropped but the least likely of them.
  float xtc_probability = 0.0F;  // 0 (or below): off
  float xtc_threshold = 0.1F;    // above 0.5: off
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

// The last tokens of a text, in a ring.
struct TokenWindow {
  uint32_t capacity = 0;
  size_t oldest = 0;  // once the ring is full
  std::vector<int32_t> tokens = {};

  void push(int32_t token);
  // Replaces `out` with the tokens, the newest first.
  void newest_first(std::vector<int32_t>& out) const;
};

class Sampler {
 public:
  explicit Sampler(const SamplingParams& params);

  // Tells the sampler of a token that now stands in the text (prompt or sampled), for the penalties and DRY.
  void accept(int32_t token);
  // Draws from logits [n_vocab]; NaN counts as impossible. Does not accept the token.
  // Error when no token has a usable logit or the constraint allows none.
  Result<int32_t> sample(std::span<const float> logits, const TokenConstraint& constraint = {});

  const SamplingParams& params() const { return params_; }

 private:
  // The logits that bias, mask, penalties and DRY leave: those of all tokens, in token order.
  std::span<const float> adjust(std::span<const float> logits, const TokenConstraint& constraint);
  void penalize();
  void penalize_repetitions();
  void select_top_p(std::span<const float> logits);
  void exclude_top_choices(double top);
  double uniform();  // in [0, 1)

  SamplingParams params_;
  double min_p_gap_ = 0;  // candidates whose logit is further below the best are dropped by min-p
  uint64_t rng_;
  bool uses_dry_, uses_xtc_;
  TokenWindow recent_;      // of the penalties
  TokenWindow dry_recent_;  // empty with DRY off
  std::vector<float> adjusted_;
  std::vector<uint32_t> marks_;        // by token; all zero between two uses
  std::vector<Candidate> candidates_;  // best first where a top-k or top-p made them
  std::vector<int32_t> newest_first_;  // of dry_recent_
  std::vector<Repetition> repetitions_;
};

}  // namespace forge::rt
