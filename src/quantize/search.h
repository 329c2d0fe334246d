// Searches for the scales of a block format: what a group of weights that share a scale (and a minimum) is encoded with,
// for the least importance-weighted squared error
//
//   E(scale, offset) = sum_i w_i (x_i - scale * level_i - offset)^2,  level_i the nearest to (x_i - offset) / scale.
//
// E is piecewise quadratic: between two scales at which a weight changes its level it is a parabola, whose lowest point
// is a least-squares solution in closed form. So a search is: levels for a candidate, least squares for those levels,
// and the levels anew (Lloyd's iteration), from enough candidates not to stay in a bad valley.
//
// Four lanes of plain arithmetic in one fixed order: every machine writes the same bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace forge {

inline constexpr size_t kLanes = 4;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

inline float sum(Lanes v) { return (v[0] + v[2]) + (v[1] + v[3]); }

// The integers kLow to kHigh as levels; zero is stored as kZero.
template <int kLow, int kHigh, int kZero = -kLow>
struct UniformLevels {
  static constexpr float kLowest = kLow, kHighest = kHigh;
  static constexpr size_t kCount = kHigh - kLow + 1;
  static Lanes nearest(Lanes v) {
    constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: the sum's last mantissa bit is worth one
    const Lanes low = Lanes{} + kLowest, high = Lanes{} + kHighest;
    v = v > low ? v : low;
    v = v < high ? v : high;
    return (v + kShift) - kShift;
  }
  static int code(float level) { return static_cast<int>(level) + kZero; }
};

// The levels of a table (quant/levels.h), where codes are indices.
template <const std::array<int8_t, 16>& kTable>
struct TableLevels {
  // Codes by ascending levels; of two codes of one level the first.
  static constexpr auto kSorted = [] {
    struct {
      std::array<float, 16> level{};
      std::array<uint8_t, 16> code{};
      size_t n = 0;
    } out;
    for (int level = -128; level < 128; ++level) {
      const auto at = std::find(kTable.begin(), kTable.end(), level);
      if (at == kTable.end()) continue;
      out.level[out.n] = static_cast<float>(level);
      out.code[out.n++] = static_cast<uint8_t>(at - kTable.begin());
    }
    return out;
  }();
  static constexpr size_t kCount = kSorted.n;
  static constexpr float kLowest = kSorted.level[0], kHighest = kSorted.level[kCount - 1];
  static Lanes nearest(Lanes v) {
    Lanes level = Lanes{} + kLowest;
    for (size_t i = 1; i < kCount; ++i) {
      const Lanes middle = Lanes{} + 0.5f * (kSorted.level[i - 1] + kSorted.level[i]);
      level = v > middle ? Lanes{} + kSorted.level[i] : level;
    }
    return level;
  }
  static int code(float level) {
    size_t at = 0;
    while (kSorted.level[at] < level) ++at;
    return kSorted.code[at];
  }
};

// Weights that share a scale, and their importances; kN is a multiple of kLanes.
template <size_t kN>
struct Group {
  static constexpr size_t kVectors = kN / kLanes;
  std::array<Lanes, kVectors> x, w;
  float sum_w = 0, sum_wx = 0, sum_wxx = 0;
  float low = 0, high = 0;  // of x

  Group(const float* weights, const float* importances) {
    std::memcpy(x.data(), weights, sizeof x);
    std::memcpy(w.data(), importances, sizeof w);
    Lanes sw{}, swx{}, swxx{}, least = x[0], most = x[0];
    for (size_t i = 0; i < kVectors; ++i) {
      sw += w[i];
      swx += w[i] * x[i];
      swxx += w[i] * x[i] * x[i];
      least = x[i] < least ? x[i] : least;
      most = x[i] > most ? x[i] : most;
    }
    sum_w = sum(sw);
    sum_wx = sum(swx);
    sum_wxx = sum(swxx);
    low = high = x[0][0];
    for (size_t i = 0; i < kLanes; ++i) {
      low = least[i] < low ? least[i] : low;
      high = most[i] > high ? most[i] : high;
    }
  }
};

// x is about scale * level + offset.
struct Affine {
  float scale = 0, offset = 0;
};

// 0 for a scale that is nothing.
inline float inverse_scale(float scale) { return std::fabs(scale) > 1e-37f ? 1.0f / scale : 0.0f; }

// What the levels of a group under some Affine add up to.
struct LevelSums {
  float error = 0;              // E
  float l = 0, ll = 0, xl = 0;  // sum of w * level, w * level^2, w * x * level
};

template <class Levels, size_t kN>
LevelSums level_sums(const Group<kN>& g, Affine a) {
  const float inverse = inverse_scale(a.scale);
  Lanes error{}, l{}, ll{}, xl{};
  for (size_t i = 0; i < Group<kN>::kVectors; ++i) {
    const Lanes level = Levels::nearest((g.x[i] - a.offset) * inverse);
    const Lanes wl = g.w[i] * level;
    const Lanes difference = g.x[i] - (level * a.scale + a.offset);
    error += g.w[i] * (difference * difference);
    l += wl;
    ll += wl * level;
    xl += wl * g.x[i];
  }
  return {sum(error), sum(l), sum(ll), sum(xl)};
}

// The scale of least squares for levels with these sums, no offset.
inline float refit_scale(const LevelSums& s) { return s.ll > 0 ? s.xl / s.ll : 0.0f; }

// Scale and offset of least squares for levels with these sums; where the offset would be above `most`, the best with
// an offset of exactly that.
template <size_t kN>
Affine refit_affine(const Group<kN>& g, const LevelSums& s, float most) {
  const float determinant = g.sum_w * s.ll - s.l * s.l;
  Affine a;
  if (determinant > 0) {
    a.scale = (g.sum_w * s.xl - g.sum_wx * s.l) / determinant;
    a.offset = (s.ll * g.sum_wx - s.l * s.xl) / determinant;
  } else {
    a.offset = g.sum_w > 0 ? g.sum_wx / g.sum_w : 0.0f;
  }
  if (a.offset > most) {
    a.offset = most;
    a.scale = s.ll > 0 ? (s.xl - most * s.l) / s.ll : 0.0f;
  }
  return a;
}

// Where the outermost weight falls in a search's candidates, in units of the outermost level: beyond 1 it is clipped,
// which pays where levels are few or where it matters little.
struct Extents {
  float first, last;
  int steps;
};
constexpr Extents extents(size_t levels) {
  if (levels <= 4) return {0.3f, 2.2f, 19};
  if (levels <= 16) return {0.6f, 1.6f, 24};
  if (levels <= 32) return {0.8f, 1.3f, 20};
  if (levels <= 64) return {0.9f, 1.2f, 18};
  return {0.985f, 1.03f, 12};
}

// The scale of least error without an offset.
template <class Levels, size_t kN>
float search_scale(const Group<kN>& g) {
  constexpr float kOutermost = -Levels::kLowest > Levels::kHighest ? -Levels::kLowest : Levels::kHighest;
  constexpr bool kBothSigns = -Levels::kLowest != Levels::kHighest;
  constexpr Extents kExtents = extents(Levels::kCount);
  const float farthest = -g.low > g.high ? g.low : g.high;
  float best_scale = 0, best_gain = 0;  // gain: how far E is below sum w x^2
  const auto attempt = [&](float scale) {
    const LevelSums s = level_sums<Levels>(g, {scale, 0});
    if (!(s.ll > 0 && s.xl * s.xl > best_gain * s.ll)) return false;
    best_gain = s.xl * s.xl / s.ll;
    best_scale = s.xl / s.ll;
    return true;
  };
  for (int i = 0; i <= kExtents.steps; ++i) {
    const float extent =
        kExtents.first + (kExtents.last - kExtents.first) * static_cast<float>(i) / kExtents.steps;
    attempt(farthest / (kOutermost * extent));
    if (kBothSigns) attempt(-farthest / (kOutermost * extent));
  }
  for (int i = 0; i < 3 && attempt(best_scale); ++i) {
  }
  return best_scale;
}

// E under `to`, with the levels of `from`, whose sums are s. From E's gradient and curvature there: the difference of
// large sums alone would leave nothing but their rounding where the weights are far from zero.
template <size_t kN>
float error_after(const Group<kN>& g, const LevelSums& s, Affine from, Affine to) {
  const float d_scale = to.scale - from.scale, d_offset = to.offset - from.offset;
  const float by_scale = s.xl - from.scale * s.ll - from.offset * s.l;
  const float by_offset = g.sum_wx - from.scale * s.l - from.offset * g.sum_w;
  return s.error - 2 * (d_scale * by_scale + d_offset * by_offset) + d_scale * d_scale * s.ll +
         2 * d_scale * d_offset * s.l + d_offset * d_offset * g.sum_w;
}

// Scale and offset of least error, the offset at most `most`. Candidates: a range that leaves out a part of the
// weights' own at either end.
template <class Levels, size_t kN>
Affine search_affine(const Group<kN>& g, float most) {
  constexpr std::array<float, 7> kCuts = {-0.25f, 0.0f, 0.25f, 0.5f, 0.9f, 1.4f, 2.2f};
  constexpr float kUnit = Levels::kCount <= 4 ? 0.15f : Levels::kCount <= 16 ? 0.07f : 0.04f;
  const float low = g.low < most ? g.low : most;
  const float range = g.high - low;
  if (!(range > 0)) return {0, low};
  Affine best{0, most};
  float best_error = std::numeric_limits<float>::infinity();
  const auto attempt = [&](Affine a) {
    const LevelSums s = level_sums<Levels>(g, a);
    const Affine next = refit_affine(g, s, most);
    const float error = error_after(g, s, a, next);
    if (!(error < best_error)) return false;
    best_error = error;
    best = next;
    return true;
  };
  for (const float bottom : kCuts) {
    for (const float top : kCuts) {
      const float from = low + range * kUnit * bottom, to = g.high - range * kUnit * top;
      attempt({(to - from) / (Levels::kHighest - Levels::kLowest), from});
    }
  }
  for (int i = 0; i < 4 && attempt(best); ++i) {
  }
  return best;
}

}  // namespace forge
