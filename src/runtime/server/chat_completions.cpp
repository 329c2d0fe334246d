// OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat
#include "runtime/host/json.h"
#include "runtime/server/constraint.h"
#include "runtime/server/endpoints.h"
#include "runtime/server/logprobs_json.h"

namespace forge::rt {
namespace {

constexpr int64_t kMaxTopLogprobs = 20;

class ChatWriter final : public AnswerWriter {
 public:
  explicit ChatWriter(bool logprobs) : logprobs_(logprobs) {}

  void begin(Answer& answer) override {
    for (const Choice& choice : answer.choices) {
      JsonObject delta;
      delta.add("role", "assistant");
      delta.add("content", "");
      send(answer, choice, delta, {}, "null");
    }
  }

  void delta(Answer& answer, const Choice& choice, const AnswerDelta& d,
             std::span<const TextToken> tokens) override {
    JsonObject delta;
    if (d.kind == AnswerDelta::Kind::content) {
      delta.add("content", d.text);
    } else if (d.kind == AnswerDelta::Kind::reasoning) {
      delta.add("reasoning_content", d.text);
    } else {
      JsonObject function;
      JsonObject call;
      call.add("index", int64_t{d.call});
      if (d.kind == AnswerDelta::Kind::call_begin) {
        call.add("id", choice.tool_calls[d.call].id);
        call.add("type", "function");
        function.add("name", d.text);
        function.add("arguments", "");
      } else {
        function.add("arguments", d.text);
      }
      call.add("function", function);
      const std::string calls[] = {call.compact()};
      delta.add_json("tool_calls", json_array(calls));
    }
    send(answer, choice, delta, tokens, "null");
  }

  void choice_ended(Answer& answer, const Choice& choice) override {
    send(answer, choice, {}, {}, json_string(finish_name(choice.finish)));
  }

  void ended(Answer& answer) override {
    if (answer.stream) return end_openai_stream(answer, "chat.completion.chunk");
    std::vector<std::string> choices;
    for (const Choice& choice : answer.choices) {
      JsonObject message;
      message.add("role", "assistant");
      if (choice.content.empty() && !choice.tool_calls.empty()) {
        message.add_null("content");
      } else {
        message.add("content", choice.content);
      }
      if (!choice.reasoning.empty()) message.add("reasoning_content", choice.reasoning);
      message.add_null("refusal");
      std::vector<std::string> calls;
      for (const ToolCall& call : choice.tool_calls) {
        JsonObject function;
        function.add("name", call.name);
        function.add("arguments", call.arguments);
        JsonObject entry;
        entry.add("id", call.id);
        entry.add("type", "function");
        entry.add("function", function);
        calls.push_back(entry.compact());
      }
      if (!calls.empty()) message.add_json("tool_calls", json_array(calls));
      JsonObject entry;
      entry.add("index", int64_t{choice.index});
      entry.add("message", message);
      entry.add_json("logprobs", logprobs_ ? chat_logprobs_json(*answer.model, choice.tokens) : "null");
      entry.add("finish_reason", finish_name(choice.finish));
      choices.push_back(entry.compact());
    }
    JsonObject out = openai_head(answer, "chat.completion");
    out.add_json("choices", json_array(choices));
    out.add_json("usage", usage_json(answer.usage()));
    out.add_json("timings", timings_json(answer.usage()));
    answer.exchange->respond({.body = out.compact() + "\n"});
  }

 private:
  void send(Answer& answer, const Choice& choice, const JsonObject& delta, std::span<const TextToken> tokens,
            std::string_view finish) const {
    JsonObject entry;
    entry.add("index", int64_t{choice.index});
    entry.add("delta", delta);
    entry.add_json("logprobs",
                   logprobs_ && !tokens.empty() ? chat_logprobs_json(*answer.model, tokens) : "null");
    entry.add_json("finish_reason", finish);
    JsonObject chunk = openai_head(answer, "chat.completion.chunk");
    const std::string choices[] = {entry.compact()};
    chunk.add_json("choices", json_array(choices));
    answer.send_event(chunk.compact());
  }

  bool logprobs_;
};

}  // namespace

void chat_completions(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  GenerationRequest request;
  read_generation(fields, call.model, request);
  read_constraint(fields, call.model, request);
  bool logprobs = false;
  fields.boolean("logprobs", logprobs);
  fields.integer("top_logprobs", 0, kMaxTopLogprobs, request.text.n_top_logprobs);
  if (fields.has("top_logprobs") && !logprobs)
    fields.fail("top_logprobs", "top_logprobs needs logprobs: true");
  request.text.wants_tokens = request.text.wants_logprobs = logprobs;
  ChatRequest chat;
  read_chat(fields, call.model, chat);
  set_chat_prompt(chat, call.model, request, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  run_answer(call.service, call.model, call.exchange, std::move(request),
             std::make_unique<ChatWriter>(logprobs), "chatcmpl-");
}

}  // namespace forge::rt
