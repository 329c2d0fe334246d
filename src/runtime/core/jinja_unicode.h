// UTF-8 text as Python's str sees it: characters, their classes and their case.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace forge::rt::jinja {

// The code point at `pos`, which advances past it; a byte that starts no valid sequence is taken alone as
// 0xDC00 + byte (Python's surrogateescape), so that cutting and joining never alters text.
uint32_t next_code_point(std::string_view s, size_t& pos);
void append_code_point(std::string& out, uint32_t cp);
// Characters in s.
size_t count_code_points(std::string_view s);
// The byte offset of the character with index `n`, s.size() where there are fewer.
size_t code_point_offset(std::string_view s, size_t n);

enum class CharClass : uint8_t {
  printable = 1,
  alpha = 2,
  decimal = 4,
  digit = 8,
  numeric = 16,
  lower = 32,
  upper = 64,
  title = 128
};
bool has_class(uint32_t cp, CharClass c);
bool is_space(uint32_t cp);  // str.isspace, and \s of a regular expression

enum class Case : uint8_t { upper, lower, title };
// Appends the character in that case; it may become several.
void append_case(std::string& out, uint32_t cp, Case c);
std::string to_case(std::string_view s, Case c);  // str.upper, str.lower; title: every character
std::string capitalize(std::string_view s);       // str.capitalize
std::string title_words(std::string_view s);      // str.title
std::string swap_case(std::string_view s);        // str.swapcase

// s without the leading and/or trailing characters that are in `chars`; white space where chars is null.
std::string_view strip(std::string_view s, const std::string_view* chars, bool left, bool right);

// The first place of `needle` in s at or after `from`, or npos; linear time.
size_t find_text(std::string_view s, std::string_view needle, size_t from);

}  // namespace forge::rt::jinja
