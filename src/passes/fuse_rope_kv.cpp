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

// The rope that gives v, null when something else does.
const Node* rotation_of(const std::vector<Node>& nodes, ValueId v) {
  const auto it =
      std::ranges::find_if(nodes, [&](const Node& n) { return n.op == Op::rope && n.outputs[0] == v; });
  return it == nodes.end() ? nullptr : &*it;
}

// What becomes of attention(q, k, v): the node that stands right before it, where all three exist.
std::optional<Node> rope_kv_for(Graph& graph, const std::vector<Node>& nodes, const Node& attention) {
  const Node* q = rotation_of(nodes, attention.inputs[0]);
  const Node* k = rotation_of(nodes, attention.inputs[1]);
  if ((q == nullptr) != (k == nullptr)) return std::nullopt;
  Node out;
  if (q != nullptr) {
    if (!same_rotation(*q, *k)) return std::nullopt;
    if (count_uses(graph, attention.inputs[0]) != 1 || count_uses(graph, attention.inputs[1]) != 1)
      return std::nullopt;
    out = *q;
    out.inputs = {q->inputs[0], k->inputs[0], attention.inputs[2]};
  } else {  // nothing is rotated, the cache is written
    const Value query = graph.values[attention.inputs[0]];
    out.inputs = attention.inputs;
    out.outputs = {graph.add_value(query.name + "_kv", query.element, query.cols, query.rows)};
    for (const char* name : {"n_heads", "head_dim"}) out.attributes[name] = attention.attributes.at(name);
    out.attributes.insert(
        {{"n_rot", int64_t{0}}, {"style", std::string("norm")}, {"base", 1.0}, {"scale", 1.0}});
  }
  out.op = Op::rope_kv;
  out.attributes["n_kv_heads"] = attention.attributes.at("n_kv_heads");
  return out;
}

}  // namespace

void fuse_rope_kv(Graph& graph) {
  for_each_part(graph, [&](std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::attention || nodes[i].inputs.size() != 3) continue;
      const std::vector<ValueId> rotated = {nodes[i].inputs[0], nodes[i].inputs[1]};
      auto fused = rope_kv_for(graph, nodes, nodes[i]);
      if (!fused) continue;
      nodes[i].inputs = fused->outputs;
      nodes[i].attributes["kv"] = fused->attributes["kv"] = std::string("f16");
      nodes.insert(nodes.begin() + static_cast<ptrdiff_t>(i), std::move(*fused));
      std::erase_if(nodes, [&](const Node& n) {
        return n.op == Op::rope && std::ranges::find(rotated, n.outputs[0]) != rotated.end();
      });
    }
  });
}

}  // namespace forge
