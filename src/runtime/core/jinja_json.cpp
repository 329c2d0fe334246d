#include "runtime/core/jinja_json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "runtime/core/jinja_runtime.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {

namespace {

constexpr int kMaxJsonDepth = 64;

struct JsonParser {
  std::string_view s;
  size_t pos = 0;
  int depth = 0;
  std::string error = {};

  bool fail(std::string_view expected) {
    if (error.empty()) error = text("JSON, byte ", pos, ": expected ", expected);
    return false;
  }
  void skip_space() {
    while (pos < s.size() && (s[pos] == ' ' || s[pos] == '\n' || s[pos] == '\t' || s[pos] == '\r')) ++pos;
  }
  bool take(std::string_view what) {
    if (!s.substr(pos).starts_with(what)) return false;
    pos += what.size();
    return true;
  }
  char peek() const { return pos < s.size() ? s[pos] : '\0'; }

  bool value(Value& out) {
    if (++depth > kMaxJsonDepth) return fail("less nesting (64 levels at most)");
    skip_space();
    bool ok = true;
    const char c = peek();
    if (c == '{') {
      ok = object(out);
    } else if (c == '[') {
      ok = array(out);
    } else if (c == '"') {
      std::string text_value;
      ok = string(text_value);
      out = Value::string(std::move(text_value));
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      ok = number(out);
    } else if (take("true")) {
      out = Value::boolean(true);
    } else if (take("false")) {
      out = Value::boolean(false);
    } else if (take("null")) {
      out = Value::none();
    } else {
      return fail("a value");
    }
    --depth;
    skip_space();
    return ok;
  }

  bool object(Value& out) {
    ++pos;
    const DictBuilder d;
    skip_space();
    while (peek() != '}') {
      if (!d->entries.empty() && !take(",")) return fail("',' or '}'");
      skip_space();
      std::string key;
      Value v;
      if (!string(key)) return false;
      skip_space();
      if (!take(":")) return fail("':'");
      if (!value(v)) return false;
      d->set(std::string_view(key), std::move(v));
    }
    ++pos;
    out = d.value();
    return true;
  }

  bool array(Value& out) {
    ++pos;
    std::vector<Value> items;
    skip_space();
    while (peek() != ']') {
      if (!items.empty() && !take(",")) return fail("',' or ']'");
      if (!value(items.emplace_back())) return false;
    }
    ++pos;
    out = Value::list(std::move(items));
    return true;
  }

  bool hex4(uint32_t& out) {
    out = 0;
    for (int i = 0; i < 4; ++i, ++pos) {
      const char c = peek();
      const bool is_digit = c >= '0' && c <= '9';
      const char letter = static_cast<char>(c | 0x20);
      if (!is_digit && (letter < 'a' || letter > 'f')) return fail("four hexadecimal digits");
      out = out << 4 | static_cast<uint32_t>(is_digit ? c - '0' : letter - 'a' + 10);
    }
    return true;
  }

  bool string(std::string& out) {
    if (!take("\"")) return fail("a string");
    while (true) {
      if (pos >= s.size() || static_cast<uint8_t>(s[pos]) < 0x20) return fail("the string's closing quote");
      const char c = s[pos++];
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = peek();
      ++pos;
      constexpr std::string_view kNames = "\"\\/bfnrt", kCodes = "\"\\/\b\f\n\r\t";
      if (const size_t i = kNames.find(escape); i != std::string_view::npos && escape != '\0') {
        out += kCodes[i];
        continue;
      }
      uint32_t cp = 0, low = 0;
      if (escape != 'u') return fail("an escape sequence");
      if (!hex4(cp)) return false;
      if (cp >= 0xD800 && cp < 0xDC00) {
        if (!take("\\u") || !hex4(low) || low < 0xDC00 || low > 0xDFFF) return fail("the second surrogate");
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
      } else if (cp >= 0xDC00 && cp < 0xE000) {
        return fail("a character, not a lone surrogate");
      }
      append_code_point(out, cp);
    }
  }

  bool digits() {
    const size_t begin = pos;
    while (peek() >= '0' && peek() <= '9') ++pos;
    return pos > begin || fail("a digit");
  }

  bool number(Value& out) {
    const size_t begin = pos;
    take("-");
    const bool zero = peek() == '0';
    const size_t first = pos;
    if (!digits()) return false;
    if (zero && pos > first + 1) return fail("a number without leading zeros");
    const bool is_integer = peek() != '.' && peek() != 'e' && peek() != 'E';
    if (take(".") && !digits()) return false;
    if (peek() == 'e' || peek() == 'E') {
      ++pos;
      if (!take("-")) take("+");
      if (!digits()) return false;
    }
    const std::string number_text(s.substr(begin, pos - begin));
    if (!is_integer) {
      const double d = std::strtod(number_text.c_str(), nullptr);
      if (std::isinf(d)) return fail("a number that fits a double");
      out = Value::real(d);
      return true;
    }
    int64_t v = 0;
    const bool negative = number_text[0] == '-';
    for (size_t i = negative ? 1 : 0; i < number_text.size(); ++i) {
      const int64_t digit = negative ? '0' - number_text[i] : number_text[i] - '0';
      if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v)) {
        return fail("an integer of 64 bits");
      }
    }
    out = Value::integer(v);
    return true;
  }
};

}  // namespace

void append_json_string(std::string& out, std::string_view s, bool ascii) {
  const auto escape = [&](uint32_t unit) {
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\u%04x", unit & 0xFFFF);
    out += hex;
  };
  out += '"';
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    constexpr std::string_view kCodes = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
    const size_t at = cp < 0x80 ? kCodes.find(static_cast<char>(cp)) : std::string_view::npos;
    if (at != std::string_view::npos) {
      out += '\\';
      out += kNames[at];
    } else if (cp < 0x20 || (ascii && cp >= 0x7F && cp < 0x10000)) {
      escape(cp);
    } else if (ascii && cp >= 0x10000) {
      escape(0xD800 + ((cp - 0x10000) >> 10));
      escape(0xDC00 + ((cp - 0x10000) & 0x3FF));
    } else {
      append_code_point(out, cp);
    }
  }
  out += '"';
}

namespace {

// Python's text of a float in JSON.
void append_json_real(std::string& out, double d) {
  if (std::isnan(d)) {
    out += "NaN";
  } else if (std::isinf(d)) {
    out += d < 0 ? "-Infinity" : "Infinity";
  } else {
    append_real(out, d);
  }
}

struct JsonWriter {
  Interpreter& in;
  const JsonStyle& style;
  std::string& out;
  size_t level = 0;

  void new_line() {
    if (!style.pretty) return;
    out += '\n';
    for (size_t i = 0; i < level; ++i) out += style.indent;
  }

  bool key(const Value& v) {
    switch (v.type()) {
      case Type::string: append_json_string(out, v.as_string(), style.ascii); return true;
      case Type::none:
      case Type::boolean:
      case Type::integer:
      case Type::real:
        out += '"';
        if (!write(v)) return false;
        out += '"';
        return true;
      default: return in.fail(text("tojson: a key can't be a ", type_name(v)));
    }
  }

  bool write_list(const std::vector<Value>& items) {
    if (items.empty()) {
      out += "[]";
      return true;
    }
    out += '[';
    ++level;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style.item_separator;
      new_line();
      if (!write(items[i])) return false;
    }
    --level;
    new_line();
    out += ']';
    return true;
  }

  bool write_dict(const Dict& d) {
    if (d.entries.empty()) {
      out += "{}";
      return true;
    }
    std::vector<Value> keys, values;
    for (const auto& entry : d.entries) keys.push_back(entry.first);
    if (style.sort_keys && !sort_by(in, keys, std::vector<Value>(keys), false)) return false;
    out += '{';
    ++level;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (i > 0) out += style.item_separator;
      new_line();
      if (!key(keys[i])) return false;
      out += style.key_separator;
      if (!write(*d.find(keys[i]))) return false;
    }
    --level;
    new_line();
    out += '}';
    return true;
  }

  bool write(const Value& v) {
    if (out.size() > in.limits.output_bytes)
      return in.fail(text("more than ", in.limits.output_bytes, " bytes"));
    switch (v.type()) {
      case Type::none: out += "null"; return true;
      case Type::boolean: out += v.as_bool() ? "true" : "false"; return true;
      case Type::integer: out += std::to_string(v.as_int()); return true;
      case Type::real: append_json_real(out, v.as_real()); return true;
      case Type::string: append_json_string(out, v.as_string(), style.ascii); return true;
      case Type::dict: return write_dict(v.as_dict());
      case Type::sequence:
        if (v.is_sequence(SequenceKind::list) || v.is_sequence(SequenceKind::tuple)) {
          return write_list(v.as_sequence().items);
        }
        break;
      default: break;
    }
    return in.fail(text("tojson: a ", type_name(v), " has no JSON form"));
  }
};

}  // namespace

Result<Value> parse_json(std::string_view json) {
  JsonParser p{json};
  Value v;
  if (!p.value(v)) return Error{p.error};
  if (p.pos != json.size()) {
    p.fail("the end");
    return Error{p.error};
  }
  return v;
}

std::vector<JsonMember> json_members(std::string_view object) {
  std::vector<JsonMember> members;
  JsonParser p{object};
  p.skip_space();
  if (!p.take("{")) return {};
  while (true) {
    p.skip_space();
    JsonMember& member = members.emplace_back();
    if (!p.string(member.key)) return {};
    p.skip_space();
    if (!p.take(":")) return {};
    p.skip_space();
    const size_t begin = p.pos;
    Value v;
    if (!p.value(v)) return {};
    size_t end = p.pos;
    while (std::string_view(" \n\t\r").find(object[end - 1]) != std::string_view::npos) --end;
    member.value = object.substr(begin, end - begin);
    if (!p.take(",")) return p.take("}") ? members : std::vector<JsonMember>();
  }
}

bool append_json(Interpreter& in, const Value& v, const JsonStyle& style, std::string& out) {
  return in.charge(v.weight()) && JsonWriter{in, style, out}.write(v);
}

}  // namespace forge::rt::jinja
