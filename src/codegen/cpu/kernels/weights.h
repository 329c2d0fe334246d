// Packed weights: how each storage type lies in the payload and how a kernel reads it.
//
// Sixteen output rows form a group. A group is two streams, one behind the other, each padded to 64 bytes:
//
//     scales of block 0, 1, 2, ...   |   quants of block 0, 1, 2, ...
//
// Quants of 32 consecutive k are eight tiles; a tile is 16 rows x 4 k in 64 bytes: byte 4 r + j is row r, k =
// 4 t + j. That is one register for AVX-512, two for AVX2, and the operand that a four-way dot product wants:
// lane = row. Sub-byte types are the same tiles in bit planes:
//     p bits  p vectors; vector v has tiles v, v + p, v + 2p ..., each at the bits where the one before ends
// with p = 8, 4, 2, 1; other widths are a sum of these, the wider plane first: of 6 bits the lower four are a
// plane of 4 and the upper two one of 2.
// Quants are unsigned with a constant zero point, so that one multiply instruction serves all types:
// w = scale * (q - zero) or, for types with a minimum, scale * q + minimum.
#pragma once

#include "codegen/cpu/kernels/simd.h"

namespace forge::kernels {
namespace {

// Scales of 32 k: of each half (equal unless the type scales 16 k), and a minimum.
struct Scales {
  f32x16 half[2];
  f32x16 minimum;
};

// Codes of `bits` bits out of their planes; p and below: the plane to read next, and the bits before it.
template <int bits, int p = 8, int below = 0>
FORGE_INLINE void plane_tiles(const uint8_t* q, u8x64 (&t)[8]) {
  if constexpr ((bits & p) != 0)
    for (int i = 0; i < 8; ++i) {
      const u32x16 x = load<u32x16>(q + 64 * (i % p));
      const int shift = i / p * p - below;
      const u8x64 piece =
          (u8x64)(shift >= 0 ? x >> shift : x << -shift) & (uint8_t)(((1 << p) - 1) << below);
      t[i] = below == 0 ? piece : t[i] | piece;
    }
  if constexpr (p > 1) plane_tiles<bits, p / 2, below + (bits & p)>(q + 64 * (bits & p), t);
}

// One code out of the planes: tile t, byte i.
template <int bits>
FORGE_INLINE uint32_t code_at(const uint8_t* q, uint32_t t, uint32_t i) {
  uint32_t v = 0, below = 0;
  for (uint32_t p = 8; p > 0; p /= 2) {
    if ((bits & p) == 0) continue;
    v |= (q[64 * (t % p) + i] >> (t / p * p) & ((1u << p) - 1)) << below;
    q += 64 * p;
    below += p;
  }
  return v;
}

FORGE_INLINE float half_at(const uint8_t* p, uint32_t i) { return (float)load<_Float16>(p + 2 * i); }

// Each type says: k of a block, bytes of its scales and of 32 k of quants (16 rows), log2 of the zero point
// (-1: none), whether it has a minimum, whether the halves of 32 k differ in scale; and reads them.

template <int extra, bool has_minimum>
struct Legacy {  // one float16 scale (and minimum) for 32 k
  static constexpr uint32_t kBlock = 32;
  static constexpr uint32_t kScaleBytes = has_minimum ? 64 : 32;  // d of 16 rows, then m of 16 rows
  static constexpr uint32_t kQuantBytes = 256 + 64 * extra;
  static constexpr int kZeroShift = has_minimum ? -1 : 3 + extra;
  static constexpr bool kWide = false, kMinimum = has_minimum, kHalves = false;

  FORGE_INLINE void tiles(const uint8_t* q, u8x64 (&t)[8]) { plane_tiles<4 + extra>(q, t); }
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t) {
    Scales r;
    r.half[0] = r.half[1] = to_f32(load<f16x16>(s));
    if constexpr (has_minimum) r.minimum = to_f32(load<f16x16>(s + 32));
    return r;
  }
  FORGE_INLINE float value(const uint8_t* s, const uint8_t* q, uint32_t row, uint32_t k) {
    const float x = (float)(int32_t)code_at<4 + extra>(q, k / 4, 4 * row + k % 4);
    if constexpr (has_minimum)
      return half_at(s, row) * x + half_at(s + 32, row);
    else
      return half_at(s, row) * (x - (float)(1 << kZeroShift));
  }
};
struct Q4_0 : Legacy<0, false> {};
struct Q4_1 : Legacy<0, true> {};
struct Q5_0 : Legacy<1, false> {};
struct Q5_1 : Legacy<1, true> {};

struct Q8_0 {  // q + 128 in whole bytes
  static constexpr uint32_t kBlock = 32, kScaleBytes = 32, kQuantBytes = 512;
  static constexpr int kZeroShift = 7;
  static constexpr bool kWide = true, kMinimum = false, kHalves = false;

  FORGE_INLINE void tiles(const uint8_t* q, u8x64 (&t)[8]) {
    for (int i = 0; i < 8; ++i) t[i] = load<u8x64>(q + 64 * i);
  }
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t) {
    Scales r;
    r.half[0] = r.half[1] = to_f32(load<f16x16>(s));
    return r;
  }
  FORGE_INLINE float value(const uint8_t* s, const uint8_t* q, uint32_t row, uint32_t k) {
    const uint32_t tile = k / 4, byte = 4 * row + k % 4;
    return half_at(s, row) * (float)(q[64 * tile + byte] - 128);
  }
};

// Q4_K, Q5_K: 256 k; d and dmin (float16) and, for each 32 k, a 6-bit scale and minimum, one byte each here.
template <int extra>
struct KWithMinimum {
  static constexpr uint32_t kBlock = 256;
  static constexpr uint32_t kScaleBytes = 64 + 8 * 16 + 8 * 16;  // d[16] dmin[16] sc[8][16] mn[8][16]
  static constexpr uint32_t kQuantBytes = 256 + 64 * extra;
  static constexpr int kZeroShift = -1;
  static constexpr bool kWide = false, kMinimum = true, kHalves = false;

  FORGE_INLINE void tiles(const uint8_t* q, u8x64 (&t)[8]) { plane_tiles<4 + extra>(q, t); }
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t sub) {
    Scales r;
    r.half[0] = r.half[1] = to_f32(load<f16x16>(s)) * to_f32(load<u8x16>(s + 64 + 16 * sub));
    r.minimum = -(to_f32(load<f16x16>(s + 32)) * to_f32(load<u8x16>(s + 192 + 16 * sub)));
    return r;
  }
  FORGE_INLINE float value(const uint8_t* s, const uint8_t* q, uint32_t row, uint32_t k) {
    const uint32_t sub = k / 32, i = k % 32;
    const float d = half_at(s, row) * (float)s[64 + 16 * sub + row];
    const float m = half_at(s + 32, row) * (float)s[192 + 16 * sub + row];
    return d * (float)(int32_t)code_at<4 + extra>(q + kQuantBytes * sub, i / 4, 4 * row + i % 4) - m;
  }
};
struct Q4_K : KWithMinimum<0> {};
struct Q5_K : KWithMinimum<1> {};

struct Q6_K {  // 256 k; d (float16) and, for each 16 k, an int8 scale
  static constexpr uint32_t kBlock = 256;
  static constexpr uint32_t kScaleBytes = 32 + 16 * 16;  // d[16] sc[16][16]
  static constexpr uint32_t kQuantBytes = 256 + 128;
  static constexpr int kZeroShift = 5;
  static constexpr bool kWide = false, kMinimum = false, kHalves = true;

  FORGE_INLINE void tiles(const uint8_t* q, u8x64 (&t)[8]) { plane_tiles<6>(q, t); }
  FORGE_INLINE Scales scales(const uint8_t* s, uint32_t sub) {
    Scales r;
    const f32x16 d = to_f32(load<f16x16>(s));
    r.half[0] = d * to_f32(load<i8x16>(s + 32 + 32 * sub));
    r.half[1] = d * to_f32(load<i8x16>(s + 32 + 32 * sub + 16));
    return r;
  }
  FORGE_INLINE float value(const uint8_t* s, const uint8_t* q, uint32_t row, uint32_t k) {
    const uint32_t sub = k / 32, i = k % 32;
    const float d = half_at(s, row) * (float)(int8_t)s[32 + 16 * (k / 16) + row];
    return d * ((float)(int32_t)code_at<6>(q + kQuantBytes * sub, i / 4, 4 * row + i % 4) - 32.0F);
  }
};

// Bytes of the scale stream and of a whole group for K columns.
template <class F, uint32_t K>
constexpr uint64_t kScaleStreamBytes = (K / F::kBlock * F::kScaleBytes + 63) / 64 * 64;
template <class F, uint32_t K>
constexpr uint64_t kGroupBytes = kScaleStreamBytes<F, K> + K / 32 * (uint64_t)F::kQuantBytes;

// Float types: 16 rows x 1 k side by side, k after k.
template <class F>
concept IsFloat = requires { typename F::Element; };
template <IsFloat F, uint32_t K>
constexpr uint64_t kGroupBytes<F, K> = (K * 16 * sizeof(typename F::Element) + 63) / 64 * 64;

// One row of a packed matrix as floats, exactly as the type's reference decoding gives them: what embed
// needs.
template <class F, uint32_t K>
FORGE_INLINE void decode_row(const uint8_t* matrix, uint32_t row, float* out) {
  const uint8_t* group = matrix + row / 16 * kGroupBytes<F, K>;
  if constexpr (IsFloat<F>) {
    for (uint32_t k = 0; k < K; ++k) {
      out[k] = load_one<F>(group + (16 * k + row % 16) * sizeof(typename F::Element));
    }
  } else {
    for (uint32_t k = 0; k < K; ++k) {
      const uint32_t b = k / F::kBlock;
      out[k] = F::value(group + b * F::kScaleBytes,
                        group + kScaleStreamBytes<F, K> + b * (F::kBlock / 32) * F::kQuantBytes, row % 16,
                        k % F::kBlock);
    }
  }
}

}  // namespace
}  // namespace forge::kernels
