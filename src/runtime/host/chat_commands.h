// What a person can tell chat, rather than the model: /help and the other lines that begin with a slash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/result.h"
#include "runtime/host/conversation.h"
#include "runtime/host/options.h"

namespace forge::rt {

// What is to be done behind a command.
enum class ChatAction : uint8_t {
  none,
  answer_again,
  answer_edited,  // to CommandOutcome::message
  edit,           // the last message, by hand, then answer_edited
  quit,
};

struct CommandOutcome {
  ChatAction action = ChatAction::none;
  std::string message;
  std::string output;  // lines for the person
};

// The flags that /set knows too.
std::vector<Option> answer_options(AnswerOptions& options);

// `command` without its slash: "set temp 0.5". Error: no such command, or it can't do that now.
Result<CommandOutcome> run_chat_command(std::string_view command, Conversation& conversation,
                                        AnswerOptions& options);

}  // namespace forge::rt
