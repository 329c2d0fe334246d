#include "runtime/server/generation_request.h"

#include <sys/random.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/core/dry_breakers.h"

namespace forge::rt {

using jinja::Type;
using jinja::Value;

uint64_t random_seed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof seed))
    seed = static_cast<uint64_t>(seconds_now() * 1e9);
  return seed >> 1;
}

namespace {

constexpr size_t kMaxBiases = 1024;
// What a request may make DRY cost at each token.
constexpr int64_t kMaxDryWindow = 8192;
constexpr size_t kMaxDryStrings = 8;

// {"1234": -100} or [[1234, -100]]; false for "never".
void read_logit_bias(const RequestFields& fields, const ModelInfo& model, std::vector<TokenBias>& out) {
  constexpr std::string_view kName = "logit_bias";
  const Value* value = fields.find(kName);
  if (value == nullptr) return;
  const auto wrong = [&] {
    fields.expected(kName, "an object of token ids and numbers from -100 to 100, like {\"1234\": -100}");
  };
  const auto add = [&](int64_t token, const Value& bias) {
    if (out.size() == kMaxBiases) return fields.expected(kName, text("at most ", kMaxBiases, " tokens"));
    const bool never = bias.is(Type::boolean) && !bias.as_bool();
    if (token < 0 || token >= model.tokenizer().n_vocab() ||
        (!never && (!bias.is_number() || !(std::abs(bias.as_real()) <= 100))))
      return wrong();
    // OpenAI: -100 and 100 ban and choose a token.
    const double given = never ? -100 : bias.as_real();
    out.push_back({static_cast<int32_t>(token),
                   given <= -100 ? -std::numeric_limits<float>::infinity() : static_cast<float>(given)});
  };
  if (value->is(Type::dict)) {
    for (const auto& [key, bias] : value->as_dict().entries) {
      const auto token = key.is_string() ? parse_unsigned(key.as_string()) : Result<uint64_t>(Error{});
      if (!token || *token > INT32_MAX) return wrong();
      add(static_cast<int64_t>(*token), bias);
    }
  } else if (const auto* items = list_items(*value)) {
    for (const Value& item : *items) {
      const auto* pair = list_items(item);
      if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is(Type::integer)) return wrong();
      add((*pair)[0].as_int(), (*pair)[1]);
    }
  } else {
    wrong();
  }
}

}  // namespace

void check_stops(const RequestFields& fields, std::string_view name, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (stop.empty() || stop.size() > kMaxStopBytes)
      fields.expected(name, text("strings of 1 to ", kMaxStopBytes, " bytes"));
  }
}

void read_generation(const RequestFields& fields, const ModelInfo& model, GenerationRequest& out) {
  Job& job = out.text.job;
  out.text.guide.n_vocab = static_cast<uint32_t>(model.tokenizer().n_vocab());
  SamplingParams& p = job.sampling;
  p = model.sampling;
  fields.number("temperature", 0, 100, p.temperature);
  fields.number("top_p", 0, 1, p.top_p);
  fields.number("min_p", 0, 1, p.min_p);
  int64_t top_k = p.top_k;
  if (fields.integer("top_k", -1, INT32_MAX, top_k)) p.top_k = static_cast<int32_t>(top_k);
  fields.number("repeat_penalty", 0.01, 100, p.repeat_penalty);
  fields.integer("repeat_last_n", 0, UINT32_MAX, p.repeat_last_n);
  fields.number("presence_penalty", -2, 2, p.presence_penalty);
  fields.number("frequency_penalty", -2, 2, p.frequency_penalty);
  fields.number("dry_multiplier", 0, 100, p.dry_multiplier);
  fields.number("dry_base", 0, 100, p.dry_base);
  fields.integer("dry_allowed_length", 1, INT32_MAX, p.dry_allowed_length);
  fields.integer("dry_penalty_last_n", 0, kMaxDryWindow, p.dry_penalty_last_n);
  fields.number("xtc_probability", 0, 1, p.xtc_probability);
  fields.number("xtc_threshold", 0, 1, p.xtc_threshold);
  if (p.dry_multiplier > 0) {
    std::vector<std::string> breakers(std::begin(kDefaultDryBreakers), std::end(kDefaultDryBreakers));
    fields.strings("dry_sequence_breakers", kMaxDryStrings, breakers);
    std::string key;
    for (const std::string& breaker : breakers) key += text(breaker.size(), " ", breaker);
    auto made = model.breakers->get(key, [&]() -> Result<std::shared_ptr<const DryBreakers>> {
      auto found = dry_breakers(model.tokenizer(), breakers);
      if (!found) return found.error();
      return std::make_shared<const DryBreakers>(std::move(*found));
    });
    if (made) {
      p.dry_breakers = std::move(*made);
    } else {
      fields.fail("dry_sequence_breakers", made.error().message);
    }
  }
  int64_t seed = -1;
  fields.integer("seed", INT64_MIN, INT64_MAX, seed);
  p.seed = fields.has("seed") && seed != -1 ? static_cast<uint64_t>(seed) : random_seed();
  read_logit_bias(fields, model, job.bias);
  fields.boolean("ignore_eos", job.ignore_eos);
  fields.boolean("cache_prompt", job.reuse);
  int64_t slot = job.slot;
  if (fields.integer("id_slot", -1, INT32_MAX, slot)) job.slot = static_cast<int32_t>(slot);
  for (const char* name : {"n_predict", "max_tokens", "max_output_tokens", "max_completion_tokens"}) {
    int64_t max_tokens = -1;
    if (fields.integer(name, -1, UINT32_MAX, max_tokens))
      job.max_tokens = max_tokens < 0 ? UINT32_MAX : static_cast<uint32_t>(max_tokens);
  }
  fields.strings("stop", kMaxStops, out.text.stop);
  check_stops(fields, "stop", out.text.stop);
  fields.integer("n", 1, kMaxChoices, out.n);
  fields.boolean("stream", out.stream);
  if (const Value* options = fields.find("stream_options")) {
    const RequestFields inner(*options, fields.path_of("stream_options"), fields.error());
    inner.boolean("include_usage", out.include_usage);
  }
}

bool check_length(size_t n_bytes, const std::string& path, const ModelInfo& model, ApiError& error) {
  if (n_bytes <= model.max_text) return true;
  if (error.message.empty()) {
    error.message = text(path, ": a text of ", n_bytes, " bytes is more than the context of ", model.ctx(),
                         " tokens can hold (see --ctx)");
    error.param = path;
    error.code = "context_length_exceeded";
  }
  return false;
}

void set_prompt(std::vector<int32_t> prompt, const ModelInfo& model, GenerationRequest& out,
                ApiError& error) {
  if (!error.message.empty()) return;
  if (out.text.guide.masks == nullptr) out.text.guide.masks = model.masks;
  Job& job = out.text.job;
  if (prompt.empty()) {
    error.message = "the prompt has no tokens";
  } else if (prompt.size() >= model.ctx()) {
    error.message = text("the prompt has ", prompt.size(), " tokens, the context holds ", model.ctx(),
                         " and the answer needs one at least (see --ctx)");
    error.code = "context_length_exceeded";
  }
  job.prompt = std::move(prompt);
}

}  // namespace forge::rt
