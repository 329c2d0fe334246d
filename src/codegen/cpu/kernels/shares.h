// Rows of a prompt shared out among the workers, who take theirs through all of a layer: norms, linears and attention.
//
// What a worker writes it reads again itself, from its own caches; of the others' it sees the KV cache, and rows that were
// theirs before. So all meet once a layer, when keys and values are there, and share the rows out anew: so much work for each as
// its speed was until then. A row's bits don't depend on whose it is.
#pragma once

#include "codegen/cpu/kernels/bf16.h"
#include "codegen/cpu/kernels/step.h"

namespace forge::kernels {
namespace {

// Rows for each worker from which on that pays: each makes bf16 tiles of all weights for its own.
constexpr uint32_t kShareRows = 128;

// Whether a step is one of the prompt phase.
FORGE_INLINE bool has_shares(const Worker& w) {
  return w.args.n_workers <= rt::Barrier::kMaxShares && w.args.n_rows >= kShareRows * w.args.n_workers &&
         has_only_prompt_rows(w);
}

// What a layer has to do for a row, in operations: of its linears, and of attention for each position that the row sees.
struct RowWork {
  float linears, position;
};

struct RowShares {
  static constexpr uint32_t kMax = rt::Barrier::kMaxShares, kMaxTiles = 512 / kTileRows;
  // Attention has softmax besides its products: an operation takes as long as three of a linear (bench/NOTES.md).
  static constexpr float kAttention = 3;

  const Worker& w;
  const uint32_t n_tiles;     // whole ones; what is left goes with the last
  float work[kMaxTiles + 1];  // of all rows in front of a tile
  float speed[kMax];          // of each worker: all come to the same
  uint32_t end[kMax];         // of its rows, in tiles
  uint32_t n_met = 0;
  uint64_t since;

  RowShares(const Worker& worker, RowWork of_row)
      : w(worker), n_tiles(w.args.n_rows / kTileRows), since(rt::ticks_now()) {
    float sum = 0;
    for (uint32_t r = 0; r < w.args.n_rows; ++r) {
      if (r % kTileRows == 0) work[r / kTileRows] = sum;
      sum += of_row.linears + kAttention * of_row.position * (float)(w.args.positions[r] + 1);
    }
    work[n_tiles] = sum;
    for (uint32_t i = 0; i < w.args.n_workers; ++i) {
      speed[i] = 1;
      end[i] = 0;
    }
    // Fewer rows, those of a last layer that are wanted, are all the last worker's.
    if (n_tiles >= w.args.n_workers) share_out();
  }

  // Each worker gets one tile at least.
  void share_out() {
    const uint32_t n = w.args.n_workers;
    float all = 0, up_to = 0;
    for (uint32_t i = 0; i < n; ++i) all += speed[i];
    uint32_t tile = 0;
    for (uint32_t i = 0; i < n; ++i) {
      up_to += speed[i];
      const float target = work[n_tiles] * up_to / all;
      for (++tile; tile < n_tiles - (n - 1 - i) && work[tile] + work[tile + 1] <= 2 * target;) ++tile;
      end[i] = i + 1 == n ? n_tiles : tile;
    }
  }

  uint32_t begin_of(uint32_t worker) const { return worker == 0 ? 0 : end[worker - 1]; }
  Range mine() const {
    return {begin_of(w.index) * kTileRows,
            w.index + 1 == w.args.n_workers ? w.args.n_rows : end[w.index] * kTileRows};
  }

  // A barrier, behind which rows are shared out anew. Times of two meetings in turn are kept: nobody writes one's before all
  // have read those of the one before it. (The last layer's few rows begin with the first again, behind barriers of their own.)
  void meet() {
    auto& ticks = w.args.barrier->share_ticks[n_met++ % 2];
    ticks[w.index] = rt::ticks_now() - since;
    w.barrier();
    // In front of the first there was no attention. A time says as much about who else was there as about the core, so two in
    // turn count.
    if (n_met > 1) {
      for (uint32_t i = 0; i < w.args.n_workers; ++i) {
        const float now = (work[end[i]] - work[begin_of(i)]) / (ticks[i] == 0 ? 1.0F : (float)ticks[i]);
        speed[i] = n_met == 2 ? now : 0.5F * (speed[i] + now);
      }
      share_out();
    }
    since = rt::ticks_now();
  }
};

}  // namespace
}  // namespace forge::kernels
