// Filters: what stands behind `|`.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "runtime/core/jinja_runtime.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {

namespace {

bool is_markup(const Value& v) { return v.is_string() && static_cast<String*>(v.as_object())->markup; }

bool give_text(const Call& c, std::string s, bool markup = false) {
  return c.in.make_string(std::move(s), c.out, markup);
}
bool give_items(const Call& c, SequenceKind kind, std::vector<Value> items) {
  return c.in.charge(items.size()) && c.in.make_sequence(kind, std::move(items), c.out);
}
bool is_given(const Call& c, size_t i) { return c.given(i) && !c.args[i].is_none(); }
bool flag(const Call& c, size_t i) { return c.given(i) && truth(c.args[i]); }

bool int_arg(const Call& c, size_t i, int64_t otherwise, int64_t& out) {
  out = otherwise;
  return !c.given(i) || c.in.int_argument(c.args[i], "a filter's argument", out);
}

// str(value) of the filtered value.
bool self_text(const Call& c, std::string& s) {
  return c.in.charge(c.self.weight()) && c.in.to_text(c.self, s);
}

// ---- attributes by path: "a.b.0" ----

bool get_path(Interpreter& in, const Value& v, std::string_view path, Value& out) {
  out = v;
  while (true) {
    const size_t dot = path.find('.');
    const std::string_view part = path.substr(0, dot);
    const bool is_index = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    int64_t index = 0;
    if (is_index) std::from_chars(part.data(), part.data() + part.size(), index);
    Value item;
    if (!in.get_item(out, is_index ? Value::integer(index) : Value::string(std::string(part)), item))
      return false;
    out = std::move(item);
    if (dot == std::string_view::npos) return true;
    path = path.substr(dot + 1);
  }
}

// The attribute a filter's argument names; the value itself where the argument is missing or none.
bool get_by(Interpreter& in, const Value& v, const Value& attribute, Value& out) {
  if (attribute.is_missing() || attribute.is_none()) {
    out = v;
    return true;
  }
  if (attribute.is_string()) return get_path(in, v, attribute.as_string(), out);
  return in.get_item(v, attribute, out);
}

Value ignore_case(const Value& v) {
  return v.is_string() ? Value::string(to_case(v.as_string(), Case::lower)) : v;
}

// The items' sort keys: attributes (several with commas where `several`), case ignored unless told.
bool keys_of(Interpreter& in, const std::vector<Value>& items, const Value& attribute, bool case_sensitive,
             bool several, std::vector<Value>& keys) {
  for (const Value& item : items) {
    if (!in.charge(item.weight()) || !in.charge_bytes(64)) return false;
    Value key;
    if (several && attribute.is_string() && attribute.as_string().find(',') != std::string::npos) {
      std::vector<Value> parts;
      std::string_view rest = attribute.as_string();
      while (true) {
        const size_t comma = rest.find(',');
        if (!get_path(in, item, rest.substr(0, comma), key)) return false;
        parts.push_back(case_sensitive ? key : ignore_case(key));
        if (comma == std::string_view::npos) break;
        rest = rest.substr(comma + 1);
      }
      key = Value::list(std::move(parts));
    } else {
      if (!get_by(in, item, attribute, key)) return false;
      if (!case_sensitive) key = ignore_case(key);
    }
    keys.push_back(std::move(key));
  }
  return true;
}

// ---- text ----

enum TextKind : uint8_t { kTrim, kUpper, kLower, kCapitalize, kTitle, kString };

// jinja2's own title: words begin after white space and some brackets, but not after apostrophes or digits.
std::string title_filter(std::string_view s) {
  std::string out;
  bool starts_word = true;
  std::string word;
  for (size_t pos = 0; pos <= s.size();) {
    const size_t at = pos;
    const bool at_end = pos == s.size();
    const uint32_t cp = at_end ? ' ' : next_code_point(s, pos);
    const bool is_break =
        at_end || is_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<';
    if (is_break) {
      out += to_case(word, Case::lower);
      word.clear();
      if (at_end) break;
      append_code_point(out, cp);
      starts_word = true;
    } else if (starts_word) {
      append_case(out, cp, Case::upper);
      starts_word = false;
    } else {
      word += s.substr(at, pos - at);
    }
  }
  return out;
}

bool text_filter(const Call& c) {
  if (c.kind == kString && c.self.is_string()) return c.give(c.self);
  std::string s;
  if (!self_text(c, s) || !c.in.charge(s.size() / 8)) return false;
  switch (c.kind) {
    case kUpper: s = to_case(s, Case::upper); break;
    case kLower: s = to_case(s, Case::lower); break;
    case kCapitalize: s = capitalize(s); break;
    case kTitle: s = title_filter(s); break;
    case kTrim: {
      std::string_view chars;
      const bool has_chars = is_given(c, 0);
      if (has_chars && !c.in.text_argument(c.args[0], "trim's argument", chars)) return false;
      if (!c.in.charge(chars.size() / 16 * (s.size() / 16))) return false;
      s = std::string(strip(s, has_chars ? &chars : nullptr, true, true));
      break;
    }
    default: break;
  }
  return give_text(c, std::move(s), is_markup(c.self));
}

bool mark_safe(const Call& c) {
  std::string s;
  return self_text(c, s) && give_text(c, std::move(s), true);
}

bool replace_filter(const Call& c) {
  std::string s, old, now, out;
  int64_t max = -1;
  if (is_given(c, 2) && !int_arg(c, 2, -1, max)) return false;
  return self_text(c, s) && c.in.to_text(c.args[0], old) && c.in.to_text(c.args[1], now) &&
         replace_text(c.in, s, old, now, max, out) && give_text(c, std::move(out));
}

bool indent_filter(const Call& c) {
  if (!c.self.is_string()) return c.in.fail(text("indent of a ", type_name(c.self), ", expected a string"));
  std::string indention(4, ' ');
  if (c.given(0) && c.args[0].is_string()) {
    indention = c.args[0].as_string();
  } else if (c.given(0)) {
    int64_t width = 0;
    if (!int_arg(c, 0, 4, width)) return false;
    if (width > 10'000) return c.in.fail("indent by too much");
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const bool first = flag(c, 1), blank = flag(c, 2);
  // Python's splitlines knows more line ends than \n; each becomes \n.
  Value lines;
  Args keep;
  const Value with_end = Value::string(c.self.as_string() + "\n");
  if (!c.in.call_builtin(*find_method(with_end, "splitlines"), with_end, keep, lines)) return false;
  std::string out;
  bool at_first = true;
  for (const Value& line : lines.as_sequence().items) {
    const std::string& s = line.as_string();
    if (!at_first) out += '\n';
    if (at_first ? first : blank || !s.empty()) out += indention;
    out += s;
    at_first = false;
    if (out.size() > c.in.limits.output_bytes) return c.in.fail("an indented text too long");
  }
  return give_text(c, std::move(out), is_markup(c.self));
}

bool join_filter(const Call& c) {
  std::vector<Value> items;
  std::string separator, out;
  if (c.given(0) && !c.in.to_text(c.args[0], separator)) return false;
  if (!c.in.iterate(c.self, items)) return false;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item;
    if (!get_by(c.in, items[i], c.args[1], item) || !c.in.charge(item.weight())) return false;
    if (i > 0) out += separator;
    if (!c.in.to_text(item, out)) return false;
  }
  return give_text(c, std::move(out));
}

bool center_filter(const Call& c) {
  std::string s;
  if (!self_text(c, s)) return false;
  const Value self = Value::string(std::move(s));
  Args args;
  args.positional.push_back(c.given(0) ? c.args[0] : Value::integer(80));
  return c.in.call_builtin(*find_method(self, "center"), self, args, c.out);
}

bool format_filter(const Call& c) {
  std::string s, out;
  if (!self_text(c, s)) return false;
  if (!c.all.keyword.empty() && !c.all.positional.empty())
    return c.in.fail("format with both kinds of arguments");
  Value args;
  if (!c.all.keyword.empty()) {
    const DictBuilder d;
    for (const auto& [name, value] : c.all.keyword) d->set(std::string_view(name), value);
    args = d.value();
  } else if (!c.in.make_sequence(SequenceKind::tuple, c.all.positional, args)) {
    return false;
  }
  return format_percent(c.in, s, args, out) && give_text(c, std::move(out));
}

bool word_count(const Call& c) {
  std::string s;
  if (!self_text(c, s)) return false;
  int64_t n = 0;
  bool in_word = false;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    const bool is_word = cp == '_' || has_class(cp, CharClass::alpha) || has_class(cp, CharClass::numeric);
    n += is_word && !in_word;
    in_word = is_word;
  }
  return c.give(Value::integer(n));
}

bool truncate_filter(const Call& c) {
  int64_t length = 255, leeway = 5;
  std::string end = "...";
  if (!c.self.is_string()) return c.in.fail(text("truncate of a ", type_name(c.self), ", expected a string"));
  if (c.given(2)) {
    end.clear();
    if (!c.in.to_text(c.args[2], end)) return false;
  }
  if (!int_arg(c, 0, 255, length) || (is_given(c, 3) && !int_arg(c, 3, 5, leeway))) return false;
  const auto end_length = static_cast<int64_t>(count_code_points(end));
  if (length < end_length || leeway < 0) return c.in.fail("truncate to less than its ending");
  const std::string& s = c.self.as_string();
  if (!c.in.charge(c.self.weight())) return false;
  if (static_cast<int64_t>(count_code_points(s)) - leeway <= length) return c.give(c.self);
  std::string cut = s.substr(0, code_point_offset(s, static_cast<size_t>(length - end_length)));
  if (!flag(c, 1)) {
    if (const size_t space = cut.rfind(' '); space != std::string::npos) cut.resize(space);
  }
  return give_text(c, cut + end);
}

bool tojson_filter(const Call& c) {
  JsonStyle style;
  style.ascii = flag(c, 0);
  style.sort_keys = flag(c, 3);
  if (is_given(c, 1)) {
    style.pretty = true;
    style.item_separator = ",";
    if (c.args[1].is_string()) {
      style.indent = c.args[1].as_string();
    } else {
      int64_t indent = 0;
      if (!int_arg(c, 1, 0, indent)) return false;
      if (indent > 1000) return c.in.fail("tojson with an indent too wide");
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(indent, 0)), ' ');
    }
  }
  if (is_given(c, 2)) {
    std::vector<Value> separators;
    std::string_view item, key;
    if (!c.in.iterate(c.args[2], separators)) return false;
    if (separators.size() != 2) return c.in.fail("tojson needs two separators");
    if (!c.in.text_argument(separators[0], "a separator", item)) return false;
    if (!c.in.text_argument(separators[1], "a separator", key)) return false;
    style.item_separator = item;
    style.key_separator = key;
  }
  std::string out;
  return append_json(c.in, c.self, style, out) && give_text(c, std::move(out));
}

// ---- any value ----

bool default_filter(const Call& c) {
  const bool use_default = c.self.is_undefined() || (flag(c, 1) && !truth(c.self));
  if (!use_default) return c.give(c.self);
  return c.give(c.given(0) ? c.args[0] : Value::string(""));
}

bool length_filter(const Call& c) {
  int64_t n = 0;
  return c.in.length(c.self, n) && c.give(Value::integer(n));
}

bool list_filter(const Call& c) {
  std::vector<Value> items;
  return c.in.iterate(c.self, items) && give_items(c, SequenceKind::list, std::move(items));
}

// iter()'s first and reversed()'s first.
bool first_filter(const Call& c) {
  if (c.self.is_sequence(SequenceKind::iterator)) {
    Sequence& s = c.self.as_sequence();
    return c.give(s.next < s.items.size() ? s.items[s.next++] : Value());
  }
  std::vector<Value> items;
  return c.in.iterate(c.self, items) && c.give(items.empty() ? Value() : items.front());
}

bool last_filter(const Call& c) {
  if (c.self.is_sequence(SequenceKind::iterator))
    return c.in.fail("last of a generator: put |list before it");
  if (c.self.is_undefined()) return c.in.fail("last of an undefined value");
  std::vector<Value> items;
  return c.in.iterate(c.self, items) && c.give(items.empty() ? Value() : items.back());
}

bool reverse_filter(const Call& c) {
  if (c.self.is_string()) {
    const std::string& s = c.self.as_string();
    const Value bounds[3] = {Value::none(), Value::none(), Value::integer(-1)};
    return s.empty() ? c.give(c.self) : c.in.get_slice(c.self, bounds, c.out);
  }
  std::vector<Value> items;
  if (!c.in.iterate(c.self, items)) return false;
  std::reverse(items.begin(), items.end());
  // A generator has no reversed(): jinja2 makes a list of it.
  const bool is_list = c.self.is_sequence(SequenceKind::iterator);
  return give_items(c, is_list ? SequenceKind::list : SequenceKind::iterator, std::move(items));
}

bool items_filter(const Call& c) {
  if (c.self.is_undefined()) return give_items(c, SequenceKind::iterator, {});
  if (!c.self.is(Type::dict))
    return c.in.fail(text("items of a ", type_name(c.self), ", expected a mapping"));
  std::vector<Value> items;
  for (const auto& [key, value] : c.self.as_dict().entries) {
    items.push_back(Value::sequence(SequenceKind::tuple, {key, value}));
  }
  return c.in.charge_bytes(items.size() * 96) && give_items(c, SequenceKind::iterator, std::move(items));
}

bool attr_filter(const Call& c) {
  std::string_view name;
  if (!c.in.text_argument(c.args[0], "attr's argument", name)) return false;
  if (c.self.is_undefined()) return c.in.fail(text("a value is undefined; it has no attribute '", name, "'"));
  // Never an item of a dict: only what the object itself has.
  if (c.self.is(Type::dict) && find_method(c.self, name) == nullptr) return c.give(Value());
  return c.in.get_attribute(c.self, name, c.out);
}

// ---- numbers ----

// Python's int(text, base): false where it is none.
bool parse_int(std::string_view s, int64_t base, int64_t& out) {
  s = strip(s, nullptr, true, true);
  std::string digits;
  const bool negative = s.starts_with('-');
  if (negative || s.starts_with('+')) s.remove_prefix(1);
  if (s.size() > 2 && s[0] == '0') {
    const char prefix = static_cast<char>(s[1] | 0x20);
    const int64_t prefix_base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : -1;
    if (prefix_base > 0 && (base == prefix_base || base == 0)) {
      base = prefix_base;
      s.remove_prefix(s[2] == '_' ? 3 : 2);
    }
  }
  if (base == 0) base = 10;
  if (s.empty() || s.front() == '_' || s.back() == '_') return false;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '_' && s[i - 1] == '_') return false;
    if (s[i] != '_') digits += s[i];
  }
  if (negative) digits.insert(digits.begin(), '-');
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, out, static_cast<int>(base));
  return error == std::errc() && stop == end;
}

// Python's float(text).
bool parse_real(std::string_view s, double& out) {
  s = strip(s, nullptr, true, true);
  std::string number;
  for (size_t i = 0; i < s.size(); ++i) {
    const bool between =
        i > 0 && i + 1 < s.size() && s[i - 1] >= '0' && s[i - 1] <= '9' && s[i + 1] >= '0' && s[i + 1] <= '9';
    if (s[i] == '_' && between) continue;
    number += s[i];
  }
  const std::string lower = to_case(number, Case::lower);
  const std::string_view word =
      std::string_view(lower).substr(lower.starts_with('-') || lower.starts_with('+') ? 1 : 0);
  const bool is_word = word == "inf" || word == "infinity" || word == "nan";
  if (number.empty() || (!is_word && lower.find_first_not_of("0123456789+-.e") != std::string::npos))
    return false;
  char* end = nullptr;
  out = std::strtod(number.c_str(), &end);
  return end == number.c_str() + number.size();
}

bool int_filter(const Call& c) {
  const Value otherwise = c.given(0) ? c.args[0] : Value::integer(0);
  int64_t base = 10, i = 0;
  double d = 0;
  if (!int_arg(c, 1, 10, base)) return false;
  if (base != 0 && (base < 2 || base > 36)) return c.give(otherwise);
  if (c.self.is_undefined()) return c.in.fail("int of an undefined value");
  if (c.self.is_integral()) return c.give(Value::integer(c.self.as_int()));
  if (c.self.is_string()) {
    if (parse_int(c.self.as_string(), base, i)) return c.give(Value::integer(i));
    if (!parse_real(c.self.as_string(), d)) return c.give(otherwise);
  } else if (c.self.is(Type::real)) {
    d = c.self.as_real();
  } else {
    return c.give(otherwise);
  }
  if (std::isnan(d)) return c.give(otherwise);
  if (!(d > -9.2e18 && d < 9.2e18)) return c.in.fail("an integer beyond 64 bits");
  return c.give(Value::integer(static_cast<int64_t>(d)));
}

bool float_filter(const Call& c) {
  double d = 0;
  if (c.self.is_undefined()) return c.in.fail("float of an undefined value");
  if (c.self.is_number()) return c.give(Value::real(c.self.as_real()));
  if (c.self.is_string() && parse_real(c.self.as_string(), d)) return c.give(Value::real(d));
  return c.give(c.given(0) ? c.args[0] : Value::real(0));
}

bool abs_filter(const Call& c) {
  if (c.self.is(Type::real)) return c.give(Value::real(std::fabs(c.self.as_real())));
  if (!c.self.is_integral()) return c.in.fail(text("abs of a ", type_name(c.self)));
  if (c.self.as_int() == INT64_MIN) return c.in.fail("an integer beyond 64 bits");
  return c.give(Value::integer(std::abs(c.self.as_int())));
}

bool round_filter(const Call& c) {
  int64_t precision = 0;
  std::string_view method = "common";
  if (!c.self.is_number()) return c.in.fail(text("round of a ", type_name(c.self), ", expected a number"));
  if (!int_arg(c, 0, 0, precision)) return false;
  if (c.given(1) && !c.in.text_argument(c.args[1], "round's method", method)) return false;
  if (method != "common" && method != "ceil" && method != "floor")
    return c.in.fail("round by common, ceil or floor");
  if (precision < -300 || precision > 300) return c.in.fail("round to a precision out of range");
  if (c.self.is_integral() && precision >= 0 && method == "common")
    return c.give(Value::integer(c.self.as_int()));
  const double d = c.self.as_real();
  if (!std::isfinite(d)) return c.give(Value::real(d));
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method != "common") {
    const double scaled = d * scale;
    return c.give(Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale));
  }
  if (precision < 0) {
    const double rounded = std::nearbyint(d * scale) / scale;
    return c.give(c.self.is_integral() ? Value::integer(static_cast<int64_t>(rounded))
                                       : Value::real(rounded));
  }
  // Through decimal text, which rounds the exact value correctly, as Python does.
  char digits[700];
  std::snprintf(digits, sizeof digits, "%.*f", static_cast<int>(precision), d);
  return c.give(Value::real(std::strtod(digits, nullptr)));
}

bool sum_filter(const Call& c) {
  std::vector<Value> items;
  if (!c.in.iterate(c.self, items)) return false;
  Value total = c.given(1) ? c.args[1] : Value::integer(0);
  if (total.is_string()) return c.in.fail("sum can't join strings: use join");
  for (const Value& item : items) {
    Value v, next;
    if (!get_by(c.in, item, c.args[0], v) || !c.in.binary(Op::add, total, v, next)) return false;
    total = std::move(next);
  }
  return c.give(std::move(total));
}

// ---- sequences ----

bool extreme_filter(const Call& c) {
  const bool want_max = c.kind != 0;
  std::vector<Value> items, keys;
  if (!c.in.iterate(c.self, items) || !keys_of(c.in, items, c.args[1], flag(c, 0), false, keys)) return false;
  if (items.empty()) return c.give(Value());
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    bool better = false;
    if (!c.in.less(keys[want_max ? best : i], keys[want_max ? i : best], better)) return false;
    if (better) best = i;
  }
  return c.give(items[best]);
}

bool sort_filter(const Call& c) {
  std::vector<Value> items, keys;
  return c.in.iterate(c.self, items) && keys_of(c.in, items, c.args[2], flag(c, 1), true, keys) &&
         sort_by(c.in, items, keys, flag(c, 0)) && give_items(c, SequenceKind::list, std::move(items));
}

bool dictsort_filter(const Call& c) {
  if (!c.self.is(Type::dict))
    return c.in.fail(text("dictsort of a ", type_name(c.self), ", expected a mapping"));
  std::string_view by = "key";
  if (c.given(1) && !c.in.text_argument(c.args[1], "dictsort's 'by'", by)) return false;
  if (by != "key" && by != "value") return c.in.fail("dictsort by key or value");
  std::vector<Value> items, keys;
  for (const auto& [key, value] : c.self.as_dict().entries) {
    const Value& chosen = by == "key" ? key : value;
    keys.push_back(flag(c, 0) ? chosen : ignore_case(chosen));
    items.push_back(Value::sequence(SequenceKind::tuple, {key, value}));
  }
  return c.in.charge_bytes(items.size() * 160) && sort_by(c.in, items, keys, flag(c, 2)) &&
         give_items(c, SequenceKind::list, std::move(items));
}

bool unique_filter(const Call& c) {
  std::vector<Value> items, keys, kept;
  if (!c.in.iterate(c.self, items) || !keys_of(c.in, items, c.args[1], flag(c, 0), false, keys)) return false;
  const DictBuilder seen;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!hashable(keys[i])) return c.in.fail(text("unhashable type: '", type_name(keys[i]), "'"));
    if (seen->find(keys[i]) != nullptr) continue;
    seen->set(keys[i], Value::none());
    kept.push_back(items[i]);
  }
  return give_items(c, SequenceKind::iterator, std::move(kept));
}

// Drops the first n positional arguments.
Args rest_of(const Args& all, size_t n) {
  Args rest = all;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + static_cast<ptrdiff_t>(n));
  return rest;
}

bool map_filter(const Call& c) {
  Args args = c.all;
  Value attribute = Value::missing(), otherwise = Value::missing();
  const Builtin* filter = nullptr;
  if (args.positional.empty()) {
    for (const auto& [name, value] : args.keyword) {
      if (name == "attribute") {
        attribute = value;
      } else if (name == "default") {
        otherwise = value;
      } else {
        return c.in.fail(text("map has no argument '", name, "'"));
      }
    }
    if (attribute.is_missing()) return c.in.fail("map needs a filter or an attribute");
  } else {
    if (args.positional[0].is_string()) filter = find_builtin(filters(), args.positional[0].as_string());
    if (filter == nullptr) return c.in.fail("map by an unknown filter");
    args = rest_of(args, 1);
  }
  std::vector<Value> items, mapped;
  if (!c.in.iterate(c.self, items)) return false;
  for (const Value& item : items) {
    Value v;
    Args copy = args;
    const bool ok =
        filter != nullptr ? c.in.call_builtin(*filter, item, copy, v) : get_by(c.in, item, attribute, v);
    if (!ok) return false;
    if (v.is_undefined() && !otherwise.is_missing() && !otherwise.is_none()) v = otherwise;
    mapped.push_back(std::move(v));
  }
  return give_items(c, SequenceKind::iterator, std::move(mapped));
}

enum SelectKind : uint8_t { kSelect = 0, kReject = 1, kByAttribute = 2 };

bool select_filter(const Call& c) {
  const bool by_attribute = (c.kind & kByAttribute) != 0;
  const size_t test_index = by_attribute ? 1 : 0;
  if (c.all.positional.size() < test_index) return c.in.fail("selection by an attribute needs its name");
  const Value attribute = by_attribute ? c.all.positional[0] : Value::missing();
  const Builtin* test = nullptr;
  Args args;
  if (c.all.positional.size() > test_index) {
    const Value& name = c.all.positional[test_index];
    if (name.is_string()) test = find_builtin(tests(), name.as_string());
    if (test == nullptr) return c.in.fail("selection by an unknown test");
    args = rest_of(c.all, test_index + 1);
  }
  std::vector<Value> items, kept;
  if (!c.in.iterate(c.self, items)) return false;
  for (const Value& item : items) {
    Value v, result;
    if (!get_by(c.in, item, attribute, v)) return false;
    if (test != nullptr) {
      Args copy = args;
      if (!c.in.call_builtin(*test, v, copy, result)) return false;
      v = result;
    }
    if (truth(v) != ((c.kind & kReject) != 0)) kept.push_back(item);
  }
  return give_items(c, SequenceKind::iterator, std::move(kept));
}

// Lists of `n` items, the last filled up.
bool batch_filter(const Call& c) {
  std::vector<Value> items, batches;
  int64_t n = 0;
  if (!c.in.iterate(c.self, items) || !int_arg(c, 0, 0, n)) return false;
  if (n < 1 || n > 100'000) return c.in.fail("batch by a number out of range");
  const auto size = static_cast<size_t>(n);
  for (size_t i = 0; i < items.size(); i += size) {
    const size_t end = std::min(items.size(), i + size);
    std::vector<Value> batch(items.begin() + static_cast<ptrdiff_t>(i),
                             items.begin() + static_cast<ptrdiff_t>(end));
    if (is_given(c, 1)) batch.resize(size, c.args[1]);
    if (!give_items(c, SequenceKind::list, std::move(batch))) return false;
    batches.push_back(c.out);
  }
  return give_items(c, SequenceKind::iterator, std::move(batches));
}

// `n` lists that share the items.
bool slice_filter(const Call& c) {
  std::vector<Value> items, slices;
  int64_t n = 0;
  if (!c.in.iterate(c.self, items) || !int_arg(c, 0, 0, n)) return false;
  if (n < 1 || n > 100'000) return c.in.fail("slice to a number out of range");
  const size_t count = static_cast<size_t>(n), each = items.size() / count, longer = items.size() % count;
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t size = each + (i < longer ? 1 : 0);
    const auto begin = items.begin() + static_cast<ptrdiff_t>(at);
    std::vector<Value> slice(begin, begin + static_cast<ptrdiff_t>(size));
    at += size;
    if (is_given(c, 1) && i >= longer) slice.push_back(c.args[1]);
    if (!give_items(c, SequenceKind::list, std::move(slice))) return false;
    slices.push_back(c.out);
  }
  return give_items(c, SequenceKind::iterator, std::move(slices));
}

constexpr Builtin kFilters[] = {
    {"trim", "chars", 0, kTrim, text_filter},
    {"upper", "", 0, kUpper, text_filter},
    {"lower", "", 0, kLower, text_filter},
    {"capitalize", "", 0, kCapitalize, text_filter},
    {"title", "", 0, kTitle, text_filter},
    {"string", "", 0, kString, text_filter},
    {"safe", "", 0, 0, mark_safe},
    {"replace", "old new count", 2, 0, replace_filter},
    {"indent", "width first blank", 0, 0, indent_filter},
    {"join", "d attribute", 0, 0, join_filter},
    {"center", "width", 0, 0, center_filter},
    {"format", "*", 0, 0, format_filter},
    {"wordcount", "", 0, 0, word_count},
    {"truncate", "length killwords end leeway", 0, 0, truncate_filter},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, 0, tojson_filter},
    {"default", "default_value boolean", 0, 0, default_filter},
    {"d", "default_value boolean", 0, 0, default_filter},
    {"length", "", 0, 0, length_filter},
    {"count", "", 0, 0, length_filter},
    {"list", "", 0, 0, list_filter},
    {"first", "", 0, 0, first_filter},
    {"last", "", 0, 0, last_filter},
    {"reverse", "", 0, 0, reverse_filter},
    {"items", "", 0, 0, items_filter},
    {"attr", "name", 1, 0, attr_filter},
    {"int", "default base", 0, 0, int_filter},
    {"float", "default", 0, 0, float_filter},
    {"abs", "", 0, 0, abs_filter},
    {"round", "precision method", 0, 0, round_filter},
    {"sum", "attribute start", 0, 0, sum_filter},
    {"min", "case_sensitive attribute", 0, 0, extreme_filter},
    {"max", "case_sensitive attribute", 0, 1, extreme_filter},
    {"sort", "reverse case_sensitive attribute", 0, 0, sort_filter},
    {"dictsort", "case_sensitive by reverse", 0, 0, dictsort_filter},
    {"unique", "case_sensitive attribute", 0, 0, unique_filter},
    {"map", "*", 0, 0, map_filter},
    {"select", "*", 0, kSelect, select_filter},
    {"reject", "*", 0, kReject, select_filter},
    {"selectattr", "*", 0, kSelect | kByAttribute, select_filter},
    {"rejectattr", "*", 0, kReject | kByAttribute, select_filter},
    {"batch", "linecount fill_with", 1, 0, batch_filter},
    {"slice", "slices fill_with", 1, 0, slice_filter},
};

}  // namespace

bool sort_by(Interpreter& in, std::vector<Value>& items, const std::vector<Value>& keys, bool reverse) {
  // A merge sort of places: stable, also in reverse, and the comparison may fail.
  std::vector<size_t> order(items.size()), merged(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (size_t width = 1; width < order.size(); width *= 2) {
    for (size_t begin = 0; begin < order.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, order.size()),
                   end = std::min(begin + 2 * width, order.size());
      size_t left = begin, right = middle;
      for (size_t i = begin; i < end; ++i) {
        bool take_right = left == middle;
        if (!take_right && right < end) {
          const Value &a = keys[order[left]], &b = keys[order[right]];
          if (!in.charge(1) || !in.less(reverse ? a : b, reverse ? b : a, take_right)) return false;
        }
        merged[i] = take_right ? order[right++] : order[left++];
      }
    }
    order.swap(merged);
  }
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const size_t i : order) sorted.push_back(items[i]);
  items = std::move(sorted);
  return true;
}

std::span<const Builtin> filters() { return kFilters; }

}  // namespace forge::rt::jinja
