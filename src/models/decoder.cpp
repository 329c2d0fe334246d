// The generic decoder: a transformer with grouped-query attention, norms before or behind its two blocks, and a
// feed-forward network. Architectures differ in names, flags and quirks (DecoderConfig), not in code.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <unordered_set>

#include "core/error.h"
#include "models/architectures.h"
#include "quant/packed.h"

namespace forge {
namespace {

constexpr std::array<const Architecture*, 12> kArchitectures = {&kGemma,   &kGemma2, &kGemma3,  &kGpt2,
                                                                &kGranite, &kLlama,  &kOlmo2,   &kPhi3,
                                                                &kQwen2,   &kQwen3,  &kSmolLm3, &kStableLm};

constexpr int64_t kMaxDim = 1 << 20;  // of any dimension: far above the models this compiler is for

double in_range(const ModelKeys& keys, std::string_view key, double value, double low, double high) {
  if (!(value >= low && value <= high))
    fail("{}: {} is {}, expected {:g} to {:g}", keys.checkpoint.path, key, value, low, high);
  return value;
}

RopeScaling read_rope(const ModelKeys& keys, uint32_t ctx_train) {
  const std::string& path = keys.checkpoint.path;
  const auto number = [&](std::string_view key, std::optional<double> fallback, double low, double high) {
    return in_range(keys, key, keys.number(key, fallback), low, high);
  };
  RopeScaling r;
  r.base = number("rope.freq_base", 10000.0, 1, 1e15);
  r.original_ctx = keys.dimension("rope.scaling.original_context_length", ctx_train);
  r.magnitude = number("rope.scaling.attn_factor", 1.0, 1e-3, 1e3);
  const std::string type = keys.checkpoint.meta.string(keys.full("rope.scaling.type")).value_or("none");
  if (type == "linear" || type == "yarn") {
    r.factor = number("rope.scaling.factor", std::nullopt, 1, 1e6);
  } else if (type != "none" && type != "llama3" && type != "longrope") {
    fail("{}: rope scaling '{}' is not supported (known: none, linear, llama3, longrope, yarn)", path, type);
  }
  if (type == "yarn") {
    r.yarn = true;
    r.beta_fast = number("rope.scaling.yarn_beta_fast", 32.0, 1e-3, 1e6);
    r.beta_slow = number("rope.scaling.yarn_beta_slow", 1.0, 1e-3, 1e6);
    // What transformers calls attention_factor; llama.cpp writes it and goes by the default.
    r.magnitude *= number("rope.scaling.yarn_attn_factor", 1 + 0.1 * std::log(r.factor), 1e-3, 1e3);
  }
  if (type == "llama3" && keys.checkpoint.find("rope_freqs.weight") == nullptr)
    fail("{}: rope scaling 'llama3' needs the tensor rope_freqs.weight", path);
  // The key that older files have; 0 and 1 mean no scaling.
  if (const double linear = keys.number("rope.scale_linear", 0.0); linear != 0)
    r.factor = number("rope.scale_linear", std::nullopt, 1, 1e6);
  return r;
}

DecoderConfig read_config(const Checkpoint& checkpoint, const Architecture& architecture) {
  const ModelKeys keys{checkpoint, architecture.name};
  DecoderConfig c;
  c.architecture = architecture.name;
  c.n_layers = keys.dimension("block_count");
  c.n_hidden = keys.dimension("embedding_length");
  c.n_heads = keys.dimension("attention.head_count");
  c.n_kv_heads = keys.dimension("attention.head_count_kv", c.n_heads);
  c.head_dim = keys.dimension("attention.key_length", std::max<int64_t>(1, c.n_hidden / c.n_heads));
  c.n_ff = keys.dimension("feed_forward_length");
  c.ctx_train = keys.dimension("context_length");
  c.n_rot = keys.dimension("rope.dimension_count", c.head_dim);
  c.rope = c.local_rope = read_rope(keys, c.ctx_train);
  c.local_layers.assign(c.n_layers, false);
  c.attention_scale = in_range(keys, "attention.scale", keys.number("attention.scale", 0.0), 0, 1e6);

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
  if (checkpoint.meta.integer(keys.full("expert_count")).value_or(0) != 0)
    fail("{}: mixtures of experts are not supported", checkpoint.path);
  architecture.configure(c, keys);
  c.norm_eps = keys.number(c.norm == DecoderConfig::Norm::rms ? "attention.layer_norm_rms_epsilon"
                                                              : "attention.layer_norm_epsilon");
  return c;
}

// The part of a tensor (of each layer's) that a weight is: all of it where n_whole is 0, else the weight's number of rows
// (of a vector: elements) of n_whole, from `first` on.
struct Part {
  uint32_t first = 0, n_whole = 0;
};

struct DecoderBuilder {
  const Checkpoint& checkpoint;
  const DecoderConfig& c;
  Graph g = {};
  std::vector<Node>* nodes = nullptr;
  RowSet rows = RowSet::all;

  // --- weights

  bool in_layer(std::string_view name, std::string_view suffix = "weight") const {
    return checkpoint.find(fmt::format("blk.0.{}.{}", name, suffix)) != nullptr;
  }

  // Checks the shape that is expected.
  WeightId weight(std::string_view name, std::string_view tensor, uint32_t n_rows, uint32_t n_cols,
                  bool per_layer, Part part = {}) {
    Weight w{std::string(name), std::string(tensor), n_rows, n_cols, part.first, per_layer, {}};
    const bool is_vector = n_rows == 1;
    const uint32_t whole_rows = part.n_whole == 0 || is_vector ? n_rows : part.n_whole;
    const uint32_t whole_cols = part.n_whole == 0 || !is_vector ? n_cols : part.n_whole;
    for (uint32_t l = 0; l < (per_layer ? c.n_layers : 1); ++l) {
      const std::string full = w.tensor_name(l);
      const Tensor* t = checkpoint.find(full);
      if (t == nullptr)
        fail("{}: tensor {} is missing, expected [{}, {}]", checkpoint.path, full, whole_rows, whole_cols);
      if (t->rows() != whole_rows || t->cols() != whole_cols)
        fail("{}: tensor {} is [{}, {}], expected [{}, {}]", checkpoint.path, full, t->rows(), t->cols(),
             whole_rows, whole_cols);
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

  // A linear of the layer, `tensor` being the file's name for it; its bias too where the file has one.
  Segment layer_linear(std::string_view name, std::string_view tensor, uint32_t n_rows, uint32_t n_cols,
                       Part part = {}, bool needs_bias = false) {
    Segment s;
    s.weight = weight(name, fmt::format("blk.%l.{}.weight", tensor), n_rows, n_cols, true, part);
    if (needs_bias || in_layer(tensor, "bias"))
      s.bias =
          weight(fmt::format("{}_bias", name), fmt::format("blk.%l.{}.bias", tensor), 1, n_rows, true, part);
    return s;
  }
  Segment layer_linear(std::string_view name, uint32_t n_rows, uint32_t n_cols) {
    return layer_linear(name, name, n_rows, n_cols);
  }

  // --- nodes

  Node& node(Op op, std::vector<ValueId> inputs, std::string_view output, uint32_t cols) {
    Node n;
    n.op = op;
    n.inputs = std::move(inputs);
    n.outputs = {g.add_value(std::string(output), ElementType::f32, cols, rows)};
    nodes->push_back(std::move(n));
    return nodes->back();
  }
  ValueId map(Op op, ValueId x, std::string_view name) {
    return node(op, {x}, name, g.values[x].cols).outputs[0];
  }
  ValueId scaled(ValueId x, double by, std::string_view name) {
    if (by == 1) return x;
    Node& n = node(Op::scale, {x}, name, g.values[x].cols);
    n.attributes["by"] = by;
    return n.outputs[0];
  }
  ValueId add(ValueId x, ValueId y, std::string_view name) {
    return node(Op::add, {x, y}, name, g.values[x].cols).outputs[0];
  }
  ValueId linear(ValueId x, std::string_view name, Segment segment) {
    Node& n = node(Op::linear, {x}, name, g.weights[segment.weight].rows);
    n.segments = {segment};
    return n.outputs[0];
  }

  // tensor: the name in the file up to ".weight". heads: 0 norms the whole row.
  ValueId norm(ValueId x, std::string_view name, std::string_view tensor, bool per_layer,
               uint32_t heads = 0) {
    const bool is_layer_norm = c.norm == DecoderConfig::Norm::layer;
    const uint32_t cols = g.values[x].cols / std::max(1U, heads);
    const std::string bias = fmt::format("{}.bias", tensor);
    Segment s;
    s.weight = weight(name, fmt::format("{}.weight", tensor), 1, cols, per_layer);
    std::string first_bias = bias;
    if (const size_t at = first_bias.find("%l"); at != std::string::npos) first_bias.replace(at, 2, "0");
    if (is_layer_norm && checkpoint.find(first_bias) != nullptr)
      s.bias = weight(fmt::format("{}_bias", name), bias, 1, cols, per_layer);
    Node& n = node(is_layer_norm ? Op::layer_norm : Op::rms_norm, {x}, name, g.values[x].cols);
    n.segments = {s};
    n.attributes["eps"] = c.norm_eps;
    if (heads != 0) n.attributes["n_heads"] = int64_t{heads};
    return n.outputs[0];
  }
  ValueId layer_norm(ValueId x, std::string_view name, uint32_t heads = 0) {
    return norm(x, name, fmt::format("blk.%l.{}", name), true, heads);
  }

  // One value, or one a layer where they differ.
  template <class T, class F>
  Attribute by_layer(F value) const {
    std::vector<T> list(c.n_layers);
    for (uint32_t l = 0; l < c.n_layers; ++l) list[l] = static_cast<T>(value(l));
    if (std::ranges::all_of(list, [&](const T& x) { return x == list[0]; })) return list[0];
    return list;
  }

  ValueId rope(ValueId x, std::string_view name, uint32_t heads, WeightId factors) {
    Node& n = node(Op::rope, {x}, name, g.values[x].cols);
    const auto of = [&](uint32_t l) -> const RopeScaling& {
      return c.local_layers[l] ? c.local_rope : c.rope;
    };
    n.attributes = {{"n_heads", int64_t{heads}},
                    {"head_dim", int64_t{c.head_dim}},
                    {"n_rot", by_layer<int64_t>([&](uint32_t l) {
                       return c.rope_skip && (l + 1) % c.rope_skip == 0 ? 0 : c.n_rot;
                     })},
                    {"style", std::string(c.rope_style)},
                    {"base", by_layer<double>([&](uint32_t l) { return of(l).base; })},
                    {"scale", by_layer<double>([&](uint32_t l) { return 1 / of(l).factor; })}};
    if (c.rope.magnitude != 1)
      n.attributes["magnitude"] = by_layer<double>([&](uint32_t l) { return of(l).magnitude; });
    if (c.rope.yarn) {
      // The pair that turns `turns` times within the original context (Peng et al. 2023, 3.2).
      const auto pair = [&](double turns) {
        return c.n_rot * std::log(c.rope.original_ctx / (turns * 2 * std::numbers::pi)) /
               (2 * std::log(c.rope.base));
      };
      const double low = std::max(0.0, std::floor(pair(c.rope.beta_fast)));
      const double high = std::min(c.n_rot - 1.0, std::ceil(pair(c.rope.beta_slow)));
      n.attributes["ramp_low"] = low;
      n.attributes["ramp_high"] = std::max(high, low + 0.001);
    }
    if (factors != kNoWeight) n.segments = {{factors, kNoWeight}};
    return n.outputs[0];
  }

  ValueId attention_block(ValueId h, WeightId factors) {
    const uint32_t q_cols = c.n_heads * c.head_dim, kv_cols = c.n_kv_heads * c.head_dim;
    Segment wq, wk, wv;
    if (in_layer("attn_qkv")) {  // the three one below the other
      const uint32_t n = q_cols + 2 * kv_cols;
      wq = layer_linear("attn_q", "attn_qkv", q_cols, c.n_hidden, {0, n}, c.qkv_bias);
      wk = layer_linear("attn_k", "attn_qkv", kv_cols, c.n_hidden, {q_cols, n}, c.qkv_bias);
      wv = layer_linear("attn_v", "attn_qkv", kv_cols, c.n_hidden, {q_cols + kv_cols, n}, c.qkv_bias);
    } else {
      wq = layer_linear("attn_q", "attn_q", q_cols, c.n_hidden, {}, c.qkv_bias);
      wk = layer_linear("attn_k", "attn_k", kv_cols, c.n_hidden, {}, c.qkv_bias);
      wv = layer_linear("attn_v", "attn_v", kv_cols, c.n_hidden, {}, c.qkv_bias);
    }
    ValueId q = linear(h, "q", wq), k = linear(h, "k", wk);
    const ValueId v = linear(h, "v", wv);
    if (c.qk_norm != DecoderConfig::QkNorm::none) {
      const bool heads = c.qk_norm == DecoderConfig::QkNorm::head;
      q = layer_norm(q, "attn_q_norm", heads ? c.n_heads : 0);
      k = layer_norm(k, "attn_k_norm", heads ? c.n_kv_heads : 0);
    }
    if (!c.position_embedding) {
      q = rope(q, "q_rope", c.n_heads, factors);
      k = rope(k, "k_rope", c.n_kv_heads, factors);
    }
    Node& a = node(Op::attention, {q, k, v}, "attn", q_cols);
    // 1 / sqrt(head_dim), rounded once
    const double scale = c.attention_scale != 0
                             ? c.attention_scale
                             : static_cast<double>(1.0F / std::sqrt(static_cast<float>(c.head_dim)));
    a.attributes = {{"n_heads", int64_t{c.n_heads}},
                    {"n_kv_heads", int64_t{c.n_kv_heads}},
                    {"head_dim", int64_t{c.head_dim}},
                    {"scale", scale},
                    {"kv", std::string("f32")}};
    if (c.attention_softcap != 0) a.attributes["softcap"] = c.attention_softcap;
    if (c.window != 0 && c.window < g.ctx_max)
      a.attributes["window"] =
          by_layer<int64_t>([&](uint32_t l) { return c.local_layers[l] ? c.window : 0; });
    return linear(a.outputs[0], "attn_out", layer_linear("attn_output", c.n_hidden, q_cols));
  }

  ValueId ffn_block(ValueId h) {
    const Op act = c.activation == DecoderConfig::Activation::silu ? Op::silu : Op::gelu;
    const std::string act_name(op_name(act));
    ValueId x = 0;
    if (c.gated_ffn) {
      Segment gate, up;
      const Tensor* both = in_layer("ffn_gate") ? nullptr : checkpoint.find("blk.0.ffn_up.weight");
      if (both != nullptr && both->rows() == 2 * int64_t{c.n_ff}) {  // one below the other
        gate = layer_linear("ffn_gate", "ffn_up", c.n_ff, c.n_hidden, {0, 2 * c.n_ff});
        up = layer_linear("ffn_up", "ffn_up", c.n_ff, c.n_hidden, {c.n_ff, 2 * c.n_ff});
      } else {
        gate = layer_linear("ffn_gate", c.n_ff, c.n_hidden);
        up = layer_linear("ffn_up", c.n_ff, c.n_hidden);
      }
      const ValueId gate_out = linear(h, "gate", gate), up_out = linear(h, "up", up);
      x = node(Op::mul, {map(act, gate_out, "gate_" + act_name), up_out}, "gated", c.n_ff).outputs[0];
    } else {
      x = map(act, linear(h, "up", layer_linear("ffn_up", c.n_ff, c.n_hidden)), "up_" + act_name);
    }
    return linear(x, "ffn_out", layer_linear("ffn_down", c.n_hidden, c.n_ff));
  }

  ValueId layer(ValueId x, WeightId factors) {
    const ValueId h = c.pre_norms ? layer_norm(x, "attn_norm") : x;
    ValueId attn = attention_block(h, factors);
    if (c.post_norms) attn = layer_norm(attn, "post_attention_norm");
    const ValueId r = add(scaled(attn, c.residual_scale, "attn_scaled"), x, "attn_residual");
    ValueId ffn = ffn_block(c.parallel_residual ? h : c.pre_norms ? layer_norm(r, "ffn_norm") : r);
    if (c.post_norms) ffn = layer_norm(ffn, "post_ffw_norm");
    return add(scaled(ffn, c.residual_scale, "ffn_scaled"), r, "ffn_residual");
  }

  // The factors that divide rope's frequencies. Long rope has two lists: one for contexts up to the original one, one
  // for longer ones; the context that is compiled for decides, since keys in the cache can't change theirs.
  WeightId rope_factors(uint32_t ctx) {
    if (c.position_embedding) return kNoWeight;
    const auto factors = [&](std::string_view name) {
      const std::string tensor = fmt::format("{}.weight", name);
      return checkpoint.find(tensor) == nullptr ? kNoWeight : weight(name, tensor, 1, c.n_rot / 2, false);
    };
    const WeightId long_factors = factors("rope_factors_long"), short_factors = factors("rope_factors_short");
    if ((long_factors == kNoWeight) != (short_factors == kNoWeight))
      fail("{}: of the tensors rope_factors_long.weight and rope_factors_short.weight one is missing",
           checkpoint.path);
    if (long_factors != kNoWeight) return ctx > c.rope.original_ctx ? long_factors : short_factors;
    return factors("rope_freqs");
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

  ValueId embed(std::string_view name, WeightId table) {
    Node& e = node(Op::embed, {g.tokens}, name, c.n_hidden);
    e.segments = {{table, kNoWeight}};
    return e.outputs[0];
  }

  // The learned vectors of positions (GPT-2), added to the tokens'.
  ValueId with_positions(ValueId x, uint32_t ctx) {
    const Tensor* t = checkpoint.find("position_embd.weight");
    const int64_t n = t == nullptr ? c.ctx_train : t->rows();
    if (n < ctx) fail("{}: the model has {} positions, --ctx asks for {}", checkpoint.path, n, ctx);
    const ValueId p = embed("positions", weight("position_embd", "position_embd.weight",
                                                static_cast<uint32_t>(n), c.n_hidden, false));
    nodes->back().attributes["of"] = std::string("position");
    return add(x, p, "embedded_positions");
  }

  Graph build(uint32_t ctx) {
    g.name = std::string(c.architecture);
    g.n_layers = c.n_layers;
    g.n_vocab = c.n_vocab;
    g.n_hidden = c.n_hidden;
    g.ctx_max = ctx;
    g.tokens = g.add_value("tokens", ElementType::i32, 1);
    const WeightId table = weight("token_embd", "token_embd.weight", c.n_vocab, c.n_hidden, false);
    const WeightId factors = rope_factors(ctx);

    nodes = &g.prologue;
    ValueId x = scaled(embed("embedded", table), c.embedding_scale, "embedded_scaled");
    if (c.position_embedding) x = with_positions(x, ctx);
    g.prologue_output = x;

    nodes = &g.body;
    g.body_input = g.add_value("x", ElementType::f32, c.n_hidden);
    g.body_output = layer(g.body_input, factors);

    nodes = &g.epilogue;
    rows = RowSet::wanted;
    const ValueId last = map(Op::select_rows, g.body_output, "wanted");
    g.hidden = norm(last, "hidden", "output_norm", false);
    const bool tied = checkpoint.find("output.weight") == nullptr;
    Segment head{tied ? table : weight("output", "output.weight", c.n_vocab, c.n_hidden, false), kNoWeight};
    if (checkpoint.find("output.bias") != nullptr)
      head.bias = weight("output_bias", "output.bias", 1, c.n_vocab, false);
    g.logits = scaled(linear(g.hidden, "logits", head), c.logit_scale, "logits_scaled");
    if (c.final_softcap != 0) {
      g.logits = map(Op::softcap, g.logits, "logits_capped");
      nodes->back().attributes["cap"] = c.final_softcap;
    }
    refuse_unused_tensors();
    return std::move(g);
  }
};

}  // namespace

std::string ModelKeys::full(std::string_view key) const { return fmt::format("{}.{}", architecture, key); }

uint32_t ModelKeys::dimension(std::string_view key, std::optional<int64_t> fallback) const {
  auto v = checkpoint.meta.integer(full(key));
  if (!v) v = fallback;
  if (!v) fail("{}: metadata key {} is missing", checkpoint.path, full(key));
  if (*v <= 0 || *v > kMaxDim)
    fail("{}: metadata key {} is {}, expected 1 to {}", checkpoint.path, full(key), *v, kMaxDim);
  return static_cast<uint32_t>(*v);
}

double ModelKeys::number(std::string_view key, std::optional<double> fallback) const {
  auto v = checkpoint.meta.number(full(key));
  if (!v) v = fallback;
  if (!v) fail("{}: metadata key {} is missing", checkpoint.path, full(key));
  if (!(*v >= 0 && *v < 1e30))
    fail("{}: metadata key {} is {}, expected 0 to 1e30", checkpoint.path, full(key), *v);
  return *v;
}

void set_windows(DecoderConfig& config, const ModelKeys& keys, uint32_t period) {
  const Metadata& meta = keys.checkpoint.meta;
  const int64_t window = meta.integer(keys.full("attention.sliding_window")).value_or(0);
  if (window <= 0) return;  // some files say "none" this way
  config.window = static_cast<uint32_t>(std::min(window, kMaxDim));
  const std::string pattern = keys.full("attention.sliding_window_pattern");
  const MetaValue* value = meta.find(pattern);
  if (value != nullptr && value->type == MetaType::array) {
    const std::vector<int64_t>& layers = *meta.integers(pattern);
    if (layers.size() < config.n_layers)
      fail("{}: metadata key {} has {} values, expected {}", keys.checkpoint.path, pattern, layers.size(),
           config.n_layers);
    for (uint32_t l = 0; l < config.n_layers; ++l) config.local_layers[l] = layers[l] != 0;
    return;
  }
  if (value != nullptr)
    period = static_cast<uint32_t>(std::clamp<int64_t>(*meta.integer(pattern), 0, kMaxDim));
  for (uint32_t l = 0; l < config.n_layers; ++l)
    config.local_layers[l] = period == 0 || l % period != period - 1;
}

std::span<const Architecture* const> all_architectures() { return kArchitectures; }

Graph build_graph(const Checkpoint& checkpoint, uint32_t ctx) {
  const std::string kind = checkpoint.meta.string("general.type").value_or("model");
  if (kind == "adapter")
    fail("{}: an adapter, expected a model; --lora merges the one into the other", checkpoint.path);
  if (kind == "imatrix")
    fail("{}: an importance matrix, expected a model; --imatrix is the option that takes it",
         checkpoint.path);
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
  if (ctx == 0) {
    ctx = std::min(config.ctx_train, kDefaultCtx);
    // Beyond it long rope takes the factors for long texts, which are worse on short ones.
    if (checkpoint.find("rope_factors_long.weight") != nullptr) ctx = std::min(ctx, config.rope.original_ctx);
  }
  if (ctx > kMaxDim) fail_usage("--ctx {}: at most {} positions", ctx, kMaxDim);
  Graph g = DecoderBuilder{checkpoint, config}.build(ctx);
  verify(g, "building");
  return g;
}

}  // namespace forge
