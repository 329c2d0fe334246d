// Grammars that make a model call tools.
#pragma once

#include <string>
#include <string_view>

#include "runtime/core/answer_format.h"

namespace forge::rt {

struct ToolCallGrammarOptions {
  std::string_view name;       // the one function to call; empty: any of the tools, at least one call
  bool parallel = true;        // several calls, where the format has them
  bool thoughts = false;       // thoughts may come first
  bool thoughts_open = false;  // the prompt has opened them (AnswerFormat's markers end it); they come first
};

// GBNF text of an answer that is calls of `tools` (OpenAI's list) and nothing else but thoughts. Arguments are any
// JSON object. AnswerParser reads what it matches. Error: the format has no calls, a tool has no name, or none is
// called `name`.
Result<std::string> tool_call_gbnf(const AnswerFormat& format, const jinja::Value& tools,
                                   const ToolCallGrammarOptions& options);

}  // namespace forge::rt
