#include "cli/divergence.h"

#include <algorithm>
#include <cmath>

namespace forge {
namespace {

struct Softmax {
  size_t first = 0;    // the likeliest token, the lowest of several
  double log_sum = 0;  // ln Σ exp(logit): ln p = logit - log_sum
};

Softmax softmax(std::span<const float> logits) {
  Softmax out;
  out.first = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const float best = logits[out.first];
  double sum = 0;
  for (const float x : logits) sum += static_cast<double>(std::exp(x - best));
  out.log_sum = static_cast<double>(best) + std::log(sum);
  return out;
}

// Standard error of a mean from the mean of the squares' distance to its square.
double error_of(double variance, uint64_t n) {
  return variance > 0 && n > 1 ? std::sqrt(variance / static_cast<double>(n - 1)) : 0;
}

}  // namespace

Estimate Divergence::Moments::mean(uint64_t n) const {
  const auto count = static_cast<double>(std::max<uint64_t>(n, 1));
  const double value = sum / count;
  return {value, error_of(squares / count - value * value, n)};
}

void Divergence::add(std::span<const float> a, std::span<const float> b, uint32_t token) {
  const Softmax of_a = softmax(a), of_b = softmax(b);
  const double nll_a = of_a.log_sum - static_cast<double>(a[token]);
  const double nll_b = of_b.log_sum - static_cast<double>(b[token]);
  double divergence = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_a = static_cast<double>(a[i]) - of_a.log_sum;
    const double log_b = static_cast<double>(b[i]) - of_b.log_sum;
    divergence += static_cast<double>(std::exp(static_cast<float>(log_a))) * (log_a - log_b);
  }
  const double p = std::exp(-nll_b) - std::exp(-nll_a);
  nll_a_.add(nll_a);
  nll_b_.add(nll_b);
  nll_product_ += nll_a * nll_b;
  divergence_.add(divergence);
  p_.add(p);
  p_squared_.add(p * p);
  max_p_ = std::max(max_p_, std::abs(p));
  n_same_first_ += of_a.first == of_b.first ? 1 : 0;
  divergences_.push_back(static_cast<float>(divergence));
}

DivergenceReport Divergence::report() const {
  const uint64_t n = divergences_.size();
  const auto count = static_cast<double>(std::max<uint64_t>(n, 1));
  DivergenceReport out{
      .n_tokens = n, .divergence = divergence_.mean(n), .mean_p = p_.mean(n), .max_p = max_p_};
  const Estimate a = nll_a_.mean(n), b = nll_b_.mean(n);
  // d exp(x) = exp(x) dx.
  const auto perplexity = [](const Estimate& nll) {
    return Estimate{std::exp(nll.value), std::exp(nll.value) * nll.error};
  };
  out.perplexity_a = perplexity(a);
  out.perplexity_b = perplexity(b);
  // Both are of the same tokens, so what they have in common does not count: var(b - a) = var a + var b - 2 cov.
  const double covariance = nll_product_ / count - a.value * b.value;
  const double variance_a = nll_a_.squares / count - a.value * a.value;
  const double variance_b = nll_b_.squares / count - b.value * b.value;
  out.log_ratio = {b.value - a.value, error_of(variance_a + variance_b - 2 * covariance, n)};
  const double same = static_cast<double>(n_same_first_) / count;
  out.same_first = {same, error_of(same * (1 - same), n)};
  // d sqrt(x) = dx / (2 sqrt(x)).
  const Estimate square = p_squared_.mean(n);
  const double rms = std::sqrt(square.value);
  out.rms_p = {rms, rms > 0 ? square.error / (2 * rms) : 0};
  return out;
}

double quantile(std::span<const float> ascending, double fraction) {
  const double position = fraction * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, ascending.size() - 1);
  return std::lerp(static_cast<double>(ascending[below]), static_cast<double>(ascending[above]),
                   position - static_cast<double>(below));
}

}  // namespace forge
