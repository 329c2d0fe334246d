// How far the predictions of one model are from those of another, counted as llama.cpp's perplexity tool counts with
// --kl-divergence, so that the numbers compare.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace forge {

// With its standard error.
struct Estimate {
  double value = 0, error = 0;
};

struct DivergenceReport {
  uint64_t n_tokens = 0;
  Estimate perplexity_a, perplexity_b;
  Estimate log_ratio;   // ln(perplexity of B / perplexity of A), of the same tokens
  Estimate divergence;  // mean of KL(A || B), in nats a token
  Estimate same_first;  // share of tokens where both find the same token the likeliest
  Estimate rms_p;       // root mean square of p_b - p_a, the probabilities of the text's token
  Estimate mean_p;      // mean of it
  double max_p = 0;     // largest |p_b - p_a|
};

class Divergence {
 public:
  // One prediction: the logits of both, of the same length, and the token that the text has.
  void add(std::span<const float> a, std::span<const float> b, uint32_t token);

  DivergenceReport report() const;
  // KL(A || B) of each prediction, in nats, in the order they were added.
  const std::vector<float>& divergences() const { return divergences_; }

 private:
  // Sum and sum of squares.
  struct Moments {
    double sum = 0, squares = 0;
    void add(double x) {
      sum += x;
      squares += x * x;
    }
    Estimate mean(uint64_t n) const;
  };
  uint64_t n_same_first_ = 0;
  Moments nll_a_, nll_b_, divergence_, p_, p_squared_;
  double nll_product_ = 0, max_p_ = 0;
  std::vector<float> divergences_;
};

// The value below which the share `fraction` of the ascending values lies, interpolated between two; at least one.
double quantile(std::span<const float> ascending, double fraction);

}  // namespace forge
