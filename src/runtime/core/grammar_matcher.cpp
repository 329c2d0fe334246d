#include "runtime/core/grammar_matcher.h"

#include <algorithm>
#include <bitset>
#include <utility>

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
  a.calls = g.calls;
  for (Grammar::Call& c : a.calls) c.rule = g.rules[c.rule];
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
      const Grammar::Call& call = automaton_.calls[c];
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
