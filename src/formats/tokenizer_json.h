// tokenizer.json of Hugging Face checkpoints, read into the metadata keys that GGUF has for tokenizers.
#pragma once

#include <string>

#include "formats/checkpoint.h"
#include "formats/json.h"

namespace forge {

// Sets tokenizer.ggml.model, .pre, .tokens, .token_type and what goes with them. `path` is for messages. Throws
// Error naming what the tokenizer has that is not supported.
void read_tokenizer_json(const std::string& path, const Json& json, Metadata& meta);

}  // namespace forge
