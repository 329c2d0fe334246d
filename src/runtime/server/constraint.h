// What an answer must match: JSON schemas, regular expressions, choices, GBNF; from the request's fields to masks of tokens.
#pragma once

#include <memory>
#include <string>

#include "runtime/core/token_masks.h"
#include "runtime/server/generation_request.h"
#include "runtime/server/recent_cache.h"

namespace forge::rt {

// The grammars that were asked for lately, with what is known of their masks.
class GrammarCache {
 public:
  explicit GrammarCache(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  // `key` names the grammar, `make` makes it where it is not known.
  Result<std::shared_ptr<TokenMasks>> get(const std::string& key,
                                          const std::function<Result<Grammar>()>& make);

 private:
  const Tokenizer* tokenizer_;
  std::shared_ptr<const VocabularyTrie> trie_;  // made when it is first needed
  RecentCache<TokenMasks> known_;
};

// response_format, json_schema, regex, choice or grammar: one of them at most. An error names what can't be honoured.
void read_constraint(const RequestFields& fields, const ModelInfo& model, GenerationRequest& out);
// The format {"type": "text" | "json_object" | "json_schema", …} called `name`.
void read_format(const RequestFields& fields, std::string_view name, const ModelInfo& model,
                 GenerationRequest& out);
// The answer must be calls of the tools. lazy: where it calls tools at all (see AnswerGuideOptions::opening).
void set_tool_calls(const jinja::Value& tools, const ToolCallGrammarOptions& options, bool lazy,
                    const ModelInfo& model, GenerationRequest& out, ApiError& error);

}  // namespace forge::rt
