// The chat template: a conversation to the text that the model is given.
//
// Templates are Jinja, as transformers' apply_chat_template renders them: trim_blocks and lstrip_blocks on,
// the variables messages, tools, documents, add_generation_prompt, bos_token and eos_token, the functions
// raise_exception and strftime_now, tojson without HTML escapes, {% break %} and {% continue %}, {%
// generation %} passed through. Rendering needs at most about 1 MiB of stack.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/core/jinja_ast.h"
#include "runtime/core/jinja_eval.h"
#include "runtime/core/result.h"

namespace forge::rt {

struct ChatMessage {
  std::string role, content;
};

struct RenderOptions {
  bool add_generation_prompt = true;
  std::optional<std::string> bos_token, eos_token;  // undefined in the template where absent
  jinja::Value variables;  // a dict with string keys: tools, enable_thinking, …; or undefined
  std::optional<jinja::BrokenDownTime> now;  // strftime_now is undefined where absent
  jinja::Limits limits;
};

class ChatTemplate {
 public:
  // What the evaluator does not know is an Error here, as far as the text shows it; it names the line.
  static Result<ChatTemplate> parse(std::string_view source);

  // The text of the conversation. An Error where the template refuses it, fails, or goes beyond the limits.
  Result<std::string> render(std::span<const ChatMessage> messages, const RenderOptions& options) const;
  // The same for messages with more than a role and a content: a list of dicts.
  Result<std::string> render(const jinja::Value& messages, const RenderOptions& options) const;

 private:
  explicit ChatTemplate(jinja::Template parsed) : template_(std::move(parsed)) {}
  jinja::Template template_;
};

}  // namespace forge::rt
