#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void fuse_residual(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::linear || nodes[i].segments.size() != 1 || nodes[i].epilogue != Epilogue::none)
        continue;
      const ValueId sum = nodes[i].outputs[0];
      const size_t add = only_reader(graph, nodes, sum);
      // The addend must exist where the linear stands: with the add right behind it, it does.
      if (add == nodes.size() || add != i + 1 || nodes[add].op != Op::add) continue;
      const ValueId addend = nodes[add].inputs[nodes[add].inputs[0] == sum ? 1 : 0];
      nodes[i].epilogue = Epilogue::add;
      nodes[i].inputs.push_back(addend);
      nodes[i].outputs = nodes[add].outputs;
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(add));
    }
  });
}

}  // namespace forge
