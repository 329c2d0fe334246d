// Python's ways to fill a text with values: '%s' % x, '{}'.format(x), strftime.
#include <algorithm>
#include <cstdio>
#include <string>

#include "runtime/core/jinja_runtime.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {

namespace {

constexpr int kMaxField = 1000;  // characters that a field is widened to, digits behind a point

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// One %-directive: %[-+ 0#][width][.precision]type
struct Directive {
  bool left = false, plus = false, space = false, zero = false, alternate = false;
  int width = 0, precision = -1;
  char type = 0;
};

bool parse_number(Interpreter& in, std::string_view f, size_t& i, int& out) {
  out = 0;
  for (; i < f.size() && is_digit(f[i]); ++i) {
    out = out * 10 + (f[i] - '0');
    if (out > kMaxField) return in.fail("a format with a field too wide");
  }
  return true;
}

bool parse_directive(Interpreter& in, std::string_view f, size_t& i, Directive& d) {
  for (; i < f.size(); ++i) {
    if (f[i] == '-') {
      d.left = true;
    } else if (f[i] == '+') {
      d.plus = true;
    } else if (f[i] == ' ') {
      d.space = true;
    } else if (f[i] == '0') {
      d.zero = true;
    } else if (f[i] == '#') {
      d.alternate = true;
    } else {
      break;
    }
  }
  if (!parse_number(in, f, i, d.width)) return false;
  if (i < f.size() && f[i] == '.') {
    ++i;
    if (!parse_number(in, f, i, d.precision)) return false;
  }
  if (i >= f.size()) return in.fail("an incomplete format");
  d.type = f[i++];
  return true;
}

void pad(std::string& out, std::string_view sign, std::string_view body, const Directive& d, bool zeros) {
  const auto width = static_cast<size_t>(d.width);
  const size_t length = count_code_points(body) + sign.size();
  const size_t fill = width > length ? width - length : 0;
  if (!d.left && !(zeros && d.zero)) out.append(fill, ' ');
  out += sign;
  if (!d.left && zeros && d.zero) out.append(fill, '0');
  out += body;
  if (d.left) out.append(fill, ' ');
}

bool format_number(Interpreter& in, const Directive& d, const Value& v, std::string& out) {
  if (!v.is_number()) return in.fail(text("%", d.type, " needs a number, not a ", type_name(v)));
  const bool is_real_format = std::string_view("eEfFgG").find(d.type) != std::string_view::npos;
  const double real = v.as_real();
  if (!is_real_format && v.is(Type::real) &&
      (!(real > -9e18 && real < 9e18) || d.type == 'x' || d.type == 'X')) {
    return in.fail(text("%", d.type, " needs an integer"));
  }
  const int64_t integer = v.is(Type::real) ? static_cast<int64_t>(is_real_format ? 0 : real) : v.as_int();
  const bool negative = is_real_format ? real < 0 : integer < 0;
  const std::string_view sign = negative ? "-" : d.plus ? "+" : d.space ? " " : "";
  char digits[1500];
  const uint64_t magnitude = negative ? 0 - static_cast<uint64_t>(integer) : static_cast<uint64_t>(integer);
  switch (d.type) {
    case 'x': std::snprintf(digits, sizeof digits, "%llx", static_cast<unsigned long long>(magnitude)); break;
    case 'X': std::snprintf(digits, sizeof digits, "%llX", static_cast<unsigned long long>(magnitude)); break;
    case 'o': std::snprintf(digits, sizeof digits, "%llo", static_cast<unsigned long long>(magnitude)); break;
    case 'd':
    case 'i':
    case 'u': std::snprintf(digits, sizeof digits, "%llu", static_cast<unsigned long long>(magnitude)); break;
    default: {
      const char format[] = {'%', '.', '*', d.type, 0};
      const int precision = d.precision < 0 ? 6 : d.precision;
      std::snprintf(digits, sizeof digits, format, precision, negative ? -real : real);
    }
  }
  pad(out, sign, digits, d, true);
  return true;
}

const char* const kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                               "July",    "August",   "September", "October", "November", "December"};
const char* const kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

int days_before_month(const BrokenDownTime& t) {
  constexpr int kBefore[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  const bool leap = (t.year % 4 == 0 && t.year % 100 != 0) || t.year % 400 == 0;
  return kBefore[t.month - 1] + (leap && t.month > 2 ? 1 : 0);
}

// 0 is Sunday.
int week_day(const BrokenDownTime& t) {
  const int y = t.year - 1;
  return (y * 365 + y / 4 - y / 100 + y / 400 + days_before_month(t) + t.day) % 7;
}

void append_number(std::string& out, int v, int width, char fill) {
  const std::string digits = std::to_string(v);
  if (fill != 0 && static_cast<int>(digits.size()) < width)
    out.append(static_cast<size_t>(width) - digits.size(), fill);
  out += digits;
}

}  // namespace

bool format_percent(Interpreter& in, std::string_view f, const Value& args, std::string& out) {
  const bool is_tuple = args.is_sequence(SequenceKind::tuple);
  size_t next = 0;
  for (size_t i = 0; i < f.size();) {
    if (f[i] != '%') {
      out += f[i++];
      continue;
    }
    ++i;
    if (out.size() > in.limits.output_bytes || !in.charge(1)) return in.fail("a formatted text too long");
    if (i < f.size() && f[i] == '%') {
      out += f[i++];
      continue;
    }
    Value v;
    if (i < f.size() && f[i] == '(') {
      const size_t end = f.find(')', i);
      if (end == std::string_view::npos || !args.is(Type::dict)) return in.fail("a format that needs a dict");
      const Value* found = args.as_dict().find(f.substr(i + 1, end - i - 1));
      if (found == nullptr)
        return in.fail(text("the format's '", f.substr(i + 1, end - i - 1), "' is not given"));
      v = *found;
      next = 1;
      i = end + 1;
    } else if (is_tuple ? next < args.as_sequence().items.size() : next == 0) {
      v = is_tuple ? args.as_sequence().items[next] : args;
      ++next;
    } else {
      return in.fail("not enough arguments for the format");
    }
    Directive d;
    if (!parse_directive(in, f, i, d)) return false;
    if (d.type == 's' || d.type == 'r') {
      std::string s;
      if (!in.charge(v.weight())) return false;
      if (d.type == 's' ? !in.to_text(v, s) : !append_repr(s, v, in.limits.output_bytes)) {
        return in.fail(text("a ", type_name(v), " can't be printed"));
      }
      if (d.precision >= 0) s.resize(code_point_offset(s, static_cast<size_t>(d.precision)));
      pad(out, "", s, d, false);
    } else if (std::string_view("diuxXoeEfFgG").find(d.type) != std::string_view::npos) {
      if (!format_number(in, d, v, out)) return false;
    } else {
      return in.fail(text("the format %", d.type, " is not supported"));
    }
  }
  const bool all_used = is_tuple ? next == args.as_sequence().items.size() : next > 0 || args.is(Type::dict);
  return all_used || in.fail("not all arguments are used by the format");
}

bool format_braces(Interpreter& in, std::string_view f, const Args& args, std::string& out) {
  size_t next = 0;
  for (size_t i = 0; i < f.size();) {
    const char c = f[i++];
    if (c != '{' && c != '}') {
      out += c;
      continue;
    }
    if (i < f.size() && f[i] == c) {
      out += c;
      ++i;
      continue;
    }
    if (c == '}') return in.fail("a single '}' in a format");
    const size_t end = f.find('}', i);
    if (end == std::string_view::npos) return in.fail("a '{' without '}' in a format");
    std::string_view field = f.substr(i, end - i);
    i = end + 1;
    bool as_repr = false;
    if (field.ends_with("!r") || field.ends_with("!s")) {
      as_repr = field.back() == 'r';
      field.remove_suffix(2);
    }
    if (field.find_first_of(":.[!{") != std::string_view::npos) {
      return in.fail("format() fields are supported only as {}, {number} and {name}");
    }
    const Value* v = nullptr;
    if (field.empty() || std::all_of(field.begin(), field.end(), is_digit)) {
      size_t index = next;
      if (field.empty()) {
        ++next;
      } else {
        index = field.size() > 4 ? SIZE_MAX : static_cast<size_t>(std::stoi(std::string(field)));
      }
      if (index < args.positional.size()) v = &args.positional[index];
    } else {
      for (const auto& [name, value] : args.keyword) {
        if (name == field) v = &value;
      }
    }
    if (v == nullptr) return in.fail(text("format() lacks its argument '", field, "'"));
    if (!in.charge(1 + v->weight())) return false;
    if (as_repr ? !append_repr(out, *v, in.limits.output_bytes) : !in.to_text(*v, out)) {
      return in.fail(text("a ", type_name(*v), " can't be printed"));
    }
  }
  return true;
}

bool format_time(Interpreter& in, std::string_view f, const BrokenDownTime& t, std::string& out) {
  if (t.year < 1 || t.year > 9999 || t.month < 1 || t.month > 12 || t.day < 1 || t.day > 31) {
    return in.fail("the time passed in is no date");
  }
  for (size_t i = 0; i < f.size(); ++i) {
    if (f[i] != '%' || i + 1 >= f.size()) {
      out += f[i];
      continue;
    }
    char fill = '0';
    char c = f[++i];
    if (c == '-' && i + 1 < f.size()) {
      fill = 0;
      c = f[++i];
    }
    const int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
    switch (c) {
      case 'd': append_number(out, t.day, 2, fill); break;
      case 'e': append_number(out, t.day, 2, fill == 0 ? '\0' : ' '); break;
      case 'm': append_number(out, t.month, 2, fill); break;
      case 'y': append_number(out, t.year % 100, 2, fill); break;
      case 'Y': append_number(out, t.year, 1, fill); break;
      case 'H': append_number(out, t.hour, 2, fill); break;
      case 'I': append_number(out, hour12, 2, fill); break;
      case 'M': append_number(out, t.minute, 2, fill); break;
      case 'S': append_number(out, t.second, 2, fill); break;
      case 'j': append_number(out, days_before_month(t) + t.day, 3, fill); break;
      case 'w': out += std::to_string(week_day(t)); break;
      case 'u': out += std::to_string((week_day(t) + 6) % 7 + 1); break;
      case 'B': out += kMonths[t.month - 1]; break;
      case 'b':
      case 'h': out.append(kMonths[t.month - 1], 3); break;
      case 'A': out += kDays[week_day(t)]; break;
      case 'a': out.append(kDays[week_day(t)], 3); break;
      case 'p': out += t.hour < 12 ? "AM" : "PM"; break;
      case '%': out += '%'; break;
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case 'z':
      case 'Z': break;  // a time without a zone
      case 'F':
        if (!format_time(in, "%Y-%m-%d", t, out)) return false;
        break;
      case 'T':
      case 'X':
        if (!format_time(in, "%H:%M:%S", t, out)) return false;
        break;
      case 'R':
        if (!format_time(in, "%H:%M", t, out)) return false;
        break;
      case 'D':
      case 'x':
        if (!format_time(in, "%m/%d/%y", t, out)) return false;
        break;
      case 'c':
        if (!format_time(in, "%a %b %e %H:%M:%S %Y", t, out)) return false;
        break;
      default: return in.fail(text("strftime_now: '%", c, "' is not supported"));
    }
  }
  return true;
}

}  // namespace forge::rt::jinja
