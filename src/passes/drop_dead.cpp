#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void drop_dead(Graph& graph) {
  bool changed = true;
  while (changed) {
    changed = false;
    for_each_part(graph, [&](std::vector<Node>& nodes) {
      std::erase_if(nodes, [&](const Node& n) {
        if (n.op == Op::rope_kv || (n.op == Op::attention && n.inputs.size() == 3))
          return false;  // writes the cache
        const bool dead = std::all_of(n.outputs.begin(), n.outputs.end(),
                                      [&](ValueId v) { return count_uses(graph, v) == 0; });
        changed |= dead;
        return dead;
      });
    });
  }
}

}  // namespace forge
