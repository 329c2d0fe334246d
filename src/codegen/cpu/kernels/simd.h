// Sixteen lanes: the vector unit as all kernels see it.
//
// A lane is an output row (linear), a position (attention scores) or a column (norms). Reductions run along
// memory, one lane for itself, so a result's bits do not depend on the instruction set: AVX-512 holds a
// vector in one register, AVX2 in two, and a compiler without either in whatever it has. Only what the
// languages' vectors can't say is written in intrinsics: the four-way int8 dot product.
//
// Everything here and in the other kernel headers has internal linkage: two levels linked into one program
// must not share a function, or the linker may give the portable path a copy that needs AVX-512.
#pragma once

#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// A vector wider than the registers is passed in another way at each level; no function that takes one is
// called from outside of its file, nearly all are inlined.
#pragma clang diagnostic ignored "-Wpsabi"

#define FORGE_INLINE static inline __attribute__((always_inline))

namespace forge::kernels {
namespace {

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x32 __attribute__((vector_size(64)));
typedef int16_t i16x32 __attribute__((vector_size(64)));
typedef uint8_t u8x64 __attribute__((vector_size(64)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef _Float16 f16x16 __attribute__((vector_size(32)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef uint64_t u64x8 __attribute__((vector_size(64)));
typedef double f64x16 __attribute__((vector_size(128)));
typedef int64_t i64x16 __attribute__((vector_size(128)));

template <class V>
FORGE_INLINE V load(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof(V));
  return v;
}
template <class V>
FORGE_INLINE void store(void* p, V v) {
  __builtin_memcpy(p, &v, sizeof(V));
}

// A list and not `f32x16{} + x`: adding zero would turn -0 into +0, so the compiler has to keep the addition.
FORGE_INLINE f32x16 splat(float x) { return f32x16{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
FORGE_INLINE i32x16 splat(int32_t x) { return i32x16{} + x; }
FORGE_INLINE f32x16 max(f32x16 a, f32x16 b) { return a > b ? a : b; }
FORGE_INLINE f32x16 to_f32(i32x16 v) { return __builtin_convertvector(v, f32x16); }
FORGE_INLINE f32x16 to_f32(u8x16 v) { return to_f32(__builtin_convertvector(v, i32x16)); }
FORGE_INLINE f32x16 to_f32(i8x16 v) { return to_f32(__builtin_convertvector(v, i32x16)); }
FORGE_INLINE f16x16 to_f16(f32x16 v) { return __builtin_convertvector(v, f16x16); }
FORGE_INLINE f32x16 bf16_to_f32(u16x16 v) { return (f32x16)(__builtin_convertvector(v, u32x16) << 16); }

#if defined(__x86_64__) && !defined(__FMA__)
// Plain x86-64 would call a library function for each lane. To the same bits, in what it has:

// The product is exact in double. The sum is rounded to odd there: the neighbour with an odd last bit, where it is not
// exact, so that the second rounding, to float, is of the exact sum (Boldo and Melquiond, "Emulation of FMA and
// correctly rounded sums", 2008).
FORGE_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  const f64x16 product = __builtin_convertvector(a, f64x16) * __builtin_convertvector(b, f64x16);
  const f64x16 addend = __builtin_convertvector(c, f64x16), sum = product + addend;
  const f64x16 added = sum - product,
               error = (product - (sum - added)) + (addend - added);  // Knuth's two-sum
  const i64x16 bits = (i64x16)sum, inexact = (error > 0.0) | (error < 0.0), even = (bits & 1) - 1;
  const i64x16 away =
      (((i64x16)error ^ bits) >> 63) | 1;  // 1 where the exact sum is larger in magnitude, else -1
  return __builtin_convertvector((f64x16)(bits + (inexact & even & away)), f32x16);
}

// The half's bits are those of a float 2^-112 as large, subnormal ones too; infinity and NaN have an exponent of all
// ones, and a NaN becomes quiet, as the instruction makes it.
FORGE_INLINE f32x16 to_f32(f16x16 v) {
  const u32x16 half = __builtin_convertvector((u16x16)v, u32x16), magnitude = half & 0x7FFF;
  const f32x16 scaled = (f32x16)(magnitude << 13) * 0x1p112F;
  const u32x16 special =
      ((u32x16)(magnitude >= 0x7C00) & 0x7F800000) | ((u32x16)(magnitude > 0x7C00) & 0x00400000);
  return (f32x16)((u32x16)scaled | special | (half & 0x8000) << 16);
}
#else
FORGE_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return __builtin_elementwise_fma(a, b, c); }
FORGE_INLINE f32x16 to_f32(f16x16 v) { return __builtin_convertvector(v, f32x16); }
#endif

// Loads of sixteen weights of a float type.
struct F32 {
  typedef float Element;
};
struct F16 {
  typedef uint16_t Element;
};
struct BF16 {
  typedef uint16_t Element;
};
template <class T>
FORGE_INLINE f32x16 load_as_f32(const void* p) {
  if constexpr (__is_same(T, F32))
    return load<f32x16>(p);
  else if constexpr (__is_same(T, F16))
    return to_f32(load<f16x16>(p));
  else
    return bf16_to_f32(load<u16x16>(p));
}

template <class T>
FORGE_INLINE float load_one(const void* p) {  // one such weight
  if constexpr (__is_same(T, F32))
    return load<float>(p);
  else if constexpr (__is_same(T, F16))
    return (float)load<_Float16>(p);
  else
    return __builtin_bit_cast(float, (uint32_t)load<uint16_t>(p) << 16);
}

// Asks for lines of memory, one into the first cache and one, of what comes later, into the second: that has places for more
// requests than the first.
FORGE_INLINE void prefetch_near_and_far(const void* near, const void* far) {
  __builtin_prefetch(near);
  __builtin_prefetch(far, 0, 2);
}

// The lanes' sum as a fixed tree: halves are added until one is left.
FORGE_INLINE float reduce_add(f32x16 v) {
  typedef float f32x8 __attribute__((vector_size(32)));
  typedef float f32x4 __attribute__((vector_size(16)));
  const f32x8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const f32x4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}
FORGE_INLINE float reduce_max(f32x16 v) {
  typedef float f32x8 __attribute__((vector_size(32)));
  typedef float f32x4 __attribute__((vector_size(16)));
  const f32x8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
              b = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15), c = a > b ? a : b;
  const f32x4 d = __builtin_shufflevector(c, c, 0, 1, 2, 3), e = __builtin_shufflevector(c, c, 4, 5, 6, 7),
              m = d > e ? d : e;
  const float x = m[0] > m[2] ? m[0] : m[2], y = m[1] > m[3] ? m[1] : m[3];
  return x > y ? x : y;
}

// Lane i: the largest lane of v[i]. Vectors are folded in pairs, of which each then has half of the lanes.
FORGE_INLINE f32x16 reduce_max(const f32x16 (&v)[16]) {
  f32x16 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i)
    a[i] =
        max(__builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
            __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30,
                                    31));
  for (int i = 0; i < 4; ++i)
    b[i] = max(
        __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
        __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31));
  for (int i = 0; i < 2; ++i)
    c[i] = max(
        __builtin_shufflevector(b[i], b[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
        __builtin_shufflevector(b[i], b[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31));
  const f32x16 d =
      max(__builtin_shufflevector(c[0], c[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          __builtin_shufflevector(c[0], c[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31));
  return d;
}

#if defined(__AVX2__)
// A vector as two registers of AVX2, and back.
struct Registers {
  __m256i half[2];
};
template <class V>
FORGE_INLINE Registers registers(V v) {
  return __builtin_bit_cast(Registers, v);
}
#elif defined(__aarch64__)
// A vector as four registers of NEON.
template <class T>
struct Quarters {
  T at[4];
};
template <class T, class V>
FORGE_INLINE Quarters<T> quarters(V v) {
  return __builtin_bit_cast(Quarters<T>, v);
}
#endif

// Levels above 127 are wide: they have all eight bits, with zero at 128.
constexpr bool is_wide(int top) { return top > 127; }

// Whether `dots` takes wide weights w as they are; otherwise its sums are those of (w - 128), and no zero term is due.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__ARM_FEATURE_MATMUL_INT8) || \
    !(defined(__AVX2__) || defined(__aarch64__))
constexpr bool kWideNeedsOffset = true;
#else
constexpr bool kWideNeedsOffset = false;
#endif

// Whether sums of a pass of so many rows lie in pairs: vectors 2 p and 2 p + 1 then are outputs 0 .. 7 and 8 .. 15 of both
// rows 2 p and 2 p + 1, by turns (w0 r0, w0 r1, w1 r0, w1 r1, ...), as a matrix instruction adds to them. Otherwise vector r
// is row r's.
#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr bool in_pairs(int rows) { return rows >= 8; }  // fewer don't pay for the zipping of tiles
#else
constexpr bool in_pairs(int) { return false; }
#endif

// For vector r of such sums: in each lane number(row) of its row, and w of its output.
template <bool pairs>
FORGE_INLINE auto of_rows(int r, auto number) {
  if constexpr (pairs) {
    const uint64_t even = __builtin_bit_cast(uint32_t, number(r & ~1)),
                   odd = __builtin_bit_cast(uint32_t, number(r | 1));
    return (decltype(splat(number(r))))(u64x8{} + (odd << 32 | even));
  } else {
    return splat(number(r));
  }
}
template <bool pairs>
FORGE_INLINE f32x16 of_outputs(int r, f32x16 w) {
  if constexpr (!pairs) return w;
  return r % 2 == 0
             ? __builtin_shufflevector(w, w, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)
             : __builtin_shufflevector(w, w, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
}

// Sums in pairs as one vector a row.
template <int R>
FORGE_INLINE void unpair(f32x16 (&sum)[R]) {
  for (int r = 0; r < R; r += 2) {
    const f32x16 low = sum[r], high = sum[r + 1];
    sum[r] = __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    sum[r + 1] =
        __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  }
}

// A pass over the weights serves kRowBlock rows; `dots` takes kRowsTogether of them at once, as many as have their sums in
// registers.
//
// dots: sum[r][i] += the sum over tiles t and j of tile[t][4i + j] * q[r][4t + j]: unsigned weights up to `top`, and for
// each row four signed activations a tile that all lanes share. Exact, in any order. What `factors` makes of eight tiles is
// the form that it multiplies with, once for all rows of a pass: as they lie, but for AVX2's wide weights and sums in pairs.
template <int top>
struct Factors {
  const uint8_t* tiles;
  inline __attribute__((always_inline)) u8x64 factor(int t) const { return load<u8x64>(tiles + 64 * t); }
  inline __attribute__((always_inline)) u8x64 value(int t) const { return factor(t); }
};
template <int top, int rows>
FORGE_INLINE Factors<top> factors(const uint8_t* tiles) {
  return {tiles};
}

#if defined(__aarch64__)
// A tile is four registers of four outputs; its activations are a lane of the register that has those of four tiles. The
// dot product of dotprod takes signed factors: wide weights less 128. That of i8mm takes an unsigned one; a pass of many rows
// has its matrix instruction (below).
constexpr int kRowsTogether = 4;
#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int kRowBlock = 16;
typedef uint8x16_t Weights;
#else
constexpr int kRowBlock = 8;
typedef int8x16_t Weights;
#endif
template <bool wide>
FORGE_INLINE Weights load_weights(const uint8_t* tile) {
  if constexpr (wide && !kWideNeedsOffset)
    return (Weights)(vld1q_u8(tile) ^ vdupq_n_u8(0x80));
  else
    return (Weights)vld1q_u8(tile);
}

template <int lane>
FORGE_INLINE int32x4_t dot4(int32x4_t acc, Weights w, int8x16_t a) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  return vusdotq_laneq_s32(acc, w, a, lane);
#elif defined(__ARM_FEATURE_DOTPROD)
  return vdotq_laneq_s32(acc, w, a, lane);
#else
  // Products have 16 bits; pairs are added to 32, and pairs of those.
  const int8x16_t b = (int8x16_t)vdupq_laneq_s32((int32x4_t)a, lane);
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(b)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(w, b));
  return acc + vpaddq_s32(low, high);
#endif
}

template <bool wide, int lane, int R>
FORGE_INLINE void tile_dots(Quarters<int32x4_t> (&sum)[R], const uint8_t* tile, const int8x16_t (&a)[R]) {
  for (int i = 0; i < 4; ++i) {
    const Weights w = load_weights<wide>(tile + 16 * i);
    for (int r = 0; r < R; ++r) sum[r].at[i] = dot4<lane>(sum[r].at[i], w, a[r]);
  }
}

template <int n_tiles, int top, int R>
FORGE_INLINE void dots(i32x16 (&sum)[R], const Factors<top>& w, int first, const int8_t* const (&q)[R]) {
  constexpr bool wide = is_wide(top);
  Quarters<int32x4_t> s[R];
  for (int r = 0; r < R; ++r) s[r] = quarters<int32x4_t>(sum[r]);
  for (int t = 0; t < n_tiles; t += 4) {
    const uint8_t* tile = w.tiles + 64 * (first + t);
    int8x16_t a[R];
    for (int r = 0; r < R; ++r) a[r] = vld1q_s8(q[r] + 4 * t);
    tile_dots<wide, 0>(s, tile, a);
    tile_dots<wide, 1>(s, tile + 64, a);
    tile_dots<wide, 2>(s, tile + 128, a);
    tile_dots<wide, 3>(s, tile + 192, a);
  }
  for (int r = 0; r < R; ++r) sum[r] = __builtin_bit_cast(i32x16, s[r]);
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
// The matrix instruction adds the products of two outputs' eight weights and two rows' activations, twice as many as a dot
// product, to a register of two outputs of two rows. Tiles 2 p and 2 p + 1 zipped are its operands, registers 8 p + j of outputs
// 2 j and 2 j + 1:
//     tile 2 p      w0 k0-3  w1 k0-3  w2 k0-3  w3 k0-3        8 p      w0 k0-3  w0 k4-7  w1 k0-3  w1 k4-7
//     tile 2 p + 1  w0 k4-7  w1 k4-7  w2 k4-7  w3 k4-7        8 p + 1  w2 k0-3  w2 k4-7  w3 k0-3  w3 k4-7
struct ZippedTiles {
  uint8x16_t pairs[32];
};
template <int top, int rows>
  requires(in_pairs(rows))
FORGE_INLINE ZippedTiles factors(const uint8_t* tiles) {
  ZippedTiles f;
  for (int p = 0; p < 4; ++p)
    for (int i = 0; i < 4; ++i) {
      const int32x4_t even = load<int32x4_t>(tiles + 128 * p + 16 * i),
                      odd = load<int32x4_t>(tiles + 128 * p + 64 + 16 * i);
      f.pairs[8 * p + 2 * i] = (uint8x16_t)vzip1q_s32(even, odd);
      f.pairs[8 * p + 2 * i + 1] = (uint8x16_t)vzip2q_s32(even, odd);
    }
  return f;
}

template <int n_tiles, int R>
FORGE_INLINE void dots(i32x16 (&sum)[R], const ZippedTiles& w, int first, const int8_t* const (&q)[R]) {
  int32x4_t s[R / 2][8];  // s[p][j]: of rows 2 p and 2 p + 1, outputs 2 j and 2 j + 1
  __builtin_memcpy(s, sum, sizeof s);
  for (int t = 0; t < n_tiles; t += 4) {
    const uint8x16_t* weights = w.pairs + 4 * (first + t);
    int8x16_t a[2][R / 2];  // of the first and the last 8 k
    for (int p = 0; p < R / 2; ++p) {
      const int64x2_t even = load<int64x2_t>(q[2 * p] + 4 * t), odd = load<int64x2_t>(q[2 * p + 1] + 4 * t);
      a[0][p] = (int8x16_t)vzip1q_s64(even, odd);
      a[1][p] = (int8x16_t)vzip2q_s64(even, odd);
    }
    for (int half = 0; half < 2; ++half)
      for (int j = 0; j < 8; ++j)
        for (int p = 0; p < R / 2; ++p) s[p][j] = vusmmlaq_s32(s[p][j], weights[8 * half + j], a[half][p]);
  }
  __builtin_memcpy(sum, s, sizeof s);
}
#endif
#elif defined(__AVX512VNNI__) || defined(__AVXVNNI__) || !defined(__AVX2__)
// One instruction multiplies and adds: row after row.
constexpr int kRowsTogether = 1;
#if defined(__AVX512F__)
constexpr int kRowBlock = 8;
#elif defined(__AVX2__)
constexpr int kRowBlock = 4;
#else
constexpr int kRowBlock = 2;
#endif

FORGE_INLINE i32x16 dot4(i32x16 acc, u8x64 w, int32_t a) {
#if defined(__AVX512VNNI__)
  return (i32x16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, _mm512_set1_epi32(a));
#elif defined(__AVXVNNI__)
  Registers sum = registers(acc);
  const Registers x = registers(w);
  for (int i = 0; i < 2; ++i)
    sum.half[i] = _mm256_dpbusd_avx_epi32(sum.half[i], x.half[i], _mm256_set1_epi32(a));
  return __builtin_bit_cast(i32x16, sum);
#elif defined(__SSE2__)
  // Bytes as numbers of 16 bits, even and odd ones apart: an instruction multiplies and adds two of a lane.
  struct Registers {
    __m128i quarter[4];
  };
  Registers sum = __builtin_bit_cast(Registers, acc);
  const Registers x = __builtin_bit_cast(Registers, w);
  const __m128i s = _mm_set1_epi32(a), odd = _mm_srai_epi16(s, 8),
                even = _mm_srai_epi16(_mm_slli_epi16(s, 8), 8);
  for (int i = 0; i < 4; ++i) {
    const __m128i x_even = _mm_and_si128(x.quarter[i], _mm_set1_epi16(0xFF)),
                  x_odd = _mm_srli_epi16(x.quarter[i], 8);
    const __m128i products = _mm_add_epi32(_mm_madd_epi16(x_even, even), _mm_madd_epi16(x_odd, odd));
    sum.quarter[i] = _mm_add_epi32(sum.quarter[i], products);
  }
  return __builtin_bit_cast(i32x16, sum);
#else
  const int8_t b[4] = {(int8_t)a, (int8_t)(a >> 8), (int8_t)(a >> 16), (int8_t)(a >> 24)};
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j) acc[i] += w[4 * i + j] * b[j];
  return acc;
#endif
}

template <int n_tiles, int top, int R>
FORGE_INLINE void dots(i32x16 (&sum)[R], const Factors<top>& w, int first, const int8_t* const (&q)[R]) {
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < n_tiles; ++t) sum[r] = dot4(sum[r], w.factor(first + t), load<int32_t>(q[r] + 4 * t));
}
#else
// Products of bytes are added in pairs to 16 bits, and these in pairs to 32 bits. As many tiles as cannot overflow the 16
// bits, top * 127 * 2 a tile, are added there first. The sign of a wide weight moves to the activation (its magnitude, up
// to 128, fits once), which takes 128 from it.
#if defined(__AVX512F__)
constexpr int kRowsTogether = 8, kRowBlock = 8;
#else
constexpr int kRowsTogether = 4, kRowBlock = 16;
#endif

template <int top>
  requires(is_wide(top))
struct Factors<top> {
  u8x64 magnitudes[8], values[8];
  inline __attribute__((always_inline)) u8x64 factor(int t) const { return magnitudes[t]; }
  inline __attribute__((always_inline)) u8x64 value(int t) const { return values[t]; }
};
template <int top, int rows>
  requires(is_wide(top))
FORGE_INLINE Factors<top> factors(const uint8_t* tiles) {
  Factors<top> f;
  for (int t = 0; t < 8; ++t) {
    f.values[t] = load<u8x64>(tiles + 64 * t) ^ 0x80;
    Registers magnitude = registers(f.values[t]);
    for (__m256i& half : magnitude.half) half = _mm256_abs_epi8(half);
    f.magnitudes[t] = __builtin_bit_cast(u8x64, magnitude);
  }
  return f;
}

template <int top>
FORGE_INLINE i16x32 pair_products(const Factors<top>& w, int t, int32_t a) {
  constexpr bool wide = is_wide(top);
#if defined(__AVX512BW__)
  if constexpr (!wide) return (i16x32)_mm512_maddubs_epi16((__m512i)w.factor(t), _mm512_set1_epi32(a));
#endif
  const Registers factor = registers(w.factor(t)), value = registers(w.value(t));
  Registers product;
  for (int i = 0; i < 2; ++i) {
    const __m256i s = _mm256_set1_epi32(a);
    product.half[i] = _mm256_maddubs_epi16(factor.half[i], wide ? _mm256_sign_epi8(s, value.half[i]) : s);
  }
  return __builtin_bit_cast(i16x32, product);
}

FORGE_INLINE i32x16 add_pairs(i16x32 v) {
#if defined(__AVX512BW__)
  return (i32x16)_mm512_madd_epi16((__m512i)v, _mm512_set1_epi16(1));
#else
  Registers sum = registers(v);
  for (__m256i& half : sum.half) half = _mm256_madd_epi16(half, _mm256_set1_epi16(1));
  return __builtin_bit_cast(i32x16, sum);
#endif
}

template <int n_tiles, int top, int R>
FORGE_INLINE void dots(i32x16 (&sum)[R], const Factors<top>& w, int first, const int8_t* const (&q)[R]) {
  constexpr int fit = 32767 / (2 * 127 * (is_wide(top) ? 128 : top));
  constexpr int together = fit >= n_tiles ? n_tiles : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
#pragma clang loop unroll(full)
  for (int t0 = 0; t0 < n_tiles; t0 += together) {
    i16x32 pairs[R] = {};
// Tile after tile: unrolled, the additions would be reordered row after row, and every row would load all tiles anew.
#pragma clang loop unroll(disable)
    for (int t = t0; t < t0 + together; ++t)
      for (int r = 0; r < R; ++r) pairs[r] += pair_products(w, first + t, load<int32_t>(q[r] + 4 * t));
    for (int r = 0; r < R; ++r) sum[r] += add_pairs(pairs[r]);
  }
}
#endif

// Rows whose float sums the registers hold.
constexpr int kRegisterRows = kRowsTogether > 1 ? kRowsTogether : kRowBlock;

// table[index] for indices up to 15.
FORGE_INLINE u8x64 lookup(u8x16 table, u8x64 index) {
#if defined(__AVX512BW__)
  return (u8x64)_mm512_shuffle_epi8(_mm512_broadcast_i32x4((__m128i)table), (__m512i)index);
#elif defined(__AVX2__)
  Registers x = registers(index);
  for (int i = 0; i < 2; ++i)
    x.half[i] = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256((__m128i)table), x.half[i]);
  return __builtin_bit_cast(u8x64, x);
#elif defined(__aarch64__)
  Quarters<uint8x16_t> x = quarters<uint8x16_t>(index);
  for (uint8x16_t& quarter : x.at) quarter = vqtbl1q_u8((uint8x16_t)table, quarter);
  return __builtin_bit_cast(u8x64, x);
#else
  for (int i = 0; i < 64; ++i) index[i] = table[index[i]];
  return index;
#endif
}

// v * m for each byte, modulo 256: even and odd bytes as products of 16 bits, which is what hardware has.
FORGE_INLINE u8x64 multiply(u8x64 v, uint16_t m) {
  const u16x32 x = (u16x32)v;
  return (u8x64)(((x * m) & 0x00FF) | ((x & 0xFF00) * m));
}

constexpr float kLog2E = 1.44269504F;

// e^x for x in about [-87, 88], relative error below 2 ulp; below that range the smallest normal number.
// x = n ln 2 + r with |r| <= ln 2 / 2, then a polynomial (coefficients 1/k!, the last ones minimax-adjusted)
// and 2^n through the exponent bits. The interpreter has the same steps in scalar code (interp/scalar_math.h).
FORGE_INLINE f32x16 exp(f32x16 x) {
  x = max(x, splat(-87.0F));  // in this order a NaN becomes -87
  x = x > 88.0F ? splat(88.0F) : x;
  const f32x16 n = __builtin_elementwise_roundeven(x * kLog2E);
  f32x16 r = fma(n, splat(-0.693359375F), x);
  r = fma(n, splat(2.12194440e-4F), r);
  f32x16 p = splat(1.9875691500e-4F);
  p = fma(p, r, splat(1.3981999507e-3F));
  p = fma(p, r, splat(8.3334519073e-3F));
  p = fma(p, r, splat(4.1665795894e-2F));
  p = fma(p, r, splat(1.6666665459e-1F));
  p = fma(p, r, splat(5.0000001201e-1F));
  const f32x16 e = fma(p, r * r, r) + 1.0F;
  const i32x16 scale = (__builtin_convertvector(n, i32x16) + 127) << 23;
  return e * (f32x16)scale;
}

// Sixteen columns of n rows. What is computed of them together waits less: a step of one row needs nothing of the others.
template <uint32_t n>
struct Rows {
  typedef float F32 __attribute__((vector_size(64 * n), aligned(64)));
  typedef uint32_t U32 __attribute__((vector_size(64 * n), aligned(64)));
};
template <class V>
FORGE_INLINE V fma(V a, V b, V c) {
  return __builtin_elementwise_fma(a, b, c);
}

// Of t what is beyond the nearest whole number (of two, the even one), exactly; of infinity 0.
template <uint32_t n>
FORGE_INLINE typename Rows<n>::F32 beyond_nearest(typename Rows<n>::F32 t) {
#if defined(__AVX512DQ__)
  for (uint32_t i = 0; i < n; ++i) {
    f32x16& row = ((f32x16*)&t)[i];
    row = (f32x16)_mm512_reduce_ps((__m512)row, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  return t;
#else
  // What is added to this is rounded to its lowest bits, and beyond 2^22 everything is whole.
  constexpr float kRounder = 0x1.8p23F;
  const typename Rows<n>::F32 r = t - (t + kRounder - kRounder);
  return ((t < 0x1p22F) & (t > -0x1p22F)) ? r : typename Rows<n>::F32{};
#endif
}

// v * 2^whole for 1/2 < v < 2 and whole numbers up to 126; of less than -126 it is 2^-126 or less.
template <uint32_t n>
FORGE_INLINE typename Rows<n>::F32 times_power_of_2(typename Rows<n>::F32 v, typename Rows<n>::F32 whole) {
#if defined(__AVX512F__)
  for (uint32_t i = 0; i < n; ++i) {
    f32x16& row = ((f32x16*)&v)[i];
    row = (f32x16)_mm512_scalef_ps((__m512)row, (__m512)((const f32x16*)&whole)[i]);
  }
  return v;
#else
  whole = whole > -126.0F ? whole : typename Rows<n>::F32{} - 126.0F;
  typedef int32_t I32 __attribute__((vector_size(64 * n), aligned(64)));
  return (typename Rows<n>::F32)((I32)v + (__builtin_convertvector(whole, I32) << 23));
#endif
}

// 2^t for -126 <= t < 127, relative error below 2^-13: for values that are rounded to bfloat16, where that is next to nothing.
// Of less, and not of a NaN, it is 2^-126 or less. The polynomial is a minimax one with 1 at 0.
template <uint32_t n>
FORGE_INLINE typename Rows<n>::F32 exp2_for_bf16(typename Rows<n>::F32 t) {
  typedef typename Rows<n>::F32 F;
  const F r = beyond_nearest<n>(t);
  constexpr float kCoefficients[] = {2.4221099709565935e-1F, 6.932829296269772e-1F, 1.0F};
  F p = F{} + 5.5008946220760885e-2F;
  for (const float c : kCoefficients) p = fma(p, r, F{} + c);
  return times_power_of_2<n>(p, t - r);
}

// 2^x for x <= 0. Below -126 the smallest normal number, likewise for a NaN; of 0 exactly 1.
FORGE_INLINE f32x16 exp2_of_negative(f32x16 x) { return exp2_for_bf16<1>(max(x, splat(-126.0F))); }

// 1 / (1 + e^-x), relative error below 2^-12 where x > -80: for values that are rounded to bfloat16 next. The reciprocal
// begins with the bits of y taken from a constant, a line through the logarithm that is 5% off at most, and a step that cubes
// that error: no division, which takes as long as all the rest.
template <uint32_t n>
FORGE_INLINE typename Rows<n>::F32 sigmoid_for_bf16(typename Rows<n>::F32 x) {
  typedef typename Rows<n>::F32 F;
  F t = x * -kLog2E;
  t = t < 120.0F ? t : F{} + 120.0F;  // in this order a NaN becomes 120
  const F y = exp2_for_bf16<n>(t) + 1.0F;
  const F inverse = (F)(0x7EF311C7U - (typename Rows<n>::U32)y), e = fma(-y, inverse, F{} + 1.0F);
  return fma(inverse, fma(e, e, e), inverse);
}

// What a gated product does with its gate; of_prompt: of n rows of a prompt's class, on levels with the matrix unit.
struct Silu {
  inline __attribute__((always_inline)) f32x16 operator()(f32x16 x) const { return x / (exp(-x) + 1.0F); }
  template <uint32_t n>
  inline __attribute__((always_inline)) typename Rows<n>::F32 of_prompt(typename Rows<n>::F32 x) const {
    return x * sigmoid_for_bf16<n>(x);
  }
};

// The tanh form (Hendrycks & Gimpel 2016), 0.5 x (1 + tanh(u / 2)) with u = 2 sqrt(2 / pi) (x + 0.044715 x^3), written
// as x * sigmoid(u): no difference of nearly equal numbers.
struct Gelu {
  template <class V>
  static inline __attribute__((always_inline)) V argument(V x) {
    return (x + 0.044715F * (x * x * x)) * 1.5957691216F;
  }
  inline __attribute__((always_inline)) f32x16 operator()(f32x16 x) const {
    return x / (exp(-argument(x)) + 1.0F);
  }
  template <uint32_t n>
  inline __attribute__((always_inline)) typename Rows<n>::F32 of_prompt(typename Rows<n>::F32 x) const {
    return x * sigmoid_for_bf16<n>(argument(x));
  }
};

FORGE_INLINE f32x16 silu(f32x16 x) { return Silu{}(x); }
FORGE_INLINE f32x16 gelu(f32x16 x) { return Gelu{}(x); }

// An odd polynomial near zero (Cephes' tanhf), where 1 - 2 / (e^2x + 1) would lose its leading bits.
FORGE_INLINE f32x16 tanh(f32x16 x) {
  const u32x16 sign = (u32x16)x & 0x80000000u;
  const f32x16 a = (f32x16)((u32x16)x ^ sign), z = x * x;
  f32x16 p = splat(-5.70498872745e-3F);
  p = fma(p, z, splat(2.06390887954e-2F));
  p = fma(p, z, splat(-5.37397155531e-2F));
  p = fma(p, z, splat(1.33314422036e-1F));
  p = fma(p, z, splat(-3.33332819422e-1F));
  const f32x16 near_zero = fma(p * z, x, x);
  const f32x16 far = (f32x16)(((u32x16)(1.0F - 2.0F / (exp(a + a) + 1.0F)) & 0x7FFFFFFFu) | sign);
  return a < 0.625F ? near_zero : far;
}

FORGE_INLINE f32x16 softcap(f32x16 x, float cap) { return tanh(x / cap) * cap; }

}  // namespace
}  // namespace forge::kernels
