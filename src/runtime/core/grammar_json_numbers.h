// Ranges of JSON numbers as parts of a grammar.
#pragma once

#include <optional>
#include <string>

#include "runtime/core/grammar_expression.h"
#include "runtime/core/jinja_value.h"
#include "runtime/core/result.h"

namespace forge::rt {

// A number in decimal, without its sign and exponent: 0 <= value.
struct Decimal {
  std::string whole = "0";  // no leading zeros
  std::string fraction;     // no trailing zeros
};

struct NumberBound {
  bool negative = false;  // never with 0
  Decimal magnitude;
  bool exclusive = false;
};

// Error: not a number, or one of more than 30 digits before or behind its point.
Result<NumberBound> number_bound(const jinja::Value& value, bool exclusive);

// Integers within the bounds, without -0. Where a bound is not given they have at most 18 digits.
GrammarExpressions::Expr integers(GrammarExpressions& x, const std::optional<NumberBound>& low,
                                  const std::optional<NumberBound>& high);
// Numbers: of at most 18 digits before the point, 16 behind it and 2 in an exponent, so that they fit a double; with bounds
// those without an exponent. Within exclusive bounds they have at most 15 digits, so that they are within them as
// doubles, too. Error: bounds that are too long for that.
Result<GrammarExpressions::Expr> numbers(GrammarExpressions& x, const std::optional<NumberBound>& low,
                                         const std::optional<NumberBound>& high);

}  // namespace forge::rt
