#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {
namespace {

void fuse_gelu(Graph& graph, std::vector<Node>& nodes, Node& linear) {
  const size_t gelu = only_reader(graph, nodes, linear.outputs[0]);
  if (gelu == nodes.size() || nodes[gelu].op != Op::gelu) return;
  linear.epilogue = Epilogue::gelu;
  linear.outputs = nodes[gelu].outputs;
  nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(gelu));
}

void fuse_gate(Graph& graph, std::vector<Node>& nodes, Node& linear) {
  // The kernel of the gated product adds no bias.
  if (std::ranges::any_of(linear.segments, [](const Segment& s) { return s.bias != kNoWeight; })) return;
  const ValueId gate = linear.outputs[0], up = linear.outputs[1];
  const size_t act = only_reader(graph, nodes, gate);
  if (act == nodes.size() || (nodes[act].op != Op::silu && nodes[act].op != Op::gelu)) return;
  const size_t mul = only_reader(graph, nodes, nodes[act].outputs[0]);
  if (mul == nodes.size() || nodes[mul].op != Op::mul || only_reader(graph, nodes, up) != mul) return;
  linear.epilogue = nodes[act].op == Op::silu ? Epilogue::silu_mul : Epilogue::gelu_mul;
  linear.outputs = nodes[mul].outputs;
  nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(std::max(act, mul)));
  nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(std::min(act, mul)));
}

}  // namespace

void fuse_activation(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::linear || nodes[i].epilogue != Epilogue::none) continue;
      if (nodes[i].outputs.size() == 1) fuse_gelu(graph, nodes, nodes[i]);
      if (nodes[i].outputs.size() == 2) fuse_gate(graph, nodes, nodes[i]);
    }
  });
}

}  // namespace forge
