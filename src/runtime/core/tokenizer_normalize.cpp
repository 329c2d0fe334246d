#include "runtime/core/tokenizer_normalize.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "runtime/core/tokenizer_tables.h"
#include "runtime/core/unicode.h"

namespace forge::rt {

using namespace tokenizer_format;

namespace {

struct Span {
  uint32_t offset, length;
};

bool is_inside(Span s, size_t size) { return uint64_t{s.offset} + s.length <= size; }

std::string_view text_at(std::span<const char> pool, Span s) { return {pool.data() + s.offset, s.length}; }

// ---- mapped characters and normalization forms ----

constexpr uint32_t kHangulSyllables = 0xac00, kLeading = 0x1100, kVowels = 0x1161, kTrailing = 0x11a7;
constexpr uint32_t kLeadingCount = 19, kVowelCount = 21, kTrailingCount = 28;
constexpr uint32_t kSyllableCount = kLeadingCount * kVowelCount * kTrailingCount;

// One step of the kind `map`. Between calls of `flush` it holds a character and the marks behind it, since
// those may change places and compose.
class Mapper {
 public:
  Mapper(const NormalizerView& view, const Step& step)
      : view_(view),
        slots_(view.mappings.subspan(step.a, step.b)),
        reorders_((step.map_flags & kMapReorder) != 0),
        composes_((step.map_flags & kMapCompose) != 0) {
    for (uint32_t c = 0; c < 128; ++c) maps_ascii_ |= find(c) != nullptr;
  }

  std::string run(std::string_view text) {
    out_.reserve(text.size() + text.size() / 8);
    for (size_t at = 0; at < text.size();) {
      const size_t plain = plain_end(text, at);
      if (plain > at) {
        flush();
        out_.append(text, at, plain - at);
        at = plain;
        if (at == text.size()) break;
      }
      const CodePoint cp = decode_utf8(text, at);
      if (cp.value == 0xfffd) {  // also a byte that is no UTF-8
        flush();
        out_.append(text, at, cp.bytes);
      } else if (const MappingSlot* slot = find(cp.value)) {
        const std::string_view to = text_at(view_.pool, {slot->offset, slot->length});
        for (size_t i = 0; i < to.size();) {
          const CodePoint part = decode_utf8(to, i);
          take(part.value);
          i += part.bytes;
        }
      } else if (reorders_ && !composes_ && cp.value - kHangulSyllables < kSyllableCount) {
        const uint32_t index = cp.value - kHangulSyllables;
        take(kLeading + index / (kVowelCount * kTrailingCount));
        take(kVowels + index / kTrailingCount % kVowelCount);
        if (index % kTrailingCount != 0) take(kTrailing + index % kTrailingCount);
      } else {
        take(cp.value);
      }
      at += cp.bytes;
    }
    flush();
    return std::move(out_);
  }

 private:
  struct Mark {
    uint32_t character, combining_class;
    size_t order;
    bool operator<(const Mark& o) const {
      return combining_class != o.combining_class ? combining_class < o.combining_class : order < o.order;
    }
  };

  // The end of the ASCII characters from `at` on that stay as they are: all but one with which what follows
  // might compose.
  size_t plain_end(std::string_view text, size_t at) const {
    if (maps_ascii_) return at;
    size_t end = at;
    while (end < text.size() && static_cast<uint8_t>(text[end]) < 0x80) ++end;
    return end == text.size() || end == at || !reorders_ ? end : end - 1;
  }

  const MappingSlot* find(uint32_t character) const {
    const auto c = static_cast<int32_t>(character);
    return probe(slots_, hash_character(c), &MappingSlot::character,
                 [&](const MappingSlot& s) { return s.character == c; });
  }

  uint32_t combining_class(uint32_t character) const {
    const auto c = static_cast<int32_t>(character);
    const CombiningSlot* slot = probe(view_.combining, hash_character(c), &CombiningSlot::character,
                                      [&](const CombiningSlot& s) { return s.character == c; });
    return slot == nullptr ? 0 : slot->combining_class;
  }

  std::optional<uint32_t> composite(uint32_t first, uint32_t second) const {
    if (first - kLeading < kLeadingCount && second - kVowels < kVowelCount) {
      return kHangulSyllables + ((first - kLeading) * kVowelCount + second - kVowels) * kTrailingCount;
    }
    const uint32_t syllable = first - kHangulSyllables;
    if (syllable < kSyllableCount && syllable % kTrailingCount == 0 && second > kTrailing &&
        second < kTrailing + kTrailingCount) {
      return first + second - kTrailing;
    }
    const auto a = static_cast<int32_t>(first), b = static_cast<int32_t>(second);
    const CompositeSlot* slot = probe(view_.composites, hash_pair(a, b), &CompositeSlot::composite,
                                      [&](const CompositeSlot& s) { return s.first == a && s.second == b; });
    if (slot == nullptr) return std::nullopt;
    return static_cast<uint32_t>(slot->composite);
  }

  void take(uint32_t character) {
    if (!reorders_) return append_utf8(out_, character);
    if (const uint32_t c = character < 0x300 ? 0 : combining_class(character); c != 0) {
      marks_.push_back({character, c, marks_.size()});
      return;
    }
    if (starter_ && composes_) {
      compose_marks();
      const auto both = marks_.empty() ? composite(*starter_, character) : std::nullopt;
      if (both) {
        starter_ = both;
        return;
      }
      emit();
    } else {
      flush();
    }
    starter_ = character;
  }

  // A mark composes with the starter unless one that stays behind stands between them, of its class or more.
  void compose_marks() {
    std::sort(marks_.begin(), marks_.end());
    size_t kept = 0;
    for (const Mark mark : marks_) {
      const bool blocked = kept > 0 && marks_[kept - 1].combining_class >= mark.combining_class;
      const auto both = blocked ? std::nullopt : composite(*starter_, mark.character);
      if (both) {
        starter_ = both;
      } else {
        marks_[kept++] = mark;
      }
    }
    marks_.resize(kept);
  }

  void flush() {
    if (starter_ && composes_) {
      compose_marks();
    } else {
      std::sort(marks_.begin(), marks_.end());
    }
    emit();
  }

  void emit() {
    if (starter_) append_utf8(out_, *starter_);
    for (const Mark& mark : marks_) append_utf8(out_, mark.character);
    starter_.reset();
    marks_.clear();
  }

  const NormalizerView& view_;
  std::span<const MappingSlot> slots_;
  bool reorders_, composes_, maps_ascii_ = false;
  std::string out_;
  std::optional<uint32_t> starter_;
  std::vector<Mark> marks_;
};

// ---- SentencePiece's map ----

// The bytes of the trie, then its units (a double array in Darts' format), then texts that end in 0.
class Charsmap {
 public:
  explicit Charsmap(std::span<const uint8_t> bytes) {
    const size_t trie_bytes = load(bytes, 0);
    units_ = bytes.subspan(4, trie_bytes);
    texts_ = bytes.subspan(4 + trie_bytes);
  }

  static bool is_sound(std::span<const uint8_t> bytes) {
    if (bytes.size() < 4) return false;
    const uint32_t trie_bytes = load(bytes, 0);
    return trie_bytes % 4 == 0 && trie_bytes >= 4 && trie_bytes <= bytes.size() - 4 &&
           bytes.size() - 4 > trie_bytes && bytes.back() == 0;
  }

  std::string run(std::string_view text) const {
    std::string out;
    out.reserve(text.size() + text.size() / 8);
    for (size_t at = 0; at < text.size();) {
      size_t taken = 0;
      const char* to = longest(text.substr(at), taken);
      if (to != nullptr) {
        out += to;
      } else {
        taken = decode_utf8(text, at).bytes;
        out.append(text, at, taken);
      }
      at += taken;
    }
    return out;
  }

 private:
  static uint32_t load(std::span<const uint8_t> bytes, size_t at) {
    uint32_t value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }
  uint32_t unit(size_t node) const { return node < units_.size() / 4 ? load(units_, node * 4) : 0; }
  static uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); }

  // The replacement of the longest key that `text` begins with, and the key's length; null if there is none.
  const char* longest(std::string_view text, size_t& length) const {
    constexpr uint32_t kHasLeaf = 0x100, kLabel = 0x800000ff;
    const char* found = nullptr;
    uint32_t node = offset(unit(0));
    for (size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<uint8_t>(text[i]);
      node ^= byte;
      const uint32_t u = unit(node);
      if (byte == 0 || (u & kLabel) != byte) break;
      node ^= offset(u);
      if ((u & kHasLeaf) != 0) {
        const uint32_t at = unit(node) & 0x7fffffff;
        if (at < texts_.size()) {
          found = reinterpret_cast<const char*>(texts_.data()) + at;
          length = i + 1;
        }
      }
    }
    return found;
  }

  std::span<const uint8_t> units_, texts_;
};

std::string replace(const RegexView& regexes, size_t regex, std::string_view text, std::string_view to) {
  RegexMatcher matcher(regexes, regex, text);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const RegexMatcher::Match match = matcher.find(at);
    out.append(text, at, match.begin - at);
    if (match.begin < match.end) out += to;
    at = match.end;
  }
  return out;
}

bool is_white(std::string_view text, size_t at) {
  return (char_class(decode_utf8(text, at).value) & kWhitespace) != 0;
}

std::string_view strip(std::string_view text, uint32_t sides) {
  while ((sides & 1) != 0 && !text.empty() && is_white(text, 0))
    text.remove_prefix(decode_utf8(text, 0).bytes);
  while ((sides & 2) != 0 && !text.empty()) {
    const size_t last = last_code_point(text);
    if (!is_white(text, last)) break;
    text = text.substr(0, last);
  }
  return text;
}

}  // namespace

bool NormalizerView::is_sound(const RegexView& regexes) const {
  for (const Step& step : steps) {
    if (!is_inside({step.text, step.text_length}, pool.size())) return false;
    switch (step.kind) {
      case StepKind::prepend:
      case StepKind::strip: break;
      case StepKind::replace:
        if (step.a >= regexes.regexes.size()) return false;
        break;
      case StepKind::map:
        if (!is_inside({step.a, step.b}, mappings.size()) ||
            !has_empty_slot(mappings.subspan(step.a, step.b), &MappingSlot::character))
          return false;
        break;
      case StepKind::charsmap:
        if (!Charsmap::is_sound(charsmap)) return false;
        break;
      default: return false;
    }
  }
  for (const MappingSlot& slot : mappings) {
    if (slot.character != kNone && !is_inside({slot.offset, slot.length}, pool.size())) return false;
  }
  return has_empty_slot(combining, &CombiningSlot::character) &&
         has_empty_slot(composites, &CompositeSlot::composite);
}

std::string normalize(const NormalizerView& normalizer, const RegexView& regexes, std::string_view input) {
  std::string text(input);
  for (const Step& step : normalizer.steps) {
    const std::string_view to = text_at(normalizer.pool, {step.text, step.text_length});
    switch (step.kind) {
      case StepKind::prepend:
        if (!text.empty()) text.insert(0, to);
        break;
      case StepKind::strip: text = std::string(strip(text, step.a)); break;
      case StepKind::replace: text = replace(regexes, step.a, text, to); break;
      case StepKind::map: text = Mapper(normalizer, step).run(text); break;
      case StepKind::charsmap: text = Charsmap(normalizer.charsmap).run(text); break;
    }
  }
  return text;
}

}  // namespace forge::rt
