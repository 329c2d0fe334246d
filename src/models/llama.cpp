// Llama and everything that GGUF calls `llama`: SmolLM2, TinyLlama, Mistral, Llama 3.x.
// GGUF stores Q and K with rows permuted so that rope pairs are neighbours ("norm" style). Mistral's window is in all
// layers.
#include "models/architectures.h"

namespace forge {

const Architecture kLlama = {
    "llama",
    [](DecoderConfig& c, const ModelKeys& keys) {
      c.rope_style = "norm";
      set_windows(c, keys, 0);
    },
};

}  // namespace forge
