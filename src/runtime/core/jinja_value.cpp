#include "runtime/core/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/core/jinja_runtime.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {

namespace {

constexpr size_t kIndexFrom = 9;  // entries from which a dict has an index

uint32_t saturating_add(uint32_t a, uint32_t b) { return a > UINT32_MAX - b ? UINT32_MAX : a + b; }

// Counts a child into its container's depth and weight.
void add_child(Object& parent, const Value& child) {
  parent.depth =
      static_cast<uint16_t>(std::max<uint32_t>(parent.depth, std::min(child.depth() + 1, 0xFFFFu)));
  parent.weight = saturating_add(parent.weight, child.weight());
}

uint64_t hash_text(std::string_view s) {
  uint64_t h = 0xCBF29CE484222325u;
  for (const char c : s) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return h ^ h >> 29;
}

uint64_t mix(uint64_t h) {
  h = (h ^ h >> 32) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 29;
}

bool append_items(std::string& out, const Sequence& s, size_t limit) {
  for (size_t i = 0; i < s.items.size(); ++i) {
    if (i > 0) out += ", ";
    if (!append_repr(out, s.items[i], limit)) return false;
  }
  return true;
}

bool append_sequence(std::string& out, const Sequence& s, size_t limit) {
  const auto view = [&](std::string_view name) {
    out.append(name).append("([");
    if (!append_items(out, s, limit)) return false;
    out += "])";
    return true;
  };
  switch (s.kind) {
    case SequenceKind::list:
      out += '[';
      if (!append_items(out, s, limit)) return false;
      out += ']';
      return true;
    case SequenceKind::tuple:
      out += '(';
      if (!append_items(out, s, limit)) return false;
      out += s.items.size() == 1 ? ",)" : ")";
      return true;
    case SequenceKind::range:
      out += text("range(", s.start, ", ", s.stop);
      if (s.step != 1) out += text(", ", s.step);
      out += ')';
      return true;
    case SequenceKind::keys: return view("dict_keys");
    case SequenceKind::values: return view("dict_values");
    case SequenceKind::items: return view("dict_items");
    case SequenceKind::iterator: break;
  }
  return false;
}

void append_quoted(std::string& out, std::string_view s) {
  const bool has_single = s.find('\'') != std::string_view::npos;
  const char quote = has_single && s.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    if (cp == static_cast<uint8_t>(quote) || cp == '\\') {
      out += '\\';
      out += static_cast<char>(cp);
    } else if (cp == '\n' || cp == '\r' || cp == '\t') {
      out += cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : "\\t";
    } else if (has_class(cp, CharClass::printable)) {
      append_code_point(out, cp);
    } else {
      char escape[12];
      const char* format = cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(escape, sizeof escape, format, cp);
      out += escape;
    }
  }
  out += quote;
}

void destroy(Object* object) {
  switch (object->type) {
    case Type::string: delete static_cast<String*>(object); break;
    case Type::sequence: delete static_cast<Sequence*>(object); break;
    case Type::dict: delete static_cast<Dict*>(object); break;
    case Type::name_space: delete static_cast<Namespace*>(object); break;
    case Type::macro: delete static_cast<Macro*>(object); break;
    case Type::method: delete static_cast<Method*>(object); break;
    case Type::function: delete static_cast<Function*>(object); break;
    case Type::loop: delete static_cast<Loop*>(object); break;
    case Type::joiner: delete static_cast<Joiner*>(object); break;
    case Type::cycler: delete static_cast<Cycler*>(object); break;
    default: break;
  }
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equals(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace

void Value::retain(Object* o) { o->refs.fetch_add(1, std::memory_order_relaxed); }

void Value::release(Object* o) {
  if (o->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(o);
}

Value Value::real(double d) {
  Value v(Type::real, 0);
  v.u_.d = d;
  return v;
}

Value Value::object(Object* o) {
  Value v(o->type, 0);
  v.u_.o = o;
  v.retain();
  return v;
}

Value Value::string(std::string s, bool markup) { return object(new String(std::move(s), markup)); }

Value Value::sequence(SequenceKind kind, std::vector<Value> items) {
  return object(new Sequence(kind, std::move(items)));
}

bool Value::is_sequence(SequenceKind kind) const {
  return type_ == Type::sequence && as_sequence().kind == kind;
}
const std::string& Value::as_string() const { return static_cast<String*>(u_.o)->text; }
Sequence& Value::as_sequence() const { return *static_cast<Sequence*>(u_.o); }
Dict& Value::as_dict() const { return *static_cast<Dict*>(u_.o); }

Sequence::Sequence(SequenceKind sequence_kind, std::vector<Value> values)
    : Object(Type::sequence), kind(sequence_kind), items(std::move(values)) {
  depth = 1;
  for (const Value& v : items) add_child(*this, v);
}

template <class Equal>
const Value* Dict::probe(uint64_t hash, Equal equal) const {
  if (slots_.empty()) {
    for (const auto& [key, value] : entries) {
      if (equal(key)) return &value;
    }
    return nullptr;
  }
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at] != 0; at = (at + 1) & mask) {
    const auto& [key, value] = entries[slots_[at] - 1];
    if (equal(key)) return &value;
  }
  return nullptr;
}

void Dict::index(uint64_t hash, uint32_t entry) {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at] != 0) at = (at + 1) & mask;
  slots_[at] = entry + 1;
}

const Value* Dict::find(const Value& key) const {
  return probe(hash_value(key), [&](const Value& k) { return equals(k, key); });
}

const Value* Dict::find(std::string_view key) const {
  return probe(mix(hash_text(key)), [&](const Value& k) { return k.is_string() && k.as_string() == key; });
}

void Dict::set(const Value& key, Value value) {
  add_child(*this, key);
  add_child(*this, value);
  if (const Value* found = find(key)) {
    const_cast<Value&>(*found) = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
  if (entries.size() < kIndexFrom) return;
  if (entries.size() * 2 > slots_.size()) {
    slots_.assign(std::max<size_t>(64, slots_.size() * 4), 0);
    for (size_t i = 0; i < entries.size(); ++i) index(hash_value(entries[i].first), static_cast<uint32_t>(i));
  } else {
    index(hash_value(key), static_cast<uint32_t>(entries.size() - 1));
  }
}

std::string_view type_name(const Value& v) {
  switch (v.type()) {
    case Type::missing:
    case Type::undefined: return "undefined";
    case Type::none: return "NoneType";
    case Type::boolean: return "bool";
    case Type::integer: return "int";
    case Type::real: return "float";
    case Type::string: return "str";
    case Type::dict: return "dict";
    case Type::name_space: return "namespace";
    case Type::macro: return "macro";
    case Type::method: return "method";
    case Type::function: return "function";
    case Type::loop: return "loop";
    case Type::joiner: return "joiner";
    case Type::cycler: return "cycler";
    case Type::sequence: break;
  }
  switch (v.as_sequence().kind) {
    case SequenceKind::list: return "list";
    case SequenceKind::tuple: return "tuple";
    case SequenceKind::range: return "range";
    case SequenceKind::keys: return "dict_keys";
    case SequenceKind::values: return "dict_values";
    case SequenceKind::items: return "dict_items";
    case SequenceKind::iterator: break;
  }
  return "generator";
}

bool truth(const Value& v) {
  switch (v.type()) {
    case Type::missing:
    case Type::undefined:
    case Type::none: return false;
    case Type::boolean:
    case Type::integer: return v.as_int() != 0;
    case Type::real: return v.as_real() != 0;
    case Type::string: return !v.as_string().empty();
    case Type::sequence: return v.is_sequence(SequenceKind::iterator) || !v.as_sequence().items.empty();
    case Type::dict: return !v.as_dict().entries.empty();
    default: return true;
  }
}

bool equals(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
    return a.as_real() == b.as_real();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::undefined:
    case Type::none: return true;
    case Type::string: return a.as_string() == b.as_string();
    case Type::sequence: {
      const Sequence &x = a.as_sequence(), &y = b.as_sequence();
      if (&x == &y) return true;
      return x.kind == y.kind && x.kind != SequenceKind::iterator && equal_items(x.items, y.items);
    }
    case Type::dict: {
      const Dict &x = a.as_dict(), &y = b.as_dict();
      if (&x == &y) return true;
      if (x.entries.size() != y.entries.size()) return false;
      return std::all_of(x.entries.begin(), x.entries.end(), [&](const auto& entry) {
        const Value* other = y.find(entry.first);
        return other != nullptr && equals(entry.second, *other);
      });
    }
    default: return a.as_object() == b.as_object();
  }
}

bool hashable(const Value& v) {
  if (v.is(Type::dict)) return false;
  if (!v.is(Type::sequence)) return true;
  const Sequence& s = v.as_sequence();
  if (s.kind == SequenceKind::iterator || s.kind == SequenceKind::range) return true;
  return s.kind == SequenceKind::tuple && std::all_of(s.items.begin(), s.items.end(), hashable);
}

uint64_t hash_value(const Value& v) {
  switch (v.type()) {
    case Type::boolean:
    case Type::integer: return mix(static_cast<uint64_t>(v.as_int()) + 1);
    case Type::real: {
      const double d = v.as_real();
      if (std::fabs(d) < 9e18 && d == std::floor(d))
        return mix(static_cast<uint64_t>(static_cast<int64_t>(d)) + 1);
      uint64_t bits;
      std::memcpy(&bits, &d, sizeof bits);
      return mix(bits);
    }
    case Type::string: return mix(hash_text(v.as_string()));
    case Type::sequence: {
      const Sequence& s = v.as_sequence();
      if (s.kind == SequenceKind::iterator) return mix(reinterpret_cast<uintptr_t>(&s));
      uint64_t h = 17;
      for (const Value& item : s.items) h = mix(h * 31 + hash_value(item));
      return h;
    }
    case Type::missing:
    case Type::undefined:
    case Type::none: return mix(static_cast<uint64_t>(v.type()) << 56);
    default: return mix(reinterpret_cast<uintptr_t>(v.as_object()));
  }
}

void append_real(std::string& out, double d) {
  if (std::isnan(d) || std::isinf(d)) {
    out += std::isnan(d) ? "nan" : d < 0 ? "-inf" : "inf";
    return;
  }
  char digits[40];
  for (int precision = 0; precision < 17; ++precision) {  // d.ddde±xx
    std::snprintf(digits, sizeof digits, "%.*e", precision, d);
    if (std::strtod(digits, nullptr) == d) break;
  }
  const char* p = digits;
  if (*p == '-') out += *p++;
  std::string mantissa;
  for (; *p != 'e'; ++p) {
    if (*p != '.') mantissa += *p;
  }
  const int exponent = std::atoi(p + 1);
  const size_t size = mantissa.size();
  // Digits before the point, where there are some.
  const size_t whole = exponent < 0 ? 0 : static_cast<size_t>(exponent) + 1;
  if (exponent < -4 || exponent >= 16) {
    out += mantissa[0];
    if (size > 1) out.append(".").append(mantissa, 1);
    out += exponent < 0 ? "e-" : "e+";
    const int magnitude = std::abs(exponent);
    if (magnitude < 10) out += '0';
    out += std::to_string(magnitude);
  } else if (exponent < 0) {
    out.append("0.").append(static_cast<size_t>(-exponent) - 1, '0').append(mantissa);
  } else if (size <= whole) {
    out.append(mantissa).append(whole - size, '0').append(".0");
  } else {
    out.append(mantissa, 0, whole).append(".").append(mantissa, whole);
  }
}

bool append_str(std::string& out, const Value& v, size_t limit) {
  if (v.is_string()) {
    out += v.as_string();
    return out.size() <= limit;
  }
  if (v.is_undefined()) return true;
  return append_repr(out, v, limit);
}

bool append_repr(std::string& out, const Value& v, size_t limit) {
  switch (v.type()) {
    case Type::undefined: out += "Undefined"; break;
    case Type::none: out += "None"; break;
    case Type::boolean: out += v.as_bool() ? "True" : "False"; break;
    case Type::integer: out += std::to_string(v.as_int()); break;
    case Type::real: append_real(out, v.as_real()); break;
    case Type::string:
      if (static_cast<String*>(v.as_object())->markup) {
        out += "Markup(";
        append_quoted(out, v.as_string());
        out += ')';
      } else {
        append_quoted(out, v.as_string());
      }
      break;
    case Type::sequence:
      if (!append_sequence(out, v.as_sequence(), limit)) return false;
      break;
    case Type::dict: {
      out += '{';
      bool first = true;
      for (const auto& [key, value] : v.as_dict().entries) {
        if (!first) out += ", ";
        first = false;
        if (!append_repr(out, key, limit)) return false;
        out += ": ";
        if (!append_repr(out, value, limit)) return false;
      }
      out += '}';
      break;
    }
    default: return false;
  }
  return out.size() <= limit;
}

}  // namespace forge::rt::jinja
