// The regular expressions with which tokenizers cut text into words, compiled to automata that the program
// walks (runtime/core/tokenizer_split.h).
//
// The language is the part of Oniguruma's Ruby syntax that tokenizer files use, which is what Hugging Face's
// tokenizers reads: alternation, groups, (?i:…), classes with \p{…}, ranges, negation and nesting, greedy,
// lazy and (where it makes no difference) possessive quantifiers, and what looks at one character ahead:
// (?=[…]), (?!\S), $, \z.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/tokenizer_format.h"

namespace forge {

// What several expressions become: they share one partition of the characters into classes.
struct RegexTables {
  uint32_t n_classes = 0;             // with the last one, which is the end of the text
  std::vector<uint16_t> char_blocks;  // see tokenizer_format.h
  std::vector<uint8_t> char_classes;
  std::vector<rt::tokenizer_format::Regex> regexes;  // in order
  std::vector<uint16_t> transitions;
};

// The first of the ways to match, as a backtracking matcher would find it, in one pass over the text. Throws
// Error naming the expression and what in it is not supported, is wrong, matches the empty text, or needs too
// large tables.
RegexTables compile_regexes(std::span<const std::string> expressions);

// The expression that matches `text` itself.
std::string escape_regex(std::string_view text);

}  // namespace forge
