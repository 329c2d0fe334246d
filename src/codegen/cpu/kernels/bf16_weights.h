// Weights of block types as tiles of bfloat16, for prompts on the matrix unit (bf16.h).
//
// This is most of what a short prompt costs, so it is done in binary16, 32 numbers to a register:
//
//     e                 -16 for common scales: of 2^-14 and more, so small that no weight of the run reaches one unrounded; others' is the
//                       exponent of the run's scale, or of its minimum if that is larger, clamped to -112 .. 112
//     scale, minimum    divided by 2^e, rounded to binary16
//     w                 level * scale + minimum, cut off behind binary16's eleven bits
//     bf16(w)           rounded to eight bits, ties away from zero; e is added to the exponent
//
// Levels are exact in binary16, and 2^e keeps what is multiplied near one, whatever the scales are; of common scales nobody has to
// look for it, and what is added to the exponent are bits that binary16 lacks. What is cut off is less than
// the last of eleven bits, and a tie of eight bits differs from what is no tie by that much: so the last two steps are one rounding to
// nearest, by 2^-8 at most, of which only exact ties are not bfloat16's. Scales that are no binary16 are rounded by 2^-11, and so
// are minimums; what is subnormal beside a larger minimum by 2^(e-25).
//
// Below 2^-14 in the third line an exponent can't be told from that of the smallest number: such weights come out at 2^(e-15), which
// zero becomes, to 2^(e-14); where e is -112, as it is of a scale of zero, they are zero. Beside a common scale zero is 2^-17 of it at most.
#pragma once

#include "codegen/cpu/kernels/bf16.h"
#include "codegen/cpu/kernels/weights.h"

namespace forge::kernels {
namespace {

typedef _Float16 f16x32 __attribute__((vector_size(64)));

// Of 16 outputs and a run of k, for pairs of k: lanes 2 r and 2 r + 1 are output r.
struct TileScales {
  f16x32 scale, minimum;
  u16x32 exponent;  // where bf16 has it
};

FORGE_INLINE u16x32 twice(u16x16 v) {
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11,
                                 11, 12, 12, 13, 13, 14, 14, 15, 15);
}

// Bits of a type's largest level: |level| is 2^bits at most.
template <class F>
constexpr uint32_t kLevelBits = [] {
  const int below = kZero<F>, above = F::kTop - kZero<F>, most = below > above ? below : above;
  uint32_t bits = 0;
  while ((1 << bits) < most) ++bits;
  return bits;
}();

constexpr int kCommonExponent = -16;

// Of which lanes the scales are common ones. With a minimum, half of what there is below one is its own.
template <class F>
FORGE_INLINE i32x16 have_common_scales(f32x16 scale, f32x16 minimum) {
  constexpr uint32_t least = (127 - 14) << 23, half = (127 - 1) << 23,
                     end = (127 - kLevelBits<F> - (F::kMinimum ? 1 : 0)) << 23;
  const auto common = ((u32x16)scale & 0x7FFFFFFF) - least < end - least;
  if constexpr (F::kMinimum) return common & (((u32x16)minimum & 0x7FFFFFFF) < half);
  return common;
}

// Numbers divided by 2^e, given 2^-e, for pairs of k.
FORGE_INLINE f16x32 divided_for_pairs(f32x16 v, f32x16 factor) {
  return (f16x32)twice((u16x16)to_f16(v * factor));
}

template <class F>
FORGE_INLINE TileScales tile_scales(f32x16 scale, f32x16 minimum) {
  constexpr uint32_t exponents = 0x7F800000, least = (127 - 112) << 23, most = (127 + 112) << 23,
                     common = (127 + kCommonExponent) << 23;
  u32x16 e = (u32x16)scale & exponents;
  if constexpr (F::kMinimum) {
    const u32x16 of_minimum = (u32x16)minimum & exponents;
    e = e > of_minimum ? e : of_minimum;
  }
  e = e < least ? u32x16{} + least : e;
  e = e > most ? u32x16{} + most : e;
  e = have_common_scales<F>(scale, minimum) != 0 ? u32x16{} + common : e;
  const f32x16 factor = (f32x16)((254U << 23) - e);  // 2^-e
  const auto divided = [&](f32x16 v) __attribute__((always_inline)) {
    // One NaN for all: others have more bits set than rounding leaves room for.
    const auto is_nan = ((u32x16)v & 0x7FFFFFFF) > exponents;
    return divided_for_pairs(is_nan ? splat(__builtin_nanf("")) : v, factor);
  };
  TileScales r;
  r.scale = divided(scale);
  if constexpr (F::kMinimum) r.minimum = divided(minimum);
  const u16x32 words = (u16x32)(e - least);
  r.exponent = __builtin_shufflevector(words, words, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15, 17,
                                       17, 19, 19, 21, 21, 23, 23, 25, 25, 27, 27, 29, 29, 31, 31);
  return r;
}

#if defined(__AVX512FP16__) && defined(__AMX_BF16__)
// For each word of a register its byte of sixteen: bytes j and j + 1 of each lane of four, in the words' lower bytes.
template <uint32_t j>
struct ByteOrder {
  alignas(64) uint8_t from[64];
  constexpr ByteOrder() : from() {
    for (uint32_t i = 0; i < 64; ++i) from[i] = (uint8_t)(i % 16 / 4 * 4 + j + i / 2 % 2);
  }
};
template <uint32_t j>
constexpr ByteOrder<j> kByteOrder;

// Bytes j and j + 1 of each lane, less the zero point: they go into the lowest bits of 1024, where a step is one.
template <int zero, uint32_t j>
FORGE_INLINE f16x32 levels_of_bytes(u8x64 bytes) {
  u16x32 x = u16x32{} + (uint16_t)0x6400;
  // Written as such: of what the shuffle leaves in place the compiler makes further instructions.
  asm("vpshufb %2, %1, %0 %{%3%}"
      : "+v"(x)
      : "v"(bytes), "v"(load<u8x64>(kByteOrder<j>.from)), "Yk"((uint64_t)0x5555555555555555));
  return (f16x32)x - (_Float16)(1024 + zero);
}

template <bool has_minimum, int zero, uint32_t j>
FORGE_INLINE u16x32 scaled_levels(u8x64 bytes, const TileScales& x) {
  constexpr int kCutOff = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
  const f16x32 level = levels_of_bytes<zero, j>(bytes);
  if constexpr (has_minimum)
    return (u16x32)_mm512_fmadd_round_ph((__m512h)level, (__m512h)x.scale, (__m512h)x.minimum, kCutOff);
  else
    return (u16x32)_mm512_mul_round_ph((__m512h)level, (__m512h)x.scale, kCutOff);
}

FORGE_INLINE u16x32 round_to_eight_bits(u16x32 half) {
  return (u16x32)_mm512_mulhrs_epi16((__m512i)half, _mm512_set1_epi16(1 << 12));
}
FORGE_INLINE u16x32 without_subnormal(u16x32 v) { return v; }  // the unit reads them as zero
#else
// What is behind the last bit of binary16 is cut off; beyond its largest number that is left.
FORGE_INLINE f16x16 cut_off_to_f16(f64x16 v) {
  constexpr int64_t exponents = 0x7FF0000000000000, least = (1023LL - 14) << 52;
  const i64x16 of_v = (i64x16)v & exponents, e = of_v < least ? i64x16{} + least : of_v;
  const f64x16 step = (f64x16)(e - (10LL << 52)), whole = __builtin_elementwise_trunc(v / step) * step,
               magnitude = (f64x16)((i64x16)whole & INT64_MAX);
  const f64x16 finite = magnitude < 65504.0 ? magnitude : f64x16{} + 65504.0;
  const f64x16 with_sign = (f64x16)((i64x16)finite | ((i64x16)v & INT64_MIN));
  return to_f16(__builtin_convertvector(of_v == exponents ? v : with_sign, f32x16));
}

template <bool has_minimum, int zero, uint32_t j>
FORGE_INLINE u16x32 scaled_levels(u8x64 bytes, const TileScales& x) {
  const auto of_outputs = [](f16x32 v) __attribute__((always_inline)) {
    return __builtin_convertvector(
        to_f32(__builtin_shufflevector(v, v, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)),
        f64x16);
  };
  const auto scaled = [&](uint32_t byte) __attribute__((always_inline)) {
    const f64x16 level = __builtin_convertvector((i32x16)((u32x16)bytes >> (8 * byte) & 0xFF) - zero, f64x16);
    f64x16 v = level * of_outputs(x.scale);  // exact, and so is the sum
    if constexpr (has_minimum) v += of_outputs(x.minimum);
    return (u16x16)cut_off_to_f16(v);
  };
  return __builtin_shufflevector(scaled(j), scaled(j + 1), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

FORGE_INLINE u16x32 round_to_eight_bits(u16x32 half) { return (u16x32)((((i16x32)half >> 2) + 1) >> 1); }
FORGE_INLINE u16x32 without_subnormal(u16x32 v) { return (v & 0x7F80) == 0 ? v & 0x8000 : v; }
#endif

// Two of each lane's four weights, those of bytes j and j + 1. is_common: of all lanes' scales.
template <class F, bool is_common, uint32_t j>
FORGE_INLINE u16x32 bf16_weights(u8x64 bytes, const TileScales& x) {
  // The sign is above five bits of exponent, where bf16 has eight.
  const u16x32 rounded = round_to_eight_bits(scaled_levels<F::kMinimum, kZero<F>, j>(bytes, x)) & 0x8FFF;
  constexpr uint16_t kUpperBits = (112 + kCommonExponent) << 7;
  static_assert((kUpperBits & 0x8FFF) == 0);
  if constexpr (is_common) return rounded | kUpperBits;
  return without_subnormal(rounded + x.exponent);
}

// Runs of a tile of weights that have a scale of their own.
template <class F>
constexpr uint32_t kRuns = F::kHalves ? 2 : 1;

// Two lines of the tile.
template <class F, bool is_common>
FORGE_INLINE void fill_lines(WeightTile& tile, uint32_t t, const uint8_t* tiles,
                             const TileScales (&scales)[kRuns<F>]) {
  const u8x64 bytes = load<u8x64>(tiles + 64 * t);
  const TileScales& x = scales[t * kRuns<F> / 8];
  store(tile[2 * t], bf16_weights<F, is_common, 0>(bytes, x));
  store(tile[2 * t + 1], bf16_weights<F, is_common, 2>(bytes, x));
}

// Of any scales. In line, though it is rare: around a call no constant would stay in a register.
template <class F>
FORGE_INLINE void fill_uncommon(WeightTile& tile, const uint8_t* s, const uint8_t* tiles, uint32_t sub) {
  const Scales w = F::scales(s, sub);
  TileScales scales[kRuns<F>];
  for (uint32_t h = 0; h < kRuns<F>; ++h)
    scales[h] = tile_scales<F>(w.half[h], F::kMinimum ? w.minimum[h] : f32x16{});
#pragma clang loop unroll(disable)
  for (uint32_t t = 0; t < 8; ++t) fill_lines<F, false>(tile, t, tiles, scales);
}

// The scales of a tile, divided, without their exponent; false where not all are common.
template <class F>
FORGE_INLINE bool common_scales(const uint8_t* s, uint32_t sub, TileScales (&out)[kRuns<F>]) {
  if constexpr (HasHalfScale<F>) {
    // Dividing by 2^e is adding to the exponent, of normal numbers.
    constexpr uint16_t least = 1 << 10, n = ((15 - kLevelBits<F>) << 10) - least;
    const u16x16 bits = load<u16x16>(s);
    out[0].scale = (f16x32)twice(bits + (uint16_t)(-kCommonExponent << 10));
    return __builtin_reduce_and((bits & 0x7FFF) - least < n) != 0;
  } else {
    constexpr float factor = 1 << -kCommonExponent;
    const Scales w = F::scales(s, sub);
    i32x16 uncommon = {};
    for (uint32_t h = 0; h < kRuns<F>; ++h) {
      uncommon |= ~have_common_scales<F>(w.half[h], F::kMinimum ? w.minimum[h] : f32x16{});
      out[h].scale = divided_for_pairs(w.half[h], splat(factor));
      if constexpr (F::kMinimum) out[h].minimum = divided_for_pairs(w.minimum[h], splat(factor));
    }
    return __builtin_reduce_or(uncommon) == 0;
  }
}

// Tile number k of the group's weights.
template <class F, uint32_t K>
FORGE_INLINE void fill(WeightTile& tile, const uint8_t* group, uint32_t k) {
  constexpr uint32_t kSubs = F::kBlock / 32;
  const uint32_t sub = k % kSubs;
  const uint8_t* s = group + k / kSubs * F::kScaleBytes;
  const uint8_t* codes = group + kScaleStreamBytes<F, K> + (uint64_t)(k / kSubs) * F::kCodeBytes;
  u8x64 space[8];
  const uint8_t* tiles = F::tiles(codes, sub, space);
  TileScales scales[kRuns<F>];
  if (__builtin_expect(!common_scales<F>(s, sub, scales), 0)) {
    fill_uncommon<F>(tile, s, tiles, sub);
    return;
  }
#pragma clang loop unroll(full)
  for (uint32_t t = 0; t < 8; ++t) fill_lines<F, true>(tile, t, tiles, scales);
}

// Asks for what fill will read; with a block's first tile for all of its scales.
template <class F, uint32_t K>
FORGE_INLINE void prefetch_weights(const uint8_t* group, uint32_t k) {
  constexpr uint32_t kSubs = F::kBlock / 32;
  const uint32_t block = k / kSubs, sub = k % kSubs;
  if (sub == 0) prefetch_share<F::kScaleBytes>(group + block * F::kScaleBytes);
  prefetch_share<F::kCodeBytes, kSubs>(group + kScaleStreamBytes<F, K> + (uint64_t)block * F::kCodeBytes,
                                       sub);
}

}  // namespace
}  // namespace forge::kernels
