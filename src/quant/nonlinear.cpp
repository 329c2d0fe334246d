// Types of four-bit indices into a table of sixteen levels.
//
//   iq4_nl  32 weights: d, nibbles                                              w = d * kIq4Levels[q]
//   iq4_xs  256 weights: d, 8 6-bit scales (16 bits of upper pairs, 4 bytes of nibbles), 8 x 16 bytes of nibbles
//                                                                w = d * (scale - 32) * kIq4Levels[q]
//   mxfp4   32 weights: an exponent e, nibbles                                  w = 2^(e - 128) * kFp4Levels[q]
//   nvfp4   64 weights: 4 scales (unsigned e4m3), 4 x 8 bytes of nibbles        w = scale / 2 * kFp4Levels[q]
//
// In 16 (nvfp4: 8) bytes of nibbles the low ones are the first half of the weights. The fp4 levels are e2m1
// numbers times two, as the OCP microscaling formats (MX v1.0) define them.
#include <algorithm>
#include <cmath>

#include "quant/families.h"
#include "quant/levels.h"

namespace forge {
namespace {

// The nearest of the iq4 levels, the upper one where two are equally near; NaN gives the last but one.
uint8_t nearest_iq4(float x) {
  const auto* const begin = kIq4Levels.begin();
  const auto* const end = kIq4Levels.end();
  if (x <= static_cast<float>(kIq4Levels.front())) return 0;
  if (x >= static_cast<float>(kIq4Levels.back())) return 15;
  const auto* const above =
      std::partition_point(begin + 1, end - 1, [x](int8_t l) { return !(x < static_cast<float>(l)); });
  const bool below = x - static_cast<float>(above[-1]) < static_cast<float>(above[0]) - x;
  return static_cast<uint8_t>(above - begin - (below ? 1 : 0));
}

// The fp4 level nearest to x / scale, the first where several are.
uint8_t nearest_fp4(float x, float scale) {
  const auto distance = [&](size_t i) { return std::fabs(static_cast<float>(kFp4Levels[i]) * scale - x); };
  size_t best = 0;
  for (size_t i = 1; i < kFp4Levels.size(); ++i)
    if (distance(i) < distance(best)) best = i;
  return static_cast<uint8_t>(best);
}

void store_nibbles(const uint8_t* q, size_t n, uint8_t* dst) {
  for (size_t i = 0; i < n / 2; ++i) dst[i] = static_cast<uint8_t>(q[i] | q[i + n / 2] << 4);
}
int nibble(const uint8_t* src, size_t n, size_t i) { return i < n / 2 ? src[i] & 15 : src[i - n / 2] >> 4; }

constexpr size_t kGroup = 32;

// The scale of one group for which its levels' error, weighted by x^2, is least, of the obvious one and those
// with the farthest weight `step` beside the lowest level for -steps <= step <= steps; steps below 0: the
// obvious one alone, with the farthest weight at the lowest level rather than opposite to it.
float fit_iq4(const float* x, int steps) {
  const float farthest = farthest_from_zero(x, kGroup);
  if (std::fabs(farthest) < kNothing) return 0.0f;
  constexpr float kLowest = kIq4Levels[0];
  float best_scale = 0.0f, best = 0.0f;
  const auto attempt = [&](float inverse, bool first) {
    float sum_xl = 0.0f, sum_ll = 0.0f;
    for (size_t i = 0; i < kGroup; ++i) {
      const float l = kIq4Levels[nearest_iq4(inverse * x[i])], w = x[i] * x[i];
      sum_xl += w * l * x[i];
      sum_ll += w * l * l;
    }
    if (first ? sum_ll > 0.0f : sum_ll > 0.0f && sum_xl * sum_xl > best * sum_ll) {
      best_scale = sum_xl / sum_ll;
      best = best_scale * sum_xl;
    }
  };
  attempt(1.0f / (steps > 0 ? -farthest / kLowest : farthest / kLowest), true);
  for (int step = -steps; step <= steps; ++step)
    attempt((static_cast<float>(step) + kLowest) / farthest, false);
  return best_scale;
}

namespace iq4_nl {

constexpr size_t kBytes = 2 + kGroup / 2;

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kGroup; n -= kGroup, src += kBytes, dst += kGroup) {
    const float d = load_half(src);
    for (size_t i = 0; i < kGroup; ++i)
      dst[i] = d * static_cast<float>(kIq4Levels[static_cast<size_t>(nibble(src + 2, kGroup, i))]);
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kGroup; n -= kGroup, src += kGroup, dst += kBytes) {
    // The levels are those of the obvious scale, as the reference has them; the scale is the best for these.
    const float farthest = farthest_from_zero(src, kGroup);
    const bool zero = std::fabs(farthest) < kNothing;
    const float inverse = zero ? 0.0f : 1.0f / (farthest / static_cast<float>(kIq4Levels[0]));
    uint8_t q[kGroup];
    for (size_t i = 0; i < kGroup; ++i) q[i] = nearest_iq4(inverse * src[i]);
    store_half(dst, fit_iq4(src, -1));
    store_nibbles(q, kGroup, dst + 2);
  }
}

}  // namespace iq4_nl

namespace iq4_xs {

constexpr size_t kWeights = 256;
constexpr size_t kGroups = kWeights / kGroup;
constexpr size_t kHighBits = 2;
constexpr size_t kLowBits = kHighBits + 2;
constexpr size_t kNibbles = kLowBits + kGroups / 2;
constexpr size_t kBytes = kNibbles + kWeights / 2;

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src);
    const uint16_t high = load<uint16_t>(src + kHighBits);
    for (size_t g = 0; g < kGroups; ++g) {
      const int scale = (src[kLowBits + g / 2] >> (g % 2 * 4) & 15) | (high >> 2 * g & 3) << 4;
      const float group_scale = d * static_cast<float>(scale - 32);
      for (size_t i = 0; i < kGroup; ++i) {
        const int q = nibble(src + kNibbles + g * kGroup / 2, kGroup, i);
        dst[g * kGroup + i] = group_scale * static_cast<float>(kIq4Levels[static_cast<size_t>(q)]);
      }
    }
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    float scales[kGroups];
    for (size_t g = 0; g < kGroups; ++g) scales[g] = fit_iq4(src + g * kGroup, 7);
    const float d = -farthest_from_zero(scales, kGroups) / 32.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    std::memset(dst, 0, kBytes);
    store_half(dst, d);
    uint16_t high = 0;
    for (size_t g = 0; g < kGroups; ++g) {
      const int level = round_within(inverse * scales[g], -32, 31);
      const float scale = d * static_cast<float>(level), inverse_scale = scale != 0.0f ? 1.0f / scale : 0.0f;
      uint8_t q[kGroup];
      for (size_t i = 0; i < kGroup; ++i) q[i] = nearest_iq4(inverse_scale * src[g * kGroup + i]);
      store_nibbles(q, kGroup, dst + kNibbles + g * kGroup / 2);
      dst[kLowBits + g / 2] |= static_cast<uint8_t>(((level + 32) & 15) << (g % 2 * 4));
      high = static_cast<uint16_t>(high | (level + 32) >> 4 << 2 * g);
    }
    store(dst + kHighBits, high);
  }
}

}  // namespace iq4_xs

namespace mxfp4 {

constexpr size_t kBytes = 1 + kGroup / 2;

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kGroup; n -= kGroup, src += kBytes, dst += kGroup) {
    const float scale = e8m0_half(src[0]);
    for (size_t i = 0; i < kGroup; ++i)
      dst[i] = static_cast<float>(kFp4Levels[static_cast<size_t>(nibble(src + 1, kGroup, i))]) * scale;
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kGroup; n -= kGroup, src += kGroup, dst += kBytes) {
    const float top = std::fabs(farthest_from_zero(src, kGroup));
    dst[0] =
        static_cast<uint8_t>(top > 0.0f ? truncate_within(std::floor(std::log2(top)) + 125.0f, 0, 254) : 0);
    uint8_t q[kGroup];
    for (size_t i = 0; i < kGroup; ++i) q[i] = nearest_fp4(src[i], e8m0_half(dst[0]));
    store_nibbles(q, kGroup, dst + 1);
  }
}

}  // namespace mxfp4

namespace nvfp4 {

constexpr size_t kWeights = 64;
constexpr size_t kRun = 16;
constexpr size_t kRuns = kWeights / kRun;
constexpr size_t kBytes = kRuns + kWeights / 2;

// The nearest e4m3 number, halves away from zero, at most 240; below half of the smallest zero.
uint8_t to_e4m3(float x) {
  constexpr float kSmallestNormal = 0x1p-6f;
  if (!(x > 0.0f)) return 0;
  if (x < kSmallestNormal) return static_cast<uint8_t>(truncate_within(x * 512.0f + 0.5f, 0, 7));
  const uint32_t bits = std::bit_cast<uint32_t>(x < 448.0f ? x : 448.0f) + (1u << 19);
  const uint32_t code = (bits >> 20) - ((127u - 7u) << 3);
  return static_cast<uint8_t>(code < 0x78 ? code : 0x7e);
}

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights)
    for (size_t i = 0; i < kWeights; ++i) {
      const size_t run = i / kRun;
      const int q = nibble(src + kRuns + run * kRun / 2, kRun, i % kRun);
      dst[i] = static_cast<float>(kFp4Levels[static_cast<size_t>(q)]) * e4m3_half(src[run]);
    }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes)
    for (size_t run = 0; run < kRuns; ++run) {
      const float* x = src + run * kRun;
      dst[run] = to_e4m3(std::fabs(farthest_from_zero(x, kRun)) / 6.0f);
      uint8_t q[kRun];
      for (size_t i = 0; i < kRun; ++i) q[i] = nearest_fp4(x[i], e4m3_half(dst[run]));
      store_nibbles(q, kRun, dst + kRuns + run * kRun / 2);
    }
}

}  // namespace nvfp4
}  // namespace

std::array<DTypeInfo, 4> nonlinear_types() {
  return {{{DType::iq4_nl, "iq4_nl", kGroup, iq4_nl::kBytes, iq4_nl::decode, iq4_nl::encode},
           {DType::iq4_xs, "iq4_xs", iq4_xs::kWeights, iq4_xs::kBytes, iq4_xs::decode, iq4_xs::encode},
           {DType::mxfp4, "mxfp4", kGroup, mxfp4::kBytes, mxfp4::decode, mxfp4::encode},
           {DType::nvfp4, "nvfp4", nvfp4::kWeights, nvfp4::kBytes, nvfp4::decode, nvfp4::encode}}};
}

}  // namespace forge
