// A parsed Jinja template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/jinja_value.h"

namespace forge::rt::jinja {

using Symbol = uint32_t;  // index into Template::symbols

enum class Op : uint8_t {
  constant,     // value
  name,         // symbol
  list,         // args
  tuple,        // args
  dict,         // args: key, value, key, value, …
  attribute,    // args[0] . symbol
  subscript,    // args[0] [ args[1] ]
  slice,        // args[0] [ args[1] : args[2] : args[3] ], each may be null
  call,         // args[0] ( rest )
  filter,       // args[0] | filters()[index] ( rest ); args[0] is null in a filter block
  test,         // args[0] is tests()[index] ( rest )
  not_,         // args[0]
  and_,         // args[0], args[1]
  or_,          // args[0], args[1]
  conditional,  // args[0] if args[1] else args[2], which may be null
  negative,     // args[0]
  positive,     // args[0]
  add,          // args[0], args[1]; so the following
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  concat,               // args, joined as text
  compare,              // args[0] comparisons[0] args[1] comparisons[1] args[2] …
  namespace_attribute,  // only a target of an assignment: value = the namespace's symbol, symbol the
                        // attribute
};

enum class Comparison : uint8_t { eq, ne, lt, le, gt, ge, in, not_in };

// How an argument of a call is passed.
enum class Passing : uint8_t { positional, keyword, star, double_star };

struct Expr {
  Op op = Op::constant;
  uint16_t depth = 1;
  uint32_t line = 0;
  Symbol symbol = 0;
  uint32_t index = 0;
  Value value;
  std::vector<std::unique_ptr<Expr>> args;
  std::vector<Comparison> comparisons;
  std::vector<Passing> passing;  // of a call, filter or test: of args[1], args[2], …
  std::vector<Symbol> keywords;  // beside passing; 0 where it is no keyword
};
using ExprPtr = std::unique_ptr<Expr>;

enum class Tag : uint8_t {
  text,          // text
  output,        // exprs, each printed
  if_,           // exprs[i] → bodies[i]; a last body without a condition is the else
  for_,          // target in exprs[0] if exprs[1] (may be null): bodies[0] else bodies[1] (may be absent)
  set,           // target = exprs[0]
  set_block,     // target = bodies[0] through the filters exprs[0] (may be null)
  macro,         // macro
  call_block,    // exprs[0] is the call, macro its caller
  filter_block,  // bodies[0] through exprs[0]
  with,          // targets exprs[0], exprs[2], … = exprs[1], exprs[3], …: bodies[0]
  scope,         // bodies[0] in a scope of its own
  break_,
  continue_,
};

struct MacroNode;
struct Stmt;
using Body = std::vector<Stmt>;

struct Stmt {
  Tag tag = Tag::text;
  uint32_t line = 0;
  std::string text;
  ExprPtr target;
  std::vector<ExprPtr> exprs;
  std::vector<Body> bodies;
  std::unique_ptr<MacroNode> macro;
};

struct MacroNode {
  Symbol name = 0;
  std::vector<Symbol> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
  Body body;
};

// Names with a meaning of their own; the first symbols of every template.
inline constexpr std::string_view kKnownSymbols[] = {"", "loop", "caller", "varargs", "kwargs"};
enum KnownSymbol : Symbol { kNoSymbol, kLoop, kCaller, kVarargs, kKwargs };

struct Template {
  std::vector<std::string> symbols;
  Body body;

  std::string_view name(Symbol s) const { return symbols[s]; }
  // The symbol of a name that occurs in the template, or kNoSymbol.
  Symbol find(std::string_view name) const;
};

}  // namespace forge::rt::jinja
