// Gemma 3 (text): as Gemma 2, without the caps; queries and keys are normed; five local layers, with a rope of their
// own, to a global one.
#include "models/architectures.h"

namespace forge {

const Architecture kGemma3 = {
    "gemma3",
    [](DecoderConfig& c, const ModelKeys& keys) {
      configure_gemma(c);
      c.post_norms = true;
      c.qk_norm = DecoderConfig::QkNorm::head;
      c.final_softcap = keys.number("final_logit_softcapping", 0.0);
      set_windows(c, keys, 6);
      c.local_rope = {.base = keys.number("rope.freq_base_swa", 10000.0)};
    },
};

}  // namespace forge
