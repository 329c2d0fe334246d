// OLMo 2: norms behind the blocks only; queries and keys are normed as whole rows.
#include "models/architectures.h"

namespace forge {

const Architecture kOlmo2 = {
    "olmo2",
    [](DecoderConfig& c, const ModelKeys&) {
      c.rope_style = "neox";
      c.pre_norms = false;
      c.post_norms = true;
      c.qk_norm = DecoderConfig::QkNorm::row;
    },
};

}  // namespace forge
