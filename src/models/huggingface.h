// Hugging Face checkpoints: a directory with config.json, model.safetensors (or a sharded index), tokenizer.json,
// tokenizer_config.json, generation_config.json and a chat template in any of its places. Read as the GGUF file
// that llama.cpp's converter makes of it: GGUF's keys, names, and conventions for what lies in a tensor, so that
// both ways in give one model.
#pragma once

#include <string>
#include <vector>

#include "formats/checkpoint.h"

namespace forge {

// Tensors that GGUF keeps as they are stay in the mapped files; vectors become F32, and what GGUF stores otherwise
// (Llama's Q and K) is copied. Throws Error naming the file and the key or tensor.
Checkpoint read_huggingface(const std::string& directory);

// The files of the directory that read_huggingface reads.
std::vector<std::string> huggingface_files(const std::string& directory);

}  // namespace forge
