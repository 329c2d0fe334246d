// Whether workers wait where they must, and nowhere else. The checker knows nothing of Access: it works out,
// from what each kernel does, which bytes each worker of a few touches in each stage, runs the stages (the
// body three times) and looks for two workers at one byte with no barrier between, one of them writing.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "runtime/core/step.h"
#include "tests/plan/plans.h"

namespace forge {
namespace {

// Bytes [begin, end) of one memory: the arena, the KV cache, or a worker's own.
struct Span {
  uint64_t memory, begin, end;
};
constexpr uint64_t kArena = 0, kCache = 1, kOwn = 2;

struct Touched {
  std::vector<Span> reads, writes;
};

struct Interval {
  uint32_t begin, end;
};
Interval share(uint32_t n, uint32_t worker, uint32_t n_workers) {
  return {n * worker / n_workers, n * (worker + 1) / n_workers};
}

// What one worker touches in one stage of a batch. In a deep step a position stands for a page.
struct Simulated {
  const Graph& g;
  const Phase& p;
  uint32_t n_rows, n_out, n_workers;
  bool deep;

  // Columns of rows of f32 or bf16; whole rows where the columns are not given. (bf16 rows lie in tiles of sixteen,
  // and shares end with a tile: a share's rows lie in one piece either way.)
  void add(std::vector<Span>& to, uint32_t buffer, uint32_t worker, Interval rows,
           std::optional<Interval> cols = std::nullopt) const {
    const Buffer& b = p.buffers[buffer];
    for (uint32_t r = rows.begin; r < rows.end; ++r) {
      const uint64_t at = b.offset + uint64_t{r} * b.row_bytes;
      const uint32_t bytes = b.element == ElementType::bf16 ? 2 : 4;
      to.push_back({b.own ? kOwn + worker : kArena, at + (cols ? cols->begin * bytes : 0),
                    cols ? at + cols->end * bytes : at + b.row_bytes});
    }
  }
  void add_value(std::vector<Span>& to, ValueId v, uint32_t worker, Interval rows,
                 std::optional<Interval> cols = std::nullopt) const {
    if (v == g.logits || v == g.tokens) return;  // the caller's
    ASSERT_LT(p.value_buffer[v], p.buffers.size());
    add(to, p.value_buffer[v], worker, rows, cols);
  }
  static void add_cache(std::vector<Span>& to, Interval rows, Interval heads) {
    for (uint32_t r = rows.begin; r < rows.end; ++r)
      for (uint32_t h = heads.begin; h < heads.end; ++h)
        to.push_back({kCache, uint64_t{r} * 1000 + h, uint64_t{r} * 1000 + h + 1});
  }

  uint32_t n_kv_heads() const {
    const auto it = std::ranges::find_if(g.body, [](const Node& n) { return n.op == Op::attention; });
    return static_cast<uint32_t>(it->integer("n_kv_heads"));
  }

  // The columns of a kv head in the scores.
  Interval scores_of(uint32_t h, uint32_t queries) const {
    const uint32_t head = (g.ctx_max + 63) / 64 * 64;
    return {h * queries * head, (h + 1) * queries * head};
  }

  // Of what is dealt any worker may get any part; dealt: one way to deal it out, in which none get the same.
  Touched of(const Stage& s, uint32_t worker, bool dealt) const {
    Touched t;
    const Node& n = s.node;
    const uint32_t all = s.rows == RowSet::wanted ? n_out : n_rows;
    const Interval every = {0, all};
    const bool shared = s.division == Division::shares;
    const Interval mine = shared || s.division == Division::rows ? share(all, worker, n_workers) : every;
    switch (s.kernel) {
      case Kernel::rope_angles: add(t.writes, p.rope_table, worker, mine); break;
      case Kernel::linear: {
        const bool adds = n.epilogue == Epilogue::add;
        if (shared) {
          for (const ValueId v : n.inputs) add_value(t.reads, v, worker, mine);
          for (const ValueId v : n.outputs) add_value(t.writes, v, worker, mine);
          break;
        }
        for (size_t i = 0; i < n.inputs.size(); ++i)
          if (!adds || i + 1 < n.inputs.size()) add_value(t.reads, n.inputs[i], worker, every);
        for (const ValueId v : n.outputs) {
          const uint32_t n_groups = (g.values[v].cols + 15) / 16;
          const Interval groups = s.division == Division::dealt_groups && !dealt
                                      ? Interval{0, n_groups}
                                      : share(n_groups, worker, n_workers);
          const Interval cols = {groups.begin * 16, groups.end * 16};
          if (adds) add_value(t.reads, n.inputs.back(), worker, every, cols);
          add_value(t.writes, v, worker, every, cols);
        }
        break;
      }
      case Kernel::rope_kv: {
        const auto dim = static_cast<uint32_t>(n.integer("head_dim")),
                   kv = static_cast<uint32_t>(n.integer("n_kv_heads")),
                   queries = static_cast<uint32_t>(n.integer("n_heads")) / kv;
        const auto rotate = [&](Interval rows, Interval heads) {
          const Interval q_cols = {heads.begin * queries * dim, heads.end * queries * dim},
                         kv_cols = {heads.begin * dim, heads.end * dim};
          add_value(t.reads, n.inputs[0], worker, rows, q_cols);
          add_value(t.reads, n.inputs[1], worker, rows, kv_cols);
          add_value(t.reads, n.inputs[2], worker, rows, kv_cols);
          if (p.rope_table != kNoBuffer) add(t.reads, p.rope_table, worker, rows);
          add_value(t.writes, n.outputs[0], worker, rows, q_cols);
          add_cache(t.writes, rows, heads);
        };
        if (s.division == Division::row_tiles) {
          const Interval tiles = share((all + 15) / 16 * kv, worker, n_workers);
          for (uint32_t i = tiles.begin; i < tiles.end; ++i)
            rotate({i / kv * 16, std::min(i / kv * 16 + 16, all)}, {i % kv, i % kv + 1});
        } else {
          rotate(mine, s.division == Division::heads ? share(kv, worker, n_workers) : Interval{0, kv});
        }
        break;
      }
      case Kernel::head_norm: {
        const uint32_t cols = g.values[n.inputs[0]].cols, kv = n_kv_heads();
        const Interval heads = s.division == Division::heads ? share(kv, worker, n_workers) : Interval{0, kv};
        const Interval part = {heads.begin * (cols / kv), heads.end * (cols / kv)};
        add_value(t.reads, n.inputs[0], worker, mine, part);
        add_value(t.writes, n.outputs[0], worker, mine, part);
        break;
      }
      case Kernel::attention: {
        const auto dim = static_cast<uint32_t>(n.integer("head_dim")),
                   kv = static_cast<uint32_t>(n.integer("n_kv_heads")),
                   queries = static_cast<uint32_t>(n.integer("n_heads")) / kv;
        const auto attend = [&](Interval rows, uint32_t h) {
          const Interval cols = {h * queries * dim, (h + 1) * queries * dim};
          add_value(t.reads, n.inputs[0], worker, rows, cols);
          add_cache(t.reads, {0, rows.end}, {h, h + 1});
          add_value(t.writes, n.outputs[0], worker, rows, cols);
        };
        if (s.division == Division::heads_or_dims && deep) {
          const uint32_t chunks = (dim + 31) / 32;
          const Interval mine_of_all = share(n_rows * kv * chunks, worker, n_workers);
          for (uint32_t i = mine_of_all.begin; i < mine_of_all.end; ++i) {
            const uint32_t r = i / chunks / kv, h = i / chunks % kv, d = i % chunks * 32;
            add_cache(t.reads, {0, r + 1}, {h, h + 1});
            add(t.reads, p.scores, worker, {r, r + 1}, scores_of(h, queries));
            for (uint32_t q = h * queries; q < (h + 1) * queries; ++q)
              add_value(t.writes, n.outputs[0], worker, {r, r + 1},
                        Interval{q * dim + d, q * dim + std::min(d + 32, dim)});
          }
        } else if (s.division == Division::heads_or_dims) {
          const Interval heads = share(kv, worker, n_workers);
          for (uint32_t h = heads.begin; h < heads.end; ++h) attend(every, h);
        } else if (shared) {
          for (uint32_t h = 0; h < kv; ++h) attend(mine, h);
        } else {
          uint32_t item = 0;
          for (uint32_t r = 0; r < all; r += 16)
            for (uint32_t h = 0; h < kv; ++h, ++item)
              if (!dealt || item % n_workers == worker) attend({r, std::min(r + 16, all)}, h);
        }
        break;
      }
      case Kernel::attention_scores: {
        const auto dim = static_cast<uint32_t>(n.integer("head_dim")),
                   kv = static_cast<uint32_t>(n.integer("n_kv_heads")),
                   queries = static_cast<uint32_t>(n.integer("n_heads")) / kv;
        uint32_t total = 0, item = 0;
        for (uint32_t r = 0; r < n_rows; ++r) total += (r + 1) * kv;
        const Interval mine_of_all = share(total, worker, n_workers);
        for (uint32_t r = 0; r < n_rows; ++r)
          for (uint32_t h = 0; h < kv; ++h)
            for (uint32_t page = 0; page <= r; ++page, ++item) {
              if (item < mine_of_all.begin || item >= mine_of_all.end) continue;
              add_value(t.reads, n.inputs[0], worker, {r, r + 1},
                        Interval{h * queries * dim, (h + 1) * queries * dim});
              add_cache(t.reads, {page, page + 1}, {h, h + 1});
              const Interval scores = scores_of(h, queries);
              add(t.writes, p.scores, worker, {r, r + 1},
                  Interval{scores.begin + page, scores.begin + page + 1});
            }
        break;
      }
      case Kernel::select_rows:  // any rows may be wanted
        add_value(t.reads, n.inputs[0], worker, {0, n_rows});
        add_value(t.writes, n.outputs[0], worker, mine);
        break;
      case Kernel::output_hidden: add_value(t.reads, g.hidden, worker, mine); break;
      case Kernel::embed:
      case Kernel::norm:
      case Kernel::quantize:
      case Kernel::elementwise:
        for (const ValueId v : n.inputs) add_value(t.reads, v, worker, mine);
        for (const ValueId v : n.outputs) add_value(t.writes, v, worker, mine);
        break;
    }
    return t;
  }
};

// Stages of two layers have two caches.
bool meet(const std::vector<Span>& a, const std::vector<Span>& b, bool one_layer) {
  for (const Span& x : a)
    for (const Span& y : b)
      if (x.memory == y.memory && x.begin < y.end && y.begin < x.end && (one_layer || x.memory != kCache))
        return true;
  return false;
}

std::vector<Stage*> stages_of(Phase& p) {
  std::vector<Stage*> out;
  for (auto* part : {&p.prologue, &p.body, &p.epilogue})
    for (Stage& s : *part) out.push_back(&s);
  return out;
}

// Which pairs of stages must not run without a barrier between: by stage, for one number of workers.
struct Hazards {
  std::vector<std::vector<bool>> pair[2];  // of two layers, of one

  bool deep;

  Hazards(const Graph& g, Phase& p, uint32_t n_workers, bool is_deep) : deep(is_deep) {
    const bool decode = p.max_rows < 16;
    const Simulated batch{g, p, decode ? 4U : 35U, decode ? 3U : 16U, n_workers, deep};
    const std::vector<Stage*> stages = stages_of(p);
    std::vector<std::vector<Touched>> any(stages.size()), one_of_it(stages.size());
    for (size_t i = 0; i < stages.size(); ++i)
      for (uint32_t w = 0; w < n_workers; ++w) {
        any[i].push_back(batch.of(*stages[i], w, false));
        one_of_it[i].push_back(batch.of(*stages[i], w, true));
      }
    for (const bool one_layer : {false, true}) {
      pair[one_layer].assign(stages.size(), std::vector<bool>(stages.size()));
      for (size_t i = 0; i < stages.size(); ++i)
        for (size_t j = 0; j < stages.size(); ++j) {
          const auto& touched = i == j ? one_of_it : any;
          for (uint32_t a = 0; a < n_workers; ++a)
            for (uint32_t b = 0; b < n_workers; ++b)
              if (a != b && (meet(touched[i][a].writes, touched[j][b].reads, one_layer) ||
                             meet(touched[i][a].writes, touched[j][b].writes, one_layer) ||
                             meet(touched[i][a].reads, touched[j][b].writes, one_layer)))
                pair[one_layer][i][j] = true;
        }
    }
  }

  // Runs the stages with the barriers that they have now: the first two that meet, if any.
  std::optional<std::pair<size_t, size_t>> race(const Phase& p) const {
    const size_t body = p.prologue.size(), epilogue = body + p.body.size();
    std::vector<size_t> order;
    const auto append = [&](size_t begin, size_t end) {
      order.resize(order.size() + end - begin);
      std::iota(order.end() - static_cast<ptrdiff_t>(end - begin), order.end(), begin);
    };
    append(0, body);
    for (int layer = 0; layer < 3; ++layer) append(body, epilogue);
    append(epilogue, epilogue + p.epilogue.size());
    const auto stage = [&](size_t i) -> const Stage& {
      return i < body ? p.prologue[i] : i < epilogue ? p.body[i - body] : p.epilogue[i - epilogue];
    };
    std::vector<size_t> since;  // indices into `order`
    for (size_t i = 0; i < order.size(); ++i) {
      const size_t now = order[i];
      if (stage(now).only_deep && !deep) continue;
      if (stage(now).barrier || (deep && stage(now).deep_barrier)) since.clear();
      since.push_back(i);
      // Prologue and epilogue don't touch a cache.
      for (const size_t before : since)
        if (pair[i - before < p.body.size() && order[before] <= now][order[before]][now])
          return std::pair{order[before], now};
    }
    return std::nullopt;
  }
};

TEST(Barriers, NoTwoWorkersMeet) {
  for (NamedPlan& named : all_plans())
    for (Phase& phase : named.plan.phases)
      for (const bool deep : {false, true})
        for (const uint32_t workers : {2U, 3U, 5U}) {
          const auto race = Hazards(named.graph, phase, workers, deep).race(phase);
          EXPECT_FALSE(race) << named.name << ", " << phase.name << (deep ? ", deep, " : ", ") << workers
                             << " workers: stages " << race->first << " and " << race->second << "\n"
                             << print(named.plan, named.graph);
        }
}

// Every barrier is there for a reason: without it, workers of some number meet.
TEST(Barriers, NoneIsSuperfluous) {
  for (NamedPlan& named : all_plans())
    for (Phase& phase : named.plan.phases) {
      std::vector<Hazards> hazards;
      // A barrier of every step is there for the shallow ones.
      for (const bool deep : {false, true})
        for (const uint32_t workers : {2U, 3U, 5U, 8U})
          hazards.emplace_back(named.graph, phase, workers, deep);
      size_t at = 0;
      for (Stage* s : stages_of(phase)) {
        for (bool Stage::* const barrier : {&Stage::barrier, &Stage::deep_barrier}) {
          if (!(s->*barrier)) continue;
          s->*barrier = false;
          EXPECT_TRUE(std::ranges::any_of(hazards,
                                          [&](const Hazards& h) {
                                            return h.deep == (barrier == &Stage::deep_barrier) &&
                                                   h.race(phase).has_value();
                                          }))
              << named.name << ", " << phase.name << ": the barrier before stage " << at << "\n"
              << print(named.plan, named.graph);
          s->*barrier = true;
        }
        ++at;
      }
    }
}

// The counts of two pieces of work must not be one while both may be dealt.
TEST(Barriers, WhatIsDealtSinceOneHasItsOwnNumber) {
  size_t n_dealt = 0;
  for (NamedPlan& named : all_plans())
    for (Phase& p : named.plan.phases) {
      std::set<uint32_t> since;
      for (const auto* part : {&p.prologue, &p.body, &p.body, &p.epilogue})
        for (const Stage& s : *part) {
          if (s.barrier) since.clear();
          for (uint32_t deal = s.first_deal; deal < s.first_deal + s.n_deals(); ++deal, ++n_dealt) {
            EXPECT_LT(deal, rt::Barrier::kDeals);
            EXPECT_TRUE(since.insert(deal).second)
                << named.name << ", " << p.name << ": number " << deal << "\n"
                << print(named.plan, named.graph);
          }
        }
    }
  EXPECT_GT(n_dealt, 0U);
}

// What a llama's token costs in waiting. A larger number is a regression; a smaller one a gain to be kept.
TEST(Barriers, CountOfThePlainLlama) {
  const NamedPlan named = make_plan("plain llama", plain_llama());
  const auto count = [](const std::vector<Stage>& stages) {
    return std::ranges::count_if(stages, [](const Stage& s) { return s.barrier; });
  };
  const Phase &decode = named.plan.phases[0], &batch = named.plan.phases[1];
  EXPECT_EQ(count(decode.prologue), 0);
  EXPECT_EQ(count(decode.body), 5) << print(named.plan, named.graph);
  EXPECT_EQ(std::ranges::count_if(decode.body, &Stage::deep_barrier), 2) << print(named.plan, named.graph);
  EXPECT_EQ(count(decode.epilogue), 1) << print(named.plan, named.graph);
  EXPECT_EQ(count(batch.prologue), 0);
  EXPECT_EQ(count(batch.body), 10) << print(named.plan, named.graph);
  EXPECT_EQ(count(batch.epilogue), 2) << print(named.plan, named.graph);

  const NamedPlan bf16 = make_plan("bf16 prompts", plain_llama(), true);
  ASSERT_EQ(bf16.plan.phases.size(), 3U);
  const Phase& prompt = bf16.plan.phases[2];
  EXPECT_EQ(count(prompt.prologue), 0);
  EXPECT_EQ(count(prompt.body), 1) << print(bf16.plan, bf16.graph);
}

// Whatever a layer has beside, its workers meet once.
TEST(Barriers, OneALayerInEveryPromptPhase) {
  size_t n_phases = 0;
  for (const NamedPlan& named : all_plans()) {
    if (named.plan.phases.size() < 3) continue;
    ++n_phases;
    EXPECT_EQ(std::ranges::count_if(named.plan.phases[2].body, [](const Stage& s) { return s.barrier; }), 1)
        << print(named.plan, named.graph);
    // Norms of heads and the rotation behind them are divided alike.
    const auto& batch = named.plan.phases[1].body;
    for (size_t i = 1; i < batch.size(); ++i)
      if (batch[i].kernel == Kernel::rope_kv && batch[i - 1].kernel == Kernel::head_norm)
        EXPECT_FALSE(batch[i].barrier) << print(named.plan, named.graph);
  }
  EXPECT_GE(n_phases, 10U);
}

}  // namespace
}  // namespace forge
