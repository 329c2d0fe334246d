// linear: out[row][n] = sum over k of W[n][k] * x[row][k], for groups of 16 outputs.
//
// One inner loop for every type, level and number of rows. A lane is an output; it adds its products in order
// of k, block after block: facc = fma(float(integer dot of the block), scale_w * scale_x, facc). So a row's
// bits depend neither on the rows beside it nor on how groups are spread over workers.
#pragma once

#include "codegen/cpu/kernels/amx.h"
#include "codegen/cpu/kernels/bf16.h"
#include "codegen/cpu/kernels/bf16_weights.h"
#include "codegen/cpu/kernels/norm.h"
#include "codegen/cpu/kernels/prompt_tiles.h"
#include "codegen/cpu/kernels/step.h"
#include "codegen/cpu/kernels/weights.h"

namespace forge::kernels {
namespace {

// Whose rows an activation has: with `prompts`, the many of a worker's share, no code is made for generated ones and for few.
enum class RowsOf { any, prompts };

// The activation in the forms that its consumers take; row m is q8[m] and f32 + m * stride. with_bf16: prompt rows have
// only that form; all weights are then of block types.
template <uint32_t K, bool with_bf16 = false, RowsOf = RowsOf::any>
struct Activation {
  const void* q8 = nullptr;
  const float* f32 = nullptr;
  uint32_t stride = 0;  // floats
  const Bf16Rows<K>* bf16 = nullptr;
  const rt::RowClass* classes = nullptr;
};

template <IsFloat F, uint32_t K, int M>
FORGE_INLINE void sums(const uint8_t* group, const auto& x, uint32_t row, f32x16 (&acc)[M]) {
  constexpr uint32_t kBytes = 16 * sizeof(typename F::Element), kLine = 64;
  for (uint32_t k = 0; k < K; ++k) {
    const uint8_t* at = group + kBytes * k;
    const f32x16 w = load_as_f32<F>(at);
    if constexpr (M == 1)
      if (k % (kLine / kBytes) == 0) prefetch_ahead<F, K>(at);
    for (int m = 0; m < M; ++m) acc[m] = fma(w, splat(x.f32[(uint64_t)(row + m) * x.stride + k]), acc[m]);
  }
}

template <class F, uint32_t K, int M>
  requires(!IsFloat<F>)
FORGE_INLINE void sums(const uint8_t* group, const auto& x, uint32_t row, f32x16 (&acc)[M]) {
  constexpr bool offset = is_wide(F::kTop) ? kWideNeedsOffset : F::kZeroShift >= 0;
  constexpr int R = M < kRowsTogether ? M : kRowsTogether;
  constexpr bool pairs = in_pairs(M);
  // Sums of more rows lie in memory anyway.
  constexpr int kUnroll = M > kRegisterRows ? 1 : M;
  constexpr uint32_t kSubs = F::kBlock / 32;
  constexpr int kRuns = F::kHalves ? 2 : 1, kRunTiles = 8 / kRuns;  // of one scale
  const Q8Row<K>* rows = (const Q8Row<K>*)x.q8 + row;
  const uint8_t* s = group;
  const uint8_t* q = group + kScaleStreamBytes<F, K>;
  for (uint32_t block = 0; block < K / F::kBlock; ++block, s += F::kScaleBytes, q += F::kCodeBytes) {
    for (uint32_t sub = 0; sub < kSubs; ++sub) {
      const uint32_t b = block * kSubs + sub;  // of the activation
      // Where rows are few the weights come from memory; eight may be all of a batch, as they are a prompt's block.
      if constexpr (M <= 8) prefetch_ahead<F, K>(s, q, sub);
      u8x64 space[8];
      const auto tiles = factors<F::kTop, M>(F::tiles(q, sub, space));
      const Scales w = F::scales(s, sub);
#pragma clang loop unroll_count(kUnroll)
      for (int m = 0; m < M; m += R) {
        const Q8Row<K>* a = rows + m;
        for (int h = 0; h < kRuns; ++h) {
          const auto negative_sum = [&](int r) __attribute__((always_inline)) {
            return F::kHalves ? a[r].nhalf[h][b] : a[r].nsum[b];
          };
          const auto scale = [&](int r) __attribute__((always_inline)) { return a[r].d[b]; };
          const auto scaled_sum = [&](int r) __attribute__((always_inline)) {
            return F::kHalves ? a[r].d[b] * (float)-negative_sum(r) : a[r].dsum[b];
          };
          i32x16 sum[R] = {};
          const int8_t* q8[R];
          for (int r = 0; r < R; ++r) {
            if constexpr (offset) sum[r] = of_rows<pairs>(r, negative_sum) << F::kZeroShift;
            q8[r] = a[r].q + 32 * b + 4 * kRunTiles * h;
          }
          dots<kRunTiles>(sum, tiles, kRunTiles * h, q8);
          for (int r = 0; r < R; ++r) {
            acc[m + r] =
                fma(to_f32(sum[r]), of_outputs<pairs>(r, w.half[h]) * of_rows<pairs>(r, scale), acc[m + r]);
            if constexpr (F::kMinimum)
              acc[m + r] = fma(of_outputs<pairs>(r, w.minimum[h]), of_rows<pairs>(r, scaled_sum), acc[m + r]);
          }
        }
      }
    }
  }
  if constexpr (pairs) unpair(acc);
}

// A function of its own: one copy for all the places that use the same type, width and number of rows.
template <class F, uint32_t K, int M>
[[gnu::noinline]] static void sums_of_rows(const uint8_t* group, const auto& x, uint32_t row, float* out) {
  f32x16 acc[M] = {};
  sums<F, K, M>(group, x, row, acc);
  for (int m = 0; m < M; ++m) store(out + 16 * m, acc[m]);
}

// Sums of rows row .. row + n - 1 of one group to out[n][16] by the vector unit: M at a time, then fewer.
template <class F, uint32_t K, int M = IsFloat<F> ? kRegisterRows : kRowBlock>
FORGE_INLINE void vector_sums(const uint8_t* group, const auto& x, uint32_t row, uint32_t n, float* out) {
  for (; n >= M; n -= M, row += M, out += 16 * M) sums_of_rows<F, K, M>(group, x, row, out);
  if constexpr (M > 1) vector_sums<F, K, (M > 4 ? M / 2 : 1)>(group, x, row, n, out);
}

#if defined(__AMX_INT8__)
template <class F, uint32_t K>
FORGE_INLINE void group_sums(const uint8_t* group, const auto& x, uint32_t row, uint32_t n, float* out) {
  if constexpr (!IsFloat<F>) {
    if (n >= kTileRows) {
      Panel<F, K> panel;
      fill(panel, group);
      configure_tiles<F::kHalves ? 16 : 32>();
      for (; n >= kTileRows; n -= kTileRows, row += kTileRows, out += 16 * kTileRows)
        tile_sums(panel, (const Q8Row<K>*)x.q8 + row, out);
      _tile_release();
    }
  }
  vector_sums<F, K>(group, x, row, n, out);
}

// A panel serves as many rows as half of the second cache holds.
template <uint32_t K>
constexpr uint32_t kPassRows = [] {
  constexpr uint32_t row_bytes = 13 * K / 8, fit = (1 << 20) / row_bytes / kTileRows * kTileRows;
  return fit > 512 ? 512 : fit < kTileRows ? kTileRows : fit;
}();
template <uint32_t K>
constexpr uint32_t kGroupBlock = ~0u;
#else
template <class F, uint32_t K>
FORGE_INLINE void group_sums(const uint8_t* group, const auto& x, uint32_t row, uint32_t n, float* out) {
  vector_sums<F, K>(group, x, row, n, out);
}

template <uint32_t K>
constexpr uint32_t kPassRows = kRowBlock;

// Groups that share a pass over the rows, so that activations come from the nearest cache more often.
template <uint32_t K>
constexpr uint32_t kGroupBlock = 4;
#endif

// Calls tile(group, row, n) for all groups of the range and the given rows in blocks of kPassRows.
template <uint32_t K, class Tile>
FORGE_INLINE void for_tiles(Range groups, Range rows, Tile tile) {
  for (uint32_t g0 = groups.begin; g0 < groups.end;) {
    const uint32_t g1 = groups.end - g0 > kGroupBlock<K> ? g0 + kGroupBlock<K> : groups.end;
    for (uint32_t row = rows.begin; row < rows.end; row += kPassRows<K>) {
      const uint32_t n = rows.end - row < kPassRows<K> ? rows.end - row : kPassRows<K>;
      for (uint32_t g = g0; g < g1; ++g) tile(g, row, n);
    }
    g0 = g1;
  }
}

// Where a linear writes: row m, output n at out[m * stride + n]. Strides are multiples of 16, buffers padded.
struct Output {
  float* out;
  uint32_t stride;
};

struct AsItIs {
  inline __attribute__((always_inline)) f32x16 operator()(f32x16 v) const { return v; }
};

// With prompts' rows, `rows` begins with a tile of them.
//
// map(sum + bias) + addend. bias: null or pad16(n) values of type Bias; addend: null or laid out as out; map: of zero
// gives zero, so that the padding stays zero.
template <class F, uint32_t K, class Bias = F32, class Map = AsItIs, bool with_bf16, RowsOf of>
FORGE_INLINE void linear(Range groups, Range rows, const uint8_t* weight,
                         const Activation<K, with_bf16, of>& x, Output to, const uint8_t* bias = nullptr,
                         const float* addend = nullptr, Map map = {}) {
  // Closures that wait beside the products hold copies: what they refer to would be read again behind each store.
  const auto finish = [=](uint32_t g, uint32_t row, uint32_t n, const float(*sums)[16])
                          __attribute__((always_inline)) {
                            for (uint32_t m = 0; m < n; ++m) {
                              const uint64_t at = (uint64_t)(row + m) * to.stride + 16 * g;
                              f32x16 v = load<f32x16>(sums[m]);
                              if (bias != nullptr)
                                v += load_as_f32<Bias>(bias + 16 * g * sizeof(typename Bias::Element));
                              v = map(v);
                              if (addend != nullptr) v += load<f32x16>(addend + at);
                              store(to.out + at, v);
                            }
                          };
  const auto tile = [&](uint32_t g, uint32_t row, uint32_t n) __attribute__((always_inline)) {
    alignas(64) float acc[kPassRows<K>][16];
    group_sums<F, K>(weight + g * kGroupBytes<F, K>, x, row, n, acc[0]);
    finish(g, row, n, acc);
  };
  if constexpr (with_bf16) {
    // A pair of groups at a time.
    const Range pairs = {0, (groups.end - groups.begin + 1) / 2};
    const auto first = [=](uint32_t pair) __attribute__((always_inline)) { return groups.begin + 2 * pair; };
    const auto count = [=](uint32_t pair)
                           __attribute__((always_inline)) { return groups.end - first(pair) > 1 ? 2U : 1U; };
    // A lone group is both; the second's sums are dropped.
    const auto group = [=](uint32_t pair, uint32_t panel) __attribute__((always_inline)) {
      return weight + (first(pair) + panel % count(pair)) * kGroupBytes<F, K>;
    };
    // Where workers share outputs, another one may have a line. (PREFETCHW was no faster.)
    const auto ask_output = [&] {
      if constexpr (of == RowsOf::prompts)
        return nullptr;
      else
        return [=](uint32_t pair, uint32_t row) __attribute__((always_inline)) {
          for (uint32_t panel = 0; panel < count(pair); ++panel)
            __builtin_prefetch(to.out + (uint64_t)row * to.stride + 16 * (first(pair) + panel));
        };
    }();
    for_prompt_tiles<K, of != RowsOf::prompts>(
        pairs, rows, x.bf16, x.classes, group,
        [](uint32_t, const uint8_t* from, uint32_t k)
            __attribute__((always_inline)) { prefetch_weights<F, K>(from, k); },
        [](uint32_t, const uint8_t* from, uint32_t k, WeightTile& tile)
            __attribute__((always_inline)) { fill<F, K>(tile, from, k); },
        ask_output,
        [=]<uint32_t n>(uint32_t pair, uint32_t row, const float(*sums0)[16], const float(*sums1)[16])
            __attribute__((always_inline)) {
              finish(first(pair), row, n, sums0);
              if (count(pair) == 2) finish(first(pair) + 1, row, n, sums1);
            });
    if constexpr (of != RowsOf::prompts)
      for_runs(x.classes, rows, rt::RowClass::generated,
               [&](uint32_t begin, uint32_t end)
                   __attribute__((always_inline)) { for_tiles<K>(groups, {begin, end}, tile); });
  } else {
    for_tiles<K>(groups, rows, tile);
  }
}

// Where a gated product's prompt rows go as what the next linear multiplies; with_floats: to the output as well.
template <uint32_t N>
struct PromptOutput {
  Bf16Rows<N>* rows;
  bool with_floats;
};

// activate(gate) * up of two weights of equal shape. prompts: null, or a PromptOutput.
template <class FGate, class FUp, uint32_t K, class Activate, bool with_bf16, RowsOf of,
          class Prompts = decltype(nullptr)>
FORGE_INLINE void linear_gated(Range groups, Range rows, const uint8_t* gate, const uint8_t* up,
                               const Activation<K, with_bf16, of>& x, Output to, Activate activate,
                               Prompts prompts = nullptr) {
  constexpr bool for_next = !__is_same(Prompts, decltype(nullptr)), alike = __is_same(FGate, FUp);
  const auto finish = [&](uint32_t g, uint32_t row, uint32_t n, const float(*a)[16], const float(*b)[16])
                          __attribute__((always_inline)) {
                            for (uint32_t m = 0; m < n; ++m)
                              store(to.out + (uint64_t)(row + m) * to.stride + 16 * g,
                                    activate(load<f32x16>(a[m])) * load<f32x16>(b[m]));
                          };
  const auto tile = [&](uint32_t g, uint32_t row, uint32_t n) __attribute__((always_inline)) {
    alignas(64) float a[kPassRows<K>][16], b[kPassRows<K>][16];
    group_sums<FGate, K>(gate + g * kGroupBytes<FGate, K>, x, row, n, a[0]);
    group_sums<FUp, K>(up + g * kGroupBytes<FUp, K>, x, row, n, b[0]);
    finish(g, row, n, a, b);
  };
  if constexpr (with_bf16) {
    for_prompt_tiles<K, of != RowsOf::prompts>(
        groups, rows, x.bf16, x.classes,
        [=](uint32_t g, uint32_t panel) __attribute__((always_inline)) {
          return panel == 0 ? gate + g * kGroupBytes<FGate, K> : up + g * kGroupBytes<FUp, K>;
        },
        [](uint32_t panel, const uint8_t* from, uint32_t k) __attribute__((always_inline)) {
          if (alike || panel == 0)
            prefetch_weights<FGate, K>(from, k);
          else
            prefetch_weights<FUp, K>(from, k);
        },
        [](uint32_t panel, const uint8_t* from, uint32_t k, WeightTile& tile) __attribute__((always_inline)) {
          if (alike || panel == 0)
            fill<FGate, K>(tile, from, k);
          else
            fill<FUp, K>(tile, from, k);
        },
        nullptr,
        [=]<uint32_t n>(uint32_t g, uint32_t row, const float(*of_gate)[16], const float(*of_up)[16])
            __attribute__((always_inline)) {
              typedef typename Rows<n>::F32 F32;
              const F32 v = activate.template of_prompt<n>(load<F32>(of_gate)) * load<F32>(of_up);
              for (uint32_t m = 0; m < n; ++m) {
                const f32x16 of_row = ((const f32x16*)&v)[m];
                if constexpr (for_next) store_bf16(of_row, half_line(prompts.rows, row, g) + 32 * m);
                if constexpr (for_next)
                  if (__builtin_expect(!prompts.with_floats, 1)) continue;
                store(to.out + (uint64_t)(row + m) * to.stride + 16 * g, of_row);
              }
            });
    if constexpr (of != RowsOf::prompts)
      for_runs(x.classes, rows, rt::RowClass::generated,
               [&](uint32_t begin, uint32_t end)
                   __attribute__((always_inline)) { for_tiles<K>(groups, {begin, end}, tile); });
  } else {
    for_tiles<K>(groups, rows, tile);
  }
}

}  // namespace
}  // namespace forge::kernels
