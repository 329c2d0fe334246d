// The evaluator's inside: frames, callable values, and what builtin filters, tests, functions and methods are
// given.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/core/jinja_ast.h"
#include "runtime/core/jinja_eval.h"
#include "runtime/core/jinja_value.h"

namespace forge::rt::jinja {

struct Interpreter;
struct Builtin;

// One scope's variables. Frames that a macro was defined in live until the end; others are used again.
struct Frame {
  Frame* parent = nullptr;
  bool captured = false;
  std::vector<std::pair<Symbol, Value>> variables;

  Value* find(Symbol s);
  void set(Symbol s, Value v);
};

struct Namespace : Object {
  Namespace() : Object(Type::name_space) {}
  Dict attributes;
};

struct Macro : Object {
  Macro(const MacroNode* macro_node, Frame* frame) : Object(Type::macro), node(macro_node), closure(frame) {}
  const MacroNode* node;
  Frame* closure;
};

struct Method : Object {  // a method bound to its object
  Method(const Builtin* method, Value object)
      : Object(Type::method), builtin(method), self(std::move(object)) {
    depth = static_cast<uint16_t>(self.depth() + 1);
    weight = self.weight();
  }
  const Builtin* builtin;
  Value self;
};

struct Function : Object {
  explicit Function(const Builtin* function) : Object(Type::function), builtin(function) {}
  const Builtin* builtin;
};

// `loop`. Items come one by one, as the body may change what the loop's filter says.
struct Loop : Object {
  Loop() : Object(Type::loop) {}
  Value source;                  // a sequence
  size_t next = 0;               // in the source, where that is no iterator
  const Stmt* filter = nullptr;  // the for statement, where it has an `if`
  Frame* frame = nullptr;        // where the filter is evaluated
  bool drained = false;          // the rest lies in `rest`
  std::vector<Value> rest;
  size_t rest_next = 0;
  int64_t index0 = -1;
  int64_t length = -1;  // where known
  Value before, current;
  Value after;  // missing: not looked at yet
  bool at_end = false;
  Value changed_value;
};

struct Joiner : Object {
  explicit Joiner(std::string text) : Object(Type::joiner), separator(std::move(text)) {}
  std::string separator;
  bool used = false;
};

struct Cycler : Object {
  explicit Cycler(std::vector<Value> values);
  std::vector<Value> items;
  size_t position = 0;
};

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

// One call of a builtin: the filtered, tested or owning value, its arguments by parameter (missing where not
// given; none bound where the signature is "*": then they are in `all`), where the result goes, and the
// builtin's kind.
struct Call {
  Interpreter& in;
  const Value& self;
  std::span<Value> args;
  Args& all;
  Value& out;
  uint8_t kind;  // the builtin's

  bool given(size_t i) const { return !args[i].is_missing(); }
  bool give(Value v) const {
    out = std::move(v);
    return true;
  }
};

// A builtin filter, test, function or method. False: it failed, and in.fail was called.
struct Builtin {
  std::string_view name;
  std::string_view
      signature;  // parameter names, each but the first `required` may be left out; "*": anything
  uint8_t required;
  uint8_t kind;  // tells builtins that share code apart
  bool (*run)(const Call& call);
};

// Types a method belongs to: bits 1 << TypeBit.
enum TypeBit : uint8_t { kOfString = 1, kOfSequence = 2, kOfDict = 4, kOfLoop = 8, kOfCycler = 16 };
struct MethodEntry {
  Builtin builtin;
  uint8_t types;
};

std::span<const Builtin> filters();
std::span<const Builtin> tests();
std::span<const Builtin> functions();
const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name);
// A method of any type, or of the value's type.
bool is_method_name(std::string_view name);
const Builtin* find_method(const Value& v, std::string_view name);
// Whether Python has a method of that name which changes a list or dict: templates may not.
bool is_mutator(const Value& v, std::string_view name);
bool is_mutator_name(std::string_view name);

enum class Flow : uint8_t { next, break_, continue_, error };

// Runs one template once. Every function that returns bool says false after fail().
struct Interpreter {
  Interpreter(const Template& parsed, const Limits& run_limits) : tmpl(parsed), limits(run_limits) {}
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  ~Interpreter();

  const Template& tmpl;
  const Limits& limits;
  const BrokenDownTime* now = nullptr;
  uint64_t steps = 0, bytes = 0;
  uint32_t level = 0;  // nesting of calls
  uint32_t line = 1;   // of what is being evaluated
  std::string error;
  std::vector<std::unique_ptr<Frame>> all_frames;
  std::vector<Frame*> free_frames;
  std::vector<Value> cyclic;  // namespaces: emptied at the end, since they may hold each other

  bool fail(std::string message);
  // Counts work; large values count for more.
  bool charge(uint64_t n);
  bool charge_bytes(uint64_t n);
  // Counts a level of nesting; the caller takes it back with --level.
  bool enter();

  Frame* push_frame(Frame* parent);
  void pop_frame(Frame* frame);

  Flow run(const Body& body, Frame* frame, std::string& out);
  bool run_to_text(const Body& body, Frame* frame, std::string& out);
  bool eval(const Expr& e, Frame* frame, Value& out);
  bool assign(const Expr& target, Frame* frame, Value v);

  // Calls.
  bool call_builtin(const Builtin& builtin, const Value& self, Args& args, Value& out);
  bool call_macro(const Macro& macro, Args& args, Value& out);
  bool call_value(const Value& callee, Args& args, Value& out);

  // New values, counted and checked for depth and size.
  bool make_string(std::string s, Value& out, bool markup = false);
  bool make_sequence(SequenceKind kind, std::vector<Value> items, Value& out);
  bool make_dict(const DictBuilder& d, Value& out);
  bool make_bool(bool b, Value& out) {
    out = Value::boolean(b);
    return true;
  }

  // Python's protocols (jinja_operators.cpp).
  bool to_text(const Value& v, std::string& out);                         // appends str(v)
  bool iterate(const Value& v, std::vector<Value>& items);                // list(v)
  bool get_attribute(const Value& v, std::string_view name, Value& out);  // v.name
  bool get_item(const Value& v, const Value& key, Value& out);            // v[key]
  bool get_slice(const Value& v, const Value bounds[3], Value& out);      // v[a:b:c]
  bool binary(Op op, const Value& a, const Value& b, Value& out);
  bool compare(Comparison c, const Value& a, const Value& b, bool& out);
  bool contains(const Value& container, const Value& v, bool& out);  // v in container
  bool less(const Value& a, const Value& b, bool& out);              // a < b
  bool length(const Value& v, int64_t& out);                         // len(v)

  // Loops (jinja_eval.cpp).
  bool loop_take(Loop& loop, Value& item, bool& found);
  bool loop_peek(Loop& loop);
  bool loop_length(Loop& loop);

  // Arguments of builtins.
  bool int_argument(const Value& v, std::string_view what, int64_t& out);
  bool text_argument(const Value& v, std::string_view what, std::string_view& out);

 private:
  Flow run_for(const Stmt& s, Frame* frame, std::string& out);
  Flow run_statement(const Stmt& s, Frame* frame, std::string& out);
  Flow run_scoped(const Body& body, Frame* parent, std::string& out);
  bool run_set_block(const Stmt& s, Frame* frame);
  bool run_filter_block(const Stmt& s, Frame* frame, std::string& out);
  bool run_call_block(const Stmt& s, Frame* frame, std::string& out);
  bool run_with(const Stmt& s, Frame* inner, Frame* outer);
  bool print(const Value& v, std::string& out);
  bool apply_filters(const Expr& e, Frame* frame, Value text, Value& out);
  Value make_macro(const MacroNode& node, Frame* frame);

  bool dispatch(const Expr& e, Frame* frame, Value& out);
  bool eval_name(const Expr& e, Frame* frame, Value& out);
  bool eval_items(const Expr& e, Frame* frame, Value& out);
  bool eval_dict(const Expr& e, Frame* frame, Value& out);
  bool eval_attribute(const Expr& e, Frame* frame, Value& out);
  bool eval_subscript(const Expr& e, Frame* frame, Value& out);
  bool eval_slice(const Expr& e, Frame* frame, Value& out);
  bool eval_call(const Expr& e, Frame* frame, Value& out);
  bool eval_filter(const Expr& e, Frame* frame, Value& out);
  bool eval_test(const Expr& e, Frame* frame, Value& out);
  bool eval_logic(const Expr& e, Frame* frame, Value& out);
  bool eval_sign(const Expr& e, Frame* frame, Value& out);
  bool eval_binary(const Expr& e, Frame* frame, Value& out);
  bool eval_concat(const Expr& e, Frame* frame, Value& out);
  bool eval_compare(const Expr& e, Frame* frame, Value& out);
  bool eval_args(const Expr& e, Frame* frame, Args& args);
  std::string describe(const Expr& e) const;
};

// printf-style `format % args`, and format.format(…) without format specifications.
bool format_percent(Interpreter& in, std::string_view format, const Value& args, std::string& out);
bool format_braces(Interpreter& in, std::string_view format, const Args& args, std::string& out);
// strftime with the directives of the C locale.
bool format_time(Interpreter& in, std::string_view format, const BrokenDownTime& t, std::string& out);
// Appends json.dumps(v); negative indent: on one line.
struct JsonStyle {
  bool ascii = false, sort_keys = false;
  bool pretty = false;
  std::string indent;
  std::string item_separator = ", ", key_separator = ": ";
};
bool append_json(Interpreter& in, const Value& v, const JsonStyle& style, std::string& out);
// Appends s with `old` replaced by `now`, the first `max` times where max >= 0.
bool replace_text(Interpreter& in, std::string_view s, std::string_view old, std::string_view now,
                  int64_t max, std::string& out);
// str.isupper or str.islower.
bool is_all_case(std::string_view s, bool upper);
// Python's sorted by a key for each item.
bool sort_by(Interpreter& in, std::vector<Value>& items, const std::vector<Value>& keys, bool reverse);

}  // namespace forge::rt::jinja
