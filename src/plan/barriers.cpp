// What stands between stages: derived from what they touch.
#include "core/error.h"
#include "plan/plan.h"
#include "runtime/core/step.h"

namespace forge {
namespace {

bool same_memory(const Phase& p, const Access& a, const Access& b) {
  if (a.buffer == b.buffer) return true;
  const Buffer &x = p.buffers[a.buffer], &y = p.buffers[b.buffer];
  return x.bytes() > 0 && y.bytes() > 0 && x.own == y.own && x.offset < y.offset + y.bytes() &&
         y.offset < x.offset + x.bytes();
}

// Whether the two accesses, by different workers, could meet in one place.
bool conflict(const Phase& p, const Access& a, const Access& b, bool deep) {
  if (!a.write && !b.write) return false;
  if (p.buffers[a.buffer].own || !same_memory(p, a, b)) return false;
  const Access::Part part = a.part_of(deep);
  if (part != b.part_of(deep) || part == Access::Part::all || a.n != b.n) return true;
  // Parts of one buffer; or of two that take turns in the same memory, row upon row (heads may differ in width).
  const Buffer &x = p.buffers[a.buffer], &y = p.buffers[b.buffer];
  const bool alike = a.buffer == b.buffer ||
                     (part != Access::Part::heads && x.offset == y.offset && x.row_bytes == y.row_bytes);
  return !alike;
}

using Pending = std::vector<Access>;  // since the last barrier

// Walks the stages of a step, deep or not; sets barriers where needed; returns whether one was added.
bool walk(Phase& p, std::vector<Stage>& stages, Pending& pending, bool deep) {
  bool added = false;
  for (Stage& s : stages) {
    if (s.only_deep && !deep) continue;
    const bool there = s.barrier || (deep && s.deep_barrier);
    bool needed = there;
    for (const Access& before : pending)
      for (const Access& now : s.accesses) needed |= conflict(p, before, now, deep);
    if (needed) {
      added |= !there;
      if (!there) (deep ? s.deep_barrier : s.barrier) = true;
      pending.clear();
    }
    pending.insert(pending.end(), s.accesses.begin(), s.accesses.end());
  }
  return added;
}

void derive(Phase& phase, bool deep) {
  Pending pending;
  walk(phase, phase.prologue, pending, deep);
  // The body follows the prologue and itself: its start sees what either left pending. Barriers are only ever
  // added, so this ends.
  Pending at_start = pending;
  bool again = true;
  while (again) {
    pending = at_start;
    again = walk(phase, phase.body, pending, deep);
    // The next layer has a cache of its own.
    std::erase_if(pending, [&](const Access& a) { return a.buffer == phase.kv_cache; });
    Pending joined = at_start;
    joined.insert(joined.end(), pending.begin(), pending.end());
    Pending round = joined;
    again |= walk(phase, phase.body, round, deep);
    pending = round;
  }
  walk(phase, phase.epilogue, pending, deep);
}

// Numbers what is dealt since the last barrier, with another barrier where numbers run out or where it isn't known what was
// dealt before.
void number_deals(std::vector<Stage>& stages) {
  uint32_t next = rt::Barrier::kDeals;
  for (Stage& s : stages) {
    if (s.n_deals() > rt::Barrier::kDeals)
      fail("plan: a linear of {} outputs, {} can be dealt at a time", s.n_deals(), rt::Barrier::kDeals);
    s.barrier |= s.n_deals() != 0 && next + s.n_deals() > rt::Barrier::kDeals;
    if (s.barrier) next = 0;
    s.first_deal = next;
    next += s.n_deals();
  }
}

}  // namespace

void derive_barriers(Phase& phase) {
  for (const bool deep : {false, true}) derive(phase, deep);
  for (auto* stages : {&phase.prologue, &phase.body, &phase.epilogue}) number_deals(*stages);
}

}  // namespace forge
