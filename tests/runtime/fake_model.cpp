#include "tests/runtime/fake_model.h"

#include <cstring>

#include "formats/checkpoint.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

constexpr uint64_t kPlanHash = 0x5eed;
constexpr uint32_t kHidden = 8;

struct Entry {
  uint64_t token, check;
};

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15 + b + 1;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Entry* entry(const StepArgs& a, uint32_t sequence, int32_t position) {
  const auto p = static_cast<uint32_t>(position);
  const uint32_t page = a.page_tables[sequence][p / kPagePositions];
  return reinterpret_cast<Entry*>(a.kv_pool + uint64_t{page} * kPagePositions * sizeof(Entry)) +
         p % kPagePositions;
}

void fill_logits(const FakeModel& model, uint64_t state, int32_t position, float* logits) {
  for (uint32_t v = 0; v < kFakeVocab; ++v) {
    const auto h = static_cast<double>(mix(state, v) >> 40) * 0x1p-24;
    // Printable ASCII is likely, control tokens are not.
    const double base = v >= 256 ? -40 : (v >= 32 && v < 127 ? 0 : -6);
    logits[v] = static_cast<float>(base + 4 * h);
  }
  if (model.ends_at >= 0 && position >= model.ends_at) logits[kFakeEnd] = 100;
  if (model.says_the_end_at >= 0 && position >= model.says_the_end_at) {
    constexpr char kText[] = "The end. ";
    const auto i = static_cast<size_t>(position - model.says_the_end_at) % (sizeof kText - 1);
    logits[static_cast<uint8_t>(kText[i])] = 100;
  }
  if (model.broken) {
    for (uint32_t v = 0; v < kFakeVocab; ++v) logits[v] = __builtin_nanf("");
  }
}

void fake_step(const ModelCode* self, const StepArgs* args, uint32_t worker) {
  auto& model = *static_cast<FakeModel*>(self->context);
  const StepArgs& a = *args;
  for (uint32_t r = worker; r < a.n_rows; r += a.n_workers) {
    Entry* e = entry(a, a.row_sequence[r], a.positions[r]);
    e->token = mix(static_cast<uint64_t>(a.tokens[r]), a.row_class[r] == RowClass::generated ? 77 : 0);
    e->check = ~e->token;
  }
  if (a.barrier != nullptr) barrier_wait(*a.barrier);
  for (uint32_t o = worker; o < a.n_out_rows; o += a.n_workers) {
    const uint32_t r = a.out_rows[o];
    uint64_t state = 0;
    for (int32_t p = 0; p <= a.positions[r]; ++p) {
      const Entry* e = entry(a, a.row_sequence[r], p);
      if (e->check != ~e->token) __builtin_trap();  // a position that was never written
      state = mix(state, e->token);
    }
    if (a.hidden != nullptr) {
      for (uint32_t i = 0; i < kHidden; ++i)
        a.hidden[o * kHidden + i] = static_cast<float>(mix(state, 1000 + i) >> 50);
    }
    if (a.logits != nullptr) fill_logits(model, state, a.positions[r], a.logits + o * self->logits_stride);
  }
  if (a.barrier != nullptr) barrier_wait(*a.barrier);
  if (worker != 0) return;
  ++model.n_steps;
  model.n_rows += a.n_rows;
  for (uint32_t r = 0; r < a.n_rows; ++r) {
    if (a.positions[r] == model.interrupts_at) *model.interrupt = true;
  }
  if (a.trace != nullptr) {
    std::vector<float> tokens(a.n_rows * 2);
    for (uint32_t r = 0; r < a.n_rows; ++r) tokens[2 * r] = static_cast<float>(a.tokens[r]);
    a.trace(a.trace_context, "embed", -1, tokens.data(), a.n_rows, 1, 2);
    a.trace(a.trace_context, "attn/out", 0, tokens.data(), a.n_rows, 2, 2);
  }
}

MetaValue strings(std::vector<std::string> values) {
  return {.type = MetaType::array, .element = MetaType::string, .value = std::move(values)};
}

std::string byte_character(uint32_t byte) {
  uint32_t n = 0;
  for (uint32_t b = 0; b <= byte; ++b) {
    const bool keeps = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
    if (b == byte) {
      std::string out;
      append_utf8(out, keeps ? b : 256 + n);
      return out;
    }
    n += keeps ? 0 : 1;
  }
  return {};
}

}  // namespace

const char* const kFakeTemplate =
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

void init_fake_model(FakeModel& model, uint32_t ctx_max, uint32_t max_rows, uint32_t max_out_rows) {
  model.code = {.abi = kModelCodeAbi,
                .plan_hash = kPlanHash,
                .weights_bytes = 0,
                .n_layers = 1,
                .n_vocab = kFakeVocab,
                .n_hidden = kHidden,
                .ctx_max = ctx_max,
                .max_rows = max_rows,
                .max_out_rows = max_out_rows,
                .logits_stride = 272,
                .kv_page_bytes = kPagePositions * sizeof(Entry),
                .arena_bytes = 4096,
                .scratch_bytes = 64,
                .weight_bytes_per_token = 1000,
                .level = "fake",
                .missing_cpu_feature = []() -> const char* { return nullptr; },
                .step = fake_step,
                .context = &model};
}

PayloadInput fake_payload_input() {
  std::vector<std::string> tokens;
  std::vector<int64_t> types(kFakeVocab, 1);
  for (uint32_t b = 0; b < 256; ++b) tokens.push_back(byte_character(b));
  tokens.emplace_back("<|end|>");
  tokens.emplace_back("<|start|>");
  types[kFakeEnd] = types[kFakeStart] = 3;
  Metadata meta;
  meta.set("tokenizer.ggml.model", {.type = MetaType::string, .value = std::string("gpt2")});
  meta.set("tokenizer.ggml.pre", {.type = MetaType::string, .value = std::string("gpt-2")});
  meta.set("tokenizer.ggml.tokens", strings(tokens));
  meta.set("tokenizer.ggml.merges", strings({}));
  meta.set("tokenizer.ggml.token_type", {.type = MetaType::array, .element = MetaType::i32, .value = types});
  meta.set("tokenizer.ggml.eos_token_id", {.type = MetaType::u32, .value = int64_t{kFakeEnd}});

  PayloadInput input;
  input.plan_hash = kPlanHash;
  input.manifest = {{"model.name", "fake"}, {"note", "two\nlines and a \\"}};
  input.tokenizer = build_tokenizer_tables(meta);
  input.source_kv = {1, 2, 3};
  input.chat_template = kFakeTemplate;
  for (uint64_t i = 0; i < 3; ++i) {
    input.tensors.push_back({.name = "t" + std::to_string(i),
                             .type = "f32",
                             .layout = "rows",
                             .rows = 10,
                             .cols = 10 + i,
                             .offset = i * 512,
                             .bytes = 4 * 10 * (10 + i),
                             .pack = [i](std::span<uint8_t> out) {
                               std::memset(out.data(), static_cast<int>(i + 1), out.size());
                             }});
  }
  input.weights_bytes = 3 * 512;
  return input;
}

}  // namespace forge::rt
