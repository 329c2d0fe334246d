#include "quantize/encode.h"

#include <algorithm>
#include <vector>

#include "quant/families.h"
#include "quant/levels.h"
#include "quant/packed.h"
#include "quantize/search.h"

namespace forge {
namespace {

constexpr float kNoLimit = std::numeric_limits<float>::infinity();

// As a half-precision field holds it.
float as_stored(float value) {
  return half_to_float(float_to_half(std::clamp(value, -kMaxWeight, kMaxWeight)));
}

// A record of scales and the weights' codes, which block_codec joins to a block.
struct Parts {
  std::array<uint8_t, kMaxRecord> record{};
  std::array<uint8_t, kMaxBlock> codes{};
};

template <class Levels, size_t kN>
void write_codes(const Group<kN>& g, Affine a, uint8_t* codes) {
  const float inverse = inverse_scale(a.scale);
  for (size_t i = 0; i < kN; i += kLanes) {
    const Lanes level = Levels::nearest((g.x[i / kLanes] - a.offset) * inverse);
    for (size_t j = 0; j < kLanes; ++j) codes[i + j] = static_cast<uint8_t>(Levels::code(level[j]));
  }
}

// Half-precision scale, and minimum where kHasMin, of a group that is the whole block.
template <class Levels, size_t kN, bool kHasMin>
struct OneScale {
  static void encode(const float* x, const float* w, Parts& parts) {
    const Group<kN> g(x, w);
    Affine a = kHasMin ? search_affine<Levels>(g, kNoLimit) : Affine{search_scale<Levels>(g), 0};
    a = {as_stored(a.scale), as_stored(a.offset)};
    store_half(parts.record.data(), a.scale);
    if constexpr (kHasMin) store_half(parts.record.data() + 2, a.offset);
    write_codes<Levels>(g, a, parts.codes.data());
  }
};

// How the integer scales of a block's groups, and their minimums, stand in a record.
struct ScaleField {
  int low, high;       // of a scale
  int min_high;        // of a minimum; 0: there is none
  int zero = 0;        // what is stored is scale + zero
  bool pairs = false;  // scale and minimum are the halves of a byte
};

// Integer scales of the groups, and minimums, in units of half-precision numbers of the block:
// w = d * scale * level - dmin * min.
template <class Levels, size_t kN, ScaleField kField>
struct TwoScales {
  static constexpr size_t kGroups = 256 / kN;
  static constexpr int kScaleLow = kField.low, kScaleHigh = kField.high, kMinHigh = kField.min_high;
  static constexpr bool kHasMin = kMinHigh != 0;

  struct Codes {
    int scale = 0, min = 0;
  };
  struct Block {
    float d = 0, dmin = 0;
    std::array<Codes, kGroups> codes;
    float error = std::numeric_limits<float>::infinity();

    Affine affine(Codes c) const {
      return {d * static_cast<float>(c.scale), -(dmin * static_cast<float>(c.min))};
    }
  };
  using Groups = std::vector<Group<kN>>;

  // The nearest code of value / unit.
  static int code(float value, float unit, int low, int high) {
    if (unit == 0) return 0;
    return static_cast<int>(
        std::clamp(std::nearbyint(value / unit), static_cast<float>(low), static_cast<float>(high)));
  }

  // The codes of least error for a group in the units of the block, near those of its own best scale and offset. Adds
  // the error to the block's.
  static LevelSums choose(const Group<kN>& g, Affine target, Block& block, Codes& best) {
    LevelSums best_sums;
    best_sums.error = std::numeric_limits<float>::infinity();
    const auto attempt = [&](Codes c) {
      const LevelSums s = level_sums<Levels>(g, block.affine(c));
      if (s.error < best_sums.error) {
        best_sums = s;
        best = c;
      }
      return s;
    };
    const int middle = code(target.scale, block.d, kScaleLow, kScaleHigh);
    for (int scale = std::max(middle - 1, kScaleLow); scale <= std::min(middle + 1, kScaleHigh); ++scale) {
      Codes c{scale, kHasMin ? code(-target.offset, block.dmin, 0, kMinHigh) : 0};
      const LevelSums s = attempt(c);
      if constexpr (kHasMin) {
        // The offset of least squares for this scale and these levels.
        if (g.sum_w > 0 && block.dmin != 0) {
          const float offset = (g.sum_wx - block.d * static_cast<float>(scale) * s.l) / g.sum_w;
          const int min = code(-offset, block.dmin, 0, kMinHigh);
          if (min != c.min) attempt({scale, min});
        }
      }
    }
    return best_sums;
  }

  // d and dmin of least squares for the codes and levels as they are.
  static void refit(const Groups& groups, const std::array<LevelSums, kGroups>& sums, Block& block) {
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;  // a = scale * level, b = -min
    for (size_t i = 0; i < kGroups; ++i) {
      const double c = block.codes[i].scale, m = -block.codes[i].min;
      aa += c * c * sums[i].ll;
      ab += c * m * sums[i].l;
      bb += m * m * groups[i].sum_w;
      xa += c * sums[i].xl;
      xb += m * groups[i].sum_wx;
    }
    const double determinant = aa * bb - ab * ab;
    if (determinant > 1e-9 * aa * bb) {
      const double dmin = (aa * xb - ab * xa) / determinant;
      if (dmin >= 0) {
        block.d = as_stored(static_cast<float>((bb * xa - ab * xb) / determinant));
        block.dmin = as_stored(static_cast<float>(dmin));
      }
    } else if (aa > 0) {
      block.d = as_stored(static_cast<float>((xa - block.dmin * ab) / aa));
    }
  }

  static Block search(const Groups& groups) {
    std::array<Affine, kGroups> targets;
    std::array<float, kGroups> scales;
    float min = 0;
    for (size_t i = 0; i < kGroups; ++i) {
      targets[i] =
          kHasMin ? search_affine<Levels>(groups[i], 0.0f) : Affine{search_scale<Levels>(groups[i]), 0};
      scales[i] = targets[i].scale;
      min = std::max(min, -targets[i].offset);
    }
    const float scale = farthest_from_zero(scales.data(), kGroups);
    // The code farthest from zero for the largest scale.
    constexpr float kFarthest = -kScaleLow > kScaleHigh ? kScaleLow : kScaleHigh;
    Block best;
    for (const float stretch : {1.0f, 0.95f}) {
      Block block;
      block.d = as_stored(scale / kFarthest * stretch);
      if constexpr (kHasMin) block.dmin = as_stored(min / kMinHigh * stretch);
      for (int round = 0; round < 3; ++round) {
        std::array<LevelSums, kGroups> sums;
        block.error = 0;
        for (size_t i = 0; i < kGroups; ++i) {
          sums[i] = choose(groups[i], targets[i], block, block.codes[i]);
          block.error += sums[i].error;
        }
        if (block.error < best.error) best = block;
        const Block before = block;
        refit(groups, sums, block);
        if (block.d == before.d && block.dmin == before.dmin) break;
      }
    }
    return best;
  }

  static void encode(const float* x, const float* w, Parts& parts) {
    Groups groups;
    groups.reserve(kGroups);
    for (size_t i = 0; i < kGroups; ++i) groups.emplace_back(x + i * kN, w + i * kN);
    const Block block = search(groups);
    uint8_t* record = parts.record.data();
    store_half(record, block.d);
    if constexpr (kHasMin) store_half(record + 2, block.dmin);
    uint8_t* scales = record + (kHasMin ? 4 : 2);
    for (size_t i = 0; i < kGroups; ++i) {
      const Codes c = block.codes[i];
      scales[i] = static_cast<uint8_t>(c.scale + kField.zero + (kField.pairs ? c.min << 4 : 0));
      if constexpr (kHasMin && !kField.pairs) scales[kGroups + i] = static_cast<uint8_t>(c.min);
      write_codes<Levels>(groups[i], block.affine(block.codes[i]), parts.codes.data() + i * kN);
    }
  }
};

// One-byte scales of the groups, as kDecode reads them: floating-point numbers above zero, ascending up to kHighest.
template <class Levels, size_t kN, size_t kGroups, float (*kDecode)(uint8_t), uint8_t kHighest>
struct ByteScales {
  static void encode(const float* x, const float* w, Parts& parts) {
    for (size_t i = 0; i < kGroups; ++i) {
      const Group<kN> g(x + i * kN, w + i * kN);
      // All scales that lay the outermost weight between half and twice the outermost level.
      const float middle = std::max(g.high, -g.low) / Levels::kHighest;
      int code = 0;
      while (code < kHighest && kDecode(static_cast<uint8_t>(code)) < 0.5f * middle) ++code;
      auto best = static_cast<uint8_t>(code);
      float least = std::numeric_limits<float>::infinity();
      for (; code <= kHighest && kDecode(static_cast<uint8_t>(code)) <= 2.0f * middle; ++code) {
        const float error = level_sums<Levels>(g, {kDecode(static_cast<uint8_t>(code)), 0}).error;
        if (error < least) {
          least = error;
          best = static_cast<uint8_t>(code);
        }
      }
      parts.record[i] = best;
      write_codes<Levels>(g, {kDecode(best), 0}, parts.codes.data() + i * kN);
    }
  }
};

// The search for each block type; null for f32, f16 and bf16, where the nearest value is the best, and for the types
// that have a way of their own.
using EncodeBlock = void (*)(const float* x, const float* w, Parts& parts);
EncodeBlock block_encoder(DType type) {
  using Iq4 = TableLevels<kIq4Levels>;
  using Fp4 = TableLevels<kFp4Levels>;
  constexpr ScaleField kSixBits = {0, 63, 63}, kSignedSixBits = {-32, 31, 0, 32};
  switch (type) {
    case DType::q4_0: return OneScale<UniformLevels<-8, 7>, 32, false>::encode;
    case DType::q4_1: return OneScale<UniformLevels<0, 15>, 32, true>::encode;
    case DType::q5_0: return OneScale<UniformLevels<-16, 15>, 32, false>::encode;
    case DType::q5_1: return OneScale<UniformLevels<0, 31>, 32, true>::encode;
    case DType::q8_0: return OneScale<UniformLevels<-127, 127, 128>, 32, false>::encode;
    case DType::q2_0: return OneScale<UniformLevels<-1, 2>, 64, false>::encode;
    case DType::q2_k: return TwoScales<UniformLevels<0, 3>, 16, ScaleField{0, 15, 15, 0, true}>::encode;
    case DType::q3_k: return TwoScales<UniformLevels<-4, 3>, 16, kSignedSixBits>::encode;
    case DType::q4_k: return TwoScales<UniformLevels<0, 15>, 32, kSixBits>::encode;
    case DType::q5_k: return TwoScales<UniformLevels<0, 31>, 32, kSixBits>::encode;
    case DType::q6_k: return TwoScales<UniformLevels<-32, 31>, 16, ScaleField{-128, 127, 0}>::encode;
    case DType::iq4_nl: return OneScale<Iq4, 32, false>::encode;
    case DType::iq4_xs: return TwoScales<Iq4, 32, kSignedSixBits>::encode;
    case DType::mxfp4: return ByteScales<Fp4, 32, 1, e8m0_half, 254>::encode;
    case DType::nvfp4: return ByteScales<Fp4, 16, 4, e4m3_half, 0x7e>::encode;
    default: return nullptr;
  }
}

// Types with one scale and the levels -1, 0, 1 (or -1, 1), where the best is found exactly: with the k largest
// magnitudes at +-d, the least error is that of d = (sum of w |x|) / (sum of w) over them.
void encode_signs(DType type, const float* x, const float* w, size_t n, uint8_t* out) {
  std::array<size_t, kMaxBlock> order;
  for (size_t i = 0; i < n; ++i) order[i] = i;
  const auto magnitude = [x](size_t i) { return std::fabs(x[i]); };
  std::sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(n), [&](size_t a, size_t b) {
    return magnitude(a) != magnitude(b) ? magnitude(a) > magnitude(b) : a < b;
  });
  double sum_w = 0, sum_wx = 0, best_gain = -1;
  float d = 0;
  size_t kept = 0;
  for (size_t k = 0; k < n; ++k) {
    sum_w += static_cast<double>(w[order[k]]);
    sum_wx += static_cast<double>(w[order[k]] * magnitude(order[k]));
    const bool all_or_none = type == DType::q1_0;  // has no zero
    if (!(sum_w > 0) || (all_or_none && k + 1 < n)) continue;
    if (const double gain = sum_wx * sum_wx / sum_w; gain > best_gain) {
      best_gain = gain;
      d = as_stored(static_cast<float>(sum_wx / sum_w));
      kept = k + 1;
    }
  }
  // The reference encoder writes what is expressed exactly as it is.
  std::array<float, kMaxBlock> expressed{};
  for (size_t k = 0; k < kept; ++k) expressed[order[k]] = x[order[k]] < 0 ? -d : d;
  info(type).encode(expressed.data(), out, n);
}

}  // namespace

bool can_encode(DType type) { return info(type).encode != nullptr && type != DType::q8_k; }

void encode_least_error(DType type, const float* x, const float* importances, size_t n, uint8_t* out) {
  const bool signs = type == DType::tq1_0 || type == DType::tq2_0 || type == DType::q1_0;
  const EncodeBlock encode = block_encoder(type);
  if (encode == nullptr && !signs) return info(type).encode(x, out, n);
  const BlockCodec& codec = *block_codec(type);
  const uint32_t block = info(type).block_weights;
  std::array<float, kMaxBlock> w;
  w.fill(1.0f);
  for (size_t at = 0; at < n; at += block, out += info(type).block_bytes) {
    if (importances != nullptr) std::copy_n(importances + at, block, w.data());
    if (signs) {
      encode_signs(type, x + at, w.data(), block, out);
      continue;
    }
    Parts parts;
    encode(x + at, w.data(), parts);
    codec.join(parts.record.data(), parts.codes.data(), out);
  }
}

}  // namespace forge
