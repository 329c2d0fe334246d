// A conversation to the tokens that the model is given. Only the template makes control tokens: what a message says
// can't become one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/chat_template.h"
#include "runtime/core/result.h"
#include "runtime/core/tokenizer.h"

namespace forge::rt {

class ChatPrompt {
 public:
  // Both must outlive the object.
  ChatPrompt(const ChatTemplate& chat_template, const Tokenizer& tokenizer);

  struct Options {
    bool add_generation_prompt = true;
    jinja::Value variables;  // see RenderOptions
    bool disarmed = false;   // messages and variables went through disarmed() already
    std::optional<jinja::BrokenDownTime> now;
    std::string_view answer_begins;  // text behind all that the template writes, as of a message
  };
  struct Prompt {
    std::string text;
    std::vector<int32_t> tokens;
  };
  // messages: a list of dicts, as the template expects them.
  Result<Prompt> prompt(const jinja::Value& messages, const Options& options) const;

  // The value without control tokens: their names in strings are cut in two, by a mark that prompt() takes out.
  jinja::Value disarmed(const jinja::Value& value) const;

  // What templates call a token ("<|im_end|>"); empty for -1.
  std::string control_name(int32_t token) const;

 private:
  // `text` with the names of control tokens cut in two.
  std::string disarm(std::string_view text) const;

  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
  std::vector<std::string> control_names_;  // in order, without those that another one begins
};

// A message without more than a role and a text.
jinja::Value chat_message(std::string_view role, std::string_view content);

}  // namespace forge::rt
