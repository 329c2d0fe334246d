// What the endpoints know of the model that they serve.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/core/answer_format.h"
#include "runtime/core/chat_prompt.h"
#include "runtime/core/dry.h"
#include "runtime/core/tool_call_grammar.h"
#include "runtime/host/program.h"
#include "runtime/server/recent_cache.h"

namespace forge::rt {

// The control tokens around a gap that the model fills.
struct FillTokens {
  int32_t prefix, suffix, middle;
};
std::optional<FillTokens> find_fill_tokens(const Tokenizer& tokenizer);

class GrammarCache;

struct ModelInfo {
  Program* program = nullptr;
  Session* session = nullptr;
  std::optional<ChatTemplate> chat_template;
  std::optional<ChatPrompt> chat_prompt;  // where there is a template
  AnswerFormat format;                    // of thoughts and tool calls
  // Control tokens of the format's markers: they come out under their names.
  std::shared_ptr<const std::vector<int32_t>> markers;
  std::vector<MarkerToken> marker_tokens;  // the same, without those that end generation
  std::shared_ptr<GrammarCache> grammars;
  std::shared_ptr<TokenMasks> masks;  // of answers where a request does not say otherwise; null: any text
  std::shared_ptr<RecentCache<const DryBreakers>> breakers;  // by their strings
  size_t max_text = 0;  // bytes: a longer text has more tokens than the context
  std::optional<FillTokens> fill_tokens;
  std::string system_prompt;  // of conversations that bring none; may be empty
  std::string name;           // as clients see it
  std::string fingerprint;    // of the weights and the code: the same answers where it is the same
  int64_t created = 0;        // seconds since 1970: when the server started
  SamplingParams sampling;    // where a request does not say otherwise; the seed is drawn for each

  const Tokenizer& tokenizer() const { return session->tokenizer; }
  uint32_t ctx() const { return session->engine.ctx(); }
};

// Both must outlive `model`, which stays where it is: what it holds points into it.
Status fill_model_info(Program& program, Session& session, ModelInfo& model);

}  // namespace forge::rt
