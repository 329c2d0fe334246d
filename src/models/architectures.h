// The list of architectures: one line here and one file each.
#pragma once

#include "models/architecture.h"

namespace forge {

extern const Architecture kLlama;
extern const Architecture kQwen2;

}  // namespace forge
