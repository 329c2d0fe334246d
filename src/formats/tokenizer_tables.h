// The tokenizer of a model file, turned at compile time into the tables that the program uses in place.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/checkpoint.h"

namespace forge {

// Reads the keys tokenizer.ggml.* and returns the blob that runtime/core/tokenizer_format.h describes.
// Merges that name pieces outside of the vocabulary are ignored, as llama.cpp does. Throws Error naming the
// key.
std::vector<uint8_t> build_tokenizer_tables(const Metadata& meta);

}  // namespace forge
