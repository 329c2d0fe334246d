#include "runtime/core/jinja_unicode.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <span>

#include "runtime/core/jinja_unicode_tables.h"

namespace forge::rt::jinja {

namespace {

constexpr uint32_t kEscapedByte = 0xDC00;  // + a byte that is no UTF-8

uint32_t class_bits(uint32_t cp) {
  const auto* end = std::end(kClasses);
  const auto* after = std::upper_bound(std::begin(kClasses), end, cp << 8 | 0xFF);
  return after == std::begin(kClasses) ? 0 : *(after - 1) & 0xFF;
}

struct CaseTables {
  std::span<const CaseRange> ranges;
  std::span<const CaseSpecial> special;
};

CaseTables tables_of(Case c) {
  switch (c) {
    case Case::upper: return {kUpperRanges, kUpperSpecial};
    case Case::lower: return {kLowerRanges, kLowerSpecial};
    case Case::title: break;
  }
  return {kTitleRanges, kTitleSpecial};
}

bool is_cased(uint32_t cp) {
  return has_class(cp, CharClass::lower) || has_class(cp, CharClass::upper) ||
         has_class(cp, CharClass::title);
}

// Lower case of the character before `pos`, where a capital sigma that ends a word becomes a final sigma.
void append_lower(std::string& out, std::string_view s, size_t pos, uint32_t cp, bool after_cased) {
  constexpr uint32_t kSigma = 0x3A3, kFinalSigma = 0x3C2;
  if (cp == kSigma && after_cased) {
    size_t at = pos;
    if (at >= s.size() || !is_cased(next_code_point(s, at))) return append_code_point(out, kFinalSigma);
  }
  append_case(out, cp, Case::lower);
}

}  // namespace

uint32_t next_code_point(std::string_view s, size_t& pos) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  const uint32_t first = byte(pos++);
  if (first < 0x80) return first;
  const size_t more = first >= 0xF0 && first < 0xF5 ? 3 : first >= 0xE0 && first < 0xF0 ? 2 : 1;
  if (first < 0xC2 || first >= 0xF5 || pos + more > s.size()) return kEscapedByte + first;
  uint32_t cp = first & (0x3Fu >> more);
  for (size_t i = 0; i < more; ++i) {
    if ((byte(pos + i) & 0xC0) != 0x80) return kEscapedByte + first;
    cp = cp << 6 | (byte(pos + i) & 0x3Fu);
  }
  const uint32_t least = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
  if (cp < least || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return kEscapedByte + first;
  pos += more;
  return cp;
}

void append_code_point(std::string& out, uint32_t cp) {
  if (cp >= kEscapedByte + 0x80 && cp < kEscapedByte + 0x100) {
    out += static_cast<char>(cp - kEscapedByte);
  } else if (cp < 0x80) {
    out += static_cast<char>(cp);
  } else if (cp < 0x800) {
    out += static_cast<char>(0xC0 | cp >> 6);
    out += static_cast<char>(0x80 | (cp & 0x3F));
  } else if (cp < 0x10000) {
    out += static_cast<char>(0xE0 | cp >> 12);
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (cp & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | cp >> 18);
    out += static_cast<char>(0x80 | (cp >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (cp & 0x3F));
  }
}

size_t count_code_points(std::string_view s) {
  size_t n = 0;
  for (size_t pos = 0; pos < s.size(); ++n) next_code_point(s, pos);
  return n;
}

size_t code_point_offset(std::string_view s, size_t n) {
  size_t pos = 0;
  for (size_t i = 0; i < n && pos < s.size(); ++i) next_code_point(s, pos);
  return pos;
}

bool has_class(uint32_t cp, CharClass c) { return (class_bits(cp) & static_cast<uint32_t>(c)) != 0; }

bool is_space(uint32_t cp) {
  if (cp < 0x80) return (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x20);
  return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
         cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

void append_case(std::string& out, uint32_t cp, Case c) {
  if (cp < 0x80) {
    const bool lower = cp >= 'a' && cp <= 'z', upper = cp >= 'A' && cp <= 'Z';
    out += static_cast<char>((c == Case::lower ? upper : lower) ? cp ^ 0x20u : cp);
    return;
  }
  const CaseTables t = tables_of(c);
  for (const CaseSpecial& special : t.special) {
    if (special.from == cp) {
      out += special.to;
      return;
    }
  }
  const auto after = std::upper_bound(t.ranges.begin(), t.ranges.end(), cp,
                                      [](uint32_t v, const CaseRange& r) { return v < r.first; });
  if (after != t.ranges.begin()) {
    const CaseRange& r = *(after - 1);
    if (cp <= r.last && (cp - r.first) % r.stride == 0) cp += static_cast<uint32_t>(r.delta);
  }
  append_code_point(out, cp);
}

std::string to_case(std::string_view s, Case c) {
  std::string out;
  bool after_cased = false;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    if (c == Case::lower) {
      append_lower(out, s, pos, cp, after_cased);
    } else {
      append_case(out, cp, c);
    }
    after_cased = is_cased(cp);
  }
  return out;
}

std::string capitalize(std::string_view s) {
  std::string out;
  if (s.empty()) return out;
  size_t pos = 0;
  append_case(out, next_code_point(s, pos), Case::title);
  return out + to_case(s.substr(pos), Case::lower);
}

std::string title_words(std::string_view s) {
  std::string out;
  bool after_cased = false;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    if (after_cased) {
      append_lower(out, s, pos, cp, true);
    } else {
      append_case(out, cp, Case::title);
    }
    after_cased = is_cased(cp);
  }
  return out;
}

std::string swap_case(std::string_view s) {
  std::string out;
  bool after_cased = false;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    if (has_class(cp, CharClass::upper)) {
      append_lower(out, s, pos, cp, after_cased);
    } else if (has_class(cp, CharClass::lower)) {
      append_case(out, cp, Case::upper);
    } else {
      append_code_point(out, cp);
    }
    after_cased = is_cased(cp);
  }
  return out;
}

std::string_view strip(std::string_view s, const std::string_view* chars, bool left, bool right) {
  const auto is_stripped = [&](uint32_t cp) {
    if (chars == nullptr) return is_space(cp);
    for (size_t pos = 0; pos < chars->size();) {
      if (next_code_point(*chars, pos) == cp) return true;
    }
    return false;
  };
  size_t begin = 0;
  while (left && begin < s.size()) {
    size_t pos = begin;
    if (!is_stripped(next_code_point(s, pos))) break;
    begin = pos;
  }
  size_t end = s.size();
  while (right && end > begin) {
    // The last character: at most three continuation bytes before its end.
    size_t start = end - 1;
    for (size_t back = 1; back <= 4 && back <= end - begin; ++back) {
      size_t pos = end - back;
      next_code_point(s, pos);
      if (pos == end) start = end - back;
    }
    size_t pos = start;
    if (!is_stripped(next_code_point(s, pos))) break;
    end = start;
  }
  return s.substr(begin, end - begin);
}

size_t find_text(std::string_view s, std::string_view needle, size_t from) {
  if (from > s.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* at = memmem(s.data() + from, s.size() - from, needle.data(), needle.size());
  return at == nullptr ? std::string_view::npos
                       : static_cast<size_t>(static_cast<const char*>(at) - s.data());
}

}  // namespace forge::rt::jinja
