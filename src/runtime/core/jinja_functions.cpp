// Global functions, and lookup in the tables of builtins.
#include <algorithm>
#include <iterator>
#include <utility>

#include "runtime/core/jinja_runtime.h"

namespace forge::rt::jinja {

namespace {

constexpr int64_t kMaxRange = 100'000;  // items; jinja2's sandbox has the same limit

bool make_range(const Call& c) {
  Interpreter& in = c.in;
  int64_t start = 0, stop = 0, step = 1;
  if (!in.int_argument(c.args[0], "range()'s bound", stop)) return false;
  if (c.given(1)) {
    start = stop;
    if (!in.int_argument(c.args[1], "range()'s bound", stop)) return false;
  }
  if (c.given(2) && !in.int_argument(c.args[2], "range()'s step", step)) return false;
  if (step == 0) return in.fail("range() with a step of 0");
  // The distance and the stride as magnitudes: they can be longer than an int64_t.
  const bool empty = step > 0 ? start >= stop : start <= stop;
  const uint64_t a = static_cast<uint64_t>(start), b = static_cast<uint64_t>(stop);
  const uint64_t distance = step > 0 ? b - a : a - b;
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  const uint64_t n = empty ? 0 : (distance - 1) / stride + 1;
  if (n > kMaxRange) return in.fail(text("range() of ", n, " items, at most ", kMaxRange, " are allowed"));
  std::vector<Value> items;
  items.reserve(n);
  for (uint64_t i = 0; i < n; ++i) {
    items.push_back(Value::integer(static_cast<int64_t>(a + i * static_cast<uint64_t>(step))));
  }
  if (!in.charge(n) || !in.make_sequence(SequenceKind::range, std::move(items), c.out)) return false;
  Sequence& range = c.out.as_sequence();
  range.start = start;
  range.stop = stop;
  range.step = step;
  return true;
}

// dict(mapping or pairs, name=value, …), as for dict() and namespace().
bool fill_dict(const Call& c, Dict& d) {
  Interpreter& in = c.in;
  if (c.all.positional.size() > 1) return in.fail("expected at most one positional argument");
  if (!c.all.positional.empty()) {
    const Value& from = c.all.positional[0];
    if (from.is(Type::dict)) {
      if (!in.charge(from.weight())) return false;
      for (const auto& [key, value] : from.as_dict().entries) d.set(key, value);
    } else {
      std::vector<Value> pairs;
      if (!in.iterate(from, pairs)) return false;
      for (const Value& pair : pairs) {
        std::vector<Value> parts;
        if (!in.iterate(pair, parts)) return false;
        if (parts.size() != 2 || !hashable(parts[0])) return in.fail("expected pairs of a key and a value");
        d.set(parts[0], std::move(parts[1]));
      }
    }
  }
  for (const auto& [name, value] : c.all.keyword) d.set(std::string_view(name), value);
  return true;
}

bool make_dict(const Call& c) {
  const DictBuilder d;
  return fill_dict(c, *d.operator->()) && c.in.make_dict(d, c.out);
}

bool make_namespace(const Call& c) {
  auto* ns = new Namespace;
  c.out = Value::object(ns);
  c.in.cyclic.push_back(c.out);
  return fill_dict(c, ns->attributes) &&
         c.in.charge_bytes(sizeof(Namespace) + ns->attributes.entries.size() * 64);
}

bool make_joiner(const Call& c) {
  std::string separator = ", ";
  if (c.given(0)) {
    separator.clear();
    if (!c.in.to_text(c.args[0], separator)) return false;
  }
  c.out = Value::object(new Joiner(std::move(separator)));
  return c.in.charge_bytes(sizeof(Joiner));
}

bool make_cycler(const Call& c) {
  if (c.all.positional.empty() || !c.all.keyword.empty()) return c.in.fail("cycler() needs items");
  Value items;  // checks depth and size
  if (!c.in.make_sequence(SequenceKind::tuple, c.all.positional, items)) return false;
  c.out = Value::object(new Cycler(std::move(c.all.positional)));
  return true;
}

bool raise_exception(const Call& c) {
  std::string message;
  return c.in.to_text(c.args[0], message) && c.in.fail(text("the template refuses: ", message));
}

bool strftime_now(const Call& c) {
  std::string_view format;
  std::string out;
  if (c.in.now == nullptr) return c.in.fail("there is no clock for strftime_now()");
  return c.in.text_argument(c.args[0], "strftime_now()'s format", format) &&
         format_time(c.in, format, *c.in.now, out) && c.in.make_string(std::move(out), c.out);
}

constexpr Builtin kFunctions[] = {
    {"range", "start stop step", 1, 0, make_range},
    {"dict", "*", 0, 0, make_dict},
    {"namespace", "*", 0, 0, make_namespace},
    {"joiner", "sep", 0, 0, make_joiner},
    {"cycler", "*", 0, 0, make_cycler},
    {"raise_exception", "message", 1, 0, raise_exception},
    {"strftime_now", "format", 1, 0, strftime_now},
};

}  // namespace

std::span<const Builtin> functions() { return kFunctions; }

const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name) {
  const auto it = std::find_if(table.begin(), table.end(), [&](const Builtin& b) { return b.name == name; });
  return it == table.end() ? nullptr : &*it;
}

}  // namespace forge::rt::jinja
