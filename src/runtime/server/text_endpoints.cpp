// llama.cpp's endpoints about text and tokens, and its infill.
#include <array>

#include "runtime/host/json.h"
#include "runtime/server/constraint.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {

using jinja::Value;

namespace {

// Whose tokens /tokenize tells: with pieces they take some thirty times as much.
constexpr size_t kMaxTokenized = 1 << 20;

}  // namespace

void tokenize(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  std::string content;
  bool add_special = false;
  bool parse_special = true;
  bool with_pieces = false;
  if (fields.required("content") != nullptr) fields.string("content", content);
  fields.boolean("add_special", add_special);
  fields.boolean("parse_special", parse_special);
  fields.boolean("with_pieces", with_pieces);
  if (content.size() > kMaxTokenized) fields.expected("content", text("at most ", kMaxTokenized, " bytes"));
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  EncodeOptions options{.parse_special = parse_special};
  if (!add_special) options.add_bos = options.add_eos = false;
  std::vector<std::string> tokens;
  for (const int32_t token : call.model.tokenizer().encode(content, options)) {
    if (!with_pieces) {
      tokens.push_back(std::to_string(token));
      continue;
    }
    std::string piece;
    call.model.tokenizer().append_piece(token, piece, /*special=*/true);
    JsonObject entry;
    entry.add("id", int64_t{token});
    entry.add("piece", piece);
    tokens.push_back(entry.compact());
  }
  JsonObject out;
  out.add_json("tokens", json_array(tokens));
  call.exchange->respond({.body = out.compact() + "\n"});
}

void detokenize(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  std::vector<int32_t> tokens;
  if (const Value* given = fields.required("tokens"))
    tokens = read_prompt(*given, "tokens", call.model, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  JsonObject out;
  out.add("content", call.model.tokenizer().decode(tokens, /*special=*/true));
  call.exchange->respond({.body = out.compact() + "\n"});
}

namespace {

class InfillWriter final : public AnswerWriter {
  void delta(Answer& answer, const Choice& /*choice*/, const AnswerDelta& d,
             std::span<const TextToken> /*tokens*/) override {
    JsonObject out;
    out.add("content", d.text);
    out.add_json("stop", "false");
    answer.send_event(out.compact());
  }
  void ended(Answer& answer) override {
    const Choice& choice = answer.choices[0];
    JsonObject out;
    out.add("content", answer.stream ? std::string_view() : choice.content);
    out.add_json("stop", "true");
    out.add("stop_type", choice.finish == FinishReason::length ? "limit"
                         : choice.last.stop.empty()            ? "eos"
                                                               : "word");
    out.add("tokens_predicted", int64_t{choice.last.result.n_generated});
    out.add("tokens_evaluated", int64_t{choice.last.result.n_prompt});
    out.add_json("timings", timings_json(answer.usage()));
    if (answer.stream) return answer.send_event(out.compact());
    answer.exchange->respond({.body = out.compact() + "\n"});
  }
};

// What models call the three tokens around a gap: prefix, suffix, middle.
constexpr std::array<std::array<std::string_view, 3>, 7> kFillNames = {{
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},     // Qwen 2.5 Coder
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},           // StarCoder, SmolLM
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},           // Granite
    {"<|fim▁begin|>", "<|fim▁hole|>", "<|fim▁end|>"},           // DeepSeek Coder
    {"<PRE>", "<SUF>", "<MID>"},                                // Code Llama
    {"▁<PRE>", "▁<SUF>", "▁<MID>"},                             // Code Llama, as in Hugging Face's files
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},  // GLM 4
}};

}  // namespace

std::optional<FillTokens> find_fill_tokens(const Tokenizer& tokenizer) {
  for (const auto& names : kFillNames) {
    int32_t found[3] = {-1, -1, -1};
    for (int32_t t = 0; t < tokenizer.n_vocab(); ++t) {
      if (!tokenizer.is_control(t)) continue;
      std::string name;
      tokenizer.append_piece(t, name, /*special=*/true);
      for (size_t i = 0; i < 3; ++i)
        if (name == names[i]) found[i] = t;
    }
    if (found[0] >= 0 && found[1] >= 0 && found[2] >= 0)
      return FillTokens{.prefix = found[0], .suffix = found[1], .middle = found[2]};
  }
  return std::nullopt;
}

void infill(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  GenerationRequest request;
  read_generation(fields, call.model, request);
  read_constraint(fields, call.model, request);
  std::string prefix;
  std::string suffix;
  std::string prompt;
  fields.string("input_prefix", prefix);
  fields.string("input_suffix", suffix);
  fields.string("prompt", prompt);
  if (request.n != 1) fields.expected("n", "1");
  check_length(prefix.size() + suffix.size() + prompt.size(), "input_prefix", call.model, error);
  if (!call.model.fill_tokens) fields.fail({}, "this model has no fill-in-the-middle tokens");
  std::vector<int32_t> tokens;
  if (!fields.failed()) {
    const auto& t = call.model.tokenizer();
    const auto add = [&](std::string_view piece) {
      const auto ids = t.encode(piece, {.add_bos = false, .add_eos = false});
      tokens.insert(tokens.end(), ids.begin(), ids.end());
    };
    if (t.adds_bos()) tokens.push_back(t.bos());
    tokens.push_back(call.model.fill_tokens->prefix);
    add(prefix);
    add(prompt);
    tokens.push_back(call.model.fill_tokens->suffix);
    add(suffix);
    tokens.push_back(call.model.fill_tokens->middle);
  }
  set_prompt(std::move(tokens), call.model, request, error);
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  run_answer(call.service, call.model, call.exchange, std::move(request), std::make_unique<InfillWriter>(),
             "infill-");
}

}  // namespace forge::rt
