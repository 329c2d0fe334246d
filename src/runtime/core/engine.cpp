#include "runtime/core/engine.h"

#include <algorithm>

namespace forge::rt {
namespace {

struct StepJob {
  const ModelCode* code;
  const StepArgs* args;
};

void run_worker(void* arg, uint32_t worker) {
  const auto* job = static_cast<const StepJob*>(arg);
  job->code->step(job->code, job->args, worker);
}

// 64-byte aligned room for n floats in `storage`.
float* aligned_floats(std::vector<float>& storage, size_t n) {
  constexpr size_t kAlignment = 64;
  if (storage.size() < n + kAlignment / sizeof(float)) storage.resize(n + kAlignment / sizeof(float));
  const auto address = reinterpret_cast<uintptr_t>(storage.data());
  return storage.data() + ((kAlignment - address % kAlignment) % kAlignment) / sizeof(float);
}

bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; }

}  // namespace

void run_team(Team& team, void (*fn)(void* arg, uint32_t worker), void* arg) {
  if (team.run == nullptr) {
    fn(arg, 0);
  } else {
    team.run(&team, fn, arg);
  }
}

Engine::Engine(const ModelCode& code, const uint8_t* weights, const EngineMemory& memory, Team& team,
               uint32_t ctx)
    : code_(&code),
      weights_(weights),
      memory_(memory),
      team_(&team),
      ctx_(ctx),
      pool_(memory.kv, code.kv_page_bytes) {}

Result<Engine> Engine::create(const ModelCode& code, const Payload& payload, const uint8_t* weights,
                              const EngineMemory& memory, Team& team, uint32_t ctx) {
  if (code.abi != kModelCodeAbi) {
    return Error{text("engine: the code speaks step interface ", code.abi, ", this runtime ", kModelCodeAbi)};
  }
  if (code.plan_hash != payload.plan_hash) {
    return Error{"engine: the payload was made for other code (plan hash mismatch)"};
  }
  const bool needs_weights = code.weights_bytes != 0;
  if (needs_weights && (weights == nullptr || payload.weights.size() != code.weights_bytes)) {
    return Error{text("engine: the payload holds ", payload.weights.size(),
                      " bytes of weights, the code expects ", code.weights_bytes)};
  }
  if (team.n_workers == 0 || (team.n_workers > 1 && (team.run == nullptr || team.barrier == nullptr))) {
    return Error{"engine: the team has no workers"};
  }
  if (ctx == 0) ctx = code.ctx_max;
  if (ctx > code.ctx_max) {
    return Error{
        text("context of ", ctx, " tokens wanted, the program was compiled for at most ", code.ctx_max)};
  }
  if (code.n_vocab == 0 || code.max_rows == 0 || code.max_out_rows == 0 ||
      code.logits_stride < code.n_vocab || ctx == 0 || code.kv_page_bytes == 0 ||
      code.kv_page_bytes % 64 != 0) {
    return Error{"engine: the code describes an impossible model"};
  }
  if (memory.kv.size() < code.kv_page_bytes || memory.arena.size() < code.arena_bytes ||
      memory.scratch.size() / team.n_workers < code.scratch_bytes || !is_aligned(memory.kv.data()) ||
      !is_aligned(memory.arena.data()) || !is_aligned(memory.scratch.data())) {
    return Error{"engine: too little memory was given, or it is not aligned to 64 bytes"};
  }
  return Engine(code, weights, memory, team, ctx);
}

Status Engine::check(const Batch& batch) const {
  if (batch.rows.empty()) return Error{"batch: it has no rows"};
  if (batch.max_steps == 0) return Error{"batch: max_steps is 0"};
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    if (batch.sequences[i].kv == nullptr) return Error{text("batch: sequence ", i, " has no KV")};
    for (size_t j = 0; j < i; ++j) {
      if (batch.sequences[j].kv == batch.sequences[i].kv) {
        return Error{text("batch: sequences ", j, " and ", i, " are the same")};
      }
    }
  }
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const Row& row = batch.rows[i];
    if (row.token < 0 || static_cast<uint32_t>(row.token) >= code_->n_vocab) {
      return Error{text("batch: row ", i, " has token ", row.token, ", the vocabulary has ", code_->n_vocab)};
    }
    if (row.sequence >= batch.sequences.size()) {
      return Error{text("batch: row ", i, " is of sequence ", row.sequence, " of ", batch.sequences.size())};
    }
    const bool first = i == 0 || batch.rows[i - 1].sequence != row.sequence;
    if (i != 0 && batch.rows[i - 1].sequence > row.sequence)
      return Error{"batch: rows are not sorted by sequence"};
    const BatchSequence& sequence = batch.sequences[row.sequence];
    const int64_t expected = first ? int64_t{sequence.kv->n_past} : int64_t{batch.rows[i - 1].position} + 1;
    if (row.position != expected) {
      return Error{text("batch: row ", i, " has position ", row.position, ", expected ", expected)};
    }
    if (static_cast<uint32_t>(row.position) >= ctx_) {
      return Error{text("batch: row ", i, " has position ", row.position, ", the context holds ", ctx_)};
    }
    if (row.want == Want::token) {
      if (sequence.sampler == nullptr)
        return Error{text("batch: row ", i, " wants a token and has no sampler")};
      if (i + 1 < batch.rows.size() && batch.rows[i + 1].sequence == row.sequence) {
        return Error{text("batch: row ", i, " wants a token and is not the last of its sequence")};
      }
    }
  }
  return Ok{};
}

void Engine::run_cut(const Batch& batch, std::span<const Row> rows, Outputs& out,
                     std::vector<int32_t>& next) {
  cut_.tokens.clear();
  cut_.positions.clear();
  cut_.sequences.clear();
  cut_.classes.clear();
  cut_.page_tables.clear();
  cut_.out_rows.clear();
  bool wants_hidden = false;
  bool wants_logits = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (i == 0 || rows[i - 1].sequence != row.sequence) {
      cut_.page_tables.push_back(batch.sequences[row.sequence].kv->pages.data());
    }
    cut_.tokens.push_back(row.token);
    cut_.positions.push_back(row.position);
    cut_.sequences.push_back(static_cast<uint32_t>(cut_.page_tables.size() - 1));
    cut_.classes.push_back(row.row_class);
    if (row.want == Want::nothing) continue;
    cut_.out_rows.push_back(static_cast<uint32_t>(i));
    (row.want == Want::hidden ? wants_hidden : wants_logits) = true;
  }
  const size_t n_out = cut_.out_rows.size();
  StepArgs args;
  args.n_rows = static_cast<uint32_t>(rows.size());
  args.tokens = cut_.tokens.data();
  args.positions = cut_.positions.data();
  args.row_sequence = cut_.sequences.data();
  args.row_class = cut_.classes.data();
  args.n_sequences = static_cast<uint32_t>(cut_.page_tables.size());
  args.page_tables = cut_.page_tables.data();
  args.n_out_rows = static_cast<uint32_t>(n_out);
  args.out_rows = cut_.out_rows.data();
  if (wants_hidden) args.hidden = aligned_floats(hidden_, n_out * code_->n_hidden);
  if (wants_logits) args.logits = aligned_floats(logits_, n_out * code_->logits_stride);
  args.weights = weights_;
  args.kv_pool = pool_.base();
  args.arena = memory_.arena.data();
  args.scratch = memory_.scratch.data();
  args.barrier = team_->barrier;
  args.n_workers = team_->n_workers;
  args.trace = trace_;
  args.trace_context = trace_context_;
  args.stage_logs = stage_logs_;
  StepJob job{code_, &args};
  run_team(*team_, run_worker, &job);

  for (const Row& row : rows)
    batch.sequences[row.sequence].kv->n_past = static_cast<uint32_t>(row.position) + 1;
  for (size_t o = 0; o < n_out; ++o) {
    const Row& row = rows[cut_.out_rows[o]];
    if (row.want == Want::hidden) {
      const float* h = args.hidden + o * code_->n_hidden;
      out.hidden.insert(out.hidden.end(), h, h + code_->n_hidden);
      continue;
    }
    const float* l = args.logits + o * code_->logits_stride;
    if (row.want == Want::logits) {
      out.logits.insert(out.logits.end(), l, l + code_->n_vocab);
      continue;
    }
    const BatchSequence& sequence = batch.sequences[row.sequence];
    const auto token = sequence.sampler->sample({l, code_->n_vocab}, sequence.constraint);
    if (!token) {
      out.failed.push_back({row.sequence, token.error()});
      continue;
    }
    sequence.sampler->accept(*token);
    out.tokens.push_back({row.sequence, *token});
    const bool stops = std::binary_search(batch.stop_tokens.begin(), batch.stop_tokens.end(), *token) ||
                       (batch.on_token && !batch.on_token(row.sequence, *token, {l, code_->n_vocab})) ||
                       sequence.kv->n_past >= ctx_;
    next[row.sequence] = stops ? -1 : *token;
  }
}

void Engine::release_unused(const Batch& batch, std::span<const Row> rows) {
  for (const Row& row : rows) {
    Sequence& kv = *batch.sequences[row.sequence].kv;
    pool_.truncate(kv, kv.n_past);
  }
}

Status Engine::reserve(const Batch& batch, std::span<const Row> rows) {
  for (size_t first = 0; first < rows.size();) {
    size_t end = first;
    while (end < rows.size() && rows[end].sequence == rows[first].sequence) ++end;
    Status status =
        pool_.reserve(*batch.sequences[rows[first].sequence].kv, static_cast<uint32_t>(end - first));
    if (!status) {
      release_unused(batch, rows.first(first));
      return status;
    }
    first = end;
  }
  return Ok{};
}

Result<Outputs> Engine::step(const Batch& batch) {
  if (Status status = check(batch); !status) return status.error();
  Outputs out;
  std::vector<int32_t> next(batch.sequences.size(), -1);
  std::vector<Row> run_on;
  std::span<const Row> rows = batch.rows;
  for (uint32_t n_steps = 0;;) {
    if (Status status = reserve(batch, rows); !status) return status.error();
    for (size_t first = 0; first < rows.size();) {
      if (batch.interrupt != nullptr && batch.interrupt->load(std::memory_order_relaxed)) {
        release_unused(batch, rows);
        out.interrupted = true;
        return out;
      }
      size_t end = first;
      uint32_t n_out = 0;
      while (end < rows.size() && end - first < code_->max_rows) {
        if (rows[end].want != Want::nothing && ++n_out > code_->max_out_rows) break;
        ++end;
      }
      run_cut(batch, rows.subspan(first, end - first), out, next);
      first = end;
    }
    if (++n_steps == batch.max_steps) return out;
    run_on.clear();
    for (uint32_t s = 0; s < next.size(); ++s) {
      if (next[s] < 0) continue;
      const auto position = static_cast<int32_t>(batch.sequences[s].kv->n_past);
      run_on.push_back({s, next[s], position, RowClass::generated, Want::token});
      next[s] = -1;
    }
    if (run_on.empty()) return out;
    rows = run_on;
  }
}

}  // namespace forge::rt
