// GBNF, the grammar format of llama.cpp (its grammars/README.md and src/llama-grammar.cpp).
#include <algorithm>
#include <map>
#include <utility>

#include "runtime/core/grammar.h"
#include "runtime/core/grammar_expression.h"
#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

using Expr = GrammarExpressions::Expr;

constexpr uint32_t kMaxNesting = 100;  // of groups

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

struct GbnfParser {
  std::string_view s;
  size_t pos = 0;
  uint32_t nesting = 0;
  GrammarExpressions x = {};
  std::map<std::string, uint32_t, std::less<>> names = {};
  std::vector<bool> defined = {};
  std::string error = {};

  bool fail_at(size_t at, std::string_view what) {
    const auto line =
        std::count(s.begin(), s.begin() + static_cast<ptrdiff_t>(std::min(at, s.size())), '\n') + 1;
    if (error.empty()) error = text("grammar, line ", line, ": ", what);
    return false;
  }
  bool fail(std::string_view what) { return fail_at(pos, what); }
  char peek() const { return pos < s.size() ? s[pos] : '\0'; }

  // Spaces and comments; with `lines` also line ends.
  void skip_space(bool lines) {
    while (pos < s.size()) {
      const char c = s[pos];
      if (c == '#') {
        while (pos < s.size() && s[pos] != '\n' && s[pos] != '\r') ++pos;
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        ++pos;
      } else {
        return;
      }
    }
  }

  std::string_view name() {
    const size_t begin = pos;
    while (pos < s.size() && is_name(s[pos])) ++pos;
    return s.substr(begin, pos - begin);
  }

  uint32_t rule(std::string_view rule_name) {
    if (const auto found = names.find(rule_name); found != names.end()) return found->second;
    const uint32_t id = x.add_rule(text("rule \"", rule_name, "\""));
    names.emplace(rule_name, id);
    defined.resize(x.rules.size());  // repetitions add rules, too
    return id;
  }

  // One character of a string or class.
  bool character(uint32_t& out) {
    if (pos >= s.size()) return fail("the text ends inside of a string or class");
    if (s[pos] != '\\') {
      const CodePoint c = decode_utf8(s, pos);
      if (c.value == 0xFFFD && c.bytes == 1) return fail("the text is not UTF-8");
      out = c.value;
      pos += c.bytes;
      return true;
    }
    const char escape = pos + 1 < s.size() ? s[pos + 1] : '\0';
    constexpr std::string_view kNames = "trn\\\"[]", kCodes = "\t\r\n\\\"[]";
    pos += 2;
    if (const size_t i = kNames.find(escape); i != std::string_view::npos && escape != '\0') {
      out = static_cast<uint8_t>(kCodes[i]);
      return true;
    }
    const int digits = escape == 'x' ? 2 : escape == 'u' ? 4 : escape == 'U' ? 8 : 0;
    pos -= 2;
    if (digits == 0)
      return fail(text("unknown escape \\", escape == '\0' ? ' ' : escape,
                       "; \\t \\r \\n \\\\ \\\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH are known"));
    pos += 2;
    out = 0;
    for (int i = 0; i < digits; ++i, ++pos) {
      const char c = peek();
      const char letter = static_cast<char>(c | 0x20);
      const bool decimal = c >= '0' && c <= '9';
      if (!decimal && (letter < 'a' || letter > 'f'))
        return fail(text("\\", escape, " needs ", digits, " hexadecimal digits"));
      out = out << 4 | static_cast<uint32_t>(decimal ? c - '0' : letter - 'a' + 10);
    }
    if (out > 0x10FFFF || (out >= 0xD800 && out < 0xE000)) return fail("an escape that names no character");
    return true;
  }

  bool string(Expr& out) {
    ++pos;
    std::string bytes;
    while (peek() != '"') {
      uint32_t c = 0;
      if (!character(c)) return false;
      append_utf8(bytes, c);
    }
    ++pos;
    out = x.literal(bytes);
    return true;
  }

  bool char_class(Expr& out) {
    ++pos;
    const bool negated = peek() == '^';
    if (negated) ++pos;
    std::vector<CodePointRange> ranges;
    while (peek() != ']') {
      uint32_t low = 0;
      if (!character(low)) return false;
      uint32_t high = low;
      if (peek() == '-' && pos + 1 < s.size() && s[pos + 1] != ']') {
        ++pos;
        if (!character(high)) return false;
        if (high < low) return fail("a range in a class runs backwards");
      }
      ranges.push_back({low, high});
    }
    ++pos;
    out = x.characters(negated ? complement(std::move(ranges)) : std::move(ranges));
    return true;
  }

  bool number(uint32_t& out) {
    out = 0;
    if (peek() < '0' || peek() > '9') return fail("expected a number in {m,n}");
    for (; peek() >= '0' && peek() <= '9'; ++pos) {
      out = out * 10 + static_cast<uint32_t>(peek() - '0');
      if (out > kMaxRepetition) return fail(text("a repetition beyond ", kMaxRepetition));
    }
    return true;
  }

  // What may follow an element.
  bool repetition(Expr& e, bool nested) {
    for (;;) {
      const char c = peek();
      uint32_t min = 0;
      uint32_t max = GrammarExpressions::kUnbounded;
      if (c == '?') max = 1;
      if (c == '+') min = 1;
      if (c == '{') {
        ++pos;
        skip_space(nested);
        if (!number(min)) return false;
        max = min;
        skip_space(nested);
        if (peek() == ',') {
          ++pos;
          skip_space(nested);
          max = GrammarExpressions::kUnbounded;
          if (peek() != '}' && !number(max)) return false;
          skip_space(nested);
        }
        if (peek() != '}') return fail("expected '}' behind a repetition");
        if (max < min) return fail("a repetition {m,n} with m above n");
      } else if (c != '*' && c != '+' && c != '?') {
        return true;
      }
      ++pos;
      e = x.repeat(e, min, max);
      skip_space(nested);
    }
  }

  bool sequence(Expr& out, bool nested) {
    std::vector<Expr> parts;
    for (;;) {
      Expr e = 0;
      const char c = peek();
      if (c == '"') {
        if (!string(e)) return false;
      } else if (c == '[') {
        if (!char_class(e)) return false;
      } else if (c == '.') {
        ++pos;
        e = x.characters(complement({}));
      } else if (c == '(') {
        ++pos;
        if (++nesting > kMaxNesting)
          return fail(text("groups are nested more than ", kMaxNesting, " levels deep"));
        skip_space(true);
        if (!alternatives(e, true)) return false;
        --nesting;
        if (peek() != ')') return fail("expected ')'");
        ++pos;
      } else if (is_name(c)) {
        e = x.call(rule(name()));
      } else if (c == '<' || c == '!') {
        return fail("tokens (<name>) are not supported; write their text as a string");
      } else if (parts.empty() && (c == '*' || c == '+' || c == '?' || c == '{')) {
        return fail(text("nothing to repeat before '", c, "'"));
      } else {
        break;
      }
      skip_space(nested);
      if (!repetition(e, nested)) return false;
      parts.push_back(e);
    }
    out = x.sequence(parts);
    return true;
  }

  bool alternatives(Expr& out, bool nested) {
    std::vector<Expr> parts(1);
    if (!sequence(parts[0], nested)) return false;
    while (peek() == '|') {
      ++pos;
      skip_space(true);
      if (!sequence(parts.emplace_back(), nested)) return false;
    }
    out = x.choice(parts);
    return true;
  }

  bool rules() {
    rule("root");
    skip_space(true);
    while (pos < s.size()) {
      const size_t begin = pos;
      const std::string_view rule_name = name();
      if (rule_name.empty()) return fail("expected the name of a rule");
      skip_space(false);
      if (!s.substr(pos).starts_with("::=")) return fail(text("expected ::= behind \"", rule_name, "\""));
      pos += 3;
      skip_space(true);
      const uint32_t id = rule(rule_name);
      if (defined[id]) return fail_at(begin, text("rule \"", rule_name, "\" is defined twice"));
      defined[id] = true;
      Expr e = 0;
      if (!alternatives(e, false)) return false;
      x.define(id, e);
      if (pos < s.size() && s[pos] != '\n' && s[pos] != '\r') return fail("expected the end of the line");
      skip_space(true);
    }
    for (const auto& [rule_name, id] : names) {
      if (!defined[id]) {
        error = text("grammar: rule \"", rule_name, "\" is not defined");
        return false;
      }
    }
    return true;
  }
};

}  // namespace

Result<Grammar> parse_gbnf(std::string_view gbnf) {
  if (gbnf.size() > kMaxGrammarText) return Error{text("grammar: more than ", kMaxGrammarText, " bytes")};
  GbnfParser p{.s = gbnf};
  if (!p.rules()) return Error{p.error};
  return p.x.compile();
}

Result<Grammar> choices_grammar(std::span<const std::string> choices) {
  if (choices.empty()) return Error{"choices: none is given"};
  GrammarExpressions x;
  std::vector<Expr> parts;
  size_t bytes = 0;
  for (const std::string& c : choices) {
    if (c.empty()) return Error{"choices: one is empty"};
    bytes += c.size();
    if (bytes > kMaxGrammarText) return Error{text("choices: more than ", kMaxGrammarText, " bytes")};
    parts.push_back(x.literal(c));
  }
  x.define(x.add_rule("the choices"), x.choice(parts));
  return x.compile();
}

}  // namespace forge::rt
