// Gemma 2: norms on both sides of each block, capped scores and logits, a window in every other layer.
#include "models/architectures.h"

namespace forge {

const Architecture kGemma2 = {
    "gemma2",
    [](DecoderConfig& c, const ModelKeys& keys) {
      configure_gemma(c);
      c.post_norms = true;
      c.attention_softcap = keys.number("attn_logit_softcapping", 50.0);
      c.final_softcap = keys.number("final_logit_softcapping", 30.0);
      set_windows(c, keys, 2);
    },
};

}  // namespace forge
