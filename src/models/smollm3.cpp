// SmolLM3: Llama, but every fourth layer has no rope.
#include "models/architectures.h"

namespace forge {

const Architecture kSmolLm3 = {
    "smollm3",
    [](DecoderConfig& c, const ModelKeys&) {
      c.rope_style = "norm";
      c.rope_skip = 4;
    },
};

}  // namespace forge
