// Runs a Grammar over bytes: all readings of the text so far at once, each a stack of states.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/core/grammar.h"
#include "runtime/core/result.h"

namespace forge::rt {

// Rules open within each other at most; a text that needs more is refused.
inline constexpr uint32_t kMaxStackDepth = 512;
// Readings at once at most. Where an ambiguous grammar has more, the later ones are given up: texts may be refused that
// it matches, never the other way.
inline constexpr size_t kMaxReadings = 128;

// A Grammar with its transitions as a table. Immutable.
struct GrammarAutomaton {
  static constexpr uint32_t kNone = UINT32_MAX;
  struct State {
    uint32_t first_call = 0, n_calls = 0;
    bool accepting = false;
    bool has_bytes = false;
    bool plain() const { return !accepting && n_calls == 0; }
    bool only_ends() const { return accepting && n_calls == 0 && !has_bytes; }
  };
  uint32_t start = 0;
  uint32_t n_classes = 0;
  uint8_t byte_class[256] = {};
  std::vector<uint32_t> next;  // [state, class]: a state, or kNone
  std::vector<State> states;
  struct Call {
    uint32_t rule;  // its first state
    uint32_t target;
    bool may_be_empty;  // the rule matches the empty text
  };
  std::vector<Call> calls;

  uint32_t step(uint32_t state, uint8_t byte) const {
    return next[size_t{state} * n_classes + byte_class[byte]];
  }
};
GrammarAutomaton make_automaton(const Grammar& grammar);

// Classes of states that no text of up to n bytes tells apart, for each n of `lengths` (ascending): what such a text does
// from either state is the same, its places where the rule ends too. So a place in the middle of a long repetition is
// like the next one. Gives out[i][state]. Where finding them takes too long, every state is a class.
std::vector<std::vector<uint32_t>> lookahead_classes(const GrammarAutomaton& automaton,
                                                     std::span<const uint32_t> lengths);

// Stacks that share what is below, equal ones being one: a node is where the rule on top goes on when it has ended, and the
// stack below.
class StackNodes {
 public:
  static constexpr uint32_t kBottom = 0;   // the text ends
  static constexpr uint32_t kUnknown = 1;  // whatever called the rule
  struct Node {
    uint32_t target, below, depth;
  };
  StackNodes();
  const Node& operator[](uint32_t node) const { return nodes_[node]; }
  uint32_t push(uint32_t target, uint32_t below);
  size_t size() const { return nodes_.size(); }
  void truncate(size_t size);  // to an earlier size()

 private:
  size_t slot_of(uint32_t target, uint32_t below) const;
  std::vector<Node> nodes_;
  std::vector<uint32_t>
      slots_;  // open addressing: node, or 0; filled in order, so that the last can be taken out
};

// One reading: the rule on top is in `state`; the rest of the stack is `below`.
struct Reading {
  uint32_t state, below;
  bool operator==(const Reading&) const = default;
};

// Appends readings, each once, and what they reach without a byte: calls into rules, and the ends of rules.
class ReadingSet {
 public:
  explicit ReadingSet(const GrammarAutomaton& automaton)
      : automaton_(automaton), marks_(automaton.states.size()) {}
  // A new set: what is appended to `out` from now on. Nothing is pushed beyond the depth `limit`.
  void begin(std::vector<Reading>& out, StackNodes& nodes, uint32_t limit);
  void add(Reading reading);
  bool at_end() const { return at_end_; }    // the stack may be empty: kBottom or kUnknown was reached
  bool goes_on() const { return goes_on_; }  // some reading takes another byte
  bool alive() const { return at_end_ || goes_on_; }
  bool too_deep() const { return too_deep_; }  // something was not pushed

 private:
  void append(Reading reading);
  const GrammarAutomaton& automaton_;
  std::vector<Reading>* out_ = nullptr;
  StackNodes* nodes_ = nullptr;
  size_t first_ = 0;
  uint32_t limit_ = 0;
  bool at_end_ = false, goes_on_ = false, too_deep_ = false;
  std::vector<uint32_t> marks_;  // by state: the set it was last appended to
  uint32_t stamp_ = 0;
};

// The readings of the text so far. Copies are independent.
struct GrammarPosition {
  StackNodes nodes;
  std::vector<Reading> readings;
  bool complete = false;  // the text may end here
};

// The position before any text.
GrammarPosition grammar_start(const GrammarAutomaton& automaton, ReadingSet& set);
// Goes on by all of the bytes; false where no reading can: the position is as it was then.
bool advance(const GrammarAutomaton& automaton, ReadingSet& set, GrammarPosition& position,
             std::span<const uint8_t> bytes);

}  // namespace forge::rt
