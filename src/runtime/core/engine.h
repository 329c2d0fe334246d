// Runs steps: checks a ragged batch, cuts it to what the code takes, keeps the sequences' KV, samples.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/core/kv_pages.h"
#include "runtime/core/payload.h"
#include "runtime/core/result.h"
#include "runtime/core/sampler.h"
#include "runtime/core/step.h"

namespace forge::rt {

// The workers that a host lends; core itself has no threads. run() calls fn(arg, worker) once for each worker
// 0 .. n_workers - 1 at the same time (worker 0 on the calling thread) and returns when all are done.
struct Team {
  uint32_t n_workers = 1;
  Barrier* barrier = nullptr;  // of n_workers
  void (*run)(Team* self, void (*fn)(void* arg, uint32_t worker), void* arg) = nullptr;
  void* context = nullptr;
};

// Runs fn on every worker of the team (on the calling thread alone where team.run is null).
void run_team(Team& team, void (*fn)(void* arg, uint32_t worker), void* arg);

// Memory that the host reserved; all 64-byte aligned, zero or not.
struct EngineMemory {
  std::span<uint8_t> kv;       // any number of pages of kv_page_bytes
  std::span<uint8_t> arena;    // at least arena_bytes
  std::span<uint8_t> scratch;  // at least n_workers * scratch_bytes
};

// What a row is to give back.
enum class Want : uint8_t { nothing, hidden, logits, token };

struct Row {
  uint32_t sequence = 0;  // index into Batch::sequences
  int32_t token = 0;
  int32_t position = 0;
  RowClass row_class = RowClass::prompt;
  Want want = Want::nothing;
};

struct BatchSequence {
  Sequence* kv = nullptr;
  Sampler* sampler = nullptr;       // needed where a row wants a token; it has accepted the text so far
  TokenConstraint constraint = {};  // of every token sampled in this batch
};

// Rows sorted by sequence, and within one by consecutive positions that start at kv->n_past.
struct Batch {
  std::span<const Row> rows = {};
  std::span<const BatchSequence> sequences = {};
  // Above 1: a sequence whose last row wanted a token runs on from it, at most max_steps tokens in all, until
  // a stop token, the context's end or the interrupt. A token that ended it is in the outputs, and not in the
  // KV.
  uint32_t max_steps = 1;
  std::span<const int32_t> stop_tokens = {};     // ascending
  const std::atomic<bool>* interrupt = nullptr;  // looked at between code steps
  // Called for each sampled token when set, with the logits [n_vocab] that it was drawn from; false stops that
  // sequence as a stop token does.
  std::function<bool(uint32_t sequence, int32_t token, std::span<const float> logits)> on_token = {};
};

struct SampledToken {
  uint32_t sequence;
  int32_t token;
};

struct FailedDraw {
  uint32_t sequence;
  Error error;
};

// In the order of the rows (and then of the steps).
struct Outputs {
  std::vector<SampledToken> tokens;
  std::vector<FailedDraw>
      failed;                 // sequences that wanted a token and have none to choose; the others went on
  std::vector<float> hidden;  // [rows that wanted hidden, n_hidden]
  std::vector<float> logits;  // [rows that wanted logits, n_vocab]
  bool interrupted = false;   // then later rows did not run; each sequence's n_past says how far it came
};

using TraceFn = void (*)(void* context, const char* name, int32_t layer, const float* data, uint32_t rows,
                         uint32_t cols, uint32_t stride);

class Engine {
 public:
  // Checks that code and payload belong together (abi, plan hash, size of the weights) and that the memory is
  // large enough. `weights` may be null when the code needs none (the interpreter). ctx: positions a sequence
  // may have, at most code.ctx_max; 0 for that. Everything given must outlive the engine.
  static Result<Engine> create(const ModelCode& code, const Payload& payload, const uint8_t* weights,
                               const EngineMemory& memory, Team& team, uint32_t ctx);

  // Runs the batch. An Error found before the first code step changes nothing.
  Result<Outputs> step(const Batch& batch);

  // Every stage's value goes to `fn` from now on; null ends it.
  void set_trace(TraceFn fn, void* context) {
    trace_ = fn;
    trace_context_ = context;
  }

  // Every worker logs its stages from now on: logs[n_workers], whose memory is the caller's; null ends it.
  void set_stage_logs(StageLog* logs) { stage_logs_ = logs; }

  const ModelCode& code() const { return *code_; }
  KvPool& pool() { return pool_; }
  Team& team() { return *team_; }
  uint32_t ctx() const { return ctx_; }

 private:
  Engine(const ModelCode& code, const uint8_t* weights, const EngineMemory& memory, Team& team, uint32_t ctx);
  Status check(const Batch& batch) const;
  // Releases the KV pages of `rows` that hold nothing.
  void release_unused(const Batch& batch, std::span<const Row> rows);
  // KV pages for all of `rows`, or for none.
  Status reserve(const Batch& batch, std::span<const Row> rows);
  // One code step: appends what the rows wanted; next[sequence] becomes its sampled token, or -1 where that
  // ended it.
  void run_cut(const Batch& batch, std::span<const Row> rows, Outputs& out, std::vector<int32_t>& next);

  const ModelCode* code_;
  const uint8_t* weights_;
  EngineMemory memory_;
  Team* team_;
  uint32_t ctx_;
  KvPool pool_;
  TraceFn trace_ = nullptr;
  void* trace_context_ = nullptr;
  StageLog* stage_logs_ = nullptr;
  std::vector<float> logits_;  // of one code step, grown as wanted
  std::vector<float> hidden_;
  struct {  // the arrays of one code step, kept so that a decode step allocates nothing
    std::vector<int32_t> tokens, positions;
    std::vector<uint32_t> sequences, out_rows;
    std::vector<RowClass> classes;
    std::vector<const uint32_t*> page_tables;
  } cut_;
};

}  // namespace forge::rt
