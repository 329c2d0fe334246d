// The list of families: one line here, one in mapping.cpp, and one file each.
#pragma once

#include "models/huggingface/mapping.h"

namespace forge::huggingface {

extern const Mapping kLlama, kQwen2, kQwen3, kPhi3, kGemma, kGemma2, kGemma3, kStableLm, kSmolLm3, kOlmo2,
    kGranite, kGpt2;

}  // namespace forge::huggingface
