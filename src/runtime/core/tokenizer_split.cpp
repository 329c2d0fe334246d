#include "runtime/core/tokenizer_split.h"

#include "runtime/core/unicode.h"

namespace forge::rt {

using namespace tokenizer_format;

bool RegexView::is_sound() const {
  if (regexes.empty()) return true;
  constexpr uint32_t kBlock = 1u << kCharBlockBits;
  if (n_classes < 2 || n_classes > 256 || char_blocks.size() != 0x110000 / kBlock) return false;
  for (const uint16_t block : char_blocks) {
    if ((size_t{block} + 1) * kBlock > char_classes.size()) return false;
  }
  for (const uint8_t c : char_classes) {
    if (c + 1u >= n_classes) return false;
  }
  for (const Regex& regex : regexes) {
    const uint64_t entries = uint64_t{regex.n_states} * n_classes;
    if (regex.n_states < 2 || regex.n_states > kMatchBit || regex.first + entries > transitions.size())
      return false;
    for (uint64_t i = 0; i < entries; ++i) {
      const uint16_t t = transitions[regex.first + i];
      if ((t & ~kMatchBit) >= regex.n_states) return false;
      // Nothing follows the end, and the dead state is one.
      if (((i + 1) % n_classes == 0 || i < n_classes) && (t & ~kMatchBit) != kDeadState) return false;
    }
  }
  return true;
}

RegexMatcher::RegexMatcher(const RegexView& tables, size_t regex, std::string_view text, bool bytes)
    : tables_(tables),
      transitions_(tables.transitions.data() + tables.regexes[regex].first),
      text_(text),
      bytes_(bytes) {}

uint32_t RegexMatcher::class_at(size_t at, size_t& bytes) const {
  if (at >= text_.size()) return tables_.n_classes - 1;
  const auto first = static_cast<uint8_t>(text_[at]);
  CodePoint cp{first, 1};
  if (bytes_) {
    cp.value = kByteAlphabet[first];
  } else if (first >= 0x80) {
    cp = decode_utf8(text_, at);
  }
  bytes = cp.bytes;
  const size_t block = tables_.char_blocks[cp.value >> kCharBlockBits];
  return tables_.char_classes[block << kCharBlockBits | (cp.value & ((1u << kCharBlockBits) - 1))];
}

size_t RegexMatcher::match(size_t at) {
  constexpr size_t kShortBytes = 64;  // runs are traced from here on
  size_t end = at, position = at, bytes = 0;
  uint16_t state = kStartState;
  while (position - at < kShortBytes) {
    const uint16_t t = transitions_[state * tables_.n_classes + class_at(position, bytes)];
    if ((t & kMatchBit) != 0) end = position;
    state = t & static_cast<uint16_t>(~kMatchBit);
    if (state == kDeadState) return end;
    position += bytes;
  }
  return match_long(at, position, state, end);
}

// Without the trace, an expression like \s+$ would take the square of the length of a run of spaces that does
// not end the text: each of its places begins an attempt that goes to the run's end.
size_t RegexMatcher::match_long(size_t at, size_t position, uint16_t state, size_t end) {
  const size_t begin = position;
  recording_.clear();
  for (size_t bytes = 0; state != kDeadState; position += bytes) {
    if (position >= trace_begin_ && position - trace_begin_ < trace_.size() &&
        trace_[position - trace_begin_] == state) {
      return trace_match_ >= position ? trace_match_ : end;
    }
    recording_.resize(position - begin, kDeadState);
    recording_.push_back(state);
    const uint16_t t = transitions_[state * tables_.n_classes + class_at(position, bytes)];
    if ((t & kMatchBit) != 0) end = position;
    state = t & static_cast<uint16_t>(~kMatchBit);
  }
  trace_.swap(recording_);
  trace_begin_ = begin;
  trace_match_ = end == at ? 0 : end;
  return end;
}

RegexMatcher::Match RegexMatcher::find(size_t at) {
  for (size_t bytes = 0; at < text_.size(); at += bytes) {
    const size_t end = match(at);
    if (end > at) return {at, end};
    class_at(at, bytes);
  }
  return {text_.size(), text_.size()};
}

namespace {

struct Words {
  const RegexView& tables;
  std::span<const Split> splits;
  WordSink sink;

  // Cuts `text` by the stages from `stage` on.
  void cut(size_t stage, std::string_view text) const {
    if (stage == splits.size()) return sink.take(sink.context, text);
    const Split split = splits[stage];
    RegexMatcher matcher(tables, stage, text, split.bytes != 0);
    Piece held;  // what may still be joined with the piece behind it
    bool was_match = false;
    const auto piece = [&](size_t begin, size_t end, bool is_match) {
      if (begin == end) return;
      is_match = is_match != (split.inverted != 0);
      bool joins = false;
      switch (split.behavior) {
        case Behavior::removed:
          if (is_match) return;
          break;
        case Behavior::contiguous: joins = is_match == was_match; break;
        case Behavior::merged_previous: joins = is_match && !was_match; break;
        case Behavior::merged_next: joins = !is_match && was_match; break;
        case Behavior::isolated: break;
      }
      was_match = is_match;
      if (joins && held.begin < held.end) {
        held.end = end;
        return;
      }
      pass(stage, text, held);
      held = {begin, end};
    };
    for (size_t at = 0; at < text.size();) {
      const RegexMatcher::Match match = matcher.find(at);
      piece(at, match.begin, false);
      piece(match.begin, match.end, true);
      at = match.end;
    }
    pass(stage, text, held);
  }

 private:
  struct Piece {
    size_t begin = 0, end = 0;
  };
  void pass(size_t stage, std::string_view text, Piece piece) const {
    if (piece.begin < piece.end) cut(stage + 1, text.substr(piece.begin, piece.end - piece.begin));
  }
};

}  // namespace

void split_words(const RegexView& tables, std::span<const Split> splits, std::string_view text,
                 WordSink sink) {
  if (!text.empty()) Words{tables, splits, sink}.cut(0, text);
}

}  // namespace forge::rt
