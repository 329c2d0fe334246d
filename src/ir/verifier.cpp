#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/error.h"
#include "ir/graph.h"

namespace forge {
namespace {

struct Verifier {
  const Graph& g;
  std::string_view after;
  std::vector<bool> defined;
  const Node* node = nullptr;
  bool in_body = false;

  template <class... Args>
  [[noreturn]] void error(fmt::format_string<Args...> format, Args&&... args) const {
    const std::string what = fmt::format(format, std::forward<Args>(args)...);
    if (node == nullptr) fail("graph after {}: {}", after, what);
    fail("graph after {}: {} giving %{}: {}", after, op_name(node->op),
         node->outputs.empty() || node->outputs[0] >= g.values.size() ? "nothing"
                                                                      : g.values[node->outputs[0]].name,
         what);
  }
  void require(bool ok, std::string_view what) const {
    if (!ok) error("{}", what);
  }

  const Value& in(size_t i) const {
    require(i < node->inputs.size(), "an input is missing");
    return g.values[node->inputs[i]];
  }
  const Value& out(size_t i) const {
    require(i < node->outputs.size(), "an output is missing");
    return g.values[node->outputs[i]];
  }
  const Weight& weight(WeightId id) const {
    require(id < g.weights.size(), "a weight is missing");
    return g.weights[id];
  }
  void arity(size_t inputs, size_t outputs, size_t segments) const {
    if (node->inputs.size() != inputs || node->outputs.size() != outputs || node->segments.size() != segments)
      error("has {} inputs, {} outputs, {} weights; expected {}, {}, {}", node->inputs.size(),
            node->outputs.size(), node->segments.size(), inputs, outputs, segments);
  }
  bool is_defined(ValueId v) const { return v < g.values.size() && defined[v]; }
  void is_f32(const Value& v, uint64_t cols) const {
    if (v.element != ElementType::f32 || v.cols != cols) error("%{} must be f32[{}]", v.name, cols);
  }
  // Values that are one activation in its forms: f32, q8, and bf16 beside q8, each at most once.
  void are_forms(std::span<const ValueId> ids, uint32_t cols) const {
    for (size_t i = 0; i < ids.size(); ++i) {
      const Value& v = g.values[ids[i]];
      if (v.element == ElementType::i32) error("%{} must be f32, q8 or bf16", v.name);
      if (v.cols != cols) error("%{} must have {} columns", v.name, cols);
      if (v.element != ElementType::f32 && cols % 32 != 0)
        error("%{} is in blocks of 32, of which {} columns are no multiple", v.name, cols);
      require(!has_form(ids.first(i), v.element), "an activation stands in one form twice");
    }
    require(!ids.empty(), "an activation is missing");
    require(!has_form(ids, ElementType::bf16) || has_form(ids, ElementType::q8), "bf16 must stand beside q8");
  }
  bool has_form(std::span<const ValueId> ids, ElementType form) const {
    return std::ranges::any_of(ids, [&](ValueId v) { return g.values[v].element == form; });
  }
  void vector_weight(WeightId id, uint32_t cols) const {
    const Weight& w = weight(id);
    if (w.rows != 1 || w.cols != cols) error("@{} must be [1, {}]", w.name, cols);
    for (DType t : w.types)
      if (info(t).block_weights != 1) error("@{} is a vector of type {}", w.name, info(t).name);
  }
  uint32_t positive(std::string_view name) const {
    const int64_t v = node->integer(name);
    if (v <= 0 || v > 1 << 24) error("attribute {}={} is out of range", name, v);
    return static_cast<uint32_t>(v);
  }
  // A list has one value a layer.
  void check_lists() const {
    const auto check_size = [&](std::string_view name, size_t n) {
      if (n != g.n_layers) error("attribute {} has {} values, expected one or {}", name, n, g.n_layers);
    };
    for (const auto& [name, value] : node->attributes) {
      if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) check_size(name, list->size());
      if (const auto* list = std::get_if<std::vector<double>>(&value)) check_size(name, list->size());
    }
  }
  // A limit that is missing or above zero.
  void optional_limit(std::string_view name) const {
    if (node->has(name) && !(node->number(name) > 0)) error("attribute {} must be positive", name);
  }
  uint64_t head_cols(std::string_view n_heads) const {
    return uint64_t{positive(n_heads)} * positive("head_dim");
  }
  void same_rows() const {
    for (ValueId o : node->outputs)
      for (ValueId i : node->inputs)
        require(g.values[o].rows == g.values[i].rows, "rows differ between input and output");
  }

  void check_rope() const {
    const uint32_t head_dim = positive("head_dim");
    const std::string style = node->string("style");
    require(style == "norm" || style == "neox", "style must be norm or neox");
    require(node->segments.size() <= 1, "more than one factor weight");
    require(node->has("ramp_low") == node->has("ramp_high"), "ramp_low and ramp_high go together");
    if (node->has("ramp_low"))
      require(node->number("ramp_low") < node->number("ramp_high"), "ramp_low must be below ramp_high");
    int64_t rotated = 0;  // the layers that rotate share one table's width
    for (uint32_t l = 0; l < g.n_layers; ++l) {
      const int64_t n_rot = node->integer("n_rot", l);
      require(n_rot >= 0 && n_rot <= head_dim && n_rot % 2 == 0, "n_rot must be even and at most head_dim");
      require(n_rot == 0 || rotated == 0 || n_rot == rotated,
              "n_rot must be the same in all layers that rotate");
      rotated = std::max(rotated, n_rot);
      require(node->number("base", l) > 0 && node->number("scale", l) > 0, "base and scale must be positive");
      require(!node->has("magnitude") || node->number("magnitude", l) > 0, "magnitude must be positive");
    }
    if (!node->segments.empty()) vector_weight(node->segments[0].weight, static_cast<uint32_t>(rotated / 2));
  }

  // A gated product that gives prompts' rows in bf16 gives only the others as floats.
  void check_rounded() const {
    const uint32_t cols = weight(node->segments[0].weight).rows;
    const Value& v = out(1);
    if (v.element != ElementType::bf16 || v.cols != cols || cols % 32 != 0)
      error("%{} must be bf16[{}], in blocks of 32", v.name, cols);
    for (const auto* part : {&g.prologue, &g.body, &g.epilogue})
      for (const Node& reader : *part)
        if (std::ranges::find(reader.inputs, node->outputs[0]) != reader.inputs.end() &&
            !(reader.op == Op::quantize && reader.has("rows")))
          error("%{} has no floats of prompts: only quantize of generated rows may read it", out(0).name);
  }

  void check_linear() const {
    require(!node->segments.empty(), "no segment");
    const uint32_t k = weight(node->segments[0].weight).cols;
    size_t n_inputs = node->inputs.size();
    if (node->epilogue == Epilogue::add) {
      require(n_inputs >= 2 && node->segments.size() == 1,
              "the add epilogue takes one segment and an addend");
      is_f32(in(--n_inputs), weight(node->segments[0].weight).rows);
    }
    const std::span<const ValueId> activation(node->inputs.data(), n_inputs);
    are_forms(activation, k);
    const bool has_f32 = has_form(activation, ElementType::f32),
               has_q8 = has_form(activation, ElementType::q8),
               has_bf16 = has_form(activation, ElementType::bf16);
    const bool gated = is_gated(node->epilogue);
    const size_t n_out = gated ? 1 : node->segments.size();
    if (gated && has_bf16 && node->outputs.size() == 2)
      check_rounded();
    else
      require(node->outputs.size() == n_out, "needs one output a segment");
    if (gated)
      require(node->segments.size() == 2 && node->segments[0].bias == kNoWeight &&
                  node->segments[1].bias == kNoWeight,
              "a gated product takes two segments without biases");
    if (node->has("scale") || node->has("softcap"))
      require(!gated && node->segments.size() == 1, "scale and softcap take one segment");
    if (node->has("scale")) require(std::isfinite(node->number("scale")), "scale must be finite");
    optional_limit("softcap");
    for (size_t i = 0; i < node->segments.size(); ++i) {
      const Weight& w = weight(node->segments[i].weight);
      require(w.cols == k, "segments differ in columns");
      is_f32(out(gated ? 0 : i), w.rows);
      if (node->segments[i].bias != kNoWeight) vector_weight(node->segments[i].bias, w.rows);
      for (DType t : w.types) {
        const bool block = info(t).block_weights > 1;
        // The float32 source graph has no q8 value: its linears take f32 whatever the weight's type.
        if (has_q8 && !(block ? has_q8 : has_f32))
          error("@{} is {} in a layer but the node has no {} input", w.name, info(t).name,
                block ? "q8" : "f32");
        if (has_bf16 && !block)
          error("@{} is {} in a layer: a prompt's rows are multiplied in bf16 only with blocks", w.name,
                info(t).name);
        if (w.cols % info(t).block_weights != 0)
          error("@{}: {} columns are no multiple of {}'s block", w.name, w.cols, info(t).name);
      }
    }
  }

  void check_norm() const {
    require(node->inputs.size() == 1 && node->segments.size() == 1, "takes one input and one gain");
    is_f32(in(0), in(0).cols);
    require(node->number("eps") >= 0, "eps is negative");
    const uint32_t heads = node->has("n_heads") ? positive("n_heads") : 1;  // each normed for itself
    require(in(0).cols % heads == 0, "n_heads must divide the columns");
    vector_weight(node->segments[0].weight, in(0).cols / heads);
    if (node->op == Op::layer_norm) {
      require(heads == 1, "layer_norm is of whole rows");
      if (node->segments[0].bias != kNoWeight) vector_weight(node->segments[0].bias, in(0).cols);
    }
    are_forms(node->outputs, in(0).cols);
    require(heads == 1 || (node->outputs.size() == 1 && out(0).element == ElementType::f32),
            "heads are normed to f32");
  }

  void check(const Node& n) {
    node = &n;
    check_lists();
    for (ValueId v : n.inputs) {
      require(v < g.values.size(), "an input does not exist");
      if (!defined[v]) error("%{} is used before it is defined", g.values[v].name);
    }
    for (ValueId v : n.outputs) {
      require(v < g.values.size(), "an output does not exist");
      if (defined[v]) error("%{} is defined twice", g.values[v].name);
    }
    for (const Segment& s : n.segments)
      for (WeightId id : {s.weight, s.bias})
        if (id != kNoWeight && weight(id).per_layer && !in_body)
          error("@{} is a layer's and used outside of the layers", g.weights[id].name);
    switch (n.op) {
      case Op::embed:
        arity(1, 1, 1);
        require(in(0).element == ElementType::i32, "tokens must be i32");
        if (n.has("of")) {
          require(n.string("of") == "position", "of must be position");
          require(weight(n.segments[0].weight).rows >= g.ctx_max,
                  "the table must have a row for each position");
        } else {
          require(weight(n.segments[0].weight).rows == g.n_vocab, "the table must have a row for each token");
        }
        optional_limit("scale");
        is_f32(out(0), weight(n.segments[0].weight).cols);
        break;
      case Op::rms_norm:
      case Op::layer_norm: check_norm(); break;
      case Op::linear: check_linear(); break;
      case Op::rope:
        require(n.inputs.size() == 1 && n.outputs.size() == 1, "takes one input and gives one output");
        is_f32(in(0), head_cols("n_heads"));
        is_f32(out(0), in(0).cols);
        check_rope();
        break;
      case Op::rope_kv: {
        require(n.inputs.size() == 3 && n.outputs.size() == 1, "takes q, k, v and gives q");
        is_f32(in(0), head_cols("n_heads"));
        is_f32(out(0), in(0).cols);
        is_f32(in(1), head_cols("n_kv_heads"));
        is_f32(in(2), in(1).cols);
        check_rope();
        const std::string type = n.string("kv");
        require(type == "f16" || type == "q8_0", "kv must be f16 or q8_0");
        break;
      }
      case Op::attention: {
        require(n.inputs.size() == 3 || n.inputs.size() == 1, "takes q, k, v or q");
        require(n.outputs.size() == 1 && n.segments.empty(), "gives one output and takes no weight");
        require(positive("n_heads") % positive("n_kv_heads") == 0,
                "n_heads must be a multiple of n_kv_heads");
        is_f32(in(0), head_cols("n_heads"));
        is_f32(out(0), head_cols("n_heads"));
        for (size_t i = 1; i < n.inputs.size(); ++i) is_f32(in(i), head_cols("n_kv_heads"));
        const std::string type = n.string("kv");
        require(type == "f32" || type == "f16" || type == "q8_0", "kv must be f32, f16 or q8_0");
        if (n.has("prompts")) require(n.string("prompts") == "bf16", "prompts must be bf16");
        require(n.number("scale") > 0, "scale must be positive");
        optional_limit("softcap");
        if (n.has("window"))
          for (uint32_t l = 0; l < g.n_layers; ++l)
            require(n.integer("window", l) >= 0, "window is negative");
        break;
      }
      case Op::scale:
      case Op::softcap:
        require(std::isfinite(n.number(n.op == Op::scale ? "by" : "cap")), "the constant must be finite");
        if (n.op == Op::softcap) optional_limit("cap");
        [[fallthrough]];
      case Op::silu:
      case Op::gelu:
      case Op::select_rows:
        arity(1, 1, 0);
        is_f32(in(0), in(0).cols);
        is_f32(out(0), in(0).cols);
        break;
      case Op::mul:
      case Op::add:
        arity(2, 1, 0);
        is_f32(in(0), out(0).cols);
        is_f32(in(1), out(0).cols);
        is_f32(out(0), out(0).cols);
        break;
      case Op::quantize:
        arity(1, n.outputs.size() == 2 ? 2 : 1, 0);
        is_f32(in(0), in(0).cols);
        require(out(0).element == ElementType::q8, "gives q8");
        are_forms(n.outputs, in(0).cols);
        require(!n.has("rows") || (n.string("rows") == "generated" && n.outputs.size() == 1),
                "rows must be generated, and of q8 alone");
        break;
    }
    if (n.op == Op::select_rows) {
      require(in(0).rows == RowSet::all && out(0).rows == RowSet::wanted, "turns all rows into wanted rows");
    } else {
      same_rows();
    }
    for (ValueId v : n.outputs) defined[v] = true;
    node = nullptr;
  }

  void check_output(const Value& v, uint32_t cols) const {
    is_f32(v, cols);
    if (v.rows != RowSet::wanted) error("output %{} must be of the wanted rows", v.name);
  }

  void run() {
    require(g.n_layers > 0 && g.n_vocab > 0 && g.n_hidden > 0 && g.ctx_max > 0, "a dimension is zero");
    for (const Weight& w : g.weights) {
      if (w.rows == 0 || w.cols == 0) error("@{} has no elements", w.name);
      if (w.types.size() != (w.per_layer ? g.n_layers : 1))
        error("@{} has {} types, expected {}", w.name, w.types.size(), w.per_layer ? g.n_layers : 1);
    }
    defined.assign(g.values.size(), false);
    require(g.tokens < g.values.size() && g.values[g.tokens].element == ElementType::i32, "no i32 input");
    defined[g.tokens] = true;
    for (const Node& n : g.prologue) check(n);
    require(is_defined(g.prologue_output), "the prologue's output is not defined");
    require(g.body_input < g.values.size() && !defined[g.body_input], "the body's input is defined twice");
    defined[g.body_input] = true;
    in_body = true;
    for (const Node& n : g.body) check(n);
    in_body = false;
    require(is_defined(g.body_output), "the body's output is not defined");
    const Value& a = g.values[g.prologue_output];
    const Value& b = g.values[g.body_input];
    const Value& c = g.values[g.body_output];
    require(a.cols == b.cols && b.cols == c.cols && a.element == b.element && b.element == c.element,
            "the carried value changes its type");
    for (const Node& n : g.epilogue) check(n);
    require(is_defined(g.hidden) && is_defined(g.logits), "an output is not defined");
    check_output(g.values[g.hidden], g.n_hidden);
    check_output(g.values[g.logits], g.n_vocab);
  }
};

}  // namespace

void verify(const Graph& graph, std::string_view after) { Verifier{graph, after, {}}.run(); }

}  // namespace forge
