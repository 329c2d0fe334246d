// The model at work for a server: a thread that runs the scheduler, and texts that go in and come out in pieces.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/answer_guide.h"
#include "runtime/core/logprobs.h"
#include "runtime/core/result.h"
#include "runtime/core/scheduler.h"
#include "runtime/host/program.h"

namespace forge::rt {

struct TextRequest {
  Job job;  // what is run; its callbacks are the service's
  std::vector<std::string> stop;
  // Control tokens that come out under their names, ascending; null: none.
  std::shared_ptr<const std::vector<int32_t>> shown_tokens;
  AnswerGuideOptions guide;     // of thoughts and the grammar that the text must match
  bool wants_tokens = false;    // TextUpdate::tokens
  bool wants_logprobs = false;  // and their log probabilities
  uint32_t n_top_logprobs = 0;
  bool wants_prompt_logprobs = false;  // TextUpdate::prompt_tokens
  bool wants_embedding = false;
};

struct TextToken {
  int32_t token = 0;
  std::string bytes;
  // Where log probabilities are wanted; NaN for the first token of a prompt, which has none.
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

// What has come since the update before.
struct TextUpdate {
  std::string text;  // whole UTF-8 characters, nothing of a stop string
  std::vector<TextToken> tokens;
  std::vector<TextToken> prompt_tokens;  // with the first update
  uint32_t n_generated = 0;              // so far
  bool ended = false;
  // Where it ended:
  JobResult result;
  bool by_constraint = false;    // it failed by what the request allows, not by the model
  std::string stop;              // the stop string that was found
  std::vector<float> embedding;  // the mean of the prompt's hidden states, of length 1
  uint32_t n_thought_tokens = 0;
  double queued_s = 0, prompt_s = 0, generation_s = 0;
};

// Counts in buckets, as Prometheus has them; the last bucket takes what is above all bounds.
struct Histogram {
  std::vector<double> bounds;
  std::vector<uint64_t> counts;
  double sum = 0;
  uint64_t n = 0;

  explicit Histogram(std::vector<double> upper_bounds)
      : bounds(std::move(upper_bounds)), counts(bounds.size() + 1) {}
  void add(double value);
};

struct ServiceMetrics {
  SchedulerCounters counters;
  double prompt_s = 0, generation_s = 0;  // spent by all texts together
  Histogram queued{{.001, .01, .1, .5, 1, 5, 30}};
  Histogram first_token{{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}};
  Histogram token_gap{{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}};
};

class Service {
 public:
  // `post` has a function called on the caller's thread, where updates then arrive. Everything must outlive the object.
  Service(Session& session, const SchedulerOptions& options, std::function<void(std::function<void()>)> post);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service();
  // Prompts may begin with what the store keeps, which sees what loses its KV. Before start(); it must outlive the object.
  void add_store(KvStore& store) { scheduler_.add_store(store); }
  Status start();

  // Texts that run at once: what was asked for, or what the engine has room for.
  uint32_t n_parallel() const { return scheduler_.options().n_parallel; }
  // Whether `n` texts can be taken on, now.
  bool has_room(uint32_t n) const { return n_texts_ + n <= max_texts_; }
  uint32_t max_texts() const { return max_texts_; }  // that there is ever room for
  // Takes a text on; there must be room. on_update is called on the caller's thread until an update with `ended`.
  uint64_t run(TextRequest request, std::function<void(TextUpdate&)> on_update);
  // The text ends within a step, by JobEnd::cancelled.
  void cancel(uint64_t id);
  void cancel_all();
  // Calls fn once no text is under way, from within an update; now where there is none.
  void when_idle(std::function<void()> fn);
  ServiceMetrics metrics() const;
  // Has fn called on the service's thread, between two steps, and then what it returns on the caller's. One at a time: a
  // step lies between two of them. False where many wait already: then it is not called.
  using ThenOnCaller = std::function<void()>;
  bool between_steps(std::function<ThenOnCaller(Scheduler&)> fn);

 private:
  struct Text;
  static void* thread_main(void* service);
  void serve();
  Job job_of(const std::shared_ptr<Text>& text);
  void flush();

  Session* session_;
  std::optional<ProgramPrompt> program_prompt_;
  Scheduler scheduler_;
  std::function<void(std::function<void()>)> post_;
  uint32_t max_texts_;
  uint32_t n_texts_ = 0;  // of the caller's thread
  uint64_t last_id_ = 0;
  std::function<void()> on_idle_;
  pthread_t thread_{};
  bool started_ = false;
  // Shared by both threads.
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<Text>> arrived_;
  std::vector<uint64_t> cancelled_;
  std::deque<std::function<ThenOnCaller(Scheduler&)>> between_steps_;
  bool cancel_all_ = false, stop_ = false;
  ServiceMetrics published_;
  // The service's thread.
  std::vector<std::shared_ptr<Text>> active_, changed_;
  ServiceMetrics metrics_;
};

}  // namespace forge::rt
