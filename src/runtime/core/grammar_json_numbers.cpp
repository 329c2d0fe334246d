#include "runtime/core/grammar_json_numbers.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace forge::rt {
namespace {

using Expr = GrammarExpressions::Expr;

constexpr size_t kMaxDigits = 30;
constexpr size_t kDoubleDigits = 15;   // decimals of so many digits stay different as doubles
constexpr size_t kExclusiveWhole = 9;  // of them before the point, where only one bound is given
// Where no bound says otherwise: numbers end, integers fit 64 bits, all others a double.
constexpr size_t kMaxWhole = 18;
constexpr size_t kMaxFraction = 16;
constexpr size_t kMaxExponent = 2;

// Whole numbers, as digits without leading zeros.
bool less(std::string_view a, std::string_view b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

std::string plus_one(std::string s) {
  size_t i = s.size();
  while (i > 0 && s[i - 1] == '9') s[--i] = '0';
  if (i == 0) return "1" + s;
  ++s[i - 1];
  return s;
}

// s is not 0.
std::string minus_one(std::string s) {
  size_t i = s.size();
  while (s[i - 1] == '0') s[--i] = '9';
  --s[i - 1];
  return s.size() > 1 && s[0] == '0' ? s.substr(1) : s;
}

bool is_zero(const Decimal& d) { return d.whole == "0" && d.fraction.empty(); }

struct NumberWriter {
  GrammarExpressions& x;
  size_t max_whole = kMaxWhole;  // digits
  size_t max_fraction = kMaxFraction;

  Expr nothing() { return x.characters({}); }
  Expr digit(char low, char high) {
    if (low > high) return nothing();
    return x.characters({{static_cast<uint8_t>(low), static_cast<uint8_t>(high)}});
  }
  Expr digits(size_t n) {
    return x.repeat(digit('0', '9'), static_cast<uint32_t>(n), static_cast<uint32_t>(n));
  }

  // Digits from low to high, both of one length; an empty one bounds nothing.
  Expr same_length(std::string_view low, std::string_view high, size_t n) {
    if (n == 0) return x.empty();
    if (low.empty() && high.empty()) return digits(n);
    const char a = low.empty() ? '0' : low[0];
    const char b = high.empty() ? '9' : high[0];
    const std::string_view low_rest = low.empty() ? low : low.substr(1);
    const std::string_view high_rest = high.empty() ? high : high.substr(1);
    if (n == 1) return digit(a, b);
    if (!low.empty() && !high.empty() && a == b) {
      return x.sequence({digit(a, a), same_length(low_rest, high_rest, n - 1)});
    }
    std::vector<Expr> parts;
    const char first = low.empty() ? a : static_cast<char>(a + 1);
    const char last = high.empty() ? b : static_cast<char>(b - 1);
    if (!low.empty()) parts.push_back(x.sequence({digit(a, a), same_length(low_rest, {}, n - 1)}));
    if (first <= last) parts.push_back(x.sequence({digit(first, last), digits(n - 1)}));
    if (!high.empty()) parts.push_back(x.sequence({digit(b, b), same_length({}, high_rest, n - 1)}));
    return x.choice(parts);
  }

  // Whole numbers from low to high (none: to max_whole digits).
  Expr whole(const std::string& low, std::optional<std::string> high) {
    if (!high) high = std::string(max_whole, '9');
    if (less(*high, low)) return nothing();
    std::vector<Expr> parts;
    for (size_t n = low.size(); n <= high->size(); ++n) {
      const std::string from = n == low.size() ? low : "1" + std::string(n - 1, '0');
      const std::string to = n == high->size() ? *high : std::string(n, '9');
      parts.push_back(same_length(from, to, n));
    }
    return x.choice(parts);
  }

  // Digits, from `min` to `max` of them.
  Expr some_digits(size_t min, size_t max) {
    return x.repeat(digit('0', '9'), static_cast<uint32_t>(min), static_cast<uint32_t>(max));
  }
  Expr any_fraction() {
    if (max_fraction == 0) return x.empty();
    return x.optional(x.sequence({x.literal("."), some_digits(1, max_fraction)}));
  }

  // The digits behind the point, from the one at `at` on, where those before equal the bounds' (a null one bounds
  // nothing any more).
  struct Tight {
    const NumberBound* low;
    const NumberBound* high;
  };
  static char digit_at(const NumberBound& b, size_t at) {
    return at < b.magnitude.fraction.size() ? b.magnitude.fraction[at] : '0';
  }
  // Whether the number may end before the digit `at`.
  static bool may_stop(const Tight& t, size_t at) {
    if (t.low != nullptr && (at < t.low->magnitude.fraction.size() || t.low->exclusive)) return false;
    return t.high == nullptr || at < t.high->magnitude.fraction.size() || !t.high->exclusive;
  }
  // At least one digit more.
  Expr fraction_digits(const Tight& t, size_t at) {
    const size_t more = max_fraction - at;
    if (more == 0) return nothing();
    if (t.low == nullptr && t.high == nullptr) return some_digits(1, more);
    const size_t longest = std::max(t.low == nullptr ? 0 : t.low->magnitude.fraction.size(),
                                    t.high == nullptr ? 0 : t.high->magnitude.fraction.size());
    if (at >= longest) {
      // Equal to all digits of the bounds.
      const Expr zero = digit('0', '0');
      if (t.high != nullptr) {
        return may_stop(t, at) ? x.repeat(zero, 1, static_cast<uint32_t>(more)) : nothing();
      }
      if (may_stop(t, at)) return some_digits(1, more);
      // Above the bound: a digit that is not 0 must come.
      Expr out = digit('1', '9');
      for (size_t n = 1; n < more; ++n) {
        out = x.choice({x.sequence({zero, out}), x.sequence({digit('1', '9'), some_digits(0, n)})});
      }
      return out;
    }
    const char a = t.low == nullptr ? '0' : digit_at(*t.low, at);
    const char b = t.high == nullptr ? '9' : digit_at(*t.high, at);
    const auto then = [&](char low, char high, const Tight& rest) {
      const Expr more_digits = fraction_digits(rest, at + 1);
      return x.sequence({digit(low, high), may_stop(rest, at + 1) ? x.optional(more_digits) : more_digits});
    };
    if (a > b) return nothing();
    if (t.low != nullptr && t.high != nullptr && a == b) return then(a, a, t);
    std::vector<Expr> parts;
    const char first = t.low == nullptr ? a : static_cast<char>(a + 1);
    const char last = t.high == nullptr ? b : static_cast<char>(b - 1);
    if (t.low != nullptr) parts.push_back(then(a, a, {t.low, nullptr}));
    if (first <= last) parts.push_back(then(first, last, {nullptr, nullptr}));
    if (t.high != nullptr) parts.push_back(then(b, b, {nullptr, t.high}));
    return x.choice(parts);
  }
  // What may follow a whole part that equals the bounds'.
  Expr fraction(const Tight& t) {
    const Expr behind = x.sequence({x.literal("."), fraction_digits(t, 0)});
    return may_stop(t, 0) ? x.optional(behind) : behind;
  }

  // Numbers without a sign from low to high (null: to max_whole digits).
  Expr magnitudes(const NumberBound& low, const NumberBound* high) {
    const std::string& from = low.magnitude.whole;
    if (high != nullptr && less(high->magnitude.whole, from)) return nothing();
    if (high != nullptr && high->magnitude.whole == from) {
      if (high->magnitude.fraction < low.magnitude.fraction) return nothing();
      return x.sequence({x.literal(from), fraction({&low, high})});
    }
    std::vector<Expr> parts = {x.sequence({x.literal(from), fraction({&low, nullptr})})};
    const std::string& to = high != nullptr ? high->magnitude.whole : from;
    parts.push_back(
        x.sequence({whole(plus_one(from), high != nullptr ? std::optional(minus_one(to)) : std::nullopt),
                    any_fraction()}));
    if (high != nullptr) parts.push_back(x.sequence({x.literal(to), fraction({nullptr, high})}));
    return x.choice(parts);
  }
};

// The smallest whole number that is not below b's magnitude (up), or the largest not above.
std::string rounded(const NumberBound& b, bool up) {
  if (!b.magnitude.fraction.empty()) return up ? plus_one(b.magnitude.whole) : b.magnitude.whole;
  if (!b.exclusive) return b.magnitude.whole;
  return up ? plus_one(b.magnitude.whole) : minus_one(b.magnitude.whole);
}

}  // namespace

Result<NumberBound> number_bound(const jinja::Value& value, bool exclusive) {
  if (!value.is(jinja::Type::integer) && !value.is(jinja::Type::real)) return Error{"expected a number"};
  std::string s;
  if (value.is(jinja::Type::integer)) {
    s = std::to_string(value.as_int());
  } else {
    jinja::append_real(s, value.as_real());
  }
  NumberBound out;
  out.exclusive = exclusive;
  size_t at = 0;
  out.negative = s[0] == '-';
  at += out.negative ? 1 : 0;
  std::string digits;
  int64_t point = -1;
  for (; at < s.size() && ((s[at] >= '0' && s[at] <= '9') || s[at] == '.'); ++at) {
    if (s[at] == '.') {
      point = static_cast<int64_t>(digits.size());
    } else {
      digits += s[at];
    }
  }
  if (point < 0) point = static_cast<int64_t>(digits.size());
  if (at < s.size() && s[at] == 'e') {
    ++at;
    const bool down = s[at] == '-';
    if (s[at] == '-' || s[at] == '+') ++at;
    int64_t exponent = 0;
    for (; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at) exponent = exponent * 10 + (s[at] - '0');
    point += down ? -exponent : exponent;
  }
  if (at != s.size() || digits.empty()) return Error{"expected a finite number"};
  if (point > static_cast<int64_t>(kMaxDigits) || point < -static_cast<int64_t>(kMaxDigits)) {
    return Error{text("a bound of more than ", kMaxDigits, " digits can't be honoured")};
  }
  while (point <= 0) {
    digits.insert(digits.begin(), '0');
    ++point;
  }
  while (point > static_cast<int64_t>(digits.size())) digits += '0';
  const auto whole_digits = static_cast<size_t>(point);
  out.magnitude.whole = digits.substr(0, whole_digits);
  out.magnitude.whole.erase(
      0, std::min(out.magnitude.whole.find_first_not_of('0'), out.magnitude.whole.size() - 1));
  out.magnitude.fraction = digits.substr(whole_digits);
  out.magnitude.fraction.erase(out.magnitude.fraction.find_last_not_of('0') + 1);
  if (out.magnitude.fraction.size() > kMaxDigits) {
    return Error{text("a bound of more than ", kMaxDigits, " digits can't be honoured")};
  }
  if (is_zero(out.magnitude)) out.negative = false;
  return out;
}

GrammarExpressions::Expr integers(GrammarExpressions& x, const std::optional<NumberBound>& low,
                                  const std::optional<NumberBound>& high) {
  NumberWriter w{x};
  for (const auto* b : {&low, &high}) {
    if (*b) w.max_whole = std::max(w.max_whole, (*b)->magnitude.whole.size() + 1);
  }
  std::vector<Expr> parts;
  // From 0 up.
  const bool high_is_below_0 = high && (high->negative || (is_zero(high->magnitude) && high->exclusive));
  if (!high_is_below_0) {
    const std::string from = low && !low->negative ? rounded(*low, true) : "0";
    parts.push_back(w.whole(from, high ? std::optional(rounded(*high, false)) : std::nullopt));
  }
  // Below 0, by magnitude.
  if (!low || low->negative) {
    std::string from = high && high->negative ? rounded(*high, true) : "1";
    const std::optional<std::string> to = low ? std::optional(rounded(*low, false)) : std::nullopt;
    parts.push_back(x.sequence({x.literal("-"), w.whole(from, to)}));
  }
  return x.choice(parts);
}

Result<GrammarExpressions::Expr> numbers(GrammarExpressions& x, const std::optional<NumberBound>& low,
                                         const std::optional<NumberBound>& high) {
  NumberWriter w{x};
  if (!low && !high) {
    const Expr sign = x.optional(x.literal("-"));
    const Expr exponent =
        x.sequence({x.characters({{'e', 'e'}, {'E', 'E'}}),
                    x.optional(x.characters({{'+', '+'}, {'-', '-'}})), w.some_digits(1, kMaxExponent)});
    return x.sequence({sign, w.whole("0", std::nullopt), w.any_fraction(), x.optional(exponent)});
  }
  const bool exclusive = (low && low->exclusive) || (high && high->exclusive);
  const bool both = low && high;
  size_t whole = exclusive ? (both ? 1 : kExclusiveWhole) : kMaxWhole;
  size_t fraction = exclusive ? 0 : kMaxFraction;
  for (const auto* b : {&low, &high}) {
    if (!*b) continue;
    whole = std::max(whole, (*b)->magnitude.whole.size() + (both ? 0 : 1));
    fraction = std::max(fraction, (*b)->magnitude.fraction.size());
  }
  if (exclusive && whole + fraction > kDoubleDigits) {
    return Error{text("an exclusive bound of more than ", kDoubleDigits, " digits can't be honoured")};
  }
  w.max_whole = whole;
  w.max_fraction = exclusive ? kDoubleDigits - whole : fraction;
  std::vector<Expr> parts;
  const NumberBound zero;
  if (!high || !high->negative) {
    const NumberBound& from = low && !low->negative ? *low : zero;
    parts.push_back(w.magnitudes(from, high ? &*high : nullptr));
  }
  if (!low || low->negative) {
    NumberBound from = zero;
    if (high && high->negative) from = *high;
    if (high && is_zero(high->magnitude)) from.exclusive = high->exclusive;
    parts.push_back(x.sequence({x.literal("-"), w.magnitudes(from, low ? &*low : nullptr)}));
  }
  return x.choice(parts);
}

}  // namespace forge::rt
