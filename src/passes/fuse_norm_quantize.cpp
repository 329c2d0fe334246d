#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void fuse_norm_quantize(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (size_t i = 0; i + 1 < nodes.size(); ++i) {
      Node& norm = nodes[i];
      const Node& q = nodes[i + 1];
      if ((norm.op != Op::rms_norm && norm.op != Op::layer_norm) || norm.outputs.size() != 1 ||
          norm.has("n_heads") || q.op != Op::quantize)
        continue;
      if (q.inputs[0] != norm.outputs[0]) continue;
      const ValueId result = q.outputs[0];
      if (count_uses(graph, norm.outputs[0]) == 1)
        norm.outputs = {result};
      else
        norm.outputs.push_back(result);
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(i) + 1);
    }
  });
}

}  // namespace forge
