// Importances from a text: what the model's own activations are over it.
#pragma once

#include <string>

#include "formats/checkpoint.h"
#include "quantize/importances.h"

namespace forge {

// Compiles the model for this machine, its matrices as floats so that every activation shows, and runs it over the
// text's first 32768 tokens. Importances of every matrix that is multiplied with. Throws Error.
Importances calibrate(const Checkpoint& model, const std::string& text_file);

}  // namespace forge
