// Rotary positions, the KV cache and attention.
//
// A KV page holds 64 positions of every layer. One layer of a page:
//
//     keys    [kv head][4 tiles of 16 positions][head_dim][16 positions]   float16
//     values  [kv head][64 positions][pad16(head_dim)]                     float16
//
// As q8_0 they lie alike in int8, and behind each head's there are the scales of its blocks of 32 dimensions, float16:
//
//     of keys [4 tiles][blocks][16 positions]    of values [64 positions][blocks]
//
// An element is then int8 times float16, which float32 holds exactly.
//
// Keys lie so that a lane is a position: scores of 16 positions need no sum across lanes. In the weighted sum
// of values a lane is a dimension. Both add in one fixed order (dimensions ascending, positions ascending),
// and the softmax takes its maximum over the whole row first; so a row's bits depend on its sequence alone,
// not on pages, tiles or neighbours.
#pragma once

#include "codegen/cpu/kernels/norm.h"
#include "codegen/cpu/kernels/step.h"

extern "C" double cos(double) noexcept;
extern "C" double sin(double) noexcept;

namespace forge::kernels {
namespace {

constexpr uint32_t kPage = rt::kPagePositions;

constexpr uint32_t kKvBlock = 32;  // dimensions that share a scale in q8_0

// Shape: { n_heads, n_kv_heads, head_dim, neox, kv_q8: whether the cache holds q8_0, not float16,
//          bf16_prompts: whether a prompt's rows attend in bf16 }
template <class Shape>
struct KvLayout {
  static constexpr uint32_t kPadDim = pad16(Shape::head_dim), kElementBytes = Shape::kv_q8 ? 1 : 2;
  static constexpr uint32_t kBlocks = (Shape::head_dim + kKvBlock - 1) / kKvBlock;
  static constexpr uint64_t kScaleBytes = Shape::kv_q8 ? kPage * kBlocks * 2 : 0;
  static constexpr uint64_t kKeyScales = (uint64_t)kPage * Shape::head_dim * kElementBytes,
                            kKeyHead = kKeyScales + kScaleBytes;
  static constexpr uint64_t kValueScales = (uint64_t)kPage * kPadDim * kElementBytes,
                            kValueHead = kValueScales + kScaleBytes;
  static constexpr uint64_t kValues = Shape::n_kv_heads * kKeyHead;
  static constexpr uint64_t kLayerBytes = kValues + Shape::n_kv_heads * kValueHead;
};

// Sixteen elements of a head's keys or values, the number `index` of them, as float32. scale: of q8_0.
template <class Shape>
FORGE_INLINE f32x16 load_kv(const uint8_t* head, uint64_t index, f32x16 scale) {
  if constexpr (Shape::kv_q8)
    return to_f32(load<i8x16>(head + 16 * index)) * scale;
  else
    return to_f32(load<f16x16>(head + 32 * index));
}

// Sixteen dimensions of a position of a page, from 16 * chunk on.
template <class Shape>
FORGE_INLINE f32x16 load_value(const uint8_t* values, uint32_t position, uint32_t chunk) {
  using Kv = KvLayout<Shape>;
  f32x16 scale = {};
  if constexpr (Shape::kv_q8)
    scale = splat(
        load_one<F16>(values + Kv::kValueScales + 2 * (position * Kv::kBlocks + 16 * chunk / kKvBlock)));
  return load_kv<Shape>(values, (uint64_t)position * Kv::kPadDim / 16 + chunk, scale);
}

// Where position p of a row's sequence lies.
struct KvView {
  uint8_t* pool;
  const uint32_t* pages;
  uint64_t page_bytes, layer_offset;

  inline __attribute__((always_inline)) uint8_t* page(uint32_t position) const {
    return pool + pages[position / kPage] * page_bytes + layer_offset;
  }
};
FORGE_INLINE KvView kv_view(const Worker& w, uint32_t row, uint64_t page_bytes, uint64_t layer_offset) {
  return {w.args.kv_pool, w.args.page_tables[w.args.row_sequence[row]], page_bytes, layer_offset};
}

// The heads of a row with n_heads (queries or keys) that belong to a worker's share of the kv heads.
template <class Shape>
FORGE_INLINE Range split_heads(const Worker& w, uint32_t n_heads) {
  const Range kv = split(w, Shape::n_kv_heads);
  const uint32_t ratio = n_heads / Shape::n_kv_heads;
  return {kv.begin * ratio, kv.end * ratio};
}

// Cosine and sine of position * frequency[i] times magnitude for each row: table[row][i], table[row][n + i], rows
// `stride` floats apart.
FORGE_INLINE void rope_angles(const Worker& w, Range rows, const double* frequency, uint32_t n,
                              float magnitude, float* table, uint32_t stride) {
  for (uint32_t r = rows.begin; r < rows.end; ++r) {
    for (uint32_t i = 0; i < n; ++i) {
      const double angle = w.args.positions[r] * frequency[i];
      table[(uint64_t)r * stride + i] = (float)cos(angle) * magnitude;
      table[(uint64_t)r * stride + n + i] = (float)sin(angle) * magnitude;
    }
  }
}

// Rotates pairs of the first n_rot dimensions: (x, y) -> (x cos - y sin, x sin + y cos); copies the rest.
template <class Shape, uint32_t n_rot>
FORGE_INLINE void rotate(const float* x, const float* angles, float* out) {
  constexpr uint32_t half = n_rot / 2;
  for (uint32_t i = 0; i < half; ++i) {
    const uint32_t a = Shape::neox ? i : 2 * i, b = Shape::neox ? i + half : 2 * i + 1;
    const float c = angles[i], s = angles[half + i], xa = x[a], xb = x[b];
    out[a] = __builtin_fmaf(xa, c, -(xb * s));
    out[b] = __builtin_fmaf(xa, s, xb * c);
  }
  for (uint32_t i = n_rot; i < Shape::head_dim; ++i) out[i] = x[i];
}

// Keys and values beyond float16's range are held at its ends: an infinity would make 0 * infinity out of a weight.
FORGE_INLINE _Float16 to_cache(float x) {
  constexpr float kMax = 65504.0F;
  return (_Float16)(x > kMax ? kMax : x < -kMax ? -kMax : x);
}

// One head of a position to the cache, element d at to[d * stride]: rounded to float16, or to q8_0 by blocks, whose scales
// go to scales[block * scale_stride].
template <class Shape>
FORGE_INLINE void write_kv(const float* x, uint8_t* to, uint32_t stride, uint8_t* scales,
                           uint32_t scale_stride) {
  constexpr uint32_t dim = Shape::head_dim;
  if constexpr (!Shape::kv_q8) {
    for (uint32_t d = 0; d < dim; ++d) ((_Float16*)to)[d * stride] = to_cache(x[d]);
  } else {
    for (uint32_t block = 0; block * kKvBlock < dim; ++block) {
      const uint32_t begin = block * kKvBlock, end = dim - begin < kKvBlock ? dim : begin + kKvBlock;
      float top = 0;
      bool is_nan = false;
      for (uint32_t d = begin; d < end; ++d) {
        const float a = __builtin_fabsf(x[d]);
        top = a > top ? a : top;
        is_nan |= a != a;
      }
      // A NaN makes the whole block one: int8 has none.
      const _Float16 scale = is_nan ? (_Float16)__builtin_nanf("") : to_cache(top / 127.0F);
      const float inverse = (float)scale > 0 ? 1.0F / (float)scale : 0.0F;
      ((_Float16*)scales)[block * scale_stride] = scale;
      for (uint32_t d = begin; d < end; ++d) {
        const float q = inverse == 0 ? 0.0F : __builtin_roundevenf(x[d] * inverse);
        ((int8_t*)to)[d * stride] = (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
      }
    }
  }
}

// Rotates the queries and keys of the given rows and kv heads (each with its queries) and writes keys and
// values to the cache.
template <class Shape, uint32_t n_rot>
FORGE_INLINE void rope_kv(const Worker& w, Range rows, Range heads, uint64_t page_bytes,
                          uint64_t layer_offset, const float* angles, uint32_t angle_stride, const float* q,
                          const float* k, const float* v, uint32_t q_stride, uint32_t kv_stride,
                          float* q_out) {
  using Kv = KvLayout<Shape>;
  constexpr uint32_t dim = Shape::head_dim, n_queries = Shape::n_heads / Shape::n_kv_heads;
  for (uint32_t r = rows.begin; r < rows.end; ++r) {
    const uint32_t p = (uint32_t)w.args.positions[r], in_page = p % kPage;
    const float* row_angles = angles + (uint64_t)r * angle_stride;
    uint8_t* page = kv_view(w, r, page_bytes, layer_offset).page(p);
    for (uint32_t h = heads.begin; h < heads.end; ++h) {
      for (uint32_t i = h * n_queries; i < (h + 1) * n_queries; ++i)
        rotate<Shape, n_rot>(q + (uint64_t)r * q_stride + i * dim, row_angles,
                             q_out + (uint64_t)r * q_stride + i * dim);
      float key[dim];
      rotate<Shape, n_rot>(k + (uint64_t)r * kv_stride + h * dim, row_angles, key);
      uint8_t *keys = page + h * Kv::kKeyHead, *values = page + Kv::kValues + h * Kv::kValueHead;
      const uint32_t tile = in_page / 16, lane = in_page % 16;
      write_kv<Shape>(key, keys + ((uint64_t)tile * dim * 16 + lane) * Kv::kElementBytes, 16,
                      keys + Kv::kKeyScales + (tile * Kv::kBlocks * 16 + lane) * 2, 16);
      uint8_t* row = values + (uint64_t)in_page * Kv::kPadDim * Kv::kElementBytes;
      write_kv<Shape>(v + (uint64_t)r * kv_stride + h * dim, row, 1,
                      values + Kv::kValueScales + in_page * Kv::kBlocks * 2, 1);
      __builtin_memset(row + dim * Kv::kElementBytes, 0, (Kv::kPadDim - dim) * Kv::kElementBytes);
    }
  }
}

// The same, divided among the workers: the keys of sixteen positions share lines, which had better not go to and fro between
// two. Where there is too little of that, each gets some rows.
template <class Shape, uint32_t n_rot>
FORGE_INLINE void rope_kv_tiles(const Worker& w, uint64_t page_bytes, uint64_t layer_offset,
                                const float* angles, uint32_t angle_stride, const float* q, const float* k,
                                const float* v, uint32_t q_stride, uint32_t kv_stride, float* q_out) {
  constexpr uint32_t kRows = 16, n_heads = Shape::n_kv_heads;
  const uint32_t n_items = (w.args.n_rows + kRows - 1) / kRows * n_heads;
  if (n_items < w.args.n_workers) {
    rope_kv<Shape, n_rot>(w, split(w, w.args.n_rows), {0, n_heads}, page_bytes, layer_offset, angles,
                          angle_stride, q, k, v, q_stride, kv_stride, q_out);
    return;
  }
  const Range mine = split(w, n_items);
  for (uint32_t i = mine.begin; i < mine.end; ++i) {
    const uint32_t row = i / n_heads * kRows, head = i % n_heads,
                   end = w.args.n_rows - row < kRows ? w.args.n_rows : row + kRows;
    rope_kv<Shape, n_rot>(w, {row, end}, {head, head + 1}, page_bytes, layer_offset, angles, angle_stride, q,
                          k, v, q_stride, kv_stride, q_out);
  }
}

// Queries that share a pass over keys and values; and tiles of 16 positions (of scores) or 16 dimensions (of weighted
// values) that share a pass over R queries: as many independent sums as the registers hold.
constexpr uint32_t kQueryBlock = 4;
#if defined(__AVX512F__)
template <int R>
constexpr uint32_t kTiles = 4;
#else
template <int R>
constexpr uint32_t kTiles = kQueryBlock / R;
#endif

constexpr uint32_t pad_ctx(uint32_t ctx) { return (ctx + kPage - 1) / kPage * kPage; }
// Floats of scratch that attention needs.
template <uint32_t ctx_max>
constexpr uint64_t kScoreFloats = (uint64_t)kQueryBlock * pad_ctx(ctx_max);

// How scores become weights: times scale, capped where softcap is not 0; where window is not 0, a query at position p sees
// the `window` positions up to p.
struct Scoring {
  float scale;
  float softcap = 0;
  uint32_t window = 0;
};

// R queries of one kv head and one sequence; query i sees positions first[i] up to limit[i] - 1. Both are ascending.
template <int R>
struct Queries {
  const float* query[R];
  float* out[R];
  uint32_t first[R], limit[R];

  // Tiles in front of the first query's window are skipped: all they would add is zeros.
  static constexpr uint32_t kStep = 16 * kTiles<R>;
  inline __attribute__((always_inline)) uint32_t begin() const { return first[0] / kStep * kStep; }
  inline __attribute__((always_inline)) uint32_t end() const { return limit[R - 1]; }
  inline __attribute__((always_inline)) i32x16 sees(int r, uint32_t p) const {
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, position = lane + (int32_t)p;
    return (position >= (int32_t)first[r]) & (position < (int32_t)limit[r]);
  }
};

// Scores of the positions [begin, end), which begins at a multiple of Queries::kStep, to scores[r * stride + position].
// from_memory, here and below: rows are few, so what comes next, and what comes behind that, is asked for; it may lie in
// another page.
template <class Shape, bool from_memory, int R>
FORGE_INLINE void score(const KvView& kv, uint32_t head, const Queries<R>& q, const Scoring& scoring,
                        uint32_t begin, uint32_t end, float* scores, uint64_t stride) {
  using Kv = KvLayout<Shape>;
  constexpr uint32_t dim = Shape::head_dim, n_tiles = kTiles<R>;
  static_assert(kPage % (16 * n_tiles) == 0);
  for (uint32_t p0 = begin; p0 < end; p0 += 16 * n_tiles) {
    const uint8_t* keys = kv.page(p0) + head * Kv::kKeyHead;
    const uint32_t tile = p0 % kPage / 16;
    const auto keys_from = [&](uint32_t p) __attribute__((always_inline)) {
      if (!from_memory || p >= end) return keys;
      return (const uint8_t*)kv.page(p) + head * Kv::kKeyHead +
             (uint64_t)(p % kPage) * dim * Kv::kElementBytes;
    };
    const uint8_t *next = keys_from(p0 + 16 * n_tiles), *far = keys_from(p0 + 2 * kPage);
    f32x16 acc[R][n_tiles] = {};
    for (uint32_t d0 = 0; d0 < dim; d0 += kKvBlock) {
      f32x16 scale[n_tiles] = {};
      if constexpr (Shape::kv_q8)
        for (uint32_t t = 0; t < n_tiles; ++t)
          scale[t] =
              to_f32(load<f16x16>(keys + Kv::kKeyScales + 32 * ((tile + t) * Kv::kBlocks + d0 / kKvBlock)));
      const uint32_t d1 = dim - d0 < kKvBlock ? dim : d0 + kKvBlock;
      for (uint32_t d = d0; d < d1; ++d) {
        if (from_memory && d % (4 / Kv::kElementBytes) == 0)  // a line
          for (uint32_t t = 0; t < n_tiles; ++t) {
            const uint64_t at = (uint64_t)16 * (t * dim + d) * Kv::kElementBytes;
            prefetch_near_and_far(next + at, far + at);
          }
        for (uint32_t t = 0; t < n_tiles; ++t) {
          const f32x16 k = load_kv<Shape>(keys, (uint64_t)(tile + t) * dim + d, scale[t]);
          for (int r = 0; r < R; ++r) acc[r][t] = fma(splat(q.query[r][d]), k, acc[r][t]);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (uint32_t t = 0; t < n_tiles; ++t) {
        // Lanes at or behind the limit may hold anything (a page is not cleared): they are replaced, not multiplied
        // away.
        const uint32_t p = p0 + 16 * t;
        f32x16 s = acc[r][t] * scoring.scale;
        if (scoring.softcap != 0) s = softcap(s, scoring.softcap);
        store(scores + r * stride + p, q.sees(r, p) ? s : splat(-__builtin_inff()));
      }
    }
  }
}

// Scores to weights, which may be the same memory, and one over their sum.
template <int R>
FORGE_INLINE void softmax(const Queries<R>& q, const float* scores, uint64_t stride, float* weights,
                          uint64_t weight_stride, float (&inv)[R]) {
  for (int r = 0; r < R; ++r) {
    const float* s = scores + r * stride;
    f32x16 top = splat(-__builtin_inff()), sum = {};
    for (uint32_t p = q.begin(); p < q.end(); p += 16) top = max(load<f32x16>(s + p), top);
    const float m = reduce_max(top);
    for (uint32_t p = q.begin(); p < q.end(); p += 16) {
      const f32x16 e = q.sees(r, p) ? exp(load<f32x16>(s + p) - m) : f32x16{};
      store(weights + r * weight_stride + p, e);
      sum += e;
    }
    inv[r] = 1.0F / reduce_add(sum);
  }
}

// Weighted sums of the `chunk` dimensions from d0, which the registers hold.
template <class Shape, uint32_t chunk, bool from_memory, int R>
FORGE_INLINE void weigh(const KvView& kv, uint32_t head, const Queries<R>& q, const float* weights,
                        uint64_t stride, const float (&inv)[R], uint32_t d0) {
  using Kv = KvLayout<Shape>;
  constexpr uint32_t dim = Shape::head_dim;
  f32x16 acc[R][chunk / 16] = {};
  const uint32_t n = Kv::kPadDim - d0 < chunk ? (Kv::kPadDim - d0) / 16 : chunk / 16, end = q.end();
  for (uint32_t p0 = q.begin() / kPage * kPage; p0 < end; p0 += kPage) {
    const uint8_t* values = kv.page(p0) + Kv::kValues + head * Kv::kValueHead;
    const auto values_from = [&](uint32_t p) __attribute__((always_inline)) {
      if (!from_memory || p >= end) return values;
      return (const uint8_t*)kv.page(p) + Kv::kValues + head * Kv::kValueHead;
    };
    const uint8_t *next = values_from(p0 + kPage), *far = values_from(p0 + 2 * kPage);
    const uint32_t p1 = p0 + kPage < end ? p0 + kPage : end;
    // Positions that all queries see, and around them the few that only the earlier or the later ones do: the others
    // must not meet those, not even with a weight of zero, or a NaN there would be in their sums or not depending on
    // how rows were batched.
    const uint32_t shared = p1 < q.limit[0] ? p1 : q.limit[0];
    uint32_t p = p0 < q.first[0] ? q.first[0] : p0;
    const auto add = [&](bool all_see) __attribute__((always_inline)) {
      if (from_memory)
        for (uint32_t line = 0; line < chunk * Kv::kElementBytes; line += 64) {
          const uint64_t at = ((uint64_t)(p - p0) * Kv::kPadDim + d0) * Kv::kElementBytes + line;
          prefetch_near_and_far(next + at, far + at);
        }
      for (uint32_t i = 0; i < chunk / 16; ++i) {
        if (Kv::kPadDim % chunk != 0 && i >= n) break;
        const f32x16 v = load_value<Shape>(values, p - p0, d0 / 16 + i);
        for (int r = 0; r < R; ++r)
          if (all_see || (p >= q.first[r] && p < q.limit[r]))
            acc[r][i] = fma(splat(weights[r * stride + p]), v, acc[r][i]);
      }
    };
    for (; p < p1 && p < q.first[R - 1]; ++p) add(false);
    for (; p < shared; ++p) add(true);
    for (; p < p1; ++p) add(false);
  }
  for (int r = 0; r < R; ++r)
    for (uint32_t i = 0; i < n; ++i) {
      const f32x16 v = acc[r][i] * inv[r];
      const uint32_t at = d0 + 16 * i, left = dim - at < 16 ? dim - at : 16;
      if (left == 16)
        store(q.out[r] + at, v);
      else
        for (uint32_t j = 0; j < left; ++j) q.out[r][at + j] = v[j];
    }
}

template <class Shape, uint32_t ctx_max, bool from_memory, int R>
[[gnu::noinline]] static void attend(const KvView& kv, uint32_t head, const Queries<R>& q,
                                     const Scoring& scoring, float* scores) {
  constexpr uint64_t stride = pad_ctx(ctx_max);
  constexpr uint32_t pad_dim = KvLayout<Shape>::kPadDim,
                     chunk = pad_dim < 16 * kTiles<R> ? pad_dim : 16 * kTiles<R>;
  score<Shape, from_memory>(kv, head, q, scoring, q.begin(), q.end(), scores, stride);
  float inv[R];
  softmax(q, scores, stride, scores, stride, inv);
  for (uint32_t d0 = 0; d0 < pad_dim; d0 += chunk)
    weigh<Shape, chunk, from_memory>(kv, head, q, scores, stride, inv, d0);
}

// The queries of rows row .. row + n_rows - 1 (one sequence) for one kv head, in blocks: calls visit(queries, n), of which
// the first is number n of that head.
template <class Shape, class Visit>
FORGE_INLINE void for_query_blocks(const Worker& w, uint32_t row, uint32_t n_rows, uint32_t head,
                                   const Scoring& scoring, const float* q, float* out, uint32_t stride,
                                   Visit visit) {
  constexpr uint32_t n_queries = Shape::n_heads / Shape::n_kv_heads;
  const uint32_t total = n_rows * n_queries;
  const auto block = [&]<int R>(uint32_t done) __attribute__((always_inline)) {
    Queries<R> of;
    for (uint32_t i = 0; i < R; ++i) {
      const uint32_t r = row + (done + i) / n_queries, h = head * n_queries + (done + i) % n_queries;
      of.query[i] = q + (uint64_t)r * stride + h * Shape::head_dim;
      of.out[i] = out + (uint64_t)r * stride + h * Shape::head_dim;
      of.limit[i] = (uint32_t)w.args.positions[r] + 1;
      of.first[i] = scoring.window != 0 && of.limit[i] > scoring.window ? of.limit[i] - scoring.window : 0;
    }
    visit(of, done);
  };
  uint32_t done = 0;
  for (; total - done >= kQueryBlock; done += kQueryBlock) block.template operator()<kQueryBlock>(done);
  if (total - done == 3) block.template operator()<3>(done);
  if (total - done == 2) block.template operator()<2>(done);
  if (total - done == 1) block.template operator()<1>(done);
}

template <class Shape, uint32_t ctx_max, bool from_memory>
FORGE_INLINE void attention_rows(const Worker& w, uint32_t row, uint32_t n_rows, uint32_t head,
                                 const KvView& kv, const Scoring& scoring, const float* q, float* out,
                                 uint32_t stride, float* scores) {
  for_query_blocks<Shape>(w, row, n_rows, head, scoring, q, out, stride,
                          [&](const auto& queries, uint32_t) __attribute__((always_inline)) {
                            attend<Shape, ctx_max, from_memory>(kv, head, queries, scoring, scores);
                          });
}

// All rows, the given kv heads: what one worker does when rows are few.
template <class Shape, uint32_t ctx_max>
FORGE_INLINE void attention_heads(const Worker& w, Range heads, uint64_t page_bytes, uint64_t layer_offset,
                                  const Scoring& scoring, const float* q, float* out, uint32_t stride,
                                  float* scores) {
  for (uint32_t r = 0; r < w.args.n_rows; ++r)
    for (uint32_t h = heads.begin; h < heads.end; ++h)
      attention_rows<Shape, ctx_max, true>(w, r, 1, h, kv_view(w, r, page_bytes, layer_offset), scoring, q,
                                           out, stride, scores);
}

// Whether few rows share the kv heads' positions and dimensions among the workers, which then must wait for each other:
// where the heads can't be dealt out evenly, and from a depth on at which that takes longer than waiting.
template <class Shape>
FORGE_INLINE bool is_deep(const Worker& w) {
  constexpr int32_t kDepth = 512;
  if (Shape::n_kv_heads % w.args.n_workers == 0) return false;
  for (uint32_t r = 0; r < w.args.n_rows; ++r)
    if (w.args.positions[r] >= kDepth) return true;
  return false;
}

// Scores of all rows for attention_values: [row][head][pad_ctx(ctx_max)]. A worker has its share of all pages of all kv
// heads.
template <class Shape, uint32_t ctx_max>
FORGE_INLINE void attention_scores(const Worker& w, uint64_t page_bytes, uint64_t layer_offset,
                                   const Scoring& scoring, const float* q, float* out, uint32_t stride,
                                   float* scores) {
  constexpr uint64_t row_scores = pad_ctx(ctx_max);
  const auto pages = [&](uint32_t r)
                         __attribute__((always_inline)) { return (uint32_t)w.args.positions[r] / kPage + 1; };
  uint32_t total = 0, at = 0;
  for (uint32_t r = 0; r < w.args.n_rows; ++r) total += pages(r) * Shape::n_kv_heads;
  const Range mine = split(w, total);
  for (uint32_t r = 0; r < w.args.n_rows; ++r)
    for (uint32_t h = 0; h < Shape::n_kv_heads; ++h, at += pages(r)) {
      if (at >= mine.end || at + pages(r) <= mine.begin) continue;
      const uint32_t first = mine.begin > at ? (mine.begin - at) * kPage : 0,
                     last = (mine.end - at < pages(r) ? mine.end - at : pages(r)) * kPage;
      for_query_blocks<Shape>(w, r, 1, h, scoring, q, out, stride,
                              [&](const auto& queries, uint32_t n) __attribute__((always_inline)) {
                                const uint32_t head = h * (Shape::n_heads / Shape::n_kv_heads) + n;
                                score<Shape, true>(
                                    kv_view(w, r, page_bytes, layer_offset), h, queries, scoring,
                                    first > queries.begin() ? first : queries.begin(),
                                    last < queries.end() ? last : queries.end(),
                                    scores + ((uint64_t)r * Shape::n_heads + head) * row_scores, row_scores);
                              });
    }
}

// What the scores weigh. A worker has its share of all chunks of dimensions of all kv heads, and makes the weights for
// itself.
template <class Shape, uint32_t ctx_max>
FORGE_INLINE void attention_values(const Worker& w, uint64_t page_bytes, uint64_t layer_offset,
                                   const Scoring& scoring, const float* q, float* out, uint32_t stride,
                                   const float* scores, float* weights) {
  constexpr uint64_t row_scores = pad_ctx(ctx_max);
  constexpr uint32_t pad_dim = KvLayout<Shape>::kPadDim, chunk = pad_dim < 32 ? pad_dim : 32,
                     chunks = (pad_dim + chunk - 1) / chunk;
  // A pair of chunks that one worker has is one pass, where there are registers for it: of float16 a chunk is a line, and the other
  // one's, its neighbour, comes with it.
  constexpr bool kPairs = 2 * chunk <= 16 * kTiles<kQueryBlock>;
  const Range mine = split(w, w.args.n_rows * Shape::n_kv_heads * chunks);
  for (uint32_t i = mine.begin; i < mine.end;) {
    const uint32_t r = i / chunks / Shape::n_kv_heads, h = i / chunks % Shape::n_kv_heads;
    const uint32_t next = (i / chunks + 1) * chunks, end = next < mine.end ? next : mine.end;
    for_query_blocks<Shape>(
        w, r, 1, h, scoring, q, out, stride,
        [&]<int R>(const Queries<R>& queries, uint32_t n) __attribute__((always_inline)) {
          const uint32_t head = h * (Shape::n_heads / Shape::n_kv_heads) + n;
          float inv[R];
          softmax(queries, scores + ((uint64_t)r * Shape::n_heads + head) * row_scores, row_scores, weights,
                  row_scores, inv);
          const KvView kv = kv_view(w, r, page_bytes, layer_offset);
          const auto weigh_from = [&]<uint32_t n_chunks>(uint32_t c) __attribute__((always_inline)) {
            weigh<Shape, chunk * n_chunks, true>(kv, h, queries, weights, row_scores, inv,
                                                 c % chunks * chunk);
            return n_chunks;
          };
          for (uint32_t c = i; c < end;) {
            const bool is_pair = kPairs && c % chunks % 2 == 0 && end - c > 1;
            c += is_pair ? weigh_from.template operator()<kPairs ? 2 : 1>(c)
                         : weigh_from.template operator()<1>(c);
          }
        });
    i = end;
  }
}

}  // namespace
}  // namespace forge::kernels
