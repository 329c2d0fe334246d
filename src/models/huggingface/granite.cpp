// Granite 3: Llama with four multipliers.
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kClasses[] = {"GraniteForCausalLM"};

void convert(const ModelConfig& model, Converted& out) {
  const auto copy = [&](const char* from, std::string_view key) {
    if (const auto value = model.config.number({from})) out.keys.f32(key, *value);
  };
  copy("attention_multiplier", "attention.scale");
  copy("embedding_multiplier", "embedding_scale");
  copy("residual_multiplier", "residual_scale");
  copy("logits_scaling", "logit_scale");
}

}  // namespace

const Mapping kGranite = {
    .classes = kClasses,
    .architecture = "granite",
    .activations = kSilu,
    .interleaves_rope = true,
    .convert = convert,
};

}  // namespace forge::huggingface
