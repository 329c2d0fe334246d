// Continuous batching: many texts through one engine. Each step runs a row of every text that is being generated and
// fills up with rows of prompts that wait, so that nobody's stream stalls while a prompt is read, and prompts that
// begin like a text that was run before start behind it.
//
// One thread: whoever calls step() gets the callbacks. No clock: callers time what they are told.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/engine.h"
#include "runtime/core/kv_store.h"
#include "runtime/core/prefix_cache.h"
#include "runtime/core/tokenizer.h"

namespace forge::rt {

enum class JobEnd : uint8_t {
  end_of_generation,
  length,        // max_tokens were generated
  stopped,       // on_token said so
  context_full,  // no position is left
  cancelled,
  failed,  // see JobResult::error
};

struct JobResult {
  JobEnd end = JobEnd::failed;
  std::string error;
  uint32_t n_prompt = 0, n_cached = 0, n_generated = 0;  // tokens; those of the prompt that were not run anew
  int32_t slot = -1;                                     // that it ran in; -1: in none
};

// A text to run. Callbacks come from Scheduler::step and cancel; any may be empty.
struct Job {
  std::vector<int32_t> prompt;  // not empty, within the context
  uint32_t max_tokens = UINT32_MAX;
  SamplingParams sampling;
  std::vector<TokenBias> bias;
  bool ignore_eos = false;         // tokens that end generation are never sampled
  bool reuse = true;               // may begin with the KV of another text
  int32_t slot = -1;               // to run in, where it is free; -1: any
  bool wants_hidden = false;       // on_hidden of every row of the prompt, which is then run whole
  bool wants_logits = false;       // on_logits of every row of the prompt, which is then run whole
  std::function<void()> on_begin;  // the first rows are about to run
  // Tokens that may be sampled next (see TokenConstraint): asked before each draw.
  std::function<std::span<const uint32_t>()> allowed;
  // A sampled token and the logits [n_vocab] that it was drawn from; not called for one that ends the text. False: stop.
  std::function<bool(int32_t token, std::span<const float> logits)> on_token;
  std::function<void(std::span<const float> hidden)> on_hidden;  // [n_hidden], a row after the other
  std::function<void(std::span<const float> logits)> on_logits;  // [n_vocab], likewise
  std::function<void(const JobResult&)> on_end;                  // the last call
};

struct SchedulerOptions {
  uint32_t n_parallel = 1;  // texts that run at once; the engine's pool has pages for a context of each
  uint32_t n_queued = 0;    // and that wait beyond them
  // KV of generated rows is never reused for a prompt: whether it was there changes no bit of an answer.
  bool deterministic = false;
};

// A place for a text that runs. What it ran last stays in the prefix cache until others need the room.
struct SlotState {
  bool running = false;
  uint32_t n_tokens = 0;  // of its text, as far as there is KV
};

struct SchedulerCounters {
  uint64_t n_prompt_tokens = 0;  // run, without those that were cached
  uint64_t n_cached_tokens = 0, n_generated_tokens = 0, n_steps = 0, n_ended = 0, n_refused = 0;
  uint32_t n_running = 0, n_waiting = 0;
  uint32_t n_pages = 0, n_free_pages = 0,
           n_cached_texts = 0;   // of the KV; free: held by no text, cached ones included
  std::vector<SlotState> slots;  // [n_parallel]
};

class Scheduler {
 public:
  // Both must outlive the object.
  Scheduler(Engine& engine, const Tokenizer& tokenizer, const SchedulerOptions& options);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();

  // Prompts may begin with what it keeps, and it sees what loses its KV. It must outlive the object.
  void add_store(KvStore& store) { stores_.push_back(&store); }
  // Shows the stores all that is cached, the last used text last: before the end.
  void keep_cached() const;

  // Caches a text that was kept as the last one of a slot; false where running texts leave no room for it.
  bool restore(const KvImage& image, int32_t slot);

  // Queues a job and returns its number, above 0; 0 where the queue is full: then no callback comes.
  uint64_t submit(Job job);
  // Ends a job at once, wherever it is; its pages are free for others. Unknown numbers are ignored. Not from a callback.
  void cancel(uint64_t id);
  // Runs what there is to run once; false where there was nothing.
  bool step();
  bool idle() const { return running_.empty() && waiting_.empty(); }

  SchedulerCounters counters() const;
  PrefixCache& cache() { return cache_; }
  const SchedulerOptions& options() const { return options_; }

 private:
  struct Running;
  struct Planned {
    Running* job;
    uint32_t n_rows;
  };
  void admit();
  // Whether the job's first rows should wait for those of an earlier job that begins alike; else its KV begins with
  // what others have.
  bool begin(Running& job);
  void plan();
  void make_room();
  // Whose KV begins most like a prompt: a cached text's, or that of one that runs.
  struct Beginning {
    const CachedText* text = nullptr;
    uint32_t n = 0;
    bool runs = false;
    bool waits = false;  // for an earlier job, which is about to compute more
  };
  Beginning longest_beginning(const Running& job, std::span<const int32_t> prompt) const;
  // Caches what a store has more of `prompt` than the first n_known tokens. Whether the cache has changed.
  bool load_stored(std::span<const int32_t> prompt, uint32_t n_known);
  bool evict();
  // Evicts until n pages are free, or nothing is cached.
  void free_pages(uint32_t n);
  void add_rows(Running& job, uint32_t n, uint32_t sequence);
  void deliver(const Outputs& out);
  void finish(Running& job);

  Engine* engine_;
  const Tokenizer* tokenizer_;
  SchedulerOptions options_;
  PrefixCache cache_;
  std::vector<KvStore*> stores_;
  std::deque<std::unique_ptr<Running>> waiting_;
  std::vector<std::unique_ptr<Running>> running_;  // in the order of their admission
  std::vector<TokenBias> never_ends_;              // the bias that forbids tokens that end generation
  uint64_t last_id_ = 0;
  SchedulerCounters counters_;
  // Of one step.
  std::vector<Planned> planned_;
  std::vector<Row> rows_;
  std::vector<BatchSequence> sequences_;
};

}  // namespace forge::rt
