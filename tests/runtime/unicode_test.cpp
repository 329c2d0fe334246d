#include "runtime/core/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace forge::rt {
namespace {

TEST(Unicode, CategoriesOfKnownCharacters) {
  const auto is = [](uint32_t cp, CharClass classes) { return (char_class(cp) & classes) != 0; };
  EXPECT_EQ(char_class('A'), bit(Category::Lu));
  EXPECT_EQ(char_class('a'), bit(Category::Ll));
  EXPECT_EQ(char_class(0x1c5), bit(Category::Lt));    // Dž
  EXPECT_EQ(char_class(0x3b1), bit(Category::Ll));    // α
  EXPECT_EQ(char_class(0x4e2d), bit(Category::Lo));   // 中, inside of a range of the source file
  EXPECT_EQ(char_class(0x20000), bit(Category::Lo));  // 𠀀
  EXPECT_EQ(char_class(0x663), bit(Category::Nd));    // ٣
  EXPECT_EQ(char_class(0xbd), bit(Category::No));     // ½
  EXPECT_EQ(char_class(0x2167), bit(Category::Nl));   // Ⅷ
  EXPECT_EQ(char_class(0x301), bit(Category::Mn));    // combining acute
  EXPECT_EQ(char_class(0x1f600), bit(Category::So));  // 😀
  EXPECT_EQ(char_class(0xfffd), bit(Category::So));   // replacement character
  EXPECT_EQ(char_class(0xe000), bit(Category::Co));
  EXPECT_EQ(char_class(0x378), bit(Category::Cn));
  EXPECT_EQ(char_class(0x10ffff), bit(Category::Cn));
  EXPECT_EQ(char_class(0x110000), bit(Category::Cn));
  EXPECT_EQ(char_class(0xffffffff), bit(Category::Cn));
  EXPECT_TRUE(is('!', kPunctuation));
  EXPECT_FALSE(is('+', kPunctuation | kLetter | kNumber | kWhitespace));
}

// The characters with the property White_Space, as the Unicode Character Database lists them.
TEST(Unicode, Whitespace) {
  std::vector<uint32_t> found;
  for (uint32_t cp = 0; cp < 0x110000; ++cp) {
    if ((char_class(cp) & kWhitespace) != 0) found.push_back(cp);
  }
  const std::vector<uint32_t> expected = {
      0x9,    0xa,    0xb,    0xc,    0xd,    0x20,   0x85,   0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003,
      0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
  EXPECT_EQ(found, expected);
}

TEST(Unicode, EveryCodePointComesBackFromUtf8) {
  std::string s;
  for (uint32_t cp = 0; cp < 0x110000; ++cp) {
    s.clear();
    append_utf8(s, cp);
    const CodePoint back = decode_utf8(s, 0);
    if (cp >= 0xd800 && cp < 0xe000) {  // surrogates are not characters
      ASSERT_EQ(back.value, 0xfffdu) << cp;
      ASSERT_EQ(back.bytes, 1u) << cp;
    } else {
      ASSERT_EQ(back.value, cp);
      ASSERT_EQ(back.bytes, s.size()) << cp;
    }
  }
}

TEST(Unicode, IllFormedBytesDecodeOneByOne) {
  for (const std::string_view s :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80", "\xff", "\xe4\xb8", "\xc3", "\xc3("}) {
    const CodePoint cp = decode_utf8(s, 0);
    EXPECT_EQ(cp.value, 0xfffdu) << s;
    EXPECT_EQ(cp.bytes, 1u) << s;
  }
}

std::string stream(std::string_view bytes, size_t chunk) {
  Utf8Stream stream;
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += chunk) stream.push(bytes.substr(at, chunk), out);
  stream.flush(out);
  return out;
}

TEST(Utf8Stream, ReleasesWholeCharactersOnly) {
  const std::string text = "aé中😀\xf0\x9f\xa6\x99!";
  for (size_t chunk = 1; chunk <= text.size(); ++chunk) EXPECT_EQ(stream(text, chunk), text) << chunk;
  Utf8Stream s;
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    s.push(std::string_view(text).substr(i, 1), out);
    for (size_t at = 0; at < out.size();) {
      const CodePoint cp = decode_utf8(out, at);
      ASSERT_NE(cp.value, 0xfffdu) << "after byte " << i;
      at += cp.bytes;
    }
  }
  EXPECT_EQ(out, text);
}

// One U+FFFD for each maximal ill-formed part: the examples of the Unicode standard, table 3-8 to 3-11.
TEST(Utf8Stream, ReplacesWhatCanNotBecomeACharacter) {
  const std::string r = "\xef\xbf\xbd";
  const struct {
    std::string_view bytes;
    std::string expected;
  } cases[] = {
      {"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", "a" + r + r + r + "b" + r + "c" + r + r + "d"},
      {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", r + r + r + r + r + r + r + r + "A"},
      {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", r + r + r + r + r + r + r + r + "A"},
      {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", r + r + r + r + r + "A" + r + r + "B"},
      {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", r + r + r + r + "A"},
      {"ok\xf0\x9f\x98", "ok" + r},
  };
  for (const auto& c : cases) {
    for (size_t chunk = 1; chunk <= c.bytes.size(); ++chunk)
      EXPECT_EQ(stream(c.bytes, chunk), c.expected) << chunk;
  }
}

TEST(Utf8Stream, WaitsForTheRestAndCanBeUsedAgain) {
  Utf8Stream s;
  std::string out;
  s.push("\xf0\x9f", out);
  EXPECT_EQ(out, "");
  s.push("\x98", out);
  EXPECT_EQ(out, "");
  s.push("\x80z", out);
  EXPECT_EQ(out, "😀z");
  s.push("\xe4", out);
  s.flush(out);
  s.flush(out);
  s.push("\xb8", out);
  EXPECT_EQ(out, "😀z\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace forge::rt
