// The weights section: in the order in which a step reads it.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <span>

#include "plan/plan.h"

namespace forge {
namespace {

constexpr uint64_t kTensorAlignment = 256;

// Whether a weight is multiplied or looked up row by row; gains, biases and rope factors are vectors.
bool is_matrix(const Graph& g, WeightId id) {
  for (const auto* part : {&g.prologue, &g.body, &g.epilogue})
    for (const Node& n : *part)
      if (n.op == Op::linear || n.op == Op::embed)
        for (const Segment& s : n.segments)
          if (s.weight == id) return true;
  return false;
}

struct Placer {
  const Graph& g;
  Plan& plan;
  uint64_t offset = 0;

  void place(WeightId id, uint32_t layer) {
    const Weight& w = g.weights[id];
    PlacedWeight p;
    p.weight = id;
    p.layer = layer;
    p.type = w.type(layer);
    p.layout = is_matrix(g, id) ? Layout::tiles16 : Layout::row;
    p.offset = offset;
    p.bytes = packed_bytes(p.type, p.layout, w.rows, w.cols);
    offset = (offset + p.bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
    plan.weights.push_back(p);
  }
};

// Weights in the order of their first use by the nodes.
std::vector<WeightId> in_order_of_use(const std::vector<Node>& nodes) {
  std::vector<WeightId> out;
  const auto add = [&](WeightId id) {
    if (id != kNoWeight && std::find(out.begin(), out.end(), id) == out.end()) out.push_back(id);
  };
  for (const Node& n : nodes)
    for (const Segment& s : n.segments) {
      add(s.weight);
      add(s.bias);
    }
  return out;
}

// What the layer's attributes are, where they differ between layers.
std::string attributes_of(const Graph& g, uint32_t layer) {
  std::string out;
  for (const Node& n : g.body)
    for (const auto& [name, value] : n.attributes) {
      if (const auto* list = std::get_if<std::vector<int64_t>>(&value))
        out += fmt::format("{} ", (*list)[layer]);
      if (const auto* list = std::get_if<std::vector<double>>(&value))
        out += fmt::format("{} ", (*list)[layer]);
    }
  return out;
}

}  // namespace

void place_weights(const Graph& graph, Plan& plan) {
  Placer placer{graph, plan};
  std::vector<bool> done(graph.weights.size(), false);
  const auto place_shared = [&](const std::vector<WeightId>& ids) {
    for (WeightId id : ids) {
      if (graph.weights[id].per_layer || done[id]) continue;
      placer.place(id, 0);
      done[id] = true;
    }
  };
  const std::vector<WeightId> body = in_order_of_use(graph.body);
  place_shared(in_order_of_use(graph.prologue));
  place_shared(body);
  std::map<std::pair<std::vector<DType>, std::string>, uint32_t> known;
  for (uint32_t l = 0; l < graph.n_layers; ++l) {
    std::vector<DType> types;
    Signature signature;
    const uint64_t base = placer.offset;
    for (WeightId id : body) {
      if (!graph.weights[id].per_layer) continue;
      types.push_back(graph.weights[id].type(l));
      signature.offsets.emplace_back(id, placer.offset - base);
      placer.place(id, l);
    }
    const auto [it, fresh] =
        known.try_emplace({types, attributes_of(graph, l)}, static_cast<uint32_t>(plan.signatures.size()));
    if (fresh) plan.signatures.push_back(std::move(signature));
    plan.layers.push_back({.signature = it->second, .base = base});
  }
  place_shared(in_order_of_use(graph.epilogue));
  const size_t n_used = plan.weights.size();
  // What no node reads is kept for export-weights: the rope factors of the other context length.
  std::vector<WeightId> all(graph.weights.size());
  std::iota(all.begin(), all.end(), 0);
  place_shared(all);
  plan.weights_bytes = placer.offset;

  // Decoding a token reads everything but the embedding tables, of which it reads one row; a tied table is the
  // head.
  plan.weight_bytes_per_token = 0;
  const std::vector<WeightId> head = in_order_of_use(graph.epilogue);
  for (const PlacedWeight& w : std::span(plan.weights).first(n_used)) {
    const bool table = std::ranges::any_of(
        graph.prologue, [&](const Node& n) { return n.op == Op::embed && n.segments[0].weight == w.weight; });
    const bool tied = std::find(head.begin(), head.end(), w.weight) != head.end();
    plan.weight_bytes_per_token += table && !tied ? row_bytes(w.type, graph.weights[w.weight].cols) : w.bytes;
  }
}

}  // namespace forge
