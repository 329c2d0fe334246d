#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void fuse_gate(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::linear || nodes[i].outputs.size() != 2 || nodes[i].epilogue != Epilogue::none)
        continue;
      // The kernel of the gated product adds no bias.
      if (std::ranges::any_of(nodes[i].segments, [](const Segment& s) { return s.bias != kNoWeight; }))
        continue;
      const ValueId gate = nodes[i].outputs[0], up = nodes[i].outputs[1];
      const size_t silu = only_reader(graph, nodes, gate);
      if (silu == nodes.size() || nodes[silu].op != Op::silu) continue;
      const size_t mul = only_reader(graph, nodes, nodes[silu].outputs[0]);
      if (mul == nodes.size() || nodes[mul].op != Op::mul || only_reader(graph, nodes, up) != mul) continue;
      nodes[i].epilogue = Epilogue::silu_mul;
      nodes[i].outputs = nodes[mul].outputs;
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(std::max(silu, mul)));
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(std::min(silu, mul)));
    }
  });
}

}  // namespace forge
