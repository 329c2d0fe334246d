// Anthropic's messages: https://docs.anthropic.com/en/api/messages
#include "runtime/host/json.h"
#include "runtime/server/constraint.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {

using jinja::DictBuilder;
using jinja::Value;

std::string anthropic_error_json(const ApiError& error) {
  const auto type = [&]() -> std::string_view {
    switch (error.status) {
      case 401: return "authentication_error";
      case 403: return "permission_error";
      case 404: return "not_found_error";
      case 413: return "request_too_large";
      case 429: return "rate_limit_error";
      case 503: return "overloaded_error";
      default: return error.status >= 500 ? "api_error" : "invalid_request_error";
    }
  };
  JsonObject inner;
  inner.add("type", type());
  inner.add("message", error.message);
  JsonObject out;
  out.add("type", "error");
  out.add("error", inner);
  return out.compact();
}

namespace {

std::string_view stop_reason(const Choice& choice) {
  if (choice.finish == FinishReason::tool_calls) return "tool_use";
  if (choice.finish == FinishReason::length) return "max_tokens";
  return choice.last.stop.empty() ? "end_turn" : "stop_sequence";
}

void add_stop(JsonObject& out, const Choice& choice) {
  out.add("stop_reason", stop_reason(choice));
  if (choice.last.stop.empty()) {
    out.add_null("stop_sequence");
  } else {
    out.add("stop_sequence", choice.last.stop);
  }
}

std::string usage_json_of(uint32_t n_prompt, uint32_t n_cached, uint32_t n_generated) {
  JsonObject out;
  out.add("input_tokens", int64_t{n_prompt} - n_cached);
  out.add("cache_creation_input_tokens", int64_t{0});
  out.add("cache_read_input_tokens", int64_t{n_cached});
  out.add("output_tokens", int64_t{n_generated});
  return out.compact();
}

class MessageWriter final : public AnswerWriter {
 public:
  std::string error_json(const ApiError& error) const override { return anthropic_error_json(error); }
  std::string_view error_event() const override { return "error"; }

  void begin(Answer& answer) override {
    JsonObject message = head(answer);
    message.add_json("content", "[]");
    message.add_null("stop_reason");
    message.add_null("stop_sequence");
    message.add_json("usage", usage_json_of(answer.n_prompt, 0, 0));
    JsonObject event = event_of("message_start");
    event.add("message", message);
    answer.send_event(event.compact(), "message_start");
  }

  void delta(Answer& answer, const Choice& choice, const AnswerDelta& d,
             std::span<const TextToken> /*tokens*/) override {
    JsonObject inner;
    switch (d.kind) {
      case AnswerDelta::Kind::content:
        if (d.text.empty()) return;
        open_block(answer, "text", R"({"type": "text", "text": ""})");
        inner.add("type", "text_delta");
        inner.add("text", d.text);
        break;
      case AnswerDelta::Kind::reasoning:
        open_block(answer, "thinking", R"({"type": "thinking", "thinking": "", "signature": ""})");
        inner.add("type", "thinking_delta");
        inner.add("thinking", d.text);
        break;
      case AnswerDelta::Kind::call_begin: {
        const ToolCall& call = choice.tool_calls[d.call];
        JsonObject block;
        block.add("type", "tool_use");
        block.add("id", call.id);
        block.add("name", call.name);
        block.add_json("input", "{}");
        return open_block(answer, text("tool ", d.call), block.compact());
      }
      case AnswerDelta::Kind::call_arguments:
        inner.add("type", "input_json_delta");
        inner.add("partial_json", d.text);
        break;
      case AnswerDelta::Kind::call_end: return;
    }
    JsonObject event = event_of("content_block_delta");
    event.add("index", n_blocks_ - 1);
    event.add("delta", inner);
    answer.send_event(event.compact(), "content_block_delta");
  }

  void ended(Answer& answer) override {
    const Choice& choice = answer.choices[0];
    const AnswerUsage usage = answer.usage();
    const std::string counts = usage_json_of(usage.n_prompt, usage.n_cached, usage.n_generated);
    if (answer.stream) {
      close_block(answer);
      JsonObject inner;
      add_stop(inner, choice);
      JsonObject event = event_of("message_delta");
      event.add("delta", inner);
      event.add_json("usage", counts);
      answer.send_event(event.compact(), "message_delta");
      return answer.send_event(event_of("message_stop").compact(), "message_stop");
    }
    std::vector<std::string> blocks;
    if (!choice.reasoning.empty()) {
      JsonObject block;
      block.add("type", "thinking");
      block.add("thinking", choice.reasoning);
      block.add("signature", "");
      blocks.push_back(block.compact());
    }
    if (!choice.content.empty() || choice.tool_calls.empty()) {
      JsonObject block;
      block.add("type", "text");
      block.add("text", choice.content);
      blocks.push_back(block.compact());
    }
    for (const ToolCall& call : choice.tool_calls) {
      JsonObject block;
      block.add("type", "tool_use");
      block.add("id", call.id);
      block.add("name", call.name);
      block.add_json("input", call.arguments);
      blocks.push_back(block.compact());
    }
    JsonObject out = head(answer);
    out.add_json("content", json_array(blocks));
    add_stop(out, choice);
    out.add_json("usage", counts);
    answer.exchange->respond({.body = out.compact() + "\n"});
  }

 private:
  static JsonObject event_of(std::string_view type) {
    JsonObject out;
    out.add("type", type);
    return out;
  }
  static JsonObject head(const Answer& answer) {
    JsonObject out;
    out.add("id", answer.id);
    out.add("type", "message");
    out.add("role", "assistant");
    out.add("model", answer.model->name);
    return out;
  }
  // Makes a block of that kind the last one, where it is not.
  void open_block(Answer& answer, const std::string& kind, std::string_view block) {
    if (open_ == kind) return;
    close_block(answer);
    open_ = kind;
    JsonObject event = event_of("content_block_start");
    event.add("index", n_blocks_++);
    event.add_json("content_block", block);
    answer.send_event(event.compact(), "content_block_start");
  }
  void close_block(Answer& answer) {
    if (open_.empty()) return;
    open_.clear();
    JsonObject event = event_of("content_block_stop");
    event.add("index", n_blocks_ - 1);
    answer.send_event(event.compact(), "content_block_stop");
  }

  std::string open_;  // the open block's kind
  int64_t n_blocks_ = 0;
};

// Appends a message as OpenAI's API has it.
void append(std::vector<Value>& out, std::string_view role, std::string_view content) {
  out.push_back(chat_message(role, content));
}

// One of Anthropic's messages: its blocks become a message, and a message for each tool's result.
void convert_message(const RequestFields& fields, std::vector<Value>& out) {
  std::string role;
  const Value* content = fields.required("content");
  if (fields.required("role") == nullptr || !fields.string("role", role) || content == nullptr) return;
  if (role != "user" && role != "assistant") return fields.expected("role", "user or assistant");
  if (content->is_string()) return append(out, role, content->as_string());
  const auto* blocks = list_items(*content);
  if (blocks == nullptr) return fields.expected("content", "a string or a list of blocks");
  std::string said;
  std::string thought;
  std::vector<Value> calls;
  for (size_t i = 0; i < blocks->size() && !fields.failed(); ++i) {
    const RequestFields block((*blocks)[i], text(fields.path_of("content"), ".", i), fields.error());
    std::string type;
    std::string piece;
    block.string("type", type);
    if (type == "text") {
      block.string("text", piece);
      said += piece;
    } else if (type == "thinking") {
      block.string("thinking", piece);
      thought += piece;
    } else if (type == "redacted_thinking") {
    } else if (type == "tool_use" && role == "assistant") {
      const DictBuilder function;
      const DictBuilder call;
      std::string name;
      std::string id;
      block.string("name", name);
      block.string("id", id);
      function->set("name", Value::string(name));
      const Value* input = block.find("input");
      function->set("arguments", input != nullptr ? *input : DictBuilder().value());
      call->set("id", Value::string(id));
      call->set("type", Value::string("function"));
      call->set("function", function.value());
      calls.push_back(call.value());
    } else if (type == "tool_result" && role == "user") {
      std::string id;
      block.string("tool_use_id", id);
      const Value* result = block.find("content");
      const DictBuilder message;
      message->set("role", Value::string("tool"));
      message->set("tool_call_id", Value::string(id));
      message->set(
          "content",
          Value::string(result == nullptr ? std::string()
                                          : read_content(*result, block.path_of("content"), block.error())));
      out.push_back(message.value());
    } else {
      block.fail("type", text(block.path_of("type"), ": '", type, "' is not taken here"));
    }
  }
  if (said.empty() && thought.empty() && calls.empty()) return;  // nothing but results
  const DictBuilder message;
  message->set("role", Value::string(role));
  message->set("content", Value::string(said));
  if (!thought.empty()) message->set("reasoning_content", Value::string(thought));
  if (!calls.empty()) message->set("tool_calls", Value::list(std::move(calls)));
  out.push_back(message.value());
}

ChatRequest read_anthropic(const RequestFields& fields, const ModelInfo& model) {
  ChatRequest chat;
  if (!model.chat_prompt) {
    fields.fail("messages", "the model has no chat template; compile it with --chat-template FILE");
    return chat;
  }
  std::vector<Value> converted;
  if (const Value* system = fields.find("system"))
    append(converted, "system", read_content(*system, "system", fields.error()));
  const Value* list = fields.required("messages");
  const auto* items = list != nullptr ? list_items(*list) : nullptr;
  if (items == nullptr || items->empty() || items->size() > kMaxMessages) {
    fields.expected("messages", text("a list of 1 to ", kMaxMessages, " messages"));
    return chat;
  }
  for (size_t i = 0; i < items->size() && !fields.failed(); ++i)
    convert_message(RequestFields((*items)[i], text("messages.", i), fields.error()), converted);
  if (!fields.failed()) set_messages(std::move(converted), fields.error(), chat);
  const DictBuilder variables;
  uint32_t max_thoughts = 0;  // Anthropic's models think where they are told to
  if (const Value* thinking = fields.find("thinking")) {
    const RequestFields inner(*thinking, "thinking", fields.error());
    std::string type;
    inner.string("type", type);
    if (type == "enabled" || type == "adaptive") {
      max_thoughts = UINT32_MAX;
      inner.integer("budget_tokens", 1, INT32_MAX, max_thoughts);
      int64_t max_tokens = INT64_MAX;
      fields.integer("max_tokens", -1, UINT32_MAX, max_tokens);
      if (inner.has("budget_tokens") && max_tokens >= 0 && max_thoughts >= max_tokens)
        inner.expected("budget_tokens", "fewer than max_tokens");
    } else if (type != "disabled") {
      inner.expected("type", "enabled, disabled or adaptive");
    }
  }
  set_thinking(max_thoughts, model, variables, chat);
  read_tools(fields, chat);
  chat.variables = variables.value();
  return chat;
}

}  // namespace

void messages(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  GenerationRequest request;
  read_generation(fields, call.model, request);
  read_constraint(fields, call.model, request);
  fields.required("max_tokens");
  fields.strings("stop_sequences", kMaxStops, request.text.stop);
  check_stops(fields, "stop_sequences", request.text.stop);
  if (request.n != 1) fields.expected("n", "1");
  const ChatRequest chat = read_anthropic(fields, call.model);
  set_chat_prompt(chat, call.model, request, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error, anthropic_error_json(error));
  run_answer(call.service, call.model, call.exchange, std::move(request), std::make_unique<MessageWriter>(),
             "msg_");
}

void count_tokens(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  const ChatRequest chat = read_anthropic(fields, call.model);
  const auto prompt = render_chat(chat, call.model, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error, anthropic_error_json(error));
  JsonObject out;
  out.add("input_tokens", static_cast<int64_t>(prompt->tokens.size()));
  call.exchange->respond({.body = out.compact() + "\n"});
}

}  // namespace forge::rt
