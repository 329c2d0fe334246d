// JSON schemas as parts of a grammar: the arguments of functions, as models write their calls.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/core/grammar_expression.h"
#include "runtime/core/jinja_value.h"
#include "runtime/core/result.h"

namespace forge::rt {

// How the arguments of a call, a JSON object, are written.
struct ArgumentsNotation {
  enum class Style : uint8_t {
    json,    // {"name": value, …}
    python,  // name=value, …: with True, False and None
    tags,  // the expressions below around each name and value; a value that is_text_parameter says so of is the text
  };
  Style style = Style::json;
  GrammarExpressions::Expr before_name = 0, behind_name = 0, behind_value = 0;
  std::string end_tag;  // which a value that is text can't have
};

struct FunctionSchema {
  std::string name;     // for errors
  jinja::Value schema;  // of the arguments; they are an object, whatever else it says
};

// What the arguments of each function may be. Error as json_schema_grammar's, with the function's name in front.
Result<std::vector<GrammarExpressions::Expr>> add_arguments(GrammarExpressions& x,
                                                            std::span<const FunctionSchema> functions,
                                                            const ArgumentsNotation& notation);

// Texts without `part`.
GrammarExpressions::Expr text_without(GrammarExpressions& x, std::string_view part);

// Whether all values of a function's parameter are strings: those are written without quotes between tags.
bool is_text_parameter(const jinja::Value& schema);

}  // namespace forge::rt
