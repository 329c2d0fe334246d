// Hugging Face's tokenizer.json, translated into GGUF's metadata keys.
#pragma once

#include <string>

#include "formats/checkpoint.h"
#include "formats/json.h"

namespace forge {

// Sets tokenizer.ggml.model (gpt2: BPE of bytes, llama: BPE of characters, t5: Unigram), .pre where the
// pre-tokenizer has a name, .tokens, .token_type, .scores, .merges, .precompiled_charsmap, .add_space_prefix,
// .unknown_token_id, and from the post-processor .add_bos_token, .add_eos_token, .bos_token_id, .eos_token_id;
// and tokenizer.forge.pipeline, from which build_tokenizer_tables learns what those keys can't say (see
// pipeline_of_json). Ids that no token has become unused tokens. Throws Error naming `path` and what is wrong or
// not supported.
void read_tokenizer_json(const std::string& path, const Json& json, Metadata& meta);

}  // namespace forge
