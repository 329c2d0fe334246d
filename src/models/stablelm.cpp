// StableLM: LayerNorm, part of a head is rotated; without ffn_norm both blocks read the same normed input.
#include "models/architectures.h"

namespace forge {

const Architecture kStableLm = {
    "stablelm",
    [](DecoderConfig& c, const ModelKeys& keys) {
      c.norm = DecoderConfig::Norm::layer;
      c.rope_style = "neox";
      c.parallel_residual = keys.checkpoint.find("blk.0.ffn_norm.weight") == nullptr;
    },
};

}  // namespace forge
