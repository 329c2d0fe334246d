// Grammars that constrain what a model writes: rules over bytes, as a plain data structure, and what makes them. A control
// token, which is no text, is a terminal by bytes of its own (token_terminal).
// grammar_matcher.h runs them, token_masks.h says which tokens they allow.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/jinja_value.h"
#include "runtime/core/result.h"

namespace forge::rt {

// A recursive automaton. Each rule is a deterministic automaton over bytes and calls of rules: a call matches a text
// of the rule called and goes on at its target. What every Grammar made or read below keeps: the edges of a state
// are in order of bytes and do not overlap; each state is on a way to an end; no rule calls itself before it has
// matched a byte (left recursion); sizes are within the limits below.
struct Grammar {
  struct State {
    uint32_t first_edge = 0, n_edges = 0;  // in `edges`
    uint32_t first_call = 0, n_calls = 0;  // in `calls`
    bool accepting = false;                // the rule may end here
  };
  struct Edge {
    uint8_t low, high;  // any byte in [low, high]
    uint32_t target;    // state
  };
  struct Call {
    uint32_t rule;
    uint32_t target;  // state
  };
  std::vector<uint32_t> rules;  // the first state of each; rule 0 is the text as a whole
  std::vector<State> states;
  std::vector<Edge> edges;
  std::vector<Call> calls;
};

inline constexpr uint32_t kMaxGrammarStates = 1 << 16;
inline constexpr uint32_t kMaxGrammarEdges = 1 << 20;  // edges and calls
inline constexpr uint32_t kMaxRepetition = 1 << 16;    // the largest bound of {m,n}, minLength, maxItems, …
inline constexpr size_t kMaxGrammarText = 1 << 20;     // bytes of GBNF, a regular expression, all choices

// GBNF as llama.cpp reads it; the rule `root` is the text. Error, with the line: syntax, an unknown rule, a rule
// defined twice, left recursion, tokens (<name>), a limit.
Result<Grammar> parse_gbnf(std::string_view gbnf);

// What a regular expression matches as a whole (^ and $ at the ends change nothing): characters, escapes, classes,
// \d \w \s \D \W \S, \xHH \uHHHH \u{H}, groups, | * + ? {m,n}, and `.` for all but line ends. Error, with the byte: syntax,
// and what can't be honoured (backreferences, lookaround, word boundaries, Unicode properties, flags).
Result<Grammar> regex_grammar(std::string_view regex);

// One of the texts. Error: none, or an empty one.
Result<Grammar> choices_grammar(std::span<const std::string> choices);

// JSON is compact but for at most one space behind each ':' and ','. Control characters in strings are escaped, other
// characters stand for themselves or are escaped; there are no lone surrogates. Numbers fit 64 bits or a double.
//
// Any object.
Result<Grammar> json_object_grammar();

// JSON that is valid under a schema. Error, with the path of the keyword ("#/properties/age/multipleOf"), for every
// keyword that can't be honoured: none is ignored but annotations (title, description, default, examples, $schema, $id,
// $comment, deprecated, readOnly, writeOnly). The texts may be fewer than the valid ones, never others, where:
// - properties come in the order of the schema; properties that it does not list come behind them, and only where
//   additionalProperties allows them or an object has neither properties nor additionalProperties;
// - keywords without `type` (properties, items, pattern, minimum, …) imply the type they are about;
// - after prefixItems other items come only where `items` says so;
// - integers have at most 18 digits, numbers 18 before the point, 16 behind it and 2 in an exponent, but for what a
//   bound asks for; numbers with bounds have no exponent, with exclusive ones at most 15 digits.
// Schemas of oneOf must differ by type, const or enum, or by those of a property that both require: that no text is valid under
// two of them is then plain to see. Names of properties outside of `properties`
// may repeat.
Result<Grammar> json_schema_grammar(const jinja::Value& schema);

// A token as a part of a grammar's text: bytes that stand for the token itself, whatever its name says. They begin with
// 0xFF, which no UTF-8 has: text can't be taken for them.
std::string token_terminal(int32_t token);

// A grammar as bytes, the same on every machine.
std::vector<uint8_t> write_grammar(const Grammar& grammar);
// Checks all that Grammar promises.
Result<Grammar> read_grammar(std::span<const uint8_t> bytes);

}  // namespace forge::rt
