// The fields that every endpoint that generates text has in common.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/server/model_info.h"
#include "runtime/server/request_fields.h"
#include "runtime/server/service.h"

namespace forge::rt {

inline constexpr uint32_t kMaxChoices = 16;
inline constexpr size_t kMaxStops = 16, kMaxStopBytes = 1000;

struct GenerationRequest {
  TextRequest text;  // without the prompt
  uint32_t n = 1;    // choices; choice i has the seed plus i
  bool stream = false;
  bool include_usage = false;
  // Where thoughts and tool calls are to be found in the text:
  bool divided = false;
  std::string prompt_text;     // as the template wrote it
  jinja::Value tools;          // OpenAI's list, or undefined
  bool parallel_calls = true;  // else calls behind the first are dropped
};

// temperature, top_p, top_k, min_p, the penalties, logit_bias, seed, stop, max_tokens, n, stream, ignore_eos,
// cache_prompt.
void read_generation(const RequestFields& fields, const ModelInfo& model, GenerationRequest& out);

// An error where one of the strings is empty or too long.
void check_stops(const RequestFields& fields, std::string_view name, const std::vector<std::string>& stops);

// False, and an error, for a text that is too long whatever its tokens: before it takes time to find them.
bool check_length(size_t n_bytes, const std::string& path, const ModelInfo& model, ApiError& error);

// Gives the request its prompt: an error where the context has no room for it and a token.
void set_prompt(std::vector<int32_t> prompt, const ModelInfo& model, GenerationRequest& out, ApiError& error);

// A random number below 2^63.
uint64_t random_seed();

}  // namespace forge::rt
