#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void quantize_kv(Graph& graph) {
  for_each_part(graph, [](std::vector<Node>& nodes) {
    for (Node& n : nodes)
      if (n.op == Op::rope_kv || (n.op == Op::attention && n.inputs.size() == 1))
        n.attributes["kv"] = std::string("q8_0");
  });
}

}  // namespace forge
