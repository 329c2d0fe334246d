// Phi-3 and Phi-4-mini: Q, K, V in one tensor and gate, up in another; long rope; part of a head may be rotated; the
// 4k models have a window in all layers.
#include "models/architectures.h"

namespace forge {

const Architecture kPhi3 = {
    "phi3",
    [](DecoderConfig& c, const ModelKeys& keys) {
      c.rope_style = "neox";
      set_windows(c, keys, 0);
    },
};

}  // namespace forge
