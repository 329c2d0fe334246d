// What a Hugging Face directory says of special tokens, chat templates and sampling beside its tokenizer.json.
#pragma once

#include <optional>
#include <string>

#include "models/huggingface/config.h"

namespace forge::huggingface {

// Sets the keys of special tokens (tokenizer.ggml.bos_token_id, …), whether they are added, and what ends an
// answer. The vocabulary is in `meta` already. `generation` is generation_config.json.
void write_special_tokens(const Config& tokenizer, const Config& config, const Config& generation,
                          Metadata& meta);

// Sets tokenizer.chat_template, and the other ones by their names: `jinja` is chat_template.jinja's text, where
// there is one, `json` chat_template.json. A file of its own goes before tokenizer_config.json, as in transformers.
void write_chat_template(const Config& tokenizer, const std::optional<std::string>& jinja, const Config& json,
                         Metadata& meta);

// general.sampling.*: what the model's makers recommend.
void write_sampling(const Config& generation, Metadata& meta);

}  // namespace forge::huggingface
