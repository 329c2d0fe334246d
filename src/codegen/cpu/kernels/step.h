// How a stage divides its work, and the driver's side of a step: only drivers know barriers.
#pragma once

#include "codegen/cpu/kernels/simd.h"
#include "runtime/core/step.h"

namespace forge::kernels {
namespace {

using rt::StepArgs;

// What a worker knows during a step.
struct Worker {
  const StepArgs& args;
  uint32_t index;

  inline __attribute__((always_inline)) void barrier() const {
    rt::barrier_wait(*args.barrier);
    mark(rt::kWaiting);
  }
  // Ends a stage: to who measures, all since this worker's last mark was spent on it.
  inline __attribute__((always_inline)) void mark(uint32_t stage, int32_t layer = -1) const {
    if (__builtin_expect(args.stage_logs != nullptr, 0)) rt::log_stage(args.stage_logs[index], stage, layer);
  }
  template <class T>
  inline __attribute__((always_inline)) T* arena(uint64_t offset) const {
    return (T*)(args.arena + offset);
  }
  // This worker's own memory: for stages that every worker computes for itself.
  template <class T>
  inline __attribute__((always_inline)) T* own(uint64_t offset, uint64_t scratch_bytes) const {
    return (T*)(args.scratch + index * scratch_bytes + offset);
  }
  // Shows a finished value to whoever traces; the others wait until it was seen.
  inline __attribute__((always_inline)) void trace(const char* name, int32_t layer, const float* data,
                                                   uint32_t rows, uint32_t cols, uint32_t stride) const {
    if (args.trace == nullptr) return;
    barrier();
    if (index == 0) args.trace(args.trace_context, name, layer, data, rows, cols, stride);
    barrier();
  }
};

struct Range {
  uint32_t begin, end;
};

// Item range of a worker, in pieces of equal size: worker w always gets the same weights, hence the same
// pages.
FORGE_INLINE Range split(const Worker& w, uint32_t n) {
  return {(uint32_t)((uint64_t)n * w.index / w.args.n_workers),
          (uint32_t)((uint64_t)n * (w.index + 1) / w.args.n_workers)};
}
FORGE_INLINE Range everything(uint32_t n) { return {0, n}; }

// Items of a long stage for whoever comes: next becomes what this worker has to do, false when nothing is left. deal: the
// number of the piece of work since the last barrier. A worker gets half of its share of what is left, so that one on a slow
// core, or one that was interrupted, keeps the others waiting for a small piece only; but each piece costs a start, so of few
// items it gets its share at once, and of many a small rest with the last piece. Pairs stay together.
FORGE_INLINE bool deal(const Worker& w, uint32_t deal, uint32_t n, Range& next) {
  constexpr uint32_t kLeast = 4;
  const uint32_t n_workers = w.args.n_workers;
  if (n_workers == 1) {
    const bool first = next.end == 0;
    next = {0, n};
    return first;
  }
  uint32_t* const dealt = w.args.barrier->dealt + deal;
  uint32_t begin = __atomic_load_n(dealt, __ATOMIC_RELAXED), end;
  do {
    if (begin >= n) return false;
    const uint32_t left = n - begin, share = (n + n_workers - 1) / n_workers, half = left / (2 * n_workers);
    const bool few = share <= 2 * kLeast;
    const uint32_t size = few             ? share
                          : half > kLeast ? half
                                          : kLeast,
                   even = size + size % 2, least_rest = few ? 1 : kLeast / 2;
    end = even + least_rest <= left ? begin + even : n;
  } while (!__atomic_compare_exchange_n(dealt, &begin, end, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  next = {begin, end};
  return true;
}
// Likewise one item at a time: the number of the next one.
FORGE_INLINE uint32_t deal_one(const Worker& w, uint32_t deal, uint32_t last) {
  return w.args.n_workers == 1 ? last + 1
                               : __atomic_fetch_add(w.args.barrier->dealt + deal, 1, __ATOMIC_RELAXED);
}

}  // namespace
}  // namespace forge::kernels
