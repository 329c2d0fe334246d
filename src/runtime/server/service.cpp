#include "runtime/server/service.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "runtime/core/generation.h"

namespace forge::rt {

void Histogram::add(double value) {
  ++counts[static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin())];
  sum += value;
  ++n;
}

struct Service::Text {
  uint64_t id = 0, job_id = 0;
  TextRequest request;
  std::function<void(TextUpdate&)> on_update;
  TextStream stream;
  TextUpdate update;  // what has come and was not posted
  bool changed = false;
  bool constrained = false;     // by a grammar or biases
  bool grammar_failed = false;  // it allowed a token and can't go on from it
  uint32_t n_generated = 0;
  std::vector<double> hidden_sum;
  uint32_t n_hidden_rows = 0;
  double arrived = 0, began = 0, first = 0, last = 0;

  explicit Text(TextRequest given) : request(std::move(given)), stream(std::move(request.stop)) {}
};

Service::Service(Session& session, const SchedulerOptions& options,
                 std::function<void(std::function<void()>)> post)
    : session_(&session),
      scheduler_(session.engine, session.tokenizer, options),
      post_(std::move(post)),
      max_texts_(scheduler_.options().n_parallel + options.n_queued) {
  if (session.prompt) scheduler_.add_store(program_prompt_.emplace(*session.prompt));
  metrics_.counters = scheduler_.counters();
  published_ = metrics_;
}

Service::~Service() {
  if (!started_) return;
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  pthread_join(thread_, nullptr);
}

Status Service::start() {
  if (const int error = pthread_create(&thread_, nullptr, thread_main, this); error != 0)
    return Error{text("the engine's thread could not be started (error ", error, ")")};
  started_ = true;
  return Ok{};
}

uint64_t Service::run(TextRequest request, std::function<void(TextUpdate&)> on_update) {
  auto added = std::make_shared<Text>(std::move(request));
  added->id = ++last_id_;
  added->arrived = seconds_now();
  added->on_update = [this, fn = std::move(on_update)](TextUpdate& update) {
    if (update.ended) --n_texts_;
    fn(update);
    if (n_texts_ == 0 && on_idle_) std::exchange(on_idle_, nullptr)();
  };
  ++n_texts_;
  {
    const std::scoped_lock lock(mutex_);
    arrived_.push_back(std::move(added));
  }
  wake_.notify_one();
  return last_id_;
}

void Service::cancel(uint64_t id) {
  {
    const std::scoped_lock lock(mutex_);
    cancelled_.push_back(id);
  }
  wake_.notify_one();
}

void Service::cancel_all() {
  {
    const std::scoped_lock lock(mutex_);
    cancel_all_ = true;
  }
  wake_.notify_one();
}

bool Service::between_steps(std::function<ThenOnCaller(Scheduler&)> fn) {
  constexpr size_t kMaxWaiting = 16;
  {
    const std::scoped_lock lock(mutex_);
    if (between_steps_.size() >= kMaxWaiting) return false;
    between_steps_.push_back(std::move(fn));
  }
  wake_.notify_one();
  return true;
}

void Service::when_idle(std::function<void()> fn) {
  if (n_texts_ == 0) return fn();
  on_idle_ = std::move(fn);
}

ServiceMetrics Service::metrics() const {
  const std::scoped_lock lock(mutex_);
  return published_;
}

void* Service::thread_main(void* service) {
  static_cast<Service*>(service)->serve();
  return nullptr;
}

namespace {

void add_logprobs(std::span<const float> logits, uint32_t n_top, TextToken& token) {
  TokenLogprob chosen{};
  top_logprobs(logits, token.token, n_top, chosen, token.top);
  token.logprob = chosen.logprob;
}

}  // namespace

// The job of a text, whose callbacks gather what comes until flush().
Job Service::job_of(const std::shared_ptr<Text>& text) {
  Text* t = text.get();
  const auto touch = [this, t] {
    if (std::exchange(t->changed, true)) return;
    const auto is_it = [t](const std::shared_ptr<Text>& a) { return a.get() == t; };
    changed_.push_back(*std::find_if(active_.begin(), active_.end(), is_it));
  };
  Job job = std::move(t->request.job);
  job.on_begin = [this, t] {
    t->began = seconds_now();
    metrics_.queued.add(t->began - t->arrived);
  };
  std::shared_ptr<AnswerGuide> guide;
  t->constrained = t->request.guide.steers() || !job.bias.empty();
  if (t->request.guide.steers()) {
    if (t->request.guide.masks != nullptr) job.ignore_eos = false;  // where the grammar ends the text ends
    guide = std::make_shared<AnswerGuide>(std::move(t->request.guide));
    job.allowed = [guide] { return guide->allowed(); };
  }
  job.on_token = [this, t, touch, guide](int32_t token, std::span<const float> logits) {
    const double now = seconds_now();
    if (++t->n_generated == 1) {
      t->first = now;
      metrics_.first_token.add(now - t->arrived);
    } else {
      metrics_.token_gap.add(now - t->last);
    }
    t->last = now;
    touch();
    std::string bytes;
    const auto& shown = t->request.shown_tokens;
    const bool is_shown = shown != nullptr && std::binary_search(shown->begin(), shown->end(), token);
    session_->tokenizer.append_piece(token, bytes, is_shown);
    std::string whole;
    t->stream.characters.push(bytes, whole);
    t->update.text += t->stream.stops.push(whole);
    if (guide != nullptr) t->grammar_failed = !guide->accept(token, bytes);
    if (t->request.wants_tokens) {
      TextToken& added = t->update.tokens.emplace_back(token, std::move(bytes));
      if (t->request.wants_logprobs) add_logprobs(logits, t->request.n_top_logprobs, added);
    }
    if (guide != nullptr && (t->grammar_failed || guide->only_end_left())) return false;
    return !t->stream.stops.matched();
  };
  if (t->request.wants_prompt_logprobs) {
    job.wants_logits = true;
    for (const int32_t token : job.prompt) {
      TextToken& added = t->update.prompt_tokens.emplace_back(token);
      // A begin token in front is no part of the text.
      const bool begins = t->update.prompt_tokens.size() == 1 && token == session_->tokenizer.bos();
      if (!begins) session_->tokenizer.append_piece(token, added.bytes, /*special=*/true);
    }
    t->update.prompt_tokens[0].logprob = std::numeric_limits<float>::quiet_NaN();
    // The logits of row i are those of token i + 1; those of the last row are the first generated token's.
    job.on_logits = [t, next = size_t{1}](std::span<const float> logits) mutable {
      std::vector<TextToken>& tokens = t->update.prompt_tokens;
      if (next < tokens.size()) add_logprobs(logits, t->request.n_top_logprobs, tokens[next++]);
    };
  }
  if (t->request.wants_embedding) {
    job.wants_hidden = true;
    job.on_hidden = [t](std::span<const float> hidden) {
      t->hidden_sum.resize(hidden.size());
      for (size_t i = 0; i < hidden.size(); ++i) t->hidden_sum[i] += static_cast<double>(hidden[i]);
      ++t->n_hidden_rows;
    };
  }
  job.on_end = [this, t, touch, guide](const JobResult& result) {
    const double now = seconds_now();
    touch();
    TextUpdate& u = t->update;
    if (!t->stream.stops.matched()) u.text += finish_text(t->stream);
    if (t->stream.stops.matched()) u.stop = t->stream.stops.matched_stop();
    u.ended = true;
    u.result = result;
    if (guide != nullptr) u.n_thought_tokens = guide->n_thought_tokens();
    u.by_constraint = result.end == JobEnd::failed && t->constrained;
    if (t->grammar_failed) {
      u.by_constraint = true;
      u.result.end = JobEnd::failed;
      u.result.error = "the grammar is too ambiguous: it has too many readings of the text so far";
    }
    if (t->began == 0) t->began = now;  // ended in the queue
    if (t->first == 0) t->first = now;
    u.queued_s = t->began - t->arrived;
    u.prompt_s = t->first - t->began;
    u.generation_s = now - t->first;
    metrics_.prompt_s += u.prompt_s;
    metrics_.generation_s += u.generation_s;
    if (t->n_hidden_rows == 0) return;
    double squares = 0;
    for (const double x : t->hidden_sum) squares += x * x;
    const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    for (const double x : t->hidden_sum) u.embedding.push_back(static_cast<float>(x * scale));
  };
  return job;
}

// Hands over what the last step gave.
void Service::flush() {
  {
    const std::scoped_lock lock(mutex_);
    metrics_.counters = scheduler_.counters();
    published_ = metrics_;
  }
  if (changed_.empty()) return;
  std::vector<std::pair<std::shared_ptr<Text>, TextUpdate>> updates;
  for (const std::shared_ptr<Text>& t : changed_) {
    t->changed = false;
    t->update.n_generated = t->n_generated;
    const bool ended = t->update.ended;
    updates.emplace_back(t, std::exchange(t->update, {}));
    if (ended) std::erase(active_, t);
  }
  changed_.clear();
  post_([updates = std::move(updates)]() mutable {
    for (auto& [t, update] : updates) t->on_update(update);
  });
}

void Service::serve() {
  for (;;) {
    std::vector<std::shared_ptr<Text>> arrived;
    std::vector<uint64_t> cancelled;
    std::function<ThenOnCaller(Scheduler&)> between;
    bool all = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] {
        return stop_ || cancel_all_ || !arrived_.empty() || !cancelled_.empty() || !between_steps_.empty() ||
               !scheduler_.idle();
      });
      if (stop_) break;
      arrived.swap(arrived_);
      cancelled.swap(cancelled_);
      if (!between_steps_.empty()) {
        between = std::move(between_steps_.front());
        between_steps_.pop_front();
      }
      all = std::exchange(cancel_all_, false);
    }
    for (std::shared_ptr<Text>& t : arrived) {
      active_.push_back(t);
      t->job_id = scheduler_.submit(job_of(t));
    }
    for (const std::shared_ptr<Text>& t : std::vector(active_)) {
      if (all || std::find(cancelled.begin(), cancelled.end(), t->id) != cancelled.end())
        scheduler_.cancel(t->job_id);
    }
    if (between) post_(between(scheduler_));
    scheduler_.step();
    flush();
  }
  scheduler_.keep_cached();
}

}  // namespace forge::rt
