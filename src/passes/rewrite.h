// What the passes share: walking the three parts of a graph and finding who reads a value.
#pragma once

#include <algorithm>
#include <vector>

#include "ir/graph.h"

namespace forge {

// Calls f(nodes) for the prologue, the body and the epilogue.
template <class F>
void for_each_part(Graph& g, F f) {
  f(g.prologue);
  f(g.body);
  f(g.epilogue);
}

// How often a value is read: by nodes, by the repeat and as an output of the graph.
inline size_t count_uses(const Graph& g, ValueId v) {
  size_t n = (v == g.prologue_output) + (v == g.body_output) + (v == g.hidden) + (v == g.logits);
  for (const auto* part : {&g.prologue, &g.body, &g.epilogue})
    for (const Node& node : *part)
      n += static_cast<size_t>(std::count(node.inputs.begin(), node.inputs.end(), v));
  return n;
}

// The index in nodes of the only reader of v; nodes.size() when it has another number of readers or is read
// elsewhere.
inline size_t only_reader(const Graph& g, const std::vector<Node>& nodes, ValueId v) {
  if (count_uses(g, v) != 1) return nodes.size();
  for (size_t i = 0; i < nodes.size(); ++i)
    if (std::find(nodes[i].inputs.begin(), nodes[i].inputs.end(), v) != nodes[i].inputs.end()) return i;
  return nodes.size();
}

}  // namespace forge
