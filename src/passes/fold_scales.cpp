#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

void fold_scales(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      const bool is_embed = nodes[i].op == Op::embed;
      if (!is_embed &&
          (nodes[i].op != Op::linear || nodes[i].segments.size() != 1 || nodes[i].epilogue != Epilogue::none))
        continue;
      for (;;) {
        const size_t next = only_reader(graph, nodes, nodes[i].outputs[0]);
        if (next == nodes.size()) break;
        // A linear applies its scale first and its cap then.
        const bool capped = nodes[i].has("softcap");
        if (nodes[next].op == Op::scale && !nodes[i].has("scale") && !capped)
          nodes[i].attributes["scale"] = nodes[next].number("by");
        else if (nodes[next].op == Op::softcap && !is_embed && !capped)
          nodes[i].attributes["softcap"] = nodes[next].number("cap");
        else
          break;
        nodes[i].outputs = nodes[next].outputs;
        nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(next));
      }
    }
  });
}

}  // namespace forge
