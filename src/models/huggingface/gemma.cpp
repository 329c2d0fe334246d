// Gemma 1, 2 and 3 (text): norms multiply by 1 + weight, the head is the embedding.
#include "core/error.h"
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kGemmaClasses[] = {"GemmaForCausalLM"};
constexpr std::string_view kGemma2Classes[] = {"Gemma2ForCausalLM"};
constexpr std::string_view kGemma3Classes[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"};
// The first Gemma's files say "gelu" and mean the approximation by tanh, as the others.
constexpr std::string_view kTanhGelu[] = {"gelu_pytorch_tanh", "gelu"};

// Norms around both halves of a layer.
constexpr ModuleName kFourNorms[] = {
    {"layers.%l.post_attention_layernorm", "blk.%l.post_attention_norm"},
    {"layers.%l.pre_feedforward_layernorm", "blk.%l.ffn_norm"},
    {"layers.%l.post_feedforward_layernorm", "blk.%l.post_ffw_norm"},
};

// Scores are scaled by 1 / sqrt(query_pre_attn_scalar); the graphs take the head's size.
void check_score_scale(const ModelConfig& model) {
  const auto scalar = model.config.number({"query_pre_attn_scalar"});
  if (scalar && *scalar != static_cast<double>(model.head_dim))
    model.config.refuse("query_pre_attn_scalar", fmt::format("the head's size, {}", model.head_dim));
}

void write_soft_cap(const ModelConfig& model, const char* key, Converted& out) {
  if (const auto cap = model.config.number({key})) out.keys.f32(key, *cap);
}

void convert_gemma2(const ModelConfig& model, Converted& out) {
  check_score_scale(model);
  check_layer_types(model, 2);
  write_soft_cap(model, "attn_logit_softcapping", out);
  write_soft_cap(model, "final_logit_softcapping", out);
  out.keys.u32("attention.sliding_window", model.config.dimension({"sliding_window"}));
}

void convert_gemma3(const ModelConfig& model, Converted& out) {
  check_score_scale(model);
  check_layer_types(model, 6);
  if (model.config.integer({"sliding_window_pattern", "_sliding_window_pattern"}).value_or(6) != 6)
    model.config.refuse("sliding_window_pattern", "6: five layers with a window to one without");
  if (model.config.find({"attn_logit_softcapping"}) != nullptr)
    model.config.refuse("attn_logit_softcapping", "none, as Gemma 3 has");
  write_soft_cap(model, "final_logit_softcapping", out);
  out.keys.u32("attention.sliding_window", model.config.dimension({"sliding_window"}));
  if (!model.rope.number({"rope_theta"})) out.keys.f32("rope.freq_base", 1'000'000);
  if (!model.rope_window.number({"rope_theta"})) out.keys.f32("rope.freq_base_swa", 10'000);
}

// What the text part of a Gemma 3 of text and images leaves to its class.
constexpr DefaultKey kGemma3Defaults[] = {
    {"vocab_size", "262208"},
    {"num_attention_heads", "8"},
    {"num_key_value_heads", "4"},
    {"head_dim", "256"},
    {"max_position_embeddings", "131072"},
    {"rms_norm_eps", "1e-6"},
    {"query_pre_attn_scalar", "256"},
};

}  // namespace

const Mapping kGemma = {
    .classes = kGemmaClasses,
    .architecture = "gemma",
    .activations = kTanhGelu,
    .adds_one_to_norms = true,
    .is_always_tied = true,
};
const Mapping kGemma2 = {
    .classes = kGemma2Classes,
    .architecture = "gemma2",
    .names = kFourNorms,
    .activations = kTanhGelu,
    .adds_one_to_norms = true,
    .is_always_tied = true,
    .convert = convert_gemma2,
};
const Mapping kGemma3 = {
    .classes = kGemma3Classes,
    .architecture = "gemma3",
    .names = kFourNorms,
    .defaults = kGemma3Defaults,
    .activations = kTanhGelu,
    .adds_one_to_norms = true,
    .is_always_tied = true,
    .convert = convert_gemma3,
};

}  // namespace forge::huggingface
