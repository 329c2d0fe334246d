// Buffers that share memory never hold their values at the same time: the stages are run on memory whose
// lines know who wrote them last.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <span>

#include "tests/plan/plans.h"

namespace forge {
namespace {

constexpr uint64_t kLine = 64;

struct Memory {
  const Phase& p;
  std::map<std::pair<bool, uint64_t>, uint32_t> owner;  // (own, line) -> buffer

  template <class F>
  void for_lines(uint32_t buffer, F f) const {
    const Buffer& b = p.buffers[buffer];
    for (uint64_t line = b.offset / kLine; line * kLine < b.offset + b.bytes(); ++line)
      f(std::pair{b.own, line});
  }
  bool overlap(uint32_t a, uint32_t b) const {
    const Buffer &x = p.buffers[a], &y = p.buffers[b];
    return x.own == y.own && x.offset < y.offset + y.bytes() && y.offset < x.offset + x.bytes();
  }
  void run(std::span<const Stage> stages) {
    for (const Stage& s : stages) {
      for (const Access& a : s.accesses)
        if (!a.write)
          for_lines(a.buffer, [&](auto line) {
            ASSERT_TRUE(owner.contains(line) && owner[line] == a.buffer)
                << p.name << ": " << p.buffers[a.buffer].name << " is read where "
                << (owner.contains(line) ? p.buffers[owner[line]].name : "nothing") << " was written last";
          });
      for (const Access& a : s.accesses) {
        if (!a.write) continue;
        for (const Access& other : s.accesses)
          EXPECT_FALSE(other.buffer != a.buffer && overlap(a.buffer, other.buffer))
              << p.buffers[a.buffer].name << " is written over " << p.buffers[other.buffer].name
              << " of the same stage";
        for_lines(a.buffer, [&](auto line) { owner[line] = a.buffer; });
      }
    }
  }
};

// Of the last layer only wanted rows go on behind the cache: what else was written before is gone for them.
TEST(Arena, TheLastLayersRestReadsWhatWasMoved) {
  size_t n_phases = 0;
  for (const NamedPlan& named : all_plans())
    for (const Phase& p : named.plan.phases) {
      SCOPED_TRACE(named.name + ", " + p.name);
      EXPECT_EQ(p.wanted_from == 0, p.name == "decode");
      if (p.wanted_from == 0) continue;
      ++n_phases;
      ASSERT_LT(p.wanted_from, p.body.size());
      EXPECT_EQ(p.body[p.wanted_from - 1].kernel, Kernel::rope_kv);
      const std::span<const Stage> body = p.body, rest = body.subspan(p.wanted_from);
      Memory memory{p, {}};
      memory.run(p.prologue);
      memory.run(body.first(p.wanted_from));
      std::erase_if(memory.owner, [&](const auto& line_and_buffer) {
        return std::ranges::find(p.moved_buffers, line_and_buffer.second) == p.moved_buffers.end();
      });
      memory.run(rest);
      memory.run(p.epilogue);
      for (const uint32_t buffer : p.moved_buffers)
        EXPECT_TRUE(std::ranges::any_of(rest, [&](const Stage& s) {
          return std::ranges::any_of(s.accesses,
                                     [&](const Access& a) { return !a.write && a.buffer == buffer; });
        })) << p.buffers[buffer].name;
    }
  EXPECT_GE(n_phases, 40U);
}

TEST(Arena, WhatIsReadIsWhatWasWritten) {
  for (const NamedPlan& named : all_plans())
    for (const Phase& p : named.plan.phases) {
      SCOPED_TRACE(named.name);
      Memory memory{p, {}};
      memory.run(p.prologue);
      for (int layer = 0; layer < 3; ++layer) memory.run(p.body);
      memory.run(p.epilogue);
    }
}

TEST(Arena, OffsetsAreAlignedAndInside) {
  for (const NamedPlan& named : all_plans())
    for (const Phase& p : named.plan.phases) {
      uint64_t shared = 0, own = 0;
      for (const Buffer& b : p.buffers) {
        EXPECT_EQ(b.offset % kLine, 0U) << b.name;
        EXPECT_LE(b.offset + b.bytes(), b.own ? p.own_bytes : p.arena_bytes) << b.name;
        (b.own ? own : shared) += (b.bytes() + kLine - 1) / kLine * kLine;
      }
      // Sharing pays where rows are many: less than all of them side by side.
      EXPECT_EQ(p.arena_bytes < shared, p.max_rows > 4) << named.name << " " << p.name;
      EXPECT_LE(p.own_bytes, own) << named.name << " " << p.name;
      EXPECT_LE(p.arena_bytes, named.plan.arena_bytes);
      EXPECT_LE(p.own_bytes, named.plan.own_bytes);
    }
}

TEST(Arena, DecodeNormsIntoMemoryOfEachWorker) {
  const NamedPlan named = make_plan("plain llama", plain_llama());
  for (const Phase& p : named.plan.phases)
    for (const auto* part : {&p.prologue, &p.body, &p.epilogue})
      for (const Stage& s : *part)
        for (const Access& a : s.accesses)
          if (a.write)
            EXPECT_EQ(p.buffers[a.buffer].own, s.division == Division::every_worker)
                << p.buffers[a.buffer].name;
  EXPECT_GT(named.plan.phases[0].own_bytes, 0U);
  EXPECT_EQ(named.plan.phases[1].own_bytes, 0U);
}

// By hand: a and b live in turn, c in all of it, d beside them in each worker's memory.
TEST(Arena, SmallExample) {
  Phase p;
  p.name = "example";
  const auto buffer = [&](const char* name, uint64_t bytes, bool own = false) {
    Buffer b;
    b.name = name;
    b.max_rows = 1;
    b.row_bytes = bytes;
    b.own = own;
    p.buffers.push_back(b);
    return static_cast<uint32_t>(p.buffers.size() - 1);
  };
  const auto stage = [](const std::vector<uint32_t>& reads, const std::vector<uint32_t>& writes) {
    Stage s;
    for (uint32_t b : reads) s.accesses.push_back({b, false, Access::Part::all, 0});
    for (uint32_t b : writes) s.accesses.push_back({b, true, Access::Part::all, 0});
    return s;
  };
  const uint32_t a = buffer("a", 100), b = buffer("b", 128), c = buffer("c", 64), d = buffer("d", 32, true),
                 unused = buffer("unused", 4096);
  p.prologue = {stage({}, {c})};
  p.body = {stage({c}, {a}), stage({a}, {d}), stage({d}, {b}), stage({b}, {c})};
  p.epilogue = {stage({c}, {})};
  assign_arena(p);
  EXPECT_EQ(p.buffers[a].offset, p.buffers[b].offset);
  EXPECT_EQ(p.buffers[c].offset, 128U);
  EXPECT_EQ(p.buffers[d].offset, 0U);
  EXPECT_EQ(p.buffers[unused].offset, 0U);
  EXPECT_EQ(p.arena_bytes, 192U);
  EXPECT_EQ(p.own_bytes, 64U);
}

}  // namespace
}  // namespace forge
