#include "runtime/core/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "runtime/core/generation.h"
#include "tests/runtime/engine_rig.h"

namespace forge::rt {
namespace {

struct Answer {
  std::vector<int32_t> tokens;
  std::optional<JobResult> result;
  uint32_t n_steps = 0;  // of the scheduler when it ended
};

Job job_for(std::vector<int32_t> prompt, uint64_t seed, uint32_t max_tokens, Answer& answer) {
  Job job;
  job.prompt = std::move(prompt);
  job.max_tokens = max_tokens;
  job.sampling = {.temperature = 1.5F, .top_k = 0, .seed = seed};
  job.on_token = [&answer](int32_t token, std::span<const float>) {
    answer.tokens.push_back(token);
    return true;
  };
  job.on_end = [&answer](const JobResult& result) { answer.result = result; };
  return job;
}

void run(Scheduler& scheduler) {
  while (scheduler.step()) {
  }
}

// The tokens that a program of its own gives.
std::vector<int32_t> alone(const std::vector<int32_t>& prompt, uint64_t seed, uint32_t max_tokens) {
  Rig rig;
  Sequence sequence;
  Sampler sampler({.temperature = 1.5F, .top_k = 0, .seed = seed});
  TextStream stream({});
  const auto out =
      generate(*rig.engine, *rig.tokenizer, sequence, sampler, prompt, stream, {.max_tokens = max_tokens});
  EXPECT_TRUE(out);
  return out ? out->tokens : std::vector<int32_t>{};
}

std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Pages are lost where this fails.
void expect_all_free(Rig& rig, Scheduler& scheduler) {
  EXPECT_EQ(scheduler.counters().n_free_pages, rig.engine->pool().n_pages());
  scheduler.cache().clear();
  EXPECT_EQ(rig.engine->pool().n_free(), rig.engine->pool().n_pages());
}

TEST(Scheduler, WhatElseRunsChangesNoText) {
  Rig rig(16, 4, 512, 32);
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 4, .n_queued = 100, .deterministic = true});
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same each time
  std::map<uint32_t, Answer> answers;
  std::vector<std::vector<int32_t>> prompts;
  for (uint32_t i = 0; i < 30; ++i) {
    // Some begin alike, with each other and with what others say.
    const uint32_t n = 1 + random() % 150;
    auto prompt = i % 3 == 1 ? joined(prompts[i - 1], answers[i - 1].tokens) : some_tokens(200, i / 6);
    prompt.resize(std::min<size_t>(n, prompt.size()));
    prompts.push_back(prompt);
    ASSERT_NE(scheduler.submit(job_for(prompt, i, 20, answers[i])), 0U);
    for (uint32_t k = random() % 12; k != 0; --k) scheduler.step();
  }
  run(scheduler);
  for (uint32_t i = 0; i < 30; ++i) EXPECT_EQ(answers[i].tokens, alone(prompts[i], i, 20)) << i;
  EXPECT_GT(scheduler.counters().n_cached_tokens, 0U);
  expect_all_free(rig, scheduler);
}

TEST(Scheduler, ReusesWhatWasRun) {
  const auto prompt = some_tokens(100, 1);
  for (const bool deterministic : {false, true}) {
    Rig rig;
    Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 1, .deterministic = deterministic});
    Answer first;
    scheduler.submit(job_for(prompt, 1, 30, first));
    run(scheduler);
    ASSERT_EQ(first.tokens.size(), 30U);
    EXPECT_EQ(first.result->n_cached, 0U);
    Answer again;
    scheduler.submit(job_for(prompt, 1, 30, again));
    run(scheduler);
    EXPECT_EQ(again.tokens, first.tokens);
    EXPECT_EQ(again.result->n_cached, 99U);  // all but the last token, whose logits are wanted
    // The next turn: what was generated counts where that is allowed; its last token was not run.
    const auto turn = joined(joined(prompt, first.tokens), some_tokens(10, 3));
    Answer second;
    scheduler.submit(job_for(turn, 2, 30, second));
    run(scheduler);
    EXPECT_EQ(second.result->n_cached, deterministic ? 100U : 129U);
    if (deterministic) EXPECT_EQ(second.tokens, alone(turn, 2, 30));
    expect_all_free(rig, scheduler);
  }
}

TEST(Scheduler, PromptsThatComeTogetherAreReadOnce) {
  Rig rig(16, 4, 512, 32);
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 4});
  const auto beginning = some_tokens(200, 1);
  std::map<uint32_t, Answer> answers;
  for (uint32_t i = 0; i < 4; ++i)
    scheduler.submit(job_for(joined(beginning, some_tokens(10, 10 + i)), i, 5, answers[i]));
  run(scheduler);
  EXPECT_EQ(scheduler.counters().n_prompt_tokens, 240U);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(answers[i].result->n_cached, i == 0 ? 0U : 200U);
    EXPECT_EQ(answers[i].tokens, alone(joined(beginning, some_tokens(10, 10 + i)), i, 5));
  }
  expect_all_free(rig, scheduler);
}

TEST(Scheduler, StreamsGoOnWhileAPromptIsRead) {
  Rig rig;
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 2});
  Answer stream;
  Answer late;
  scheduler.submit(job_for(some_tokens(3, 1), 1, 100, stream));
  scheduler.step();
  scheduler.submit(job_for(some_tokens(300, 2), 1, 1, late));
  for (size_t n = 2; !late.result; ++n) {
    scheduler.step();
    EXPECT_EQ(stream.tokens.size(), n);
  }
  EXPECT_GE(stream.tokens.size(), 300U / 16);
}

TEST(Scheduler, QueueIsBounded) {
  Rig rig;
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 2, .n_queued = 1});
  Answer a[3];
  for (Answer& answer : a) EXPECT_NE(scheduler.submit(job_for({1}, 1, 5, answer)), 0U);
  Answer refused;
  EXPECT_EQ(scheduler.submit(job_for({1}, 1, 5, refused)), 0U);
  EXPECT_EQ(scheduler.counters().n_refused, 1U);
  scheduler.step();
  EXPECT_EQ(scheduler.counters().n_running, 2U);
  EXPECT_EQ(scheduler.counters().n_waiting, 1U);
  run(scheduler);
  EXPECT_TRUE(a[2].result);
  EXPECT_FALSE(refused.result);
}

TEST(Scheduler, EndsSayWhy) {
  Rig rig(16, 4, 64, 8);
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 1, .n_queued = 9});
  const auto end_of = [&](Job job) {
    std::optional<JobResult> result;
    job.on_end = [&](const JobResult& r) { result = r; };
    scheduler.submit(std::move(job));
    run(scheduler);
    return *result;
  };
  EXPECT_EQ(end_of({.prompt = {1}, .max_tokens = 3, .sampling = greedy()}).end, JobEnd::length);
  EXPECT_EQ(end_of({.prompt = {1}, .max_tokens = 0, .sampling = greedy()}).n_generated, 0U);
  EXPECT_EQ(end_of({.prompt = some_tokens(60, 1), .sampling = greedy(), .ignore_eos = true}).end,
            JobEnd::context_full);
  EXPECT_EQ(end_of({.prompt = {1},
                    .sampling = greedy(),
                    .on_token = [](int32_t, std::span<const float>) { return false; }})
                .end,
            JobEnd::stopped);
  const uint32_t none[(kFakeVocab + 31) / 32] = {};
  const JobResult failed = end_of(
      {.prompt = {1}, .sampling = greedy(), .allowed = [&] { return std::span<const uint32_t>(none); }});
  EXPECT_EQ(failed.end, JobEnd::failed);
  EXPECT_NE(failed.error, "");
  rig.model.ends_at = 5;
  EXPECT_EQ(end_of({.prompt = {1}, .sampling = greedy()}).end, JobEnd::end_of_generation);
  EXPECT_EQ(end_of({.prompt = {1}, .max_tokens = 20, .sampling = greedy(), .ignore_eos = true}).end,
            JobEnd::length);
  expect_all_free(rig, scheduler);
}

TEST(Scheduler, RowsOfThePromptCanBeHad) {
  Rig rig;
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 2});
  const auto prompt = some_tokens(40, 1);
  std::vector<float> hidden;
  std::vector<float> logits;
  Answer stream;
  scheduler.submit(job_for({5}, 1, 30, stream));
  scheduler.submit({.prompt = prompt, .wants_hidden = true, .on_hidden = [&](std::span<const float> h) {
                      hidden.insert(hidden.end(), h.begin(), h.end());
                    }});
  run(scheduler);
  scheduler.submit({.prompt = prompt, .max_tokens = 0, .wants_logits = true, .on_logits = [&](auto l) {
                      logits.insert(logits.end(), l.begin(), l.end());
                    }});
  run(scheduler);
  Rig other;
  Sequence s;
  Sequence t;
  std::vector<Row> rows;
  rows.reserve(prompt.size());
  for (uint32_t i = 0; i < prompt.size(); ++i)
    rows.push_back({.token = prompt[i], .position = static_cast<int32_t>(i), .want = Want::hidden});
  const BatchSequence first[] = {{.kv = &s}};
  EXPECT_EQ(hidden, other.step({.rows = rows, .sequences = first}).hidden);
  for (Row& row : rows) row.want = Want::logits;
  const BatchSequence second[] = {{.kv = &t}};
  EXPECT_EQ(logits, other.step({.rows = rows, .sequences = second}).logits);
  EXPECT_EQ(stream.tokens, alone({5}, 1, 30));
  expect_all_free(rig, scheduler);
}

TEST(Scheduler, RandomCancelsLoseNoPage) {
  Rig rig(16, 4, 128, 8);
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 4, .n_queued = 4});
  std::mt19937 random(3);  // NOLINT(cert-msc51-cpp): the same each time
  std::vector<uint64_t> ids;
  uint32_t n_ended = 0;
  uint32_t n_submitted = 0;
  for (uint32_t i = 0; i < 5000; ++i) {
    auto prompt = some_tokens(1 + random() % 120, random() % 4);
    const uint64_t id = scheduler.submit({.prompt = std::move(prompt),
                                          .max_tokens = 1 + static_cast<uint32_t>(random() % 40),
                                          .sampling = {.temperature = 1, .seed = random()},
                                          .on_end = [&](const JobResult& result) {
                                            ++n_ended;
                                            EXPECT_NE(result.end, JobEnd::failed) << result.error;
                                          }});
    if (id != 0) {
      ids.push_back(id);
      ++n_submitted;
    }
    for (uint32_t k = random() % 3; k != 0; --k) scheduler.step();
    if (random() % 2 == 0 && !ids.empty()) scheduler.cancel(ids[random() % ids.size()]);
  }
  run(scheduler);
  EXPECT_EQ(n_ended, n_submitted);
  EXPECT_GT(scheduler.counters().n_refused, 0U);
  expect_all_free(rig, scheduler);
}

// The KV of a prompt of n tokens, as a program carries it.
std::vector<uint8_t> image_of(const std::vector<int32_t>& prompt) {
  Rig rig;
  Sequence sequence;
  EXPECT_TRUE(prefill(*rig.engine, sequence, prompt));
  KvImageHeader header{};
  std::vector<uint8_t> out;
  for (const auto part : kv_image_parts(kv_identity(rig.model.code, rig.payload), rig.engine->pool(),
                                        sequence, prompt, static_cast<uint32_t>(prompt.size()), {}, header))
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

TEST(Scheduler, PromptsBeginWithWhatAStoreHas) {
  const auto instructions = some_tokens(200, 1);
  const auto bytes = image_of(instructions);
  for (const bool deterministic : {false, true}) {
    Rig rig(16, 4, 512, 16);
    const auto image = read_kv_image(bytes, kv_identity(rig.model.code, rig.payload), KvImageCheck::shape);
    ASSERT_TRUE(image);
    ProgramPrompt store(*image);
    Scheduler scheduler(*rig.engine, *rig.tokenizer,
                        {.n_parallel = 2, .n_queued = 4, .deterministic = deterministic});
    scheduler.add_store(store);
    const auto prompt = joined(instructions, some_tokens(30, 9));
    Answer a;
    Answer b;
    Answer other;
    scheduler.submit(job_for(prompt, 4, 20, a));
    scheduler.submit(job_for(joined(instructions, some_tokens(12, 2)), 5, 20, b));
    scheduler.submit(job_for(some_tokens(150, 6), 6, 20, other));
    run(scheduler);
    EXPECT_EQ(a.tokens, alone(prompt, 4, 20));
    EXPECT_EQ(b.tokens, alone(joined(instructions, some_tokens(12, 2)), 5, 20));
    EXPECT_EQ(other.tokens, alone(some_tokens(150, 6), 6, 20));
    EXPECT_EQ(a.result->n_cached, 200U);
    EXPECT_EQ(b.result->n_cached, 200U);
    EXPECT_EQ(other.result->n_cached, 0U);
    // It comes back after it had to go.
    scheduler.cache().clear();
    Answer again;
    scheduler.submit(job_for(prompt, 4, 20, again));
    run(scheduler);
    EXPECT_EQ(again.tokens, a.tokens);
    EXPECT_EQ(again.result->n_cached, 200U);
    expect_all_free(rig, scheduler);
  }
}

// One context of pages for one text at a time: what is loaded takes the place of what is cached.
TEST(Scheduler, AStoreNeedsNoMoreRoomThanTheTexts) {
  const auto instructions = some_tokens(300, 1);
  const auto bytes = image_of(instructions);
  Rig rig(16, 4, 512, 8);
  const auto image = read_kv_image(bytes, kv_identity(rig.model.code, rig.payload), KvImageCheck::shape);
  ASSERT_TRUE(image);
  ProgramPrompt store(*image);
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 1, .n_queued = 4});
  scheduler.add_store(store);
  for (uint32_t i = 0; i < 6; ++i) {
    const auto prompt = i % 2 == 0 ? joined(instructions, some_tokens(20, i)) : some_tokens(480, i + 50);
    Answer answer;
    scheduler.submit(job_for(prompt, i, 20, answer));
    run(scheduler);
    ASSERT_TRUE(answer.result);
    EXPECT_EQ(answer.result->end, JobEnd::length) << answer.result->error;
    EXPECT_EQ(answer.result->n_cached, i % 2 == 0 ? 300U : 0U) << i;
    EXPECT_EQ(answer.tokens, alone(prompt, i, 20)) << i;
  }
  expect_all_free(rig, scheduler);
}

// The cached text that a prompt would begin with may be what makes room for a stored one.
TEST(Scheduler, AStoreThatFailsCostsNoText) {
  struct Broken final : KvStore {
    uint32_t longest(std::span<const int32_t> prompt, bool) override {
      return static_cast<uint32_t>(prompt.size());
    }
    Load open(std::span<const int32_t>, bool) override {
      if (fails_to_open) return nullptr;
      return [](uint32_t, KvPool&, CachedText&) { return false; };
    }
    void keep(const CachedText&, const KvPool&) override { ++n_kept; }
    bool fails_to_open = false;
    int n_kept = 0;
  } store;
  Rig rig(16, 4, 512, 8);
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 1, .n_queued = 4});
  scheduler.add_store(store);
  for (uint32_t i = 0; i < 8; ++i) {
    store.fails_to_open = i % 2 == 1;
    // Each goes on from the text before, by more than a page.
    const auto prompt = some_tokens(100 + 50 * i, 3);
    Answer answer;
    scheduler.submit(job_for(prompt, i, 4, answer));
    run(scheduler);
    EXPECT_EQ(answer.tokens, alone(prompt, i, 4)) << i;
  }
  EXPECT_GT(store.n_kept, 0);
  expect_all_free(rig, scheduler);
}

TEST(Scheduler, SlotsHoldWhatTheyRanLast) {
  Rig rig(16, 4, 512, 32);
  Scheduler scheduler(*rig.engine, *rig.tokenizer, {.n_parallel = 3, .n_queued = 4});
  Answer first;
  Answer second;
  Answer third;
  scheduler.submit(job_for(some_tokens(100, 1), 1, 5, first));
  Job wanted = job_for(some_tokens(90, 2), 2, 5, second);
  wanted.slot = 2;
  scheduler.submit(std::move(wanted));
  scheduler.submit(job_for(some_tokens(80, 3), 3, 5, third));
  scheduler.step();
  EXPECT_TRUE(scheduler.counters().slots[2].running);
  run(scheduler);
  EXPECT_EQ(first.result->slot, 0);
  EXPECT_EQ(second.result->slot, 2);
  EXPECT_EQ(third.result->slot, 1);
  const CachedText* held = scheduler.cache().of_slot(2);
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(std::vector(held->tokens.begin(), held->tokens.begin() + 90), some_tokens(90, 2));
  EXPECT_EQ(scheduler.counters().slots[2].n_tokens, held->kv.n_past);
  EXPECT_FALSE(scheduler.counters().slots[2].running);
  // The next text in it takes the name; the one before stays cached.
  const size_t n_cached = scheduler.cache().n_entries();
  Answer next;
  Job same = job_for(some_tokens(70, 4), 4, 5, next);
  same.slot = 2;
  scheduler.submit(std::move(same));
  run(scheduler);
  EXPECT_EQ(scheduler.cache().of_slot(2)->tokens[1], some_tokens(70, 4)[1]);
  EXPECT_EQ(scheduler.cache().n_entries(), n_cached + 1);
  EXPECT_GT(scheduler.cache().erase_slot(2), 0U);
  EXPECT_EQ(scheduler.cache().erase_slot(2), 0U);
  EXPECT_EQ(scheduler.cache().of_slot(2), nullptr);
  // A kept text becomes a slot's.
  const auto bytes = image_of(some_tokens(130, 8));
  const auto image = read_kv_image(bytes, kv_identity(rig.model.code, rig.payload), KvImageCheck::all);
  ASSERT_TRUE(image);
  ASSERT_TRUE(scheduler.restore(*image, 1));
  EXPECT_EQ(scheduler.cache().of_slot(1)->tokens, some_tokens(130, 8));
  // Two slots may hold one text.
  ASSERT_TRUE(scheduler.restore(*image, 0));
  EXPECT_EQ(scheduler.cache().of_slot(0), scheduler.cache().of_slot(1));
  EXPECT_EQ(scheduler.cache().erase_slot(0), 130U);
  EXPECT_NE(scheduler.cache().of_slot(1), nullptr);
  Answer from_kept;
  const auto prompt = joined(some_tokens(130, 8), some_tokens(5, 1));
  scheduler.submit(job_for(prompt, 9, 5, from_kept));
  run(scheduler);
  EXPECT_EQ(from_kept.result->n_cached, 130U);
  EXPECT_EQ(from_kept.tokens, alone(prompt, 9, 5));
  expect_all_free(rig, scheduler);
}

}  // namespace
}  // namespace forge::rt
