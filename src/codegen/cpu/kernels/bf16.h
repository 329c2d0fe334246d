// Prompts on the matrix unit: rows and weights rounded to bfloat16, products summed in float32.
//
// An int8 tile has to stop for the scales every 32 k; with these multiplied into the weights a sum runs through. The price
// is another rounding, so this is the arithmetic of a prompt's rows alone, and of levels that have the unit.
//
//     rows     [16 rows][32 k]            a tile of an activation: 1 KB in one piece
//     weights  [16 pairs of k][16 outputs][2]   a tile of a group's panel, made once for all rows of a step
//
// TDPBF16PS adds to a sum 32 k at a time: the even and the odd k each in a chain of fused steps from zero, then the two
// to each other, then that to the sum (Intel SDM, volume 2, TDPBF16PS). It reads subnormal numbers as zero and makes
// them zero. Rounding does so here too; sums below 2^-126, which only such products have, are the one thing that the loops
// for machines without the unit don't imitate.
#pragma once

#include "codegen/cpu/kernels/quantize.h"
#include "codegen/cpu/kernels/step.h"
#include "codegen/cpu/kernels/weights.h"

namespace forge::kernels {
namespace {

constexpr uint32_t kTileRows = 16;
typedef uint16_t Tile[kTileRows][32];
typedef uint16_t WeightTile[16][16][2];
typedef float SumTile[kTileRows][16];

// Sixteen rows of K columns.
template <uint32_t K>
struct Bf16Rows {
  alignas(64) Tile tile[K / 32];
};

// Sixteen outputs' weights.
template <uint32_t K>
struct Bf16Panel {
  alignas(64) WeightTile tile[K / 32];
};

// To nearest, ties to even, in the upper halves of the lanes; subnormal numbers become zero, a NaN quiet.
FORGE_INLINE u32x16 round_to_bf16(f32x16 v) {
  const u32x16 bits = (u32x16)v, magnitude = bits & 0x7FFFFFFF;
  const u32x16 rounded = bits + 0x7FFF + ((bits >> 16) & 1);
  const u32x16 number = magnitude < 0x00800000 ? bits & 0x80000000 : rounded;
  return (magnitude > 0x7F800000 ? bits | 0x00400000 : number) & 0xFFFF0000;
}

// Lane by lane, a below b.
FORGE_INLINE u32x16 pair_of_bf16(f32x16 a, f32x16 b) {
#if defined(__AVX512BF16__)
  const u16x32 halves = (u16x32)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
  return (u32x16)__builtin_shufflevector(halves, halves, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                         23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#else
  return round_to_bf16(a) >> 16 | round_to_bf16(b);
#endif
}

// 32 columns of a row to its line of a tile.
FORGE_INLINE void store_bf16(f32x16 x0, f32x16 x1, uint16_t* line) {
#if defined(__AVX512BF16__)
  store(line, _mm512_cvtne2ps_pbh((__m512)x1, (__m512)x0));
#else
  store(line, __builtin_convertvector(round_to_bf16(x0) >> 16, u16x16));
  store(line + 16, __builtin_convertvector(round_to_bf16(x1) >> 16, u16x16));
#endif
}

// Where row r lies: its piece of the first tile, 512 elements before that of the next one. A row is kept in the form that
// its class takes; null: it takes the other.
template <uint32_t K>
FORGE_INLINE uint16_t* prompt_row(const Worker& w, Bf16Rows<K>* rows, uint64_t r) {
  return w.args.row_class[r] == rt::RowClass::prompt ? rows[r / kTileRows].tile[0][r % kTileRows] : nullptr;
}
template <uint32_t K>
FORGE_INLINE Q8Row<K>* generated_row(const Worker& w, Q8Row<K>* rows, uint64_t r) {
  return w.args.row_class[r] == rt::RowClass::generated ? rows + r : nullptr;
}

FORGE_INLINE bool has_prompt_rows(const Worker& w) {
  for (uint32_t r = 0; r < w.args.n_rows; ++r)
    if (w.args.row_class[r] == rt::RowClass::prompt) return true;
  return false;
}

// Calls visit(begin, end) for each run of rows of a class.
template <class Visit>
FORGE_INLINE void for_runs(const rt::RowClass* classes, uint32_t n_rows, rt::RowClass wanted, Visit visit) {
  for (uint32_t begin = 0; begin < n_rows;) {
    uint32_t end = begin + 1;
    while (end < n_rows && classes[end] == classes[begin]) ++end;
    if (classes[begin] == wanted) visit(begin, end);
    begin = end;
  }
}

// The group's weights as the type's reference decoding gives them, rounded.
template <class F, uint32_t K>
[[gnu::noinline]] static void fill(Bf16Panel<K>& panel, const uint8_t* group) {
  constexpr uint32_t kSubs = F::kBlock / 32;
  const uint8_t* s = group;
  const uint8_t* q = group + kScaleStreamBytes<F, K>;
  uint8_t* to = (uint8_t*)panel.tile;
  for (uint32_t block = 0; block < K / F::kBlock; ++block, s += F::kScaleBytes, q += F::kCodeBytes) {
    for (uint32_t sub = 0; sub < kSubs; ++sub) {
      prefetch_codes<F>(q, sub);
      u8x64 space[8];
      const uint8_t* tiles = F::tiles(q, sub, space);
      const Scales w = F::scales(s, sub);
      for (uint32_t t = 0; t < 8; ++t) {
        const uint32_t half = F::kHalves ? t / 4 : 0;
        const u8x64 levels = load<u8x64>(tiles + 64 * t);
        const auto weight = [&](uint32_t j) __attribute__((always_inline)) {
#if defined(__AVX512VNNI__)
          const i32x16 level = dot4(splat(-kZero<F>), levels, 1 << (8 * j));  // picks a byte of each lane
#else
          const i32x16 level = (i32x16)((u32x16)levels >> (8 * j) & 0xFF) - kZero<F>;
#endif
          const f32x16 v = w.half[half] * to_f32(level);
          if constexpr (F::kMinimum) return v + w.minimum[half];
          return v;
        };
        for (uint32_t j = 0; j < 4; j += 2, to += 64) store(to, pair_of_bf16(weight(j), weight(j + 1)));
      }
    }
  }
}

// body<0>(), body<1>(), ..., body<n - 1>(): registers are numbers in instructions.
template <class T, T... i>
struct Indexes {};
template <uint32_t n, class Body>
FORGE_INLINE void for_each_index(Body body) {
  [&]<uint32_t... i>(Indexes<uint32_t, i...>) __attribute__((always_inline)) {
    (body.template operator()<i>(), ...);
  }(__make_integer_seq<Indexes, uint32_t, n>());
}

#if defined(__AMX_BF16__)
FORGE_INLINE void configure_bf16_tiles() {
  struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  static_assert(sizeof(shapes) == 64);
  _tile_loadconfig(&shapes);
}
FORGE_INLINE void release_bf16_tiles() { _tile_release(); }

// out[b][16 a + r][n]: sums of row r of tile a with output n of panel b.
template <int A, int B, uint32_t K>
[[gnu::noinline]] static void tile_products(const Bf16Rows<K>* rows, const Bf16Panel<K>* panels, float* out) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (uint32_t k = 0; k < K / 32; ++k) {
    _tile_loadd(6, panels[0].tile[k], 64);
    _tile_loadd(4, rows[0].tile[k], 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (B == 2) {
      _tile_loadd(7, panels[1].tile[k], 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (A == 2) {
      _tile_loadd(5, rows[1].tile[k], 64);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (B == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  constexpr uint32_t kTile = 16 * kTileRows;
  _tile_stored(0, out, 64);
  if constexpr (A == 2) _tile_stored(2, out + kTile, 64);
  if constexpr (B == 2) _tile_stored(1, out + A * kTile, 64);
  if constexpr (A == 2 && B == 2) _tile_stored(3, out + 3 * kTile, 64);
}

// c[n] = (add ? c[n] : 0) + the sum over k of a[k] * b[n][k]: N * K products of tiles.
template <uint32_t N, uint32_t K, bool add>
FORGE_INLINE void multiply_tiles(const Tile* a, const WeightTile (*b)[K], SumTile* c) {
  for_each_index<(N + 3) / 4>([&]<uint32_t block>() __attribute__((always_inline)) {
    constexpr uint32_t first = 4 * block, n = N - first < 4 ? N - first : 4;
    for_each_index<n>([&]<uint32_t i>() __attribute__((always_inline)) {
      if constexpr (add)
        _tile_loadd(i, c[first + i], 64);
      else
        _tile_zero(i);
    });
    for (uint32_t k = 0; k < K; ++k) {
      _tile_loadd(4, a[k], 64);
      for_each_index<n>([&]<uint32_t i>() __attribute__((always_inline)) {
        _tile_loadd(5 + i % 3, b[first + i][k], 64);
        _tile_dpbf16ps(i, 4, 5 + i % 3);
      });
    }
    for_each_index<n>([&]<uint32_t i>()
                          __attribute__((always_inline)) { _tile_stored(i, c[first + i], 64); });
  });
}
#else
FORGE_INLINE void configure_bf16_tiles() {}
FORGE_INLINE void release_bf16_tiles() {}

// sum + one row of 32 k times a tile of weights.
FORGE_INLINE f32x16 add_tile(f32x16 sum, const uint16_t* row, const WeightTile& tile) {
  f32x16 even = {}, odd = {};
  for (uint32_t pair = 0; pair < 16; ++pair) {
    const u32x16 w = load<u32x16>(tile[pair]);
    even = fma(splat(load_one<BF16>(row + 2 * pair)), (f32x16)(w << 16), even);
    odd = fma(splat(load_one<BF16>(row + 2 * pair + 1)), (f32x16)(w & 0xFFFF0000), odd);
  }
  return sum + (even + odd);
}

template <int A, int B, uint32_t K>
[[gnu::noinline]] static void tile_products(const Bf16Rows<K>* rows, const Bf16Panel<K>* panels, float* out) {
  for (int b = 0; b < B; ++b)
    for (uint32_t r = 0; r < A * kTileRows; ++r, out += 16) {
      f32x16 sum = {};
      for (uint32_t k = 0; k < K / 32; ++k)
        sum = add_tile(sum, rows[r / kTileRows].tile[k][r % kTileRows], panels[b].tile[k]);
      store(out, sum);
    }
}

template <uint32_t N, uint32_t K, bool add>
FORGE_INLINE void multiply_tiles(const Tile* a, const WeightTile (*b)[K], SumTile* c) {
  for (uint32_t n = 0; n < N; ++n)
    for (uint32_t r = 0; r < kTileRows; ++r) {
      f32x16 sum = add ? load<f32x16>(c[n][r]) : f32x16{};
      for (uint32_t k = 0; k < K; ++k) sum = add_tile(sum, a[k][r], b[n][k]);
      store(c[n][r], sum);
    }
}
#endif

// For each item a pair of panels and all prompt rows: make(item, panels) makes one or two of them and says how many, then
// done(item, row, n, sums) has sums[panel][i][16] of the rows row + i, i < n.
template <uint32_t K, class Make, class Done>
FORGE_INLINE void for_prompt_tiles(Range items, uint32_t n_rows, const Bf16Rows<K>* rows,
                                   const rt::RowClass* classes, Make make, Done done) {
  typedef float Sums[2 * kTileRows][16];
  Bf16Panel<K> panels[2];
  configure_bf16_tiles();
  for (uint32_t item = items.begin; item < items.end; ++item) {
    const uint32_t n_panels = make(item, panels);
    for_runs(classes, n_rows, rt::RowClass::prompt,
             [&](uint32_t begin, uint32_t end) __attribute__((always_inline)) {
               const uint32_t last = (end + kTileRows - 1) / kTileRows;
               for (uint32_t t = begin / kTileRows; t < last; t += 2) {
                 alignas(64) Sums sums[2];
                 const bool two = last - t >= 2;
                 // One tile's sums of the second panel would lie behind the first's sixteen rows: with one tile both are made apart.
                 if (two && n_panels == 2)
                   tile_products<2, 2, K>(rows + t, panels, sums[0][0]);
                 else if (two)
                   tile_products<2, 1, K>(rows + t, panels, sums[0][0]);
                 else
                   for (uint32_t i = 0; i < n_panels; ++i)
                     tile_products<1, 1, K>(rows + t, panels + i, sums[i][0]);
                 const uint32_t first = kTileRows * t, from = begin > first ? begin : first,
                                to = end < first + 2 * kTileRows ? end : first + 2 * kTileRows;
                 const float(*of_rows[2])[16] = {sums[0] + (from - first), sums[1] + (from - first)};
                 done(item, from, to - from, of_rows);
               }
             });
  }
  release_bf16_tiles();
}

}  // namespace
}  // namespace forge::kernels
