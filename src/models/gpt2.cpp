// GPT-2: learned positions, LayerNorm, biases everywhere, no gate.
#include "models/architectures.h"

namespace forge {

const Architecture kGpt2 = {
    "gpt2",
    [](DecoderConfig& c, const ModelKeys&) {
      c.norm = DecoderConfig::Norm::layer;
      c.activation = DecoderConfig::Activation::gelu;
      c.gated_ffn = false;
      c.qkv_bias = true;
      c.position_embedding = true;
    },
};

}  // namespace forge
