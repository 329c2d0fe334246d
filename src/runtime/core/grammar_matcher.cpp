#include "runtime/core/grammar_matcher.h"

#include <algorithm>
#include <bit>
#include <bitset>
#include <numeric>
#include <utility>

#include "runtime/core/grammar_check.h"

namespace forge::rt {

GrammarAutomaton make_automaton(const Grammar& g) {
  GrammarAutomaton a;
  a.start = g.rules[0];
  std::bitset<257> cuts;
  for (const Grammar::Edge& e : g.edges) cuts[e.low] = cuts[e.high + 1u] = true;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (byte == 0 || cuts[byte]) ++a.n_classes;
    a.byte_class[byte] = static_cast<uint8_t>(a.n_classes - 1);
  }
  a.next.assign(g.states.size() * a.n_classes, GrammarAutomaton::kNone);
  const std::vector<bool> nullable = nullable_states(g);
  for (const Grammar::Call& c : g.calls) {
    const uint32_t first = g.rules[c.rule];
    a.calls.push_back({first, c.target, nullable[first]});
  }
  for (size_t s = 0; s < g.states.size(); ++s) {
    const Grammar::State& from = g.states[s];
    a.states.push_back({from.first_call, from.n_calls, from.accepting, from.n_edges != 0});
    for (uint32_t i = 0; i < from.n_edges; ++i) {
      const Grammar::Edge& e = g.edges[from.first_edge + i];
      for (unsigned c = a.byte_class[e.low]; c <= a.byte_class[e.high]; ++c)
        a.next[s * a.n_classes + c] = e.target;
    }
  }
  return a;
}

namespace {

constexpr uint64_t kMaxRefinement = 1 << 25;  // numbers in the signatures that are compared

// Divides states into finer and finer classes, by Moore's algorithm: in each round by where a byte leads, which is
// told by the classes of the round before. Only states that lead to one whose class has changed are looked at.
struct Refinement {
  const GrammarAutomaton& a;
  std::vector<uint32_t> class_of, class_size;
  std::vector<uint32_t> sources_begin = {}, sources = {};  // by state: those that lead to it
  std::vector<uint32_t> affected = {}, changed = {};
  uint64_t work = 0;

  explicit Refinement(const GrammarAutomaton& automaton)
      : a(automaton), class_of(a.states.size()), class_size{static_cast<uint32_t>(a.states.size())} {
    const auto each_way = [&](auto&& way) {
      for (uint32_t s = 0; s < a.states.size(); ++s) {
        for (uint32_t c = 0; c < a.n_classes; ++c) {
          const uint32_t to = a.next[size_t{s} * a.n_classes + c];
          const bool repeats = c > 0 && a.next[size_t{s} * a.n_classes + c - 1] == to;
          if (to != GrammarAutomaton::kNone && !repeats) way(s, to);
        }
        for (uint32_t i = 0; i < a.states[s].n_calls; ++i) way(s, a.calls[a.states[s].first_call + i].target);
      }
    };
    sources_begin.assign(a.states.size() + 1, 0);
    each_way([&](uint32_t, uint32_t to) { ++sources_begin[to + 1]; });
    for (size_t s = 0; s < a.states.size(); ++s) sources_begin[s + 1] += sources_begin[s];
    sources.resize(sources_begin.back());
    std::vector<uint32_t> next(sources_begin.begin(), sources_begin.end() - 1);
    each_way([&](uint32_t s, uint32_t to) { sources[next[to]++] = s; });
    // What shows before any byte. Behind a call of what may be empty nothing was read: only the same place is alike.
    for (uint32_t s = 0; s < a.states.size(); ++s) affected.push_back(s);
    divide([&](uint32_t s, std::vector<uint32_t>& out) {
      const GrammarAutomaton::State& state = a.states[s];
      out.push_back(state.accepting ? 1 : 0);
      for (uint32_t i = 0; i < state.n_calls; ++i) {
        const GrammarAutomaton::Call& call = a.calls[state.first_call + i];
        out.insert(out.end(), {call.rule, call.may_be_empty ? call.target : GrammarAutomaton::kNone,
                               a.states[call.target].only_ends() ? 1u : 0u});
      }
    });
    for (uint32_t s = 0; s < a.states.size(); ++s) changed.push_back(s);
  }

  // One byte more.
  void refine() {
    std::vector<bool> seen(a.states.size());
    affected.clear();
    for (const uint32_t to : changed) {
      for (uint32_t i = sources_begin[to]; i < sources_begin[to + 1]; ++i) {
        if (!seen[sources[i]]) affected.push_back(sources[i]);
        seen[sources[i]] = true;
      }
    }
    std::sort(affected.begin(), affected.end());
    divide([&](uint32_t s, std::vector<uint32_t>& out) {
      for (uint32_t c = 0; c < a.n_classes; ++c) {
        const uint32_t to = a.next[size_t{s} * a.n_classes + c];
        out.push_back(to == GrammarAutomaton::kNone ? to : class_of[to]);
      }
      for (uint32_t i = 0; i < a.states[s].n_calls; ++i)
        out.push_back(class_of[a.calls[a.states[s].first_call + i].target]);
    });
  }

  // Gives affected states of one class that differ in `signature` different ones, and lists those that got another.
  void divide(auto&& signature) {
    std::vector<uint32_t> n_affected(class_size.size());
    for (const uint32_t s : affected) ++n_affected[class_of[s]];
    struct Group {
      uint64_t hash;
      size_t begin, end;  // its signature in `pool`
      uint32_t new_class;
    };
    std::vector<Group> groups;
    std::vector<uint32_t> pool;
    std::vector<uint32_t> new_classes;
    std::vector<uint32_t> slots(std::bit_ceil(2 * affected.size() + 2));  // open addressing: group + 1
    std::vector<bool> kept(class_size.size());
    for (const uint32_t s : affected) {
      const size_t begin = pool.size();
      pool.push_back(class_of[s]);
      signature(s, pool);
      work += pool.size() - begin;
      uint64_t hash = 0x9E3779B97F4A7C15u;
      for (size_t i = begin; i < pool.size(); ++i) {
        hash = (hash ^ pool[i]) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
      }
      size_t slot = hash & (slots.size() - 1);
      for (; slots[slot] != 0; slot = (slot + 1) & (slots.size() - 1)) {
        const Group& g = groups[slots[slot] - 1];
        if (g.hash == hash && std::equal(pool.begin() + static_cast<ptrdiff_t>(g.begin),
                                         pool.begin() + static_cast<ptrdiff_t>(g.end),
                                         pool.begin() + static_cast<ptrdiff_t>(begin), pool.end()))
          break;
      }
      if (slots[slot] == 0) {
        // The class stays with states that are not affected, or with one group where all are.
        const uint32_t old = class_of[s];
        uint32_t id = old;
        if (kept[old] || n_affected[old] != class_size[old]) {
          id = static_cast<uint32_t>(class_size.size());
          class_size.push_back(0);
        } else {
          kept[old] = true;
        }
        groups.push_back({hash, begin, pool.size(), id});
        slots[slot] = static_cast<uint32_t>(groups.size());
      } else {
        pool.resize(begin);
      }
      new_classes.push_back(groups[slots[slot] - 1].new_class);
    }
    changed.clear();
    for (size_t i = 0; i < affected.size(); ++i) {
      uint32_t& id = class_of[affected[i]];
      if (id == new_classes[i]) continue;
      --class_size[id];
      id = new_classes[i];
      ++class_size[id];
      changed.push_back(affected[i]);
    }
  }
};

}  // namespace

std::vector<std::vector<uint32_t>> lookahead_classes(const GrammarAutomaton& automaton,
                                                     std::span<const uint32_t> lengths) {
  std::vector<std::vector<uint32_t>> out;
  Refinement r(automaton);
  uint32_t n = 0;
  for (const uint32_t length : lengths) {
    for (; n < length && !r.changed.empty() && r.work <= kMaxRefinement; ++n) r.refine();
    if (r.work > kMaxRefinement) std::iota(r.class_of.begin(), r.class_of.end(), 0);
    out.push_back(r.class_of);
  }
  return out;
}

StackNodes::StackNodes() : nodes_{{0, kBottom, 0}, {0, kUnknown, 0}}, slots_(16) {}

size_t StackNodes::slot_of(uint32_t target, uint32_t below) const {
  uint64_t hash = (uint64_t{target} << 32 | below) * 0x9E3779B97F4A7C15u;
  hash ^= hash >> 32;
  size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot] != 0) {
    const Node& n = nodes_[slots_[slot]];
    if (n.target == target && n.below == below) break;
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

uint32_t StackNodes::push(uint32_t target, uint32_t below) {
  if (nodes_.size() * 2 >= slots_.size()) {
    slots_.assign(slots_.size() * 2, 0);
    for (uint32_t i = 2; i < nodes_.size(); ++i) slots_[slot_of(nodes_[i].target, nodes_[i].below)] = i;
  }
  const size_t slot = slot_of(target, below);
  if (slots_[slot] == 0) {
    slots_[slot] = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back({target, below, nodes_[below].depth + 1});
  }
  return slots_[slot];
}

void StackNodes::truncate(size_t size) {
  // The last ones first: a search passes only slots that were filled before its own.
  while (nodes_.size() > size) {
    slots_[slot_of(nodes_.back().target, nodes_.back().below)] = 0;
    nodes_.pop_back();
  }
}

void ReadingSet::begin(std::vector<Reading>& out, StackNodes& nodes, uint32_t limit) {
  out_ = &out;
  nodes_ = &nodes;
  first_ = out.size();
  limit_ = limit;
  at_end_ = goes_on_ = too_deep_ = false;
  if (++stamp_ == 0) {
    std::fill(marks_.begin(), marks_.end(), 0);
    stamp_ = 1;
  }
}

void ReadingSet::append(Reading r) {
  if (marks_[r.state] == stamp_) {
    if (std::find(out_->begin() + static_cast<ptrdiff_t>(first_), out_->end(), r) != out_->end()) return;
  }
  if (out_->size() - first_ >= kMaxReadings) return;
  marks_[r.state] = stamp_;
  goes_on_ |= automaton_.states[r.state].has_bytes;
  out_->push_back(r);
}

void ReadingSet::add(Reading reading) {
  const size_t before = out_->size();
  append(reading);
  for (size_t i = before; i < out_->size(); ++i) {
    const auto [state, below] = (*out_)[i];
    const GrammarAutomaton::State& s = automaton_.states[state];
    if (s.accepting) {
      if (below <= StackNodes::kUnknown) {
        at_end_ = true;
      } else {
        append({(*nodes_)[below].target, (*nodes_)[below].below});
      }
    }
    for (uint32_t c = s.first_call; c < s.first_call + s.n_calls; ++c) {
      if (out_->size() - first_ >= kMaxReadings) return;
      const GrammarAutomaton::Call& call = automaton_.calls[c];
      // A rule whose caller has nothing more to do goes on at the caller's caller: no stack grows by recursion at an end.
      if (automaton_.states[call.target].only_ends()) {
        append({call.rule, below});
      } else if ((*nodes_)[below].depth >= limit_) {
        too_deep_ = true;
      } else {
        append({call.rule, nodes_->push(call.target, below)});
      }
    }
  }
}

GrammarPosition grammar_start(const GrammarAutomaton& automaton, ReadingSet& set) {
  GrammarPosition p;
  set.begin(p.readings, p.nodes, kMaxStackDepth);
  set.add({automaton.start, StackNodes::kBottom});
  p.complete = set.at_end();
  return p;
}

namespace {

// Leaves only nodes that readings stand on.
void compact(GrammarPosition& p) {
  StackNodes fresh;
  std::vector<uint32_t> renamed(p.nodes.size(), UINT32_MAX);
  renamed[StackNodes::kBottom] = StackNodes::kBottom;
  std::vector<uint32_t> path;
  for (Reading& r : p.readings) {
    path.clear();
    for (uint32_t n = r.below; renamed[n] == UINT32_MAX; n = p.nodes[n].below) path.push_back(n);
    for (size_t i = path.size(); i-- > 0;) {
      const StackNodes::Node& n = p.nodes[path[i]];
      renamed[path[i]] = fresh.push(n.target, renamed[n.below]);
    }
    r.below = renamed[r.below];
  }
  p.nodes = std::move(fresh);
}

}  // namespace

bool advance(const GrammarAutomaton& automaton, ReadingSet& set, GrammarPosition& p,
             std::span<const uint8_t> bytes) {
  constexpr size_t kManyNodes = 8192;
  const size_t n_nodes = p.nodes.size();
  std::vector<Reading> now = p.readings;
  std::vector<Reading> next;
  bool complete = p.complete;
  for (const uint8_t byte : bytes) {
    next.clear();
    set.begin(next, p.nodes, kMaxStackDepth);
    for (const Reading& r : now) {
      const uint32_t to = automaton.step(r.state, byte);
      if (to != GrammarAutomaton::kNone) set.add({to, r.below});
    }
    complete = set.at_end();
    if (!set.alive()) {
      p.nodes.truncate(n_nodes);
      return false;
    }
    now.swap(next);
  }
  p.readings = std::move(now);
  p.complete = complete;
  if (p.nodes.size() > kManyNodes) compact(p);
  return true;
}

}  // namespace forge::rt
