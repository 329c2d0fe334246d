// Conversations as clients send them (OpenAI's messages and tools), made what a template takes.
#pragma once

#include "runtime/core/answer_format.h"
#include "runtime/core/jinja_value.h"

namespace forge::rt {

struct PreparedChat {
  jinja::Value messages;  // a list of dicts
  jinja::Value tools;     // the template's variable `tools`: a list or none
};

// `messages` is a list of dicts with "role"; `tools` a list, undefined or none. Arguments of calls become
// objects, ids get the length that the template demands, thoughts its key; what the template leaves out
// (system messages, tools, calls, results) becomes text in the messages that it has. An Error names the
// message that has another shape.
Result<PreparedChat> prepare_messages(const AnswerFormat& format, const jinja::Value& messages,
                                      const jinja::Value& tools);

}  // namespace forge::rt
