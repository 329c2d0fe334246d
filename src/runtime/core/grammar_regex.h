// Regular expressions as parts of a grammar.
#pragma once

#include <string_view>
#include <vector>

#include "runtime/core/grammar_expression.h"
#include "runtime/core/result.h"

namespace forge::rt {

// How a character that the expression matches is written.
enum class CharacterForm : uint8_t {
  plain,        // itself
  json_string,  // as in a JSON string, in one way: itself, or the short escape, or \u00HH
  untagged,     // itself, but '<' can't be written
};
// What the expression must match.
enum class RegexScope : uint8_t {
  whole,   // the text as a whole
  inside,  // some part of it, but where ^ and $ say otherwise: a schema's `pattern`
};

// One character of the ranges in that form.
GrammarExpressions::Expr written_characters(GrammarExpressions& x, std::vector<CodePointRange> ranges,
                                            CharacterForm form);
// Appends what a text matches by the expression. Error as regex_grammar's, without "regex, " before it.
Result<GrammarExpressions::Expr> add_regex(GrammarExpressions& x, std::string_view regex, CharacterForm form,
                                           RegexScope scope);

}  // namespace forge::rt
