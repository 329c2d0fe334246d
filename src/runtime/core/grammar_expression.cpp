#include "runtime/core/grammar_expression.h"

#include <algorithm>
#include <bitset>
#include <utility>

#include "runtime/core/grammar_check.h"
#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

using Expr = GrammarExpressions::Expr;
using Kind = GrammarExpressions::Kind;
using Node = GrammarExpressions::Node;

constexpr uint32_t kMaxExpressions = 1 << 20;  // nodes, parts, ranges, bytes: each
constexpr uint16_t kMaxDepth = 400;            // of an expression: compiling recurses
constexpr uint32_t kMaxNfaNodes = 1 << 20;     // of one rule
constexpr uint64_t kMaxWork = 1 << 26;  // steps of making automata deterministic, for the whole grammar
constexpr size_t kMaxSets = 1 << 23;    // nodes in the sets of one rule's states
constexpr uint32_t kInlineSize = 48;    // rules up to this size are put where they are called
constexpr int kInlineRounds = 8;        // levels of rules within rules put so
constexpr uint32_t kBlock = 64;         // long repetitions are cut to blocks of so many
constexpr uint32_t kMaxPlainRepetition = 4096;  // nodes of a repetition that is not cut to blocks

uint32_t saturating(uint64_t v) { return static_cast<uint32_t>(std::min<uint64_t>(v, UINT32_MAX)); }

}  // namespace

std::vector<CodePointRange> normalized(std::vector<CodePointRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.low < b.low; });
  std::vector<CodePointRange> out;
  const auto add = [&](uint32_t low, uint32_t high) {
    if (low > high) return;
    if (!out.empty() && low <= out.back().high + 1) {
      out.back().high = std::max(out.back().high, high);
    } else {
      out.push_back({low, high});
    }
  };
  for (const auto& r : ranges) {
    add(r.low, std::min(r.high, 0xD7FFu));
    add(std::max(r.low, 0xE000u), std::min(r.high, 0x10FFFFu));
  }
  return out;
}

std::vector<CodePointRange> complement(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> out;
  uint32_t next = 0;
  for (const auto& r : normalized(std::move(ranges))) {
    if (r.low > next) out.push_back({next, r.low - 1});
    next = r.high + 1;
  }
  if (next <= 0x10FFFF) out.push_back({next, 0x10FFFF});
  return normalized(std::move(out));
}

Expr GrammarExpressions::add(Node node) {
  if (nodes.size() >= kMaxExpressions || parts.size() >= kMaxExpressions ||
      ranges.size() >= kMaxExpressions || bytes.size() >= kMaxExpressions ||
      members.size() >= kMaxExpressions) {
    if (failure.empty()) failure = text("it has more than ", kMaxExpressions, " parts");
    return 0;
  }
  if (node.depth > kMaxDepth) {
    if (failure.empty()) failure = text("it is nested more than ", kMaxDepth, " levels deep");
    node = {};
  }
  nodes.push_back(node);
  return static_cast<Expr>(nodes.size() - 1);
}

Expr GrammarExpressions::literal(std::string_view s) {
  if (s.size() > kMaxExpressions - std::min<size_t>(bytes.size(), kMaxExpressions)) {
    if (failure.empty()) failure = text("its texts have more than ", kMaxExpressions, " bytes");
    s = {};
  }
  const auto begin = static_cast<uint32_t>(bytes.size());
  bytes += s;
  return add({.kind = Kind::literal,
              .size = static_cast<uint32_t>(s.size()) + 1,
              .begin = begin,
              .end = static_cast<uint32_t>(bytes.size())});
}

Expr GrammarExpressions::characters(std::vector<CodePointRange> given) {
  given = normalized(std::move(given));
  const auto begin = static_cast<uint32_t>(ranges.size());
  uint32_t size = 1;
  for (const auto& r : given) size += r.high < 0x80 ? 1 : r.high < 0x800 ? 3 : 8;
  ranges.insert(ranges.end(), given.begin(), given.end());
  return add(
      {.kind = Kind::characters, .size = size, .begin = begin, .end = static_cast<uint32_t>(ranges.size())});
}

Expr GrammarExpressions::sequence(std::span<const Expr> given) {
  if (given.size() == 1) return given[0];
  if (!failure.empty()) return 0;
  Node n{.kind = Kind::sequence, .begin = static_cast<uint32_t>(parts.size())};
  for (const Expr e : given) {
    n.depth = std::max<uint16_t>(n.depth, nodes[e].depth + 1);
    n.size = saturating(uint64_t{n.size} + nodes[e].size);
    parts.push_back(e);
  }
  n.end = static_cast<uint32_t>(parts.size());
  return add(n);
}

Expr GrammarExpressions::choice(std::span<const Expr> given) {
  const Expr e = sequence(given);
  if (given.size() != 1) nodes[e].kind = Kind::choice;
  return e;
}

Expr GrammarExpressions::repeat_plainly(Expr part, uint32_t min, uint32_t max) {
  const uint64_t count = max == kUnbounded ? uint64_t{min} + 1 : max;
  return add({.kind = Kind::repeat,
              .depth = static_cast<uint16_t>(nodes[part].depth + 1),
              .size = saturating(2 + nodes[part].size * count),
              .begin = part,
              .min = min,
              .max = max});
}

// A long repetition of something large is cut to calls of blocks, so that the automaton grows with count / kBlock and
// what is allowed at a place in a block is found once for all blocks.
Expr GrammarExpressions::repeat(Expr part, uint32_t min, uint32_t max) {
  if (min > kMaxRepetition || (max != kUnbounded && max > kMaxRepetition)) {
    if (failure.empty()) failure = text("it has repetitions beyond ", kMaxRepetition);
    return empty();
  }
  const uint64_t count = max == kUnbounded ? min : max;
  if (count <= 2 * kBlock || count * nodes[part].size <= kMaxPlainRepetition) {
    return repeat_plainly(part, min, max);
  }
  auto known = blocks.find(part);
  if (known == blocks.end()) {
    const Blocks made{add_rule("a block of a repetition"), add_rule("the rest of a repetition")};
    define(made.whole, repeat_plainly(part, kBlock, kBlock));
    define(made.rest, repeat_plainly(part, 0, kBlock - 1));
    known = blocks.emplace(part, made).first;
  }
  const Expr block = call(known->second.whole);
  const Expr rest = call(known->second.rest);
  const Expr exactly = sequence(
      {repeat_plainly(block, min / kBlock, min / kBlock), repeat_plainly(part, min % kBlock, min % kBlock)});
  if (max == kUnbounded) return sequence({exactly, repeat_plainly(part, 0, kUnbounded)});
  const uint32_t more = max - min;
  if (more <= kBlock) return sequence({exactly, repeat_plainly(part, 0, more)});
  const uint32_t n = more / kBlock;
  return sequence(
      {exactly, choice({sequence({repeat_plainly(block, 0, n - 1), rest}),
                        sequence({repeat_plainly(block, n, n), repeat_plainly(part, 0, more % kBlock)})})});
}

Expr GrammarExpressions::list(std::span<const Member> given, Expr separator) {
  Node n{.kind = Kind::list, .begin = static_cast<uint32_t>(members.size()), .min = separator};
  n.depth = nodes[separator].depth + 1;
  for (const Member& m : given) {
    n.depth = std::max<uint16_t>(n.depth, nodes[m.expr].depth + 1);
    n.size = saturating(uint64_t{n.size} + nodes[m.expr].size + nodes[separator].size);
    members.push_back(m);
  }
  n.end = static_cast<uint32_t>(members.size());
  return add(n);
}

Expr GrammarExpressions::call(uint32_t rule) { return add({.kind = Kind::call, .begin = rule}); }

uint32_t GrammarExpressions::add_rule(std::string name) {
  rules.push_back({std::move(name)});
  return static_cast<uint32_t>(rules.size() - 1);
}

namespace {

// A nondeterministic automaton of one rule: node 0 is its start, node 1 its end.
struct Nfa {
  struct Edge {
    enum class Kind : uint8_t { empty, bytes, call } kind;
    uint8_t low, high;
    uint32_t to;
    uint32_t rule = 0;  // of the expressions
    uint32_t next;      // the next edge of the same node, or kNone
  };
  static constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> first;  // by node: its first edge, or kNone
  std::vector<Edge> edges;

  uint32_t add_node() {
    first.push_back(kNone);
    return static_cast<uint32_t>(first.size() - 1);
  }
  void add_edge(uint32_t from, Edge e) {
    e.next = first[from];
    first[from] = static_cast<uint32_t>(edges.size());
    edges.push_back(e);
  }
  void join(uint32_t from, uint32_t to) { add_edge(from, {Edge::Kind::empty, 0, 0, to, 0, kNone}); }
  void add_bytes(uint32_t from, uint8_t low, uint8_t high, uint32_t to) {
    add_edge(from, {Edge::Kind::bytes, low, high, to, 0, kNone});
  }
  bool full() const { return first.size() > kMaxNfaNodes || edges.size() > 2 * kMaxNfaNodes; }
};

// Rules that are put where they are called: small ones that call nothing but such.
std::vector<bool> inlined_rules(const GrammarExpressions& x) {
  std::vector<bool> inlined(x.rules.size());
  std::vector<uint64_t> sizes(x.rules.size());
  for (int round = 0; round < kInlineRounds; ++round) {
    std::vector<bool> next = inlined;
    for (size_t r = 1; r < x.rules.size(); ++r) {
      const Node& top = x.nodes[x.rules[r].expr];
      if (inlined[r] || top.size > kInlineSize) continue;
      // Walks at most kInlineSize nodes or so: every node counts for one in the size.
      uint64_t size = top.size;
      bool fits = true;
      std::vector<Expr> work = {x.rules[r].expr};
      while (!work.empty() && fits) {
        const Node& n = x.nodes[work.back()];
        work.pop_back();
        switch (n.kind) {
          case Kind::call:
            size += sizes[n.begin];
            fits = inlined[n.begin];
            break;
          case Kind::sequence:
          case Kind::choice:
            work.insert(work.end(), x.parts.begin() + n.begin, x.parts.begin() + n.end);
            break;
          case Kind::repeat:
            // Its calls count once for each time.
            fits = n.max <= 2 || x.nodes[n.begin].kind == Kind::characters ||
                   x.nodes[n.begin].kind == Kind::literal ||
                   n.min + uint64_t{n.max == GrammarExpressions::kUnbounded ? 0 : n.max} <= 2;
            work.push_back(n.begin);
            break;
          case Kind::list: fits = false; break;
          case Kind::literal:
          case Kind::characters: break;
        }
      }
      if (!fits || size > kInlineSize) continue;
      next[r] = true;
      sizes[r] = size;
    }
    if (next == inlined) break;
    inlined = std::move(next);
  }
  return inlined;
}

// Writes the automata of expressions.
struct NfaWriter {
  const GrammarExpressions& x;
  const std::vector<bool>& inlined;
  Nfa nfa = {};

  // Ways of one character's bytes that end alike share their nodes.
  struct Suffix {
    uint8_t low, high;
    uint32_t to, node;
  };

  void write_bytes(uint32_t from, uint32_t to, std::span<const std::pair<uint8_t, uint8_t>> way,
                   std::vector<Suffix>& suffixes) {
    for (size_t i = way.size(); i-- > 1;) {
      const auto [low, high] = way[i];
      const auto known = std::find_if(suffixes.begin(), suffixes.end(), [&](const Suffix& s) {
        return s.low == low && s.high == high && s.to == to;
      });
      if (known != suffixes.end()) {
        to = known->node;
        continue;
      }
      const uint32_t node = nfa.add_node();
      nfa.add_bytes(node, low, high, to);
      // The common ones come first: bounded so that no class makes the search long.
      if (suffixes.size() < 64) suffixes.push_back({low, high, to, node});
      to = node;
    }
    nfa.add_bytes(from, way[0].first, way[0].second, to);
  }

  // All code points of n bytes in [low, high], where both have n bytes in UTF-8.
  void write_range(uint32_t from, uint32_t to, uint32_t low, uint32_t high, unsigned n,
                   std::vector<Suffix>& suffixes) {
    // Cut where the bytes behind the first differing one do not run from 0x80 to 0xBF.
    for (unsigned i = 1; i < n; ++i) {
      const uint32_t mask = (1u << (6 * i)) - 1;
      if ((low & ~mask) == (high & ~mask)) break;
      if ((low & mask) != 0) {
        write_range(from, to, low, low | mask, n, suffixes);
        write_range(from, to, (low | mask) + 1, high, n, suffixes);
        return;
      }
      if ((high & mask) != mask) {
        write_range(from, to, low, (high & ~mask) - 1, n, suffixes);
        write_range(from, to, high & ~mask, high, n, suffixes);
        return;
      }
    }
    std::string a;
    std::string b;
    append_utf8(a, low);
    append_utf8(b, high);
    std::pair<uint8_t, uint8_t> way[4];
    for (unsigned i = 0; i < n; ++i) way[i] = {static_cast<uint8_t>(a[i]), static_cast<uint8_t>(b[i])};
    write_bytes(from, to, std::span(way, n), suffixes);
  }

  void write_characters(uint32_t from, uint32_t to, const CodePointRange& r, std::vector<Suffix>& suffixes) {
    constexpr uint32_t kLast[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
    uint32_t first = 0;
    for (unsigned n = 1; n <= 4; ++n) {
      const uint32_t low = std::max(r.low, first);
      const uint32_t high = std::min(r.high, kLast[n - 1]);
      if (low <= high) write_range(from, to, low, high, n, suffixes);
      first = kLast[n - 1] + 1;
    }
  }

  // Adds ways from `from` to `to`: no edge into `from` and none out of `to` but where they are one node. Recurses as
  // deep as the expression and kInlineRounds rules below it.
  void write(Expr e, uint32_t from, uint32_t to) {
    if (nfa.full()) return;
    const Node& n = x.nodes[e];
    switch (n.kind) {
      case Kind::literal: {
        if (n.begin == n.end) return nfa.join(from, to);
        for (uint32_t i = n.begin; i < n.end; ++i) {
          const uint32_t next = i + 1 == n.end ? to : nfa.add_node();
          const auto byte = static_cast<uint8_t>(x.bytes[i]);
          nfa.add_bytes(from, byte, byte, next);
          from = next;
        }
        return;
      }
      case Kind::characters: {
        std::vector<Suffix> suffixes;
        for (uint32_t i = n.begin; i < n.end; ++i) write_characters(from, to, x.ranges[i], suffixes);
        return;
      }
      case Kind::sequence: {
        if (n.begin == n.end) return nfa.join(from, to);
        for (uint32_t i = n.begin; i < n.end; ++i) {
          const uint32_t next = i + 1 == n.end ? to : nfa.add_node();
          write(x.parts[i], from, next);
          from = next;
        }
        return;
      }
      case Kind::choice:
        for (uint32_t i = n.begin; i < n.end; ++i) write(x.parts[i], from, to);
        return;
      case Kind::repeat: {
        const auto once = [&] {
          const uint32_t next = nfa.add_node();
          write(n.begin, from, next);
          from = next;
        };
        for (uint32_t i = 0; i < n.min && !nfa.full(); ++i) once();
        if (n.max == GrammarExpressions::kUnbounded) {
          const uint32_t loop = nfa.add_node();
          nfa.join(from, loop);
          write(n.begin, loop, loop);
          return nfa.join(loop, to);
        }
        for (uint32_t i = n.min; i < n.max && !nfa.full(); ++i) {
          nfa.join(from, to);
          once();
        }
        return nfa.join(from, to);
      }
      case Kind::list: {
        // Two rows of nodes: nothing written yet, and something, before which a separator comes.
        uint32_t none = from;
        uint32_t some = nfa.add_node();
        for (uint32_t i = n.begin; i < n.end && !nfa.full(); ++i) {
          const auto& m = x.members[i];
          const uint32_t member = nfa.add_node();
          nfa.join(none, member);
          write(n.min, some, member);
          if (m.presence == Presence::any_number) {
            write(m.expr, member, some);
            continue;
          }
          const uint32_t next = nfa.add_node();
          write(m.expr, member, next);
          const uint32_t next_none = nfa.add_node();
          if (m.presence == Presence::optional) {
            nfa.join(none, next_none);
            nfa.join(some, next);
          }
          none = next_none;
          some = next;
        }
        nfa.join(none, to);
        return nfa.join(some, to);
      }
      case Kind::call:
        if (inlined[n.begin]) return write(x.rules[n.begin].expr, from, to);
        nfa.add_edge(from, {Nfa::Edge::Kind::call, 0, 0, to, n.begin, Nfa::kNone});
        return;
    }
  }
};

// Makes automata deterministic, into one Grammar.
struct Determinizer {
  Grammar& out;
  std::vector<uint32_t>& rule_ids;    // of the expressions' rules in the Grammar, or kNone
  std::vector<uint32_t>& rule_order;  // the other way
  uint64_t work = 0;
  std::string_view failure = {};

  static constexpr uint32_t kNone = UINT32_MAX;
  const Nfa* nfa = nullptr;
  std::vector<uint32_t> seen = {};  // by node: the closure it was last in
  uint32_t stamp = 0;
  std::vector<uint32_t> stack = {};
  // Sets of nodes: those of state i are pool[begin[i]] up to begin[i + 1].
  std::vector<uint32_t> pool = {}, begin = {};
  std::vector<uint32_t> slots = {};  // open addressing: state + 1
  std::vector<uint64_t> hashes = {};
  uint32_t first_state = 0;

  uint32_t rule_id(uint32_t rule) {
    if (rule_ids[rule] == kNone) {
      rule_ids[rule] = static_cast<uint32_t>(rule_order.size());
      rule_order.push_back(rule);
    }
    return rule_ids[rule];
  }

  // The state of all that the nodes reach without a byte. Only nodes that do more than lead on count, so that equal
  // states are seen as such.
  uint32_t state_of(std::span<const uint32_t> nodes) {
    ++stamp;
    const size_t at = pool.size();
    for (const uint32_t n : nodes) {
      if (seen[n] == stamp) continue;
      seen[n] = stamp;
      stack.push_back(n);
    }
    while (!stack.empty()) {
      const uint32_t n = stack.back();
      stack.pop_back();
      ++work;
      bool counts = n == 1;
      for (uint32_t e = nfa->first[n]; e != Nfa::kNone; e = nfa->edges[e].next) {
        const Nfa::Edge& edge = nfa->edges[e];
        ++work;
        if (edge.kind != Nfa::Edge::Kind::empty) {
          counts = true;
        } else if (seen[edge.to] != stamp) {
          seen[edge.to] = stamp;
          stack.push_back(edge.to);
        }
      }
      if (counts) pool.push_back(n);
    }
    std::sort(pool.begin() + static_cast<ptrdiff_t>(at), pool.end());
    uint64_t hash = 0x9E3779B97F4A7C15u;
    for (size_t i = at; i < pool.size(); ++i)
      hash = (hash ^ pool[i]) * 0xD6E8FEB86659FD93u, hash ^= hash >> 32;
    if ((begin.size() + 1) * 2 > slots.size()) grow();
    size_t slot = hash & (slots.size() - 1);
    for (; slots[slot] != 0; slot = (slot + 1) & (slots.size() - 1)) {
      const uint32_t other = slots[slot] - 1;
      if (hashes[other] == hash && std::equal(pool.begin() + static_cast<ptrdiff_t>(at), pool.end(),
                                              pool.begin() + static_cast<ptrdiff_t>(begin[other]),
                                              pool.begin() + static_cast<ptrdiff_t>(begin[other + 1]))) {
        pool.resize(at);
        return first_state + other;
      }
    }
    const auto state = static_cast<uint32_t>(hashes.size());
    slots[slot] = state + 1;
    hashes.push_back(hash);
    begin.push_back(static_cast<uint32_t>(pool.size()));
    out.states.emplace_back();
    return first_state + state;
  }

  void grow() {
    slots.assign(std::max<size_t>(64, slots.size() * 2), 0);
    for (uint32_t i = 0; i < hashes.size(); ++i) {
      size_t slot = hashes[i] & (slots.size() - 1);
      while (slots[slot] != 0) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = i + 1;
    }
  }

  bool too_much() {
    if (work > kMaxWork || out.states.size() > kMaxGrammarStates ||
        out.edges.size() + out.calls.size() > kMaxGrammarEdges || pool.size() > kMaxSets) {
      failure = "its automaton is too large";
    }
    return !failure.empty();
  }

  // Gives the start state.
  uint32_t run(const Nfa& automaton) {
    nfa = &automaton;
    seen.assign(automaton.first.size(), 0);
    stamp = 0;
    pool.clear();
    begin.assign(1, 0);
    slots.clear();
    hashes.clear();
    first_state = static_cast<uint32_t>(out.states.size());
    const uint32_t start_node = 0;
    const uint32_t start = state_of({&start_node, 1});
    std::vector<const Nfa::Edge*> bytes;
    std::vector<const Nfa::Edge*> calls;
    std::vector<uint32_t> targets;
    for (uint32_t s = 0; s < hashes.size() && !too_much(); ++s) {
      bytes.clear();
      calls.clear();
      std::bitset<257> cuts;
      Grammar::State state{.first_edge = static_cast<uint32_t>(out.edges.size()),
                           .first_call = static_cast<uint32_t>(out.calls.size())};
      for (uint32_t i = begin[s]; i < begin[s + 1]; ++i) {
        state.accepting |= pool[i] == 1;
        for (uint32_t e = nfa->first[pool[i]]; e != Nfa::kNone; e = nfa->edges[e].next) {
          const Nfa::Edge& edge = nfa->edges[e];
          ++work;
          if (edge.kind == Nfa::Edge::Kind::call) calls.push_back(&edge);
          if (edge.kind != Nfa::Edge::Kind::bytes) continue;
          bytes.push_back(&edge);
          cuts[edge.low] = cuts[edge.high + 1u] = true;
        }
      }
      for (unsigned low = 0; low < 256 && !bytes.empty();) {
        unsigned high = low + 1;
        while (high < 256 && !cuts[high]) ++high;
        targets.clear();
        for (const Nfa::Edge* e : bytes) {
          if (e->low <= low && low <= e->high) targets.push_back(e->to);
        }
        work += bytes.size();
        if (!targets.empty()) {
          const uint32_t to = state_of(targets);
          if (out.edges.size() > state.first_edge && out.edges.back().high + 1u == low &&
              out.edges.back().target == to) {
            out.edges.back().high = static_cast<uint8_t>(high - 1);
          } else {
            out.edges.push_back({static_cast<uint8_t>(low), static_cast<uint8_t>(high - 1), to});
          }
        }
        low = high;
      }
      std::sort(calls.begin(), calls.end(),
                [](const Nfa::Edge* a, const Nfa::Edge* b) { return a->rule < b->rule; });
      for (size_t i = 0; i < calls.size();) {
        targets.clear();
        const uint32_t rule = calls[i]->rule;
        for (; i < calls.size() && calls[i]->rule == rule; ++i) targets.push_back(calls[i]->to);
        const uint32_t id = rule_id(rule);
        out.calls.push_back({id, state_of(targets)});
      }
      state.n_edges = static_cast<uint32_t>(out.edges.size()) - state.first_edge;
      state.n_calls = static_cast<uint32_t>(out.calls.size()) - state.first_call;
      out.states[first_state + s] = state;
    }
    return start;
  }
};

}  // namespace

Result<Grammar> GrammarExpressions::compile() const {
  if (!failure.empty()) return Error{text("grammar: ", failure)};
  const std::vector<bool> inlined = inlined_rules(*this);
  Grammar g;
  std::vector<uint32_t> rule_ids(rules.size(), UINT32_MAX);
  std::vector<uint32_t> rule_order;
  Determinizer determinizer{g, rule_ids, rule_order};
  determinizer.rule_id(0);
  for (size_t i = 0; i < rule_order.size(); ++i) {
    const Rule& rule = rules[rule_order[i]];
    NfaWriter writer{*this, inlined};
    writer.nfa.add_node();
    writer.nfa.add_node();
    writer.write(rule.expr, 0, 1);
    determinizer.work += writer.nfa.edges.size();
    if (!writer.nfa.full()) g.rules.push_back(determinizer.run(writer.nfa));
    if (writer.nfa.full() || determinizer.too_much()) {
      return Error{text("grammar: ", rule.name,
                        ": its automaton is too large; use fewer or shorter repetitions and "
                        "alternatives (at most ",
                        kMaxGrammarStates, " states)")};
    }
  }
  if (const int64_t rule = find_left_recursion(g); rule >= 0) {
    return Error{
        text("grammar: ", rules[rule_order[static_cast<size_t>(rule)]].name,
             " is left recursive: it calls itself before it matches anything; write it as a repetition")};
  }
  if (!remove_dead_ends(g)) return Error{"grammar: no finite text matches it"};
  return g;
}

}  // namespace forge::rt
