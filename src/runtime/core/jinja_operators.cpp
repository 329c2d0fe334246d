// Python's operators and protocols on Values.
#include <algorithm>
#include <cmath>

#include "runtime/core/jinja_runtime.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {

namespace {

std::string_view symbol_of(Op op) {
  switch (op) {
    case Op::add: return "+";
    case Op::subtract: return "-";
    case Op::multiply: return "*";
    case Op::divide: return "/";
    case Op::floor_divide: return "//";
    case Op::modulo: return "%";
    default: return "**";
  }
}

// base ** exponent for exponent >= 0; false where it leaves 64 bits.
bool int_power(int64_t base, int64_t exponent, int64_t& out) {
  out = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(out, base, &out)) return false;
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return false;
  }
  return true;
}

bool int_arithmetic(Interpreter& in, Op op, int64_t a, int64_t b, Value& out) {
  int64_t r = 0;
  bool overflow = false;
  switch (op) {
    case Op::add: overflow = __builtin_add_overflow(a, b, &r); break;
    case Op::subtract: overflow = __builtin_sub_overflow(a, b, &r); break;
    case Op::multiply: overflow = __builtin_mul_overflow(a, b, &r); break;
    case Op::divide:
      if (b == 0) return in.fail("division by zero");
      out = Value::real(static_cast<double>(a) / static_cast<double>(b));
      return true;
    case Op::floor_divide:
    case Op::modulo: {
      if (b == 0) return in.fail("division by zero");
      overflow = a == INT64_MIN && b == -1;
      if (overflow) break;
      const bool inexact = a % b != 0 && (a % b < 0) != (b < 0);
      r = op == Op::modulo ? a % b + (inexact ? b : 0) : a / b - (inexact ? 1 : 0);
      break;
    }
    default:
      if (b < 0) {
        if (a == 0) return in.fail("zero to a negative power");
        out = Value::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
        return true;
      }
      overflow = !int_power(a, b, r);
  }
  if (overflow) return in.fail("an integer beyond 64 bits");
  out = Value::integer(r);
  return true;
}

bool real_arithmetic(Interpreter& in, Op op, double a, double b, Value& out) {
  double r = 0;
  switch (op) {
    case Op::add: r = a + b; break;
    case Op::subtract: r = a - b; break;
    case Op::multiply: r = a * b; break;
    case Op::divide:
    case Op::floor_divide:
    case Op::modulo: {
      if (b == 0) return in.fail("division by zero");
      if (op == Op::divide) {
        r = a / b;
        break;
      }
      double mod = std::fmod(a, b);
      double quotient = (a - mod) / b;
      if (mod != 0 && (b < 0) != (mod < 0)) {
        mod += b;
        quotient -= 1;
      }
      if (mod == 0) mod = std::copysign(0.0, b);
      double floored = std::floor(quotient);
      if (quotient - floored > 0.5) floored += 1;
      if (quotient == 0) floored = std::copysign(0.0, a / b);
      r = op == Op::modulo ? mod : floored;
      break;
    }
    default:
      if (a == 0 && b < 0) return in.fail("zero to a negative power");
      r = std::pow(a, b);
      if (std::isnan(r) && !std::isnan(a) && !std::isnan(b)) return in.fail("a power that is no real number");
      if (std::isinf(r) && !std::isinf(a) && !std::isinf(b)) return in.fail("a number too large");
  }
  out = Value::real(r);
  return true;
}

std::string escape_html(std::string_view s) {
  std::string out;
  for (const char c : s) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  return out;
}

bool is_markup(const Value& v) { return v.is_string() && static_cast<String*>(v.as_object())->markup; }

bool add_strings(Interpreter& in, const Value& a, const Value& b, Value& out) {
  const bool markup = is_markup(a) || is_markup(b);
  const auto part = [&](const Value& v) {
    return markup && !is_markup(v) ? escape_html(v.as_string()) : v.as_string();
  };
  if (!in.charge(uint64_t{a.weight()} + b.weight())) return false;
  return in.make_string(part(a) + part(b), out, markup);
}

// A string or sequence, n times.
bool repeat(Interpreter& in, const Value& v, int64_t n, Value& out) {
  n = std::max<int64_t>(n, 0);
  const uint64_t unit = v.is_string() ? v.as_string().size() : v.as_sequence().items.size() * sizeof(Value);
  if (unit > 0 && static_cast<uint64_t>(n) > in.limits.output_bytes / unit)
    return in.fail("a repetition too long");
  if (unit == 0) n = 0;
  if (v.is_string()) {
    std::string s;
    s.reserve(unit * static_cast<uint64_t>(n));
    for (int64_t i = 0; i < n; ++i) s += v.as_string();
    return in.make_string(std::move(s), out, is_markup(v));
  }
  const Sequence& s = v.as_sequence();
  std::vector<Value> items;
  for (int64_t i = 0; i < n; ++i) items.insert(items.end(), s.items.begin(), s.items.end());
  return in.charge(items.size()) && in.make_sequence(s.kind, std::move(items), out);
}

bool is_list_or_tuple(const Value& v) {
  return v.is_sequence(SequenceKind::list) || v.is_sequence(SequenceKind::tuple);
}
bool is_indexable(const Value& v) { return is_list_or_tuple(v) || v.is_sequence(SequenceKind::range); }

// Attributes that are no methods.
bool loop_attribute(Interpreter& in, Loop& loop, std::string_view name, Value& out) {
  const auto integer = [&](int64_t i) {
    out = Value::integer(i);
    return true;
  };
  if (name == "index") return integer(loop.index0 + 1);
  if (name == "index0") return integer(loop.index0);
  if (name == "first") return in.make_bool(loop.index0 == 0, out);
  if (name == "depth") return integer(1);
  if (name == "depth0") return integer(0);
  if (name == "last") return in.loop_peek(loop) && in.make_bool(loop.at_end, out);
  if (name == "length") return in.loop_length(loop) && integer(loop.length);
  if (name == "revindex") return in.loop_length(loop) && integer(loop.length - loop.index0);
  if (name == "revindex0") return in.loop_length(loop) && integer(loop.length - loop.index0 - 1);
  out = Value();
  if (name == "previtem") out = loop.before;
  if (name == "nextitem") {
    if (!in.loop_peek(loop)) return false;
    if (!loop.after.is_missing()) out = loop.after;
  }
  return true;
}

bool macro_attribute(Interpreter& in, const Macro& macro, std::string_view name, Value& out) {
  out = Value();
  if (name == "name") return in.make_string(std::string(in.tmpl.name(macro.node->name)), out);
  if (name != "arguments") return true;
  std::vector<Value> names;
  names.reserve(macro.node->parameters.size());
  for (const Symbol s : macro.node->parameters) names.push_back(Value::string(std::string(in.tmpl.name(s))));
  return in.make_sequence(SequenceKind::tuple, std::move(names), out);
}

// What getattr finds: methods and the attributes of the template's own objects, but no items.
bool own_attribute(Interpreter& in, const Value& v, std::string_view name, Value& out) {
  out = Value();
  if (is_mutator(v, name)) return true;
  if (const Builtin* method = find_method(v, name)) {
    out = Value::object(new Method(method, v));
    return in.charge_bytes(sizeof(Method));
  }
  switch (v.type()) {
    case Type::loop: return loop_attribute(in, *static_cast<Loop*>(v.as_object()), name, out);
    case Type::macro: return macro_attribute(in, *static_cast<Macro*>(v.as_object()), name, out);
    case Type::name_space:
      if (const Value* found = static_cast<Namespace*>(v.as_object())->attributes.find(name)) out = *found;
      return true;
    case Type::cycler:
      if (name == "current") {
        const Cycler& cycler = *static_cast<Cycler*>(v.as_object());
        out = cycler.items[cycler.position];
      }
      return true;
    default: return true;
  }
}

// The item with a Python index, negative from the end; undefined outside.
bool indexed(Interpreter& in, const Value& v, int64_t i, Value& out) {
  out = Value();
  if (v.is_string()) {
    const std::string& s = v.as_string();
    if (!in.charge(v.weight())) return false;
    if (i < 0) i += static_cast<int64_t>(count_code_points(s));
    if (i < 0 || static_cast<uint64_t>(i) >= s.size()) return true;
    const size_t begin = code_point_offset(s, static_cast<size_t>(i));
    if (begin >= s.size()) return true;
    size_t end = begin;
    next_code_point(s, end);
    return in.make_string(s.substr(begin, end - begin), out);
  }
  const auto& items = v.as_sequence().items;
  if (i < 0) i += static_cast<int64_t>(items.size());
  if (i >= 0 && static_cast<uint64_t>(i) < items.size()) out = items[static_cast<size_t>(i)];
  return true;
}

// Python's slice.indices(length): which items a:b:c takes. False: a bound is no integer, or the step is 0.
struct Slice {
  int64_t start, stop, step, count;
};
bool slice_of(Interpreter& in, const Value bounds[3], int64_t length, Slice& out) {
  for (int i = 0; i < 3; ++i) {
    if (!bounds[i].is_none() && !bounds[i].is_integral())
      return in.fail("a slice's bounds must be integers or none");
  }
  out.step = bounds[2].is_none() ? 1 : bounds[2].as_int();
  if (out.step == 0) return in.fail("a slice's step can't be 0");
  const bool down = out.step < 0;
  const int64_t low = down ? -1 : 0, high = down ? length - 1 : length;
  const auto clamp = [&](const Value& v, int64_t otherwise) {
    if (v.is_none()) return otherwise;
    const int64_t i = v.as_int() < 0 ? std::max(v.as_int(), -length - 1) + length : v.as_int();
    return std::clamp(i, low, high);
  };
  out.start = clamp(bounds[0], down ? high : low);
  out.stop = clamp(bounds[1], down ? low : high);
  const int64_t distance = down ? out.start - out.stop : out.stop - out.start;
  // -step of INT64_MIN leaves the range; a step that long takes one item anyway.
  const int64_t stride = down ? -std::max(out.step, -INT64_MAX) : out.step;
  out.count = distance <= 0 ? 0 : (distance - 1) / stride + 1;
  return true;
}

}  // namespace

bool Interpreter::to_text(const Value& v, std::string& out) {
  const size_t room = limits.output_bytes;
  if (append_str(out, v, room)) return true;
  if (v.is(Type::macro)) {
    out += text("<Macro '", tmpl.name(static_cast<Macro*>(v.as_object())->node->name), "'>");
    return true;
  }
  if (out.size() > room) return fail(text("more than ", limits.output_bytes, " bytes of text"));
  return fail(text("a ", type_name(v), " can't be printed"));
}

bool Interpreter::iterate(const Value& v, std::vector<Value>& items) {
  switch (v.type()) {
    case Type::undefined: return true;
    case Type::sequence: {
      Sequence& s = v.as_sequence();
      const bool once = s.kind == SequenceKind::iterator;
      items.insert(items.end(), s.items.begin() + static_cast<ptrdiff_t>(once ? s.next : 0), s.items.end());
      if (once) s.next = s.items.size();
      break;
    }
    case Type::dict:
      for (const auto& entry : v.as_dict().entries) items.push_back(entry.first);
      break;
    case Type::string: {
      const std::string& s = v.as_string();
      if (!charge_bytes(s.size() * 64)) return false;
      for (size_t pos = 0; pos < s.size();) {
        const size_t begin = pos;
        next_code_point(s, pos);
        items.push_back(Value::string(s.substr(begin, pos - begin)));
      }
      break;
    }
    default: return fail(text("a ", type_name(v), " can't be iterated over"));
  }
  return charge(items.size()) && charge_bytes(items.size() * sizeof(Value));
}

bool Interpreter::length(const Value& v, int64_t& out) {
  out = 0;
  if (v.is_undefined()) return true;
  if (v.is_string()) {
    out = static_cast<int64_t>(count_code_points(v.as_string()));
    return charge(v.weight());
  }
  if (v.is(Type::sequence) && !v.is_sequence(SequenceKind::iterator)) {
    out = static_cast<int64_t>(v.as_sequence().items.size());
    return true;
  }
  if (v.is(Type::dict)) {
    out = static_cast<int64_t>(v.as_dict().entries.size());
    return true;
  }
  if (v.is(Type::loop)) {
    Loop& loop = *static_cast<Loop*>(v.as_object());
    if (!loop_length(loop)) return false;
    out = loop.length;
    return true;
  }
  return fail(text("a ", type_name(v), " has no length"));
}

bool Interpreter::get_attribute(const Value& v, std::string_view name, Value& out) {
  if (v.is_undefined()) return fail(text("a value is undefined; it has no attribute '", name, "'"));
  if (!own_attribute(*this, v, name, out)) return false;
  if (out.is_undefined() && v.is(Type::dict) && !is_mutator(v, name)) {
    if (const Value* found = v.as_dict().find(name)) out = *found;
  }
  return true;
}

bool Interpreter::get_item(const Value& v, const Value& key, Value& out) {
  if (v.is_undefined()) return fail("a value is undefined; it has no items");
  if (key.is_integral() && (v.is_string() || is_indexable(v))) return indexed(*this, v, key.as_int(), out);
  if (v.is(Type::dict) && hashable(key)) {
    if (!charge(key.weight())) return false;
    if (const Value* found = v.as_dict().find(key)) {
      out = *found;
      return true;
    }
  }
  if (key.is_string()) return own_attribute(*this, v, key.as_string(), out);
  out = Value();
  return true;
}

bool Interpreter::get_slice(const Value& v, const Value bounds[3], Value& out) {
  Slice slice{};
  out = Value();
  if (v.is_string()) {
    const std::string& s = v.as_string();
    std::vector<size_t> offsets;
    for (size_t pos = 0; pos < s.size();) {
      offsets.push_back(pos);
      next_code_point(s, pos);
    }
    offsets.push_back(s.size());
    if (!charge(offsets.size() / 16) ||
        !slice_of(*this, bounds, static_cast<int64_t>(offsets.size()) - 1, slice)) {
      return false;
    }
    std::string cut;
    for (int64_t i = 0; i < slice.count; ++i) {
      const auto a = static_cast<size_t>(slice.start + i * slice.step);
      cut.append(s, offsets[a], offsets[a + 1] - offsets[a]);
    }
    return make_string(std::move(cut), out);
  }
  if (!is_indexable(v)) return true;
  const Sequence& s = v.as_sequence();
  if (!slice_of(*this, bounds, static_cast<int64_t>(s.items.size()), slice)) return false;
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(slice.count));
  for (int64_t i = 0; i < slice.count; ++i) {
    items.push_back(s.items[static_cast<size_t>(slice.start + i * slice.step)]);
  }
  if (!charge(items.size()) || !make_sequence(s.kind, std::move(items), out)) return false;
  if (s.kind == SequenceKind::range) {
    // Only for printing it; wrapping round where Python's integers would grow.
    const auto product = [](int64_t a, int64_t b) {
      return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    };
    Sequence& range = out.as_sequence();
    range.step = product(s.step, slice.step);
    range.start = product(slice.start, s.step) + s.start;
    range.stop = product(slice.stop, s.step) + s.start;
  }
  return true;
}

bool Interpreter::binary(Op op, const Value& a, const Value& b, Value& out) {
  if (a.is_integral() && b.is_integral()) return int_arithmetic(*this, op, a.as_int(), b.as_int(), out);
  if (a.is_number() && b.is_number()) return real_arithmetic(*this, op, a.as_real(), b.as_real(), out);
  if (op == Op::add && a.is_string() && b.is_string()) return add_strings(*this, a, b, out);
  if (op == Op::add && is_list_or_tuple(a) && is_list_or_tuple(b) &&
      a.as_sequence().kind == b.as_sequence().kind) {
    std::vector<Value> items = a.as_sequence().items;
    const auto& more = b.as_sequence().items;
    items.insert(items.end(), more.begin(), more.end());
    return charge(items.size()) && make_sequence(a.as_sequence().kind, std::move(items), out);
  }
  if (op == Op::multiply) {
    if ((a.is_string() || is_list_or_tuple(a)) && b.is_integral()) return repeat(*this, a, b.as_int(), out);
    if ((b.is_string() || is_list_or_tuple(b)) && a.is_integral()) return repeat(*this, b, a.as_int(), out);
  }
  if (op == Op::modulo && a.is_string() && !is_markup(a)) {
    std::string s;
    return format_percent(*this, a.as_string(), b, s) && make_string(std::move(s), out);
  }
  return fail(
      text("unsupported operands of ", symbol_of(op), ": '", type_name(a), "' and '", type_name(b), "'"));
}

bool Interpreter::less(const Value& a, const Value& b, bool& out) {
  if (a.is_integral() && b.is_integral()) {
    out = a.as_int() < b.as_int();
    return true;
  }
  if (a.is_number() && b.is_number()) {
    out = a.as_real() < b.as_real();
    return true;
  }
  if (a.is_string() && b.is_string()) {  // the order of UTF-8 bytes is that of characters
    out = a.as_string() < b.as_string();
    return charge(std::min(a.weight(), b.weight()));
  }
  if (is_list_or_tuple(a) && is_list_or_tuple(b) && a.as_sequence().kind == b.as_sequence().kind) {
    const auto &x = a.as_sequence().items, &y = b.as_sequence().items;
    if (!charge(std::min(a.weight(), b.weight()))) return false;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equals(x[i], y[i])) return less(x[i], y[i], out);
    }
    out = x.size() < y.size();
    return true;
  }
  return fail(text("'", type_name(a), "' and '", type_name(b), "' have no order"));
}

bool Interpreter::contains(const Value& container, const Value& v, bool& out) {
  out = false;
  switch (container.type()) {
    case Type::undefined: return true;
    case Type::string:
      if (!v.is_string()) return fail(text("'in' a string needs a string, not a ", type_name(v)));
      out = find_text(container.as_string(), v.as_string(), 0) != std::string_view::npos;
      return charge(container.weight());
    case Type::dict: {
      if (!hashable(v)) return fail(text("unhashable type: '", type_name(v), "'"));
      out = container.as_dict().find(v) != nullptr;
      return charge(v.weight());
    }
    case Type::sequence: {
      Sequence& s = container.as_sequence();
      size_t i = s.kind == SequenceKind::iterator ? s.next : 0;
      for (; i < s.items.size() && !out; ++i) {
        if (!charge(std::min(s.items[i].weight(), v.weight()))) return false;
        out = equals(s.items[i], v);
      }
      if (s.kind == SequenceKind::iterator) s.next = i;
      return true;
    }
    default: return fail(text("'in' a ", type_name(container), " is not possible"));
  }
}

bool Interpreter::compare(Comparison c, const Value& a, const Value& b, bool& out) {
  bool found = false;
  switch (c) {
    case Comparison::eq:
    case Comparison::ne:
      out = equals(a, b) == (c == Comparison::eq);
      return charge(std::min(a.weight(), b.weight()));
    case Comparison::lt: return less(a, b, out);
    case Comparison::gt: return less(b, a, out);
    case Comparison::le:
    case Comparison::ge: {
      const bool up = c == Comparison::le;
      if (!less(up ? a : b, up ? b : a, found)) return false;
      out = found || equals(a, b);
      return true;
    }
    case Comparison::in:
    case Comparison::not_in:
      if (!contains(b, a, found)) return false;
      out = found == (c == Comparison::in);
      return true;
  }
  return false;
}

bool Interpreter::int_argument(const Value& v, std::string_view what, int64_t& out) {
  if (!v.is_integral()) return fail(text(what, " must be an integer, not a ", type_name(v)));
  out = v.as_int();
  return true;
}

bool Interpreter::text_argument(const Value& v, std::string_view what, std::string_view& out) {
  if (!v.is_string()) return fail(text(what, " must be a string, not a ", type_name(v)));
  out = v.as_string();
  return true;
}

}  // namespace forge::rt::jinja
