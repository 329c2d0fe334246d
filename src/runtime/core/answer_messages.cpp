#include "runtime/core/answer_messages.h"

#include <utility>

#include "runtime/core/chat_template.h"
#include "runtime/core/jinja_json.h"

namespace forge::rt {

namespace {

using jinja::DictBuilder;
using jinja::Value;

bool is_list(const Value& v) { return v.is_sequence(jinja::SequenceKind::list); }
bool has_items(const Value& v) { return is_list(v) && !v.as_sequence().items.empty(); }

const Value* member(const Value& v, std::string_view key) {
  return v.is(jinja::Type::dict) ? v.as_dict().find(key) : nullptr;
}
std::string string_member(const Value& v, std::string_view key) {
  const Value* m = member(v, key);
  return m != nullptr && m->is_string() ? m->as_string() : std::string();
}

// The text of a content: a string, or the text parts of a list.
std::string content_text(const Value& message) {
  const Value* content = member(message, "content");
  if (content == nullptr || !is_list(*content)) return string_member(message, "content");
  std::string out;
  for (const Value& part : content->as_sequence().items) out += string_member(part, "text");
  return out;
}

// The same message with one member set, or without it where the value is undefined.
Value with(const Value& message, std::string_view key, const Value& value) {
  const DictBuilder d;
  for (const auto& [k, v] : message.as_dict().entries) {
    if (!k.is_string() || k.as_string() != key) d->set(k, v);
  }
  if (!value.is_undefined()) d->set(key, value);
  return d.value();
}

Value text_message(std::string_view role, std::string content) {
  const DictBuilder d;
  d->set("role", Value::string(std::string(role)));
  d->set("content", Value::string(std::move(content)));
  return d.value();
}

Result<std::string> to_json(const Value& v) {
  static constexpr std::string_view kSource = "{{ v | tojson }}";
  Result<ChatTemplate> writer = ChatTemplate::parse(kSource);
  if (!writer) return writer.error();
  const DictBuilder variables;
  variables->set("v", v);
  RenderOptions options;
  options.variables = variables.value();
  return writer->render(std::span<const ChatMessage>(), options);
}

// An id of `length` letters and digits: the id itself where it is one, else made of its hash.
std::string fitting_id(const std::string& id, size_t length) {
  constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  if (length == 0 || (id.size() == length && id.find_first_not_of(kDigits) == std::string::npos)) return id;
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
  for (const char c : id) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  std::string out;
  for (size_t i = 0; i < length; ++i) {
    out += kDigits[hash % kDigits.size()];
    hash = hash / kDigits.size() + (hash << 40);
  }
  return out;
}

struct Preparation {
  const AnswerFormat& format;
  std::vector<Value> out;
  std::string error;

  bool fail(size_t index, std::string_view what) {
    error = text("messages[", index, "]", what);
    return false;
  }

  bool calls(size_t index, Value message, const Value& list) {
    std::vector<Value> calls;
    std::vector<ToolCall> written;
    for (const Value& call : list.as_sequence().items) {
      const Value* function = member(call, "function");
      if (function == nullptr || string_member(*function, "name").empty()) {
        return fail(index, ".tool_calls: expected {\"function\": {\"name\", \"arguments\"}}");
      }
      const Value* given = member(*function, "arguments");
      Value arguments = given != nullptr ? *given : Value::string("{}");
      std::string arguments_text;
      if (arguments.is_string()) {
        arguments_text = arguments.as_string();
        Result<Value> parsed = jinja::parse_json(trim_space(arguments_text).empty() ? "{}" : arguments_text);
        if (!parsed || !parsed->is(jinja::Type::dict)) {
          return fail(index, ".tool_calls: \"arguments\" must be the text of a JSON object");
        }
        if (trim_space(arguments_text).empty()) arguments_text = "{}";
        arguments = *parsed;
      } else {
        Result<std::string> json = to_json(arguments);
        if (!json || !arguments.is(jinja::Type::dict)) {
          return fail(index, ".tool_calls: \"arguments\" must be the text of a JSON object");
        }
        arguments_text = *json;
      }
      const std::string id = fitting_id(string_member(call, "id"), format.call_id_length);
      written.push_back({id, string_member(*function, "name"), arguments_text});
      const Value argument_form = format.string_arguments ? Value::string(arguments_text) : arguments;
      const Value with_id = id.empty() ? call : with(call, "id", Value::string(id));
      calls.push_back(with(with_id, "function", with(*function, "arguments", argument_form)));
    }
    std::string content = content_text(message);
    if (!format.renders_calls) {
      if (!content.empty()) content += '\n';
      content += write_calls(format.calls, written);
      out.push_back(with(with(message, "tool_calls", {}), "content", Value::string(std::move(content))));
      return true;
    }
    if (!format.renders_content) content.clear();  // some templates make another message of it
    const bool none = content.empty() && format.null_content;
    message = with(message, "content", none ? Value::none() : Value::string(std::move(content)));
    out.push_back(with(message, "tool_calls", Value::list(std::move(calls))));
    return true;
  }

  void result(const Value& message) {
    if (format.renders_results) {
      const std::string id = string_member(message, "tool_call_id");
      out.push_back(
          id.empty() ? message
                     : with(message, "tool_call_id", Value::string(fitting_id(id, format.call_id_length))));
      return;
    }
    constexpr std::string_view kBegin = "<tool_response>\n", kEnd = "\n</tool_response>";
    std::string content = text(kBegin, content_text(message), kEnd);
    // Results follow one another in one message: roles must alternate.
    if (!out.empty() && string_member(out.back(), "role") == "user" &&
        content_text(out.back()).starts_with(kBegin)) {
      content = content_text(out.back()) + '\n' + content;
      out.pop_back();
    }
    out.push_back(text_message("user", std::move(content)));
  }

  bool add(size_t index, const Value& message) {
    const std::string role = string_member(message, "role");
    if (role.empty()) return fail(index, ": expected an object with \"role\"");
    if (role == "tool") {
      result(message);
      return true;
    }
    if (role != "assistant") {
      out.push_back(message);
      return true;
    }
    Value own = message;
    const std::string& key = format.thinking.message_key;
    const Value* reasoning = member(message, "reasoning_content");
    if (reasoning != nullptr && !key.empty() && key != "reasoning_content") {
      own = with(with(message, key, *reasoning), "reasoning_content", {});
    }
    const Value* list = member(own, "tool_calls");
    if (list != nullptr && has_items(*list)) return calls(index, own, *list);
    out.push_back(list == nullptr ? own : with(own, "tool_calls", {}));
    return true;
  }

  // Puts text into the system message, or where there is no such role, before the first user's text.
  void instruct(std::string instructions) {
    if (format.system_role) {
      if (!out.empty() && string_member(out[0], "role") == "system") {
        const std::string content = content_text(out[0]);
        if (!content.empty()) instructions = content + "\n\n" + instructions;
        out[0] = with(out[0], "content", Value::string(std::move(instructions)));
      } else {
        out.insert(out.begin(), text_message("system", std::move(instructions)));
      }
      return;
    }
    for (Value& message : out) {
      if (string_member(message, "role") != "user") continue;
      const Value content = Value::string(instructions + "\n\n" + content_text(message));
      message = with(message, "content", content);
      return;
    }
    out.insert(out.begin(), text_message("user", std::move(instructions)));
  }
};

}  // namespace

Result<PreparedChat> prepare_messages(const AnswerFormat& format, const Value& messages, const Value& tools) {
  if (!is_list(messages)) return Error{"messages: expected a list"};
  if (!tools.is_undefined() && !tools.is_none() && !is_list(tools)) return Error{"tools: expected a list"};
  Preparation p{format, {}, {}};
  const std::vector<Value>& given = messages.as_sequence().items;
  for (size_t i = 0; i < given.size(); ++i) {
    if (!p.add(i, given[i])) return Error{p.error};
  }
  if (!format.system_role && !p.out.empty() && string_member(p.out[0], "role") == "system") {
    std::string system = content_text(p.out[0]);
    p.out.erase(p.out.begin());
    if (!system.empty()) p.instruct(std::move(system));
  }
  PreparedChat c;
  c.tools = format.empty_tools ? Value::list({}) : Value::none();
  if (has_items(tools)) {
    if (format.native_tools()) {
      c.tools = tools;
    } else if (format.calls.style != CallStyle::none) {
      std::string instructions = "You may call one or more functions. These are the functions:\n";
      for (const Value& tool : tools.as_sequence().items) {
        const Result<std::string> json = to_json(tool);
        if (!json) return json.error();
        instructions += *json + '\n';
      }
      const ToolCall example{std::string(format.call_id_length, '0'), "FUNCTION", R"({"ARGUMENT": "VALUE"})"};
      instructions += "To call a function, write nothing but\n" + write_calls(format.calls, {example});
      p.instruct(std::move(instructions));
    }
  }
  c.messages = Value::list(std::move(p.out));
  return c;
}

}  // namespace forge::rt
