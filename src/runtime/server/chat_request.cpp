#include <algorithm>
#include <array>

#include "runtime/core/jinja_json.h"
#include "runtime/host/json.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {

using jinja::DictBuilder;
using jinja::Type;
using jinja::Value;

namespace {

void fail(ApiError& error, const std::string& path, std::string_view what) {
  if (!error.message.empty()) return;
  error.message = text(path, ": ", what);
  error.param = path;
}

// tool_calls of an assistant's message, with the arguments as an object: what templates expect.
Value read_tool_calls(const Value& given, const std::string& path, ApiError& error) {
  const auto* items = list_items(given);
  if (items == nullptr) {
    fail(error, path, "expected a list");
    return {};
  }
  std::vector<Value> out;
  for (size_t i = 0; i < items->size(); ++i) {
    const std::string here = text(path, ".", i);
    const RequestFields call((*items)[i], here, error);
    const Value* function = call.required("function");
    if (function == nullptr) return {};
    const RequestFields fields(*function, here + ".function", error);
    std::string name;
    std::string arguments = "{}";
    std::string id;
    if (fields.required("name") != nullptr) fields.string("name", name);
    fields.string("arguments", arguments);
    call.string("id", id);
    auto parsed = jinja::parse_json(arguments.empty() ? "{}" : arguments);
    if (!parsed) {
      fields.expected("arguments", "JSON");
      return {};
    }
    const DictBuilder inner;
    inner->set("name", Value::string(name));
    inner->set("arguments", *parsed);
    const DictBuilder outer;
    outer->set("id", Value::string(id));
    outer->set("type", Value::string("function"));
    outer->set("function", inner.value());
    out.push_back(outer.value());
  }
  return Value::list(std::move(out));
}

}  // namespace

std::string read_content(const Value& content, const std::string& path, ApiError& error) {
  if (content.is_string()) return content.as_string();
  const auto* parts = list_items(content);
  if (parts == nullptr) {
    fail(error, path, "expected a string or a list of parts");
    return {};
  }
  std::string out;
  for (size_t i = 0; i < parts->size(); ++i) {
    const std::string here = text(path, ".", i);
    if ((*parts)[i].is_string()) {
      out += (*parts)[i].as_string();
      continue;
    }
    const RequestFields part((*parts)[i], here, error);
    std::string type;
    std::string piece;
    part.string("type", type);
    if (type == "refusal") {
      part.string("refusal", piece);
    } else if (type == "text" || type == "input_text" || type == "output_text") {
      if (part.required("text") != nullptr) part.string("text", piece);
    } else {
      part.fail("type", text(here, ".type: this model takes text alone, not '", type, "'"));
    }
    out += piece;
  }
  return out;
}

void read_messages(const Value& list, const std::string& path, ApiError& error, std::vector<Value> before,
                   ChatRequest& out) {
  static constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                             "assistant", "tool",      "function"};
  const auto* items = list_items(list);
  if (items == nullptr || items->empty() || items->size() > kMaxMessages)
    return fail(error, path, text("expected a list of 1 to ", kMaxMessages, " messages"));
  std::vector<Value> read = std::move(before);
  for (size_t i = 0; i < items->size() && error.message.empty(); ++i) {
    const std::string here = text(path, ".", i);
    const RequestFields message((*items)[i], here, error);
    std::string role;
    if (message.required("role") == nullptr || !message.string("role", role)) return;
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
      return message.expected("role", "system, developer, user, assistant or tool");
    if (role == "developer") role = "system";
    if (role == "function") role = "tool";
    const Value* content = message.find("content");
    const Value* calls = role == "assistant" ? message.find("tool_calls") : nullptr;
    if (content == nullptr && calls == nullptr)
      return message.fail("content", text("missing field: ", here, ".content"));
    const DictBuilder d;
    d->set("role", Value::string(role));
    d->set("content", Value::string(content == nullptr ? std::string()
                                                       : read_content(*content, here + ".content", error)));
    if (calls != nullptr) d->set("tool_calls", read_tool_calls(*calls, here + ".tool_calls", error));
    for (const char* name : {"name", "tool_call_id", "reasoning_content"}) {
      std::string value;
      if (message.string(name, value)) d->set(name, Value::string(value));
    }
    read.push_back(d.value());
  }
  if (error.message.empty()) set_messages(std::move(read), error, out);
}

void set_messages(std::vector<Value> list, ApiError& error, ChatRequest& out) {
  const jinja::Dict& last = list.back().as_dict();
  if (last.find("role")->as_string() == "assistant" && last.find("tool_calls") == nullptr) {
    out.answer_begins = last.find("content")->as_string();
    list.pop_back();
    if (list.empty())
      return fail(error, "messages", "a message of the user must come before the assistant's");
  }
  out.messages = Value::list(std::move(list));
}

void read_chat(const RequestFields& fields, const ModelInfo& model, ChatRequest& out) {
  if (!model.chat_prompt)
    return fields.fail(
        "messages",
        "the model has no chat template; compile it with --chat-template FILE, or use /v1/completions");
  const Value* list = fields.required("messages");
  if (list == nullptr) return;
  read_messages(*list, fields.path_of("messages"), fields.error(), {}, out);
  const DictBuilder variables;
  if (const Value* given = fields.find("chat_template_kwargs")) {
    if (!given->is(Type::dict)) return fields.expected("chat_template_kwargs", "a JSON object");
    for (const auto& [key, value] : given->as_dict().entries) {
      if (key.as_string() == "messages" || key.as_string() == "add_generation_prompt")
        return fields.fail("chat_template_kwargs", text("chat_template_kwargs: ", key.as_string(),
                                                        " is what the request itself says"));
      variables->set(key, value);
    }
  }
  read_tools(fields, variables, model, out);
  out.variables = variables.value();
}

void read_tools(const RequestFields& fields, const DictBuilder& /*variables*/, const ModelInfo& /*model*/,
                ChatRequest& /*out*/) {
  const Value* tools = fields.find("tools");
  if (tools == nullptr) return;
  const auto* items = list_items(*tools);
  if (items == nullptr) return fields.expected("tools", "a list");
  if (!items->empty()) fields.fail("tools", "tools: this model's chat template has no tool calls");
}

std::vector<int32_t> chat_tokens(const ChatRequest& chat, const ModelInfo& model, ApiError& error) {
  if (!error.message.empty()) return {};
  const auto tokens = model.chat_prompt->tokens(
      chat.messages, {.variables = chat.variables, .now = utc_now(), .answer_begins = chat.answer_begins});
  if (tokens) return *tokens;
  fail(error, "messages", tokens.error().message);
  return {};
}

void apply_template(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  ChatRequest chat;
  read_chat(fields, call.model, chat);
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  const auto prompt = call.model.chat_prompt->text(
      chat.messages, {.variables = chat.variables, .now = utc_now(), .answer_begins = chat.answer_begins});
  if (!prompt) {
    fail(error, "messages", prompt.error().message);
    return respond_error(*call.exchange, error);
  }
  JsonObject out;
  out.add("prompt", *prompt);
  call.exchange->respond({.body = out.compact() + "\n"});
}

}  // namespace forge::rt
