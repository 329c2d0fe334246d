#include <map>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void quantize_activations(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    std::map<ValueId, ValueId> quantized;  // linears of one input share its q8 form
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::linear) continue;
      if (std::ranges::any_of(nodes[i].inputs,
                              [&](ValueId v) { return graph.values[v].element == ElementType::q8; }))
        continue;
      bool any_block = false, any_float = false;
      for (const Segment& s : nodes[i].segments)
        for (DType t : graph.weights[s.weight].types)
          (info(t).block_weights > 1 ? any_block : any_float) = true;
      if (!any_block) continue;
      const ValueId x = nodes[i].inputs[0];
      auto [it, fresh] = quantized.try_emplace(x, 0);
      if (fresh) {
        const Value v = graph.values[x];
        it->second = graph.add_value(v.name + "_q8", ElementType::q8, v.cols, v.rows);
        Node q;
        q.op = Op::quantize;
        q.inputs = {x};
        q.outputs = {it->second};
        nodes.insert(nodes.begin() + static_cast<ptrdiff_t>(i), std::move(q));
        ++i;
      }
      // Where types mix between floats and blocks, the linear gets both forms and each segment takes its own.
      if (any_float)
        nodes[i].inputs.insert(nodes[i].inputs.begin() + 1, it->second);
      else
        nodes[i].inputs[0] = it->second;
    }
  });
}

}  // namespace forge
