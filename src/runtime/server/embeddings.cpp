// OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings
#include "runtime/host/json.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {
namespace {

constexpr size_t kMaxInputs = 2048;
constexpr uint32_t kInputsAtOnce = 8;

// The inputs of a request, a few at a time through the service.
struct EmbeddingBatch {
  Service* service = nullptr;
  const ModelInfo* model = nullptr;
  std::shared_ptr<Exchange> exchange;
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::vector<float>> vectors;
  std::vector<uint64_t> running;  // the service's numbers
  size_t n_begun = 0, n_ended = 0;
  uint64_t n_tokens = 0;
  bool base64 = false, over = false;
};

// RFC 4648, padded.
std::string base64(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < n ? bytes[i + k] : 0U);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

void respond(const EmbeddingBatch& batch) {
  std::vector<std::string> data;
  for (size_t i = 0; i < batch.vectors.size(); ++i) {
    const std::vector<float>& v = batch.vectors[i];
    JsonObject entry;
    entry.add("object", "embedding");
    entry.add("index", static_cast<int64_t>(i));
    if (batch.base64) {
      entry.add("embedding", base64({reinterpret_cast<const uint8_t*>(v.data()), v.size() * sizeof(float)}));
    } else {
      std::vector<std::string> numbers;
      numbers.reserve(v.size());
      for (const float x : v) numbers.push_back(json_number(x));
      entry.add_json("embedding", json_array(numbers));
    }
    data.push_back(entry.compact());
  }
  JsonObject usage;
  usage.add("prompt_tokens", static_cast<int64_t>(batch.n_tokens));
  usage.add("total_tokens", static_cast<int64_t>(batch.n_tokens));
  JsonObject out;
  out.add("object", "list");
  out.add_json("data", json_array(data));
  out.add("model", batch.model->name);
  out.add("usage", usage);
  batch.exchange->respond({.body = out.compact() + "\n"});
}

void give_up(EmbeddingBatch& batch) {
  batch.over = true;
  for (const uint64_t id : batch.running) batch.service->cancel(id);
}

void run_some(const std::shared_ptr<EmbeddingBatch>& batch) {
  while (batch->n_begun < batch->prompts.size() && batch->n_begun - batch->n_ended < kInputsAtOnce &&
         batch->service->has_room(1)) {
    const size_t i = batch->n_begun++;
    TextRequest request;
    request.job.prompt = batch->prompts[i];
    request.wants_embedding = true;
    batch->running.push_back(batch->service->run(std::move(request), [batch, i](TextUpdate& update) {
      if (!update.ended || batch->over) return;
      if (update.result.end == JobEnd::failed || update.result.end == JobEnd::cancelled) {
        give_up(*batch);
        return respond_error(*batch->exchange, ended_badly(update));
      }
      batch->vectors[i] = std::move(update.embedding);
      if (++batch->n_ended < batch->prompts.size()) return run_some(batch);
      batch->over = true;
      respond(*batch);
    }));
  }
}

}  // namespace

void embeddings(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  const auto batch = std::make_shared<EmbeddingBatch>();
  batch->service = &call.service;
  batch->model = &call.model;
  batch->exchange = call.exchange;
  std::string format = "float";
  fields.string("encoding_format", format);
  if (format != "float" && format != "base64") fields.expected("encoding_format", "float or base64");
  batch->base64 = format == "base64";
  if (int64_t dimensions = 0; fields.integer("dimensions", 1, INT32_MAX, dimensions) &&
                              dimensions != call.model.program->code->n_hidden)
    fields.fail("dimensions",
                text("dimensions: this model's vectors have ", call.model.program->code->n_hidden));
  const jinja::Value* input = fields.required("input");
  const auto* items = input != nullptr ? list_items(*input) : nullptr;
  const bool one = items == nullptr || (!items->empty() && (*items)[0].is(jinja::Type::integer));
  if (input != nullptr && !one && (items->empty() || items->size() > kMaxInputs))
    fields.expected("input", text("1 to ", kMaxInputs, " texts"));
  for (size_t i = 0; input != nullptr && i < (one ? 1 : items->size()) && !fields.failed(); ++i) {
    auto tokens =
        read_prompt(one ? *input : (*items)[i], one ? "input" : text("input.", i), call.model, error);
    if (tokens.empty() || tokens.size() > call.model.ctx())
      fields.fail("input",
                  text("input ", i, " has ", tokens.size(), " tokens, expected 1 to ", call.model.ctx()));
    batch->n_tokens += tokens.size();
    batch->prompts.push_back(std::move(tokens));
  }
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  batch->vectors.resize(batch->prompts.size());
  run_some(batch);
  if (batch->n_begun == 0) return respond_error(*call.exchange, busy_error());
  call.exchange->on_gone = [weak = std::weak_ptr<EmbeddingBatch>(batch)] {
    if (const auto gone = weak.lock(); gone != nullptr && !gone->over) give_up(*gone);
  };
}

}  // namespace forge::rt
