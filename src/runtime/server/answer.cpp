#include "runtime/server/answer.h"

#include <ctime>

#include "runtime/host/json.h"

namespace forge::rt {

std::string random_id(std::string_view prefix) {
  constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::string out(prefix);
  for (int i = 0; i < 2; ++i) {
    uint64_t bits = random_seed();
    for (int k = 0; k < 12; ++k, bits /= kLetters.size()) out += kLetters[bits % kLetters.size()];
  }
  return out;
}

std::string openai_error_json(const ApiError& error) {
  JsonObject inner;
  inner.add("message", error.message);
  inner.add("type", error.type);
  if (error.param.empty()) {
    inner.add_null("param");
  } else {
    inner.add("param", error.param);
  }
  if (error.code.empty()) {
    inner.add_null("code");
  } else {
    inner.add("code", error.code);
  }
  JsonObject out;
  out.add("error", inner);
  return out.compact();
}

void respond_error(Exchange& exchange, const ApiError& error) {
  respond_error(exchange, error, openai_error_json(error));
}

ApiError busy_error() {
  return {.status = 429,
          .message = "the server is busy: its queue is full; try again later",
          .param = {},
          .type = "rate_limit_error",
          .code = "rate_limit_exceeded"};
}

ApiError shutting_down_error() {
  return {.status = 503,
          .message = "the server is shutting down",
          .param = {},
          .type = "server_error",
          .code = {}};
}

ApiError ended_badly(const TextUpdate& update) {
  const JobResult& result = update.result;
  if (result.end == JobEnd::cancelled) return shutting_down_error();
  if (update.by_constraint) return {.message = result.error, .param = {}, .code = {}};
  return {.status = 500, .message = result.error, .param = {}, .type = "server_error", .code = {}};
}

void respond_error(Exchange& exchange, const ApiError& error, std::string_view json) {
  HttpResponse response{.status = error.status, .body = text(json, "\n")};
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  exchange.respond(response);
}

std::string usage_json(const AnswerUsage& usage) {
  JsonObject out;
  out.add("prompt_tokens", int64_t{usage.n_prompt});
  out.add("completion_tokens", int64_t{usage.n_generated});
  out.add("total_tokens", int64_t{usage.n_prompt} + usage.n_generated);
  JsonObject details;
  details.add("cached_tokens", int64_t{usage.n_cached});
  out.add("prompt_tokens_details", details);
  JsonObject generated;
  generated.add("reasoning_tokens", int64_t{usage.n_thoughts});
  out.add("completion_tokens_details", generated);
  return out.compact();
}

std::string timings_json(const AnswerUsage& usage) {
  const int64_t n_run = int64_t{usage.n_prompt} - usage.n_cached;
  const auto rate = [](int64_t n, double s) { return s > 0 ? static_cast<double>(n) / s : 0.0; };
  JsonObject out;
  out.add("cache_n", int64_t{usage.n_cached});
  out.add("prompt_n", n_run);
  out.add("prompt_ms", 1e3 * usage.prompt_s);
  out.add("prompt_per_second", rate(n_run, usage.prompt_s));
  out.add("predicted_n", int64_t{usage.n_generated});
  out.add("predicted_ms", 1e3 * usage.generation_s);
  out.add("predicted_per_second", rate(usage.n_generated, usage.generation_s));
  return out.compact();
}

JsonObject openai_head(const Answer& answer, std::string_view object) {
  JsonObject out;
  out.add("id", answer.id);
  out.add("object", object);
  out.add("created", answer.created);
  out.add("model", answer.model->name);
  out.add("system_fingerprint", answer.model->fingerprint);
  return out;
}

void end_openai_stream(const Answer& answer, std::string_view object) {
  if (answer.include_usage) {
    JsonObject chunk = openai_head(answer, object);
    chunk.add_json("choices", "[]");
    chunk.add_json("usage", usage_json(answer.usage()));
    chunk.add_json("timings", timings_json(answer.usage()));
    answer.send_event(chunk.compact());
  }
  answer.send_event("[DONE]");
}

std::string_view finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::length: return "length";
    case FinishReason::tool_calls: return "tool_calls";
    case FinishReason::stop: break;
  }
  return "stop";
}

AnswerUsage Answer::usage() const {
  AnswerUsage out;
  for (const Choice& choice : choices) {
    const JobResult& result = choice.last.result;
    if (choice.index == 0) {
      out.n_prompt = result.n_prompt;
      out.n_cached = result.n_cached;
      out.prompt_s = choice.last.prompt_s;
    }
    out.n_generated += result.n_generated;
    out.n_thoughts += choice.last.n_thought_tokens;
    out.generation_s = std::max(out.generation_s, choice.last.generation_s);
  }
  return out;
}

void AnswerWriter::failed(Answer& answer, const ApiError& error) {
  answer.send_event(error_json(error), error_event());
}

void Answer::send_event(std::string_view json, std::string_view name) const {
  std::string event;
  if (!name.empty()) event += text("event: ", name, "\n");
  exchange->send(text(event, "data: ", json, "\n\n"));
}

namespace {

void begin_stream(Answer& answer) {
  if (!answer.stream || std::exchange(answer.begun, true)) return;
  answer.exchange->begin_stream({.content_type = "text/event-stream",
                                 .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
  answer.writer->begin(answer);
}

void fail_answer(Service& service, Answer& answer, const ApiError& error) {
  answer.over = true;
  for (const Choice& choice : answer.choices)
    if (!choice.ended) service.cancel(choice.text_id);
  if (!answer.begun) return respond_error(*answer.exchange, error, answer.writer->error_json(error));
  answer.writer->failed(answer, error);
  answer.exchange->end_stream();
}

// Adds to the choice, and writes what was added to a stream.
void take_delta(Answer& answer, Choice& choice, const AnswerDelta& delta) {
  using Kind = AnswerDelta::Kind;
  if (delta.call > 0 && !answer.parallel_calls) return;
  const std::span<const TextToken> tokens = std::span(choice.tokens).subspan(choice.n_tokens_sent);
  switch (delta.kind) {
    case Kind::content: choice.content += delta.text; break;
    case Kind::reasoning: choice.reasoning += delta.text; break;
    case Kind::call_begin:
      choice.tool_calls.push_back(
          {.id = delta.id.empty() ? random_id("call_") : delta.id, .name = delta.text, .arguments = {}});
      break;
    case Kind::call_arguments: choice.tool_calls.back().arguments += delta.text; break;
    case Kind::call_end: return;
  }
  if (!answer.stream || (delta.text.empty() && tokens.empty())) return;
  answer.writer->delta(answer, choice, delta, tokens);
  choice.n_tokens_sent = choice.tokens.size();
}

void take_update(Service& service, Answer& answer, Choice& choice, TextUpdate& update) {
  if (update.ended) choice.ended = true;
  if (answer.over) return;
  if (update.ended && (update.result.end == JobEnd::failed || update.result.end == JobEnd::cancelled))
    return fail_answer(service, answer, ended_badly(update));
  begin_stream(answer);
  choice.tokens.insert(choice.tokens.end(), update.tokens.begin(), update.tokens.end());
  if (!update.prompt_tokens.empty()) choice.prompt_tokens = std::move(update.prompt_tokens);
  if (choice.parser == nullptr) {
    take_delta(answer, choice, {.text = update.text});
  } else {
    for (const AnswerDelta& delta : choice.parser->push(update.text)) take_delta(answer, choice, delta);
  }
  if (!update.ended) return;
  const bool cut_off = update.result.end == JobEnd::length || update.result.end == JobEnd::context_full;
  if (choice.parser != nullptr)
    for (const AnswerDelta& delta : choice.parser->finish(cut_off)) take_delta(answer, choice, delta);
  if (choice.n_tokens_sent < choice.tokens.size()) take_delta(answer, choice, {});
  if (cut_off) {
    choice.finish = FinishReason::length;
  } else if (!choice.tool_calls.empty()) {
    choice.finish = FinishReason::tool_calls;
  }
  choice.last = std::move(update);
  if (answer.stream) answer.writer->choice_ended(answer, choice);
  for (const Choice& c : answer.choices)
    if (!c.ended) return;
  answer.over = true;
  answer.writer->ended(answer);
  if (answer.stream) answer.exchange->end_stream();
}

}  // namespace

void run_answer(Service& service, const ModelInfo& model, const std::shared_ptr<Exchange>& exchange,
                GenerationRequest request, std::unique_ptr<AnswerWriter> writer, std::string_view id_prefix) {
  if (request.n > service.max_texts()) {
    const ApiError error{.message = text("n: this server takes on ", service.max_texts(),
                                         " texts at most (see --parallel and --queue)"),
                         .param = "n",
                         .code = {}};
    return respond_error(*exchange, error, writer->error_json(error));
  }
  if (!service.has_room(request.n))
    return respond_error(*exchange, busy_error(), writer->error_json(busy_error()));
  const auto answer = std::make_shared<Answer>();
  answer->exchange = exchange;
  answer->model = &model;
  answer->writer = std::move(writer);
  answer->id = random_id(id_prefix);
  answer->created = std::time(nullptr);
  answer->n_prompt = static_cast<uint32_t>(request.text.job.prompt.size());
  answer->stream = request.stream;
  answer->parallel_calls = request.parallel_calls;
  answer->include_usage = request.include_usage;
  answer->choices.resize(request.n);
  if (request.divided) request.text.shown_tokens = model.markers;
  for (uint32_t i = 0; i < request.n; ++i) {
    Choice& choice = answer->choices[i];
    choice.index = i;
    if (request.divided)
      choice.parser = std::make_unique<AnswerParser>(
          model.format, AnswerOptions{.prompt = request.prompt_text, .tools = request.tools});
    TextRequest one = request.text;
    one.job.sampling.seed += i;
    choice.text_id = service.run(std::move(one), [&service, answer, i](TextUpdate& update) {
      take_update(service, *answer, answer->choices[i], update);
    });
  }
  // The answer holds the exchange, whose connection holds it: not the other way round, too.
  exchange->on_gone = [&service, weak = std::weak_ptr<Answer>(answer)] {
    const auto gone = weak.lock();
    if (gone == nullptr || gone->over) return;
    gone->over = true;
    for (const Choice& choice : gone->choices)
      if (!choice.ended) service.cancel(choice.text_id);
  };
}

}  // namespace forge::rt
