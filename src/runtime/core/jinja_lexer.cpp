#include "runtime/core/jinja_lexer.h"

#include <algorithm>
#include <cstdlib>

#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {

namespace {

constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                           "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                           ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// \r\n and \r become \n.
std::string normalize_newlines(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\r') {
      out += '\n';
      if (i + 1 < s.size() && s[i + 1] == '\n') ++i;
    } else {
      out += s[i];
    }
  }
  return out;
}

struct Lexer {
  std::string_view s;
  size_t pos = 0;
  uint32_t line = 1;
  bool line_starting = true;  // the last thing cut ended with a newline
  std::vector<Token> tokens = {};
  std::string error = {};

  bool fail(std::string message) {
    error = std::move(message);
    return false;
  }
  bool at(std::string_view what) const { return s.substr(pos).starts_with(what); }
  void advance_to(size_t end) {
    for (; pos < end; ++pos) line += s[pos] == '\n';
    if (end > 0) line_starting = s[end - 1] == '\n';
  }
  size_t skip_space(size_t from) const {
    while (from < s.size()) {
      size_t next = from;
      if (!is_space(next_code_point(s, next))) break;
      from = next;
    }
    return from;
  }
  void add(TokenType type, std::string text = {}) {
    tokens.push_back({type, line, std::move(text), Value()});
  }

  // Adds the text before a tag that starts at `tag` with whitespace control `sign` ('-', '+' or 0).
  void add_data(size_t tag, char sign, bool is_variable) {
    std::string_view data = s.substr(pos, tag - pos);
    if (sign == '-') {
      data = strip(data, nullptr, false, true);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = data.rfind('\n');
      const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting) && strip(data.substr(start), nullptr, true, false).empty()) {
        data = data.substr(0, start);
      }
    }
    if (!data.empty()) add(TokenType::data, std::string(data));
    advance_to(tag);
  }

  char sign_at(size_t at_pos) const {
    const char c = at_pos < s.size() ? s[at_pos] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  // The end of a closing tag `close` ("%}", …) at `from`, with the white space that it takes along; 0 where
  // there is none. trim: takes one newline; plus: "+%}" is allowed.
  size_t closing(size_t from, std::string_view close, bool trim, bool plus) const {
    const std::string_view rest = s.substr(from);
    if (rest.starts_with(close)) {
      const size_t end = from + close.size();
      return trim && end < s.size() && s[end] == '\n' ? end + 1 : end;
    }
    if (rest.size() > 1 && rest.substr(1).starts_with(close)) {
      if (rest[0] == '-') return skip_space(from + 1 + close.size());
      if (rest[0] == '+' && plus) return from + 1 + close.size();
    }
    return 0;
  }

  // The end of "{% raw %}" starting at `tag`; 0 where it is another tag.
  size_t raw_begin(size_t tag) const {
    size_t p = tag + 2;
    if (sign_at(p) != 0) ++p;
    p = skip_space(p);
    if (!s.substr(p).starts_with("raw")) return 0;
    return closing(skip_space(p + 3), "%}", false, false);
  }

  bool lex_raw(size_t tag, size_t begin_end) {
    add_data(tag, sign_at(tag + 2), false);
    advance_to(begin_end);
    for (size_t p = pos; (p = s.find("{%", p)) != std::string_view::npos; ++p) {
      const char sign = sign_at(p + 2);
      size_t q = skip_space(p + 2 + (sign != 0));
      if (!s.substr(q).starts_with("endraw")) continue;
      const size_t end = closing(skip_space(q + 6), "%}", true, true);
      if (end == 0) continue;
      add_data(p, sign, false);
      advance_to(end);
      return true;
    }
    return fail("{% raw %} without {% endraw %}");
  }

  bool lex_comment(size_t tag) {
    const char sign = sign_at(tag + 2);
    add_data(tag, sign, false);
    // A sign directly before #} belongs to the end of the comment.
    for (size_t p = tag + 2 + (sign != 0); p < s.size(); ++p) {
      const size_t end = s[p] == '#' || s[p] == '-' || s[p] == '+' ? closing(p, "#}", true, true) : 0;
      if (end == 0) continue;
      advance_to(end);
      return true;
    }
    return fail("a comment without #}");
  }

  bool lex_string() {
    const char quote = s[pos];
    std::string raw;
    size_t p = pos + 1;
    for (; p < s.size() && s[p] != quote; ++p) {
      if (s[p] == '\\' && p + 1 < s.size()) raw += s[p++];
      raw += s[p];
    }
    if (p >= s.size()) return fail("a string without its closing quote");
    std::string out;
    if (!unescape(raw, out)) return false;
    add(TokenType::string, std::move(out));
    advance_to(p + 1);
    return true;
  }

  // Python's escapes in a string literal.
  bool unescape(std::string_view raw, std::string& out) {
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '\\' || i + 1 >= raw.size()) {
        out += raw[i];
        continue;
      }
      const char c = raw[++i];
      constexpr std::string_view kNames = "\\'\"abfnrtv", kCodes = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t at_name = kNames.find(c); at_name != std::string_view::npos) {
        out += kCodes[at_name];
      } else if (c == '\n') {
        continue;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t cp = 0;
        if (raw.size() - i - 1 < n || !std::all_of(&raw[i] + 1, &raw[i] + 1 + n, is_hex)) {
          return fail(text("a truncated \\", c, " escape in a string"));
        }
        for (size_t k = 1; k <= n; ++k) {
          const char h = raw[i + k];
          cp = cp << 4 | static_cast<uint32_t>(is_digit(h) ? h - '0' : (h | 0x20) - 'a' + 10);
        }
        if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return fail("an escape that is no character");
        append_code_point(out, cp);
        i += n;
      } else if (c >= '0' && c <= '7') {
        uint32_t cp = 0;
        size_t k = 0;
        for (; k < 3 && i + k < raw.size() && raw[i + k] >= '0' && raw[i + k] <= '7'; ++k) {
          cp = cp << 3 | static_cast<uint32_t>(raw[i + k] - '0');
        }
        append_code_point(out, cp);
        i += k - 1;
      } else if (c == 'N') {
        return fail("the escape \\N{…} is not supported");
      } else {
        out += '\\';
        out += c;
      }
    }
    return true;
  }

  // Digits with single underscores between them.
  size_t skip_digits(size_t p, bool (*is_of_base)(char)) const {
    while (p < s.size() && (is_of_base(s[p]) || (s[p] == '_' && p + 1 < s.size() && is_of_base(s[p + 1]))))
      ++p;
    return p;
  }

  bool lex_number() {
    const auto digits = [&](size_t from, size_t to) {
      std::string out;
      std::copy_if(s.begin() + from, s.begin() + to, std::back_inserter(out),
                   [](char c) { return c != '_'; });
      return out;
    };
    const auto is_at = [&](size_t p, std::string_view set) {
      return p < s.size() && set.find(s[p]) != set.npos;
    };
    const auto is_digit_at = [&](size_t p) { return p < s.size() && is_digit(s[p]); };
    size_t end = 0;
    Value value;
    int base = 10;
    if (s[pos] == '0' && is_at(pos + 1, "bBoOxX"))
      base = is_at(pos + 1, "bB") ? 2 : is_at(pos + 1, "oO") ? 8 : 16;
    if (base != 10) {
      const auto is_bit = [](char c) { return c == '0' || c == '1'; };
      const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
      end = skip_digits(pos + 2, base == 2 ? is_bit : base == 8 ? is_octal : is_hex);
    } else {
      end = skip_digits(pos, is_digit);
      size_t real_end = end;
      const bool after_dot = pos > 0 && s[pos - 1] == '.';
      if (is_at(end, ".") && is_digit_at(end + 1)) real_end = skip_digits(end + 1, is_digit);
      const size_t exponent = real_end + 1 + is_at(real_end + 1, "+-");
      if (is_at(real_end, "eE") && is_digit_at(exponent)) real_end = skip_digits(exponent, is_digit);
      if (real_end > end && !after_dot) {
        value = Value::real(std::strtod(digits(pos, real_end).c_str(), nullptr));
        tokens.push_back({TokenType::number, line, {}, std::move(value)});
        advance_to(real_end);
        return true;
      }
    }
    const std::string number = digits(base == 10 ? pos : pos + 2, end);
    uint64_t v = 0;
    for (const char c : number) {
      const auto digit = static_cast<uint64_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
      if (v > (INT64_MAX - digit) / static_cast<uint64_t>(base)) return fail("an integer beyond 64 bits");
      v = v * static_cast<uint64_t>(base) + digit;
    }
    if (number.empty() || (base == 10 && number.size() > 1 && number[0] == '0' && v != 0)) {
      return fail("a number that is none");
    }
    tokens.push_back({TokenType::number, line, {}, Value::integer(static_cast<int64_t>(v))});
    advance_to(end);
    return true;
  }

  bool lex_operator(std::string& open) {
    for (const std::string_view op : kOperators) {
      if (!at(op)) continue;
      const char c = op[0];
      if (c == '(' || c == '[' || c == '{') {
        open += c == '(' ? ')' : c == '[' ? ']' : '}';
      } else if (c == ')' || c == ']' || c == '}') {
        if (open.empty()) return fail(text("unexpected '", c, "'"));
        if (open.back() != c) return fail(text("unexpected '", c, "', expected '", open.back(), "'"));
        open.pop_back();
      }
      add(TokenType::operator_, std::string(op));
      advance_to(pos + op.size());
      return true;
    }
    size_t next = pos;
    next_code_point(s, next);
    return fail(text("unexpected character '", s.substr(pos, next - pos), "' in a tag"));
  }

  // The inside of {{ … }} or {% … %}, with its end.
  bool lex_tag(std::string_view close, bool is_block) {
    std::string open;  // closing brackets that are due
    while (true) {
      advance_to(skip_space(pos));
      if (pos >= s.size()) return fail(text("a tag without ", close));
      if (open.empty()) {
        if (const size_t end = closing(pos, close, is_block, is_block); end != 0) {
          add(is_block ? TokenType::block_end : TokenType::variable_end);
          advance_to(end);
          return true;
        }
      }
      const char c = s[pos];
      if (is_digit(c)) {
        if (!lex_number()) return false;
      } else if (is_name_start(c)) {
        size_t end = pos;
        while (end < s.size() && (is_name_start(s[end]) || is_digit(s[end]))) ++end;
        add(TokenType::name, std::string(s.substr(pos, end - pos)));
        advance_to(end);
      } else if (c == '\'' || c == '"') {
        if (!lex_string()) return false;
      } else if (!lex_operator(open)) {
        return false;
      }
    }
  }

  bool lex() {
    while (pos < s.size()) {
      size_t tag = pos;
      while ((tag = s.find('{', tag)) != std::string_view::npos) {
        if (tag + 1 < s.size() && (s[tag + 1] == '{' || s[tag + 1] == '%' || s[tag + 1] == '#')) break;
        ++tag;
      }
      if (tag == std::string_view::npos) {
        add(TokenType::data, std::string(s.substr(pos)));
        advance_to(s.size());
        break;
      }
      const char kind = s[tag + 1];
      if (kind == '#') {
        if (!lex_comment(tag)) return false;
        continue;
      }
      if (const size_t end = kind == '%' ? raw_begin(tag) : 0; end != 0) {
        if (!lex_raw(tag, end)) return false;
        continue;
      }
      const char sign = sign_at(tag + 2);
      add_data(tag, sign, kind == '{');
      add(kind == '{' ? TokenType::variable_begin : TokenType::block_begin);
      advance_to(tag + 2 + (sign != 0));
      if (!lex_tag(kind == '{' ? "}}" : "%}", kind == '%')) return false;
    }
    add(TokenType::end);
    return true;
  }
};

}  // namespace

// Messages quote names, and texts of the template and of its variables, which may be long and of several lines.
Error error_at(uint32_t line, std::string_view message) {
  constexpr size_t kLongest = 300;
  std::string shown(message.substr(0, kLongest));
  if (shown.size() < message.size()) {
    size_t pos = 0, end = 0;  // whole code points
    while (pos < shown.size()) {
      end = pos;
      next_code_point(message, pos);
    }
    shown.resize(end);
    shown += "…";
  }
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7F) c = ' ';
  return Error{text("chat template, line ", line, ": ", shown)};
}

Result<std::vector<Token>> tokenize(std::string_view source) {
  const std::string normalized = normalize_newlines(source);
  std::string_view s = normalized;
  if (s.ends_with('\n')) s.remove_suffix(1);
  Lexer lexer{s};
  if (!lexer.lex()) return error_at(lexer.line, lexer.error);
  return std::move(lexer.tokens);
}

}  // namespace forge::rt::jinja
