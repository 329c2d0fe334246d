// Attention of many rows: blocks of rows times kv heads, dealt out to the workers.
//
// A prompt's rows on the matrix unit (Shape::bf16_prompts): queries, keys and values are rounded to bfloat16, and so are
// the weights that the softmax gives. Sixteen queries of a kv head are a tile; a page of the cache, 64 positions, is
// packed once for all tiles of a block, and each adds what it sees of it:
//
//     scores[4][16 queries][16 positions] = queries * keys
//     top'  = max(top, scores)                        of each query
//     e     = 2^(scores - top'),  f = 2^(top - top')
//     total = f * total + e                           lane by lane, in order of positions
//     out[dims / 16][16 queries][16 dims] = f * out + bf16(e) * values
//
// and out / total at the end (Milakov & Gimelshein 2018; Dao et al. 2022). Queries are multiplied by the scores' scale and
// log2(e) before they are rounded. Pages begin at multiples of 64 positions, so a row's steps, and its bits, are its own,
// wherever prompts are cut and whatever shares its tile: a page that a row does not see changes nothing, 2^0 being one.
#pragma once

#include "codegen/cpu/kernels/attention.h"
#include "codegen/cpu/kernels/bf16.h"

namespace forge::kernels {
namespace {

// Below every score: the maximum of none. Finite, so that its difference to itself is zero.
constexpr float kNoScore = -3e38F;

// What a block of rows holds while it attends.
template <class Shape>
struct PromptBlock {
  static constexpr uint32_t kRows = 64, kQueries = Shape::n_heads / Shape::n_kv_heads,
                            kTiles = kRows * kQueries / kTileRows, kDim = Shape::head_dim,
                            kDepth = (kDim + 31) / 32, kOut = KvLayout<Shape>::kPadDim / 16,
                            kPageTiles = kPage / 16;
  alignas(64) Tile query[kTiles][kDepth];
  WeightTile key[kPageTiles][kDepth], value[kOut][kPage / 32];  // of one page
  SumTile out[kTiles][kOut], total[kTiles];
  float top[kTiles][kTileRows];
  uint32_t first[kTiles * kTileRows], limit[kTiles * kTileRows];  // of positions that a query sees; none: 0
};

// Query i of the block is head i % kQueries of row i / kQueries.
template <class Shape>
FORGE_INLINE void begin_block(PromptBlock<Shape>& b, const Worker& w, uint32_t row, uint32_t n,
                              uint32_t n_tiles, uint32_t head, const Scoring& scoring, const float* q,
                              uint32_t stride) {
  using B = PromptBlock<Shape>;
  // Capped scores get to the base of two behind the cap.
  const float factor = scoring.softcap != 0 ? scoring.scale : scoring.scale * kLog2E;
  for (uint32_t i = 0; i < n_tiles * kTileRows; ++i) {
    Tile* const tiles = b.query[i / kTileRows];
    alignas(64) float x[32 * B::kDepth] = {};
    b.first[i] = b.limit[i] = 0;
    if (i < n * B::kQueries) {
      const uint32_t r = row + i / B::kQueries;
      __builtin_memcpy(x, q + (uint64_t)r * stride + (head * B::kQueries + i % B::kQueries) * B::kDim,
                       B::kDim * sizeof(float));
      b.limit[i] = (uint32_t)w.args.positions[r] + 1;
      if (scoring.window != 0 && b.limit[i] > scoring.window) b.first[i] = b.limit[i] - scoring.window;
    }
    for (uint32_t d = 0; d < B::kDepth; ++d)
      store_bf16(load<f32x16>(x + 32 * d) * factor, load<f32x16>(x + 32 * d + 16) * factor,
                 tiles[d][i % kTileRows]);
    store(b.total[i / kTileRows][i % kTileRows], f32x16{});
    b.top[i / kTileRows][i % kTileRows] = kNoScore;
    for (uint32_t c = 0; c < B::kOut; ++c) store(b.out[i / kTileRows][c][i % kTileRows], f32x16{});
  }
}

template <class Shape>
FORGE_INLINE void pack_keys(PromptBlock<Shape>& b, const uint8_t* keys) {
  using Kv = KvLayout<Shape>;
  using B = PromptBlock<Shape>;
  for (uint32_t t = 0; t < B::kPageTiles; ++t)
    for (uint32_t d = 0; d < 32 * B::kDepth; d += 2) {
      f32x16 scale = {};
      if constexpr (Shape::kv_q8)
        if (d < B::kDim)
          scale = to_f32(load<f16x16>(keys + Kv::kKeyScales + 32 * (t * Kv::kBlocks + d / kKvBlock)));
      const auto at = [&](uint32_t dim) __attribute__((always_inline)) {
        return dim < B::kDim ? load_kv<Shape>(keys, (uint64_t)t * B::kDim + dim, scale) : f32x16{};
      };
      store(b.key[t][d / 32][d % 32 / 2], pair_of_bf16(at(d), at(d + 1)));
    }
}

// The first n positions; those behind them may hold anything and are zero here. Returns whether there is a NaN. without_nans:
// that is zero, too: a query that does not see it must not meet it, not even with a weight of zero.
template <class Shape, bool without_nans>
FORGE_INLINE bool pack_values(PromptBlock<Shape>& b, const uint8_t* values, uint32_t n) {
  constexpr uint32_t kInfinity = 0x7F800000;
  u32x16 most = {};  // of the magnitudes' bits
  const auto at = [&](uint32_t position, uint32_t chunk) __attribute__((always_inline)) {
    const f32x16 v = load_value<Shape>(values, position, chunk);
    const u32x16 magnitude = (u32x16)v & 0x7FFFFFFF;
    most = __builtin_elementwise_max(most, magnitude);
    return without_nans ? (magnitude > kInfinity ? f32x16{} : v) : v;
  };
  for (uint32_t c = 0; c < PromptBlock<Shape>::kOut; ++c) {
    WeightTile* const tiles = b.value[c];
    uint32_t p = 0;
    for (; p + 2 <= n; p += 2) {
      const f32x16 even = at(p, c);
      store(tiles[p / 32][p % 32 / 2], pair_of_bf16(even, at(p + 1, c)));
    }
    if (p < n) {
      store(tiles[p / 32][p % 32 / 2], pair_of_bf16(at(p, c), f32x16{}));
      p += 2;
    }
    for (; p < kPage; p += 2) store(tiles[p / 32][p % 32 / 2], u32x16{});
  }
  return __builtin_reduce_max(most) > kInfinity;
}

// Of a tile's queries with the positions of the page packed.
template <class Shape>
using Scores = SumTile[PromptBlock<Shape>::kPageTiles];

// The products of a tile of queries with the page packed, one at a time.
template <class Shape>
constexpr uint32_t kScoreSteps = PromptBlock<Shape>::kPageTiles * PromptBlock<Shape>::kDepth;
template <class Shape>
constexpr uint32_t kValueSteps = PromptBlock<Shape>::kOut * (kPage / 32);

template <uint32_t p, class Shape>
FORGE_INLINE void score_step(const PromptBlock<Shape>& b, uint32_t tile, Scores<Shape>& scores) {
  using B = PromptBlock<Shape>;
  multiply_tiles_step<p, B::kPageTiles, B::kDepth, false>(b.query[tile], b.key, scores);
}
template <uint32_t p, class Shape>
FORGE_INLINE void value_step(PromptBlock<Shape>& b, uint32_t tile, const Tile* weights) {
  multiply_tiles_step<p, PromptBlock<Shape>::kOut, kPage / 32, true>(weights, b.value, b.out[tile]);
}

// What the scores weigh, to weights, and the sums so far, times what they are worth beside it; p0: the page's first position.
// between<r>() behind row r. all_seen: by each of the queries.
template <bool all_seen, class Shape, class Between>
FORGE_INLINE void weigh_page(PromptBlock<Shape>& b, uint32_t tile, Scores<Shape>& scores, Tile* weights,
                             uint32_t p0, const Scoring& scoring, const Between& between) {
  using B = PromptBlock<Shape>;
  const uint32_t *first = b.first + tile * kTileRows, *limit = b.limit + tile * kTileRows;
  const auto sees = [&](uint32_t r, uint32_t t) __attribute__((always_inline)) {
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                 position = lane + (int32_t)(p0 + 16 * t);
    return (position >= (int32_t)first[r]) & (position < (int32_t)limit[r]);
  };
  if (scoring.softcap != 0)
    for (SumTile& of_positions : scores)
      for (auto& line : of_positions) store(line, softcap(load<f32x16>(line), scoring.softcap) * kLog2E);
  f32x16 tops[kTileRows];
  for (uint32_t r = 0; r < kTileRows; ++r) {
    tops[r] = splat(kNoScore);
    for (uint32_t t = 0; t < B::kPageTiles; ++t) {
      const f32x16 s = load<f32x16>(scores[t][r]);
      tops[r] = max(all_seen ? s : sees(r, t) ? s : splat(kNoScore), tops[r]);
    }
  }
  const f32x16 before = load<f32x16>(b.top[tile]), now = max(reduce_max(tops), before);
  store(b.top[tile], now);
  alignas(64) float top[kTileRows], factor[kTileRows];
  store(top, now);
  store(factor, exp2_of_negative(before - now));
  for_each_index<kTileRows>([&]<uint32_t r>() __attribute__((always_inline)) {
    f32x16 total = load<f32x16>(b.total[tile][r]) * factor[r], e[B::kPageTiles];
    for (uint32_t t = 0; t < B::kPageTiles; ++t) {
      e[t] = exp2_of_negative(load<f32x16>(scores[t][r]) - top[r]);
      if (!all_seen) e[t] = sees(r, t) ? e[t] : f32x16{};
      total += e[t];
    }
    store(b.total[tile][r], total);
    for (uint32_t t = 0; t < B::kPageTiles; t += 2) store_bf16(e[t], e[t + 1], weights[t / 2][r]);
    between.template operator()<r>();
  });
  // Where no maximum has grown all factors are one.
  if (__builtin_reduce_or((i32x16)(now > before)) != 0)
    for (uint32_t c = 0; c < B::kOut; ++c)
      for (uint32_t r = 0; r < kTileRows; ++r)
        store(b.out[tile][c][r], load<f32x16>(b.out[tile][c][r]) * factor[r]);
}

// A NaN among the values that a query sees makes its sum one.
template <class Shape>
[[gnu::noinline, gnu::cold]] static void put_nans(const PromptBlock<Shape>& b, uint32_t i, const KvView& kv,
                                                  uint32_t head, float* out) {
  using Kv = KvLayout<Shape>;
  for (uint32_t p = b.first[i]; p < b.limit[i]; ++p)
    for (uint32_t c = 0; c < PromptBlock<Shape>::kOut; ++c) {
      const f32x16 v = load_value<Shape>(kv.page(p) + Kv::kValues + head * Kv::kValueHead, p % kPage, c);
      for (uint32_t d = 16 * c; d < Shape::head_dim && d < 16 * c + 16; ++d)
        if (v[d % 16] != v[d % 16]) out[d] = __builtin_nanf("");
    }
}

// Rows row .. row + n - 1 of one prompt, at most PromptBlock::kRows, and one kv head.
template <class Shape>
[[gnu::noinline]] static void attend_prompt(const Worker& w, uint32_t row, uint32_t n, uint32_t head,
                                            const KvView& kv, const Scoring& scoring, const float* q,
                                            float* out, uint32_t stride) {
  using Kv = KvLayout<Shape>;
  using B = PromptBlock<Shape>;
  B b;
  const uint32_t n_queries = n * B::kQueries, n_tiles = (n_queries + kTileRows - 1) / kTileRows;
  begin_block(b, w, row, n, n_tiles, head, scoring, q, stride);
  const uint32_t end = b.limit[n_queries - 1];
  bool nan = false;
  configure_bf16_tiles();
  for (uint32_t p0 = b.first[0] / kPage * kPage; p0 < end; p0 += kPage) {
    const uint8_t* page = kv.page(p0);
    pack_keys(b, page + head * Kv::kKeyHead);
    const uint8_t* values = page + Kv::kValues + head * Kv::kValueHead;
    const uint32_t seen = end - p0 < kPage ? end - p0 : kPage;
    if (pack_values<Shape, false>(b, values, seen)) nan = pack_values<Shape, true>(b, values, seen);
    // Tiles that see something of it are neighbours.
    uint32_t t0 = 0, t1 = n_tiles;
    const auto last = [&](uint32_t t) __attribute__((always_inline)) {
      return (t + 1) * kTileRows < n_queries ? (t + 1) * kTileRows - 1 : n_queries - 1;
    };
    while (t0 < t1 && p0 >= b.limit[last(t0)]) ++t0;
    while (t1 > t0 && p0 + kPage <= b.first[(t1 - 1) * kTileRows]) --t1;
    if (t0 == t1) continue;
    // Behind each row that is weighed are products of the tiles before and after: the next one's scores, which it will wait for, then
    // the last one's values.
    constexpr uint32_t kSteps = kScoreSteps<Shape> + kValueSteps<Shape>;
    alignas(64) Scores<Shape> scores[2];
    alignas(64) Tile weights[2][kPage / 32];
    for_each_index<kScoreSteps<Shape>>(
        [&]<uint32_t p>() __attribute__((always_inline)) { score_step<p>(b, t0, scores[t0 % 2]); });
    for (uint32_t t = t0; t < t1; ++t) {
      const auto step = [&]<uint32_t p>() __attribute__((always_inline)) {
        if constexpr (p < kScoreSteps<Shape>) {
          if (t + 1 < t1) score_step<p>(b, t + 1, scores[(t + 1) % 2]);
        } else {
          if (t > t0) value_step<p - kScoreSteps<Shape>>(b, t - 1, weights[(t - 1) % 2]);
        }
      };
      const auto between = [&]<uint32_t r>() __attribute__((always_inline)) {
        constexpr uint32_t from = kSteps * r / kTileRows, to = kSteps * (r + 1) / kTileRows;
        for_each_index<to - from>(
            [&]<uint32_t i>() __attribute__((always_inline)) { step.template operator()<from + i>(); });
      };
      // Limits and firsts ascend; those of a tile's rest are zero.
      const uint32_t *first = b.first + t * kTileRows, *limit = b.limit + t * kTileRows;
      if (limit[kTileRows - 1] != 0 && p0 >= first[kTileRows - 1] && p0 + kPage <= limit[0])
        weigh_page<true>(b, t, scores[t % 2], weights[t % 2], p0, scoring, between);
      else
        weigh_page<false>(b, t, scores[t % 2], weights[t % 2], p0, scoring, between);
    }
    for_each_index<kValueSteps<Shape>>([&]<uint32_t p>() __attribute__((always_inline)) {
      value_step<p>(b, t1 - 1, weights[(t1 - 1) % 2]);
    });
  }
  release_bf16_tiles();
  for (uint32_t i = 0; i < n_queries; ++i) {
    const uint32_t t = i / kTileRows, r = i % kTileRows;
    float* to =
        out + (uint64_t)(row + i / B::kQueries) * stride + (head * B::kQueries + i % B::kQueries) * B::kDim;
    const float inverse = 1.0F / reduce_add(load<f32x16>(b.total[t][r]));
    alignas(64) float y[Kv::kPadDim];
    for (uint32_t c = 0; c < B::kOut; ++c) store(y + 16 * c, load<f32x16>(b.out[t][c][r]) * inverse);
    __builtin_memcpy(to, y, B::kDim * sizeof(float));
    if (nan) put_nans(b, i, kv, head, to);
  }
}

// A worker's rows of prompts, all kv heads.
template <class Shape>
FORGE_INLINE void attention_of_rows(const Worker& w, Range rows, uint64_t page_bytes, uint64_t layer_offset,
                                    const Scoring& scoring, const float* q, float* out, uint32_t stride) {
  const uint32_t* sequence = w.args.row_sequence;
  for (uint32_t r = rows.begin; r < rows.end;) {
    uint32_t n = 1;
    while (n < PromptBlock<Shape>::kRows && r + n < rows.end && sequence[r + n] == sequence[r]) ++n;
    const KvView kv = kv_view(w, r, page_bytes, layer_offset);
    for (uint32_t h = 0; h < Shape::n_kv_heads; ++h)
      attend_prompt<Shape>(w, r, n, h, kv, scoring, q, out, stride);
    r += n;
  }
}

// Blocks of rows of one sequence and class times kv heads, for whoever comes: later rows see more positions.
template <class Shape, uint32_t ctx_max>
FORGE_INLINE void attention_blocks(const Worker& w, uint32_t deal, uint64_t page_bytes, uint64_t layer_offset,
                                   const Scoring& scoring, const float* q, float* out, uint32_t stride,
                                   float* scores) {
  uint32_t item = 0, mine = deal_one(w, deal, ~0U);
  for (uint32_t r = 0; r < w.args.n_rows;) {
    const bool prompt = Shape::bf16_prompts && w.args.row_class[r] == rt::RowClass::prompt;
    const uint32_t most = prompt ? PromptBlock<Shape>::kRows : 16;
    const auto alike = [&](uint32_t other) {
      return w.args.row_sequence[other] == w.args.row_sequence[r] &&
             (!Shape::bf16_prompts || w.args.row_class[other] == w.args.row_class[r]);
    };
    uint32_t n = 1;
    while (n < most && r + n < w.args.n_rows && alike(r + n)) ++n;
    const KvView kv = kv_view(w, r, page_bytes, layer_offset);
    for (uint32_t h = 0; h < Shape::n_kv_heads; ++h, ++item) {
      if (item != mine) continue;
      if (!prompt) attention_rows<Shape, ctx_max, false>(w, r, n, h, kv, scoring, q, out, stride, scores);
      if constexpr (Shape::bf16_prompts)
        if (prompt) attend_prompt<Shape>(w, r, n, h, kv, scoring, q, out, stride);
      mine = deal_one(w, deal, mine);
    }
    r += n;
  }
}

}  // namespace
}  // namespace forge::kernels
