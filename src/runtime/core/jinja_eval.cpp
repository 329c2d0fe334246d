#include "runtime/core/jinja_eval.h"

#include <algorithm>
#include <utility>

#include "runtime/core/jinja_lexer.h"
#include "runtime/core/jinja_runtime.h"

namespace forge::rt::jinja {

namespace {

constexpr uint64_t kMaxWeight = 4'000'000;  // values in one value
constexpr uint32_t kMaxDepth = 100;         // containers in containers

}  // namespace

Value* Frame::find(Symbol s) {
  for (auto& [symbol, value] : variables) {
    if (symbol == s) return &value;
  }
  return nullptr;
}

void Frame::set(Symbol s, Value v) {
  if (Value* found = find(s)) {
    *found = std::move(v);
  } else {
    variables.emplace_back(s, std::move(v));
  }
}

Cycler::Cycler(std::vector<Value> values) : Object(Type::cycler), items(std::move(values)) {
  for (const Value& v : items) {
    depth = static_cast<uint16_t>(std::max<uint32_t>(depth, v.depth() + 1));
    weight += v.weight();
  }
}

Interpreter::~Interpreter() {
  // Namespaces and frames may hold each other: take their contents out before anything is freed.
  for (const Value& v : cyclic) {
    Namespace& ns = *static_cast<Namespace*>(v.as_object());
    ns.attributes.entries.clear();
  }
  for (const auto& frame : all_frames) frame->variables.clear();
}

bool Interpreter::fail(std::string message) {
  if (error.empty()) error = std::move(message);
  return false;
}

bool Interpreter::charge(uint64_t n) {
  steps += n;
  return steps <= limits.steps || fail(text("it takes more than ", limits.steps, " steps to render"));
}

bool Interpreter::enter() {
  return ++level <= limits.levels || fail("nested too deeply: a macro that calls itself without end?");
}

bool Interpreter::charge_bytes(uint64_t n) {
  bytes += n;
  return bytes <= limits.bytes || fail(text("it takes more than ", limits.bytes >> 20, " MiB to render"));
}

bool Interpreter::make_string(std::string s, Value& out, bool markup) {
  if (s.size() > limits.output_bytes) {
    return fail(text("a string of ", s.size(), " bytes, at most ", limits.output_bytes, " are allowed"));
  }
  if (!charge_bytes(s.size() + sizeof(String))) return false;
  out = Value::string(std::move(s), markup);
  return true;
}

bool Interpreter::make_sequence(SequenceKind kind, std::vector<Value> items, Value& out) {
  if (!charge_bytes(items.size() * sizeof(Value) + sizeof(Sequence))) return false;
  Value v = Value::sequence(kind, std::move(items));
  if (v.depth() > kMaxDepth || v.weight() > kMaxWeight) return fail("a value too large or nested too deeply");
  out = std::move(v);
  return true;
}

bool Interpreter::make_dict(const DictBuilder& d, Value& out) {
  if (!charge_bytes(d->entries.size() * 48 + sizeof(Dict))) return false;
  if (d.value().depth() > kMaxDepth || d.value().weight() > kMaxWeight) {
    return fail("a value too large or nested too deeply");
  }
  out = d.value();
  return true;
}

Frame* Interpreter::push_frame(Frame* parent) {
  if (free_frames.empty()) {
    all_frames.push_back(std::make_unique<Frame>());
    free_frames.push_back(all_frames.back().get());
  }
  Frame* frame = free_frames.back();
  free_frames.pop_back();
  frame->parent = parent;
  return frame;
}

void Interpreter::pop_frame(Frame* frame) {
  if (frame->captured) return;
  frame->variables.clear();
  free_frames.push_back(frame);
}

Value Interpreter::make_macro(const MacroNode& node, Frame* frame) {
  for (Frame* f = frame; f != nullptr && !f->captured; f = f->parent) f->captured = true;
  return Value::object(new Macro(&node, frame));
}

// ---- statements ----

Flow Interpreter::run(const Body& body, Frame* frame, std::string& out) {
  if (!enter()) return Flow::error;
  Flow flow = Flow::next;
  for (const Stmt& s : body) {
    line = s.line;
    if (!charge(1)) return Flow::error;
    if (out.size() > limits.output_bytes) {
      fail(text("more than ", limits.output_bytes, " bytes of text"));
      return Flow::error;
    }
    flow = run_statement(s, frame, out);
    if (flow != Flow::next) break;
  }
  --level;
  return flow;
}

Flow Interpreter::run_statement(const Stmt& s, Frame* frame, std::string& out) {
  const auto flow_of = [](bool ok) { return ok ? Flow::next : Flow::error; };
  switch (s.tag) {
    case Tag::text: out += s.text; return Flow::next;
    case Tag::output:
      for (const ExprPtr& e : s.exprs) {
        Value v;
        if (!eval(*e, frame, v) || !print(v, out)) return Flow::error;
      }
      return Flow::next;
    case Tag::if_:
      for (size_t i = 0; i < s.bodies.size(); ++i) {
        Value condition = Value::boolean(true);
        if (i < s.exprs.size() && !eval(*s.exprs[i], frame, condition)) return Flow::error;
        if (truth(condition)) return run(s.bodies[i], frame, out);
      }
      return Flow::next;
    case Tag::for_: return run_for(s, frame, out);
    case Tag::set: {
      Value v;
      return flow_of(eval(*s.exprs[0], frame, v) && assign(*s.target, frame, std::move(v)));
    }
    case Tag::set_block: return flow_of(run_set_block(s, frame));
    case Tag::macro: frame->set(s.macro->name, make_macro(*s.macro, frame)); return Flow::next;
    case Tag::call_block: return flow_of(run_call_block(s, frame, out));
    case Tag::filter_block: return flow_of(run_filter_block(s, frame, out));
    case Tag::with: {
      Frame* inner = push_frame(frame);
      const Flow flow = run_with(s, inner, frame) ? run(s.bodies[0], inner, out) : Flow::error;
      pop_frame(inner);
      return flow;
    }
    case Tag::scope: return run_scoped(s.bodies[0], frame, out);
    case Tag::break_: return Flow::break_;
    case Tag::continue_: return Flow::continue_;
  }
  return Flow::error;
}

Flow Interpreter::run_scoped(const Body& body, Frame* parent, std::string& out) {
  Frame* frame = push_frame(parent);
  const Flow flow = run(body, frame, out);
  pop_frame(frame);
  return flow;
}

bool Interpreter::run_to_text(const Body& body, Frame* frame, std::string& out) {
  return run_scoped(body, frame, out) != Flow::error;
}

bool Interpreter::print(const Value& v, std::string& out) { return charge(v.weight()) && to_text(v, out); }

bool Interpreter::run_with(const Stmt& s, Frame* inner, Frame* outer) {
  for (size_t i = 0; i < s.exprs.size(); i += 2) {
    Value v;
    if (!eval(*s.exprs[i + 1], outer, v) || !assign(*s.exprs[i], inner, std::move(v))) return false;
  }
  return true;
}

bool Interpreter::run_set_block(const Stmt& s, Frame* frame) {
  std::string body;
  Value v;
  if (!run_to_text(s.bodies[0], frame, body) || !make_string(std::move(body), v)) return false;
  if (s.exprs[0] != nullptr && !apply_filters(*s.exprs[0], frame, std::move(v), v)) return false;
  return assign(*s.target, frame, std::move(v));
}

bool Interpreter::run_filter_block(const Stmt& s, Frame* frame, std::string& out) {
  std::string body;
  Value v;
  return run_to_text(s.bodies[0], frame, body) && make_string(std::move(body), v) &&
         apply_filters(*s.exprs[0], frame, std::move(v), v) && print(v, out);
}

// Filters of a filter block, the innermost applied to `input`.
bool Interpreter::apply_filters(const Expr& e, Frame* frame, Value input, Value& out) {
  if (e.args[0] != nullptr && !apply_filters(*e.args[0], frame, std::move(input), input)) return false;
  Args args;
  return eval_args(e, frame, args) && call_builtin(filters()[e.index], input, args, out);
}

bool Interpreter::run_call_block(const Stmt& s, Frame* frame, std::string& out) {
  const Expr& call = *s.exprs[0];
  Value callee, result;
  Args args;
  if (!eval(*call.args[0], frame, callee) || !eval_args(call, frame, args)) return false;
  args.keyword.emplace_back("caller", make_macro(*s.macro, frame));
  return call_value(callee, args, result) && print(result, out);
}

bool Interpreter::assign(const Expr& target, Frame* frame, Value v) {
  if (target.op == Op::name) {
    frame->set(target.symbol, std::move(v));
    return true;
  }
  if (target.op == Op::namespace_attribute) {
    Value ns;
    Expr name;
    name.op = Op::name;
    name.symbol = static_cast<Symbol>(target.value.as_int());
    if (!eval_name(name, frame, ns)) return false;
    if (!ns.is(Type::name_space)) return fail("can't assign to an attribute: it is no namespace");
    static_cast<Namespace*>(ns.as_object())->attributes.set(tmpl.name(target.symbol), std::move(v));
    return charge_bytes(64);
  }
  std::vector<Value> items;
  if (!iterate(v, items)) return false;
  if (items.size() != target.args.size()) {
    return fail(text("can't unpack ", items.size(), " values to ", target.args.size(), " names"));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    if (!assign(*target.args[i], frame, std::move(items[i]))) return false;
  }
  return true;
}

// ---- loops ----

// The next item, past the loop's filter.
bool Interpreter::loop_take(Loop& loop, Value& item, bool& found) {
  if (loop.drained) {
    found = loop.rest_next < loop.rest.size();
    if (found) item = loop.rest[loop.rest_next++];
    return true;
  }
  Sequence& source = loop.source.as_sequence();
  size_t& next = source.kind == SequenceKind::iterator ? source.next : loop.next;
  while (next < source.items.size()) {
    item = source.items[next++];
    found = true;
    if (!charge(1)) return false;
    if (loop.filter == nullptr) return true;
    Value condition;
    Frame* frame = push_frame(loop.frame);
    const bool ok =
        assign(*loop.filter->target, frame, item) && eval(*loop.filter->exprs[1], frame, condition);
    pop_frame(frame);
    if (!ok) return false;
    if (truth(condition)) return true;
  }
  found = false;
  return true;
}

bool Interpreter::loop_peek(Loop& loop) {
  if (!loop.after.is_missing() || loop.at_end) return true;
  Value item;
  bool found = false;
  if (!loop_take(loop, item, found)) return false;
  loop.at_end = !found;
  if (found) loop.after = std::move(item);
  return true;
}

bool Interpreter::loop_length(Loop& loop) {
  if (loop.length >= 0) return true;
  Value item;
  std::vector<Value> rest;
  for (bool found = true;;) {
    if (!loop_take(loop, item, found)) return false;
    if (!found) break;
    rest.push_back(std::move(item));
  }
  loop.length = static_cast<int64_t>(rest.size()) + loop.index0 + 1 + (loop.after.is_missing() ? 0 : 1);
  loop.rest = std::move(rest);
  loop.rest_next = 0;
  loop.drained = true;
  return true;
}

Flow Interpreter::run_for(const Stmt& s, Frame* frame, std::string& out) {
  Loop* loop = new Loop;
  const Value loop_value = Value::object(loop);
  Value iterable;
  if (!eval(*s.exprs[0], frame, iterable)) return Flow::error;
  if (iterable.is(Type::sequence)) {
    loop->source = iterable;
  } else {
    std::vector<Value> items;
    if (!iterate(iterable, items) || !make_sequence(SequenceKind::list, std::move(items), loop->source)) {
      return Flow::error;
    }
  }
  loop->after = Value::missing();
  loop->frame = frame;
  if (s.exprs[1] != nullptr) {
    loop->filter = &s;
  } else if (!loop->source.is_sequence(SequenceKind::iterator)) {
    loop->length = static_cast<int64_t>(loop->source.as_sequence().items.size());
  }
  Flow flow = Flow::next;
  while (true) {
    line = s.line;
    if (!charge(1) || !loop_peek(*loop)) flow = Flow::error;
    if (flow == Flow::error || loop->at_end) break;
    loop->before = std::exchange(loop->current, std::exchange(loop->after, Value::missing()));
    ++loop->index0;
    Frame* inner = push_frame(frame);
    inner->set(kLoop, loop_value);
    flow = assign(*s.target, inner, loop->current) ? run(s.bodies[0], inner, out) : Flow::error;
    pop_frame(inner);
    if (flow == Flow::break_ || flow == Flow::error) break;
  }
  const bool ran = loop->index0 >= 0;
  // A loop that outlives its statement must hold nothing: it may hold other loops.
  loop->source = Value::list({});
  loop->filter = nullptr;
  loop->next = 0;
  loop->rest.clear();
  loop->drained = false;
  loop->before = loop->current = loop->changed_value = Value();
  loop->after = Value::missing();
  if (flow == Flow::error) return flow;
  if (!ran && s.bodies.size() > 1) return run(s.bodies[1], frame, out);
  return Flow::next;
}

// ---- expressions ----

bool Interpreter::eval(const Expr& e, Frame* frame, Value& out) {
  if (e.op == Op::constant) {
    out = e.value;
    return true;
  }
  if (!charge(1) || !enter()) return false;
  line = e.line;
  const bool ok = dispatch(e, frame, out);
  --level;
  return ok;
}

bool Interpreter::dispatch(const Expr& e, Frame* frame, Value& out) {
  switch (e.op) {
    case Op::constant: out = e.value; return true;
    case Op::name: return eval_name(e, frame, out);
    case Op::list:
    case Op::tuple: return eval_items(e, frame, out);
    case Op::dict: return eval_dict(e, frame, out);
    case Op::attribute: return eval_attribute(e, frame, out);
    case Op::subscript: return eval_subscript(e, frame, out);
    case Op::slice: return eval_slice(e, frame, out);
    case Op::call: return eval_call(e, frame, out);
    case Op::filter: return eval_filter(e, frame, out);
    case Op::test: return eval_test(e, frame, out);
    case Op::not_:
    case Op::and_:
    case Op::or_:
    case Op::conditional: return eval_logic(e, frame, out);
    case Op::negative:
    case Op::positive: return eval_sign(e, frame, out);
    case Op::concat: return eval_concat(e, frame, out);
    case Op::compare: return eval_compare(e, frame, out);
    case Op::namespace_attribute: return false;
    default: return eval_binary(e, frame, out);
  }
}

// What an expression is called in an error.
std::string Interpreter::describe(const Expr& e) const {
  if (e.op == Op::name) return text("'", tmpl.name(e.symbol), "'");
  if (e.op == Op::attribute) return text("'….", tmpl.name(e.symbol), "'");
  return "a value";
}

bool Interpreter::eval_name(const Expr& e, Frame* frame, Value& out) {
  for (Frame* f = frame; f != nullptr; f = f->parent) {
    if (const Value* v = f->find(e.symbol)) {
      out = *v;
      return true;
    }
  }
  const Builtin* function = find_builtin(functions(), tmpl.name(e.symbol));
  if (function == nullptr || (function->name == "strftime_now" && now == nullptr)) {
    out = Value();
  } else {
    out = Value::object(new Function(function));
  }
  return true;
}

bool Interpreter::eval_items(const Expr& e, Frame* frame, Value& out) {
  std::vector<Value> items(e.args.size());
  for (size_t i = 0; i < items.size(); ++i) {
    if (!eval(*e.args[i], frame, items[i])) return false;
  }
  return make_sequence(e.op == Op::list ? SequenceKind::list : SequenceKind::tuple, std::move(items), out);
}

bool Interpreter::eval_dict(const Expr& e, Frame* frame, Value& out) {
  const DictBuilder d;
  for (size_t i = 0; i < e.args.size(); i += 2) {
    Value key, value;
    if (!eval(*e.args[i], frame, key) || !eval(*e.args[i + 1], frame, value)) return false;
    if (!hashable(key)) return fail(text("unhashable type: '", type_name(key), "'"));
    d->set(key, std::move(value));
  }
  return make_dict(d, out);
}

bool Interpreter::eval_attribute(const Expr& e, Frame* frame, Value& out) {
  Value object;
  if (!eval(*e.args[0], frame, object)) return false;
  if (object.is_undefined()) {
    return fail(text(describe(*e.args[0]), " is undefined; it has no attribute '", tmpl.name(e.symbol), "'"));
  }
  return get_attribute(object, tmpl.name(e.symbol), out);
}

bool Interpreter::eval_subscript(const Expr& e, Frame* frame, Value& out) {
  Value object, key;
  if (!eval(*e.args[0], frame, object) || !eval(*e.args[1], frame, key)) return false;
  if (object.is_undefined()) return fail(text(describe(*e.args[0]), " is undefined; it has no items"));
  return get_item(object, key, out);
}

bool Interpreter::eval_slice(const Expr& e, Frame* frame, Value& out) {
  Value object, bounds[3] = {Value::none(), Value::none(), Value::none()};
  if (!eval(*e.args[0], frame, object)) return false;
  for (size_t i = 0; i < 3; ++i) {
    if (e.args[i + 1] != nullptr && !eval(*e.args[i + 1], frame, bounds[i])) return false;
  }
  if (object.is_undefined()) return fail(text(describe(*e.args[0]), " is undefined; it has no items"));
  return get_slice(object, bounds, out);
}

bool Interpreter::eval_args(const Expr& e, Frame* frame, Args& args) {
  for (size_t i = 0; i < e.passing.size(); ++i) {
    Value v;
    if (!eval(*e.args[i + 1], frame, v)) return false;
    switch (e.passing[i]) {
      case Passing::positional: args.positional.push_back(std::move(v)); break;
      case Passing::keyword: args.keyword.emplace_back(tmpl.name(e.keywords[i]), std::move(v)); break;
      case Passing::star:
        if (!iterate(v, args.positional)) return false;
        break;
      case Passing::double_star:
        if (!v.is(Type::dict)) return fail(text("** of a ", type_name(v), ", expected a dict"));
        for (const auto& [key, value] : v.as_dict().entries) {
          if (!key.is_string()) return fail("** of a dict with keys that are no strings");
          args.keyword.emplace_back(key.as_string(), value);
        }
        break;
    }
  }
  for (size_t i = 0; i < args.keyword.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (args.keyword[i].first == args.keyword[k].first) {
        return fail(text("the argument '", args.keyword[i].first, "' is given twice"));
      }
    }
    if (!charge(i)) return false;
  }
  return true;
}

bool Interpreter::eval_call(const Expr& e, Frame* frame, Value& out) {
  const Expr& callee = *e.args[0];
  Args args;
  if (callee.op == Op::attribute) {
    Value object;
    if (!eval(*callee.args[0], frame, object)) return false;
    const std::string_view name = tmpl.name(callee.symbol);
    if (object.is_undefined())
      return fail(text(describe(*callee.args[0]), " is undefined; it has no method '", name, "'"));
    if (is_mutator(object, name)) {
      return fail(text("'", name, "' would change a ", type_name(object), ", which a template must not"));
    }
    if (const Builtin* method = find_method(object, name)) {
      if (!eval_args(e, frame, args)) return false;
      line = e.line;
      return call_builtin(*method, object, args, out);
    }
    Value value;
    if (!get_attribute(object, name, value)) return false;
    if (value.is_undefined()) return fail(text(type_name(object), " has no method '", name, "'"));
    return eval_args(e, frame, args) && call_value(value, args, out);
  }
  Value value;
  if (!eval(callee, frame, value)) return false;
  if (value.is_undefined()) return fail(text(describe(callee), " is undefined; it can't be called"));
  if (!eval_args(e, frame, args)) return false;
  line = e.line;
  return call_value(value, args, out);
}

bool Interpreter::call_value(const Value& callee, Args& args, Value& out) {
  switch (callee.type()) {
    case Type::macro: return call_macro(*static_cast<Macro*>(callee.as_object()), args, out);
    case Type::function:
      return call_builtin(*static_cast<Function*>(callee.as_object())->builtin, callee, args, out);
    case Type::method: {
      const auto& method = *static_cast<Method*>(callee.as_object());
      return call_builtin(*method.builtin, method.self, args, out);
    }
    case Type::joiner: {
      auto& joiner = *static_cast<Joiner*>(callee.as_object());
      const bool first = !std::exchange(joiner.used, true);
      return make_string(first ? std::string() : joiner.separator, out);
    }
    case Type::loop: return fail("recursive loops are not supported");
    default: return fail(text("a ", type_name(callee), " can't be called"));
  }
}

bool Interpreter::call_builtin(const Builtin& builtin, const Value& self, Args& args, Value& out) {
  constexpr size_t kMaxParameters = 6;
  Value bound[kMaxParameters];
  size_t n = 0;
  if (builtin.signature != "*") {
    for (Value& v : bound) v = Value::missing();
    std::string_view rest = builtin.signature;
    size_t used = 0;
    while (!rest.empty()) {
      const size_t space = rest.find(' ');
      const std::string_view parameter = rest.substr(0, space);
      rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
      if (n < args.positional.size()) bound[n] = args.positional[n];
      for (auto& [name, value] : args.keyword) {
        if (name != parameter) continue;
        if (n < args.positional.size()) return fail(text("the argument '", name, "' is given twice"));
        bound[n] = value;
        ++used;
      }
      if (n < builtin.required && bound[n].is_missing()) {
        return fail(text("'", builtin.name, "' lacks its argument '", parameter, "'"));
      }
      ++n;
    }
    if (args.positional.size() > n) return fail(text("'", builtin.name, "' takes at most ", n, " arguments"));
    if (used < args.keyword.size()) {
      for (const auto& [name, value] : args.keyword) {
        if (text(" ", builtin.signature, " ").find(text(" ", name, " ")) == std::string::npos) {
          return fail(text("'", builtin.name, "' has no argument '", name, "'"));
        }
      }
    }
  }
  if (!charge(1 + self.weight() / 64)) return false;
  Value result;
  if (!builtin.run(Call{*this, self, std::span<Value>(bound, n), args, result, builtin.kind})) return false;
  out = std::move(result);
  return true;
}

bool Interpreter::call_macro(const Macro& macro, Args& args, Value& out) {
  const MacroNode& node = *macro.node;
  const std::string_view name = tmpl.name(node.name);
  Frame* frame = push_frame(macro.closure);
  const size_t n = node.parameters.size();
  const auto take_keyword = [&](std::string_view keyword, Value& v) {
    const auto it = std::find_if(args.keyword.begin(), args.keyword.end(),
                                 [&](const auto& pair) { return pair.first == keyword; });
    if (it == args.keyword.end()) return false;
    v = std::move(it->second);
    args.keyword.erase(it);
    return true;
  };
  bool ok = true, caller_is_parameter = false;
  for (size_t i = 0; i < n && ok; ++i) {
    const Symbol parameter = node.parameters[i];
    caller_is_parameter |= parameter == kCaller;
    Value v;
    if (i < args.positional.size()) {
      v = args.positional[i];
    } else if (!take_keyword(tmpl.name(parameter), v) && n - i <= node.defaults.size()) {
      ok = eval(*node.defaults[i + node.defaults.size() - n], frame, v);
    }
    frame->set(parameter, std::move(v));
  }
  if (ok && node.uses_caller && !caller_is_parameter) {
    Value caller;
    take_keyword(tmpl.name(kCaller), caller);
    frame->set(kCaller, std::move(caller));
  }
  if (ok && node.uses_kwargs) {
    const DictBuilder rest;
    for (auto& [key, value] : args.keyword) rest->set(std::string_view(key), std::move(value));
    frame->set(kKwargs, rest.value());
  } else if (ok && !args.keyword.empty()) {
    ok = fail(text("macro '", name, "' has no argument '", args.keyword[0].first, "'"));
  }
  const bool has_rest = args.positional.size() > n;
  if (ok && node.uses_varargs) {
    std::vector<Value> rest;
    if (has_rest) rest.assign(args.positional.begin() + static_cast<ptrdiff_t>(n), args.positional.end());
    Value v;
    ok = make_sequence(SequenceKind::tuple, std::move(rest), v);
    frame->set(kVarargs, std::move(v));
  } else if (ok && has_rest) {
    ok = fail(text("macro '", name, "' takes at most ", n, " arguments"));
  }
  std::string body;
  ok = ok && run(node.body, frame, body) != Flow::error && make_string(std::move(body), out);
  pop_frame(frame);
  return ok;
}

bool Interpreter::eval_filter(const Expr& e, Frame* frame, Value& out) {
  Value object;
  Args args;
  if (!eval(*e.args[0], frame, object) || !eval_args(e, frame, args)) return false;
  line = e.line;
  return call_builtin(filters()[e.index], object, args, out);
}

bool Interpreter::eval_test(const Expr& e, Frame* frame, Value& out) {
  Value object;
  Args args;
  if (!eval(*e.args[0], frame, object) || !eval_args(e, frame, args)) return false;
  return call_builtin(tests()[e.index], object, args, out);
}

bool Interpreter::eval_logic(const Expr& e, Frame* frame, Value& out) {
  if (e.op == Op::conditional) {
    Value condition;
    if (!eval(*e.args[1], frame, condition)) return false;
    if (truth(condition)) return eval(*e.args[0], frame, out);
    if (e.args[2] != nullptr) return eval(*e.args[2], frame, out);
    out = Value();
    return true;
  }
  Value left;
  if (!eval(*e.args[0], frame, left)) return false;
  if (e.op == Op::not_) return make_bool(!truth(left), out);
  if (truth(left) == (e.op == Op::and_)) return eval(*e.args[1], frame, out);
  out = std::move(left);
  return true;
}

bool Interpreter::eval_sign(const Expr& e, Frame* frame, Value& out) {
  Value v;
  if (!eval(*e.args[0], frame, v)) return false;
  if (!v.is_number()) return fail(text("bad operand of a sign: '", type_name(v), "'"));
  const bool negative = e.op == Op::negative;
  if (v.is(Type::real)) {
    out = Value::real(negative ? -v.as_real() : v.as_real());
    return true;
  }
  if (negative && v.as_int() == INT64_MIN) return fail("an integer beyond 64 bits");
  out = Value::integer(negative ? -v.as_int() : v.as_int());
  return true;
}

bool Interpreter::eval_binary(const Expr& e, Frame* frame, Value& out) {
  Value a, b;
  if (!eval(*e.args[0], frame, a) || !eval(*e.args[1], frame, b)) return false;
  line = e.line;
  for (size_t i = 0; i < 2; ++i) {
    if ((i == 0 ? a : b).is_undefined()) return fail(text(describe(*e.args[i]), " is undefined"));
  }
  return binary(e.op, a, b, out);
}

bool Interpreter::eval_concat(const Expr& e, Frame* frame, Value& out) {
  std::string joined;
  for (const ExprPtr& arg : e.args) {
    Value v;
    if (!eval(*arg, frame, v) || !print(v, joined)) return false;
  }
  return make_string(std::move(joined), out);
}

bool Interpreter::eval_compare(const Expr& e, Frame* frame, Value& out) {
  Value left;
  if (!eval(*e.args[0], frame, left)) return false;
  bool result = true;
  for (size_t i = 0; i < e.comparisons.size() && result; ++i) {
    Value right;
    if (!eval(*e.args[i + 1], frame, right)) return false;
    line = e.line;
    if (!compare(e.comparisons[i], left, right, result)) return false;
    left = std::move(right);
  }
  return make_bool(result, out);
}

Result<std::string> render(const Template& parsed, const Value& variables, const BrokenDownTime* now,
                           const Limits& limits) {
  Interpreter in(parsed, limits);
  in.now = now;
  Frame* root = in.push_frame(nullptr);
  for (const auto& [key, value] : variables.as_dict().entries) {
    if (const Symbol s = parsed.find(key.as_string()); s != kNoSymbol) root->set(s, value);
  }
  std::string out;
  if (in.run(parsed.body, root, out) == Flow::error) return error_at(in.line, in.error);
  if (out.size() > limits.output_bytes) {
    return error_at(in.line, text("more than ", limits.output_bytes, " bytes of text"));
  }
  return out;
}

}  // namespace forge::rt::jinja
