// Log probabilities as OpenAI's two completion APIs write them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "runtime/server/model_info.h"
#include "runtime/server/service.h"

namespace forge::rt {

// {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}
std::string chat_logprobs_json(const ModelInfo& model, std::span<const TextToken> tokens);
// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; the first token stands at the character `offset` of the
// text.
std::string completion_logprobs_json(const ModelInfo& model, std::span<const TextToken> tokens,
                                     size_t offset);

// Code points of UTF-8, wherever the text is cut: a piece counts the characters that begin in it.
size_t count_characters(std::string_view text);

}  // namespace forge::rt
