#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {
namespace {

bool is_linear_of_blocks(const Graph& g, const Node& n) {
  return n.op == Op::linear && std::ranges::all_of(n.segments, [&](const Segment& s) {
           return std::ranges::all_of(g.weights[s.weight].types,
                                      [](DType t) { return info(t).block_weights > 1; });
         });
}

bool has_bf16(const Graph& g, const std::vector<ValueId>& values) {
  return std::ranges::any_of(values, [&](ValueId v) { return g.values[v].element == ElementType::bf16; });
}

// The gated product that gives the value to one reader, where it multiplies bf16 itself: it finishes prompts' rows apart from
// the others, and does not write them as floats.
Node* gated_in_bf16(const Graph& g, std::vector<Node>& nodes, ValueId v) {
  if (count_uses(g, v) != 1) return nullptr;
  const auto n = std::ranges::find_if(nodes, [&](const Node& node) {
    return node.op == Op::linear && is_gated(node.epilogue) && node.outputs[0] == v &&
           has_bf16(g, node.inputs);
  });
  return n == nodes.end() ? nullptr : &*n;
}

// Whether all that read the value are such linears: then a prompt's rows need no q8.
bool can_be_bf16(const Graph& g, ValueId v) {
  if (g.values[v].element != ElementType::q8 || g.values[v].rows != RowSet::all) return false;
  for (const auto* part : {&g.prologue, &g.body, &g.epilogue})
    for (const Node& n : *part)
      if (std::ranges::find(n.inputs, v) != n.inputs.end() && !is_linear_of_blocks(g, n)) return false;
  return true;
}

}  // namespace

void bf16_prompts(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (Node& n : nodes) {
      if (n.op == Op::attention && n.inputs.size() == 1) n.attributes["prompts"] = std::string("bf16");
      if (has_bf16(graph, n.outputs) || (n.op == Op::quantize && n.has("rows"))) continue;
      const auto q8 = std::ranges::find_if(n.outputs, [&](ValueId v) { return can_be_bf16(graph, v); });
      if (q8 == n.outputs.end()) continue;
      const ValueId old = *q8;
      Value twin = graph.values[old];
      twin.name = twin.name.substr(0, twin.name.rfind("_q8")) + "_bf16";
      const ValueId bf16 = graph.add_value(twin.name, ElementType::bf16, twin.cols);
      if (Node* const source = n.op == Op::quantize ? gated_in_bf16(graph, nodes, n.inputs[0]) : nullptr) {
        source->outputs.push_back(bf16);
        n.attributes["rows"] = std::string("generated");
      } else {
        n.outputs.push_back(bf16);
      }
      for_each_part(graph, [&](std::vector<Node>& readers) {
        for (Node& reader : readers) {
          const auto at = std::ranges::find(reader.inputs, old);
          if (at != reader.inputs.end()) reader.inputs.insert(at + 1, bf16);
        }
      });
    }
  });
}

}  // namespace forge
