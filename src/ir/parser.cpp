// Reads the text form of a Graph: what printer.cpp writes, in any spacing within a line.
#include <cctype>
#include <charconv>
#include <unordered_map>

#include "core/error.h"
#include "ir/graph.h"

namespace forge {
namespace {

struct Parser {
  std::string_view rest;
  int line = 0;
  std::string_view text;  // of the current line, consumed from the front
  Graph g;
  std::unordered_map<std::string, ValueId> values;
  std::unordered_map<std::string, WeightId> weights;

  template <class... Args>
  [[noreturn]] void error(fmt::format_string<Args...> format, Args&&... args) const {
    fail("graph text, line {}: {}", line, fmt::format(format, std::forward<Args>(args)...));
  }

  bool next_line() {
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      text = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      ++line;
      skip_space();
      if (!text.empty()) return true;
    }
    return false;
  }
  void skip_space() {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\r'))
      text.remove_prefix(1);
  }
  bool accept(std::string_view token) {
    skip_space();
    if (!text.starts_with(token)) return false;
    text.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) error("expected '{}' before '{}'", token, text.substr(0, 20));
  }
  std::string word(std::string_view what) {
    skip_space();
    size_t n = 0;
    while (n < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[n])) || text[n] == '_' || text[n] == '.'))
      ++n;
    if (n == 0) error("expected {} before '{}'", what, text.substr(0, 20));
    std::string out(text.substr(0, n));
    text.remove_prefix(n);
    return out;
  }
  uint32_t count(std::string_view what) {
    skip_space();
    uint32_t v = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (ec != std::errc{}) error("expected {} before '{}'", what, text.substr(0, 20));
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return v;
  }

  Value type(std::string name) {
    Value v;
    v.name = std::move(name);
    const std::string element = word("a type");
    if (element == "i32")
      v.element = ElementType::i32;
    else if (element == "f32")
      v.element = ElementType::f32;
    else if (element == "q8")
      v.element = ElementType::q8;
    else if (element == "bf16")
      v.element = ElementType::bf16;
    else
      error("unknown element type '{}'", element);
    expect("[");
    if (accept("wanted")) {
      v.rows = RowSet::wanted;
      expect(",");
    }
    v.cols = count("a number of columns");
    expect("]");
    return v;
  }
  ValueId define() {
    expect("%");
    std::string name = word("a value's name");
    expect(":");
    const Value v = type(name);
    if (!values.emplace(name, static_cast<ValueId>(g.values.size())).second)
      error("%{} is defined twice", name);
    g.values.push_back(v);
    return static_cast<ValueId>(g.values.size() - 1);
  }
  ValueId use() {
    expect("%");
    const std::string name = word("a value's name");
    const auto it = values.find(name);
    if (it == values.end()) error("%{} is not defined", name);
    return it->second;
  }
  WeightId use_weight() {
    const std::string name = word("a weight's name");
    const auto it = weights.find(name);
    if (it == weights.end()) error("@{} is not declared", name);
    accept("[%l]");
    return it->second;
  }

  void dims() {
    expect("{");
    while (!accept("}")) {
      const std::string key = word("a dimension");
      expect("=");
      const uint32_t v = count("a number");
      if (key == "ctx_max")
        g.ctx_max = v;
      else if (key == "n_hidden")
        g.n_hidden = v;
      else if (key == "n_layers")
        g.n_layers = v;
      else if (key == "n_vocab")
        g.n_vocab = v;
      else
        error("unknown dimension '{}'", key);
    }
  }
  void weight() {
    Weight w;
    expect("@");
    w.name = word("a weight's name");
    w.per_layer = accept("[%l]");
    expect("[");
    w.rows = count("rows");
    expect(",");
    w.cols = count("columns");
    expect("]");
    expect("\"");
    const size_t quote = text.find('"');
    if (quote == std::string_view::npos) error("the tensor's name has no closing quote");
    w.tensor = text.substr(0, quote);
    text.remove_prefix(quote + 1);
    if (accept("from")) w.first = count("a row");
    expect(":");
    for (skip_space(); !text.empty(); skip_space()) {
      const std::string name = word("a type");
      const auto t = dtype_from_name(name);
      if (!t) error("unknown type '{}'", name);
      const uint32_t repeat = accept("*") ? count("a number of layers") : 1;
      if (repeat > 1u << 16) error("{} layers of one type", repeat);
      w.types.insert(w.types.end(), repeat, *t);
    }
    if (!weights.emplace(w.name, static_cast<WeightId>(g.weights.size())).second)
      error("@{} is declared twice", w.name);
    g.weights.push_back(std::move(w));
  }
  // A whole number, a real, or (neither) text.
  static Attribute scalar(const std::string& s) {
    int64_t i = 0;
    if (const auto r = std::from_chars(s.data(), s.data() + s.size(), i); r.ec == std::errc{} && *r.ptr == 0)
      return i;
    double d = 0;
    if (const auto r = std::from_chars(s.data(), s.data() + s.size(), d); r.ec == std::errc{} && *r.ptr == 0)
      return d;
    return s;
  }
  Attribute attribute_value() {
    skip_space();
    const std::string s(text.substr(0, text.find_first_of(" }")));
    text.remove_prefix(s.size());
    if (!s.starts_with('[')) return scalar(s);
    if (!s.ends_with(']')) error("a list has no closing bracket");
    std::vector<int64_t> integers;
    std::vector<double> numbers;
    for (size_t at = 1; at < s.size();) {
      const size_t end = std::min(s.find(',', at), s.size() - 1);
      const Attribute item = scalar(s.substr(at, end - at));
      if (const auto* i = std::get_if<int64_t>(&item)) integers.push_back(*i);
      if (const auto* d = std::get_if<double>(&item)) numbers.push_back(*d);
      if (std::holds_alternative<std::string>(item))
        error("'{}' in a list is no number", std::get<std::string>(item));
      at = end + 1;
    }
    if (!integers.empty() && !numbers.empty()) error("a list mixes whole numbers and reals");
    if (numbers.empty()) return integers;
    return numbers;
  }
  Node node() {
    Node n;
    do n.outputs.push_back(define());
    while (accept(","));
    expect("=");
    const std::string name = word("an operation");
    const auto op = op_from_name(name);
    if (!op) error("unknown operation '{}'", name);
    n.op = *op;
    expect("(");
    if (!accept(")")) {
      do n.inputs.push_back(use());
      while (accept(","));
      expect(")");
    }
    if (accept("@")) {
      do {
        Segment s;
        s.weight = use_weight();
        if (accept("+")) {
          expect("@");
          s.bias = use_weight();
        }
        n.segments.push_back(s);
      } while (accept(",") && accept("@"));
    }
    if (accept("then")) {
      const std::string e = word("an epilogue");
      const auto epilogue = epilogue_from_name(e);
      if (!epilogue || *epilogue == Epilogue::none) error("unknown epilogue '{}'", e);
      n.epilogue = *epilogue;
    }
    if (accept("{")) {
      while (!accept("}")) {
        std::string key = word("an attribute");
        expect("=");
        n.attributes.emplace(std::move(key), attribute_value());
      }
    }
    return n;
  }
  void end_of_line() {
    skip_space();
    if (!text.empty()) error("'{}' is left over", text);
  }

  Graph whole() {
    end_of_line();
    if (next_line()) error("'{}' follows the graph", text);
    return std::move(g);
  }

  Graph parse() {
    if (!next_line()) error("the text is empty");
    expect("graph");
    g.name = word("the graph's name");
    expect("{");
    std::vector<Node>* nodes = &g.prologue;
    for (end_of_line(); next_line(); end_of_line()) {
      if (accept("dims")) {
        dims();
      } else if (accept("weight")) {
        weight();
      } else if (accept("input")) {
        g.tokens = define();
      } else if (accept("repeat")) {
        if (const uint32_t n = count("a number of layers"); n != g.n_layers)
          error("repeats {} layers, but dims say {}", n, g.n_layers);
        expect("as");
        expect("%l");
        expect("(");
        g.body_input = define();
        expect("=");
        g.prologue_output = use();
        expect(")");
        expect("{");
        nodes = &g.body;
      } else if (accept("output")) {
        expect("hidden=");
        g.hidden = use();
        expect("logits=");
        g.logits = use();
      } else if (accept("}")) {
        if (!accept("yields")) return whole();
        g.body_output = use();
        nodes = &g.epilogue;
      } else {
        nodes->push_back(node());
      }
    }
    error("the closing '}}' is missing");
  }
};

}  // namespace

Graph parse_graph(std::string_view text) {
  Parser p;
  p.rest = text;
  return p.parse();
}

}  // namespace forge
