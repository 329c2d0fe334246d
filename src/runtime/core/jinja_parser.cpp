#include "runtime/core/jinja_parser.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "runtime/core/jinja_lexer.h"
#include "runtime/core/jinja_runtime.h"

namespace forge::rt::jinja {

namespace {

constexpr size_t kMaxSource = 1u << 20;
constexpr int kMaxNesting = 150;    // of brackets and blocks
constexpr int kMaxExprDepth = 200;  // of an expression's tree

// Tags of jinja2 that need other files or change how the rest is read.
constexpr std::string_view kRefusedTags[] = {"include", "import", "from", "extends", "block", "autoescape"};

struct CallSite {
  uint32_t line;
  Symbol symbol;
};

struct Parser {
  std::vector<Token> tokens;
  size_t at = 0;
  Template out;
  std::unordered_map<std::string, Symbol> symbol_of;
  std::unordered_set<Symbol> assigned;                 // names and attributes that the template gives a value
  std::vector<CallSite> function_calls, method_calls;  // checked at the end, when all assignments are known
  std::vector<MacroNode*> macros;                      // that are open
  int nesting = 0, loops = 0;
  std::string error;
  uint32_t error_line = 0;

  struct Nest {
    explicit Nest(Parser& parser) : p(parser) { ++p.nesting; }
    ~Nest() { --p.nesting; }
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;
    Parser& p;
  };

  const Token& token() const { return tokens[at]; }
  const Token& look() const { return tokens[std::min(at + 1, tokens.size() - 1)]; }
  Token& take() { return tokens[at + 1 < tokens.size() ? at++ : at]; }
  bool skip_name(std::string_view s) { return token().is_name(s) && (take(), true); }
  bool skip_operator(std::string_view s) { return token().is_operator(s) && (take(), true); }

  bool fail(std::string message, uint32_t line = 0) {
    if (error.empty()) {
      error = std::move(message);
      error_line = line != 0 ? line : token().line;
    }
    return false;
  }
  ExprPtr fail_expr(std::string message, uint32_t line = 0) {
    fail(std::move(message), line);
    return nullptr;
  }

  static std::string describe(const Token& t) {
    switch (t.type) {
      case TokenType::data: return "text";
      case TokenType::variable_begin: return "'{{'";
      case TokenType::variable_end: return "'}}'";
      case TokenType::block_begin: return "'{%'";
      case TokenType::block_end: return "'%}'";
      case TokenType::string: return "a string";
      case TokenType::number: return "a number";
      case TokenType::end: return "the end of the template";
      case TokenType::name:
      case TokenType::operator_: break;
    }
    return text("'", t.text, "'");
  }

  bool expect_operator(std::string_view s) {
    return skip_operator(s) || fail(text("found ", describe(token()), ", expected '", s, "'"));
  }
  bool expect_end_of_block() {
    if (token().type != TokenType::block_end) {
      return fail(text("found ", describe(token()), ", expected '%}'"));
    }
    take();
    return true;
  }

  Symbol symbol(const std::string& name) {
    const auto [it, is_new] = symbol_of.try_emplace(name, static_cast<Symbol>(out.symbols.size()));
    if (is_new) out.symbols.push_back(name);
    return it->second;
  }

  bool expect_name(std::string_view what, Symbol& s) {
    if (token().type != TokenType::name) return fail(text("found ", describe(token()), ", expected ", what));
    s = symbol(take().text);
    return true;
  }

  // ---- expressions; null after fail() ----

  static ExprPtr make(Op op, uint32_t line) {
    auto e = std::make_unique<Expr>();
    e->op = op;
    e->line = line;
    return e;
  }

  bool add(Expr& e, ExprPtr child) {
    if (child == nullptr) return false;
    e.depth = std::max<uint16_t>(e.depth, static_cast<uint16_t>(child->depth + 1));
    if (e.depth > kMaxExprDepth) return fail("an expression nested too deeply", e.line);
    e.args.push_back(std::move(child));
    return true;
  }

  ExprPtr unary(Op op, uint32_t line, ExprPtr a) {
    ExprPtr e = make(op, line);
    return add(*e, std::move(a)) ? std::move(e) : nullptr;
  }
  ExprPtr binary(Op op, uint32_t line, ExprPtr a, ExprPtr b) {
    ExprPtr e = make(op, line);
    return add(*e, std::move(a)) && add(*e, std::move(b)) ? std::move(e) : nullptr;
  }

  ExprPtr parse_expression(bool with_conditional = true) {
    const Nest nest(*this);
    if (nesting > kMaxNesting) return fail_expr("nested too deeply");
    const uint32_t line = token().line;
    ExprPtr e = parse_or();
    while (e != nullptr && with_conditional && skip_name("if")) {
      ExprPtr choice = make(Op::conditional, line);
      if (!add(*choice, std::move(e)) || !add(*choice, parse_or())) return nullptr;
      if (skip_name("else")) {
        if (!add(*choice, parse_expression())) return nullptr;
      } else {
        choice->args.push_back(nullptr);
      }
      e = std::move(choice);
    }
    return e;
  }

  ExprPtr parse_or() {
    const uint32_t line = token().line;
    ExprPtr left = parse_and();
    while (left != nullptr && skip_name("or")) left = binary(Op::or_, line, std::move(left), parse_and());
    return left;
  }

  ExprPtr parse_and() {
    const uint32_t line = token().line;
    ExprPtr left = parse_not();
    while (left != nullptr && skip_name("and")) left = binary(Op::and_, line, std::move(left), parse_not());
    return left;
  }

  ExprPtr parse_not() {
    const Nest nest(*this);
    if (nesting > kMaxNesting) return fail_expr("nested too deeply");
    const uint32_t line = token().line;
    if (skip_name("not")) return unary(Op::not_, line, parse_not());
    return parse_compare();
  }

  bool take_comparison(Comparison& c) {
    constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
        {"==", Comparison::eq}, {"!=", Comparison::ne}, {"<", Comparison::lt},
        {"<=", Comparison::le}, {">", Comparison::gt},  {">=", Comparison::ge}};
    for (const auto& [name, comparison] : kComparisons) {
      if (skip_operator(name)) return c = comparison, true;
    }
    if (skip_name("in")) return c = Comparison::in, true;
    if (!token().is_name("not") || !look().is_name("in")) return false;
    take();
    take();
    c = Comparison::not_in;
    return true;
  }

  ExprPtr parse_compare() {
    const uint32_t line = token().line;
    ExprPtr left = parse_sum();
    Comparison c{};
    if (left == nullptr || !take_comparison(c)) return left;
    ExprPtr e = unary(Op::compare, line, std::move(left));
    if (e == nullptr) return nullptr;
    do {
      e->comparisons.push_back(c);
      if (!add(*e, parse_sum())) return nullptr;
    } while (take_comparison(c));
    return e;
  }

  ExprPtr parse_sum() {
    const uint32_t line = token().line;
    ExprPtr left = parse_concat();
    while (left != nullptr && (token().is_operator("+") || token().is_operator("-"))) {
      const Op op = take().text == "+" ? Op::add : Op::subtract;
      left = binary(op, line, std::move(left), parse_concat());
    }
    return left;
  }

  ExprPtr parse_concat() {
    const uint32_t line = token().line;
    ExprPtr first = parse_product();
    if (first == nullptr || !token().is_operator("~")) return first;
    ExprPtr e = unary(Op::concat, line, std::move(first));
    while (e != nullptr && skip_operator("~")) {
      if (!add(*e, parse_product())) return nullptr;
    }
    return e;
  }

  ExprPtr parse_product() {
    constexpr std::pair<std::string_view, Op> kProducts[] = {
        {"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}};
    const uint32_t line = token().line;
    ExprPtr left = parse_power();
    while (left != nullptr) {
      const auto* op = std::find_if(std::begin(kProducts), std::end(kProducts),
                                    [&](const auto& product) { return token().is_operator(product.first); });
      if (op == std::end(kProducts)) break;
      take();
      left = binary(op->second, line, std::move(left), parse_power());
    }
    return left;
  }

  ExprPtr parse_power() {
    const uint32_t line = token().line;
    ExprPtr left = parse_unary(true);
    while (left != nullptr && skip_operator("**")) {
      left = binary(Op::power, line, std::move(left), parse_unary(true));
    }
    return left;
  }

  ExprPtr parse_unary(bool with_filter) {
    const Nest nest(*this);
    if (nesting > kMaxNesting) return fail_expr("nested too deeply");
    const uint32_t line = token().line;
    ExprPtr e;
    if (skip_operator("-")) {
      e = unary(Op::negative, line, parse_unary(false));
    } else if (skip_operator("+")) {
      e = unary(Op::positive, line, parse_unary(false));
    } else {
      e = parse_primary();
    }
    e = parse_postfix(std::move(e));
    return with_filter ? parse_filters_and_tests(std::move(e)) : std::move(e);
  }

  ExprPtr constant(uint32_t line, Value v) {
    ExprPtr e = make(Op::constant, line);
    e->value = std::move(v);
    return e;
  }

  ExprPtr parse_primary() {
    const Token& t = token();
    const uint32_t line = t.line;
    switch (t.type) {
      case TokenType::name: {
        const std::string name = take().text;
        if (name == "true" || name == "True") return constant(line, Value::boolean(true));
        if (name == "false" || name == "False") return constant(line, Value::boolean(false));
        if (name == "none" || name == "None") return constant(line, Value::none());
        ExprPtr e = make(Op::name, line);
        e->symbol = symbol(name);
        for (MacroNode* macro : macros) {
          macro->uses_caller |= e->symbol == kCaller;
          macro->uses_varargs |= e->symbol == kVarargs;
          macro->uses_kwargs |= e->symbol == kKwargs;
        }
        return e;
      }
      case TokenType::string: {
        std::string s;
        while (token().type == TokenType::string) s += take().text;
        return constant(line, Value::string(std::move(s)));
      }
      case TokenType::number: return constant(line, take().value);
      case TokenType::operator_:
        if (t.text == "(") {
          take();
          ExprPtr e = parse_tuple(true, true, true);
          return e != nullptr && expect_operator(")") ? std::move(e) : nullptr;
        }
        if (t.text == "[") return parse_list();
        if (t.text == "{") return parse_dict();
        break;
      default: break;
    }
    return fail_expr(text("found ", describe(t), ", expected an expression"));
  }

  bool is_tuple_end() const {
    const Token& t = token();
    return t.type == TokenType::variable_end || t.type == TokenType::block_end || t.is_operator(")");
  }

  // An expression, or a tuple where commas follow. parenthesized: may be empty.
  ExprPtr parse_tuple(bool with_conditional, bool parenthesized, bool whole = true) {
    ExprPtr tuple = make(Op::tuple, token().line);
    bool has_comma = false;
    while (true) {
      if (is_tuple_end() || (!whole && token().is_name("in"))) break;
      if (!add(*tuple, whole ? parse_expression(with_conditional) : parse_primary())) return nullptr;
      if (!skip_operator(",")) break;
      has_comma = true;
    }
    if (!has_comma && tuple->args.size() == 1) return std::move(tuple->args[0]);
    if (!has_comma && !parenthesized) {
      return fail_expr(text("found ", describe(token()), ", expected an expression"));
    }
    return tuple;
  }

  ExprPtr parse_list() {
    ExprPtr e = make(Op::list, take().line);
    while (!token().is_operator("]")) {
      if (!e->args.empty() && !expect_operator(",")) return nullptr;
      if (token().is_operator("]")) break;
      if (!add(*e, parse_expression())) return nullptr;
    }
    take();
    return e;
  }

  ExprPtr parse_dict() {
    ExprPtr e = make(Op::dict, take().line);
    while (!token().is_operator("}")) {
      if (!e->args.empty() && !expect_operator(",")) return nullptr;
      if (token().is_operator("}")) break;
      if (!add(*e, parse_expression()) || !expect_operator(":") || !add(*e, parse_expression()))
        return nullptr;
    }
    take();
    return e;
  }

  ExprPtr parse_postfix(ExprPtr e) {
    while (e != nullptr) {
      if (token().is_operator(".")) {
        e = parse_dot(std::move(e));
      } else if (token().is_operator("[")) {
        e = parse_subscript(std::move(e));
      } else if (token().is_operator("(")) {
        e = parse_call(std::move(e));
      } else {
        break;
      }
    }
    return e;
  }

  ExprPtr parse_dot(ExprPtr object) {
    const uint32_t line = take().line;
    if (token().type == TokenType::name) {
      ExprPtr e = unary(Op::attribute, line, std::move(object));
      if (e != nullptr) e->symbol = symbol(take().text);
      return e;
    }
    if (token().type == TokenType::number && token().value.is(Type::integer)) {
      return binary(Op::subscript, line, std::move(object), constant(line, take().value));
    }
    return fail_expr(text("found ", describe(token()), ", expected a name or number after '.'"));
  }

  ExprPtr parse_subscript(ExprPtr object) {
    const uint32_t line = take().line;
    ExprPtr bounds[3];
    int n = 0;
    bool is_slice = false;
    while (!token().is_operator("]")) {
      if (token().is_operator(":") && n < 2) {
        take();
        is_slice = true;
        ++n;
      } else if (token().is_operator(",")) {
        return fail_expr("several subscripts in one pair of brackets");
      } else if (bounds[n] == nullptr) {
        bounds[n] = parse_expression();
        if (bounds[n] == nullptr) return nullptr;
      } else {
        return fail_expr(text("found ", describe(token()), ", expected ']'"));
      }
    }
    take();
    if (!is_slice) {
      if (bounds[0] == nullptr) return fail_expr("found ']', expected a subscript", line);
      return binary(Op::subscript, line, std::move(object), std::move(bounds[0]));
    }
    ExprPtr e = unary(Op::slice, line, std::move(object));
    for (ExprPtr& bound : bounds) {
      if (e == nullptr) return nullptr;
      if (bound == nullptr) {
        e->args.push_back(nullptr);
      } else if (!add(*e, std::move(bound))) {
        return nullptr;
      }
    }
    return e;
  }

  // "( … )" of a call, filter or test, as more args of e.
  bool parse_args(Expr& e) {
    const uint32_t line = take().line;
    bool has_keyword = false, has_star = false, has_double_star = false;
    for (bool first = true; !token().is_operator(")"); first = false) {
      if (!first && !expect_operator(",")) return false;
      if (token().is_operator(")")) break;
      Passing passing = Passing::positional;
      Symbol keyword = kNoSymbol;
      if (skip_operator("*")) {
        passing = Passing::star;
        if (has_star || has_double_star) return fail("arguments in a wrong order", line);
        has_star = true;
      } else if (skip_operator("**")) {
        passing = Passing::double_star;
        if (has_double_star) return fail("arguments in a wrong order", line);
        has_double_star = true;
      } else if (token().type == TokenType::name && look().is_operator("=")) {
        passing = Passing::keyword;
        if (has_double_star) return fail("arguments in a wrong order", line);
        has_keyword = true;
        keyword = symbol(take().text);
        take();
        if (e.op == Op::call) assigned.insert(keyword);  // namespace(name=…), dict(name=…)
      } else if (has_keyword || has_star || has_double_star) {
        return fail("a positional argument after a named one", line);
      }
      if (!add(e, parse_expression())) return false;
      e.passing.push_back(passing);
      e.keywords.push_back(keyword);
    }
    take();
    return true;
  }

  ExprPtr parse_call(ExprPtr callee) {
    const uint32_t line = token().line;
    if (callee->op == Op::name) function_calls.push_back({line, callee->symbol});
    if (callee->op == Op::attribute) method_calls.push_back({line, callee->symbol});
    ExprPtr e = unary(Op::call, line, std::move(callee));
    return e != nullptr && parse_args(*e) ? std::move(e) : nullptr;
  }

  ExprPtr parse_filters_and_tests(ExprPtr e) {
    while (e != nullptr) {
      if (skip_operator("|")) {
        e = parse_filter(std::move(e));
      } else if (token().is_name("is")) {
        e = parse_test(std::move(e));
      } else if (token().is_operator("(")) {
        e = parse_call(std::move(e));
      } else {
        break;
      }
    }
    return e;
  }

  // A filter or test that is given by name as an argument: map('upper'), select('defined').
  bool check_named(const Expr& e, std::string_view name) {
    const bool is_map = name == "map";
    const bool by_attribute = name == "selectattr" || name == "rejectattr";
    if (!is_map && !by_attribute && name != "select" && name != "reject") return true;
    const size_t i = by_attribute ? 2 : 1;
    if (e.args.size() <= i || e.passing[i - 1] != Passing::positional) return true;
    if (e.args[i]->op != Op::constant || !e.args[i]->value.is_string()) return true;
    const std::string& used = e.args[i]->value.as_string();
    if (find_builtin(is_map ? filters() : tests(), used) != nullptr) return true;
    return fail(text("unknown ", is_map ? "filter" : "test", " '", used, "'"), e.line);
  }

  // After "|": name and arguments. object is null in a filter block.
  ExprPtr parse_filter(ExprPtr object) {
    const uint32_t line = token().line;
    if (token().type != TokenType::name) {
      return fail_expr(text("found ", describe(token()), ", expected a filter's name"));
    }
    const std::string name = take().text;
    const Builtin* filter = find_builtin(filters(), name);
    if (filter == nullptr) return fail_expr(text("unknown filter '", name, "'"), line);
    ExprPtr e = make(Op::filter, line);
    e->index = static_cast<uint32_t>(filter - filters().data());
    if (object == nullptr) {
      e->args.push_back(nullptr);
    } else if (!add(*e, std::move(object))) {
      return nullptr;
    }
    if (token().is_operator("(") && !parse_args(*e)) return nullptr;
    return check_named(*e, name) ? std::move(e) : nullptr;
  }

  bool starts_test_argument() const {
    const Token& t = token();
    if (t.type == TokenType::string || t.type == TokenType::number) return true;
    if (t.type == TokenType::operator_) return t.text == "(" || t.text == "[" || t.text == "{";
    return t.type == TokenType::name && t.text != "else" && t.text != "or" && t.text != "and" &&
           t.text != "if";
  }

  ExprPtr parse_test(ExprPtr object) {
    const uint32_t line = take().line;
    const bool negated = skip_name("not");
    if (token().type != TokenType::name) {
      return fail_expr(text("found ", describe(token()), ", expected a test's name"));
    }
    const std::string name = take().text;
    const Builtin* test = find_builtin(tests(), name);
    if (test == nullptr) return fail_expr(text("unknown test '", name, "'"), line);
    ExprPtr e = unary(Op::test, line, std::move(object));
    if (e == nullptr) return nullptr;
    e->index = static_cast<uint32_t>(test - tests().data());
    if (token().is_operator("(")) {
      if (!parse_args(*e)) return nullptr;
    } else if (starts_test_argument()) {
      if (token().is_name("is")) return fail_expr("several tests in a row with 'is'");
      if (!add(*e, parse_postfix(parse_primary()))) return nullptr;
      e->passing.push_back(Passing::positional);
      e->keywords.push_back(kNoSymbol);
    }
    return negated ? unary(Op::not_, line, std::move(e)) : std::move(e);
  }

  // ---- statements ----

  // What a `for`, `set` or `with` assigns to: names, tuples of them and, in `set`, an attribute of a
  // namespace.
  ExprPtr parse_target(bool with_namespace) {
    if (with_namespace && token().type == TokenType::name && look().is_operator(".")) {
      ExprPtr e = make(Op::namespace_attribute, token().line);
      e->value = Value::integer(symbol(take().text));
      take();
      if (!expect_name("an attribute's name", e->symbol)) return nullptr;
      assigned.insert(e->symbol);
      return e;
    }
    ExprPtr e = parse_tuple(false, false, false);
    return e != nullptr && check_target(*e) ? std::move(e) : nullptr;
  }

  bool check_target(const Expr& e) {
    if (e.op == Op::name) return assigned.insert(e.symbol), true;
    if (e.op != Op::tuple) return fail("found an expression, expected a name to assign to", e.line);
    return std::all_of(e.args.begin(), e.args.end(),
                       [&](const ExprPtr& child) { return check_target(*child); });
  }

  bool is_end_tag(std::initializer_list<std::string_view> ends) const {
    return token().type == TokenType::name && std::find(ends.begin(), ends.end(), token().text) != ends.end();
  }

  // The statements from after a tag's "%}" to the name of the first tag in `ends`, which becomes the next
  // token.
  bool parse_body(std::initializer_list<std::string_view> ends, Body& body) {
    skip_operator(":");
    return expect_end_of_block() && parse_statements(ends, body);
  }
  // The same to the whole end tag.
  bool parse_whole_body(std::string_view end, Body& body) {
    if (!parse_body({end}, body)) return false;
    take();
    return true;
  }

  bool parse_statements(std::initializer_list<std::string_view> ends, Body& body) {
    const Nest nest(*this);
    if (nesting > kMaxNesting) return fail("nested too deeply");
    while (true) {
      const uint32_t line = token().line;
      Stmt s;
      s.line = line;
      switch (token().type) {
        case TokenType::data: s.text = std::move(take().text); break;
        case TokenType::variable_begin:
          take();
          s.tag = Tag::output;
          s.exprs.push_back(parse_tuple(true, false));
          if (s.exprs.back() == nullptr) return false;
          if (token().type != TokenType::variable_end) {
            return fail(text("found ", describe(token()), ", expected '}}'"));
          }
          take();
          break;
        case TokenType::block_begin:
          take();
          if (is_end_tag(ends)) return true;
          if (!parse_statement(s) || !expect_end_of_block()) return false;
          break;
        default:
          if (ends.size() == 0) return true;
          return fail(text("found the end of the template, expected {% ", *(ends.end() - 1), " %}"));
      }
      body.push_back(std::move(s));
    }
  }

  bool parse_statement(Stmt& s) {
    if (token().type != TokenType::name) return fail(text("found ", describe(token()), ", expected a tag"));
    const std::string tag = take().text;
    if (tag == "if") return parse_if(s);
    if (tag == "for") return parse_for(s);
    if (tag == "set") return parse_set(s);
    if (tag == "macro") return parse_macro(s);
    if (tag == "call") return parse_call_block(s);
    if (tag == "filter") return parse_filter_block(s);
    if (tag == "with") return parse_with(s);
    if (tag == "print") return parse_print(s);
    if (tag == "break" || tag == "continue") {
      if (loops == 0) return fail(text("{% ", tag, " %} outside of a loop"), s.line);
      s.tag = tag == "break" ? Tag::break_ : Tag::continue_;
      return true;
    }
    if (tag == "generation") {
      s.tag = Tag::scope;
      return parse_outside_loops("endgeneration", s.bodies.emplace_back());
    }
    if (std::find(std::begin(kRefusedTags), std::end(kRefusedTags), tag) != std::end(kRefusedTags)) {
      return fail(text("the tag '", tag, "' is not supported"), s.line);
    }
    return fail(text("unknown tag '", tag, "'"), s.line);
  }

  // A body that is a function of its own to jinja2: a break in it can't end a loop around it.
  bool parse_outside_loops(std::string_view end, Body& body) {
    const int outer = std::exchange(loops, 0);
    const bool ok = parse_whole_body(end, body);
    loops = outer;
    return ok;
  }

  bool parse_if(Stmt& s) {
    s.tag = Tag::if_;
    while (true) {
      s.exprs.push_back(parse_tuple(false, false));
      if (s.exprs.back() == nullptr) return false;
      if (!parse_body({"elif", "else", "endif"}, s.bodies.emplace_back())) return false;
      const std::string end = take().text;
      if (end == "elif") continue;
      return end == "endif" || parse_whole_body("endif", s.bodies.emplace_back());
    }
  }

  bool parse_for(Stmt& s) {
    s.tag = Tag::for_;
    s.target = parse_target(false);
    if (s.target == nullptr) return false;
    if (!skip_name("in")) return fail(text("found ", describe(token()), ", expected 'in'"));
    s.exprs.push_back(parse_tuple(false, false));
    if (s.exprs[0] == nullptr) return false;
    s.exprs.push_back(nullptr);
    if (skip_name("if")) {
      s.exprs[1] = parse_expression();
      if (s.exprs[1] == nullptr) return false;
    }
    if (token().is_name("recursive")) return fail("recursive loops are not supported");
    ++loops;
    const bool ok = parse_body({"else", "endfor"}, s.bodies.emplace_back());
    --loops;
    if (!ok) return false;
    return take().text == "endfor" || parse_whole_body("endfor", s.bodies.emplace_back());
  }

  bool parse_set(Stmt& s) {
    s.target = parse_target(true);
    if (s.target == nullptr) return false;
    if (skip_operator("=")) {
      s.tag = Tag::set;
      s.exprs.push_back(parse_tuple(true, false));
      return s.exprs[0] != nullptr;
    }
    s.tag = Tag::set_block;
    ExprPtr filter;
    while (skip_operator("|")) {
      filter = parse_filter(std::move(filter));
      if (filter == nullptr) return false;
    }
    s.exprs.push_back(std::move(filter));
    return parse_whole_body("endset", s.bodies.emplace_back());
  }

  bool parse_parameters(MacroNode& macro) {
    if (!expect_operator("(")) return false;
    while (!token().is_operator(")")) {
      if (!macro.parameters.empty() && !expect_operator(",")) return false;
      Symbol name = kNoSymbol;
      if (!expect_name("a parameter", name)) return false;
      assigned.insert(name);
      macro.parameters.push_back(name);
      if (skip_operator("=")) {
        macro.defaults.push_back(parse_expression());
        if (macro.defaults.back() == nullptr) return false;
      } else if (!macro.defaults.empty()) {
        return fail("a parameter without a default after one with a default");
      }
    }
    take();
    return true;
  }

  bool parse_macro_body(std::string_view end, MacroNode& macro) {
    macros.push_back(&macro);
    const bool ok = parse_outside_loops(end, macro.body);
    macros.pop_back();
    return ok;
  }

  bool parse_macro(Stmt& s) {
    s.tag = Tag::macro;
    s.macro = std::make_unique<MacroNode>();
    if (!expect_name("a macro's name", s.macro->name)) return false;
    assigned.insert(s.macro->name);
    return parse_parameters(*s.macro) && parse_macro_body("endmacro", *s.macro);
  }

  bool parse_call_block(Stmt& s) {
    s.tag = Tag::call_block;
    s.macro = std::make_unique<MacroNode>();
    s.macro->name = kCaller;
    if (token().is_operator("(") && !parse_parameters(*s.macro)) return false;
    s.exprs.push_back(parse_expression());
    if (s.exprs[0] == nullptr) return false;
    if (s.exprs[0]->op != Op::call) return fail("found no call in {% call %}", s.line);
    return parse_macro_body("endcall", *s.macro);
  }

  bool parse_filter_block(Stmt& s) {
    s.tag = Tag::filter_block;
    ExprPtr filter = parse_filter(nullptr);
    while (filter != nullptr && skip_operator("|")) filter = parse_filter(std::move(filter));
    if (filter == nullptr) return false;
    s.exprs.push_back(std::move(filter));
    return parse_whole_body("endfilter", s.bodies.emplace_back());
  }

  bool parse_with(Stmt& s) {
    s.tag = Tag::with;
    while (token().type != TokenType::block_end) {
      if (!s.exprs.empty() && !expect_operator(",")) return false;
      ExprPtr target = parse_primary();
      if (target == nullptr || !check_target(*target) || !expect_operator("=")) return false;
      s.exprs.push_back(std::move(target));
      s.exprs.push_back(parse_expression());
      if (s.exprs.back() == nullptr) return false;
    }
    return parse_whole_body("endwith", s.bodies.emplace_back());
  }

  bool parse_print(Stmt& s) {
    s.tag = Tag::output;
    while (token().type != TokenType::block_end) {
      if (!s.exprs.empty() && !expect_operator(",")) return false;
      s.exprs.push_back(parse_expression());
      if (s.exprs.back() == nullptr) return false;
    }
    return true;
  }

  // Calls of what no assignment and no builtin can have given a value.
  bool check_calls() {
    for (const CallSite& call : function_calls) {
      const std::string& name = out.symbols[call.symbol];
      if (call.symbol == kCaller || call.symbol == kLoop || assigned.contains(call.symbol)) continue;
      if (find_builtin(functions(), name) == nullptr) {
        return fail(text("unknown function '", name, "'"), call.line);
      }
    }
    for (const CallSite& call : method_calls) {
      const std::string& name = out.symbols[call.symbol];
      if (is_method_name(name) || is_mutator_name(name) || assigned.contains(call.symbol)) continue;
      return fail(text("unknown method '", name, "'"), call.line);
    }
    return true;
  }
};

}  // namespace

Symbol Template::find(std::string_view symbol_name) const {
  const auto it = std::find(symbols.begin(), symbols.end(), symbol_name);
  return it == symbols.end() ? Symbol{kNoSymbol} : static_cast<Symbol>(it - symbols.begin());
}

Result<Template> parse_template(std::string_view source) {
  if (source.size() > kMaxSource) {
    return Error{
        text("chat template: ", source.size(), " bytes long, at most ", kMaxSource, " are supported")};
  }
  Result<std::vector<Token>> tokens = tokenize(source);
  if (!tokens) return tokens.error();
  Parser p;
  p.tokens = std::move(*tokens);
  for (const std::string_view known : kKnownSymbols) p.symbol(std::string(known));
  if (!p.parse_statements({}, p.out.body) || !p.check_calls()) return error_at(p.error_line, p.error);
  return std::move(p.out);
}

}  // namespace forge::rt::jinja
