// Llama and Mistral: what GGUF calls `llama`.
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kClasses[] = {"LlamaForCausalLM", "MistralForCausalLM"};

void convert(const ModelConfig& model, Converted& out) {
  // Mistral 7B's; llama.cpp's converter leaves it out, and with it the model sees more than it was trained to.
  if (const auto window = model.config.integer({"sliding_window"}))
    out.keys.u32("attention.sliding_window", *window);
}

}  // namespace

const Mapping kLlama = {
    .classes = kClasses,
    .architecture = "llama",
    .activations = kSilu,
    .interleaves_rope = true,
    .convert = convert,
};

}  // namespace forge::huggingface
