// Prompts on the matrix unit: rows and weights (bf16_weights.h) rounded to bfloat16, products summed in float32.
//
// An int8 tile has to stop for the scales every 32 k; with these multiplied into the weights a sum runs through. The price
// is another rounding, so this is the arithmetic of a prompt's rows alone, and of levels that have the unit.
//
//     rows     [16 rows][32 k]                  a tile of an activation: 1 KB in one piece
//     weights  [16 pairs of k][16 outputs][2]   a tile of a group's weights
//
// TDPBF16PS adds to a sum 32 k at a time: the even and the odd k each in a chain of fused steps from zero, then the two
// to each other, then that to the sum (Intel SDM, volume 2, TDPBF16PS). It reads subnormal numbers as zero and makes
// them zero. Rounding does so here too; sums below 2^-126, which only such products have, are the one thing that the loops
// for machines without the unit don't imitate.
#pragma once

#include "codegen/cpu/kernels/quantize.h"
#include "codegen/cpu/kernels/step.h"

namespace forge::kernels {
namespace {

constexpr uint32_t kTileRows = 16;
typedef uint16_t Tile[kTileRows][32];
typedef uint16_t WeightTile[16][16][2];
typedef float SumTile[kTileRows][16];
// Of two tiles of rows with a panel.
typedef float PairSums[2 * kTileRows][16];

// Sixteen rows of K columns.
template <uint32_t K>
struct Bf16Rows {
  alignas(64) Tile tile[K / 32];
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

// 16 columns of a row to half of its line of a tile.
FORGE_INLINE void store_bf16(f32x16 x, uint16_t* half) {
#if defined(__AVX512BF16__)
  store(half, _mm512_cvtneps_pbh((__m512)x));
#else
  store(half, __builtin_convertvector(round_to_bf16(x) >> 16, u16x16));
#endif
}

// 32 columns of a row to its line of a tile.
FORGE_INLINE void store_bf16(f32x16 x0, f32x16 x1, uint16_t* line) {
#if defined(__AVX512BF16__)
  store(line, _mm512_cvtne2ps_pbh((__m512)x1, (__m512)x0));
#else
  store_bf16(x0, line);
  store_bf16(x1, line + 16);
#endif
}

// Sixteen columns, number g of them, of row r; those of the tile's next row are a line, 32 elements, further on.
template <uint32_t K>
FORGE_INLINE uint16_t* half_line(Bf16Rows<K>* rows, uint64_t r, uint32_t g) {
  return rows[r / kTileRows].tile[g / 2][r % kTileRows] + g % 2 * 16;
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

FORGE_INLINE bool has_prompt_rows(const rt::RowClass* classes, Range rows) {
  for (uint32_t r = rows.begin; r < rows.end; ++r)
    if (classes[r] == rt::RowClass::prompt) return true;
  return false;
}
FORGE_INLINE bool has_prompt_rows(const Worker& w) {
  return has_prompt_rows(w.args.row_class, {0, w.args.n_rows});
}
FORGE_INLINE bool has_only_prompt_rows(const rt::RowClass* classes, Range rows) {
  for (uint32_t r = rows.begin; r < rows.end; ++r)
    if (classes[r] != rt::RowClass::prompt) return false;
  return true;
}
FORGE_INLINE bool has_only_prompt_rows(const Worker& w) {
  return has_only_prompt_rows(w.args.row_class, {0, w.args.n_rows});
}

// Calls visit(begin, end) for each run of rows of a class.
template <class Visit>
FORGE_INLINE void for_runs(const rt::RowClass* classes, Range rows, rt::RowClass wanted, Visit visit) {
  for (uint32_t begin = rows.begin; begin < rows.end;) {
    uint32_t end = begin + 1;
    while (end < rows.end && classes[end] == classes[begin]) ++end;
    if (classes[begin] == wanted) visit(begin, end);
    begin = end;
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

template <int i, bool add>
FORGE_INLINE void begin_sums(const float (*sums)[16]) {
  if constexpr (add)
    _tile_loadd(i, sums, 64);
  else
    _tile_zero(i);
}

// A tile register that holds no more than zeros, which takes none of the registers behind the names.
//
// While the other thread of a core runs, each has half of those, and a product that finds none left waits until one before it
// has retired: 30 million products a second instead of 143 with all eight names in use (bench/NOTES.md). So names are few, and
// an operand is let go as soon as its last product is asked for.
template <int i>
FORGE_INLINE void let_go() {
  _tile_zero(i);
}

// sums[b][16 a + r] = (add ? sums[b][16 a + r] : 0) + row r of tiles first .. first + n of rows a with the n tiles of panel b,
// a < A, b < 2; for each of the n step<0>() behind the first product, step<1>() behind the second and step<2>() behind the last.
//
// Rows stay in the first cache while panels pass by, which are loaded with the hint not to.
template <int A, bool add, uint32_t K, class Step>
[[gnu::noinline]] static void tile_products(const Bf16Rows<K>* rows, uint32_t first, uint32_t n,
                                            const WeightTile* panel0, const WeightTile* panel1,
                                            PairSums* sums, Step& step) {
  begin_sums<0, add>(sums[0]);
  begin_sums<1, add>(sums[1]);
  if constexpr (A == 2) begin_sums<2, add>(sums[0] + kTileRows);
  if constexpr (A == 2) begin_sums<3, add>(sums[1] + kTileRows);
  for (uint32_t k = 0; k < n; ++k) {
    const Tile* a0 = rows[0].tile + first + k;
    const WeightTile *b0 = panel0 + k, *b1 = panel1 + k;
    _tile_stream_loadd(5, b0, 64);
    _tile_loadd(4, a0, 64);
    _tile_dpbf16ps(0, 4, 5);
    step.template operator()<0>();
    if constexpr (A == 1) let_go<5>();
    _tile_stream_loadd(6, b1, 64);
    _tile_dpbf16ps(1, 4, 6);
    let_go<4>();
    step.template operator()<1>();
    if constexpr (A == 2) {
      const Tile* a1 = rows[1].tile + first + k;
      _tile_loadd(4, a1, 64);
      _tile_dpbf16ps(2, 4, 5);
      let_go<5>();
      _tile_dpbf16ps(3, 4, 6);
      let_go<4>();
    }
    let_go<6>();
    step.template operator()<2>();
  }
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  if constexpr (A == 2) _tile_stored(2, sums[0] + kTileRows, 64);
  if constexpr (A == 2) _tile_stored(3, sums[1] + kTileRows, 64);
}

// sums[A p + a] += tile number k of blocks[a] times b[p], a < A, p < P, between begin_few and end_few of all A P sums. Till then
// they are in registers 0 .. A P - 1; 4 and 5 are for rows, 6 and 7 for weights.
template <uint32_t n>
FORGE_INLINE void begin_few(SumTile*) {
  for_each_index<n>([&]<uint32_t i>() __attribute__((always_inline)) { _tile_zero(i); });
}
template <uint32_t A, uint32_t P, uint32_t K>
FORGE_INLINE void add_few(const Bf16Rows<K>* const* blocks, uint32_t k, const WeightTile* b, SumTile*) {
  static_assert(A * P <= 4);
  for_each_index<P>([&]<uint32_t p>() __attribute__((always_inline)) { _tile_loadd(6 + p, b[p], 64); });
  for_each_index<A>([&]<uint32_t i>() __attribute__((always_inline)) {
    _tile_loadd(4 + i % 2, blocks[i]->tile + k, 64);
    for_each_index<P>([&]<uint32_t p>()
                          __attribute__((always_inline)) { _tile_dpbf16ps(A * p + i, 4 + i % 2, 6 + p); });
    let_go<4 + i % 2>();
  });
  for_each_index<P>([&]<uint32_t p>() __attribute__((always_inline)) { let_go<6 + p>(); });
}
template <uint32_t n>
FORGE_INLINE void end_few(SumTile* sums) {
  for_each_index<n>([&]<uint32_t i>() __attribute__((always_inline)) { _tile_stored(i, sums[i], 64); });
}

// c[n] = (add ? c[n] : 0) + the sum over k of a[k] * b[n][k], in N * K steps, in order, each a product of the unit; other work may
// stand between them, and other products behind the last.
template <uint32_t p, uint32_t N, uint32_t K, bool add>
FORGE_INLINE void multiply_tiles_step(const Tile* a, const WeightTile (*b)[K], SumTile* c) {
  // Up to four sums are in registers at a time.
  constexpr uint32_t first = p / (4 * K) * 4, n = N - first < 4 ? N - first : 4, of_these = p - first * K,
                     k = of_these / n, i = of_these % n;
  const auto sums = [&](auto visit) __attribute__((always_inline)) { for_each_index<n>(visit); };
  if constexpr (of_these == 0)
    sums([&]<uint32_t j>() __attribute__((always_inline)) {
      if constexpr (add)
        _tile_loadd(j, c[first + j], 64);
      else
        _tile_zero(j);
    });
  if constexpr (i == 0) _tile_loadd(4, a[k], 64);
  _tile_loadd(5 + i % 3, b[first + i][k], 64);
  _tile_dpbf16ps(i, 4, 5 + i % 3);
  let_go<5 + i % 3>();
  if constexpr (i == n - 1) let_go<4>();
  if constexpr (of_these == n * K - 1)
    sums([&]<uint32_t j>() __attribute__((always_inline)) { _tile_stored(j, c[first + j], 64); });
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

template <int A, bool add, uint32_t K, class Step>
[[gnu::noinline]] static void tile_products(const Bf16Rows<K>* rows, uint32_t first, uint32_t n,
                                            const WeightTile* panel0, const WeightTile* panel1,
                                            PairSums* sums, Step& step) {
  for (uint32_t k = 0; k < n; ++k)
    for_each_index<3>([&]<uint32_t i>() __attribute__((always_inline)) { step.template operator()<i>(); });
  for (int b = 0; b < 2; ++b)
    for (uint32_t r = 0; r < A * kTileRows; ++r) {
      float* to = sums[b][r];
      f32x16 sum = add ? load<f32x16>(to) : f32x16{};
      for (uint32_t k = 0; k < n; ++k)
        sum =
            add_tile(sum, rows[r / kTileRows].tile[first + k][r % kTileRows], (b == 0 ? panel0 : panel1)[k]);
      store(to, sum);
    }
}

template <uint32_t n>
FORGE_INLINE void begin_few(SumTile* sums) {
  for (uint32_t i = 0; i < n; ++i)
    for (uint32_t r = 0; r < kTileRows; ++r) store(sums[i][r], f32x16{});
}
template <uint32_t A, uint32_t P, uint32_t K>
FORGE_INLINE void add_few(const Bf16Rows<K>* const* blocks, uint32_t k, const WeightTile* b, SumTile* sums) {
  for (uint32_t i = 0; i < A * P; ++i)
    for (uint32_t r = 0; r < kTileRows; ++r)
      store(sums[i][r], add_tile(load<f32x16>(sums[i][r]), blocks[i % A]->tile[k][r], b[i / A]));
}
template <uint32_t n>
FORGE_INLINE void end_few(SumTile*) {}

template <uint32_t p, uint32_t N, uint32_t K, bool add>
FORGE_INLINE void multiply_tiles_step(const Tile* a, const WeightTile (*b)[K], SumTile* c) {
  if constexpr (p == 0)
    for (uint32_t n = 0; n < N; ++n)
      for (uint32_t r = 0; r < kTileRows; ++r) {
        f32x16 sum = add ? load<f32x16>(c[n][r]) : f32x16{};
        for (uint32_t k = 0; k < K; ++k) sum = add_tile(sum, a[k][r], b[n][k]);
        store(c[n][r], sum);
      }
}
#endif

}  // namespace
}  // namespace forge::kernels
