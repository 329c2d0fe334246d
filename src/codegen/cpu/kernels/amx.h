// The matrix unit of AMX: sums of 16 rows at a time, to the same bits as the vector unit's.
//
// TDPBSSD multiplies 16 rows x 32 k of the activation by 32 k x 16 outputs of the weight. Eight packed tiles of weights
// (see weights.h: 16 outputs x 4 k each) are such an operand as they lie, a line a tile. Sums of 32 k are integers, hence
// exact in any order, and scales are applied block after block as `sums` does. This serves generated rows, many at a time;
// prompts have tiles of their own (bf16.h).
//
//     tile registers   0 - 3   sums          16 rows   x 16 int32
//                      4, 5    activation    16 rows   x 32 int8, or 16 where halves have scales of their own
//                      6, 7    weights        8 or 4   x 16 outputs x 4 int8
//
// used in turn: a product takes 52 cycles and a new one can begin every 16, and what it stores can be read only after a
// while, so the unit works kAhead blocks ahead of the scales.
//
// Intel SDM, volume 1, chapter 18; Intel Optimization Reference Manual, chapter 20.
#pragma once

#include "codegen/cpu/kernels/bf16.h"
#include "codegen/cpu/kernels/quantize.h"
#include "codegen/cpu/kernels/weights.h"

#if defined(__AMX_INT8__)
namespace forge::kernels {
namespace {

constexpr uint32_t kAhead = 4;

// The tile registers' shapes for runs of k that share a scale.
template <uint32_t run>
FORGE_INLINE void configure_tiles() {
  struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, run, run, 64, 64};
    uint8_t rows[16] = {kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, run / 4, run / 4};
  } shapes;
  static_assert(sizeof(shapes) == 64);
  _tile_loadconfig(&shapes);
}

// A group's weights as the unit takes them: signed levels, and scales as floats. Made once for all rows of a pass.
template <class F, uint32_t K>
struct Panel {
  static constexpr int kRuns = F::kHalves ? 2 : 1;  // of a scale, in 32 k
  struct Sub {
    u8x64 tiles[8];
    f32x16 scale[kRuns];
    f32x16 minimum[F::kMinimum ? kRuns : 0];
  };
  Sub subs[K / 32];
};

template <class F, uint32_t K>
FORGE_INLINE void fill(Panel<F, K>& panel, const uint8_t* group) {
  constexpr uint32_t kSubs = F::kBlock / 32;
  const uint8_t* s = group;
  const uint8_t* q = group + kScaleStreamBytes<F, K>;
  auto* to = panel.subs;
  for (uint32_t block = 0; block < K / F::kBlock; ++block, s += F::kScaleBytes, q += F::kCodeBytes) {
    for (uint32_t sub = 0; sub < kSubs; ++sub, ++to) {
      prefetch_ahead<F, K>(s, q, sub);
      u8x64 space[8];
      const uint8_t* tiles = F::tiles(q, sub, space);
      for (int t = 0; t < 8; ++t) to->tiles[t] = load<u8x64>(tiles + 64 * t) - (uint8_t)kZero<F>;
      const Scales w = F::scales(s, sub);
      for (int h = 0; h < Panel<F, K>::kRuns; ++h) {
        to->scale[h] = w.half[h];
        if constexpr (F::kMinimum) to->minimum[h] = w.minimum[h];
      }
    }
  }
}

template <class F, uint32_t K>
using Sums = i32x16[Panel<F, K>::kRuns][kTileRows];

// Integer sums of the 32 k number b, by the registers of b's turn.
template <uint32_t turn, class F, uint32_t K>
FORGE_INLINE void multiply(const Panel<F, K>& panel, const Q8Row<K>* rows, uint32_t b, Sums<F, K>& sum) {
  const int8_t* x = rows->q + 32 * b;
  const u8x64* w = panel.subs[b].tiles;
  const auto run = [&]<int c, int h>() __attribute__((always_inline)) {
    constexpr int a = 4 + c % 2, t = 6 + c % 2;
    _tile_zero(c);
    _tile_loadd(a, x + 16 * h, sizeof(Q8Row<K>));
    _tile_loadd(t, w + 4 * h, 64);
    _tile_dpbssd(c, a, t);
    let_go<a>();
    let_go<t>();
    _tile_stored(c, sum[h], 64);
    let_go<c>();
  };
  if constexpr (F::kHalves) {
    run.template operator()<turn % 2 * 2, 0>();
    run.template operator()<turn % 2 * 2 + 1, 1>();
  } else {
    run.template operator()<turn % 4, 0>();
  }
}

template <class F, uint32_t K>
FORGE_INLINE void scale(const typename Panel<F, K>::Sub& w, const Q8Row<K>* rows, uint32_t b,
                        const Sums<F, K>& sum, f32x16 (&acc)[kTileRows]) {
  for (int h = 0; h < Panel<F, K>::kRuns; ++h) {
    const f32x16 factor = w.scale[h];
#pragma clang loop unroll(full)
    for (uint32_t r = 0; r < kTileRows; ++r) {
      const Q8Row<K>& x = rows[r];
      acc[r] = fma(to_f32(sum[h][r]), factor * x.d[b], acc[r]);
      if constexpr (F::kMinimum)
        acc[r] = fma(w.minimum[h], splat(F::kHalves ? x.d[b] * (float)-x.nhalf[h][b] : x.dsum[b]), acc[r]);
    }
  }
}

// Sums of 16 rows to out[row][output]. A function of its own: one copy for all the places that use it.
template <class F, uint32_t K>
[[gnu::noinline]] static void tile_sums(const Panel<F, K>& panel, const Q8Row<K>* rows, float* out) {
  constexpr uint32_t n = K / 32, kFirst = n < kAhead ? n : kAhead;
  f32x16 acc[kTileRows] = {};
  Sums<F, K> ring[kFirst];
  const auto begin = [&]<uint32_t turn>(uint32_t b)
                         __attribute__((always_inline)) { multiply<turn>(panel, rows, b, ring[b % kFirst]); };
  const auto end = [&](uint32_t b) __attribute__((always_inline)) {
    scale<F, K>(panel.subs[b], rows, b, ring[b % kFirst], acc);
  };
  for_each_index<kFirst>([&]<uint32_t i>()
                             __attribute__((always_inline)) { begin.template operator()<i>(i); });
  uint32_t b = 0;
  for (; b + 4 + kFirst <= n; b += 4)
    for_each_index<4>([&]<uint32_t i>() __attribute__((always_inline)) {
      end(b + i);
      begin.template operator()<i + kFirst>(b + i + kFirst);
    });
  constexpr uint32_t kRest = (n - kFirst) % 4;
  for_each_index<kRest>([&]<uint32_t i>() __attribute__((always_inline)) {
    end(b + i);
    begin.template operator()<i + kFirst>(b + i + kFirst);
  });
  for (b += kRest; b < n; ++b) end(b);
  for (uint32_t r = 0; r < kTileRows; ++r) store(out + 16 * r, acc[r]);
}

}  // namespace
}  // namespace forge::kernels
#endif
