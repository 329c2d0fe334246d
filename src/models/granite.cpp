// Granite 3: Llama with four multipliers (the fourth, attention.scale, every architecture may have).
#include "core/error.h"
#include "models/architectures.h"

namespace forge {

const Architecture kGranite = {
    "granite",
    [](DecoderConfig& c, const ModelKeys& keys) {
      c.rope_style = "norm";
      c.embedding_scale = keys.number("embedding_scale", 1.0);
      c.residual_scale = keys.number("residual_scale", 1.0);
      const double divisor = keys.number("logit_scale");
      if (divisor == 0) fail("{}: metadata key {} is 0", keys.checkpoint.path, keys.full("logit_scale"));
      c.logit_scale = 1 / divisor;
    },
};

}  // namespace forge
