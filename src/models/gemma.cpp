// Gemma: embeddings are scaled by sqrt(n_hidden), the gate is a gelu. GGUF's norm gains include the 1 that the model
// adds to its weights.
#include <cmath>

#include "models/architectures.h"

namespace forge {

void configure_gemma(DecoderConfig& c) {
  c.rope_style = "neox";
  c.activation = DecoderConfig::Activation::gelu;
  c.embedding_scale = std::sqrt(static_cast<double>(c.n_hidden));
}

const Architecture kGemma = {
    "gemma",
    [](DecoderConfig& c, const ModelKeys&) { configure_gemma(c); },
};

}  // namespace forge
