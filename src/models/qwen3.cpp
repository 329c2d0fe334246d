// Qwen3: queries and keys are normed head by head.
#include "models/architectures.h"

namespace forge {

const Architecture kQwen3 = {
    "qwen3",
    [](DecoderConfig& c, const ModelKeys&) {
      c.rope_style = "neox";
      c.qk_norm = DecoderConfig::QkNorm::head;
    },
};

}  // namespace forge
