// Log probabilities as OpenAI's two completion APIs write them.
#pragma once

#include <span>
#include <string>

#include "runtime/server/model_info.h"
#include "runtime/server/service.h"

namespace forge::rt {

// {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}
std::string chat_logprobs_json(const ModelInfo& model, std::span<const TextToken> tokens);
// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; the first token stands at `offset` bytes of the text.
std::string completion_logprobs_json(const ModelInfo& model, std::span<const TextToken> tokens,
                                     size_t offset);

}  // namespace forge::rt
