// The rotary embedding (Su et al. 2021) of a rope or rope_kv node, as numbers.
//
// Attributes, each one value or one a layer: n_rot (leading dimensions of a head that are rotated; 0: none in this
// layer), style ("norm": pairs (2i, 2i+1); "neox": pairs (i, i + n_rot/2)), base, scale (position interpolation:
// 1 / factor), magnitude (multiplies cosine and sine; 1 where it is missing). YaRN (Peng et al. 2023) interpolates only
// the slow pairs: with ramp_low and ramp_high, pairs up to ramp_low keep their frequency, those from ramp_high on are
// scaled, linearly in between. Factors (Llama 3, long rope) divide the frequencies one by one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/graph.h"

namespace forge {

// The angle of pair i at position p is p * result[i]; [n_rot / 2]. factors: empty, or one a pair.
std::vector<double> rope_frequencies(const Node& node, uint32_t layer, std::span<const float> factors);
float rope_magnitude(const Node& node, uint32_t layer);

}  // namespace forge
