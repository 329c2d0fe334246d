// Static memory: buffers get offsets by the time they are alive.
#include <algorithm>
#include <numeric>

#include "plan/plan.h"

namespace forge {
namespace {

struct Lifetime {
  uint32_t first = ~0u, last = 0;
  bool overlaps(const Lifetime& o) const { return first <= o.last && o.first <= last; }
};

constexpr uint64_t kAlignment = 64;

}  // namespace

void assign_arena(Phase& phase) {
  std::vector<Lifetime> life(phase.buffers.size());
  uint32_t time = 0;
  const auto visit = [&](const std::vector<Stage>& stages) {
    for (const Stage& s : stages) {
      for (const Access& a : s.accesses) {
        life[a.buffer].first = std::min(life[a.buffer].first, time);
        life[a.buffer].last = std::max(life[a.buffer].last, time);
      }
      ++time;
    }
  };
  visit(phase.prologue);
  const uint32_t body_begin = time;
  visit(phase.body);
  const uint32_t body_end = time;
  visit(phase.epilogue);
  // What comes from before the repeat, or goes beyond it, is alive in all of it.
  for (Lifetime& l : life)
    if (l.first < body_begin && l.last >= body_begin) l.last = std::max(l.last, body_end);
  if (!phase.share_memory)
    for (Lifetime& l : life)
      if (l.first != ~0u) l = {0, time};

  // Largest first, each at the lowest offset where it meets nothing that is alive with it.
  std::vector<uint32_t> order(phase.buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const uint64_t x = phase.buffers[a].bytes(), y = phase.buffers[b].bytes();
    return x != y ? x > y : a < b;
  });
  std::vector<uint32_t> placed;
  phase.arena_bytes = phase.own_bytes = 0;
  for (uint32_t i : order) {
    Buffer& b = phase.buffers[i];
    if (b.bytes() == 0 || life[i].first == ~0u) continue;
    const auto end_of = [&](const Buffer& x) {
      return (x.offset + x.bytes() + kAlignment - 1) / kAlignment * kAlignment;
    };
    // Where nobody waits for who is still at an earlier stage, memory may become that of other rows' values only if these
    // are the same worker's: if rows are as long.
    std::vector<uint32_t> rivals;
    for (uint32_t j : placed)
      if (phase.buffers[j].own == b.own &&
          (life[i].overlaps(life[j]) || (phase.shares_rows && phase.buffers[j].row_bytes != b.row_bytes)))
        rivals.push_back(j);
    std::sort(rivals.begin(), rivals.end(),
              [&](uint32_t x, uint32_t y) { return phase.buffers[x].offset < phase.buffers[y].offset; });
    b.offset = 0;
    for (uint32_t j : rivals)
      if (phase.buffers[j].offset < b.offset + b.bytes())
        b.offset = std::max(b.offset, end_of(phase.buffers[j]));
    placed.push_back(i);
    uint64_t& total = b.own ? phase.own_bytes : phase.arena_bytes;
    total = std::max(total, end_of(b));
  }
}

}  // namespace forge
