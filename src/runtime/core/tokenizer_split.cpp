#include "runtime/core/tokenizer_split.h"

#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

struct Char {
  CharClass classes = 0;  // 0 past the end
  size_t bytes = 0;
};

Char char_at(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const auto first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {char_class(first), 1};
  const CodePoint cp = decode_utf8(text, at);
  return {char_class(cp.value), cp.bytes};
}

bool is_newline(std::string_view text, size_t at) {
  return at < text.size() && (text[at] == '\n' || text[at] == '\r');
}

constexpr CharClass kWord = kLetter | kNumber;
constexpr CharClass kNotOther = kWord | kWhitespace;  // [\s\p{L}\p{N}]
bool is_other(Char c) { return c.bytes != 0 && (c.classes & kNotOther) == 0; }

// The end of the run of characters of these classes that starts at `at`.
size_t skip(std::string_view text, size_t at, CharClass classes) {
  for (Char c = char_at(text, at); (c.classes & classes) != 0; c = char_at(text, at)) at += c.bytes;
  return at;
}

size_t skip_other(std::string_view text, size_t at) {
  for (Char c = char_at(text, at); is_other(c); c = char_at(text, at)) at += c.bytes;
  return at;
}

size_t skip_newlines(std::string_view text, size_t at) {
  while (is_newline(text, at)) ++at;
  return at;
}

// 's|'t|'re|'ve|'m|'ll|'d
template <bool ignore_case>
size_t contraction(std::string_view text, size_t at) {
  if (text[at] != '\'') return at;
  const auto letter = [&](size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char a = letter(at + 1), b = letter(at + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
  return at;
}

struct WhitespaceRun {
  size_t end;           // past the last whitespace character
  size_t last;          // start of the last one
  size_t newlines_end;  // past the last \r or \n; 0 if there is none
};
WhitespaceRun whitespace_run(std::string_view text, size_t at) {
  WhitespaceRun run{at, at, 0};
  for (Char c = char_at(text, at); (c.classes & kWhitespace) != 0; c = char_at(text, run.end)) {
    run.last = run.end;
    run.end += c.bytes;
    if (is_newline(text, run.last)) run.newlines_end = run.end;
  }
  return run;
}

// \s+(?!\S)|\s+ : all of the run at the text's end, else all but its last character, which begins the next
// word (unless it is the only one).
size_t whitespace_before_word(std::string_view text, size_t at, const WhitespaceRun& run) {
  return run.end == text.size() || run.last == at ? run.end : run.last;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t match_gpt2(std::string_view text, size_t at) {
  if (const size_t end = contraction<false>(text, at); end > at) return end;
  const size_t start = at + (text[at] == ' ' ? 1 : 0);
  const Char c = char_at(text, start);
  if ((c.classes & kLetter) != 0) return skip(text, start, kLetter);
  if ((c.classes & kNumber) != 0) return skip(text, start, kNumber);
  if (is_other(c)) return skip_other(text, start);
  return whitespace_before_word(text, at, whitespace_run(text, at));
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max_digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|
// \s*[\r\n]+|\s+(?!\S)|\s+
template <size_t max_digits>
size_t match_cl100k(std::string_view text, size_t at) {
  if (const size_t end = contraction<true>(text, at); end > at) return end;
  const Char c = char_at(text, at);
  if ((c.classes & kNumber) != 0) {
    size_t end = at;
    for (size_t i = 0; i < max_digits; ++i) {
      const Char digit = char_at(text, end);
      if ((digit.classes & kNumber) == 0) break;
      end += digit.bytes;
    }
    return end;
  }
  if ((c.classes & kLetter) != 0) return skip(text, at, kLetter);
  if (!is_newline(text, at) && (char_at(text, at + c.bytes).classes & kLetter) != 0) {
    return skip(text, at + c.bytes, kLetter);
  }
  const size_t start = at + (text[at] == ' ' ? 1 : 0);
  if (is_other(char_at(text, start))) return skip_newlines(text, skip_other(text, start));
  const WhitespaceRun run = whitespace_run(text, at);
  return run.newlines_end != 0 ? run.newlines_end : whitespace_before_word(text, at, run);
}

// \p{N}
size_t match_number(std::string_view text, size_t at) {
  const Char c = char_at(text, at);
  return (c.classes & kNumber) != 0 ? at + c.bytes : at;
}

// \p{N}+
size_t match_numbers(std::string_view text, size_t at) { return skip(text, at, kNumber); }

// [0-9][0-9][0-9]
size_t match_three_digits(std::string_view text, size_t at) {
  const auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  return digit(at) && digit(at + 1) && digit(at + 2) ? at + 3 : at;
}

// [\p{P}\$\+<=>\^~\|]+
size_t match_punctuation(std::string_view text, size_t at) {
  for (;;) {
    const Char c = char_at(text, at);
    const bool listed = c.bytes == 1 && std::string_view("$+<=>^~|").find(text[at]) != std::string_view::npos;
    if ((c.classes & kPunctuation) == 0 && !listed) return at;
    at += c.bytes;
  }
}

constexpr Splitter kSplitters[] = {
    {"default", false, false, {match_punctuation, match_gpt2, match_numbers, match_three_digits}},
    {"gpt-2", false, false, {match_gpt2}},
    {"llama-bpe", true, true, {match_cl100k<3>}},
    {"qwen2", false, false, {match_cl100k<1>}},
    {"smollm", false, false, {match_number, match_gpt2}},
    {"starcoder", false, false, {match_number, match_gpt2}},
};

void run_stage(const Splitter& splitter, size_t stage, std::string_view text, WordSink sink) {
  const Matcher match = stage < splitter.stages.size() ? splitter.stages[stage] : nullptr;
  if (match == nullptr) {
    sink.take(sink.context, text);
    return;
  }
  const auto piece = [&](size_t begin, size_t end) {
    if (begin < end) run_stage(splitter, stage + 1, text.substr(begin, end - begin), sink);
  };
  size_t done = 0;  // everything before it went to the next stage
  for (size_t at = 0; at < text.size();) {
    const size_t end = match(text, at);
    if (end == at) {
      at += char_at(text, at).bytes;
      continue;
    }
    piece(done, at);
    piece(at, end);
    at = done = end;
  }
  piece(done, text.size());
}

}  // namespace

std::span<const Splitter> splitters() { return kSplitters; }

const Splitter* find_splitter(std::string_view name) {
  for (const Splitter& s : kSplitters) {
    if (s.name == name) return &s;
  }
  return nullptr;
}

void split_words(const Splitter& splitter, std::string_view text, WordSink sink) {
  if (!text.empty()) run_stage(splitter, 0, text, sink);
}

}  // namespace forge::rt
