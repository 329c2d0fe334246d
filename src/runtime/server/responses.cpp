// OpenAI's responses, with texts and function calls: https://platform.openai.com/docs/api-reference/responses
#include "runtime/host/json.h"
#include "runtime/server/constraint.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {
namespace {

using jinja::DictBuilder;
using jinja::Value;

std::string response_usage_json(const AnswerUsage& usage) {
  JsonObject cached;
  cached.add("cached_tokens", int64_t{usage.n_cached});
  JsonObject reasoning;
  reasoning.add("reasoning_tokens", int64_t{usage.n_thoughts});
  JsonObject out;
  out.add("input_tokens", int64_t{usage.n_prompt});
  out.add("input_tokens_details", cached);
  out.add("output_tokens", int64_t{usage.n_generated});
  out.add("output_tokens_details", reasoning);
  out.add("total_tokens", int64_t{usage.n_prompt} + usage.n_generated);
  return out.compact();
}

std::string part_json(std::string_view said) {
  JsonObject part;
  part.add("type", "output_text");
  part.add("text", said);
  part.add_json("annotations", "[]");
  part.add_json("logprobs", "[]");
  return part.compact();
}

class ResponseWriter final : public AnswerWriter {
 public:
  ResponseWriter(std::string instructions, std::string tool_choice, float temperature, float top_p,
                 uint32_t max_tokens)
      : instructions_(std::move(instructions)),
        tool_choice_(std::move(tool_choice)),
        temperature_(temperature),
        top_p_(top_p),
        max_tokens_(max_tokens) {}

  void begin(Answer& answer) override {
    for (const char* type : {"response.created", "response.in_progress"})
      send_response(answer, type, "in_progress", nullptr);
  }

  void delta(Answer& answer, const Choice& choice, const AnswerDelta& d,
             std::span<const TextToken> /*tokens*/) override {
    using Kind = AnswerDelta::Kind;
    if (d.kind == Kind::content && !d.text.empty()) return add_text(answer, d.text);
    if (d.kind == Kind::call_begin) {
      close_message(answer, "completed");
      begin_item(answer, random_id("fc_"), call_json("in_progress", choice.tool_calls[d.call], ""));
    } else if (d.kind == Kind::call_arguments) {
      JsonObject event = event_at("response.function_call_arguments.delta");
      event.add("delta", d.text);
      answer.send_event(event.compact(), "response.function_call_arguments.delta");
      // Arguments come whole.
      JsonObject done = event_at("response.function_call_arguments.done");
      done.add("name", choice.tool_calls[d.call].name);
      done.add("arguments", d.text);
      answer.send_event(done.compact(), "response.function_call_arguments.done");
      end_item(answer, call_json("completed", choice.tool_calls[d.call], d.text));
    }
  }

  void ended(Answer& answer) override {
    const Choice& choice = answer.choices[0];
    const bool cut = choice.finish == FinishReason::length;
    const std::string_view status = cut ? "incomplete" : "completed";
    if (!answer.stream) {
      const auto add = [&](std::string_view prefix, JsonObject item) {
        item.add("id", random_id(prefix));
        items_.push_back(item.compact());
      };
      if (!choice.content.empty() || choice.tool_calls.empty())
        add("msg_", message_json(status, &choice.content));
      for (const ToolCall& call : choice.tool_calls) add("fc_", call_json("completed", call, call.arguments));
      return answer.exchange->respond({.body = response_json(answer, status, nullptr) + "\n"});
    }
    if (items_.empty() && !in_message_) add_text(answer, {});
    close_message(answer, status);
    send_response(answer, text("response.", status), status, nullptr);
  }

  void failed(Answer& answer, const ApiError& error) override {
    JsonObject event = event_of("error");
    if (error.code.empty()) {
      event.add("code", error.type);
    } else {
      event.add("code", error.code);
    }
    event.add("message", error.message);
    if (error.param.empty()) {
      event.add_null("param");
    } else {
      event.add("param", error.param);
    }
    answer.send_event(event.compact(), "error");
    send_response(answer, "response.failed", "failed", &error);
  }

 private:
  JsonObject event_of(std::string_view type) {
    JsonObject out;
    out.add("type", type);
    out.add("sequence_number", n_events_++);
    return out;
  }
  // About the item that is being written.
  JsonObject event_at(std::string_view type) {
    JsonObject out = event_of(type);
    out.add("item_id", item_id_);
    out.add("output_index", static_cast<int64_t>(items_.size()));
    return out;
  }
  JsonObject text_event(std::string_view type) {
    JsonObject out = event_at(type);
    out.add("content_index", int64_t{0});
    return out;
  }
  void send_item(Answer& answer, std::string_view type, const JsonObject& item) {
    JsonObject event = event_of(type);
    event.add("output_index", static_cast<int64_t>(items_.size()));
    event.add("item", item);
    answer.send_event(event.compact(), type);
  }
  void begin_item(Answer& answer, std::string id, JsonObject item) {
    item_id_ = std::move(id);
    item.add("id", item_id_);
    send_item(answer, "response.output_item.added", item);
  }
  void end_item(Answer& answer, JsonObject item) {
    item.add("id", item_id_);
    send_item(answer, "response.output_item.done", item);
    items_.push_back(item.compact());
  }
  void add_text(Answer& answer, std::string_view added) {
    if (!std::exchange(in_message_, true)) {
      said_.clear();
      begin_item(answer, random_id("msg_"), message_json("in_progress", nullptr));
      JsonObject part = text_event("response.content_part.added");
      part.add_json("part", part_json({}));
      answer.send_event(part.compact(), "response.content_part.added");
    }
    if (added.empty()) return;
    said_ += added;
    JsonObject event = text_event("response.output_text.delta");
    event.add("delta", added);
    event.add_json("logprobs", "[]");
    answer.send_event(event.compact(), "response.output_text.delta");
  }
  void close_message(Answer& answer, std::string_view status) {
    if (!std::exchange(in_message_, false)) return;
    JsonObject done = text_event("response.output_text.done");
    done.add("text", said_);
    done.add_json("logprobs", "[]");
    answer.send_event(done.compact(), "response.output_text.done");
    JsonObject part = text_event("response.content_part.done");
    part.add_json("part", part_json(said_));
    answer.send_event(part.compact(), "response.content_part.done");
    end_item(answer, message_json(status, &said_));
  }
  // said: null for a message without any part yet.
  static JsonObject message_json(std::string_view status, const std::string* said) {
    std::vector<std::string> parts;
    if (said != nullptr) parts.push_back(part_json(*said));
    JsonObject out;
    out.add("type", "message");
    out.add("status", status);
    out.add("role", "assistant");
    out.add_json("content", json_array(parts));
    return out;
  }
  static JsonObject call_json(std::string_view status, const ToolCall& call, std::string_view arguments) {
    JsonObject out;
    out.add("type", "function_call");
    out.add("status", status);
    out.add("call_id", call.id);
    out.add("name", call.name);
    out.add("arguments", arguments);
    return out;
  }
  void send_response(Answer& answer, std::string_view type, std::string_view status, const ApiError* error) {
    JsonObject event = event_of(type);
    event.add_json("response", response_json(answer, status, error));
    answer.send_event(event.compact(), type);
  }
  std::string response_json(const Answer& answer, std::string_view status, const ApiError* error) const {
    const bool over = status != "in_progress";
    JsonObject out;
    out.add("id", answer.id);
    out.add("object", "response");
    out.add("created_at", answer.created);
    out.add("status", status);
    if (error == nullptr) {
      out.add_null("error");
    } else {
      JsonObject what;
      what.add("code", "server_error");
      what.add("message", error->message);
      out.add("error", what);
    }
    out.add_json("incomplete_details",
                 status == "incomplete" ? R"({"reason": "max_output_tokens"})" : "null");
    if (instructions_.empty()) {
      out.add_null("instructions");
    } else {
      out.add("instructions", instructions_);
    }
    out.add_json("max_output_tokens", max_tokens_ == UINT32_MAX ? "null" : std::to_string(max_tokens_));
    out.add("model", answer.model->name);
    out.add_json("output", json_array(items_));
    out.add_json("parallel_tool_calls", answer.parallel_calls ? "true" : "false");
    out.add_null("previous_response_id");
    out.add_json("store", "false");
    out.add("temperature", temperature_);
    out.add_json("text", R"({"format": {"type": "text"}})");
    out.add("tool_choice", tool_choice_);
    out.add_json("tools", "[]");
    out.add("top_p", top_p_);
    out.add("truncation", "disabled");
    out.add_json("usage", over && error == nullptr ? response_usage_json(answer.usage()) : "null");
    out.add_json("metadata", "{}");
    return out.compact();
  }

  std::string instructions_, tool_choice_;
  float temperature_, top_p_;
  uint32_t max_tokens_;
  std::vector<std::string> items_;  // that are complete
  std::string item_id_;             // of the one that is being written
  std::string said_;                // of the message that is
  bool in_message_ = false;
  int64_t n_events_ = 0;
};

}  // namespace

namespace {

// The items of a conversation as OpenAI's chat has them: function calls are an assistant's message, with what it said
// before them, and their outputs are messages of tools. Thoughts of earlier answers are left out.
void read_input(const Value& input, ApiError& error, std::vector<Value>& out) {
  const auto* items = list_items(input);
  if (items == nullptr || items->empty() || items->size() > kMaxMessages) {
    error = {.message = text("input: expected a string, or a list of 1 to ", kMaxMessages, " items"),
             .param = "input",
             .code = {}};
    return;
  }
  std::vector<Value> calls;  // of the assistant's message that comes next
  const auto end_calls = [&] {
    if (calls.empty()) return;
    const DictBuilder message;
    message->set("role", Value::string("assistant"));
    message->set("content", Value::string(""));
    if (!out.empty() && out.back().as_dict().find("role")->as_string() == "assistant") {
      message->set("content", *out.back().as_dict().find("content"));
      out.pop_back();
    }
    message->set("tool_calls", Value::list(std::exchange(calls, {})));
    out.push_back(message.value());
  };
  for (size_t i = 0; i < items->size() && error.message.empty(); ++i) {
    const RequestFields item((*items)[i], text("input.", i), error);
    std::string type = "message";
    item.string("type", type);
    if (type == "function_call") {
      std::string id;
      if (item.required("call_id") != nullptr) item.string("call_id", id);
      calls.push_back(read_call(item, id));
      continue;
    }
    end_calls();
    if (type == "function_call_output") {
      const Value* output = item.required("output");
      std::string id;
      if (item.required("call_id") != nullptr) item.string("call_id", id);
      const DictBuilder message;
      message->set("role", Value::string("tool"));
      message->set("tool_call_id", Value::string(id));
      if (output != nullptr)
        message->set("content", Value::string(read_content(*output, item.path_of("output"), error)));
      out.push_back(message.value());
    } else if (type == "message") {
      if (auto message = read_message((*items)[i], text("input.", i), error)) out.push_back(*message);
    } else if (type != "reasoning") {
      item.expected("type", "message, function_call, function_call_output or reasoning");
    }
  }
  end_calls();
}

}  // namespace

void responses(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  GenerationRequest request;
  read_generation(fields, call.model, request);
  read_constraint(fields, call.model, request);
  if (request.n != 1) fields.expected("n", "1");
  if (const Value* text_settings = fields.find("text"))
    read_format(RequestFields(*text_settings, "text", error), "format", call.model, request);
  for (const char* name : {"previous_response_id", "conversation", "prompt"})
    if (fields.has(name))
      fields.fail(name, text(name, ": this server keeps no conversations; send the whole of it as input"));
  if (bool background = false; fields.boolean("background", background) && background)
    fields.expected("background", "false");
  std::string instructions;
  fields.string("instructions", instructions);
  ChatRequest chat;
  if (!call.model.chat_prompt)
    fields.fail("input", "the model has no chat template; compile it with --chat-template FILE");
  std::vector<Value> list;
  if (!instructions.empty()) list.push_back(chat_message("system", instructions));
  if (const Value* input = fields.required("input")) {
    if (input->is_string()) {
      list.push_back(chat_message("user", input->as_string()));
    } else {
      read_input(*input, error, list);
    }
    if (!fields.failed()) set_messages(std::move(list), error, chat);
  }
  read_tools(fields, chat);
  const DictBuilder variables;
  std::optional<uint32_t> max_thoughts;
  if (const Value* reasoning = fields.find("reasoning"))
    read_effort(RequestFields(*reasoning, "reasoning", error), "effort", max_thoughts);
  if (max_thoughts) set_thinking(*max_thoughts, call.model, variables, chat);
  read_thinking(fields, call.model, variables, chat);
  chat.variables = variables.value();
  set_chat_prompt(chat, call.model, request, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  const SamplingParams& p = request.text.job.sampling;
  const std::string tool_choice = chat.tool_choice == "named" ? "required" : chat.tool_choice;
  auto writer = std::make_unique<ResponseWriter>(std::move(instructions), tool_choice, p.temperature, p.top_p,
                                                 request.text.job.max_tokens);
  run_answer(call.service, call.model, call.exchange, std::move(request), std::move(writer), "resp_");
}

}  // namespace forge::rt
