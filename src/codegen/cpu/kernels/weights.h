// Packed weights: how each storage type lies in the payload and how a kernel reads it.
//
// Sixteen output rows form a group. A group is two streams, one behind the other, each padded to 64 bytes:
//
//     scales of block 0, 1, 2, ...   |   codes of block 0, 1, 2, ...
//
// Codes of 32 consecutive k are eight tiles; a tile is 16 rows x 4 k in 64 bytes: byte 4 r + j is row r, k =
// 4 t + j. That is one register for AVX-512, two for AVX2, and the operand that a four-way dot product wants:
// lane = row. Sub-byte codes are the same tiles in bit planes:
//     p bits  p vectors; vector v has tiles v, v + p, v + 2p ..., each at the bits where the one before ends
// with p = 8, 4, 2, 1; other widths are a sum of these, the wider plane first: of 6 bits the lower four are a
// plane of 4 and the upper two one of 2.
//
// A code becomes an unsigned level with a constant zero point, by being one, by a table of sixteen levels or as
// a trit, so that one multiply instruction serves all types: w = scale * (level - zero) or, for types with a
// minimum, scale * level + minimum.
#pragma once

#include "codegen/cpu/kernels/simd.h"

namespace forge::kernels {
namespace {

// Codes of `bits` bits out of their planes; p and below: the plane to read next, and the bits before it.
template <int bits, int p = 8, int below = 0>
FORGE_INLINE void plane_tiles(const uint8_t* q, u8x64 (&t)[8]) {
  if constexpr ((bits & p) != 0)
    for (int i = 0; i < 8; ++i) {
      const u32x16 x = load<u32x16>(q + 64 * (i % p));
      const int shift = i / p * p - below;
      const u8x64 piece = (u8x64)(shift >= 0 ? x >> shift : x << -shift) & (uint8_t)(((1 << p) - 1) << below);
      t[i] = below == 0 ? piece : t[i] | piece;
    }
  if constexpr (p > 1) plane_tiles<bits, p / 2, below + (bits & p)>(q + 64 * (bits & p), t);
}

// --- codes: bytes of 32 k (16 rows), log2 of the zero point (-1: none), the largest level; and where the eight
// tiles of levels of the 32 k number `sub` of a block are: in `t`, or where they lie if they are levels already.

template <int bits, int zero_shift>
struct Integers {
  static constexpr uint32_t kCodeBytes32 = 64 * bits;
  static constexpr int kZeroShift = zero_shift;
  static constexpr int kTop = (1 << bits) - 1;
  FORGE_INLINE const uint8_t* tiles(const uint8_t* codes, uint32_t sub, u8x64 (&t)[8]) {
    if constexpr (bits == 8) return codes + kCodeBytes32 * sub;
    plane_tiles<bits>(codes + kCodeBytes32 * sub, t);
    return (const uint8_t*)t;
  }
};

// Indices into Levels::kLevels.
template <int bits, class Levels>
struct Indices {
  static constexpr uint32_t kCodeBytes32 = 64 * bits;
  static constexpr int kZeroShift = Levels::kZeroShift;
  static constexpr int kTop = [] {
    int top = 0;
    for (const int level : Levels::kLevels) top = level > top ? level : top;
    return top + (1 << kZeroShift);
  }();
  FORGE_INLINE const uint8_t* tiles(const uint8_t* codes, uint32_t sub, u8x64 (&t)[8]) {
    u8x16 table;
    for (int i = 0; i < 16; ++i) table[i] = (uint8_t)(Levels::kLevels[i] + (1 << kZeroShift));
    plane_tiles<bits>(codes + kCodeBytes32 * sub, t);
    for (int i = 0; i < 8; ++i) t[i] = lookup(table, t[i]);
    return (const uint8_t*)t;
  }
};
struct Iq4Levels {
  static constexpr int kZeroShift = 7;
  static constexpr int kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
};
struct Fp4Levels {  // e2m1, doubled
  static constexpr int kZeroShift = 4;
  static constexpr int kLevels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
};
struct Iq1Levels {  // these and the next: a digit of a grid's point, and a sign above it
  static constexpr int kZeroShift = 4;
  static constexpr int kLevels[16] = {-7, 1, 9, 0, -9, -1, 7};
};
struct Iq2Levels {
  static constexpr int kZeroShift = 6;
  static constexpr int kLevels[16] = {8, 25, 43, 0, -8, -25, -43};
};
struct Iq3XxsLevels {
  static constexpr int kZeroShift = 6;
  static constexpr int kLevels[16] = {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62};
};
struct Iq3SLevels {
  static constexpr int kZeroShift = 4;
  static constexpr int kLevels[16] = {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15};
};

struct Signs {  // a set bit is +1, a clear one -1
  static constexpr uint32_t kCodeBytes32 = 64;
  static constexpr int kZeroShift = 0, kTop = 2;
  FORGE_INLINE const uint8_t* tiles(const uint8_t* codes, uint32_t sub, u8x64 (&t)[8]) {
    plane_tiles<1>(codes + kCodeBytes32 * sub, t);
    for (int i = 0; i < 8; ++i) t[i] += t[i];
    return (const uint8_t*)t;
  }
};

// Bytes of five trits (256 k: 13 vectors of 16 rows x 4 bytes). A byte is a fraction of 256 whose digits to the
// base 3 are the trits. The first eight vectors have the first five times 32 k, trit after trit; the next four
// have 80 k as five times 16, the last one has 16 k as four times 4.
struct Trits {
  static constexpr uint32_t kCodeBytes32 = 104;
  static constexpr int kZeroShift = 0, kTop = 2;
  FORGE_INLINE const uint8_t* tiles(const uint8_t* codes, uint32_t sub, u8x64 (&t)[8]) {
    static constexpr uint16_t kPower[5] = {1, 3, 9, 27, 81};
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t vector = sub < 5 ? i : sub == 7 && i >= 4 ? 12 : 8 + i % 4;
      const uint32_t trit = sub < 5 ? sub : sub < 7 ? 2 * (sub - 5) + i / 4 : i < 4 ? 4 : i - 4;
      const u8x64 rest = multiply(load<u8x64>(codes + 64 * vector), kPower[trit]);
      t[i] = (u8x64)(rest > 85) + (u8x64)(rest > 170);  // minus the trit, 3 * rest / 256
      t[i] = -t[i];
    }
    return (const uint8_t*)t;
  }
};

// --- scales: bytes of a block's scales (16 rows), whether there is a minimum, whether the halves of 32 k
// differ; and those of the 32 k number `sub` of a block.

struct Scales {
  f32x16 half[2];     // of the first and the last 16 k; only the first where they don't differ
  f32x16 minimum[2];  // likewise, of types that have one
};

FORGE_INLINE f32x16 halves_at(const uint8_t* s) { return to_f32(load<f16x16>(s)); }
FORGE_INLINE f32x16 bytes_at(const uint8_t* s) { return to_f32(load<u8x16>(s)); }

template <bool has_minimum>
struct Alone {  // d[16] (m[16]): float16, for the whole block
  static constexpr uint32_t kScaleBytes = has_minimum ? 64 : 32;
  static constexpr bool kMinimum = has_minimum, kHalves = false, kHalfScale = !has_minimum;
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t) {
    Scales r;
    r.half[0] = halves_at(s);
    if constexpr (has_minimum) r.minimum[0] = halves_at(s + 32);
    return r;
  }
};

// Types of which a block's scale is no more than that.
template <class F>
concept HasHalfScale = requires { requires F::kHalfScale; };

struct ScalesAndMinimums {  // d[16] dmin[16] scale[8][16] minimum[8][16]: float16, bytes
  static constexpr uint32_t kScaleBytes = 64 + 8 * 16 + 8 * 16;
  static constexpr bool kMinimum = true, kHalves = false;
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t sub) {
    Scales r;
    r.half[0] = halves_at(s) * bytes_at(s + 64 + 16 * sub);
    r.minimum[0] = -(halves_at(s + 32) * bytes_at(s + 192 + 16 * sub));
    return r;
  }
};

struct NibbleScalesAndMinimums {  // d[16] dmin[16], for each 16 k a byte: scale low, minimum high
  static constexpr uint32_t kScaleBytes = 64 + 16 * 16;
  static constexpr bool kMinimum = true, kHalves = true;
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t sub) {
    Scales r;
    for (int h = 0; h < 2; ++h) {
      const u8x16 x = load<u8x16>(s + 64 + 32 * sub + 16 * h);
      r.half[h] = halves_at(s) * to_f32(x & 15);
      r.minimum[h] = -(halves_at(s + 32) * to_f32(x >> 4));
    }
    return r;
  }
};

// d[16] and a byte for each 16 or 32 k of 256: signed, or six bits with zero at 32.
template <class Byte, uint32_t run>
struct Bytes {
  static constexpr uint32_t kScaleBytes = 32 + 256 / run * 16;
  static constexpr bool kMinimum = false, kHalves = run == 16;
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t sub) {
    Scales r;
    for (uint32_t h = 0; h < 32 / run; ++h) {
      const uint8_t* bytes = s + 32 + 16 * (32 / run * sub + h);
      if constexpr (__is_same(Byte, int8_t))
        r.half[h] = halves_at(s) * to_f32(load<i8x16>(bytes));
      else
        r.half[h] = halves_at(s) * (bytes_at(bytes) - 32.0F);
    }
    return r;
  }
};

// d[16] and a byte for each 32 k, d * (2 s + 1) / divisor; where halves differ the first s is the low nibble.
template <int divisor, bool halves>
struct OddNumbers {
  static constexpr uint32_t kScaleBytes = 32 + 8 * 16;
  static constexpr bool kMinimum = false, kHalves = halves;
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t sub) {
    Scales r;
    const u8x16 x = load<u8x16>(s + 32 + 16 * sub);
    const auto odd = [&](u8x16 n) __attribute__((always_inline)) {
      return halves_at(s) * to_f32(n * 2 + 1) * (1.0F / divisor);
    };
    r.half[0] = odd(halves ? x & 15 : x);
    if constexpr (halves) r.half[1] = odd(x >> 4);
    return r;
  }
};

struct E8M0 {  // e[16]: half of 2^(e - 127), the two smallest of which are subnormal
  static constexpr uint32_t kScaleBytes = 16;
  static constexpr bool kMinimum = false, kHalves = false;
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t) {
    const u32x16 e = __builtin_convertvector(load<u8x16>(s), u32x16);
    Scales r;
    r.half[0] = (f32x16)(e < 2 ? (e + 1) << 21 : (e - 1) << 23);
    return r;
  }
};

struct E4M3 {  // for each 16 k of 64 a byte [16]: half of an unsigned e4m3; 0x7f is zero, the top bit nothing
  static constexpr uint32_t kScaleBytes = 4 * 16;
  static constexpr bool kMinimum = false, kHalves = true;
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t sub) {
    Scales r;
    for (int h = 0; h < 2; ++h) {
      const u32x16 x = __builtin_convertvector(load<u8x16>(s + 32 * sub + 16 * h), u32x16);
      // As the top bits of a float its exponent is 120 too small, also where it is subnormal.
      const f32x16 v = (f32x16)((x & 0x7F) << 20) * 0x1p119F;
      r.half[h] = x == 0x7F ? f32x16{} : v;
    }
    return r;
  }
};

// --- types

template <uint32_t block, class Codes, class BlockScales>
struct Block : Codes, BlockScales {
  static constexpr uint32_t kBlock = block;  // k
  static constexpr uint32_t kCodeBytes = block / 32 * Codes::kCodeBytes32;
};
struct Q4_0 : Block<32, Integers<4, 3>, Alone<false>> {};
struct Q4_1 : Block<32, Integers<4, -1>, Alone<true>> {};
struct Q5_0 : Block<32, Integers<5, 4>, Alone<false>> {};
struct Q5_1 : Block<32, Integers<5, -1>, Alone<true>> {};
struct Q8_0 : Block<32, Integers<8, 7>, Alone<false>> {};
struct Q2_K : Block<256, Integers<2, -1>, NibbleScalesAndMinimums> {};
struct Q3_K : Block<256, Integers<3, 2>, Bytes<uint8_t, 16>> {};
struct Q4_K : Block<256, Integers<4, -1>, ScalesAndMinimums> {};
struct Q5_K : Block<256, Integers<5, -1>, ScalesAndMinimums> {};
struct Q6_K : Block<256, Integers<6, 5>, Bytes<int8_t, 16>> {};
struct TQ1_0 : Block<256, Trits, Alone<false>> {};
struct TQ2_0 : Block<256, Integers<2, 0>, Alone<false>> {};
struct Q1_0 : Block<128, Signs, Alone<false>> {};
struct Q2_0 : Block<64, Integers<2, 0>, Alone<false>> {};
struct IQ4_NL : Block<32, Indices<4, Iq4Levels>, Alone<false>> {};
struct IQ4_XS : Block<256, Indices<4, Iq4Levels>, Bytes<uint8_t, 32>> {};
struct MXFP4 : Block<32, Indices<4, Fp4Levels>, E8M0> {};
struct NVFP4 : Block<64, Indices<4, Fp4Levels>, E4M3> {};
struct IQ1_S : Block<256, Indices<3, Iq1Levels>, OddNumbers<8, false>> {};
struct IQ1_M : Block<256, Indices<3, Iq1Levels>, OddNumbers<8, true>> {};
struct IQ2_XXS : Block<256, Indices<3, Iq2Levels>, OddNumbers<8, false>> {};
struct IQ2_XS : Block<256, Indices<3, Iq2Levels>, OddNumbers<8, true>> {};
struct IQ2_S : Block<256, Indices<3, Iq2Levels>, OddNumbers<8, true>> {};
struct IQ3_XXS : Block<256, Indices<4, Iq3XxsLevels>, OddNumbers<4, false>> {};
struct IQ3_S : Block<256, Indices<4, Iq3SLevels>, OddNumbers<1, false>> {};

// The level that stands for zero.
template <class F>
constexpr int kZero = [] {
  if constexpr (F::kZeroShift >= 0) return 1 << F::kZeroShift;
  return 0;
}();

// Bytes of the scale stream and of a whole group for K columns.
template <class F, uint32_t K>
constexpr uint64_t kScaleStreamBytes = (K / F::kBlock * F::kScaleBytes + 63) / 64 * 64;
template <class F, uint32_t K>
constexpr uint64_t kGroupBytes = kScaleStreamBytes<F, K> + K / F::kBlock * (uint64_t)F::kCodeBytes;

// Float types: 16 rows x 1 k side by side, k after k.
template <class F>
concept IsFloat = requires { typename F::Element; };
template <IsFloat F, uint32_t K>
constexpr uint64_t kGroupBytes<F, K> = (K * 16 * sizeof(typename F::Element) + 63) / 64 * 64;

// Bytes ahead at which weights of rows of K are asked for, into the first cache and into the second: more than the first has
// requests for are under way that way, and the hardware's prefetcher stops at page boundaries. With AVX2 alone (measured: Zen 3)
// into the second only, as the hardware's prefetcher learns from what the first misses (bench/NOTES.md).
// `forge compile --tune` specializes kPrefetch, as kGroupBlock (linear.h) and kPanels (prompt_tiles.h).
#if defined(__AVX2__) && !defined(__AVXVNNI__) && !defined(__AVX512F__)
template <uint32_t K>
constexpr uint32_t kPrefetch = 4096;
constexpr uint32_t kPrefetchFar = 0;  // none
constexpr int kPrefetchLocality = 2;
#else
template <uint32_t K>
constexpr uint32_t kPrefetch = 2048;
constexpr uint32_t kPrefetchFar = 16384;
constexpr int kPrefetchLocality = 3;
#endif

// Asks for the share of part `sub` of `bytes`: of few lines the first parts ask, as they are read by all.
template <uint32_t bytes, uint32_t n_subs = 1, int locality = 3>
FORGE_INLINE void prefetch_share(const uint8_t* p, uint32_t sub = 0) {
  constexpr uint32_t kLine = 64, kLines = (bytes + kLine - 1) / kLine, kUp = n_subs - 1;
  for (uint32_t i = (kLines * sub + kUp) / n_subs; i < (kLines * (sub + 1) + kUp) / n_subs; ++i)
    __builtin_prefetch(p + kLine * i, 0, locality);
}

// Asks for the share of the 32 k number `sub` of a block's scales and codes.
template <class F, int locality>
FORGE_INLINE void prefetch_block(const uint8_t* scales, const uint8_t* codes, uint32_t sub) {
  constexpr uint32_t kSubs = F::kBlock / 32;
  prefetch_share<F::kScaleBytes, kSubs, locality>(scales, sub);
  prefetch_share<F::kCodeBytes, kSubs, locality>(codes, sub);
}

// The same of what a pass over weights comes to next. A group's scales and codes are one piece, and the next group begins where it
// ends: the same distance ahead of both leaves no line out. A group's first codes are asked for at its scales' pace, too late from
// near; by then they are in the second cache.
template <class F, uint32_t K>
FORGE_INLINE void prefetch_ahead(const uint8_t* scales, const uint8_t* codes, uint32_t sub) {
  prefetch_block<F, kPrefetchLocality>(scales + kPrefetch<K>, codes + kPrefetch<K>, sub);
  if constexpr (kPrefetchFar != 0) prefetch_block<F, 2>(scales + kPrefetchFar, codes + kPrefetchFar, sub);
}
template <IsFloat F, uint32_t K>
FORGE_INLINE void prefetch_ahead(const uint8_t* line) {
  __builtin_prefetch(line + kPrefetch<K>, 0, kPrefetchLocality);
  if constexpr (kPrefetchFar != 0) __builtin_prefetch(line + kPrefetchFar, 0, 2);
}

// One row of a packed matrix as floats, exactly as the type's reference decoding gives them: what embed
// needs.
template <class F, uint32_t K>
FORGE_INLINE void decode_row(const uint8_t* matrix, uint32_t row, float* out) {
  const uint8_t* group = matrix + row / 16 * kGroupBytes<F, K>;
  const uint32_t lane = row % 16;
  if constexpr (IsFloat<F>) {
    for (uint32_t k = 0; k < K; ++k)
      out[k] = load_one<F>(group + (16 * k + lane) * sizeof(typename F::Element));
  } else {
    for (uint32_t k = 0; k < K; k += 32) {
      const uint32_t block = k / F::kBlock, sub = k % F::kBlock / 32;
      u8x64 t[8];
      const uint8_t* levels = F::tiles(group + kScaleStreamBytes<F, K> + block * F::kCodeBytes, sub, t);
      const Scales w = F::scales(group + block * F::kScaleBytes, sub);
      for (uint32_t i = 0; i < 32; ++i) {
        const uint32_t half = F::kHalves ? i / 16 : 0, tile = i / 4;
        out[k + i] = w.half[half][lane] * (float)(levels[64 * tile + 4 * lane + i % 4] - kZero<F>);
        if constexpr (F::kMinimum) out[k + i] += w.minimum[half][lane];
      }
    }
  }
}

}  // namespace
}  // namespace forge::kernels
