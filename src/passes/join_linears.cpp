#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void join_linears(Graph& graph) {
  for_each_part(graph, [](std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::linear || nodes[i].epilogue != Epilogue::none) continue;
      // Only linears without anything between them: joining must not move one over what it depends on.
      while (i + 1 < nodes.size() && nodes[i + 1].op == Op::linear &&
             nodes[i + 1].epilogue == Epilogue::none && nodes[i + 1].inputs == nodes[i].inputs) {
        const Node next = nodes[i + 1];
        nodes[i].segments.insert(nodes[i].segments.end(), next.segments.begin(), next.segments.end());
        nodes[i].outputs.insert(nodes[i].outputs.end(), next.outputs.begin(), next.outputs.end());
        nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(i) + 1);
      }
    }
  });
}

}  // namespace forge
