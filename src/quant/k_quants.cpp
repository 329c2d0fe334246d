// q4_k, q5_k, q6_k: blocks of 256 weights in groups, with small integer scales a group and half-precision
// scales of those a block.
//
//   q4_k  d, dmin, 12 bytes with 8 x (6-bit scale, 6-bit min), 128 bytes of nibbles          w = d*scale*q -
//   dmin*min q5_k  d, dmin, 12 bytes as above, 32 bytes of fifth bits, 128 bytes of nibbles           w =
//   d*scale*q - dmin*min q6_k  128 bytes of nibbles, 64 bytes of upper bit pairs, 16 signed scales, d w =
//   d*scale*(q - 32)
//
// The encoder searches, for each group, scales around the obvious one for the least weighted squared error.
// It follows the reference's order of float operations: other orders choose other scales now and then.
#include <algorithm>
#include <cmath>

#include "quant/families.h"

namespace forge {
namespace {

constexpr size_t kWeights = 256;

// Nearest, ties to even, limited to [low, high]; NaN gives low.
int round_within(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (value >= static_cast<float>(high)) return high;
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: the sum's last mantissa bit is worth one
  return static_cast<int>((value + kShift) - kShift);
}

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

  struct Fit {
    float scale, min;  // x is about scale * q - min
  };

  // Chooses scale, min (>= 0) and levels q for one group, with errors weighted by w.
  static Fit fit(const float* x, const float* w, uint8_t* q) {
    constexpr float kFirst = kBits == 4 ? -1.0f : -0.5f;  // levels tried: kMax + kFirst + 0.1 * step
    constexpr int kSteps = kBits == 4 ? 20 : 15;
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
        sum += w[i] * (difference * difference);
      }
      return sum;
    };

    const float first_inverse = static_cast<float>(kMax) / (high - low);
    float best_scale = 1.0f / first_inverse, best_low = low;
    quantize(first_inverse, low, q);
    float best_error = error(best_scale, low, q);
    for (int step = 0; step <= kSteps; ++step) {
      uint8_t levels[kGroup];
      quantize((kFirst + 0.1f * static_cast<float>(step) + static_cast<float>(kMax)) / (high - best_low),
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
        fits[g] = fit(x, w, q + g * kGroup);
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
constexpr float kNothing = 1e-15f;  // groups with no weight above this are zero

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
}  // namespace

std::array<DTypeInfo, 3> k_quant_types() {
  return {{{DType::q4_k, "q4_k", kWeights, WithMins<4>::kBytes, WithMins<4>::decode, WithMins<4>::encode},
           {DType::q5_k, "q5_k", kWeights, WithMins<5>::kBytes, WithMins<5>::decode, WithMins<5>::encode},
           {DType::q6_k, "q6_k", kWeights, q6::kBytes, q6::decode, q6::encode}}};
}

}  // namespace forge
