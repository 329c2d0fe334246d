// StableLM: LayerNorm, partial rotary positions, in some sizes attention and feed-forward side by side.
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kClasses[] = {"StableLmForCausalLM", "StableLMEpochForCausalLM"};

void convert(const ModelConfig& model, Converted& out) {
  if (model.config.boolean({"qk_layernorm"}).value_or(false))
    model.config.refuse("qk_layernorm", "false: norms of single heads are not supported");
  out.keys.boolean("use_parallel_residual", model.config.boolean({"use_parallel_residual"}).value_or(false));
}

}  // namespace

const Mapping kStableLm = {
    .classes = kClasses,
    .architecture = "stablelm",
    .activations = kSilu,
    .convert = convert,
};

}  // namespace forge::huggingface
