// Grammars that make a model call tools.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/answer_format.h"
#include "runtime/core/grammar.h"

namespace forge::rt {

// A control token that markers are written with.
struct MarkerToken {
  std::string name;
  int32_t token = 0;
};

struct ToolCallGrammarOptions {
  std::string_view name;  // the one function to call, once; empty: any of the tools, at least one call
  bool parallel = true;   // several calls, where the format has them
  // The tools whose arguments are as their schemas say; those of others are any object. Null: all.
  const std::vector<std::string>* strict = nullptr;
  std::span<const MarkerToken> tokens;  // markers are written with these, not with their names
};

// Answers that are calls of `tools` (OpenAI's list) and nothing else, with arguments as the tools' schemas say.
// AnswerParser reads what it matches. Error: the format has no calls, a tool has no name, none is called `name`, or what
// a schema can't be honoured for (see json_schema_grammar), by the function's name.
Result<Grammar> tool_call_grammar(const AnswerFormat& format, const jinja::Value& tools,
                                  const ToolCallGrammarOptions& options);

// A marker of the template as grammars have it: with the terminals of the tokens that it names.
std::string marker_bytes(std::string_view marker, std::span<const MarkerToken> tokens);

// What a call begins with, before anything that depends on the call: empty where calls have no marker in front.
std::string_view call_opening(const CallFormat& format);

}  // namespace forge::rt
