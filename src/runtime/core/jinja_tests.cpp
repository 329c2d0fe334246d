// Tests: what stands behind `is`.
#include "runtime/core/jinja_runtime.h"

namespace forge::rt::jinja {

namespace {

enum TypeTest : uint8_t {
  kDefined,
  kUndefined,
  kNone,
  kBoolean,
  kTrue,
  kFalse,
  kInteger,
  kFloat,
  kNumber,
  kString,
  kMapping,
  kSequence,
  kIterable,
  kCallable,
  kEscaped,
};

bool is_callable(const Value& v) {
  return v.is(Type::macro) || v.is(Type::method) || v.is(Type::function) || v.is(Type::joiner) ||
         v.is(Type::loop) || v.is_undefined();
}

bool test_type(const Call& c) {
  const Value& v = c.self;
  const auto give = [&](bool b) { return c.in.make_bool(b, c.out); };
  switch (c.kind) {
    case kDefined: return give(!v.is_undefined());
    case kUndefined: return give(v.is_undefined());
    case kNone: return give(v.is_none());
    case kBoolean: return give(v.is(Type::boolean));
    case kTrue: return give(v.is(Type::boolean) && v.as_bool());
    case kFalse: return give(v.is(Type::boolean) && !v.as_bool());
    case kInteger: return give(v.is(Type::integer));
    case kFloat: return give(v.is(Type::real));
    case kNumber: return give(v.is_number());
    case kString: return give(v.is_string());
    case kMapping: return give(v.is(Type::dict));
    case kSequence:
      if (v.is(Type::sequence)) {
        const SequenceKind kind = v.as_sequence().kind;
        return give(kind == SequenceKind::list || kind == SequenceKind::tuple || kind == SequenceKind::range);
      }
      return give(v.is_string() || v.is(Type::dict) || v.is_undefined());
    case kIterable:
      return give(v.is_string() || v.is(Type::dict) || v.is_undefined() || v.is(Type::sequence) ||
                  v.is(Type::loop));
    case kCallable: return give(is_callable(v));
    default: return give(v.is_string() && static_cast<String*>(v.as_object())->markup);
  }
}

bool test_comparison(const Call& c) {
  bool result = false;
  return c.in.compare(static_cast<Comparison>(c.kind), c.self, c.args[0], result) &&
         c.in.make_bool(result, c.out);
}

enum ParityTest : uint8_t { kEven, kOdd, kDivisible };

bool test_parity(const Call& c) {
  Value remainder;
  const Value divisor = c.kind == kDivisible ? c.args[0] : Value::integer(2);
  if (!c.self.is_number() || !divisor.is_number()) return c.in.fail("a test for divisibility needs numbers");
  if (!c.in.binary(Op::modulo, c.self, divisor, remainder)) return false;
  return c.in.make_bool(remainder.as_real() == (c.kind == kOdd ? 1 : 0), c.out);
}

bool test_same(const Call& c) {
  const Value &a = c.self, &b = c.args[0];
  if (a.type() != b.type()) return c.in.make_bool(false, c.out);
  const bool is_shared = a.is(Type::sequence) || a.is(Type::dict) || a.type() > Type::dict;
  return c.in.make_bool(is_shared ? a.as_object() == b.as_object() : equals(a, b), c.out);
}

bool test_letters(const Call& c) {
  std::string s;
  return c.in.to_text(c.self, s) && c.in.charge(s.size() / 8) &&
         c.in.make_bool(is_all_case(s, c.kind != 0), c.out);
}

bool test_name(const Call& c) {
  if (!c.self.is_string()) return c.in.make_bool(false, c.out);
  return c.in.make_bool(find_builtin(c.kind == 0 ? filters() : tests(), c.self.as_string()) != nullptr,
                        c.out);
}

constexpr Builtin comparison(std::string_view name, Comparison c) {
  return {name, "other", 1, static_cast<uint8_t>(c), test_comparison};
}

constexpr Builtin kTests[] = {
    {"defined", "", 0, kDefined, test_type},
    {"undefined", "", 0, kUndefined, test_type},
    {"none", "", 0, kNone, test_type},
    {"boolean", "", 0, kBoolean, test_type},
    {"true", "", 0, kTrue, test_type},
    {"false", "", 0, kFalse, test_type},
    {"integer", "", 0, kInteger, test_type},
    {"float", "", 0, kFloat, test_type},
    {"number", "", 0, kNumber, test_type},
    {"string", "", 0, kString, test_type},
    {"mapping", "", 0, kMapping, test_type},
    {"sequence", "", 0, kSequence, test_type},
    {"iterable", "", 0, kIterable, test_type},
    {"callable", "", 0, kCallable, test_type},
    {"escaped", "", 0, kEscaped, test_type},
    comparison("==", Comparison::eq),
    comparison("eq", Comparison::eq),
    comparison("equalto", Comparison::eq),
    comparison("!=", Comparison::ne),
    comparison("ne", Comparison::ne),
    comparison(">", Comparison::gt),
    comparison("gt", Comparison::gt),
    comparison("greaterthan", Comparison::gt),
    comparison(">=", Comparison::ge),
    comparison("ge", Comparison::ge),
    comparison("<", Comparison::lt),
    comparison("lt", Comparison::lt),
    comparison("lessthan", Comparison::lt),
    comparison("<=", Comparison::le),
    comparison("le", Comparison::le),
    comparison("in", Comparison::in),
    {"even", "", 0, kEven, test_parity},
    {"odd", "", 0, kOdd, test_parity},
    {"divisibleby", "num", 1, kDivisible, test_parity},
    {"sameas", "other", 1, 0, test_same},
    {"lower", "", 0, 0, test_letters},
    {"upper", "", 0, 1, test_letters},
    {"filter", "", 0, 0, test_name},
    {"test", "", 0, 1, test_name},
};

}  // namespace

std::span<const Builtin> tests() { return kTests; }

}  // namespace forge::rt::jinja
