// OpenAI's responses, texts alone: https://platform.openai.com/docs/api-reference/responses
#include "runtime/host/json.h"
#include "runtime/server/constraint.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {
namespace {

using jinja::Value;

std::string response_usage_json(const AnswerUsage& usage) {
  JsonObject cached;
  cached.add("cached_tokens", int64_t{usage.n_cached});
  JsonObject reasoning;
  reasoning.add("reasoning_tokens", int64_t{0});
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
  ResponseWriter(std::string instructions, float temperature, float top_p, uint32_t max_tokens)
      : instructions_(std::move(instructions)),
        temperature_(temperature),
        top_p_(top_p),
        max_tokens_(max_tokens) {}

  std::string_view error_event() const override { return "error"; }

  void begin(Answer& answer) override {
    for (const char* type : {"response.created", "response.in_progress"}) {
      JsonObject event = event_of(type);
      event.add_json("response", response_json(answer, "in_progress"));
      answer.send_event(event.compact(), type);
    }
  }

  void delta(Answer& answer, const Choice& /*choice*/, const AnswerDelta& d,
             std::span<const TextToken> /*tokens*/) override {
    if (d.kind != AnswerDelta::Kind::content || d.text.empty()) return;
    open_item(answer);
    JsonObject event = event_of("response.output_text.delta");
    add_place(event);
    event.add("delta", d.text);
    event.add_json("logprobs", "[]");
    answer.send_event(event.compact(), "response.output_text.delta");
  }

  void ended(Answer& answer) override {
    const Choice& choice = answer.choices[0];
    const bool cut = choice.finish == FinishReason::length;
    const std::string_view status = cut ? "incomplete" : "completed";
    if (!answer.stream) return answer.exchange->respond({.body = response_json(answer, status) + "\n"});
    open_item(answer);
    JsonObject done = event_of("response.output_text.done");
    add_place(done);
    done.add("text", choice.content);
    done.add_json("logprobs", "[]");
    answer.send_event(done.compact(), "response.output_text.done");
    JsonObject part = event_of("response.content_part.done");
    add_place(part);
    part.add_json("part", part_json(choice.content));
    answer.send_event(part.compact(), "response.content_part.done");
    JsonObject item = event_of("response.output_item.done");
    item.add("output_index", int64_t{0});
    item.add_json("item", item_json(status, choice.content));
    answer.send_event(item.compact(), "response.output_item.done");
    const std::string type = text("response.", status);
    JsonObject event = event_of(type);
    event.add_json("response", response_json(answer, status));
    answer.send_event(event.compact(), type);
  }

 private:
  JsonObject event_of(std::string_view type) {
    JsonObject out;
    out.add("type", type);
    out.add("sequence_number", n_events_++);
    return out;
  }
  void add_place(JsonObject& event) const {
    event.add("item_id", item_id_);
    event.add("output_index", int64_t{0});
    event.add("content_index", int64_t{0});
  }
  void open_item(Answer& answer) {
    if (std::exchange(open_, true)) return;
    JsonObject item = event_of("response.output_item.added");
    item.add("output_index", int64_t{0});
    JsonObject empty;
    empty.add("id", item_id_);
    empty.add("type", "message");
    empty.add("status", "in_progress");
    empty.add("role", "assistant");
    empty.add_json("content", "[]");
    item.add("item", empty);
    answer.send_event(item.compact(), "response.output_item.added");
    JsonObject part = event_of("response.content_part.added");
    add_place(part);
    part.add_json("part", part_json({}));
    answer.send_event(part.compact(), "response.content_part.added");
  }
  std::string item_json(std::string_view status, std::string_view said) const {
    const std::string parts[] = {part_json(said)};
    JsonObject out;
    out.add("id", item_id_);
    out.add("type", "message");
    out.add("status", status);
    out.add("role", "assistant");
    out.add_json("content", json_array(parts));
    return out.compact();
  }
  std::string response_json(const Answer& answer, std::string_view status) const {
    const bool over = status != "in_progress";
    JsonObject out;
    out.add("id", answer.id);
    out.add("object", "response");
    out.add("created_at", answer.created);
    out.add("status", status);
    out.add_null("error");
    out.add_json("incomplete_details",
                 status == "incomplete" ? R"({"reason": "max_output_tokens"})" : "null");
    if (instructions_.empty()) {
      out.add_null("instructions");
    } else {
      out.add("instructions", instructions_);
    }
    out.add_json("max_output_tokens", max_tokens_ == UINT32_MAX ? "null" : std::to_string(max_tokens_));
    out.add("model", answer.model->name);
    const std::string items[] = {over ? item_json(status, answer.choices[0].content) : ""};
    out.add_json("output", over ? json_array(items) : "[]");
    out.add_json("parallel_tool_calls", "true");
    out.add_null("previous_response_id");
    out.add_json("store", "false");
    out.add("temperature", static_cast<double>(temperature_));
    out.add_json("text", R"({"format": {"type": "text"}})");
    out.add("tool_choice", "auto");
    out.add_json("tools", "[]");
    out.add("top_p", static_cast<double>(top_p_));
    out.add("truncation", "disabled");
    out.add_json("usage", over ? response_usage_json(answer.usage()) : "null");
    out.add_json("metadata", "{}");
    return out.compact();
  }

  std::string instructions_;
  float temperature_, top_p_;
  uint32_t max_tokens_;
  std::string item_id_ = random_id("msg_");
  int64_t n_events_ = 0;
  bool open_ = false;
};

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
  if (const Value* tools = fields.find("tools");
      tools != nullptr && list_items(*tools) != nullptr && !list_items(*tools)->empty())
    fields.fail("tools", "tools: not offered here; use /v1/chat/completions");
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
      set_messages(std::move(list), error, chat);
    } else {
      read_messages(*input, "input", error, std::move(list), chat);
    }
  }
  set_chat_prompt(chat, call.model, request, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  const SamplingParams& p = request.text.job.sampling;
  auto writer = std::make_unique<ResponseWriter>(std::move(instructions), p.temperature, p.top_p,
                                                 request.text.job.max_tokens);
  run_answer(call.service, call.model, call.exchange, std::move(request), std::move(writer), "resp_");
}

}  // namespace forge::rt
