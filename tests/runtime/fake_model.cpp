#include "tests/runtime/fake_model.h"

#include <vector>

namespace forge::rt {
namespace {

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

}  // namespace

void init_fake_model(FakeModel& model, uint32_t ctx_max, uint32_t max_rows, uint32_t max_out_rows) {
  model.code = {.abi = kModelCodeAbi,
                .plan_hash = kFakePlanHash,
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

}  // namespace forge::rt
