// The text form of a Graph.
#include <fmt/format.h>

#include <iterator>

#include "ir/graph.h"

namespace forge {
namespace {

std::string type_text(const Value& v) {
  static constexpr std::string_view kElement[] = {"i32", "f32", "q8", "bf16"};
  return fmt::format("{}[{}{}]", kElement[static_cast<size_t>(v.element)],
                     v.rows == RowSet::wanted ? "wanted, " : "", v.cols);
}

std::string number_text(int64_t i) { return std::to_string(i); }
// A real is told from an integer by its point or exponent, also where it is whole.
std::string number_text(double x) {
  std::string text = fmt::format("{}", x);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

struct AttributeText {
  std::string operator()(const std::string& s) const { return s; }
  template <class T>
  std::string operator()(const std::vector<T>& list) const {
    std::string out = "[";
    for (const T& x : list) out += (out.size() > 1 ? "," : "") + number_text(x);
    return out + "]";
  }
  template <class T>
  std::string operator()(const T& x) const {
    return number_text(x);
  }
};

// "q4_k*3 q6_k q4_k*2": types of the layers, runs folded.
std::string types_text(const Weight& w) {
  std::string out;
  for (size_t i = 0; i < w.types.size();) {
    size_t j = i;
    while (j < w.types.size() && w.types[j] == w.types[i]) ++j;
    if (!out.empty()) out += ' ';
    out += info(w.types[i]).name;
    if (j - i > 1) out += fmt::format("*{}", j - i);
    i = j;
  }
  return out;
}

std::string weight_ref(const Graph& g, WeightId id) {
  return fmt::format("@{}{}", g.weights[id].name, g.weights[id].per_layer ? "[%l]" : "");
}

void print_node(const Graph& g, const Node& n, std::string_view indent, std::string& out) {
  auto to = std::back_inserter(out);
  out += indent;
  for (size_t i = 0; i < n.outputs.size(); ++i) {
    const Value& v = g.values[n.outputs[i]];
    fmt::format_to(to, "{}%{}: {}", i ? ", " : "", v.name, type_text(v));
  }
  fmt::format_to(to, " = {}(", op_name(n.op));
  for (size_t i = 0; i < n.inputs.size(); ++i)
    fmt::format_to(to, "{}%{}", i ? ", " : "", g.values[n.inputs[i]].name);
  out += ')';
  for (size_t i = 0; i < n.segments.size(); ++i) {
    fmt::format_to(to, "{}{}", i ? ", " : " ", weight_ref(g, n.segments[i].weight));
    if (n.segments[i].bias != kNoWeight) fmt::format_to(to, " + {}", weight_ref(g, n.segments[i].bias));
  }
  if (n.epilogue != Epilogue::none) fmt::format_to(to, " then {}", epilogue_name(n.epilogue));
  if (!n.attributes.empty()) {
    out += " {";
    const char* separator = "";
    for (const auto& [key, value] : n.attributes) {
      fmt::format_to(to, "{}{}={}", separator, key, std::visit(AttributeText{}, value));
      separator = " ";
    }
    out += '}';
  }
  out += '\n';
}

}  // namespace

std::string print(const Graph& g) {
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "graph {} {{\n", g.name);
  fmt::format_to(to, "  dims {{ctx_max={} n_hidden={} n_layers={} n_vocab={}}}\n", g.ctx_max, g.n_hidden,
                 g.n_layers, g.n_vocab);
  for (const Weight& w : g.weights) {
    fmt::format_to(to, "  weight @{}{} [{}, {}] \"{}\"{} : {}\n", w.name, w.per_layer ? "[%l]" : "", w.rows,
                   w.cols, w.tensor, w.first == 0 ? "" : fmt::format(" from {}", w.first), types_text(w));
  }
  fmt::format_to(to, "  input %{}: {}\n", g.values[g.tokens].name, type_text(g.values[g.tokens]));
  for (const Node& n : g.prologue) print_node(g, n, "  ", out);
  fmt::format_to(to, "  repeat {} as %l (%{}: {} = %{}) {{\n", g.n_layers, g.values[g.body_input].name,
                 type_text(g.values[g.body_input]), g.values[g.prologue_output].name);
  for (const Node& n : g.body) print_node(g, n, "    ", out);
  fmt::format_to(to, "  }} yields %{}\n", g.values[g.body_output].name);
  for (const Node& n : g.epilogue) print_node(g, n, "  ", out);
  fmt::format_to(to, "  output hidden=%{} logits=%{}\n}}\n", g.values[g.hidden].name,
                 g.values[g.logits].name);
  return out;
}

}  // namespace forge
