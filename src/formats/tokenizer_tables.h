// The tokenizer of a model file, turned at compile time into the tables that the program uses in place.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"

namespace forge {

// Metadata of our own: all tokens that end an answer, where a checkpoint names several. GGUF has a key for one.
inline constexpr std::string_view kEosTokenIdsKey = "tokenizer.ggml.eos_token_ids";

// Reads the keys tokenizer.ggml.* and returns the blob that runtime/core/tokenizer_format.h describes.
// Merges that name pieces outside of the vocabulary are ignored, as llama.cpp does. Throws Error naming the
// key.
std::vector<uint8_t> build_tokenizer_tables(const Metadata& meta);

}  // namespace forge
