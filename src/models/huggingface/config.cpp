#include "models/huggingface/config.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"
#include "formats/gguf_encoding.h"

namespace forge::huggingface {
namespace {

std::optional<int64_t> integer_of(const Json& value) {
  constexpr auto kLimit = int64_t{1} << 53;
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(kLimit))
    return std::nullopt;
  const auto integer = value.get<int64_t>();
  return integer <= kLimit && integer >= -kLimit ? std::optional(integer) : std::nullopt;
}

std::optional<double> number_of(const Json& value) {
  if (!value.is_number()) return std::nullopt;
  const auto number = value.get<double>();
  return std::fabs(number) <= std::numeric_limits<float>::max() ? std::optional(number) : std::nullopt;
}

template <class T, class F>
std::optional<std::vector<T>> all_of(const Json& array, F&& element) {
  if (!array.is_array()) return std::nullopt;
  std::vector<T> out;
  for (const Json& value : array) {
    const std::optional<T> one = element(value);
    if (!one) return std::nullopt;
    out.push_back(*one);
  }
  return out;
}

}  // namespace

Config::Config(std::string path, Json object) : path_(std::move(path)), object_(std::move(object)) {
  if (!object_.is_object()) fail("{}: no object, expected a configuration's keys", path_);
}

const Json* Config::find(Keys keys) const {
  for (const char* key : keys) {
    const auto at = object_.find(key);
    if (at != object_.end() && !at->is_null()) return &*at;
  }
  return nullptr;
}

void Config::fail_kind(const char* key, std::string_view expected) const {
  fail("{}: key {} is no {}", path_, quote(key), expected);
}

std::optional<int64_t> Config::integer(Keys keys) const {
  const Json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  const auto integer = integer_of(*value);
  if (!integer) fail_kind(*keys.begin(), "whole number");
  return integer;
}

std::optional<double> Config::number(Keys keys) const {
  const Json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  const auto number = number_of(*value);
  if (!number) fail_kind(*keys.begin(), "number");
  return number;
}

std::optional<bool> Config::boolean(Keys keys) const {
  const Json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail_kind(*keys.begin(), "bool");
  return value->get<bool>();
}

std::optional<std::string> Config::string(Keys keys) const {
  const Json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail_kind(*keys.begin(), "string");
  return value->get<std::string>();
}

std::optional<std::vector<int64_t>> Config::integers(Keys keys) const {
  const Json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  auto out = all_of<int64_t>(*value, integer_of);
  if (!out) fail_kind(*keys.begin(), "array of whole numbers");
  return out;
}

std::optional<std::vector<double>> Config::numbers(Keys keys) const {
  const Json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  auto out = all_of<double>(*value, number_of);
  if (!out) fail_kind(*keys.begin(), "array of numbers");
  return out;
}

Config Config::object(Keys keys) const {
  const Json* value = find(keys);
  if (value != nullptr && !value->is_object()) fail_kind(*keys.begin(), "object");
  return {path_, value == nullptr ? Json::object() : *value};
}

int64_t Config::dimension(Keys keys) const {
  const auto value = integer(keys);
  if (!value) fail("{}: key {} is missing", path_, quote(*keys.begin()));
  if (*value < 1 || *value > 1 << 24)
    fail("{}: key {} is {}, expected 1 to 2^24", path_, quote(*keys.begin()), *value);
  return *value;
}

void Config::refuse(const char* key, std::string_view expected) const {
  const Json* value = find({key});
  const std::string text = value == nullptr ? "missing" : value->dump(-1, ' ', true);
  fail("{}: {} is {}{}, expected {}", path_, key, text.substr(0, 60), text.size() > 60 ? "…" : "", expected);
}

ModelConfig model_config(Config config) {
  // A model of text and images holds its text model's configuration as a part, which goes before the whole.
  if (const Json text = config.object({"text_config"}).json(); !text.empty())
    for (const auto& [key, value] : text.items()) config.set(key.c_str(), value);

  ModelConfig m{.config = config,
                .rope = config.object({"rope_parameters", "rope_scaling"}),
                .rope_window = Config(config.path(), Json::object())};
  m.n_layers = config.dimension({"num_hidden_layers", "n_layer"});
  m.n_hidden = config.dimension({"hidden_size", "n_embd"});
  m.n_heads = config.dimension({"num_attention_heads", "n_head"});
  m.n_kv_heads =
      config.find({"num_key_value_heads"}) != nullptr ? config.dimension({"num_key_value_heads"}) : m.n_heads;
  m.head_dim = config.find({"head_dim"}) != nullptr ? config.dimension({"head_dim"})
                                                    : std::max<int64_t>(1, m.n_hidden / m.n_heads);
  m.context = config.dimension({"max_position_embeddings", "n_positions", "n_ctx"});

  // One object a kind of layer, or one for all with what older files have beside it.
  if (m.rope.find({"full_attention", "sliding_attention"}) != nullptr) {
    m.rope_window = m.rope.object({"sliding_attention"});
    m.rope = m.rope.object({"full_attention"});
  } else if (const auto theta = config.number({"rope_local_base_freq"})) {
    m.rope_window.set("rope_theta", *theta);
  }
  if (const Json* type = m.rope.find({"rope_type", "type"}); type != nullptr)
    m.rope.set("rope_type", Json(*type));
  for (const char* key : {"rope_theta", "partial_rotary_factor", "original_max_position_embeddings"})
    if (const Json* value = config.find({key}); value != nullptr && m.rope.find({key}) == nullptr)
      m.rope.set(key, Json(*value));
  if (const Json* share = config.find({"rope_pct"});
      share != nullptr && m.rope.find({"partial_rotary_factor"}) == nullptr)
    m.rope.set("partial_rotary_factor", Json(*share));
  return m;
}

void check_layer_types(const ModelConfig& model, int64_t period) {
  const Json* types = model.config.find({"layer_types"});
  if (types == nullptr) return;
  bool agrees = types->is_array() && static_cast<int64_t>(types->size()) == model.n_layers;
  for (int64_t l = 0; agrees && l < model.n_layers; ++l)
    agrees =
        (*types)[static_cast<size_t>(l)] == ((l + 1) % period == 0 ? "full_attention" : "sliding_attention");
  if (!agrees)
    model.config.refuse("layer_types", period == 1 ? "full_attention in all layers"
                                                   : fmt::format("full_attention in every {}th layer, "
                                                                 "sliding_attention in the others",
                                                                 period));
}

void KeyWriter::set(std::string_view key, MetaValue value) {
  meta_.set(fmt::format("{}.{}", prefix_, key), std::move(value));
}
void KeyWriter::u32(std::string_view key, int64_t value) {
  if (!std::in_range<uint32_t>(value)) fail("{}.{} would be {}, expected 0 to 2^32", prefix_, key, value);
  set(key, {MetaType::u32, MetaType::u32, value});
}
void KeyWriter::f32(std::string_view key, double value) {
  // As a file would give it back.
  set(key, {MetaType::f32, MetaType::u32, static_cast<double>(static_cast<float>(value))});
}
void KeyWriter::boolean(std::string_view key, bool value) {
  set(key, {MetaType::boolean, MetaType::u32, int64_t{value}});
}
void KeyWriter::string(std::string_view key, std::string value) {
  set(key, {MetaType::string, MetaType::u32, std::move(value)});
}

namespace {

// What `linear` and `yarn` scaling say; llama3's and longrope's are tensors.
void write_rope_scaling(const ModelConfig& m, KeyWriter& keys) {
  const Config& rope = m.rope;
  const std::string type = rope.string({"rope_type"}).value_or("default");
  if (type == "default" || type == "llama3" || type == "longrope" || type == "su") return;
  if (type != "linear" && type != "yarn")
    rope.refuse("rope_type", "default, linear, yarn, llama3 or longrope");
  const auto factor = rope.number({"factor"});
  if (!factor) rope.refuse("factor", fmt::format("the factor of rope type {}", type));
  keys.string("rope.scaling.type", type);
  keys.f32("rope.scaling.factor", *factor);
  if (type == "linear") return;
  keys.u32("rope.scaling.original_context_length",
           rope.integer({"original_max_position_embeddings"}).value_or(m.context));
  const auto copy = [&](Config::Keys from, std::string_view key) {
    if (const auto value = rope.number(from)) keys.f32(key, *value);
  };
  copy({"extrapolation_factor"}, "rope.scaling.yarn_ext_factor");
  copy({"attention_factor", "attn_factor"}, "rope.scaling.yarn_attn_factor");
  copy({"beta_fast"}, "rope.scaling.yarn_beta_fast");
  copy({"beta_slow"}, "rope.scaling.yarn_beta_slow");
}

}  // namespace

void write_common_keys(const ModelConfig& m, KeyWriter& keys) {
  const Config& config = m.config;
  keys.u32("vocab_size", config.dimension({"vocab_size"}));
  keys.u32("block_count", m.n_layers);
  keys.u32("context_length", m.context);
  keys.u32("embedding_length", m.n_hidden);
  if (config.find({"intermediate_size", "n_inner"}) != nullptr)
    keys.u32("feed_forward_length", config.dimension({"intermediate_size", "n_inner"}));
  keys.u32("attention.head_count", m.n_heads);
  keys.u32("attention.head_count_kv", m.n_kv_heads);
  keys.u32("attention.key_length", m.head_dim);
  keys.u32("attention.value_length", m.head_dim);
  if (const auto eps = config.number({"rms_norm_eps"})) keys.f32("attention.layer_norm_rms_epsilon", *eps);
  if (const auto eps = config.number({"layer_norm_eps", "layer_norm_epsilon"}))
    keys.f32("attention.layer_norm_epsilon", *eps);
  const double rotated = m.rope.number({"partial_rotary_factor"}).value_or(1);
  if (!(rotated > 0 && rotated <= 1)) m.rope.refuse("partial_rotary_factor", "above 0 and up to 1");
  keys.u32("rope.dimension_count", static_cast<int64_t>(rotated * static_cast<double>(m.head_dim)));
  if (const auto theta = m.rope.number({"rope_theta"})) keys.f32("rope.freq_base", *theta);
  if (const auto theta = m.rope_window.number({"rope_theta"})) keys.f32("rope.freq_base_swa", *theta);
  write_rope_scaling(m, keys);
  if (config.integer({"num_local_experts", "num_experts", "n_routed_experts"}).value_or(0) != 0)
    fail("{}: mixtures of experts are not supported", config.path());
}

std::vector<float> llama3_rope_factors(const ModelConfig& m) {
  const double base = m.rope.number({"rope_theta"}).value_or(10000);
  const double factor = m.rope.number({"factor"}).value_or(8);
  const double low = m.rope.number({"low_freq_factor"}).value_or(1);
  const double high = m.rope.number({"high_freq_factor"}).value_or(4);
  const double context = m.rope.number({"original_max_position_embeddings"}).value_or(8192);
  std::vector<float> out;
  for (int64_t i = 0; i < m.head_dim; i += 2) {
    // Frequencies in float32, as transformers has them.
    const float frequency =
        1.0F / std::pow(static_cast<float>(base), static_cast<float>(i) / static_cast<float>(m.head_dim));
    const double wave_length = 2 * std::numbers::pi / static_cast<double>(frequency);
    double divisor = 1;
    if (wave_length > context / low) {
      divisor = factor;
    } else if (wave_length >= context / high) {
      const double smooth = (context / wave_length - low) / (high - low);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

}  // namespace forge::huggingface
