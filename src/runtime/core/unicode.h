// UTF-8 and the general categories of Unicode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace forge::rt {

// General categories, numbered as scripts/make_unicode_tables.py numbers them. Cn is "unassigned".
// clang-format off
enum class Category : uint8_t {
  Cn, Cc, Cf, Co, Cs, Ll, Lm, Lo, Lt, Lu, Mc, Me, Mn, Nd, Nl, No, Pc, Pd, Pe, Pf, Pi, Po, Ps, Sc, Sk, Sm, So, Zl, Zp,
  Zs,
};
// clang-format on

// A set of categories, one bit each; the top bit is the property White_Space (a regular expression's \s).
using CharClass = uint32_t;
constexpr CharClass bit(Category c) { return 1u << static_cast<unsigned>(c); }
inline constexpr CharClass kLetter =
    bit(Category::Ll) | bit(Category::Lm) | bit(Category::Lo) | bit(Category::Lt) | bit(Category::Lu);
inline constexpr CharClass kNumber = bit(Category::Nd) | bit(Category::Nl) | bit(Category::No);
inline constexpr CharClass kPunctuation = bit(Category::Pc) | bit(Category::Pd) | bit(Category::Pe) |
                                          bit(Category::Pf) | bit(Category::Pi) | bit(Category::Po) |
                                          bit(Category::Ps);
inline constexpr CharClass kWhitespace = 1u << 31;

// The category's bit, and kWhitespace where it applies. Any value may be asked for; beyond U+10FFFF is Cn.
CharClass char_class(uint32_t code_point);

struct CodePoint {
  uint32_t value;  // U+FFFD for a byte that starts no well-formed sequence
  uint32_t bytes;  // 1 to 4; 1 for such a byte
};
// The code point at s[at]; at < s.size(). Strict: no overlong forms, surrogates, or values beyond U+10FFFF.
CodePoint decode_utf8(std::string_view s, size_t at);
bool is_utf8(std::string_view s);
void append_utf8(std::string& out, uint32_t code_point);
// Where the last code point of s begins, as decode_utf8 sees it; s is not empty.
size_t last_code_point(std::string_view s);

// Turns a stream of bytes into whole UTF-8 characters, so that what is printed piece by piece never splits
// one. What can't become a character any more comes out as U+FFFD, one for each maximal ill-formed part.
class Utf8Stream {
 public:
  // Appends to `out` all characters that are complete now.
  void push(std::string_view bytes, std::string& out);
  // The end: an incomplete character becomes U+FFFD. The stream can be used again.
  void flush(std::string& out);

 private:
  char pending_[4] = {};
  uint32_t n_pending_ = 0;
};

}  // namespace forge::rt
