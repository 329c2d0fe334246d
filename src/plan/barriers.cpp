// What stands between stages: derived from what they touch.
#include "plan/plan.h"

namespace forge {
namespace {

bool same_memory(const Phase& p, const Access& a, const Access& b) {
  if (a.buffer == b.buffer) return true;
  const Buffer &x = p.buffers[a.buffer], &y = p.buffers[b.buffer];
  return x.bytes() > 0 && y.bytes() > 0 && x.own == y.own && x.offset < y.offset + y.bytes() &&
         y.offset < x.offset + x.bytes();
}

// Whether the two accesses, by different workers, could meet in one place.
bool conflict(const Phase& p, const Access& a, const Access& b) {
  if (!a.write && !b.write) return false;
  if (p.buffers[a.buffer].own || !same_memory(p, a, b)) return false;
  if (a.part != b.part || a.part == Access::Part::all || a.n != b.n) return true;
  // Parts of one buffer; or of two that take turns in the same memory, row upon row (heads may differ in width).
  const Buffer &x = p.buffers[a.buffer], &y = p.buffers[b.buffer];
  const bool alike = a.buffer == b.buffer ||
                     (a.part != Access::Part::heads && x.offset == y.offset && x.row_bytes == y.row_bytes);
  return !alike;
}

using Pending = std::vector<Access>;  // since the last barrier

// Walks the stages; sets barriers where needed; returns whether one was added.
bool walk(Phase& p, std::vector<Stage>& stages, Pending& pending) {
  bool added = false;
  for (Stage& s : stages) {
    bool needed = s.barrier;
    for (const Access& before : pending)
      for (const Access& now : s.accesses) needed |= conflict(p, before, now);
    if (needed) {
      added |= !s.barrier;
      s.barrier = true;
      pending.clear();
    }
    pending.insert(pending.end(), s.accesses.begin(), s.accesses.end());
  }
  return added;
}

}  // namespace

void derive_barriers(Phase& phase) {
  Pending pending;
  walk(phase, phase.prologue, pending);
  // The body follows the prologue and itself: its start sees what either left pending. Barriers are only ever
  // added, so this ends.
  Pending at_start = pending;
  bool again = true;
  while (again) {
    pending = at_start;
    again = walk(phase, phase.body, pending);
    Pending joined = at_start;
    joined.insert(joined.end(), pending.begin(), pending.end());
    Pending round = joined;
    again |= walk(phase, phase.body, round);
    pending = round;
  }
  walk(phase, phase.epilogue, pending);
}

}  // namespace forge
