// GPT-2: learned positions, LayerNorm, linears stored as Conv1D.
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kClasses[] = {"GPT2LMHeadModel"};
constexpr std::string_view kTanhGelu[] = {"gelu_new", "gelu_pytorch_tanh"};
constexpr ModuleName kNames[] = {
    {"wte", "token_embd"},
    {"wpe", "position_embd"},
    {"ln_f", "output_norm"},
    {"h.%l.ln_1", "blk.%l.attn_norm"},
    {"h.%l.attn.c_attn", "blk.%l.attn_qkv", true},
    {"h.%l.attn.c_proj", "blk.%l.attn_output", true},
    {"h.%l.ln_2", "blk.%l.ffn_norm"},
    {"h.%l.mlp.c_fc", "blk.%l.ffn_up", true},
    {"h.%l.mlp.c_proj", "blk.%l.ffn_down", true},
};

void convert(const ModelConfig& model, Converted& out) {
  if (model.config.find({"n_inner"}) == nullptr) out.keys.u32("feed_forward_length", 4 * model.n_hidden);
  if (!model.config.boolean({"scale_attn_weights"}).value_or(true))
    model.config.refuse("scale_attn_weights", "true");
  if (model.config.boolean({"scale_attn_by_inverse_layer_idx"}).value_or(false))
    model.config.refuse("scale_attn_by_inverse_layer_idx", "false");
}

}  // namespace

const Mapping kGpt2 = {
    .classes = kClasses,
    .architecture = "gpt2",
    .names = kNames,
    .activations = kTanhGelu,
    .is_always_tied = true,
    .convert = convert,
};

}  // namespace forge::huggingface
