// Weights for tests of the encoders and blocks for those of the decoders: the same on every machine, as a trained model's and as no model's.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace forge {

// n weights (a multiple of 256). Every 256 have one of six kinds: bell-shaped, the same with a few outliers,
// mostly zero, all above zero, magnitudes that vary between groups of 16, a few levels with ties.
inline std::vector<float> sample_weights(size_t n) {
  uint64_t state = 1;
  const auto uniform = [&state] {  // [-0.5, 0.5), exact
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int64_t>(state >> 40) - (1 << 23)) * 0x1p-24f;
  };
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) {
    const float bell = (uniform() + uniform()) + (uniform() + uniform());
    const float choice = uniform();
    switch (i / 256 % 6) {
      case 0: out[i] = bell * 0.04f; break;
      case 1: out[i] = choice > 0.48f ? bell * 4.0f : bell * 0.04f; break;
      case 2: out[i] = choice > 0.3f ? bell : 0.0f; break;
      case 3: out[i] = 3.0f + bell * 0.25f; break;
      case 4: out[i] = std::ldexp(bell, static_cast<int>(i / 16 % 16) - 10); break;
      default: out[i] = static_cast<float>(static_cast<int>(bell * 6.0f)) * 0.5f; break;
    }
  }
  return out;
}

// n blocks of random bytes of which every weight is a finite number. decode(block, weights) as a type has it.
template <class Decode>
std::vector<uint8_t> sample_blocks(size_t n, size_t block_bytes, size_t block_weights, Decode decode) {
  uint64_t state = 1;
  std::vector<uint8_t> out(n * block_bytes);
  std::vector<float> weights(block_weights);
  for (size_t at = 0; at < out.size();) {
    for (size_t i = 0; i < block_bytes; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      out[at + i] = static_cast<uint8_t>(state >> 56);
    }
    decode(out.data() + at, weights.data());
    bool finite = true;
    for (const float w : weights) finite = finite && std::isfinite(w);
    if (finite) at += block_bytes;
  }
  return out;
}

inline uint64_t fnv1a(const void* data, size_t n) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < n; ++i) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3u;
  return hash;
}

}  // namespace forge
