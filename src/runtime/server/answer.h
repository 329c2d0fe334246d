// An answer of one or more choices, from the service to the client, in the words of the endpoint that was asked.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/core/answer_parser.h"
#include "runtime/host/json.h"
#include "runtime/server/generation_request.h"
#include "runtime/server/http_server.h"
#include "runtime/server/model_info.h"
#include "runtime/server/service.h"

namespace forge::rt {

enum class FinishReason : uint8_t { stop, length, tool_calls };

// A choice as far as it has come.
struct Choice {
  uint32_t index = 0;
  uint64_t text_id = 0;  // the service's
  std::string content, reasoning;
  std::vector<ToolCall> tool_calls;
  std::vector<TextToken> tokens, prompt_tokens;  // where they are wanted
  size_t n_tokens_sent = 0;                      // of tokens, by a stream
  std::unique_ptr<AnswerParser> parser;          // null: all of the text is content
  bool ended = false;
  TextUpdate last;  // the update that ended it
  FinishReason finish = FinishReason::stop;
};

struct Answer;

// {"error": {…}}
std::string openai_error_json(const ApiError& error);

// The endpoint's words. `delta` … `choice_ended` are called for streams alone.
class AnswerWriter {
 public:
  AnswerWriter() = default;
  AnswerWriter(const AnswerWriter&) = delete;
  AnswerWriter& operator=(const AnswerWriter&) = delete;
  virtual ~AnswerWriter() = default;
  virtual void begin(Answer& /*answer*/) {}
  // delta: what has been added to the choice. tokens: those that it came with, where they are wanted.
  virtual void delta(Answer& answer, const Choice& choice, const AnswerDelta& delta,
                     std::span<const TextToken> tokens) = 0;
  virtual void choice_ended(Answer& /*answer*/, const Choice& /*choice*/) {}
  // All choices have ended: the rest of the stream, or the whole answer (by Answer::exchange->respond).
  virtual void ended(Answer& answer) = 0;
  // An answer that is none, whole or as the last event of a stream.
  virtual std::string error_json(const ApiError& error) const { return openai_error_json(error); }
  virtual std::string_view error_event() const { return {}; }
  // The last of a stream that has begun and is none.
  virtual void failed(Answer& answer, const ApiError& error);
};

struct AnswerUsage {
  uint32_t n_prompt = 0, n_cached = 0, n_generated = 0;
  uint32_t n_thoughts = 0;  // of n_generated
  double prompt_s = 0, generation_s = 0;
};

struct Answer {
  std::shared_ptr<Exchange> exchange;
  const ModelInfo* model = nullptr;
  std::unique_ptr<AnswerWriter> writer;
  std::string id;       // "chatcmpl-…"
  int64_t created = 0;  // seconds since 1970
  uint32_t n_prompt = 0;
  bool stream = false, include_usage = false, parallel_calls = true, begun = false, over = false;
  std::vector<Choice> choices;

  // Of all choices together; the prompt counts once.
  AnswerUsage usage() const;
  // "data: JSON\n\n", with "event: NAME\n" in front where there is a name.
  void send_event(std::string_view json, std::string_view name = {}) const;
};

// Runs the request and has the answer written. 429 where the service has no room.
void run_answer(Service& service, const ModelInfo& model, const std::shared_ptr<Exchange>& exchange,
                GenerationRequest request, std::unique_ptr<AnswerWriter> writer, std::string_view id_prefix);

void respond_error(Exchange& exchange, const ApiError& error);
// The same with a body of its own.
void respond_error(Exchange& exchange, const ApiError& error, std::string_view json);
ApiError busy_error();
ApiError shutting_down_error();
ApiError ended_badly(const TextUpdate& update);  // failed, or cancelled by the server
// {"prompt_tokens": …}
std::string usage_json(const AnswerUsage& usage);
// {"prompt_n": …, "predicted_per_second": …}
std::string timings_json(const AnswerUsage& usage);
// The members that answers of OpenAI's two completion APIs, and pieces of them, begin with.
JsonObject openai_head(const Answer& answer, std::string_view object);
// Their streams end with the usage, where that was asked for, and "[DONE]".
void end_openai_stream(const Answer& answer, std::string_view object);
std::string_view finish_name(FinishReason reason);  // OpenAI's
// `prefix` and 24 random letters and digits.
std::string random_id(std::string_view prefix);

}  // namespace forge::rt
