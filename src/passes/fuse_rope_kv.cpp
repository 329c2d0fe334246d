#include "passes/passes.h"
#include "passes/rewrite.h"

namespace forge {

namespace {

// Whether both turn their heads alike; only then one table of angles serves them.
bool same_rotation(const Node& q, const Node& k) {
  auto expected = q.attributes;
  expected["n_heads"] = k.attributes.at("n_heads");
  const auto factors = [](const Node& n) { return n.segments.empty() ? kNoWeight : n.segments[0].weight; };
  return k.attributes == expected && factors(q) == factors(k);
}

}  // namespace

void fuse_rope_kv(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::attention || nodes[i].inputs.size() != 3) continue;
      Node& attention = nodes[i];
      const auto producer = [&](ValueId v) {
        return static_cast<size_t>(
            std::find_if(nodes.begin(), nodes.end(),
                         [&](const Node& n) { return n.op == Op::rope && n.outputs[0] == v; }) -
            nodes.begin());
      };
      const size_t q = producer(attention.inputs[0]), k = producer(attention.inputs[1]);
      if (q == nodes.size() || k == nodes.size()) continue;
      if (count_uses(graph, attention.inputs[0]) != 1 || count_uses(graph, attention.inputs[1]) != 1)
        continue;
      if (!same_rotation(nodes[q], nodes[k])) continue;

      Node fused = nodes[q];
      fused.op = Op::rope_kv;
      fused.inputs = {nodes[q].inputs[0], nodes[k].inputs[0], attention.inputs[2]};
      fused.attributes["n_kv_heads"] = nodes[k].attributes["n_heads"];
      attention.inputs = {fused.outputs[0]};
      attention.attributes["kv"] = std::string("f16");
      // The fused node stands right before the attention, where all three inputs exist.
      nodes.insert(nodes.begin() + static_cast<ptrdiff_t>(i), std::move(fused));
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(std::max(q, k)));
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(std::min(q, k)));
    }
  });
}

}  // namespace forge
