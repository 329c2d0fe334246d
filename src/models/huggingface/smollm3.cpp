// SmolLM3: Llama without rotation in every fourth layer.
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kClasses[] = {"SmolLM3ForCausalLM"};

// GGUF has no key for it: every reader takes every fourth layer.
void convert(const ModelConfig& model, Converted&) {
  check_layer_types(model, 1);
  const auto rotates = model.config.integers({"no_rope_layers"});
  if (!rotates) {
    if (model.config.integer({"no_rope_layer_interval"}).value_or(4) != 4)
      model.config.refuse("no_rope_layer_interval", "4");
    return;
  }
  bool agrees = static_cast<int64_t>(rotates->size()) == model.n_layers;
  for (size_t l = 0; agrees && l < rotates->size(); ++l) agrees = (*rotates)[l] == ((l + 1) % 4 == 0 ? 0 : 1);
  if (!agrees) model.config.refuse("no_rope_layers", "0 for every fourth layer and 1 for the others");
}

}  // namespace

const Mapping kSmolLm3 = {
    .classes = kClasses,
    .architecture = "smollm3",
    .activations = kSilu,
    .interleaves_rope = true,
    .convert = convert,
};

}  // namespace forge::huggingface
