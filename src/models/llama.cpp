// Llama and everything that GGUF calls `llama`: SmolLM2, TinyLlama, Mistral, Llama 3.x.
// GGUF stores Q and K with rows permuted so that rope pairs are neighbours ("norm" style).
#include "models/architectures.h"

namespace forge {

const Architecture kLlama = {
    "llama",
    [](DecoderConfig& c, const Checkpoint& checkpoint) {
      c.rope_style = "norm";
      c.qkv_bias = checkpoint.find("blk.0.attn_q.bias") != nullptr;
      c.rope_factors = checkpoint.find("rope_freqs.weight") != nullptr;
    },
};

}  // namespace forge
