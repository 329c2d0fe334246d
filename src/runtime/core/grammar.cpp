#include "runtime/core/grammar.h"

#include <algorithm>
#include <utility>

#include "runtime/core/grammar_check.h"

namespace forge::rt {
namespace {

constexpr uint32_t kMagic = 0x4D475246;  // "FRGM"
constexpr uint32_t kVersion = 1;

// Lists of numbers by key, all in one array.
struct Adjacency {
  std::vector<uint32_t> begin, items;
  std::span<const uint32_t> operator[](uint32_t key) const {
    return std::span(items).subspan(begin[key], begin[key + 1] - begin[key]);
  }
};

// pairs: (key, item).
Adjacency group_by_key(const std::vector<std::pair<uint32_t, uint32_t>>& pairs, size_t n_keys) {
  Adjacency out;
  out.begin.assign(n_keys + 1, 0);
  for (const auto& [key, item] : pairs) ++out.begin[key + 1];
  for (size_t i = 0; i < n_keys; ++i) out.begin[i + 1] += out.begin[i];
  out.items.resize(pairs.size());
  std::vector<uint32_t> next(out.begin.begin(), out.begin.end() - 1);
  for (const auto& [key, item] : pairs) out.items[next[key]++] = item;
  return out;
}

std::span<const Grammar::Edge> edges_of(const Grammar& g, const Grammar::State& s) {
  return std::span(g.edges).subspan(s.first_edge, s.n_edges);
}
std::span<const Grammar::Call> calls_of(const Grammar& g, const Grammar::State& s) {
  return std::span(g.calls).subspan(s.first_call, s.n_calls);
}

Adjacency rules_by_start(const Grammar& g) {
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  pairs.reserve(g.rules.size());
  for (uint32_t r = 0; r < g.rules.size(); ++r) pairs.emplace_back(g.rules[r], r);
  return group_by_key(pairs, g.states.size());
}

// Whether an end can be reached from each state.
std::vector<bool> live_states(const Grammar& g) {
  // Calls count once both their rule and their target are live: they are listed under both.
  std::vector<std::pair<uint32_t, uint32_t>> by_target;
  std::vector<std::pair<uint32_t, uint32_t>> calls_by_target;
  std::vector<std::pair<uint32_t, uint32_t>> calls_by_rule;
  std::vector<uint32_t> call_states(g.calls.size());
  for (uint32_t s = 0; s < g.states.size(); ++s) {
    for (const auto& e : edges_of(g, g.states[s])) by_target.emplace_back(e.target, s);
    for (uint32_t i = 0; i < g.states[s].n_calls; ++i) {
      const uint32_t c = g.states[s].first_call + i;
      call_states[c] = s;
      calls_by_target.emplace_back(g.calls[c].target, c);
      calls_by_rule.emplace_back(g.calls[c].rule, c);
    }
  }
  const Adjacency sources = group_by_key(by_target, g.states.size());
  const Adjacency to_target = group_by_key(calls_by_target, g.states.size());
  const Adjacency to_rule = group_by_key(calls_by_rule, g.rules.size());
  const Adjacency starts = rules_by_start(g);
  std::vector<bool> live(g.states.size());
  std::vector<uint32_t> work;
  const auto mark = [&](uint32_t s) {
    if (live[s]) return;
    live[s] = true;
    work.push_back(s);
  };
  for (uint32_t s = 0; s < g.states.size(); ++s) {
    if (g.states[s].accepting) mark(s);
  }
  while (!work.empty()) {
    const uint32_t s = work.back();
    work.pop_back();
    for (const uint32_t from : sources[s]) mark(from);
    for (const uint32_t c : to_target[s]) {
      if (live[g.rules[g.calls[c].rule]]) mark(call_states[c]);
    }
    for (const uint32_t rule : starts[s]) {
      for (const uint32_t c : to_rule[rule]) {
        if (live[g.calls[c].target]) mark(call_states[c]);
      }
    }
  }
  return live;
}

void put(std::vector<uint8_t>& out, uint32_t v) {
  for (unsigned shift = 0; shift < 32; shift += 8) out.push_back(static_cast<uint8_t>(v >> shift));
}

}  // namespace

std::vector<bool> nullable_states(const Grammar& g) {
  Grammar without_bytes;
  without_bytes.rules = g.rules;
  without_bytes.calls = g.calls;
  without_bytes.states = g.states;
  for (Grammar::State& s : without_bytes.states) s.first_edge = s.n_edges = 0;
  return live_states(without_bytes);
}

bool remove_dead_ends(Grammar& g) {
  const std::vector<bool> live = live_states(g);
  if (!live[g.rules[0]]) return false;
  // Only what the first rule's start reaches stays.
  Grammar out;
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> new_state(g.states.size(), kNone);
  std::vector<uint32_t> new_rule(g.rules.size(), kNone);
  std::vector<uint32_t> order;
  const auto state = [&](uint32_t s) {
    if (new_state[s] == kNone) {
      new_state[s] = static_cast<uint32_t>(order.size());
      order.push_back(s);
    }
    return new_state[s];
  };
  const auto rule = [&](uint32_t r) {
    if (new_rule[r] == kNone) {
      new_rule[r] = static_cast<uint32_t>(out.rules.size());
      out.rules.push_back(state(g.rules[r]));
    }
    return new_rule[r];
  };
  rule(0);
  for (size_t i = 0; i < order.size(); ++i) {
    const Grammar::State& from = g.states[order[i]];
    Grammar::State to{.first_edge = static_cast<uint32_t>(out.edges.size()),
                      .first_call = static_cast<uint32_t>(out.calls.size()),
                      .accepting = from.accepting};
    for (const auto& e : edges_of(g, from)) {
      if (live[e.target]) out.edges.push_back({e.low, e.high, state(e.target)});
    }
    for (const auto& c : calls_of(g, from)) {
      if (live[c.target] && live[g.rules[c.rule]]) out.calls.push_back({rule(c.rule), state(c.target)});
    }
    to.n_edges = static_cast<uint32_t>(out.edges.size()) - to.first_edge;
    to.n_calls = static_cast<uint32_t>(out.calls.size()) - to.first_call;
    out.states.push_back(to);
  }
  g = std::move(out);
  return true;
}

int64_t find_left_recursion(const Grammar& g) {
  // From state to state without a byte: into a rule, or past a rule that matches nothing. A rule calls itself before any
  // byte if and only if a way into a rule lies on a cycle: in a strongly connected component (Tarjan, without recursion).
  const std::vector<bool> nullable = nullable_states(g);
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> index(g.states.size(), kNone);
  std::vector<uint32_t> low(g.states.size());
  std::vector<uint32_t> component(g.states.size(), kNone);
  std::vector<uint32_t> open;  // states without a component yet, in order of their index
  struct Frame {
    uint32_t state, next;  // `next`: twice the call, plus 1 for the way past it
  };
  std::vector<Frame> stack;
  uint32_t n_seen = 0;
  const auto enter = [&](uint32_t s) {
    index[s] = low[s] = n_seen++;
    open.push_back(s);
    stack.push_back({s, 0});
  };
  for (uint32_t first = 0; first < g.states.size(); ++first) {
    if (index[first] == kNone) enter(first);
    while (!stack.empty()) {
      Frame& f = stack.back();
      const uint32_t s = f.state;
      if (f.next < 2 * g.states[s].n_calls) {
        const Grammar::Call& c = g.calls[g.states[s].first_call + f.next / 2];
        const bool past = f.next % 2 != 0;
        ++f.next;
        if (past && !nullable[g.rules[c.rule]]) continue;
        const uint32_t to = past ? c.target : g.rules[c.rule];
        if (index[to] == kNone) {
          enter(to);
        } else if (component[to] == kNone) {
          low[s] = std::min(low[s], index[to]);
        }
        continue;
      }
      stack.pop_back();
      if (!stack.empty()) low[stack.back().state] = std::min(low[stack.back().state], low[s]);
      if (low[s] != index[s]) continue;
      uint32_t member = kNone;
      do {
        member = open.back();
        open.pop_back();
        component[member] = s;
      } while (member != s);
    }
  }
  for (uint32_t s = 0; s < g.states.size(); ++s) {
    for (const auto& c : calls_of(g, g.states[s])) {
      if (component[g.rules[c.rule]] == component[s]) return c.rule;
    }
  }
  return -1;
}

std::string token_terminal(int32_t token) {
  std::string out = "\xFF";
  for (unsigned shift = 0; shift < 32; shift += 8)
    out += static_cast<char>(static_cast<uint32_t>(token) >> shift & 0xFF);
  return out;
}

std::vector<uint8_t> write_grammar(const Grammar& g) {
  std::vector<uint8_t> out;
  put(out, kMagic);
  put(out, kVersion);
  for (const size_t n : {g.rules.size(), g.states.size(), g.edges.size(), g.calls.size()}) {
    put(out, static_cast<uint32_t>(n));
  }
  for (const uint32_t r : g.rules) put(out, r);
  for (const Grammar::State& s : g.states) {
    put(out, s.n_edges << 1 | (s.accepting ? 1 : 0));
    put(out, s.n_calls);
  }
  for (const Grammar::Edge& e : g.edges) {
    out.push_back(e.low);
    out.push_back(e.high);
    put(out, e.target);
  }
  for (const Grammar::Call& c : g.calls) {
    put(out, c.rule);
    put(out, c.target);
  }
  return out;
}

Result<Grammar> read_grammar(std::span<const uint8_t> bytes) {
  const auto broken = [](std::string_view what) {
    return Error{text("grammar: ", what, "; the program is damaged or of another version")};
  };
  size_t at = 0;
  const auto get = [&] {
    uint32_t v = 0;
    for (unsigned i = 0; i < 4; ++i) v |= static_cast<uint32_t>(bytes[at + i]) << (8 * i);
    at += 4;
    return v;
  };
  if (bytes.size() < 24 || get() != kMagic) return broken("the bytes are not a grammar");
  if (get() != kVersion) return broken("its version is not 1");
  const uint32_t n_rules = get();
  const uint32_t n_states = get();
  const uint32_t n_edges = get();
  const uint32_t n_calls = get();
  if (n_rules == 0 || n_rules > n_states || n_states > kMaxGrammarStates || n_edges > kMaxGrammarEdges ||
      n_calls > kMaxGrammarEdges - n_edges) {
    return broken("a count is out of range");
  }
  if (bytes.size() - at != 4ull * n_rules + 8ull * n_states + 6ull * n_edges + 8ull * n_calls) {
    return broken("its length does not fit its counts");
  }
  Grammar g;
  for (uint32_t i = 0; i < n_rules; ++i) g.rules.push_back(get());
  uint64_t edges = 0;
  uint64_t calls = 0;
  for (uint32_t i = 0; i < n_states; ++i) {
    const uint32_t word = get();
    const Grammar::State s{.first_edge = static_cast<uint32_t>(edges),
                           .n_edges = word >> 1,
                           .first_call = static_cast<uint32_t>(calls),
                           .n_calls = get(),
                           .accepting = (word & 1) != 0};
    edges += s.n_edges;
    calls += s.n_calls;
    if (edges > n_edges || calls > n_calls) return broken("a state's edges are out of range");
    g.states.push_back(s);
  }
  if (edges != n_edges || calls != n_calls) return broken("a state's edges are out of range");
  for (uint32_t i = 0; i < n_edges; ++i) {
    const uint8_t low = bytes[at];
    const uint8_t high = bytes[at + 1];
    at += 2;
    g.edges.push_back({low, high, get()});
  }
  for (uint32_t i = 0; i < n_calls; ++i) {
    const uint32_t rule = get();
    g.calls.push_back({rule, get()});
  }
  for (const uint32_t start : g.rules) {
    if (start >= n_states) return broken("a rule's start is out of range");
  }
  for (const Grammar::Call& c : g.calls) {
    if (c.rule >= n_rules || c.target >= n_states) return broken("a call is out of range");
  }
  for (const Grammar::State& s : g.states) {
    int last = -1;
    for (const Grammar::Edge& e : edges_of(g, s)) {
      if (e.target >= n_states || e.low > e.high || e.low <= last) return broken("an edge is out of range");
      last = e.high;
    }
  }
  const std::vector<bool> live = live_states(g);
  if (std::find(live.begin(), live.end(), false) != live.end()) return broken("a state has no way to an end");
  if (find_left_recursion(g) >= 0) return broken("a rule is left recursive");
  return g;
}

}  // namespace forge::rt
