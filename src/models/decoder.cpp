// The generic decoder: a pre-norm transformer with rotary positions, grouped-query attention and a gated
// feed-forward network. Architectures differ in names, flags and quirks (DecoderConfig), not in code.
#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include "core/error.h"
#include "models/architectures.h"
#include "quant/packed.h"

namespace forge {
namespace {

constexpr std::array<const Architecture*, 2> kArchitectures = {&kLlama, &kQwen2};

constexpr int64_t kMaxDim = 1 << 20;  // of any dimension: far above the models this compiler is for

// Reads metadata keys "<architecture>.<key>".
struct Keys {
  const Checkpoint& checkpoint;
  std::string_view prefix;

  std::string full(std::string_view key) const { return fmt::format("{}.{}", prefix, key); }

  uint32_t dimension(std::string_view key, std::optional<int64_t> fallback = std::nullopt) const {
    auto v = checkpoint.meta.integer(full(key));
    if (!v) v = fallback;
    if (!v) fail("{}: metadata key {} is missing", checkpoint.path, full(key));
    if (*v <= 0 || *v > kMaxDim)
      fail("{}: metadata key {} is {}, expected 1 to {}", checkpoint.path, full(key), *v, kMaxDim);
    return static_cast<uint32_t>(*v);
  }
  double number(std::string_view key, std::optional<double> fallback = std::nullopt) const {
    auto v = checkpoint.meta.number(full(key));
    if (!v) v = fallback;
    if (!v) fail("{}: metadata key {} is missing", checkpoint.path, full(key));
    if (!(*v >= 0 && *v < 1e30)) fail("{}: metadata key {} is {}", checkpoint.path, full(key), *v);
    return *v;
  }
};

DecoderConfig read_config(const Checkpoint& checkpoint, const Architecture& architecture) {
  const Keys keys{checkpoint, architecture.name};
  DecoderConfig c;
  c.architecture = architecture.name;
  c.n_layers = keys.dimension("block_count");
  c.n_hidden = keys.dimension("embedding_length");
  c.n_heads = keys.dimension("attention.head_count");
  c.n_kv_heads = keys.dimension("attention.head_count_kv", c.n_heads);
  c.head_dim = keys.dimension("attention.key_length", std::max<int64_t>(1, c.n_hidden / c.n_heads));
  c.n_ff = keys.dimension("feed_forward_length");
  c.ctx_train = keys.dimension("context_length");
  c.norm_eps = keys.number("attention.layer_norm_rms_epsilon");
  c.n_rot = keys.dimension("rope.dimension_count", c.head_dim);
  c.rope_base = keys.number("rope.freq_base", 10000.0);

  const Tensor* embedding = checkpoint.find("token_embd.weight");
  if (embedding == nullptr) {
    if (checkpoint.tensors.empty())
      fail("{}: holds a vocabulary and no weights; `forge tokenize` works on it, compiling needs a model",
           checkpoint.path);
    fail("{}: tensor token_embd.weight is missing", checkpoint.path);
  }
  if (embedding->rows() > kMaxDim) fail("{}: a vocabulary of {} tokens", checkpoint.path, embedding->rows());
  c.n_vocab = static_cast<uint32_t>(embedding->rows());

  if (c.n_heads % c.n_kv_heads != 0)
    fail("{}: {} attention heads are no multiple of {} key-value heads", checkpoint.path, c.n_heads,
         c.n_kv_heads);
  if (uint64_t{c.n_heads} * c.head_dim > kMaxDim)
    fail("{}: {} attention heads of {} dimensions, expected {} dimensions at most in all", checkpoint.path,
         c.n_heads, c.head_dim, kMaxDim);
  if (c.n_rot > c.head_dim || c.n_rot % 2 != 0)
    fail("{}: rope.dimension_count is {}, expected an even number up to the head's {}", checkpoint.path,
         c.n_rot, c.head_dim);
  if (checkpoint.meta.integer(keys.full("attention.value_length")).value_or(c.head_dim) != c.head_dim)
    fail("{}: keys and values of different lengths are not supported", checkpoint.path);
  if (c.rope_base < 1 || c.rope_base > 1e15)
    fail("{}: rope.freq_base is {}, expected 1 to 1e15", checkpoint.path, c.rope_base);

  const std::string scaling = checkpoint.meta.string(keys.full("rope.scaling.type")).value_or("none");
  if (scaling == "linear") {
    const double factor = keys.number("rope.scaling.factor");
    if (factor < 1 || factor > 1e6)
      fail("{}: rope.scaling.factor is {}, expected 1 to 1e6", checkpoint.path, factor);
    c.rope_scale = 1 / factor;
  } else if (scaling != "none" && scaling != "llama3") {
    fail("{}: rope scaling '{}' is not supported (known: none, linear, llama3)", checkpoint.path, scaling);
  }
  if (scaling == "llama3" && checkpoint.find("rope_freqs.weight") == nullptr)
    fail("{}: rope scaling 'llama3' needs the tensor rope_freqs.weight", checkpoint.path);
  // The key that older files have; 0 and 1 mean no scaling.
  if (const double linear = keys.number("rope.scale_linear", 0.0); linear != 0) {
    if (linear < 1 || linear > 1e6)
      fail("{}: rope.scale_linear is {}, expected 1 to 1e6", checkpoint.path, linear);
    c.rope_scale = 1 / linear;
  }
  if (checkpoint.meta.integer(keys.full("expert_count")).value_or(0) != 0)
    fail("{}: mixtures of experts are not supported", checkpoint.path);
  architecture.configure(c, checkpoint);
  return c;
}

struct DecoderBuilder {
  const Checkpoint& checkpoint;
  const DecoderConfig& c;
  Graph g = {};
  std::vector<Node>* nodes = nullptr;
  RowSet rows = RowSet::all;

  // Declares a weight after checking the tensor (of each layer) against the expected shape.
  WeightId weight(std::string_view name, std::string_view tensor, uint32_t n_rows, uint32_t n_cols,
                  bool per_layer) {
    Weight w{std::string(name), std::string(tensor), n_rows, n_cols, per_layer, {}};
    for (uint32_t l = 0; l < (per_layer ? c.n_layers : 1); ++l) {
      const std::string full = w.tensor_name(l);
      const Tensor* t = checkpoint.find(full);
      if (t == nullptr)
        fail("{}: tensor {} is missing, expected [{}, {}]", checkpoint.path, full, n_rows, n_cols);
      if (t->rows() != n_rows || t->cols() != n_cols)
        fail("{}: tensor {} is [{}, {}], expected [{}, {}]", checkpoint.path, full, t->rows(), t->cols(),
             n_rows, n_cols);
      if (t->shape.size() == 1 && block_codec(t->type) != nullptr)
        fail("{}: tensor {} is a vector of type {}, expected f32, f16 or bf16", checkpoint.path, full,
             info(t->type).name);
      if (info(t->type).block_weights > 1 && block_codec(t->type) == nullptr)
        fail("{}: tensor {} is of type {}, which is for activations, expected a type of weights",
             checkpoint.path, full, info(t->type).name);
      w.types.push_back(t->type);
    }
    g.weights.push_back(std::move(w));
    return static_cast<WeightId>(g.weights.size() - 1);
  }
  WeightId layer_weight(std::string_view name, uint32_t n_rows, uint32_t n_cols,
                        std::string_view suffix = "weight") {
    const bool bias = suffix == "bias";
    return weight(bias ? fmt::format("{}_bias", name) : std::string(name),
                  fmt::format("blk.%l.{}.{}", name, suffix), n_rows, n_cols, true);
  }

  Node& node(Op op, std::vector<ValueId> inputs, std::string_view output, uint32_t cols) {
    Node n;
    n.op = op;
    n.inputs = std::move(inputs);
    n.outputs = {g.add_value(std::string(output), ElementType::f32, cols, rows)};
    nodes->push_back(std::move(n));
    return nodes->back();
  }
  ValueId norm(ValueId x, std::string_view name, WeightId gain) {
    Node& n = node(Op::rms_norm, {x}, name, g.values[x].cols);
    n.segments = {{gain, kNoWeight}};
    n.attributes["eps"] = c.norm_eps;
    return n.outputs[0];
  }
  ValueId linear(ValueId x, std::string_view name, WeightId w, WeightId bias = kNoWeight) {
    Node& n = node(Op::linear, {x}, name, g.weights[w].rows);
    n.segments = {{w, bias}};
    return n.outputs[0];
  }
  ValueId rope(ValueId x, std::string_view name, uint32_t heads, WeightId factors) {
    Node& n = node(Op::rope, {x}, name, g.values[x].cols);
    n.attributes = {{"n_heads", int64_t{heads}}, {"head_dim", int64_t{c.head_dim}},
                    {"n_rot", int64_t{c.n_rot}}, {"style", std::string(c.rope_style)},
                    {"base", c.rope_base},       {"scale", c.rope_scale}};
    if (factors != kNoWeight) n.segments = {{factors, kNoWeight}};
    return n.outputs[0];
  }

  ValueId attention_block(ValueId x, WeightId factors) {
    const uint32_t q_cols = c.n_heads * c.head_dim, kv_cols = c.n_kv_heads * c.head_dim;
    const auto bias = [&](std::string_view name, uint32_t n) {
      return c.qkv_bias ? layer_weight(name, 1, n, "bias") : kNoWeight;
    };
    const ValueId h = norm(x, "attn_norm", layer_weight("attn_norm", 1, c.n_hidden));
    const ValueId q = linear(h, "q", layer_weight("attn_q", q_cols, c.n_hidden), bias("attn_q", q_cols));
    const ValueId k = linear(h, "k", layer_weight("attn_k", kv_cols, c.n_hidden), bias("attn_k", kv_cols));
    const ValueId v = linear(h, "v", layer_weight("attn_v", kv_cols, c.n_hidden), bias("attn_v", kv_cols));
    const ValueId q_rot = rope(q, "q_rope", c.n_heads, factors);
    const ValueId k_rot = rope(k, "k_rope", c.n_kv_heads, factors);
    Node& a = node(Op::attention, {q_rot, k_rot, v}, "attn", q_cols);
    a.attributes = {{"n_heads", int64_t{c.n_heads}},
                    {"n_kv_heads", int64_t{c.n_kv_heads}},
                    {"head_dim", int64_t{c.head_dim}},
                    // 1 / sqrt(head_dim), rounded once
                    {"scale", static_cast<double>(1.0F / std::sqrt(static_cast<float>(c.head_dim)))},
                    {"kv", std::string("f32")}};
    const ValueId attn = a.outputs[0];
    const ValueId o = linear(attn, "attn_out", layer_weight("attn_output", c.n_hidden, q_cols));
    return node(Op::add, {o, x}, "attn_residual", c.n_hidden).outputs[0];
  }

  ValueId ffn_block(ValueId x) {
    const ValueId h = norm(x, "ffn_norm", layer_weight("ffn_norm", 1, c.n_hidden));
    const ValueId gate = linear(h, "gate", layer_weight("ffn_gate", c.n_ff, c.n_hidden));
    const ValueId up = linear(h, "up", layer_weight("ffn_up", c.n_ff, c.n_hidden));
    const ValueId act = node(Op::silu, {gate}, "gate_silu", c.n_ff).outputs[0];
    const ValueId gated = node(Op::mul, {act, up}, "gated", c.n_ff).outputs[0];
    const ValueId down = linear(gated, "ffn_out", layer_weight("ffn_down", c.n_hidden, c.n_ff));
    return node(Op::add, {down, x}, "ffn_residual", c.n_hidden).outputs[0];
  }

  // A tensor that the graph does not read means that the file holds a model other than the one built here:
  // computing without it would give wrong text and no error.
  void refuse_unused_tensors() const {
    std::unordered_set<std::string> used;
    for (const Weight& w : g.weights)
      for (uint32_t l = 0; l < w.types.size(); ++l) used.insert(w.tensor_name(l));
    for (const Tensor& t : checkpoint.tensors)
      if (!used.contains(t.name))
        fail("{}: tensor {} has no place in the architecture '{}'", checkpoint.path, t.name, c.architecture);
  }

  Graph build(uint32_t ctx) {
    g.name = std::string(c.architecture);
    g.n_layers = c.n_layers;
    g.n_vocab = c.n_vocab;
    g.n_hidden = c.n_hidden;
    g.ctx_max = ctx;
    g.tokens = g.add_value("tokens", ElementType::i32, 1);
    const WeightId table = weight("token_embd", "token_embd.weight", c.n_vocab, c.n_hidden, false);
    const WeightId factors =
        c.rope_factors ? weight("rope_freqs", "rope_freqs.weight", 1, c.n_rot / 2, false) : kNoWeight;

    nodes = &g.prologue;
    Node& e = node(Op::embed, {g.tokens}, "embedded", c.n_hidden);
    e.segments = {{table, kNoWeight}};
    g.prologue_output = e.outputs[0];

    nodes = &g.body;
    g.body_input = g.add_value("x", ElementType::f32, c.n_hidden);
    g.body_output = ffn_block(attention_block(g.body_input, factors));

    nodes = &g.epilogue;
    rows = RowSet::wanted;
    const ValueId last = node(Op::select_rows, {g.body_output}, "wanted", c.n_hidden).outputs[0];
    g.hidden = norm(last, "hidden", weight("output_norm", "output_norm.weight", 1, c.n_hidden, false));
    const bool tied = checkpoint.find("output.weight") == nullptr;
    const WeightId head = tied ? table : weight("output", "output.weight", c.n_vocab, c.n_hidden, false);
    g.logits = linear(g.hidden, "logits", head);
    refuse_unused_tensors();
    return std::move(g);
  }
};

}  // namespace

std::span<const Architecture* const> all_architectures() { return kArchitectures; }

Graph build_graph(const Checkpoint& checkpoint, uint32_t ctx) {
  const std::string name = checkpoint.meta.string("general.architecture").value_or("");
  if (name.empty()) fail("{}: metadata key general.architecture is missing", checkpoint.path);
  const auto it =
      std::find_if(kArchitectures.begin(), kArchitectures.end(), [&](auto* a) { return a->name == name; });
  if (it == kArchitectures.end()) {
    std::string known;
    for (const Architecture* a : kArchitectures)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", a->name);
    fail("{}: architecture '{}' is not supported (known: {})", checkpoint.path, name, known);
  }
  const DecoderConfig config = read_config(checkpoint, **it);
  if (ctx == 0) ctx = std::min(config.ctx_train, kDefaultCtx);
  // Without a window attention would see more than the model was trained to see.
  const int64_t window =
      checkpoint.meta.integer(fmt::format("{}.attention.sliding_window", name)).value_or(ctx);
  if (window > 0 && window < ctx)
    fail(
        "{}: the model attends to {} positions only; sliding windows are not supported, --ctx {} compiles it "
        "within one",
        checkpoint.path, window, window);
  if (ctx > kMaxDim) fail_usage("--ctx {}: at most {} positions", ctx, kMaxDim);
  Graph g = DecoderBuilder{checkpoint, config}.build(ctx);
  verify(g, "building");
  return g;
}

}  // namespace forge
