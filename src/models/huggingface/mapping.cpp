#include "models/huggingface/mapping.h"

#include <algorithm>

#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr const Mapping* kMappings[] = {&kLlama,  &kQwen2,    &kQwen3,   &kPhi3,  &kGemma,   &kGemma2,
                                        &kGemma3, &kStableLm, &kSmolLm3, &kOlmo2, &kGranite, &kGpt2};

// Llama's names, which most families have taken over.
constexpr ModuleName kCommonNames[] = {
    {"embed_tokens", "token_embd"},
    {"norm", "output_norm"},
    {"lm_head", "output"},
    {"layers.%l.input_layernorm", "blk.%l.attn_norm"},
    {"layers.%l.self_attn.q_proj", "blk.%l.attn_q"},
    {"layers.%l.self_attn.k_proj", "blk.%l.attn_k"},
    {"layers.%l.self_attn.v_proj", "blk.%l.attn_v"},
    {"layers.%l.self_attn.qkv_proj", "blk.%l.attn_qkv"},
    {"layers.%l.self_attn.q_norm", "blk.%l.attn_q_norm"},
    {"layers.%l.self_attn.k_norm", "blk.%l.attn_k_norm"},
    {"layers.%l.self_attn.o_proj", "blk.%l.attn_output"},
    {"layers.%l.post_attention_layernorm", "blk.%l.ffn_norm"},
    {"layers.%l.mlp.gate_proj", "blk.%l.ffn_gate"},
    {"layers.%l.mlp.up_proj", "blk.%l.ffn_up"},
    {"layers.%l.mlp.gate_up_proj", "blk.%l.ffn_up"},
    {"layers.%l.mlp.down_proj", "blk.%l.ffn_down"},
};

// "layers.12.mlp" gives "layers.%l.mlp", and 12; a name without a layer is itself.
std::pair<std::string, std::string_view> split_layer(std::string_view name) {
  for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
    const std::string_view rest = name.substr(dot + 1);
    const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    if (digits > 0 && digits < rest.size() && rest[digits] == '.')
      return {fmt::format("{}.%l{}", name.substr(0, dot), rest.substr(digits)), rest.substr(0, digits)};
  }
  return {std::string(name), {}};
}

}  // namespace

std::span<const Mapping* const> all_mappings() { return kMappings; }

const Mapping* mapping_of(std::string_view architecture) {
  const auto at = std::ranges::find(kMappings, architecture, &Mapping::architecture);
  return at == std::end(kMappings) ? nullptr : *at;
}

const Mapping& find_mapping(const Config& config) {
  const Json* classes = config.find({"architectures"});
  const std::string name =
      classes != nullptr && classes->is_array() && !classes->empty() && (*classes)[0].is_string()
          ? (*classes)[0].get<std::string>()
          : "";
  std::string known;
  for (const Mapping* mapping : all_mappings())
    for (const std::string_view c : mapping->classes) {
      if (c == name) return *mapping;
      known += fmt::format("{}{}", known.empty() ? "" : ", ", c);
    }
  if (name.empty())
    fail("{}: no class in key architectures, expected the config.json of a model, of one of {}",
         config.path(), known);
  fail("{}: architectures names {}, which is not supported (known: {})", config.path(), quote(name), known);
}

ModelConfig read_model_config(const Mapping& mapping, Config config) {
  // The text part goes before the whole, so that defaults are set only where both are silent.
  const Config text = config.object({"text_config"});
  for (const DefaultKey& d : mapping.defaults)
    if (config.find({d.key}) == nullptr && text.find({d.key}) == nullptr)
      config.set(d.key, Json::parse(d.value));
  ModelConfig model = model_config(std::move(config));
  if (const Json* quantized = model.config.find({"quantization_config"}); quantized != nullptr)
    fail("{}: the weights are quantized ({}), expected F32, F16 or BF16", model.config.path(),
         model.config.object({"quantization_config"}).string({"quant_method"}).value_or("no method named"));
  const auto activation =
      model.config.string({"hidden_activation", "hidden_act", "activation_function"}).value_or("");
  if (!activation.empty() && std::ranges::find(mapping.activations, activation) == mapping.activations.end())
    fail("{}: the activation is {}, expected {}", model.config.path(), quote(activation),
         fmt::join(mapping.activations, " or "));
  return model;
}

std::optional<Place> find_place(const Mapping& mapping, std::string_view tensor) {
  const size_t dot = tensor.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  std::string_view module = tensor.substr(0, dot);
  const std::string_view kind = tensor.substr(dot);
  if (kind != ".weight" && kind != ".bias") return std::nullopt;
  // What classes put around the decoder itself.
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view around : {"model.", "transformer.", "language_model."})
      if (module.starts_with(around)) {
        module.remove_prefix(around.size());
        again = true;
      }
  }
  const auto [key, layer] = split_layer(module);
  for (const std::span<const ModuleName> names : {mapping.names, std::span<const ModuleName>(kCommonNames)}) {
    const auto at = std::ranges::find(names, key, &ModuleName::huggingface);
    if (at == names.end()) continue;
    Place place;
    place.name = std::string(at->gguf);
    if (const size_t hole = place.name.find("%l"); hole != std::string::npos)
      place.name.replace(hole, 2, layer);
    place.name += kind;
    place.transposed = at->transposed && kind == ".weight";
    place.is_norm = kind == ".weight" && place.name.ends_with("_norm.weight");
    if (mapping.interleaves_rope && key.ends_with("self_attn.q_proj")) place.rows = Place::Rows::query_heads;
    if (mapping.interleaves_rope && key.ends_with("self_attn.k_proj")) place.rows = Place::Rows::key_heads;
    return place;
  }
  return std::nullopt;
}

}  // namespace forge::huggingface
