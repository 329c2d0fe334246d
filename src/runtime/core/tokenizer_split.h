// Pre-tokenizers: regular expressions, applied one after the other, cut text into words. They arrive as tables
// (tokenizer_format.h) that formats/tokenizer_regex.cpp makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/core/tokenizer_format.h"

namespace forge::rt {

// The tables of all expressions; what they point to must outlive them.
struct RegexView {
  uint32_t n_classes = 0;
  std::span<const uint16_t> char_blocks;
  std::span<const uint8_t> char_classes;
  std::span<const tokenizer_format::Regex> regexes;
  std::span<const uint16_t> transitions;

  // Whether every index lies inside of the tables.
  bool is_sound() const;
};

// Finds the matches of one expression in one text, from left to right; sees nothing outside of the text.
class RegexMatcher {
 public:
  // With `bytes`, each byte is the character that stands for it in kByteAlphabet.
  RegexMatcher(const RegexView& tables, size_t regex, std::string_view text, bool bytes = false);

  // Where the match that starts at `at` ends, or `at` if none does; at < text.size() is the start of a code
  // point. Calls with ascending `at` take time linear in the text for the expressions of tokenizers.
  size_t match(size_t at);
  // The next match at or after `at`; empty at the text's end when there is none.
  struct Match {
    size_t begin, end;
  };
  Match find(size_t at);

 private:
  uint32_t class_at(size_t at, size_t& bytes) const;
  size_t match_long(size_t at, size_t position, uint16_t state, size_t end);

  const RegexView& tables_;
  const uint16_t* transitions_;
  std::string_view text_;
  bool bytes_;
  // The states of the last long run through [trace_begin_, trace_begin_ + trace_.size()) and the end of the
  // match that it found, 0 if none: a run that reaches a place in the same state would go on as that one did.
  size_t trace_begin_ = 0, trace_match_ = 0;
  std::vector<uint16_t> trace_, recording_;
};

// Takes words, in order.
struct WordSink {
  void (*take)(void* context, std::string_view word);
  void* context;
};
void split_words(const RegexView& tables, std::span<const tokenizer_format::Split> splits,
                 std::string_view text, WordSink sink);

}  // namespace forge::rt
