#include "runtime/core/chat_template.h"

#include <utility>
#include <vector>

#include "runtime/core/jinja_parser.h"

namespace forge::rt {

using jinja::DictBuilder;
using jinja::Value;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
  Result<jinja::Template> parsed = jinja::parse_template(source);
  if (!parsed) return parsed.error();
  return ChatTemplate(std::move(*parsed));
}

Result<std::string> ChatTemplate::render(std::span<const ChatMessage> messages,
                                         const RenderOptions& options) const {
  std::vector<Value> list;
  for (const ChatMessage& message : messages) {
    const DictBuilder d;
    d->set("role", Value::string(message.role));
    d->set("content", Value::string(message.content));
    list.push_back(d.value());
  }
  return render(Value::list(std::move(list)), options);
}

Result<std::string> ChatTemplate::render(const Value& messages, const RenderOptions& options) const {
  const DictBuilder d;
  d->set("tools", Value::none());
  d->set("documents", Value::none());
  if (options.bos_token) d->set("bos_token", Value::string(*options.bos_token));
  if (options.eos_token) d->set("eos_token", Value::string(*options.eos_token));
  if (options.variables.is(jinja::Type::dict)) {
    for (const auto& [key, value] : options.variables.as_dict().entries) {
      if (!key.is_string()) return Error{"chat template: the name of a variable must be a string"};
      d->set(key, value);
    }
  }
  d->set("messages", messages);
  d->set("add_generation_prompt", Value::boolean(options.add_generation_prompt));
  return jinja::render(template_, d.value(), options.now ? &*options.now : nullptr, options.limits);
}

}  // namespace forge::rt
