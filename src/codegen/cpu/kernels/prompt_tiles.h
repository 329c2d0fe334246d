// A linear's prompt rows on the matrix unit: which tiles are made, multiplied and finished when.
//
// Making a tile of weights takes as long as several products. Of few rows all sums are in registers, and tiles pass by once;
// of many, tiles are made for all of them, a block of panels ahead.
#pragma once

#include "codegen/cpu/kernels/bf16.h"
#include "codegen/cpu/kernels/step.h"

namespace forge::kernels {
namespace {

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

// Panels of a block, which the rows pass by together: each two more save reading all rows once again, so they are more where
// rows don't fit the second cache, and few where they do: panels take its room. One block is made while another is multiplied with.
template <uint32_t K>
constexpr uint32_t kPanels = K > 2048 ? 16 : 8;

// A block of items, a piece of the columns and a pass of rows: what is multiplied at a time.
template <uint32_t K>
struct Portion {
  static constexpr uint32_t kTiles = K / 32, kItems = kPanels<K> / 2, kRows = 512;
  static_assert(kItems > 0 && kPanels<K> % 2 == 0);
  Range items, rows;
  uint32_t first;  // tile of the columns

  uint32_t n_items() const { return items.end - items.begin; }
  uint32_t n_tiles() const { return kTiles - first < kPieceTiles<K> ? kTiles - first : kPieceTiles<K>; }
  bool is_last() const { return first + n_tiles() == kTiles; }
};

FORGE_INLINE Range piece_of(Range all, uint32_t begin, uint32_t most) {
  return {begin, all.end - begin > most ? begin + most : all.end};
}

// Tiles whose weights are asked for before they are made.
constexpr uint32_t kTilesAhead = 8;

// A tile of weights in the order of making: all of a panel, then of the item's other one; or, of both together, by turns.
struct TileOf {
  uint32_t item = 0, panel = 0, k = 0;
  const uint8_t* from[2] = {};  // what the item's panels are made of

  template <class Group>
  inline __attribute__((always_inline)) void begin(uint32_t first_item, const Group& group) {
    item = first_item;
    panel = k = 0;
    for (uint32_t p = 0; p < 2; ++p) from[p] = group(item, p);
  }
  // n: tiles of a panel.
  template <bool both = false, class Group>
  inline __attribute__((always_inline)) void advance(uint32_t n, const Group& group) {
    if constexpr (both) {
      panel ^= 1;
      if (panel != 0 || ++k < n) return;
    } else {
      if (++k < n) return;
      k = 0;
      panel ^= 1;
      if (panel != 0) return;
    }
    begin(item + 1, group);
  }
};

// Finishes the first of the rows, or the first n where all of those are of prompts; returns how many. n: a power of two up to a tile's rows.
template <uint32_t n, class Finish>
FORGE_INLINE uint32_t finish_some(const Finish& finish, const rt::RowClass* classes, uint32_t item,
                                  Range rows, const float (*sums0)[16], const float (*sums1)[16]) {
  const uint32_t r = rows.begin;
  if (r % n == 0 && rows.end - r >= n && has_only_prompt_rows(classes, {r, r + n})) {
    finish.template operator()<n>(item, r, sums0, sums1);
    return n;
  }
  if (classes[r] == rt::RowClass::prompt) finish.template operator()<1>(item, r, sums0, sums1);
  return 1;
}

// Rows that are finished together where nothing is multiplied meanwhile: it takes little longer than one.
constexpr uint32_t kTogether = 4;

// What the vector unit does between products, a little at each step of k: it makes tiles of the next portion, finishes rows of
// the last product, and asks for the next rows where those are not near. Lines of outputs are asked for by plain linears whose
// outputs workers share: another one may have them. What a worker alone writes is near, and asking takes the time of products.
// Few products may be under way at once, and the next ones begin only when what stands before them is done: so shares
// stand behind the first, the second and the last, and each step finishes two rows, without a call (bench/NOTES.md, "Steps of one length").
template <uint32_t K, class Group, class Ask, class Fill, class AskOutput, class Finish>
struct Overlapped {
  const Group group;
  const Ask ask;
  const Fill fill;
  const AskOutput ask_output;
  const Finish finish;
  static constexpr bool kAsksOutput = !__is_same(AskOutput, decltype(nullptr));
  const rt::RowClass* classes;
  // Tiles to make, one panel behind the other, so many for so many steps. Their weights are asked for a few tiles ahead.
  Portion<K> next = {};
  Bf16Panel<K> (*panels)[2] = nullptr;
  TileOf to_make = {}, to_ask = {};
  uint32_t n_of_panel = 0, n_made = 0, n_asked = 0, n_tiles = 0, n_steps = 1, owed = 0;
  // A product, and which of its rows is next.
  struct Product {
    uint32_t item, first_row, row, end;
    const PairSums* sums;
    bool only_prompts;
  };
  Product last = {};
  // Whose outputs are asked for: the product under way, which is finished during the next one.
  struct Outputs {
    uint32_t item, row, end;
  };
  Outputs to_write = {};
  // Lines of the first of the next two blocks of rows, and how many are asked for at a step; likewise the second's.
  const uint8_t *ahead = nullptr, *ahead_end = nullptr;
  uint32_t ahead_at_a_step = 0;

  inline __attribute__((always_inline)) void ask_for_tile() {
    if (n_asked == n_tiles) return;
    ++n_asked;
    ask(to_ask.panel, to_ask.from[to_ask.panel], next.first + to_ask.k);
    to_ask.advance(n_of_panel, group);
  }
  [[gnu::noinline]] void make_tile() {
    ask_for_tile();
    ++n_made;
    const TileOf& t = to_make;
    fill(t.panel, t.from[t.panel], next.first + t.k, panels[t.item - next.items.begin][t.panel].tile[t.k]);
    to_make.advance(n_of_panel, group);
  }
  // Returns how many.
  template <uint32_t n>
  inline __attribute__((always_inline)) uint32_t finish_rows() const {
    const uint32_t i = last.row - last.first_row;
    return finish_some<n>(finish, classes, last.item, {last.row, last.end}, last.sums[0] + i,
                          last.sums[1] + i);
  }
  void make(const Portion<K>& portion, Bf16Panel<K> (*to)[2], uint32_t steps) {
    next = portion;
    panels = to;
    to_make.begin(next.items.begin, group);
    to_ask = to_make;
    n_made = n_asked = owed = 0;
    n_of_panel = portion.n_tiles();
    n_tiles = 2 * portion.n_items() * n_of_panel;
    n_steps = steps;
    for (uint32_t i = 0; i < kTilesAhead; ++i) ask_for_tile();
  }
  // Asks for n tiles of each of two blocks of rows during so many steps.
  void ask_for_rows(const Bf16Rows<K>* rows, uint32_t first, uint32_t n, uint32_t steps) {
    ahead = (const uint8_t*)(rows[0].tile + first);
    ahead_end = ahead + n * sizeof(Tile);
    ahead_at_a_step = (n * (uint32_t)sizeof(Tile) / 64 + steps - 1) / steps;
  }
  // is_whole: the sums of these rows are.
  void finish_next(uint32_t item, Range rows, bool only_prompts, const PairSums* sums, bool is_whole) {
    finish_all();
    last = {item, rows.begin, rows.begin, is_whole ? rows.end : rows.begin, sums, only_prompts};
  }
  // is_whole: as above.
  void begin(uint32_t item, Range rows, bool is_whole) {
    if constexpr (kAsksOutput) to_write = {item, rows.begin, is_whole ? rows.end : rows.begin};
  }
  // Behind a product of a step: the first, the second, the last.
  template <uint32_t i>
  inline __attribute__((always_inline)) void operator()() {
    if constexpr (i == 0) {
      owed += n_tiles;
      if (owed >= n_steps) make_due();
    }
    if constexpr (i == 1)
      if (last.row < last.end) {
        if (last.only_prompts) {
          // Copies: what is stored might be them, for all that the compiler knows.
          const Finish f = finish;
          const Product p = last;
          last.row += 2;
          const uint32_t at = p.row - p.first_row;
          f.template operator()<2>(p.item, p.row, p.sums[0] + at, p.sums[1] + at);
        } else {
          finish_two();
        }
      }
    if constexpr (i == 1 && kAsksOutput)
      for (uint32_t n = 0; n < 2 && to_write.row < to_write.end; ++n)
        ask_output(to_write.item, to_write.row++);
    if constexpr (i == 2)
      for (uint32_t line = 0; line < ahead_at_a_step && ahead != ahead_end; ++line, ahead += 64) {
        __builtin_prefetch(ahead, 0, 2);
        __builtin_prefetch(ahead + sizeof(Bf16Rows<K>), 0, 2);
      }
  }
  [[gnu::noinline]] void finish_two() {
    for (uint32_t i = 0; i < 2 && last.row < last.end; ++i) last.row += finish_rows<1>();
  }
  [[gnu::noinline]] void make_due() {
    for (; owed >= n_steps && n_made != n_tiles; owed -= n_steps) make_tile();
  }
  // What is left.
  [[gnu::noinline]] void finish_all() {
    while (last.row < last.end) last.row += finish_rows<kTogether>();
  }
  [[gnu::noinline]] void make_all() {
    while (n_made != n_tiles) make_tile();
    n_tiles = n_made = n_asked = 0;
  }
};

// Few blocks of sixteen rows: their sums stay in registers while all tiles of weights pass by, each made two or three before it is
// multiplied with and never kept.
constexpr uint32_t kFewBlocks = 4;

// blocks[a]: their rows, a < A.
template <uint32_t K, uint32_t A, class Group, class Ask, class Fill, class AskOutput, class Finish>
[[gnu::noinline]] static void for_few_prompt_blocks(Range items, const Range* blocks, const Bf16Rows<K>* rows,
                                                    const rt::RowClass* classes, const Group& group,
                                                    const Ask& ask, const Fill& fill,
                                                    const AskOutput& ask_output, const Finish& finish) {
  // Both panels of an item together where there are registers for their sums: rows are loaded once, and two sums don't wait for
  // each other's products.
  constexpr uint32_t kTiles = K / 32, P = A <= 2 ? 2 : 1;
  // More than those in use, so that the unit does not load what is still being stored.
  constexpr uint32_t kPlaces = 4, kMadeAhead = kPlaces - P;
  alignas(64) WeightTile weights[kPlaces];
  alignas(64) SumTile sums[2 * A];  // of the first panel, then of the other
  const Bf16Rows<K>* of_blocks[A];
  for (uint32_t a = 0; a < A; ++a) of_blocks[a] = rows + blocks[a].begin / kTileRows;
  TileOf to_make;
  to_make.begin(items.begin, group);
  TileOf to_ask = to_make;
  const auto ask_for_next = [&]() __attribute__((always_inline)) {
    if (to_ask.item == items.end) return;
    ask(to_ask.panel, to_ask.from[to_ask.panel], to_ask.k);
    to_ask.advance<P == 2>(kTiles, group);
  };
  const auto make_next = [&](WeightTile& to) __attribute__((always_inline)) {
    ask_for_next();
    if (to_make.item == items.end) return;
    fill(to_make.panel, to_make.from[to_make.panel], to_make.k, to);
    to_make.advance<P == 2>(kTiles, group);
  };
  for (uint32_t i = 0; i < kTilesAhead; ++i) ask_for_next();
  for (uint32_t i = 0; i < kMadeAhead; ++i) make_next(weights[i]);
  configure_bf16_tiles();
  uint32_t turn = 0;
  for (uint32_t item = items.begin; item < items.end; ++item) {
    for (uint32_t panel = 0; panel < 2; panel += P) {
      begin_few<A * P>(sums + A * panel);
      for (uint32_t k = 0; k < kTiles; ++k, turn += P) {
        for (uint32_t p = 0; p < P; ++p) make_next(weights[(turn + kMadeAhead + p) % kPlaces]);
        if constexpr (!__is_same(AskOutput, decltype(nullptr)))
          if (panel == 0 && k < kTileRows)
            for (uint32_t a = 0; a < A; ++a) ask_output(item, blocks[a].begin + k);
        add_few<A, P>(of_blocks, k, weights + turn % kPlaces, sums + A * panel);
      }
      end_few<A * P>(sums + A * panel);
    }
    for (uint32_t a = 0; a < A; ++a) {
      const auto [begin, end] = blocks[a];
      for (uint32_t r = begin; r < end;)
        r += finish_some<kTogether>(finish, classes, item, {r, end}, sums[a] + (r - begin),
                                    sums[A + a] + (r - begin));
    }
  }
  release_bf16_tiles();
}

// For each item a pair of panels and all prompt rows of `all`, which begins with a tile: group(item, panel) is where the panel's
// weights are, of an item behind the last anything; ask(panel, group, k) asks for what fill(panel, group, k, tile) reads to make
// tile k of it; finish<n>(item, row, sums0, sums1) has the sums of n rows of a tile with both panels; ask_output(item, row), or null, asks for
// the lines that it writes. may_be_few: else few rows go the way of many, without the code for them, which is most of all.
template <uint32_t K, bool may_be_few, class Group, class Ask, class Fill, class AskOutput, class Finish>
FORGE_INLINE void for_prompt_tiles(Range items, Range all, const Bf16Rows<K>* rows,
                                   const rt::RowClass* classes, Group group, Ask ask, Fill fill,
                                   AskOutput ask_output, Finish finish) {
  using P = Portion<K>;
  constexpr uint32_t kBoth = 2 * kTileRows;
  // Rows are finished while the next sums are made. Where there are several pieces, those of all rows of a pass are kept.
  constexpr bool kPieces = P::kTiles > kPieceTiles<K>;
  constexpr uint32_t kPlaces = kPieces ? P::kRows / kBoth * P::kItems : 2;
  alignas(64) Bf16Panel<K> panels[2][P::kItems][2];
  alignas(64) PairSums sums[kPlaces][2];
  if (items.begin == items.end || all.begin == all.end) return;
  if constexpr (may_be_few) {
    // The blocks that have prompt rows, if they are few.
    Range blocks[kFewBlocks + 1];
    uint32_t n_found = 0;
    for (uint32_t row = all.begin; row < all.end && n_found <= kFewBlocks; row += kTileRows) {
      const Range block = piece_of(all, row, kTileRows);
      if (has_prompt_rows(classes, block)) blocks[n_found++] = block;
    }
    if (n_found <= kFewBlocks) {
      for_each_index<kFewBlocks>([&]<uint32_t i>() __attribute__((always_inline)) {
        if (n_found == i + 1)
          for_few_prompt_blocks<K, i + 1>(items, blocks, rows, classes, group, ask, fill, ask_output, finish);
      });
      return;
    }
  }
  // Nothing is multiplied while the first block is made, so it is two items; but if rows never get nearer than the third cache,
  // those are done with them sooner than they come, and blocks are of equal size. For the first block they are asked for in any case.
  const uint32_t n_rows = all.end - all.begin < P::kRows ? all.end - all.begin : P::kRows;
  const bool rows_are_near = n_rows / kTileRows * sizeof(Bf16Rows<K>) <= (1U << 20);
  const uint32_t n_items = items.end - items.begin, n_blocks = (n_items + P::kItems - 1) / P::kItems,
                 most = rows_are_near ? P::kItems : (n_items + n_blocks - 1) / n_blocks;
  // From `row` on, the first pass with prompt rows.
  const auto pass_from = [&](uint32_t row) __attribute__((always_inline)) {
    Range pass = piece_of(all, row, P::kRows);
    while (pass.begin < all.end && !has_prompt_rows(classes, pass)) pass = piece_of(all, pass.end, P::kRows);
    return pass;
  };
  const auto after = [&](P p) __attribute__((always_inline)) {
    const bool last = p.is_last(), wrap = last && p.items.end == items.end;
    p.first = last ? 0 : p.first + kPieceTiles<K>;
    if (wrap) p.rows = pass_from(p.rows.end);
    if (last) p.items = piece_of(items, wrap ? items.begin : p.items.end, most);
    return p;
  };
  P now = {piece_of(items, items.begin, rows_are_near && most > 2 ? 2 : most), pass_from(all.begin), 0};
  Overlapped<K, Group, Ask, Fill, AskOutput, Finish> overlapped{group,      ask,    fill,
                                                                ask_output, finish, classes};
  overlapped.make(now, panels[0], 1);
  overlapped.make_all();
  configure_bf16_tiles();
  for (uint32_t block = 0; now.rows.begin < all.end; block ^= 1) {
    const P next = after(now);
    const uint32_t n = now.n_tiles();
    if (next.rows.begin < all.end) {
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
      const bool two = both.end - both.begin > kTileRows, add = now.first != 0,
                 only_prompts = both.end - both.begin == kBoth && has_only_prompt_rows(classes, both);
      if (!rows_are_near || now.items.begin == items.begin) {
        const bool wraps = both.end == now.rows.end;
        const P& of = wraps ? next : now;
        overlapped.ask_for_rows(rows + (wraps ? of.rows.begin : both.end) / kTileRows, of.first, of.n_tiles(),
                                now.n_items() * n);
      }
      for (uint32_t item = 0; item < now.n_items(); ++item, turn ^= 1) {
        const Bf16Panel<K>* b = panels[block][item];
        PairSums* to = sums[kPieces ? (row - now.rows.begin) / kBoth * P::kItems + item : turn];
        overlapped.begin(now.items.begin + item, both, now.is_last());
        if (two && add)
          tile_products<2, true>(a, now.first, n, b[0].tile, b[1].tile, to, overlapped);
        else if (two)
          tile_products<2, false>(a, now.first, n, b[0].tile, b[1].tile, to, overlapped);
        else if (add)
          tile_products<1, true>(a, now.first, n, b[0].tile, b[1].tile, to, overlapped);
        else
          tile_products<1, false>(a, now.first, n, b[0].tile, b[1].tile, to, overlapped);
        overlapped.finish_next(now.items.begin + item, both, only_prompts, to, now.is_last());
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
