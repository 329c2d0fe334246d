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
// Of two tiles of rows with a panel.
typedef float PairSums[2 * kTileRows][16];

// Sixteen rows of K columns.
template <uint32_t K>
struct Bf16Rows {
  alignas(64) Tile tile[K / 32];
};

// Long rows are multiplied a piece of the columns at a time, so that 32 rows' piece stays in the first cache and all rows' beside
// two blocks of panels in the second: a sum goes through memory from one piece to the next.
template <uint32_t K>
constexpr uint32_t kPieceTiles = [] {
  constexpr uint32_t tiles = K / 32, whole = 18, fit = 16;
  return tiles <= whole ? tiles : (tiles - 1) / ((tiles + fit - 1) / fit) + 1;
}();

// A piece of sixteen outputs' weights.
template <uint32_t K>
struct Bf16Panel {
  alignas(64) WeightTile tile[kPieceTiles<K>];
};

// Panels of a block, which the rows pass by together: each two more save reading all rows once again, from where they don't
// fit the nearer caches. One block is made while another is multiplied with.
template <uint32_t K>
constexpr uint32_t kPanels = [] {
  constexpr uint32_t bytes = 192 << 10, fit = bytes / sizeof(Bf16Panel<K>) / 2 * 2;
  return fit > 12 ? 12 : fit;
}();

// Asks for a line that will be written: a store that finds it waits for no one.
FORGE_INLINE void prefetch_to_write(const void* line) {
#if defined(__AMX_TILE__)
  // Every processor with the unit has the instruction; the builtin takes it only where -m flags promise it.
  asm volatile("prefetchw %0" : : "m"(*(const uint8_t*)line));
#else
  __builtin_prefetch(line, 1);
#endif
}

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

// Byte j of each lane, less the zero point.
template <int zero>
FORGE_INLINE f32x16 level_of_byte(u8x64 bytes, uint32_t j) {
#if defined(__AVX512BW__)
  // Into the lowest bits of 2^23, where a step is one. A shuffle has a port that products leave alone; written as such, since
  // the compiler makes another instruction of what the shuffle leaves in place.
  constexpr float kBase = 8388608.0F;
  const u32x16 lane = {0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12}, from = lane + j;
  f32x16 x = splat(kBase);
  asm("vpshufb %2, %1, %0 %{%3%}" : "+v"(x) : "v"(bytes), "v"(from), "Yk"((uint64_t)0x1111111111111111));
  return x - (kBase + (float)zero);
#else
  return to_f32((i32x16)((u32x16)bytes >> (8 * j) & 0xFF) - zero);
#endif
}

// Tile number k of the group's weights as the type's reference decoding gives them, rounded.
template <class F, uint32_t K>
[[gnu::noinline]] static void fill(WeightTile& tile, const uint8_t* group, uint32_t k) {
  constexpr uint32_t kSubs = F::kBlock / 32;
  const uint32_t sub = k % kSubs;
  const uint8_t* s = group + k / kSubs * F::kScaleBytes;
  const uint8_t* q = group + kScaleStreamBytes<F, K> + (uint64_t)(k / kSubs) * F::kCodeBytes;
  u8x64 space[8];
  const uint8_t* tiles = F::tiles(q, sub, space);
  const Scales w = F::scales(s, sub);
  uint8_t* to = (uint8_t*)tile;
  for (uint32_t t = 0; t < 8; ++t) {
    const uint32_t half = F::kHalves ? t / 4 : 0;
    const u8x64 levels = load<u8x64>(tiles + 64 * t);
    const auto weight = [&](uint32_t j) __attribute__((always_inline)) {
      const f32x16 v = w.half[half] * level_of_byte<kZero<F>>(levels, j);
      if constexpr (F::kMinimum) return v + w.minimum[half];
      return v;
    };
    for (uint32_t j = 0; j < 4; j += 2, to += 64) store(to, pair_of_bf16(weight(j), weight(j + 1)));
  }
}

// Asks for what fill will read.
template <class F, uint32_t K>
FORGE_INLINE void prefetch_weights(const uint8_t* group, uint32_t k) {
  constexpr uint32_t kSubs = F::kBlock / 32;
  __builtin_prefetch(group + k / kSubs * F::kScaleBytes);
  prefetch_codes<F>(group + kScaleStreamBytes<F, K> + (uint64_t)(k / kSubs) * F::kCodeBytes, k % kSubs);
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

FORGE_INLINE void prefetch_tile(const void* tile) {
#pragma clang loop unroll(full)
  for (uint32_t at = 0; at < sizeof(Tile); at += 64) __builtin_prefetch((const uint8_t*)tile + at);
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

// sums[b][16 a + r] = (add ? sums[b][16 a + r] : 0) + row r of tiles first .. first + n of rows a with panel b, a < A;
// step() after each of the n.
//
// Rows stay in the first cache while panels pass by, which are loaded with the hint not to. The next rows are asked for
// between the products.
template <int A, bool add, uint32_t K, class Step>
[[gnu::noinline]] static void tile_products(const Bf16Rows<K>* rows, uint32_t first, uint32_t n,
                                            const Bf16Panel<K>* panels, PairSums* sums, Step& step) {
  begin_sums<0, add>(sums[0]);
  begin_sums<1, add>(sums[1]);
  if constexpr (A == 2) begin_sums<2, add>(sums[0] + kTileRows);
  if constexpr (A == 2) begin_sums<3, add>(sums[1] + kTileRows);
  for (uint32_t k = 0; k < n; ++k) {
    const Tile* a0 = rows[0].tile + first + k;
    const WeightTile *b0 = panels[0].tile + k, *b1 = panels[1].tile + k;
    _tile_stream_loadd(5, b0, 64);
    _tile_loadd(4, a0, 64);
    _tile_dpbf16ps(0, 4, 5);
    if constexpr (A == 1) let_go<5>();
    _tile_stream_loadd(6, b1, 64);
    _tile_dpbf16ps(1, 4, 6);
    let_go<4>();
    if constexpr (A == 2) {
      const Tile* a1 = rows[1].tile + first + k;
      _tile_loadd(4, a1, 64);
      prefetch_tile(a0 + 1);
      _tile_dpbf16ps(2, 4, 5);
      let_go<5>();
      prefetch_tile(a1 + 1);
      _tile_dpbf16ps(3, 4, 6);
      let_go<4>();
    } else {
      // Few rows: what makes the panels has filled the first cache since.
      prefetch_tile(a0 + 1);
      prefetch_tile(b0 + 1);
      prefetch_tile(b1 + 1);
    }
    let_go<6>();
    step();
  }
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  if constexpr (A == 2) _tile_stored(2, sums[0] + kTileRows, 64);
  if constexpr (A == 2) _tile_stored(3, sums[1] + kTileRows, 64);
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
        let_go<5 + i % 3>();
      });
      let_go<4>();
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

template <int A, bool add, uint32_t K, class Step>
[[gnu::noinline]] static void tile_products(const Bf16Rows<K>* rows, uint32_t first, uint32_t n,
                                            const Bf16Panel<K>* panels, PairSums* sums, Step& step) {
  for (uint32_t k = 0; k < n; ++k) step();
  for (int b = 0; b < 2; ++b)
    for (uint32_t r = 0; r < A * kTileRows; ++r) {
      float* to = sums[b][r];
      f32x16 sum = add ? load<f32x16>(to) : f32x16{};
      for (uint32_t k = 0; k < n; ++k)
        sum = add_tile(sum, rows[r / kTileRows].tile[first + k][r % kTileRows], panels[b].tile[k]);
      store(to, sum);
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

// A block of items, a piece of the columns and a pass of rows: what is multiplied at a time.
template <uint32_t K>
struct Portion {
  static constexpr uint32_t kTiles = K / 32, kItems = kPanels<K> / 2, kRows = 512;
  Range items, rows;
  uint32_t first;  // tile of the columns

  uint32_t n_items() const { return items.end - items.begin; }
  uint32_t n_tiles() const { return kTiles - first < kPieceTiles<K> ? kTiles - first : kPieceTiles<K>; }
  bool is_last() const { return first + n_tiles() == kTiles; }
};

FORGE_INLINE Range piece_of(Range all, uint32_t begin, uint32_t most) {
  return {begin, all.end - begin > most ? begin + most : all.end};
}

// What the vector unit does between products, a little at each step of k: it makes tiles of the next portion, finishes rows of
// the last product, and asks for the lines where those of this one will go, which are no nearer than the third cache by then.
// Few products may be under way at once, and the next ones begin only when what stands before them is done: so rows are
// finished four together, which takes little longer than one.
template <uint32_t K, class Ask, class Fill, class Prefetch, class Finish>
struct Overlapped {
  const Ask& ask;
  const Fill& fill;
  const Prefetch& prefetch;
  const Finish& finish;
  const rt::RowClass* classes;
  static constexpr uint32_t kTogether = 4;
  // Tiles to make, one panel behind the other, so many for so many steps. Their weights are asked for a few tiles ahead.
  struct TileOf {
    uint32_t item = 0, panel = 0, tile = 0;
  };
  static constexpr uint32_t kAhead = 8;
  Portion<K> next = {};
  Bf16Panel<K> (*panels)[2] = nullptr;
  TileOf to_make = {}, to_ask = {};
  uint32_t n_made = 0, n_asked = 0, n_tiles = 0, n_steps = 1, owed = 0;
  // A product, which of its rows is next, how many rows at a step, and how many of the last are due.
  struct Product {
    uint32_t item, first_row, row, end;
    const PairSums* sums;
  };
  Product last = {}, now = {};
  uint32_t at_a_step = 0, owed_rows = 0;

  inline __attribute__((always_inline)) void advance(TileOf& t) const {
    if (++t.tile < next.n_tiles()) return;
    t.tile = 0;
    t.item += t.panel;
    t.panel ^= 1;
  }
  inline __attribute__((always_inline)) void ask_for_tile() {
    if (n_asked == n_tiles) return;
    ++n_asked;
    ask(next.items.begin + to_ask.item, to_ask.panel, next.first + to_ask.tile);
    advance(to_ask);
  }
  inline __attribute__((always_inline)) void make_tile() {
    ask_for_tile();
    ++n_made;
    const TileOf t = to_make;
    fill(next.items.begin + t.item, t.panel, next.first + t.tile, panels[t.item][t.panel].tile[t.tile]);
    advance(to_make);
  }
  // Returns how many.
  inline __attribute__((always_inline)) uint32_t finish_rows() {
    const uint32_t r = last.row, i = r - last.first_row;
    const float(*sums0)[16] = last.sums[0] + i, (*sums1)[16] = last.sums[1] + i;
    if (r % kTogether == 0 && last.end - r >= kTogether && n_prompt_rows(r, kTogether) == kTogether) {
      finish.template operator()<kTogether>(last.item, r, sums0, sums1);
      last.row += kTogether;
      return kTogether;
    }
    if (classes[r] == rt::RowClass::prompt) finish.template operator()<1>(last.item, r, sums0, sums1);
    ++last.row;
    return 1;
  }
  inline __attribute__((always_inline)) uint32_t n_prompt_rows(uint32_t r, uint32_t n) const {
    uint32_t count = 0;
    for (uint32_t i = r; i < r + n; ++i) count += classes[i] == rt::RowClass::prompt;
    return count;
  }
  void make(const Portion<K>& portion, Bf16Panel<K> (*to)[2], uint32_t steps) {
    next = portion;
    panels = to;
    to_make = to_ask = {};
    n_made = n_asked = owed = 0;
    n_tiles = 2 * portion.n_items() * portion.n_tiles();
    n_steps = steps;
    for (uint32_t i = 0; i < kAhead; ++i) ask_for_tile();
  }
  // is_whole: behind it the sums of these rows are.
  void begin(uint32_t item, Range rows, const PairSums* sums, bool is_whole, uint32_t steps) {
    now = {item, rows.begin, rows.begin, is_whole ? rows.end : rows.begin, sums};
    at_a_step = (rows.end - rows.begin + steps - 1) / steps;
    owed_rows = 0;
  }
  void end() {
    finish_all();
    last = now;
    last.row = last.first_row;
  }
  [[gnu::noinline]] void operator()() {
    for (uint32_t i = 0; i < at_a_step && now.row < now.end; ++i) prefetch(now.item, now.row++);
    for (owed_rows += at_a_step; owed_rows >= kTogether && last.row < last.end;) owed_rows -= finish_rows();
    for (owed += n_tiles; owed >= n_steps && n_made != n_tiles; owed -= n_steps) make_tile();
  }
  // What is left.
  [[gnu::noinline]] void finish_all() {
    while (last.row < last.end) finish_rows();
  }
  [[gnu::noinline]] void make_all() {
    while (n_made != n_tiles) make_tile();
  }
};

// For each item a pair of panels and all prompt rows: ask(item, panel, k) asks for what fill(item, panel, k, tile) reads to
// make tile k of one; prefetch(item, row) for the lines that finish<n>(item, row, sums0, sums1) will need, which has the sums
// of n rows of a tile with both panels.
template <uint32_t K, class Ask, class Fill, class Prefetch, class Finish>
FORGE_INLINE void for_prompt_tiles(Range items, uint32_t n_rows, const Bf16Rows<K>* rows,
                                   const rt::RowClass* classes, Ask ask, Fill fill, Prefetch prefetch,
                                   Finish finish) {
  using P = Portion<K>;
  constexpr uint32_t kBoth = 2 * kTileRows;
  // Rows are finished while the next sums are made. Where there are several pieces, those of all rows of a pass are kept.
  constexpr bool kPieces = P::kTiles > kPieceTiles<K>;
  constexpr uint32_t kPlaces = kPieces ? P::kRows / kBoth * P::kItems : 2;
  alignas(64) Bf16Panel<K> panels[2][P::kItems][2];
  alignas(64) PairSums sums[kPlaces][2];
  const Range all = {0, n_rows};
  // From `row` on, the first pass with prompt rows.
  const auto pass_from = [&](uint32_t row) __attribute__((always_inline)) {
    Range pass = piece_of(all, row, P::kRows);
    while (pass.begin < n_rows && !has_prompt_rows(classes, pass)) pass = piece_of(all, pass.end, P::kRows);
    return pass;
  };
  const auto after = [&](P p) __attribute__((always_inline)) {
    const bool last = p.is_last(), wrap = last && p.items.end == items.end;
    p.first = last ? 0 : p.first + kPieceTiles<K>;
    if (wrap) p.rows = pass_from(p.rows.end);
    if (last) p.items = piece_of(items, wrap ? items.begin : p.items.end, P::kItems);
    return p;
  };
  // Nothing is multiplied while the first block is made: it is one item.
  P now = {piece_of(items, items.begin, 1), pass_from(0), 0};
  if (items.begin == items.end || now.rows.begin == n_rows) return;
  Overlapped<K, Ask, Fill, Prefetch, Finish> overlapped{ask, fill, prefetch, finish, classes};
  overlapped.make(now, panels[0], 1);
  overlapped.make_all();
  configure_bf16_tiles();
  for (uint32_t block = 0; now.rows.begin < n_rows; block ^= 1) {
    const P next = after(now);
    const uint32_t n = now.n_tiles();
    if (next.rows.begin < n_rows) {
      uint32_t n_pairs = 0;
      for (uint32_t row = now.rows.begin; row < now.rows.end; row += kBoth)
        n_pairs += has_prompt_rows(classes, piece_of(now.rows, row, kBoth)) ? 1 : 0;
      overlapped.make(next, panels[block ^ 1], n_pairs * now.n_items() * n);
    }
    uint32_t turn = 0;
    for (uint32_t row = now.rows.begin; row < now.rows.end; row += kBoth) {
      const Range both = piece_of(now.rows, row, kBoth);
      if (!has_prompt_rows(classes, both)) continue;
      const Bf16Rows<K>* a = rows + row / kTileRows;
      const bool two = both.end - both.begin > kTileRows, add = now.first != 0;
      for (uint32_t item = 0; item < now.n_items(); ++item, turn ^= 1) {
        const Bf16Panel<K>* b = panels[block][item];
        PairSums* to = sums[kPieces ? (row - now.rows.begin) / kBoth * P::kItems + item : turn];
        overlapped.begin(now.items.begin + item, both, to, now.is_last(), n);
        if (two && add)
          tile_products<2, true>(a, now.first, n, b, to, overlapped);
        else if (two)
          tile_products<2, false>(a, now.first, n, b, to, overlapped);
        else if (add)
          tile_products<1, true>(a, now.first, n, b, to, overlapped);
        else
          tile_products<1, false>(a, now.first, n, b, to, overlapped);
        overlapped.end();
      }
    }
    overlapped.finish_all();
    overlapped.make_all();
    now = next;
  }
  release_bf16_tiles();
}

}  // namespace
}  // namespace forge::kernels
