// Qwen2 and Qwen2.5: biases on Q, K and V, rope pairs half a head apart.
#include "models/architectures.h"

namespace forge {

const Architecture kQwen2 = {
    "qwen2",
    [](DecoderConfig& c, const ModelKeys&) {
      c.rope_style = "neox";
      c.qkv_bias = true;
    },
};

}  // namespace forge
