// A conversation to the tokens that the model is given. Only the template makes control tokens: what a message says
// can't become one.
#pragma once

#include <array>
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
    std::optional<jinja::BrokenDownTime> now;
    std::string_view answer_begins;  // text behind all that the template writes, as of a message
  };
  struct Prompt {
    std::string text;
    std::vector<int32_t> tokens;
  };
  // messages: a list of dicts, as the template expects them.
  Result<Prompt> prompt(const jinja::Value& messages, const Options& options) const;

  // What templates call a token ("<|im_end|>"); empty for -1.
  std::string control_name(int32_t token) const;

 private:
  // `text` with the names of control tokens cut in two.
  std::string disarm(std::string_view text) const;
  jinja::Value disarm(const jinja::Value& value) const;

  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
  std::array<std::vector<std::string>, 256> control_names_;  // by their first byte
};

// A message without more than a role and a text.
jinja::Value chat_message(std::string_view role, std::string_view content);

}  // namespace forge::rt
