// OpenAI's completions: https://platform.openai.com/docs/api-reference/completions
#include <cmath>

#include "runtime/host/json.h"
#include "runtime/server/constraint.h"
#include "runtime/server/endpoints.h"
#include "runtime/server/logprobs_json.h"

namespace forge::rt {
namespace {

constexpr int64_t kMaxLogprobs = 20;
constexpr std::string_view kObject = "text_completion";

class CompletionWriter final : public AnswerWriter {
 public:
  CompletionWriter(bool logprobs, std::string echo) : logprobs_(logprobs), echo_(std::move(echo)) {}

  void begin(Answer& answer) override { echoed_.resize(answer.choices.size()); }

  void delta(Answer& answer, const Choice& choice, const AnswerDelta& d,
             std::span<const TextToken> tokens) override {
    echo(answer, choice);
    send(answer, choice, d.text, tokens, offset_before(choice, d.text), "null");
  }

  void choice_ended(Answer& answer, const Choice& choice) override {
    echo(answer, choice);
    send(answer, choice, "", {}, 0, json_string(finish_name(choice.finish)));
  }

  void ended(Answer& answer) override {
    if (answer.stream) return end_openai_stream(answer, kObject);
    std::vector<std::string> choices;
    for (const Choice& choice : answer.choices) {
      std::vector<TextToken> tokens = choice.prompt_tokens;
      tokens.insert(tokens.end(), choice.tokens.begin(), choice.tokens.end());
      choices.push_back(
          entry(answer, choice, echo_ + choice.content, tokens, 0, json_string(finish_name(choice.finish))));
    }
    JsonObject out = openai_head(answer, kObject);
    out.add_json("choices", json_array(choices));
    out.add_json("usage", usage_json(answer.usage()));
    out.add_json("timings", timings_json(answer.usage()));
    answer.exchange->respond({.body = out.compact() + "\n"});
  }

 private:
  std::string entry(const Answer& answer, const Choice& choice, std::string_view added,
                    std::span<const TextToken> tokens, size_t offset, std::string_view finish) const {
    JsonObject out;
    out.add("index", int64_t{choice.index});
    out.add("text", added);
    out.add_json("logprobs", logprobs_ && !tokens.empty()
                                 ? completion_logprobs_json(*answer.model, tokens, offset)
                                 : "null");
    out.add_json("finish_reason", finish);
    return out.compact();
  }

  // The prompt comes with a choice's first words: its tokens are there by then.
  void echo(Answer& answer, const Choice& choice) {
    if (echo_.empty() || echoed_[choice.index]) return;
    echoed_[choice.index] = true;
    send(answer, choice, echo_, choice.prompt_tokens, 0, "null");
  }

  // In characters; `added` is the end of the content.
  size_t offset_before(const Choice& choice, std::string_view added) const {
    const size_t before = choice.content.size() - std::min(choice.content.size(), added.size());
    return count_characters(echo_) + count_characters(std::string_view(choice.content).substr(0, before));
  }

  void send(Answer& answer, const Choice& choice, std::string_view added, std::span<const TextToken> tokens,
            size_t offset, std::string_view finish) const {
    JsonObject chunk = openai_head(answer, kObject);
    const std::string choices[] = {entry(answer, choice, added, tokens, offset, finish)};
    chunk.add_json("choices", json_array(choices));
    answer.send_event(chunk.compact());
  }

  bool logprobs_;
  std::string echo_;
  std::vector<bool> echoed_;  // by choice
};

}  // namespace

std::vector<int32_t> read_prompt(const jinja::Value& given, const std::string& path, const ModelInfo& model,
                                 ApiError& error) {
  const Tokenizer& tokenizer = model.tokenizer();
  if (given.is_string() && !check_length(given.as_string().size(), path, model, error)) return {};
  if (given.is_string())
    return tokenizer.encode(given.as_string(), {.add_eos = false, .parse_special = true});
  std::vector<int32_t> tokens;
  const auto* items = list_items(given);
  bool ok = items != nullptr;
  for (size_t i = 0; ok && i < items->size(); ++i) {
    const jinja::Value& item = (*items)[i];
    ok = item.is(jinja::Type::integer) && item.as_int() >= 0 && item.as_int() < tokenizer.n_vocab();
    if (ok) tokens.push_back(static_cast<int32_t>(item.as_int()));
  }
  if (!ok && error.message.empty()) {
    error.message = text(path, ": expected a string, or a list of token ids below ", tokenizer.n_vocab());
    error.param = path;
  }
  return tokens;
}

namespace {

// The prompt as a text, without a begin token in front: the tokenizer adds that.
std::string echo_of(std::span<const int32_t> prompt, const Tokenizer& tokenizer) {
  std::string out;
  if (!prompt.empty() && prompt[0] == tokenizer.bos()) prompt = prompt.subspan(1);
  for (const int32_t token : prompt) tokenizer.append_piece(token, out, /*special=*/true);
  return out;
}

}  // namespace

void completions(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  GenerationRequest request;
  request.text.job.max_tokens = 16;  // OpenAI's default
  read_generation(fields, call.model, request);
  read_constraint(fields, call.model, request);
  bool echo = false;
  fields.boolean("echo", echo);
  int64_t logprobs = -1;
  fields.integer("logprobs", 0, kMaxLogprobs, logprobs);
  if (fields.has("suffix")) fields.fail("suffix", "suffix: use /infill");
  if (int64_t best_of = 1; fields.integer("best_of", 1, kMaxChoices, best_of) && best_of > request.n)
    fields.fail("best_of", "best_of: more than n is not offered");
  request.text.wants_tokens = request.text.wants_logprobs = logprobs >= 0;
  if (logprobs >= 0) request.text.n_top_logprobs = static_cast<uint32_t>(logprobs);
  request.text.wants_prompt_logprobs = echo && logprobs >= 0;
  std::vector<int32_t> prompt;
  if (const jinja::Value* given = fields.required("prompt")) {
    // A list of one text is that text.
    const auto* items = list_items(*given);
    if (items != nullptr && items->size() == 1 && !(*items)[0].is(jinja::Type::integer))
      given = items->data();
    if (items != nullptr && items->size() > 1 && (*items)[0].is_string())
      fields.fail("prompt", "prompt: expected one text a request");
    prompt = read_prompt(*given, "prompt", call.model, error);
  }
  std::string shown;
  if (echo) shown = echo_of(prompt, call.model.tokenizer());
  set_prompt(std::move(prompt), call.model, request, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  run_answer(call.service, call.model, call.exchange, std::move(request),
             std::make_unique<CompletionWriter>(logprobs >= 0, std::move(shown)), "cmpl-");
}

}  // namespace forge::rt
