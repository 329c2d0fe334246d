// Graph to Plan for the CPU: one stage a node.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "ir/rope.h"
#include "plan/plan.h"
#include "runtime/core/step.h"

namespace forge {
namespace {

bool has_bf16(const Graph& g) {
  return std::ranges::any_of(g.values, [](const Value& v) { return v.element == ElementType::bf16; });
}

uint64_t layer_weights(const Graph& g) {
  uint64_t n = 0;
  for (const Node& node : g.body)
    if (node.op == Op::linear)
      for (const Segment& s : node.segments)
        n += uint64_t{g.weights[s.weight].rows} * g.weights[s.weight].cols;
  return n;
}

// Rows of one step. More rows amortise the reading of weights further; at 256 that is done, and activations
// of the widest models still fit the cache. bf16 panels cost more to make: twice as many where their activations stay below
// what a program may hold beside weights and KV, 30 MB.
uint32_t batch_rows(const Graph& g) {
  constexpr uint32_t kWide = 6144;
  const bool is_wide =
      std::ranges::any_of(g.values, [](const Value& v) { return v.rows == RowSet::all && v.cols > kWide; });
  return has_bf16(g) && !is_wide ? 512 : 256;
}
// Weights of a layer up to which the workers share out a prompt's rows. In layers of more they spend so long on a stage that
// waiting for each other behind it costs less than making bf16 tiles of all weights twice.
constexpr uint64_t kNarrowLayer = 6'000'000;
// Up to here every worker norms and quantizes all rows for itself, which is cheaper than waiting for each
// other.
constexpr uint32_t kDecodeRows = 4;
// Rows of one step whose logits can be asked for.
constexpr uint32_t kOutRows = 16;

uint32_t pad16(uint32_t n) { return (n + 15) / 16 * 16; }

uint64_t row_bytes(ElementType element, uint32_t cols) {
  switch (element) {
    case ElementType::i32: return 4;
    case ElementType::f32: return uint64_t{pad16(cols)} * 4;
    // q, d, dsum, nsum, nhalf of codegen/cpu/kernels/quantize.h, padded to its alignment
    case ElementType::q8: return (uint64_t{cols} + cols / 32 * 20 + 63) / 64 * 64;
    case ElementType::bf16: return uint64_t{cols} * 2;
  }
  return 0;
}

// Few rows are generated ones: a prompt's run the batch phase, however few they are.
Graph without_prompts(Graph g) {
  const auto drop = [&](std::vector<ValueId>& values) {
    std::erase_if(values, [&](ValueId v) { return g.values[v].element == ElementType::bf16; });
  };
  for (auto* part : {&g.prologue, &g.body, &g.epilogue})
    for (Node& n : *part) {
      drop(n.inputs);
      drop(n.outputs);
      if (n.op == Op::quantize) n.attributes.erase("rows");
    }
  return g;
}

// The prompt phase has no generated rows: what a prompt's have in bf16 nobody reads in q8.
Graph without_generated(Graph g) {
  std::vector<bool> is_dropped(g.values.size());
  for (auto* part : {&g.prologue, &g.body, &g.epilogue})
    for (const Node& n : *part) {
      const bool has_twins =
          std::ranges::any_of(n.outputs, [&](ValueId v) { return g.values[v].element == ElementType::bf16; });
      for (const ValueId v : n.outputs)
        is_dropped[v] = g.values[v].element == ElementType::q8 && (has_twins || n.has("rows"));
    }
  for (auto* part : {&g.prologue, &g.body, &g.epilogue}) {
    for (Node& n : *part)
      for (auto* values : {&n.inputs, &n.outputs})
        std::erase_if(*values, [&](ValueId v) { return is_dropped[v]; });
    std::erase_if(*part, [](const Node& n) { return n.outputs.empty(); });
  }
  return g;
}

struct Lowering {
  const Graph& g;
  Phase p;
  bool few;  // the decode phase

  uint32_t add_buffer(std::string name, ElementType element, uint32_t cols, RowSet rows, bool own) {
    Buffer b;
    b.name = std::move(name);
    b.element = element;
    b.cols = cols;
    b.max_rows = rows == RowSet::wanted ? std::min(kOutRows, p.max_rows) : p.max_rows;
    b.row_bytes = row_bytes(element, cols);
    b.own = own;
    p.buffers.push_back(std::move(b));
    return static_cast<uint32_t>(p.buffers.size() - 1);
  }

  uint32_t buffer_of(ValueId v) const {
    if (p.value_buffer[v] == kNoBuffer) fail("plan: %{} has no memory", g.values[v].name);
    return p.value_buffer[v];
  }

  void access(Stage& s, ValueId v, bool write, Access::Part part, uint32_t n = 0) {
    if (v == g.logits || v == g.tokens) return;  // the caller's memory: written by one stage, read by none
    s.accesses.push_back({buffer_of(v), write, part, n});
  }

  // What stands in front of attention in a deep step.
  Stage lower_scores(const Node& n) {
    if (p.scores == kNoBuffer)
      p.scores =
          add_buffer("head_scores", ElementType::f32,
                     static_cast<uint32_t>(n.integer("n_heads")) *
                         ((g.ctx_max + rt::kPagePositions - 1) / rt::kPagePositions * rt::kPagePositions),
                     RowSet::all, false);
    Stage s;
    s.kernel = Kernel::attention_scores;
    s.node = n;
    s.division = Division::pages;
    s.only_deep = true;
    access(s, n.inputs[0], false, Access::Part::all);
    s.accesses.push_back({p.kv_cache, false, Access::Part::all, 0});
    s.accesses.push_back({p.scores, true, Access::Part::all, 0});
    return s;
  }

  // The stage of a node, behind attention's scores; makes the buffers of its outputs.
  void lower_into(std::vector<Stage>& stages, const Node& n) {
    const bool scored = n.op == Op::attention && few;
    if (scored) stages.push_back(lower_scores(n));
    stages.push_back(lower(n));
    if (scored) stages.back().accesses.push_back({p.scores, false, Access::Part::all, 0});
  }

  // The stage of a node; makes the buffers of its outputs.
  Stage lower(const Node& n) {
    Stage s;
    s.node = n;
    s.rows = g.values[n.outputs[0]].rows;
    const bool shared = p.shares_rows && s.rows == RowSet::all;
    const auto divided = [&](Division decode, Division batch) {
      return few ? decode : shared ? Division::shares : batch;
    };
    const Division row_wise = divided(Division::every_worker, Division::rows);
    switch (n.op) {
      case Op::embed:
        s.kernel = Kernel::embed;
        s.division = shared ? Division::shares : Division::rows;
        break;
      case Op::rms_norm:
      case Op::layer_norm:
        s.kernel = n.has("n_heads") ? Kernel::head_norm : Kernel::norm;
        s.division = n.has("n_heads") && few ? Division::heads : row_wise;
        break;
      case Op::quantize:
        s.kernel = Kernel::quantize;
        s.division = row_wise;
        break;
      case Op::select_rows:
        s.kernel = Kernel::select_rows;
        s.division = row_wise;
        break;
      case Op::linear:
        s.kernel = Kernel::linear;
        s.division = divided(Division::groups, Division::dealt_groups);
        break;
      case Op::silu:
      case Op::gelu:
      case Op::scale:
      case Op::softcap:
      case Op::mul:
      case Op::add:
        s.kernel = Kernel::elementwise;
        s.division = row_wise;
        break;
      case Op::rope_kv:
        s.kernel = Kernel::rope_kv;
        // Norms of heads are by rows: nobody has to wait between the two.
        s.division = divided(Division::heads, has_head_norms() ? Division::rows : Division::row_tiles);
        break;
      case Op::attention:
        s.kernel = Kernel::attention;
        s.division = divided(Division::heads_or_dims, Division::blocks);
        break;
      case Op::rope: fail("plan: rope apart from the cache has no CPU kernel");
    }
    // The carried value is written by the groups of a linear at the end of the layer, so it is never a worker's own.
    for (ValueId v : n.outputs)
      if (s.division == Division::every_worker && (v == g.prologue_output || v == g.body_output))
        s.division = Division::rows;
    const bool own = s.division == Division::every_worker;
    for (ValueId v : n.outputs) {
      if (p.value_buffer[v] != kNoBuffer || v == g.logits) continue;
      const Value& value = g.values[v];
      p.value_buffer[v] = add_buffer(value.name, value.element, value.cols, value.rows, own);
    }
    add_accesses(s);
    return s;
  }

  bool has_head_norms() const {
    return std::ranges::any_of(g.body, [](const Node& n) {
      return (n.op == Op::rms_norm || n.op == Op::layer_norm) && n.has("n_heads");
    });
  }

  // The part of its queries that a worker has, where it has no part of the outputs.
  static Access::Part part_of_queries(const Stage& s) {
    switch (s.division) {
      case Division::heads:
      case Division::heads_or_dims: return Access::Part::heads;
      case Division::rows:
      case Division::shares: return Access::Part::rows;
      default: return Access::Part::all;
    }
  }

  void add_accesses(Stage& s) {
    using Part = Access::Part;
    const Node& n = s.node;
    switch (s.kernel) {
      case Kernel::linear: {
        const bool adds = n.epilogue == Epilogue::add;
        if (s.division == Division::shares) {
          for (const ValueId v : n.inputs) access(s, v, false, Part::rows);
          for (const ValueId v : n.outputs) access(s, v, true, Part::rows);
          break;
        }
        const Part part = few ? Part::groups : Part::all;
        for (size_t i = 0; i < n.inputs.size(); ++i) {
          const bool addend = adds && i + 1 == n.inputs.size();
          access(s, n.inputs[i], false, addend ? part : Part::all, addend ? groups(n.outputs[0]) : 0);
        }
        for (ValueId v : n.outputs) access(s, v, true, part, groups(v));
        break;
      }
      case Kernel::rope_kv: {
        const Part part = part_of_queries(s);
        for (ValueId v : n.inputs) access(s, v, false, part);
        access(s, n.outputs[0], true, part);
        if (p.rope_table != kNoBuffer) s.accesses.push_back({p.rope_table, false, part, 0});
        s.accesses.push_back({p.kv_cache, true, part, 0});
        break;
      }
      case Kernel::attention: {
        const Part part = part_of_queries(s);
        if (n.inputs.size() != 1) fail("plan: attention needs its keys and values in the cache (rope_kv)");
        access(s, n.inputs[0], false, part);
        s.accesses.push_back({p.kv_cache, false, few ? part : Part::all, 0});
        access(s, n.outputs[0], true, part);
        for (Access& a : s.accesses) a.all_deep = few;
        break;
      }
      case Kernel::head_norm: {
        const Part part = few ? Part::heads : Part::rows;
        access(s, n.inputs[0], false, part);
        access(s, n.outputs[0], true, part);
        break;
      }
      default:
        for (ValueId v : n.inputs)
          access(s, v, false,
                 (s.division == Division::rows || s.division == Division::shares) && n.op != Op::select_rows
                     ? Part::rows
                     : Part::all);
        for (ValueId v : n.outputs) access(s, v, true, Part::rows);
    }
  }

  uint32_t groups(ValueId v) const { return pad16(g.values[v].cols) / 16; }

  Phase run(uint32_t rope_row) {
    p.value_buffer.assign(g.values.size(), kNoBuffer);
    if (rope_row != 0) {
      p.rope_table = add_buffer("rope_table", ElementType::f32, rope_row, RowSet::all, few);
      p.buffers.back().row_bytes = uint64_t{rope_row} * 4;
      Stage angles;
      angles.kernel = Kernel::rope_angles;
      angles.division = few ? Division::every_worker : p.shares_rows ? Division::shares : Division::rows;
      angles.accesses = {{p.rope_table, true, Access::Part::rows, 0}};
      p.prologue.push_back(std::move(angles));
    }
    p.kv_cache =
        add_buffer("kv_cache", ElementType::f32, 0, RowSet::all, false);  // stands for the pool: no bytes

    for (const Node& n : g.prologue) p.prologue.push_back(lower(n));

    // The carried value keeps one buffer: a layer's output overwrites its input, which must have been read by
    // then.
    p.value_buffer[g.body_input] = p.value_buffer[g.body_output] = buffer_of(g.prologue_output);
    for (const Node& n : g.body) lower_into(p.body, n);
    check_carried();
    if (!few) leave_unwanted_rows();
    for (const Node& n : g.epilogue) p.epilogue.push_back(lower(n));

    Stage hidden;
    hidden.kernel = Kernel::output_hidden;
    hidden.division = few ? Division::every_worker : Division::rows;
    hidden.rows = RowSet::wanted;
    hidden.accesses = {{buffer_of(g.hidden), false, few ? Access::Part::all : Access::Part::rows, 0}};
    // Before the head, so that asking for the hidden state alone costs nothing more.
    p.epilogue.insert(p.epilogue.end() - 1, std::move(hidden));

    assign_arena(p);
    derive_barriers(p);
    return std::move(p);
  }

  // What is read behind the cache's stage and written in front of it.
  void leave_unwanted_rows() {
    const auto fills_cache = std::ranges::find(p.body, Kernel::rope_kv, &Stage::kernel);
    p.wanted_from = static_cast<uint32_t>(fills_cache - p.body.begin()) + 1;
    std::vector<bool> is_known(p.buffers.size());
    is_known[p.kv_cache] = true;
    for (size_t i = p.wanted_from; i < p.body.size(); ++i)
      for (const bool write : {false, true})
        for (const Access& a : p.body[i].accesses) {
          if (a.write != write || is_known[a.buffer]) continue;
          is_known[a.buffer] = true;
          if (!write) p.moved_buffers.push_back(a.buffer);
        }
  }

  void check_carried() const {
    bool written = false;
    for (const Node& n : g.body) {
      for (ValueId v : n.inputs)
        if (written && v == g.body_input)
          fail("plan: %{} is read after the layer's output is written", g.values[v].name);
      for (ValueId v : n.outputs) written |= v == g.body_output;
    }
  }
};

// The rotations that the layers need, each once.
void plan_ropes(const Graph& g, const std::vector<float>& factors, Plan& plan) {
  const auto node = std::ranges::find_if(g.body, [](const Node& n) { return n.op == Op::rope_kv; });
  if (node == g.body.end()) fail("plan: the layer has no rope_kv");
  for (uint32_t l = 0; l < g.n_layers; ++l) {
    const auto n_rot = static_cast<uint32_t>(node->integer("n_rot", l));
    if (n_rot == 0) continue;
    const Rope rope{rope_frequencies(*node, l, node->segments.empty() ? std::vector<float>{} : factors),
                    rope_magnitude(*node, l), plan.rope_row};
    const auto known = std::ranges::find(plan.ropes, rope);
    plan.layers[l].rope = static_cast<uint32_t>(known - plan.ropes.begin());
    if (known != plan.ropes.end()) continue;
    plan.ropes.push_back(rope);
    plan.rope_row += n_rot;
  }
}

uint64_t kv_layer_bytes(const Graph& g) {
  for (const Node& n : g.body) {
    if (n.op != Op::attention) continue;
    const uint64_t heads = static_cast<uint64_t>(n.integer("n_kv_heads"));
    const uint32_t dim = static_cast<uint32_t>(n.integer("head_dim"));
    const uint64_t elements = dim + pad16(dim);  // keys, values
    if (n.string("kv") == "f16") return heads * rt::kPagePositions * elements * 2;
    const uint64_t blocks = (dim + 31) / 32;  // q8_0: int8, and a float16 for each block
    return heads * rt::kPagePositions * (elements + 2 * blocks * 2);
  }
  fail("plan: the layer has no attention");
}

}  // namespace

const PlacedWeight& Plan::placed(WeightId weight, uint32_t layer) const {
  for (const PlacedWeight& w : weights)
    if (w.weight == weight && w.layer == layer) return w;
  fail("plan: weight {} of layer {} is not placed", weight, layer);
}

uint64_t Plan::offset_in_layer(uint32_t signature, WeightId weight) const {
  for (const auto& [id, offset] : signatures[signature].offsets)
    if (id == weight) return offset;
  fail("plan: weight {} is not in signature {}", weight, signature);
}

Plan lower_cpu(const Graph& graph, const std::vector<float>& rope_factors) {
  Plan plan;
  plan.target = "cpu";
  plan.max_rows = batch_rows(graph);
  plan.max_out_rows = kOutRows;
  plan.logits_stride = pad16(graph.n_vocab);
  place_weights(graph, plan);
  plan_ropes(graph, rope_factors, plan);
  plan.kv_layer_bytes = kv_layer_bytes(graph);
  plan.kv_page_bytes = plan.kv_layer_bytes * graph.n_layers;
  const auto add_phase = [&](const Graph& g, const char* name, uint32_t max_rows) {
    Lowering lowering{g, {}, plan.phases.empty()};
    Phase& p = lowering.p;
    p.name = name;
    p.max_rows = max_rows;
    p.share_memory = !lowering.few;
    p.shares_rows = plan.phases.size() == 2;
    plan.phases.push_back(lowering.run(plan.rope_row));
    plan.arena_bytes = std::max(plan.arena_bytes, plan.phases.back().arena_bytes);
    plan.own_bytes = std::max(plan.own_bytes, plan.phases.back().own_bytes);
  };
  add_phase(without_prompts(graph), "decode", kDecodeRows);
  add_phase(graph, "batch", plan.max_rows);
  if (has_bf16(graph) && layer_weights(graph) <= kNarrowLayer)
    add_phase(without_generated(graph), "prompt", plan.max_rows);
  return plan;
}

}  // namespace forge
