#include "ir/rope.h"

#include <algorithm>
#include <cmath>

namespace forge {

std::vector<double> rope_frequencies(const Node& node, uint32_t layer, std::span<const float> factors) {
  const auto n_rot = static_cast<uint32_t>(node.integer("n_rot", layer));
  const double base = node.number("base", layer), scale = node.number("scale", layer);
  std::vector<double> out(n_rot / 2);
  for (uint32_t i = 0; i < n_rot / 2; ++i) {
    double interpolated = 1;  // share of the scaled frequency
    if (node.has("ramp_low")) {
      const double low = node.number("ramp_low"), high = node.number("ramp_high");
      interpolated = std::clamp((i - low) / (high - low), 0.0, 1.0);
    }
    const double factor = factors.empty() ? 1.0 : static_cast<double>(factors[i]);
    out[i] = std::pow(base, -2.0 * i / n_rot) * (scale * interpolated + (1 - interpolated)) / factor;
  }
  return out;
}

float rope_magnitude(const Node& node, uint32_t layer) {
  return node.has("magnitude") ? static_cast<float>(node.number("magnitude", layer)) : 1.0F;
}

}  // namespace forge
