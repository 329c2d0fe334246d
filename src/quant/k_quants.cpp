// q2_k to q6_k, q8_k: blocks of 256 weights in groups, with small integer scales a group and half-precision
// scales of those a block.
//
//   q2_k  16 bytes of (4-bit scale, 4-bit min), 64 bytes of bit pairs, d, dmin     w = d*scale*q - dmin*min
//   q3_k  32 bytes of third bits, 64 bytes of bit pairs, 12 bytes with 16 6-bit scales, d
//                                                                                  w = d*(scale - 32)*(q - 4)
//   q4_k  d, dmin, 12 bytes with 8 x (6-bit scale, 6-bit min), 128 bytes of nibbles
//                                                                                  w = d*scale*q - dmin*min
//   q5_k  the same with 32 bytes of fifth bits before the nibbles
//   q6_k  128 bytes of nibbles, 64 bytes of upper bit pairs, 16 signed scales, d   w = d*scale*(q - 32)
//   q8_k  d (float), 256 signed bytes, 16 sums of 16 of them (int16)               w = d*q, for activations
//
// The encoder searches, for each group, scales around the obvious one for the least weighted squared error.
// It follows the reference's order of float operations: other orders choose other scales now and then.
#include <algorithm>
#include <cmath>

#include "quant/families.h"

namespace forge {
namespace {

constexpr size_t kWeights = 256;

struct Fit {
  float scale, min;  // x is about scale * q - min
};

// What a fit tries: ranges of kMax + first + 0.1 * step levels for steps from 0; and what it makes small, the
// weighted sum of squares or of magnitudes of the differences.
struct Search {
  float first;
  int steps;
  bool squares;
};

// Chooses scale, min (>= 0) and levels q (0 to kMax) for one group, with errors weighted by w.
template <int kMax, size_t kGroup>
Fit fit_with_min(const float* x, const float* w, const Search& search, uint8_t* q) {
  float low = x[0], high = x[0], sum_w = w[0], sum_x = sum_w * x[0];
  for (size_t i = 1; i < kGroup; ++i) {
    if (x[i] < low) low = x[i];
    if (x[i] > high) high = x[i];
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  if (low > 0.0f) low = 0.0f;
  if (high == low) {
    std::fill_n(q, kGroup, uint8_t{0});
    return {0.0f, -low};
  }
  const auto quantize = [&](float inverse, float offset, uint8_t* levels) {
    for (size_t i = 0; i < kGroup; ++i) {
      levels[i] = static_cast<uint8_t>(round_within(inverse * (x[i] - offset), 0, kMax));
    }
  };
  const auto error = [&](float scale, float offset, const uint8_t* levels) {
    float sum = 0.0f;
    for (size_t i = 0; i < kGroup; ++i) {
      const float difference = scale * static_cast<float>(levels[i]) + offset - x[i];
      sum += w[i] * (search.squares ? difference * difference : std::fabs(difference));
    }
    return sum;
  };

  const float first_inverse = static_cast<float>(kMax) / (high - low);
  float best_scale = 1.0f / first_inverse, best_low = low;
  quantize(first_inverse, low, q);
  float best_error = error(best_scale, low, q);
  for (int step = 0; step <= search.steps; ++step) {
    uint8_t levels[kGroup];
    quantize((search.first + 0.1f * static_cast<float>(step) + static_cast<float>(kMax)) / (high - best_low),
             best_low, levels);
    // Weighted least squares of x over the levels: slope and intercept.
    float sum_l = 0.0f, sum_ll = 0.0f, sum_xl = 0.0f;
    for (size_t i = 0; i < kGroup; ++i) {
      const float l = static_cast<float>(levels[i]);
      sum_l += w[i] * l;
      sum_ll += w[i] * l * l;
      sum_xl += w[i] * l * x[i];
    }
    const float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0.0f)) continue;
    float scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float offset = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
    if (offset > 0.0f) {
      offset = 0.0f;
      scale = sum_xl / sum_ll;
    }
    const float this_error = error(scale, offset, levels);
    if (this_error < best_error) {
      std::copy_n(levels, kGroup, q);
      best_error = this_error;
      best_scale = scale;
      best_low = offset;
    }
  }
  return {best_scale, -best_low};
}

// Bit pairs of q2_k and q3_k: each half of the block has 32 bytes, in which run r of 32 weights has bits 2r.
size_t pair_byte(size_t i) { return i / 128 * 32 + i % 32; }
int pair_shift(size_t i) { return static_cast<int>(i % 128 / 32 * 2); }

namespace q2 {

constexpr size_t kGroup = 16;
constexpr size_t kGroups = kWeights / kGroup;
constexpr size_t kPairs = kGroups;
constexpr size_t kScale = kPairs + kWeights / 4;
constexpr size_t kBytes = kScale + 4;

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src + kScale), dmin = load_half(src + kScale + 2);
    for (size_t i = 0; i < kWeights; ++i) {
      const uint8_t s = src[i / kGroup];
      const int q = src[kPairs + pair_byte(i)] >> pair_shift(i) & 3;
      dst[i] = d * static_cast<float>(s & 15) * static_cast<float>(q) - dmin * static_cast<float>(s >> 4);
    }
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    uint8_t q[kWeights];
    Fit fits[kGroups];
    float max_scale = 0.0f, max_min = 0.0f;
    for (size_t g = 0; g < kGroups; ++g) {
      const float* x = src + g * kGroup;
      float w[kGroup];
      for (size_t i = 0; i < kGroup; ++i) w[i] = std::fabs(x[i]);
      fits[g] = fit_with_min<3, kGroup>(x, w, {-0.5f, 15, false}, q + g * kGroup);
      if (fits[g].scale > max_scale) max_scale = fits[g].scale;
      if (fits[g].min > max_min) max_min = fits[g].min;
    }
    std::memset(dst, 0, kBytes);
    store_half(dst + kScale, max_scale / 15.0f);
    store_half(dst + kScale + 2, max_min / 15.0f);
    const float inverse_scale = max_scale > 0.0f ? 15.0f / max_scale : 0.0f;
    const float inverse_min = max_min > 0.0f ? 15.0f / max_min : 0.0f;
    const float d = load_half(dst + kScale), dmin = load_half(dst + kScale + 2);
    for (size_t g = 0; g < kGroups; ++g) {
      const int level = round_within(inverse_scale * fits[g].scale, 0, 15),
                min_level = round_within(inverse_min * fits[g].min, 0, 15);
      dst[g] = static_cast<uint8_t>(level | min_level << 4);
      // The levels once more, now for the scales as they were stored.
      const float scale = d * static_cast<float>(level), min = dmin * static_cast<float>(min_level);
      if (scale == 0.0f) continue;
      for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i)
        q[i] = static_cast<uint8_t>(round_within((src[i] + min) / scale, 0, 3));
    }
    for (size_t i = 0; i < kWeights; ++i)
      dst[kPairs + pair_byte(i)] |= static_cast<uint8_t>(q[i] << pair_shift(i));
  }
}

}  // namespace q2

namespace q3 {

constexpr size_t kGroup = 16;
constexpr size_t kGroups = kWeights / kGroup;
constexpr size_t kPairs = 32;  // behind the third bits: byte i % 32, bit i / 32
constexpr size_t kScales = kPairs + kWeights / 4;
constexpr size_t kScale = kScales + 12;
constexpr size_t kBytes = kScale + 2;

// Four bits in the nibbles of bytes 0 to 7 (groups 0 to 7 low, 8 to 15 high), two in bytes 8 to 11: group g in
// byte g % 4, bits 2 (g / 4).
int group_scale(const uint8_t* s, size_t g) {
  return ((s[g % 8] >> (g / 8 * 4) & 15) | (s[8 + g % 4] >> (g / 4 * 2) & 3) << 4) - 32;
}
void set_group_scale(uint8_t* s, size_t g, int scale) {  // the bytes were zeroed before
  const int bits = scale + 32;
  s[g % 8] |= static_cast<uint8_t>((bits & 15) << (g / 8 * 4));
  s[8 + g % 4] |= static_cast<uint8_t>((bits >> 4) << (g / 4 * 2));
}

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src + kScale);
    for (size_t i = 0; i < kWeights; ++i) {
      const int q = (src[kPairs + pair_byte(i)] >> pair_shift(i) & 3) | (src[i % 32] >> (i / 32) & 1) << 2;
      dst[i] = d * static_cast<float>(group_scale(src + kScales, i / kGroup)) * static_cast<float>(q - 4);
    }
  }
}

// Chooses the scale and the levels (0 to 7, 4 is zero) of one group; errors are weighted by x^2. Levels are
// changed one at a time as long as the best scale for them fits better.
float fit(const float* x, uint8_t* q) {
  const float farthest = farthest_from_zero(x, kGroup);
  if (std::fabs(farthest) < kNothing) {
    std::fill_n(q, kGroup, uint8_t{0});
    return 0.0f;
  }
  const float inverse = -4.0f / farthest;
  float sum_xl = 0.0f, sum_ll = 0.0f;
  int level[kGroup];
  for (size_t i = 0; i < kGroup; ++i) {
    level[i] = round_within(inverse * x[i], -4, 3);
    const float l = static_cast<float>(level[i]), w = x[i] * x[i];
    sum_xl += w * x[i] * l;
    sum_ll += w * l * l;
  }
  bool changed = true;
  for (int round = 0; round < 5 && changed; ++round) {
    changed = false;
    for (size_t i = 0; i < kGroup; ++i) {
      const float l = static_cast<float>(level[i]), w = x[i] * x[i];
      float others_xl = sum_xl - w * x[i] * l;
      if (!(others_xl > 0.0f)) continue;
      float others_ll = sum_ll - w * l * l;
      const int better = round_within(x[i] * others_ll / others_xl, -4, 3);
      if (better == level[i]) continue;
      const float b = static_cast<float>(better);
      others_xl += w * x[i] * b;
      others_ll += w * b * b;
      if (others_ll > 0.0f && others_xl * others_xl * sum_ll > sum_xl * sum_xl * others_ll) {
        level[i] = better;
        sum_xl = others_xl;
        sum_ll = others_ll;
        changed = true;
      }
    }
  }
  for (size_t i = 0; i < kGroup; ++i) q[i] = static_cast<uint8_t>(level[i] + 4);
  return sum_ll > 0.0f ? sum_xl / sum_ll : 0.0f;
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    uint8_t q[kWeights];
    float scales[kGroups];
    for (size_t g = 0; g < kGroups; ++g) scales[g] = fit(src + g * kGroup, q + g * kGroup);
    const float farthest = farthest_from_zero(scales, kGroups);
    std::memset(dst, 0, kBytes);
    const float inverse = farthest != 0.0f ? -32.0f / farthest : 0.0f;
    store_half(dst + kScale, inverse != 0.0f ? 1.0f / inverse : 0.0f);
    const float d = load_half(dst + kScale);
    for (size_t g = 0; g < kGroups && farthest != 0.0f; ++g) {
      const int level = round_within(inverse * scales[g], -32, 31);
      set_group_scale(dst + kScales, g, level);
      const float scale = d * static_cast<float>(level);
      if (scale == 0.0f) continue;
      for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i)
        q[i] = static_cast<uint8_t>(round_within(src[i] / scale, -4, 3) + 4);
    }
    for (size_t i = 0; i < kWeights; ++i) {
      dst[kPairs + pair_byte(i)] |= static_cast<uint8_t>((q[i] & 3) << pair_shift(i));
      dst[i % 32] |= static_cast<uint8_t>((q[i] >> 2) << (i / 32));
    }
  }
}

}  // namespace q3

// q4_k and q5_k.
template <int kBits>
struct WithMins {
  static constexpr size_t kGroup = 32;
  static constexpr size_t kGroups = kWeights / kGroup;
  static constexpr size_t kScales = 4;
  static constexpr size_t kHighBits = kScales + 12;
  static constexpr size_t kLowBits = kHighBits + (kBits == 5 ? kWeights / 8 : 0);
  static constexpr size_t kBytes = kLowBits + kWeights / 2;
  static constexpr int kMax = (1 << kBits) - 1;
  static constexpr Search kSearch = kBits == 4 ? Search{-1.0f, 20, true} : Search{-0.5f, 15, true};

  struct GroupScale {
    int scale, min;  // 6 bits each
  };

  // Groups 0 to 3 have their six bits at the bottom of bytes 0 to 3 (scale) and 4 to 7 (min). Groups 4 to 7
  // have four bits in bytes 8 to 11 (scale low, min high) and two at the top of bytes 0 to 3 and 4 to 7.
  static GroupScale group_scale(const uint8_t* s, size_t group) {
    if (group < 4) return {s[group] & 63, s[group + 4] & 63};
    return {(s[group + 4] & 15) | (s[group - 4] >> 6) << 4, (s[group + 4] >> 4) | (s[group] >> 6) << 4};
  }

  // Groups in ascending order: the first four set the bytes that the last four add to.
  static void set_group_scale(uint8_t* s, size_t group, GroupScale v) {
    if (group < 4) {
      s[group] = static_cast<uint8_t>(v.scale);
      s[group + 4] = static_cast<uint8_t>(v.min);
    } else {
      s[group + 4] = static_cast<uint8_t>((v.scale & 15) | (v.min & 15) << 4);
      s[group - 4] |= static_cast<uint8_t>((v.scale >> 4) << 6);
      s[group] |= static_cast<uint8_t>((v.min >> 4) << 6);
    }
  }

  static void decode(const uint8_t* src, float* dst, size_t n) {
    for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
      const float d = load_half(src);
      const float dmin = load_half(src + 2);
      for (size_t g = 0; g < kGroups; ++g) {
        const GroupScale s = group_scale(src + kScales, g);
        const float scale = d * static_cast<float>(s.scale);
        const float min = dmin * static_cast<float>(s.min);
        const uint8_t* pairs = src + kLowBits + g / 2 * kGroup;
        for (size_t i = 0; i < kGroup; ++i) {
          int q = g % 2 == 0 ? pairs[i] & 15 : pairs[i] >> 4;
          if constexpr (kBits == 5) q |= (src[kHighBits + i] >> g & 1) << 4;
          dst[g * kGroup + i] = scale * static_cast<float>(q) - min;
        }
      }
    }
  }

  static void encode(const float* src, uint8_t* dst, size_t n) {
    for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
      uint8_t q[kWeights];
      Fit fits[kGroups];
      float max_scale = 0.0f, max_min = 0.0f;
      for (size_t g = 0; g < kGroups; ++g) {
        const float* x = src + g * kGroup;
        float sum = 0.0f;
        for (size_t i = 0; i < kGroup; ++i) sum += x[i] * x[i];
        const float mean = std::sqrt(sum / static_cast<float>(kGroup));
        float w[kGroup];
        for (size_t i = 0; i < kGroup; ++i) w[i] = mean + std::fabs(x[i]);
        fits[g] = fit_with_min<kMax, kGroup>(x, w, kSearch, q + g * kGroup);
        if (fits[g].scale > max_scale) max_scale = fits[g].scale;
        if (fits[g].min > max_min) max_min = fits[g].min;
      }
      store_half(dst, max_scale / 63.0f);
      store_half(dst + 2, max_min / 63.0f);
      const float inverse_scale = max_scale > 0.0f ? 63.0f / max_scale : 0.0f;
      const float inverse_min = max_min > 0.0f ? 63.0f / max_min : 0.0f;
      for (size_t g = 0; g < kGroups; ++g) {
        set_group_scale(dst + kScales, g,
                        {round_within(inverse_scale * fits[g].scale, 0, 63),
                         round_within(inverse_min * fits[g].min, 0, 63)});
      }
      // The levels once more, now for the scales as they were stored.
      const float d = load_half(dst), dmin = load_half(dst + 2);
      for (size_t g = 0; g < kGroups; ++g) {
        const GroupScale s = group_scale(dst + kScales, g);
        const float scale = d * static_cast<float>(s.scale);
        const float min = dmin * static_cast<float>(s.min);
        if (scale == 0.0f) continue;
        for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
          q[i] = static_cast<uint8_t>(round_within((src[i] + min) / scale, 0, kMax));
        }
      }
      std::memset(dst + kHighBits, 0, kBytes - kHighBits);
      for (size_t i = 0; i < kWeights; ++i) {
        const size_t g = i / kGroup;
        dst[kLowBits + g / 2 * kGroup + i % kGroup] |= static_cast<uint8_t>((q[i] & 15) << (g % 2 * 4));
        if constexpr (kBits == 5) dst[kHighBits + i % kGroup] |= static_cast<uint8_t>((q[i] >> 4) << g);
      }
    }
  }
};

namespace q6 {

constexpr size_t kGroup = 16;
constexpr size_t kGroups = kWeights / kGroup;
constexpr size_t kHighBits = 128;
constexpr size_t kScales = kHighBits + 64;
constexpr size_t kScale = kScales + kGroups;
constexpr size_t kBytes = kScale + 2;
// Where the six bits of weight i lie: each half of the block is four runs of 32 weights, which share the
// bytes of upper pairs; runs 0 and 2, and runs 1 and 3, share bytes of nibbles.
struct Place {
  size_t low, high;
  int low_shift, high_shift;
};
Place place(size_t i) {
  const size_t half = i / 128, run = i % 128 / 32, at = i % 32;
  return {half * 64 + run % 2 * 32 + at, kHighBits + half * 32 + at, static_cast<int>(run / 2 * 4),
          static_cast<int>(run * 2)};
}

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src + kScale);
    for (size_t i = 0; i < kWeights; ++i) {
      const Place p = place(i);
      const int q = (src[p.low] >> p.low_shift & 15) | (src[p.high] >> p.high_shift & 3) << 4;
      const auto scale = static_cast<int8_t>(src[kScales + i / kGroup]);
      dst[i] = d * static_cast<float>(scale) * static_cast<float>(q - 32);
    }
  }
}

// Chooses the scale and the levels (0 to 63, 32 is zero) of one group; errors are weighted by x^2.
float fit(const float* x, uint8_t* q) {
  const float farthest = farthest_from_zero(x, kGroup);
  if (std::fabs(farthest) < kNothing) {
    std::fill_n(q, kGroup, uint8_t{0});
    return 0.0f;
  }
  float best_scale = 0.0f, best = 0.0f;
  const auto attempt = [&](float inverse, bool first) {
    uint8_t levels[kGroup];
    float sum_xl = 0.0f, sum_ll = 0.0f;
    for (size_t i = 0; i < kGroup; ++i) {
      const int level = round_within(inverse * x[i], -32, 31);
      levels[i] = static_cast<uint8_t>(level + 32);
      const float l = static_cast<float>(level), w = x[i] * x[i];
      sum_xl += w * x[i] * l;
      sum_ll += w * l * l;
    }
    if (first || (sum_ll > 0.0f && sum_xl * sum_xl > best * sum_ll)) {
      best_scale = sum_ll != 0.0f ? sum_xl / sum_ll : 0.0f;
      best = best_scale * sum_xl;
      std::copy_n(levels, kGroup, q);
    }
  };
  attempt(-32.0f / farthest, true);
  for (int step = -9; step <= 9; ++step) {
    if (step != 0) attempt(-(32.0f + 0.1f * static_cast<float>(step)) / farthest, false);
  }
  return best_scale;
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    uint8_t q[kWeights];
    float scales[kGroups];
    for (size_t g = 0; g < kGroups; ++g) scales[g] = fit(src + g * kGroup, q + g * kGroup);
    const float farthest = farthest_from_zero(scales, kGroups);
    std::memset(dst, 0, kBytes);
    if (std::fabs(farthest) < kNothing) continue;
    const float inverse = -128.0f / farthest;
    store_half(dst + kScale, 1.0f / inverse);
    const float d = load_half(dst + kScale);
    for (size_t g = 0; g < kGroups; ++g) {
      const int level = round_within(inverse * scales[g], -128, 127);
      dst[kScales + g] = static_cast<uint8_t>(level);
      const float scale = d * static_cast<float>(level);
      if (scale == 0.0f) continue;
      for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
        q[i] = static_cast<uint8_t>(round_within(src[i] / scale, -32, 31) + 32);
      }
    }
    for (size_t i = 0; i < kWeights; ++i) {
      const Place p = place(i);
      dst[p.low] |= static_cast<uint8_t>((q[i] & 15) << p.low_shift);
      dst[p.high] |= static_cast<uint8_t>((q[i] >> 4) << p.high_shift);
    }
  }
}

}  // namespace q6

namespace q8 {

constexpr size_t kGroup = 16;
constexpr size_t kQuants = 4;
constexpr size_t kSums = kQuants + kWeights;
constexpr size_t kBytes = kSums + kWeights / kGroup * 2;

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load<float>(src);
    for (size_t i = 0; i < kWeights; ++i)
      dst[i] = d * static_cast<float>(static_cast<int8_t>(src[kQuants + i]));
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    std::memset(dst, 0, kBytes);
    const float farthest = farthest_from_zero(src, kWeights);
    if (farthest == 0.0f) continue;
    const float inverse = -127.0f / farthest;
    store(dst, 1.0f / inverse);
    for (size_t g = 0; g < kWeights / kGroup; ++g) {
      int sum = 0;
      for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
        const int q = round_within(inverse * src[i], -127, 127);
        dst[kQuants + i] = static_cast<uint8_t>(q);
        sum += q;
      }
      store(dst + kSums + 2 * g, static_cast<int16_t>(sum));
    }
  }
}

}  // namespace q8
}  // namespace

std::array<DTypeInfo, 6> k_quant_types() {
  return {{{DType::q2_k, "q2_k", kWeights, q2::kBytes, q2::decode, q2::encode},
           {DType::q3_k, "q3_k", kWeights, q3::kBytes, q3::decode, q3::encode},
           {DType::q4_k, "q4_k", kWeights, WithMins<4>::kBytes, WithMins<4>::decode, WithMins<4>::encode},
           {DType::q5_k, "q5_k", kWeights, WithMins<5>::kBytes, WithMins<5>::decode, WithMins<5>::encode},
           {DType::q6_k, "q6_k", kWeights, q6::kBytes, q6::decode, q6::encode},
           {DType::q8_k, "q8_k", kWeights, q8::kBytes, q8::decode, q8::encode}}};
}

}  // namespace forge
