// OLMo 2: norms behind attention and feed-forward, and of whole queries and keys.
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kClasses[] = {"Olmo2ForCausalLM"};
constexpr ModuleName kNames[] = {
    {"layers.%l.post_attention_layernorm", "blk.%l.post_attention_norm"},
    {"layers.%l.post_feedforward_layernorm", "blk.%l.post_ffw_norm"},
};

}  // namespace

const Mapping kOlmo2 = {
    .classes = kClasses,
    .architecture = "olmo2",
    .names = kNames,
    .activations = kSilu,
};

}  // namespace forge::huggingface
