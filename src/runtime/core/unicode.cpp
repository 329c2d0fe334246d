#include "runtime/core/unicode.h"

#include <array>
#include <iterator>

namespace forge::rt {
namespace {

constexpr uint32_t kRanges[] = {
#include "runtime/core/unicode_categories.inc"
};
constexpr uint32_t kCodePoints = 0x110000;

// For each block of 256 code points the range that holds its first one, so that a search spans a few ranges
// only.
constexpr auto kBlocks = [] {
  std::array<uint16_t, kCodePoints / 256 + 1> blocks{};
  uint32_t range = 0;
  for (uint32_t b = 0; b < blocks.size(); ++b) {
    while (range + 1 < std::size(kRanges) && (kRanges[range + 1] >> 8) <= b * 256) ++range;
    blocks[b] = static_cast<uint16_t>(range);
  }
  return blocks;
}();

constexpr CharClass find_class(uint32_t cp) {
  uint32_t low = kBlocks[cp / 256], high = kBlocks[cp / 256 + 1];
  while (low < high) {
    const uint32_t middle = (low + high + 1) / 2;
    if ((kRanges[middle] >> 8) <= cp) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const CharClass category = 1u << (kRanges[low] & 0xff);
  constexpr CharClass separators = bit(Category::Zl) | bit(Category::Zp) | bit(Category::Zs);
  const bool whitespace = (category & separators) != 0 || (cp >= 9 && cp <= 13) || cp == 0x85;
  return category | (whitespace ? kWhitespace : 0);
}

constexpr auto kLatin1 = [] {
  std::array<CharClass, 256> table{};
  for (uint32_t cp = 0; cp < table.size(); ++cp) table[cp] = find_class(cp);
  return table;
}();

// What may follow the bytes of an unfinished sequence: how many bytes it has in all (0: nothing starts like
// this) and the bounds of its second byte (Unicode standard, table 3-7).
struct Lead {
  uint32_t bytes, low, high;
};
Lead lead(uint8_t first) {
  if (first < 0x80) return {1, 0, 0};
  if (first >= 0xc2 && first <= 0xdf) return {2, 0x80, 0xbf};
  if (first == 0xe0) return {3, 0xa0, 0xbf};
  if (first == 0xed) return {3, 0x80, 0x9f};
  if (first >= 0xe1 && first <= 0xef) return {3, 0x80, 0xbf};
  if (first == 0xf0) return {4, 0x90, 0xbf};
  if (first >= 0xf1 && first <= 0xf3) return {4, 0x80, 0xbf};
  if (first == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

// Whether `byte` can stand at `index` (1 to 3) of a sequence that starts with `first`.
bool continues(uint8_t first, uint32_t index, uint8_t byte) {
  const Lead l = lead(first);
  return index == 1 ? byte >= l.low && byte <= l.high : (byte & 0xc0) == 0x80;
}

}  // namespace

CharClass char_class(uint32_t code_point) {
  if (code_point < kLatin1.size()) return kLatin1[code_point];
  if (code_point >= kCodePoints) return bit(Category::Cn);
  return find_class(code_point);
}

CodePoint decode_utf8(std::string_view s, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[at + i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const uint32_t n = lead(first).bytes;
  if (n == 0 || s.size() - at < n) return {0xfffd, 1};
  uint32_t value = first & (0x7fu >> n);
  for (uint32_t i = 1; i < n; ++i) {
    if (!continues(first, i, byte(i))) return {0xfffd, 1};
    value = value << 6 | (byte(i) & 0x3fu);
  }
  return {value, n};
}

bool is_utf8(std::string_view s) {
  for (size_t at = 0; at < s.size();) {
    const CodePoint c = decode_utf8(s, at);
    if (c.value == 0xfffd && c.bytes == 1) return false;
    at += c.bytes;
  }
  return true;
}

void append_utf8(std::string& out, uint32_t cp) {
  if (cp < 0x80) {
    out += static_cast<char>(cp);
  } else if (cp < 0x800) {
    out += static_cast<char>(0xc0 | cp >> 6);
    out += static_cast<char>(0x80 | (cp & 0x3f));
  } else if (cp < 0x10000) {
    out += static_cast<char>(0xe0 | cp >> 12);
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (cp & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | cp >> 18);
    out += static_cast<char>(0x80 | (cp >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (cp & 0x3f));
  }
}

size_t last_code_point(std::string_view s) {
  for (size_t bytes = 2; bytes <= 4 && bytes <= s.size(); ++bytes) {
    if (decode_utf8(s, s.size() - bytes).bytes == bytes) return s.size() - bytes;
  }
  return s.size() - 1;
}

void Utf8Stream::push(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    if (n_pending_ > 0) {
      const auto first = static_cast<uint8_t>(pending_[0]);
      if (continues(first, n_pending_, static_cast<uint8_t>(c))) {
        pending_[n_pending_++] = c;
        if (n_pending_ == lead(first).bytes) {
          out.append(pending_, n_pending_);
          n_pending_ = 0;
        }
        continue;
      }
      flush(out);
    }
    const uint32_t n = lead(static_cast<uint8_t>(c)).bytes;
    if (n == 1) {
      out += c;
    } else if (n == 0) {
      append_utf8(out, 0xfffd);
    } else {
      pending_[n_pending_++] = c;
    }
  }
}

void Utf8Stream::flush(std::string& out) {
  if (n_pending_ > 0) append_utf8(out, 0xfffd);
  n_pending_ = 0;
}

}  // namespace forge::rt
