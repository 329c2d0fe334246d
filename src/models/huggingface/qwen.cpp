// Qwen2, Qwen2.5 and Qwen3.
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kQwen2Classes[] = {"Qwen2ForCausalLM"};
constexpr std::string_view kQwen3Classes[] = {"Qwen3ForCausalLM"};

void convert(const ModelConfig& model, Converted&) {
  if (model.config.boolean({"use_sliding_window"}).value_or(false))
    model.config.refuse("use_sliding_window", "false: windows in some of the layers are not supported");
  check_layer_types(model, 1);
}

}  // namespace

const Mapping kQwen2 = {
    .classes = kQwen2Classes, .architecture = "qwen2", .activations = kSilu, .convert = convert};
const Mapping kQwen3 = {
    .classes = kQwen3Classes, .architecture = "qwen3", .activations = kSilu, .convert = convert};

}  // namespace forge::huggingface
