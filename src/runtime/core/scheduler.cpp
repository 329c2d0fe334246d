#include "runtime/core/scheduler.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace forge::rt {
namespace {

// Rows of prompts that a step runs beside rows that are being generated. Streams wait for them; a step of this many
// reads the weights as often per row as a full one nearly does.
constexpr uint32_t kPromptRowsBesideStreams = 128;

// Positions more that a store must have for its pages to be loaded.
constexpr uint32_t kWorthLoading = 8;

}  // namespace

struct Scheduler::Running {
  uint64_t id = 0;
  Job job;
  Sampler sampler;
  CachedText text;  // tokens: the prompt and what was generated, also those that are not in the KV yet
  bool begun = false;
  std::optional<JobEnd> end;
  std::string error;
  int32_t slot = -1;  // while it runs
  uint32_t n_cached = 0, n_generated = 0;

  explicit Running(Job given) : job(std::move(given)), sampler(job.sampling) {}
  uint32_t n_prompt() const { return static_cast<uint32_t>(job.prompt.size()); }
  bool reads_prompt() const { return text.kv.n_past < n_prompt(); }
  bool runs_whole() const { return job.wants_hidden || job.wants_logits || !job.reuse; }
  // The tokens whose KV is there.
  std::span<const int32_t> present() const { return std::span(text.tokens).first(text.kv.n_past); }
};

Scheduler::Scheduler(Engine& engine, const Tokenizer& tokenizer, const SchedulerOptions& options)
    : engine_(&engine), tokenizer_(&tokenizer), options_(options), cache_(engine.pool()) {
  options_.n_parallel = std::clamp(options_.n_parallel, 1U, engine.code().max_rows);
  for (int32_t t = 0; t < tokenizer.n_vocab(); ++t) {
    if (tokenizer.is_end_of_generation(t))
      never_ends_.push_back({t, -std::numeric_limits<float>::infinity()});
  }
}

Scheduler::~Scheduler() = default;

uint64_t Scheduler::submit(Job job) {
  const size_t room = size_t{options_.n_parallel} + options_.n_queued;
  if (running_.size() + waiting_.size() >= room) {
    ++counters_.n_refused;
    return 0;
  }
  auto added = std::make_unique<Running>(std::move(job));
  added->id = ++last_id_;
  added->text.tokens = added->job.prompt;
  if (added->job.ignore_eos)
    added->job.bias.insert(added->job.bias.end(), never_ends_.begin(), never_ends_.end());
  for (const int32_t token : added->job.prompt) added->sampler.accept(token);
  waiting_.push_back(std::move(added));
  return last_id_;
}

void Scheduler::cancel(uint64_t id) {
  for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
    if ((*at)->id != id) continue;
    const auto job = std::move(*at);
    waiting_.erase(at);
    job->end = JobEnd::cancelled;
    return finish(*job);
  }
  for (auto at = running_.begin(); at != running_.end(); ++at) {
    if ((*at)->id != id) continue;
    const auto job = std::move(*at);
    running_.erase(at);
    job->end = JobEnd::cancelled;
    return finish(*job);
  }
}

void Scheduler::admit() {
  while (!waiting_.empty() && running_.size() < options_.n_parallel) {
    std::vector<char> taken(options_.n_parallel);
    for (const auto& job : running_) taken[static_cast<size_t>(job->slot)] = 1;
    Running& job = *waiting_.front();
    const auto wanted = static_cast<size_t>(job.job.slot);
    const size_t slot = wanted < taken.size() && taken[wanted] == 0
                            ? wanted
                            : static_cast<size_t>(std::find(taken.begin(), taken.end(), 0) - taken.begin());
    job.slot = static_cast<int32_t>(slot);
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

Scheduler::Beginning Scheduler::longest_beginning(const Running& job, std::span<const int32_t> prompt) const {
  const PrefixCache::Match cached = cache_.find(prompt, options_.deterministic);
  Beginning out{.text = cached.text, .n = cached.n};
  bool before = true;
  for (const auto& other : running_) {
    if (other.get() == &job) before = false;
    if (other.get() == &job || other->end) continue;
    uint32_t n = common_beginning(other->present(), prompt);
    if (options_.deterministic) n = std::min(n, other->text.n_prompt_rows);
    if (n > out.n) out = {.text = &other->text, .n = n, .runs = true, .waits = out.waits};
    // An earlier job is about to compute more of it than a page: wait for that.
    if (before && other->reads_prompt() &&
        common_beginning(other->job.prompt, prompt) > std::max(n, cached.n) + kPagePositions)
      out.waits = true;
  }
  return out;
}

bool Scheduler::begin(Running& job) {
  if (job.runs_whole()) return true;
  // The last token must run: its logits are wanted.
  const auto prompt = std::span<const int32_t>(job.job.prompt).first(job.job.prompt.size() - 1);
  Beginning from = longest_beginning(job, prompt);
  if (from.waits) return false;
  if (load_stored(prompt, from.n)) from = longest_beginning(job, prompt);
  if (from.n == 0) return true;
  job.text.n_prompt_rows = std::min(from.text->n_prompt_rows, from.n);
  job.text.kv = from.runs ? engine_->pool().share(from.text->kv, from.n) : cache_.share(*from.text, from.n);
  job.n_cached = from.n;
  counters_.n_cached_tokens += from.n;
  return true;
}

bool Scheduler::load_stored(std::span<const int32_t> prompt, uint32_t n_known) {
  KvStore* best = nullptr;
  uint32_t n_best = n_known + kWorthLoading;
  for (KvStore* store : stores_) {
    const uint32_t n = store->longest(prompt, options_.deterministic);
    if (n <= n_best) continue;
    n_best = n;
    best = store;
  }
  const KvStore::Load load = best != nullptr ? best->open(prompt, options_.deterministic) : nullptr;
  if (!load) return false;
  // The job's own pages before long, so that the pool has them once nothing else is cached.
  free_pages(pages_for(n_best));
  if (CachedText text; load(n_best, engine_->pool(), text)) cache_.insert(std::move(text));
  return true;
}

bool Scheduler::restore(const KvImage& image, int32_t slot) {
  free_pages(pages_for(image.n_past));
  CachedText text;
  if (image.n_past == 0 || !load_text(image, image.n_past, engine_->pool(), text)) return false;
  text.slots = {slot};
  cache_.insert(std::move(text));
  return true;
}

void Scheduler::free_pages(uint32_t n) {
  while (engine_->pool().n_free() < n && evict()) {
  }
}

bool Scheduler::evict() {
  return cache_.evict([this](const CachedText& text) {
    for (KvStore* store : stores_) store->keep(text, engine_->pool());
  });
}

void Scheduler::keep_cached() const {
  for (auto text = cache_.entries().rbegin(); text != cache_.entries().rend(); ++text)
    for (KvStore* store : stores_) store->keep(*text, engine_->pool());
}

void Scheduler::add_rows(Running& job, uint32_t n, uint32_t sequence) {
  const uint32_t first = job.text.kv.n_past;
  const bool prompt = job.reads_prompt();
  for (uint32_t i = 0; i < n; ++i) {
    Row row{.sequence = sequence,
            .token = job.text.tokens[first + i],
            .position = static_cast<int32_t>(first + i),
            .row_class = prompt ? RowClass::prompt : RowClass::generated};
    if (job.job.wants_hidden) row.want = Want::hidden;
    if (job.job.wants_logits) row.want = Want::logits;
    rows_.push_back(row);
  }
  if (first + n >= job.n_prompt() && !job.job.wants_hidden && job.job.max_tokens > 0)
    rows_.back().want = Want::token;
  planned_.push_back({&job, n});
  TokenConstraint constraint{.bias = job.job.bias};
  if (job.job.allowed && rows_.back().want == Want::token) constraint.allowed = job.job.allowed();
  sequences_.push_back({.kv = &job.text.kv, .sampler = &job.sampler, .constraint = constraint});
  if (prompt && job.text.n_prompt_rows == first) job.text.n_prompt_rows = first + n;
}

void Scheduler::plan() {
  planned_.clear();
  rows_.clear();
  sequences_.clear();
  const auto n_streams = static_cast<uint32_t>(std::count_if(
      running_.begin(), running_.end(), [](const auto& job) { return job->begun && !job->reads_prompt(); }));
  const uint32_t max_rows = engine_->code().max_rows;
  uint32_t budget = n_streams == 0 ? max_rows : std::min(max_rows - n_streams, kPromptRowsBesideStreams);
  for (const auto& job : running_) {
    const auto sequence = static_cast<uint32_t>(planned_.size());
    if (job->begun && !job->reads_prompt()) {
      add_rows(*job, 1, sequence);
      continue;
    }
    if (budget == 0) continue;
    if (!job->begun) {
      if (!begin(*job)) continue;
      job->begun = true;
      if (job->job.on_begin) job->job.on_begin();
    }
    const uint32_t n = std::min(budget, job->n_prompt() - job->text.kv.n_past);
    add_rows(*job, n, sequence);
    budget -= n;
  }
}

// Cached texts go, the one used longest ago first, until all planned rows have pages. The pool holds a context of each
// running job, so without cached texts they always have.
void Scheduler::make_room() {
  KvPool& pool = engine_->pool();
  const auto lacking = [&] {
    uint32_t wanted = 0;
    for (const Planned& p : planned_) {
      const Sequence& kv = p.job->text.kv;
      wanted += pages_for(kv.n_past + p.n_rows) - static_cast<uint32_t>(kv.pages.size());
      for (size_t i = kv.n_past / kPagePositions; i < kv.pages.size(); ++i)
        wanted += pool.references(kv.pages[i]) > 1;
    }
    return wanted > pool.n_free();
  };
  while (lacking() && evict()) {
  }
}

bool Scheduler::step() {
  admit();
  if (running_.empty()) return false;
  plan();
  make_room();
  for (const Planned& p : planned_) {
    if (p.job->reads_prompt()) counters_.n_prompt_tokens += p.n_rows;
  }
  ++counters_.n_steps;
  const auto out =
      engine_->step({.rows = rows_,
                     .sequences = sequences_,
                     .on_token = [this](uint32_t sequence, int32_t token, std::span<const float> logits) {
                       Running& job = *planned_[sequence].job;
                       ++job.n_generated;
                       ++counters_.n_generated_tokens;
                       if (!job.job.ignore_eos && tokenizer_->is_end_of_generation(token)) {
                         job.end = JobEnd::end_of_generation;
                         return false;
                       }
                       job.text.tokens.push_back(token);
                       if (job.job.on_token && !job.job.on_token(token, logits)) {
                         job.end = JobEnd::stopped;
                       } else if (job.n_generated >= job.job.max_tokens) {
                         job.end = JobEnd::length;
                       } else if (job.text.kv.n_past >= engine_->ctx()) {
                         job.end = JobEnd::context_full;
                       }
                       return !job.end;
                     }});
  if (out) {
    deliver(*out);
  } else {
    for (const Planned& p : planned_) {
      p.job->end = JobEnd::failed;
      p.job->error = out.error().message;
    }
  }
  for (auto at = running_.begin(); at != running_.end();) {
    if (!(*at)->end) {
      ++at;
      continue;
    }
    const auto job = std::move(*at);
    at = running_.erase(at);
    finish(*job);
  }
  return true;
}

void Scheduler::deliver(const Outputs& out) {
  const size_t n_hidden = engine_->code().n_hidden;
  const size_t n_vocab = engine_->code().n_vocab;
  std::span<const float> hidden = out.hidden;
  std::span<const float> logits = out.logits;
  for (const FailedDraw& failed : out.failed) {
    planned_[failed.sequence].job->end = JobEnd::failed;
    planned_[failed.sequence].job->error = failed.error.message;
  }
  size_t row = 0;
  for (const Planned& p : planned_) {
    for (uint32_t i = 0; i < p.n_rows; ++i, ++row) {
      if (rows_[row].want == Want::hidden) {
        if (p.job->job.on_hidden) p.job->job.on_hidden(hidden.first(n_hidden));
        hidden = hidden.subspan(n_hidden);
      } else if (rows_[row].want == Want::logits) {
        if (p.job->job.on_logits) p.job->job.on_logits(logits.first(n_vocab));
        logits = logits.subspan(n_vocab);
      }
    }
    const bool nothing_to_generate = p.job->job.wants_hidden || p.job->job.max_tokens == 0;
    if (nothing_to_generate && !p.job->reads_prompt() && !p.job->end) p.job->end = JobEnd::length;
  }
}

void Scheduler::finish(Running& job) {
  ++counters_.n_ended;
  CachedText& text = job.text;
  text.tokens.resize(text.kv.n_past);
  text.n_prompt_rows = std::min(text.n_prompt_rows, text.kv.n_past);
  if (job.runs_whole() || text.tokens.empty() || *job.end == JobEnd::failed) {
    engine_->pool().truncate(text.kv, 0);
  } else {
    if (job.slot >= 0) text.slots = {job.slot};
    cache_.insert(std::move(text));
  }
  if (job.job.on_end)
    job.job.on_end({.end = *job.end,
                    .error = std::move(job.error),
                    .n_prompt = job.n_prompt(),
                    .n_cached = job.n_cached,
                    .n_generated = job.n_generated,
                    .slot = job.slot});
}

SchedulerCounters Scheduler::counters() const {
  SchedulerCounters out = counters_;
  out.n_running = static_cast<uint32_t>(running_.size());
  out.n_waiting = static_cast<uint32_t>(waiting_.size());
  out.n_cached_texts = static_cast<uint32_t>(cache_.n_entries());
  const KvPool& pool = engine_->pool();
  out.n_pages = pool.n_pages();
  std::vector<uint32_t> held(pool.n_pages());
  for (const auto& job : running_)
    for (const uint32_t page : job->text.kv.pages) held[page] = 1;
  out.n_free_pages = out.n_pages - static_cast<uint32_t>(std::count(held.begin(), held.end(), 1U));
  out.slots.resize(options_.n_parallel);
  for (const CachedText& text : cache_.entries())
    for (const int32_t slot : text.slots) out.slots[static_cast<size_t>(slot)].n_tokens = text.kv.n_past;
  for (const auto& job : running_)
    out.slots[static_cast<size_t>(job->slot)] = {.running = true, .n_tokens = job->text.kv.n_past};
  return out;
}

}  // namespace forge::rt
