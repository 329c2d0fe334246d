// The list of architectures: one line here and one file each.
#pragma once

#include "models/architecture.h"

namespace forge {

extern const Architecture kGemma;
extern const Architecture kGemma2;
extern const Architecture kGemma3;
extern const Architecture kGpt2;
extern const Architecture kGranite;
extern const Architecture kLlama;
extern const Architecture kOlmo2;
extern const Architecture kPhi3;
extern const Architecture kQwen2;
extern const Architecture kQwen3;
extern const Architecture kSmolLm3;
extern const Architecture kStableLm;

// What all generations of Gemma share.
void configure_gemma(DecoderConfig& c);

}  // namespace forge
