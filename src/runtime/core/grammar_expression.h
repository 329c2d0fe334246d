// Expressions over characters and rules, which the front ends write and `compile` makes a Grammar of.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/grammar.h"
#include "runtime/core/result.h"

namespace forge::rt {

struct CodePointRange {
  uint32_t low, high;  // any code point in [low, high]
};

// In order, without overlaps, surrogates and what is beyond U+10FFFF.
std::vector<CodePointRange> normalized(std::vector<CodePointRange> ranges);
// Every code point that is in none of the ranges.
std::vector<CodePointRange> complement(std::vector<CodePointRange> ranges);

// Whether a member of a list must be there.
enum class Presence : uint8_t { required, optional, any_number };

// An arena of expressions, named by their index, and of rules. Nothing here fails: what is beyond a limit is
// remembered, and compile() gives the Error.
struct GrammarExpressions {
  using Expr = uint32_t;
  static constexpr uint32_t kUnbounded = UINT32_MAX;

  struct Member {
    Expr expr;
    Presence presence = Presence::required;
  };

  Expr empty() { return literal({}); }
  Expr literal(std::string_view bytes);
  // One character; none matches where there are no ranges.
  Expr characters(std::vector<CodePointRange> ranges);
  Expr sequence(std::span<const Expr> parts);
  Expr sequence(std::initializer_list<Expr> given) {
    return sequence(std::span(given.begin(), given.size()));
  }
  Expr choice(std::span<const Expr> parts);
  Expr choice(std::initializer_list<Expr> given) { return choice(std::span(given.begin(), given.size())); }
  Expr repeat(Expr part, uint32_t min, uint32_t max = kUnbounded);
  Expr optional(Expr part) { return repeat(part, 0, 1); }
  // The members in this order with separators between those that are there; maybe none.
  Expr list(std::span<const Member> members, Expr separator);
  Expr call(uint32_t rule);

  uint32_t add_rule(std::string name);  // to be defined later
  void define(uint32_t rule, Expr expr) { rules[rule].expr = expr; }

  // The rule 0 is the whole text. Error: left recursion, by the rule's name; nothing that matches; a limit.
  Result<Grammar> compile() const;

  enum class Kind : uint8_t { literal, characters, sequence, choice, repeat, list, call };
  struct Node {
    Kind kind = Kind::literal;
    uint16_t depth = 1;           // levels of expressions
    uint32_t size = 1;            // about the nodes of its automaton; saturates
    uint32_t begin = 0, end = 0;  // bytes, ranges, parts or members; repeat: of one part; call: the rule
    uint32_t min = 0, max = 0;    // repeat; list: min is the separator
  };
  struct Rule {
    std::string name;
    Expr expr = UINT32_MAX;
  };
  std::vector<Node> nodes;
  std::vector<Rule> rules;
  std::string bytes;
  std::vector<CodePointRange> ranges;
  std::vector<Expr> parts;
  std::vector<Member> members;
  struct Blocks {
    uint32_t whole, rest;  // rules
  };
  std::map<Expr, Blocks> blocks;  // by what is repeated in them
  std::string failure;            // the first limit that was met

 private:
  Expr add(Node node);
  Expr repeat_plainly(Expr part, uint32_t min, uint32_t max);
};

}  // namespace forge::rt
