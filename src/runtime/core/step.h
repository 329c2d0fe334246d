// Contract between the runtime and generated code: one step over a ragged batch of rows.
//
// Plain structs and pointers only: generated code is compiled for one instruction-set level and must not
// instantiate anything that the portable part of the program could end up using.
#pragma once

#include <stdint.h>

namespace forge::rt {

// Positions held by one KV page.
inline constexpr uint32_t kPagePositions = 64;

// What a row is to its sequence. On the CPU a row's bits depend on its own sequence and its class only.
enum class RowClass : uint8_t { prompt, generated };

// A barrier for the workers of one team. Workers spin briefly; then `sleep` (may be null: keep spinning)
// waits until `generation` differs from its argument, and `wake` wakes sleepers.
struct Barrier {
  // How much of each piece of work between two barriers has been taken by workers: zero behind every barrier.
  static constexpr uint32_t kDeals = 8;
  alignas(64) uint32_t dealt[kDeals] = {};
  // How long each worker was busy with its share of the rows, ticks, at two meetings in turn (codegen/cpu/kernels/shares.h).
  static constexpr uint32_t kMaxShares = 4;
  alignas(64) uint64_t share_ticks[2][kMaxShares] = {};
  alignas(64) uint32_t arrived = 0;
  alignas(64) uint32_t generation = 0;
  uint32_t sleepers = 0;
  uint32_t in_vain = 0;  // whether the last full spin ended in sleep
  uint32_t n_workers = 1;
  uint32_t spins = 2000;
  void (*sleep)(Barrier*, uint32_t generation) = nullptr;
  void (*wake)(Barrier*) = nullptr;
};

// How often to look before sleeping. A spin in vain means that another worker was not running: the machine is busy, and
// who spins its time slice away is the next one to be kept waiting. From then on workers sleep almost at once, and one
// barrier in 64 tries a full spin, to find out when the machine is quiet again.
inline constexpr uint32_t kSpinsAfterVain = 32, kFullSpinEvery = 64;
static inline uint32_t spin_budget(const Barrier& b, uint32_t turn) {
  const bool full = turn % kFullSpinEvery == 0 || __atomic_load_n(&b.in_vain, __ATOMIC_RELAXED) == 0;
  return full || b.spins < kSpinsAfterVain ? b.spins : kSpinsAfterVain;
}

// Waits until all n_workers have arrived. Writes before it are visible to every worker after it.
// Internal linkage: generated code must not leave a weak symbol behind.
static inline void barrier_wait(Barrier& b) {
  if (b.n_workers == 1) return;
  const uint32_t generation = __atomic_load_n(&b.generation, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&b.arrived, 1, __ATOMIC_ACQ_REL) == b.n_workers) {
    __atomic_store_n(&b.arrived, 0, __ATOMIC_RELAXED);
    for (uint32_t& dealt : b.dealt) __atomic_store_n(&dealt, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&b.generation, generation + 1, __ATOMIC_SEQ_CST);
    if (b.wake != nullptr && __atomic_load_n(&b.sleepers, __ATOMIC_SEQ_CST) != 0) b.wake(&b);
    return;
  }
  const uint32_t budget = spin_budget(b, generation);
  for (uint32_t i = 0; i < budget || b.sleep == nullptr; ++i) {
    if (__atomic_load_n(&b.generation, __ATOMIC_ACQUIRE) != generation) {
      if (budget == b.spins && __atomic_load_n(&b.in_vain, __ATOMIC_RELAXED) != 0)
        __atomic_store_n(&b.in_vain, 0, __ATOMIC_RELAXED);
      return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }
  __atomic_store_n(&b.in_vain, 1, __ATOMIC_RELAXED);
  __atomic_add_fetch(&b.sleepers, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&b.generation, __ATOMIC_SEQ_CST) == generation) b.sleep(&b, generation);
  __atomic_sub_fetch(&b.sleepers, 1, __ATOMIC_SEQ_CST);
}

// Time spent on a stage: from the event before it in the worker's log until `end`.
struct StageEvent {
  uint64_t end;    // ticks_now()
  uint32_t stage;  // an index into ModelCode::stages, or one of those below
  int32_t layer;   // -1 outside the repeated body
};
inline constexpr uint32_t kWaiting = ~0u;          // at a barrier
inline constexpr uint32_t kOutsideStep = ~0u - 1;  // before the step began

// What a worker did, in memory of the caller. What comes after it is full is counted and left out.
struct alignas(64) StageLog {
  StageEvent* next = nullptr;
  StageEvent* end = nullptr;
  uint64_t n_lost = 0;
};

// The processor's steady counter, the same on every core; 0 where there is none that a program may read.
static inline uint64_t ticks_now() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  return 0;
#endif
}

// Out of line and cold: where nobody measures, a stage costs the test of a pointer.
static inline __attribute__((noinline, cold)) void log_stage(StageLog& log, uint32_t stage, int32_t layer) {
  if (log.next == log.end) {
    ++log.n_lost;
    return;
  }
  *log.next++ = {ticks_now(), stage, layer};
}

// One step. Rows are sorted by sequence, and within a sequence by consecutive position. All arrays are the
// caller's.
struct StepArgs {
  // rows
  uint32_t n_rows = 0;                     // 1 .. ModelCode::max_rows
  const int32_t* tokens = nullptr;         // [n_rows], each in [0, n_vocab)
  const int32_t* positions = nullptr;      // [n_rows], each in [0, ctx_max)
  const uint32_t* row_sequence = nullptr;  // [n_rows], index into page_tables
  const RowClass* row_class = nullptr;     // [n_rows]
  // page tables: page_tables[s][p / kPagePositions] is the page of position p of sequence s
  uint32_t n_sequences = 0;
  const uint32_t* const* page_tables = nullptr;
  // rows whose final hidden state or logits are wanted, ascending; at most ModelCode::max_out_rows
  uint32_t n_out_rows = 0;
  const uint32_t* out_rows = nullptr;
  float* hidden = nullptr;  // [n_out_rows, n_hidden] after the final norm, or null
  float* logits = nullptr;  // [n_out_rows, logits_stride], or null: then the head is not computed
  // memory
  const uint8_t* weights = nullptr;  // the payload's weights section, 256-byte aligned
  uint8_t* kv_pool = nullptr;        // page i starts at i * ModelCode::kv_page_bytes, 64-byte aligned
  uint8_t* arena = nullptr;          // ModelCode::arena_bytes, 64-byte aligned
  uint8_t* scratch = nullptr;        // n_workers * ModelCode::scratch_bytes, 64-byte aligned
  // workers
  Barrier* barrier = nullptr;
  uint32_t n_workers = 1;
  // Called by worker 0 after a stage when not null: the named value as [rows, cols] floats, `stride` floats
  // apart. layer is -1 outside the repeated body.
  void (*trace)(void* context, const char* name, int32_t layer, const float* data, uint32_t rows,
                uint32_t cols, uint32_t stride) = nullptr;
  void* trace_context = nullptr;
  // [n_workers], each written by its worker, or null: nobody measures.
  StageLog* stage_logs = nullptr;
};

// A kernel's call in generated code, and what it must read and compute. Of the weights and the KV cache each byte
// counts once, whichever workers read it; activations don't count: they stay in the caches.
struct StageInfo {
  const char* kernel;   // "linear", "attention", …; "head" for the linear of the logits
  const char* output;   // names of the values it computes: "ffn_act"
  const char* weights;  // matrices that it reads: "ffn_gate, ffn_up"; empty where there are none
  const char* types;    // the types of these: "q4_k, q6_k", once where they are alike
  uint64_t weight_bytes;
  uint64_t weight_bytes_per_row;     // of an embedding table
  uint64_t kv_bytes_per_position;    // for each cached position that a sequence's rows see
  uint64_t operations_per_row;       // multiplications and additions of its sums of products
  uint64_t operations_per_position;  // for each row and cached position that it sees
  uint32_t window;                   // positions that a row sees at most, itself included; 0: all
  int32_t
      wanted_from_layer;  // rows are those whose output is wanted: in layers from this one on, -1: outside, too
};
// StageInfo::wanted_from_layer of stages that always have all rows.
inline constexpr int32_t kAllRows = 0x7FFFFFFF;

// What generated code (or the interpreter) offers. One constant object named `forge_model_code` in an
// artifact.
struct ModelCode {
  uint32_t abi;            // kModelCodeAbi
  uint64_t plan_hash;      // must equal the payload's
  uint64_t weights_bytes;  // of the payload's weights section
  uint32_t n_layers;
  uint32_t n_vocab;
  uint32_t n_hidden;
  uint32_t ctx_max;   // positions a sequence may have
  uint32_t max_rows;  // rows of one step
  uint32_t max_out_rows;
  uint32_t logits_stride;  // floats from one row of logits to the next, >= n_vocab
  uint64_t kv_page_bytes;  // all layers, keys and values, kPagePositions positions
  uint64_t arena_bytes;
  uint64_t scratch_bytes;           // for each worker
  uint64_t weight_bytes_per_token;  // weight bytes that decoding one token reads
  const char* level;                // "x86-64-v4+vnni", …
  // Returns null when this processor can run the code, else the missing feature's name.
  const char* (*missing_cpu_feature)();
  // Runs worker `worker` of args.n_workers through the whole step; every worker must call it.
  void (*step)(const ModelCode* self, const StepArgs* args, uint32_t worker);
  void* context;  // for the interpreter; null in generated code
  // The same model compiled for the next lower level, where the program holds several; else null.
  const ModelCode* next;
  // What StageEvent::stage means, and how many events a worker logs in a step at most; null and 0 where the code logs
  // nothing (the interpreter).
  const StageInfo* stages;
  uint32_t n_stages;
  uint32_t max_stage_events;
};
inline constexpr uint32_t kModelCodeAbi = 4;

}  // namespace forge::rt
