// Pre-tokenizers: how byte-level BPE vocabularies cut text into words before merging.
//
// The references are regular expressions, applied one after the other: each cuts the pieces that the one
// before left, matches and the text between matches both being pieces. Here each expression is a hand-written
// matcher.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace forge::rt {

// Returns where the match that starts at text[at] ends, or `at` if none does; `at` < text.size() is the start
// of a code point. Sees nothing outside of `text`.
using Matcher = size_t (*)(std::string_view text, size_t at);

struct Splitter {
  std::string_view name;          // as tokenizer.ggml.pre spells it
  bool ignore_merges;             // a word that is itself in the vocabulary is not put together from merges
  bool add_bos;                   // unless the file says otherwise
  std::array<Matcher, 4> stages;  // applied in order up to the first null
};

std::span<const Splitter> splitters();
// Null when there is none of that name.
const Splitter* find_splitter(std::string_view name);

// Takes words, in order; all together they are the whole text.
struct WordSink {
  void (*take)(void* context, std::string_view word);
  void* context;
};
void split_words(const Splitter& splitter, std::string_view text, WordSink sink);

}  // namespace forge::rt
