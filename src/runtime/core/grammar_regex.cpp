#include "runtime/core/grammar_regex.h"

#include <algorithm>
#include <utility>

#include "runtime/core/grammar.h"
#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

using Expr = GrammarExpressions::Expr;
using Ranges = std::vector<CodePointRange>;

constexpr uint32_t kMaxNesting = 100;  // of groups

constexpr CodePointRange kDigits[] = {{'0', '9'}};
constexpr CodePointRange kWords[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
// ECMAScript's, whose ranges contain Python's and PCRE's without Unicode.
constexpr CodePointRange kSpaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                      {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                      {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
constexpr CodePointRange kLineEnds[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

Ranges copied(std::span<const CodePointRange> set) { return {set.begin(), set.end()}; }
Ranges others(std::span<const CodePointRange> set) { return complement(copied(set)); }

struct RegexParser {
  GrammarExpressions& x;
  std::string_view s;
  CharacterForm form;
  RegexScope scope;
  size_t pos = 0;
  uint32_t nesting = 0;
  std::string error = {};

  bool fail(std::string_view what) {
    if (error.empty()) error = text("byte ", pos, ": ", what);
    return false;
  }
  char peek(size_t ahead = 0) const { return pos + ahead < s.size() ? s[pos + ahead] : '\0'; }
  bool at_end() const { return pos >= s.size(); }

  bool hex(int digits, uint32_t& out) {
    out = 0;
    for (int i = 0; i < digits; ++i, ++pos) {
      const char c = peek();
      const char letter = static_cast<char>(c | 0x20);
      const bool decimal = c >= '0' && c <= '9';
      if (!decimal && (letter < 'a' || letter > 'f')) return fail("expected a hexadecimal digit");
      out = out << 4 | static_cast<uint32_t>(decimal ? c - '0' : letter - 'a' + 10);
    }
    return true;
  }

  // Behind "\u".
  bool unicode_escape(uint32_t& out) {
    if (peek() == '{') {
      const size_t end = s.find('}', pos);
      if (end == std::string_view::npos || end - pos < 2 || end - pos > 7)
        return fail("expected \\u{H} with 1 to 6 digits");
      ++pos;
      if (!hex(static_cast<int>(end - pos), out)) return false;
      ++pos;
    } else {
      if (!hex(4, out)) return false;
      if (out >= 0xD800 && out < 0xDC00 && peek() == '\\' && peek(1) == 'u') {
        pos += 2;
        uint32_t low = 0;
        if (!hex(4, low)) return false;
        if (low < 0xDC00 || low > 0xDFFF) return fail("a surrogate without its second half");
        out = 0x10000 + ((out - 0xD800) << 10) + (low - 0xDC00);
      }
    }
    if (out > 0x10FFFF || (out >= 0xD800 && out < 0xE000)) return fail("an escape that names no character");
    return true;
  }

  // Behind a backslash: a set of characters, or one, then `single`.
  bool escape(Ranges& out, bool& single, bool in_class) {
    if (at_end()) return fail("a backslash at the end");
    const char c = s[pos];
    single = false;
    switch (c) {
      case 'd': out = copied(kDigits); break;
      case 'D': out = others(kDigits); break;
      case 'w': out = copied(kWords); break;
      case 'W': out = others(kWords); break;
      case 's': out = copied(kSpaces); break;
      case 'S': out = others(kSpaces); break;
      default: single = true; break;
    }
    if (!single) {
      ++pos;
      return true;
    }
    uint32_t value = 0;
    constexpr std::string_view kNames = "tnrfv", kCodes = "\t\n\r\f\v";
    if (const size_t i = kNames.find(c); i != std::string_view::npos && c != '\0') {
      value = static_cast<uint8_t>(kCodes[i]);
      ++pos;
    } else if (c == '0' && (peek(1) < '0' || peek(1) > '9')) {
      ++pos;
    } else if (c >= '0' && c <= '9') {
      return fail(text("backreferences (\\", c, ") can't be honoured"));
    } else if (c == 'k' || c == 'g') {
      return fail(text("backreferences (\\", c, ") can't be honoured"));
    } else if (c == 'b' && in_class) {
      value = '\b';
      ++pos;
    } else if (c == 'b' || c == 'B') {
      return fail(text("word boundaries (\\", c, ") can't be honoured"));
    } else if (c == 'p' || c == 'P') {
      return fail(text("Unicode properties (\\", c, ") can't be honoured; write the characters as a class"));
    } else if (c == 'x') {
      ++pos;
      if (!hex(2, value)) return false;
    } else if (c == 'u') {
      ++pos;
      if (!unicode_escape(value)) return false;
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<uint8_t>(c) >= 0x80) {
      return fail(text("the escape \\", static_cast<uint8_t>(c) < 0x80 ? c : '?', " can't be honoured"));
    } else {
      value = static_cast<uint8_t>(c);
      ++pos;
    }
    out = {{value, value}};
    return true;
  }

  bool plain_character(uint32_t& out) {
    const CodePoint c = decode_utf8(s, pos);
    if (c.value == 0xFFFD && c.bytes == 1) return fail("the expression is not UTF-8");
    out = c.value;
    pos += c.bytes;
    return true;
  }

  // One end of a range, or a set.
  bool class_member(Ranges& out, bool& single) {
    if (at_end()) return fail("expected ']'");
    if (peek() == '[' && (peek(1) == ':' || peek(1) == '.' || peek(1) == '=')) {
      return fail("POSIX classes ([:name:]) can't be honoured; write \\[ for the character");
    }
    if (peek() == '\\') {
      ++pos;
      return escape(out, single, true);
    }
    uint32_t c = 0;
    if (!plain_character(c)) return false;
    out = {{c, c}};
    single = true;
    return true;
  }

  bool char_class(Expr& out) {
    ++pos;
    const bool negated = peek() == '^';
    if (negated) ++pos;
    if (peek() == ']') return fail("an empty class; write \\] for the character");
    Ranges all;
    while (at_end() || peek() != ']') {
      Ranges low;
      Ranges high;
      bool single = false;
      if (!class_member(low, single)) return false;
      if (peek() == '-' && peek(1) != ']' && pos + 1 < s.size()) {
        bool high_single = false;
        if (!single) return fail("a range from a set of characters; write \\- for the character");
        ++pos;
        if (!class_member(high, high_single)) return false;
        if (!high_single) return fail("a range to a set of characters; write \\- for the character");
        if (high[0].low < low[0].low) return fail("a range in a class runs backwards");
        low[0].high = high[0].low;
      }
      all.insert(all.end(), low.begin(), low.end());
    }
    ++pos;
    out = written_characters(x, negated ? complement(std::move(all)) : std::move(all), form);
    return true;
  }

  bool group(Expr& out) {
    ++pos;
    if (peek() == '?') {
      const char kind = peek(1);
      const char after = peek(2);
      if (kind == '=' || kind == '!' || (kind == '<' && (after == '=' || after == '!'))) {
        return fail(text("lookaround (?", kind, ") can't be honoured"));
      }
      const bool python = kind == 'P' && after == '<';
      if (kind == ':') {
        pos += 2;
      } else if (kind == '<' || python) {
        const size_t end = s.find('>', pos);
        if (end == std::string_view::npos) return fail("expected '>' behind a group's name");
        pos = end + 1;
      } else {
        return fail("groups (?…) but (?:…) and named ones can't be honoured");
      }
    }
    if (++nesting > kMaxNesting)
      return fail(text("groups are nested more than ", kMaxNesting, " levels deep"));
    if (!alternatives(out)) return false;
    --nesting;
    if (at_end() || peek() != ')') return fail("expected ')'");
    ++pos;
    return true;
  }

  bool number(uint32_t& out) {
    out = 0;
    if (peek() < '0' || peek() > '9') return fail("expected {m}, {m,} or {m,n}; write \\{ for the character");
    for (; peek() >= '0' && peek() <= '9'; ++pos) {
      out = out * 10 + static_cast<uint32_t>(peek() - '0');
      if (out > kMaxRepetition) return fail(text("a repetition beyond ", kMaxRepetition));
    }
    return true;
  }

  bool repetition(Expr& e) {
    const char c = peek();
    uint32_t min = 0;
    uint32_t max = GrammarExpressions::kUnbounded;
    if (c == '?') max = 1;
    if (c == '+') min = 1;
    if (c == '{') {
      ++pos;
      if (!number(min)) return false;
      max = min;
      if (peek() == ',') {
        ++pos;
        max = GrammarExpressions::kUnbounded;
        if (peek() != '}' && !number(max)) return false;
      }
      if (peek() != '}') return fail("expected '}' behind a repetition");
      if (max < min) return fail("a repetition {m,n} with m above n");
    } else if (c != '*' && c != '+' && c != '?') {
      return true;
    }
    ++pos;
    e = x.repeat(e, min, max);
    // A lazy repetition matches the same texts.
    if (peek() == '?') {
      ++pos;
    } else if (peek() == '+') {
      return fail("possessive repetitions can't be honoured");
    }
    const char next = peek();
    if (next == '*' || next == '+' || next == '?' || next == '{')
      return fail("a repetition of a repetition; use a group");
    return true;
  }

  bool any_text(Expr& out) {
    out = x.repeat(written_characters(x, complement({}), form), 0);
    return true;
  }

  bool sequence(Expr& out) {
    std::vector<Expr> parts;
    bool open_start = scope == RegexScope::inside && nesting == 0;
    bool open_end = open_start;
    if (nesting == 0 && peek() == '^') {
      ++pos;
      open_start = false;
    }
    for (; !at_end() && peek() != '|' && peek() != ')';) {
      const char c = peek();
      Expr e = 0;
      if (c == '[') {
        if (!char_class(e)) return false;
      } else if (c == '(') {
        if (!group(e)) return false;
      } else if (c == '.') {
        ++pos;
        e = written_characters(x, others(kLineEnds), form);
      } else if (c == '\\') {
        ++pos;
        Ranges set;
        bool single = false;
        if (!escape(set, single, false)) return false;
        e = written_characters(x, std::move(set), form);
      } else if (c == '$' && nesting == 0 && (pos + 1 == s.size() || peek(1) == '|')) {
        ++pos;
        open_end = false;
        break;
      } else if (c == '^' || c == '$') {
        return fail(text("'", c, "' is honoured at the ends only; write \\", c, " for the character"));
      } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        return fail(text("nothing to repeat before '", c, "'; write \\", c, " for the character"));
      } else {
        uint32_t value = 0;
        if (!plain_character(value)) return false;
        e = written_characters(x, {{value, value}}, form);
      }
      if (!repetition(e)) return false;
      parts.push_back(e);
    }
    Expr any = 0;
    if ((open_start || open_end) && !any_text(any)) return false;
    if (open_start) parts.insert(parts.begin(), any);
    if (open_end) parts.push_back(any);
    out = x.sequence(parts);
    return true;
  }

  bool alternatives(Expr& out) {
    std::vector<Expr> parts(1);
    if (!sequence(parts[0])) return false;
    while (!at_end() && peek() == '|') {
      ++pos;
      if (!sequence(parts.emplace_back())) return false;
    }
    out = x.choice(parts);
    return true;
  }
};

}  // namespace

GrammarExpressions::Expr written_characters(GrammarExpressions& x, std::vector<CodePointRange> ranges,
                                            CharacterForm form) {
  ranges = normalized(std::move(ranges));
  if (form == CharacterForm::plain) return x.characters(std::move(ranges));
  if (form == CharacterForm::untagged) {
    std::vector<CodePointRange> others = complement(std::move(ranges));
    others.push_back({'<', '<'});
    return x.characters(complement(std::move(others)));
  }
  std::vector<Expr> parts;
  std::vector<CodePointRange> plain;
  for (const auto& r : ranges) {
    uint32_t c = r.low;
    const auto is_escaped = [](uint32_t v) { return v < 0x20 || v == '"' || v == '\\'; };
    while (c <= r.high) {
      if (c > '\\') {
        plain.push_back({c, r.high});
        break;
      }
      if (!is_escaped(c)) {
        plain.push_back({c, c});
      } else {
        constexpr std::string_view kCodes = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb", kHex = "0123456789abcdef";
        const size_t i = kCodes.find(static_cast<char>(c));
        parts.push_back(x.literal(i != std::string_view::npos ? text('\\', kNames[i])
                                                              : text("\\u00", kHex[c >> 4], kHex[c & 15])));
      }
      ++c;
    }
  }
  if (!plain.empty() || parts.empty()) parts.push_back(x.characters(std::move(plain)));
  return x.choice(parts);
}

Result<GrammarExpressions::Expr> add_regex(GrammarExpressions& x, std::string_view regex, CharacterForm form,
                                           RegexScope scope) {
  if (regex.size() > kMaxGrammarText) return Error{text("more than ", kMaxGrammarText, " bytes")};
  RegexParser p{x, regex, form, scope};
  Expr out = 0;
  if (!p.alternatives(out)) return Error{p.error};
  if (!p.at_end()) {
    p.fail("a ')' without its '('; write \\) for the character");
    return Error{p.error};
  }
  return out;
}

Result<Grammar> regex_grammar(std::string_view regex) {
  GrammarExpressions x;
  const uint32_t rule = x.add_rule("the regular expression");
  const auto e = add_regex(x, regex, CharacterForm::plain, RegexScope::whole);
  if (!e) return Error{text("regex, ", e.error().message)};
  x.define(rule, *e);
  return x.compile();
}

}  // namespace forge::rt
