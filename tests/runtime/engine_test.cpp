#include "runtime/core/engine.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "runtime/core/generation.h"
#include "tests/runtime/engine_rig.h"

namespace forge::rt {
namespace {

std::vector<Row> rows_of(uint32_t sequence, const std::vector<int32_t>& tokens, int32_t position, Want want) {
  std::vector<Row> out;
  out.reserve(tokens.size());
  for (const int32_t t : tokens) {
    out.push_back({.sequence = sequence, .token = t, .position = position++, .want = want});
  }
  return out;
}

// The contract on bits: where a chunk is cut, and who stands beside a row, changes nothing.
TEST(Engine, BitsDoNotDependOnCutsOrNeighbours) {
  const auto tokens = some_tokens(150, 1);
  std::vector<float> whole;
  for (const uint32_t max_rows : {1U, 7U, 16U, 64U, 1000U}) {
    for (const uint32_t max_out_rows : {1U, 5U, 200U}) {
      Rig rig(max_rows, max_out_rows);
      Sequence s;
      const BatchSequence sequences[] = {{.kv = &s}};
      const auto out = rig.step({.rows = rows_of(0, tokens, 0, Want::logits), .sequences = sequences});
      ASSERT_EQ(out.logits.size(), 150 * kFakeVocab);
      EXPECT_EQ(s.n_past, 150U);
      if (whole.empty()) whole = out.logits;
      EXPECT_EQ(std::memcmp(out.logits.data(), whole.data(), whole.size() * 4), 0)
          << max_rows << " " << max_out_rows;
    }
  }
  Rig rig(11, 3);
  Sequence a;
  Sequence b;
  Sequence c;
  const BatchSequence sequences[] = {{.kv = &a}, {.kv = &b}, {.kv = &c}};
  std::vector<float> logits;
  for (int32_t first = 0; first < 150; first += 50) {
    std::vector<Row> rows = rows_of(0, some_tokens(20, 9), first / 50 * 20, Want::nothing);
    for (const Row& r :
         rows_of(1, {tokens.begin() + first, tokens.begin() + first + 50}, first, Want::logits)) {
      rows.push_back(r);
    }
    for (const Row& r : rows_of(2, {1, 2}, first / 50 * 2, Want::hidden)) rows.push_back(r);
    const auto out = rig.step({.rows = rows, .sequences = sequences});
    EXPECT_EQ(out.hidden.size(), 2U * 8);
    logits.insert(logits.end(), out.logits.begin(), out.logits.end());
  }
  ASSERT_EQ(logits.size(), whole.size());
  EXPECT_EQ(std::memcmp(logits.data(), whole.data(), whole.size() * 4), 0);
}

TEST(Engine, SharedPrefixGivesTheSameBits) {
  Rig rig;
  const auto tokens = some_tokens(100, 2);
  Sequence a;
  const BatchSequence whole[] = {{.kv = &a}};
  const auto expected = rig.step({.rows = rows_of(0, tokens, 0, Want::logits), .sequences = whole});
  Sequence b = rig.engine->pool().share(a, 70);
  const BatchSequence rest[] = {{.kv = &b}};
  const auto out = rig.step(
      {.rows = rows_of(0, {tokens.begin() + 70, tokens.end()}, 70, Want::logits), .sequences = rest});
  EXPECT_EQ(std::memcmp(out.logits.data(), expected.logits.data() + 70 * kFakeVocab, out.logits.size() * 4),
            0);
  // a was not touched by that: it goes on from its own page.
  rig.engine->pool().truncate(a, 90);
  const auto again = rig.step(
      {.rows = rows_of(0, {tokens.begin() + 90, tokens.end()}, 90, Want::logits), .sequences = whole});
  EXPECT_EQ(
      std::memcmp(again.logits.data(), expected.logits.data() + 90 * kFakeVocab, again.logits.size() * 4), 0);
}

TEST(Engine, RunsOnUntilStopOrLimit) {
  const auto run = [](uint32_t max_steps, const std::vector<int32_t>& stop, int32_t ends_at = -1) {
    Rig rig;
    rig.model.ends_at = ends_at;
    Sequence a;
    Sequence b;
    Sampler sa(greedy());
    Sampler sb(greedy());
    const BatchSequence sequences[] = {{.kv = &a, .sampler = &sa}, {.kv = &b, .sampler = &sb}};
    auto rows = rows_of(0, {1, 2, 3}, 0, Want::nothing);
    rows.back().want = Want::token;
    rows.push_back({.sequence = 1, .token = 5, .position = 0, .want = Want::token});
    const auto out =
        rig.step({.rows = rows, .sequences = sequences, .max_steps = max_steps, .stop_tokens = stop});
    std::vector<std::vector<int32_t>> texts(2);
    for (const SampledToken& t : out.tokens) texts[t.sequence].push_back(t.token);
    EXPECT_EQ(a.n_past, 3 + texts[0].size() - 1);
    EXPECT_EQ(b.n_past, 1 + texts[1].size() - 1);
    return texts;
  };
  const auto ten = run(10, {});
  EXPECT_EQ(ten[0].size(), 10U);
  EXPECT_EQ(ten[1].size(), 10U);
  const auto one = run(1, {});
  EXPECT_EQ(one[0][0], ten[0][0]);
  EXPECT_EQ(one[0].size(), 1U);
  // Position 6 is where the end comes: 4 tokens before it for the prompt of 3, 6 for that of 1.
  const auto ended = run(50, {kFakeEnd}, 6);
  EXPECT_EQ(ended[0].size(), 5U);
  EXPECT_EQ(ended[1].size(), 7U);
  EXPECT_EQ(ended[0].back(), kFakeEnd);
  EXPECT_TRUE(std::equal(ended[0].begin(), ended[0].end() - 1, ten[0].begin()));
}

TEST(Engine, RunningOnEqualsSingleSteps) {
  Rig rig;
  Sequence s;
  Sampler sampler({.temperature = 1, .seed = 3});
  const BatchSequence sequences[] = {{.kv = &s, .sampler = &sampler}};
  const Row first{.token = 9, .position = 0, .want = Want::token};
  const auto out = rig.step({.rows = {&first, 1}, .sequences = sequences, .max_steps = 80});
  Rig other;
  Sequence t;
  Sampler sampler_t({.temperature = 1, .seed = 3});
  const BatchSequence sequences_t[] = {{.kv = &t, .sampler = &sampler_t}};
  Row row = first;
  for (const SampledToken& expected : out.tokens) {
    const auto one = other.step({.rows = {&row, 1}, .sequences = sequences_t});
    ASSERT_EQ(one.tokens.at(0).token, expected.token);
    row = {.token = expected.token,
           .position = row.position + 1,
           .row_class = RowClass::generated,
           .want = Want::token};
  }
}

TEST(Engine, InterruptAndCallbackEndARun) {
  Rig rig;
  Sequence s;
  Sampler sampler(greedy());
  const BatchSequence sequences[] = {{.kv = &s, .sampler = &sampler}};
  const Row row{.token = 9, .position = 0, .want = Want::token};
  std::atomic<bool> interrupt{false};
  rig.model.interrupt = &interrupt;
  rig.model.interrupts_at = 5;
  const auto out =
      rig.step({.rows = {&row, 1}, .sequences = sequences, .max_steps = 100, .interrupt = &interrupt});
  EXPECT_TRUE(out.interrupted);
  EXPECT_EQ(out.tokens.size(), 6U);
  EXPECT_EQ(s.n_past, 6U);
  rig.model.interrupts_at = -1;
  interrupt = false;
  int n = 0;
  const Row more{.token = 9, .position = 6, .want = Want::token};
  const auto called = rig.step({.rows = {&more, 1},
                                .sequences = sequences,
                                .max_steps = 100,
                                .on_token = [&n](uint32_t, int32_t, std::span<const float> logits) {
                                  EXPECT_EQ(logits.size(), kFakeVocab);
                                  return ++n < 4;
                                }});
  EXPECT_EQ(called.tokens.size(), 4U);
}

TEST(Engine, InterruptBetweenCutsKeepsWhatRan) {
  Rig rig;
  Sequence s;
  const BatchSequence sequences[] = {{.kv = &s}};
  std::atomic<bool> interrupt{false};
  rig.model.interrupt = &interrupt;
  rig.model.interrupts_at = 20;  // in the second cut of 16
  const auto out = rig.step({.rows = rows_of(0, some_tokens(200, 1), 0, Want::nothing),
                             .sequences = sequences,
                             .interrupt = &interrupt});
  EXPECT_TRUE(out.interrupted);
  EXPECT_EQ(s.n_past, 32U);
  EXPECT_EQ(s.pages.size(), 1U);
}

TEST(Engine, FailedDrawLeavesTheOthersAlone) {
  Rig rig;
  rig.model.broken = true;
  Sequence a;
  Sequence b;
  Sampler sampler(greedy());
  const BatchSequence sequences[] = {{.kv = &a, .sampler = &sampler}, {.kv = &b}};
  std::vector<Row> rows = {{.token = 9, .want = Want::token}};
  for (const Row& r : rows_of(1, some_tokens(200, 1), 0, Want::nothing)) rows.push_back(r);
  const auto out = rig.engine->step({.rows = rows, .sequences = sequences});
  ASSERT_TRUE(out);
  ASSERT_EQ(out->failed.size(), 1U);
  EXPECT_EQ(out->failed[0].sequence, 0U);
  EXPECT_TRUE(out->tokens.empty());
  EXPECT_EQ(a.n_past, 1U);
  EXPECT_EQ(b.n_past, 200U);
}

TEST(Engine, ContextEndStopsARun) {
  Rig rig(16, 4, 20);
  Sequence s;
  Sampler sampler(greedy());
  const BatchSequence sequences[] = {{.kv = &s, .sampler = &sampler}};
  const Row row{.token = 9, .position = 0, .want = Want::token};
  const auto out = rig.step({.rows = {&row, 1}, .sequences = sequences, .max_steps = 100});
  EXPECT_EQ(out.tokens.size(), 20U);
  EXPECT_EQ(s.n_past, 20U);
}

TEST(Engine, RefusesBadBatches) {
  Rig rig(16, 4, 40, 2);
  Sequence a;
  Sequence b;
  Sampler sampler(greedy());
  const BatchSequence sequences[] = {{.kv = &a, .sampler = &sampler}, {.kv = &b}};
  const auto refused = [&](const std::vector<Row>& rows, const std::string& part, uint32_t max_steps = 1) {
    const auto out = rig.engine->step({.rows = rows, .sequences = sequences, .max_steps = max_steps});
    ASSERT_FALSE(out) << part;
    EXPECT_NE(out.error().message.find(part), std::string::npos) << out.error().message;
    EXPECT_EQ(a.n_past, 0U);
    EXPECT_EQ(rig.engine->pool().n_free(), 2U);
  };
  refused({}, "no rows");
  refused({{}}, "max_steps", 0);
  refused({{.token = -1}}, "token -1");
  refused({{.token = 258}}, "token 258");
  refused({{.sequence = 2}}, "sequence 2");
  refused({{.position = 1}}, "position 1, expected 0");
  refused({{.position = -1}}, "position -1");
  refused({{.position = 0}, {.position = 2}}, "position 2, expected 1");
  refused({{.sequence = 1}, {.sequence = 0}}, "sorted");
  refused(rows_of(0, some_tokens(41, 1), 0, Want::nothing), "context holds 40");
  refused({{.sequence = 1, .want = Want::token}}, "sampler");
  refused({{.position = 0, .want = Want::token}, {.position = 1}}, "last of its sequence");
  const BatchSequence twice[] = {{.kv = &a}, {.kv = &a}};
  const Row row{};
  EXPECT_FALSE(rig.engine->step({.rows = {&row, 1}, .sequences = twice}));
  const BatchSequence none[] = {{}};
  EXPECT_FALSE(rig.engine->step({.rows = {&row, 1}, .sequences = none}));
  Sequence c;
  const BatchSequence three[] = {{.kv = &a}, {.kv = &b}, {.kv = &c}};
  const Row rows[] = {{.sequence = 0}, {.sequence = 1}, {.sequence = 2}};
  EXPECT_FALSE(rig.engine->step({.rows = rows, .sequences = three}));  // two pages for three sequences
  EXPECT_EQ(rig.engine->pool().n_free(), 2U);
}

TEST(Engine, RefusesCodeThatDoesNotFit) {
  Rig rig;
  const auto refused = [&](const auto& change, const std::string& part) {
    ModelCode code = rig.model.code;
    EngineMemory memory{.kv = rig.kv.bytes(), .arena = rig.arena.bytes(), .scratch = rig.scratch.bytes()};
    uint32_t ctx = 0;
    change(code, memory, ctx);
    const auto made = Engine::create(code, rig.payload, nullptr, memory, rig.team, ctx);
    ASSERT_FALSE(made) << part;
    EXPECT_NE(made.error().message.find(part), std::string::npos) << made.error().message;
  };
  refused([](auto& c, auto&, auto&) { c.abi = 99; }, "interface");
  refused([](auto& c, auto&, auto&) { c.plan_hash ^= 1; }, "plan hash");
  refused([](auto& c, auto&, auto&) { c.weights_bytes = 100; }, "weights");
  refused([](auto& c, auto&, auto&) { c.logits_stride = 10; }, "impossible");
  refused([](auto&, auto& m, auto&) { m.arena = m.arena.first(100); }, "memory");
  refused([](auto&, auto& m, auto&) { m.kv = m.kv.subspan(1); }, "aligned");
  refused([](auto&, auto&, auto& ctx) { ctx = 513; }, "513");
}

// ---- generation

struct Told {
  std::string text;
  Generated result;
};

Told tell(Rig& rig, Sequence& s, std::string_view prompt, GenerateOptions options,
          std::vector<std::string> stop = {}, const SamplingParams& params = greedy()) {
  Told told;
  Sampler sampler(params);
  TextStream stream(std::move(stop));
  options.on_text = [&](std::string_view piece) { told.text += piece; };
  const auto tokens = rig.tokenizer->encode(prompt);
  auto result = generate(*rig.engine, *rig.tokenizer, s, sampler, tokens, stream, options);
  EXPECT_TRUE(result) << result.error().message;
  if (result) told.result = std::move(*result);
  EXPECT_EQ(told.text, told.result.text);
  return told;
}

TEST(Generation, EndsForEveryReason) {
  {
    Rig rig;
    Sequence s;
    const auto told = tell(rig, s, "hello", {.max_tokens = 30});
    EXPECT_EQ(told.result.reason, StopReason::length);
    EXPECT_EQ(told.result.tokens.size(), 30U);
    EXPECT_EQ(told.text.size(), 30U);
    EXPECT_EQ(s.n_past, 5U + 29);
  }
  {
    Rig rig;
    rig.model.ends_at = 11;
    Sequence s;
    const auto told = tell(rig, s, "hello", {});
    EXPECT_EQ(told.result.reason, StopReason::end_of_generation);
    EXPECT_EQ(told.result.tokens.size(), 7U);
    Sequence t;
    const auto forced = tell(rig, t, "hello", {.max_tokens = 60, .ignore_eos = true});
    EXPECT_EQ(forced.result.tokens.size(), 60U);
    EXPECT_EQ(std::count(forced.result.tokens.begin(), forced.result.tokens.end(), kFakeEnd), 0);
  }
  {
    Rig rig;
    rig.model.says_the_end_at = 10;
    Sequence s;
    const auto told = tell(rig, s, "hello", {}, {"end.", "never"});
    EXPECT_EQ(told.result.reason, StopReason::stop_string);
    EXPECT_TRUE(told.text.ends_with("The ")) << told.text;
  }
  {
    Rig rig(16, 4, 32);
    Sequence s;
    const auto told = tell(rig, s, "hello", {});
    EXPECT_EQ(told.result.reason, StopReason::context_full);
    EXPECT_EQ(told.result.tokens.size(), 32U - 5 + 1);
    EXPECT_EQ(s.n_past, 32U);
  }
  {
    Rig rig;
    std::atomic<bool> interrupt{false};
    rig.model.interrupt = &interrupt;
    rig.model.interrupts_at = 20;
    Sequence s;
    const auto told = tell(rig, s, "hello", {.interrupt = &interrupt});
    EXPECT_EQ(told.result.reason, StopReason::interrupted);
    EXPECT_EQ(told.result.tokens.size(), 17U);
    EXPECT_EQ(s.n_past, 21U);
  }
}

// What an earlier part of an answer left in the stream is not lost where the next part ends before it began.
TEST(Generation, HeldBackTextIsShown) {
  Rig rig;
  Sequence s;
  Sampler sampler(greedy());
  const auto prompt = some_tokens(20, 1);
  const auto run = [&](const GenerateOptions& options) {
    TextStream stream({"The end"});
    EXPECT_EQ(stream.stops.push("so. The"), "so. ");
    auto result = generate(*rig.engine, *rig.tokenizer, s, sampler, prompt, stream, options);
    EXPECT_TRUE(result);
    return result ? std::move(*result) : Generated{};
  };
  std::atomic<bool> interrupt{true};
  const Generated interrupted = run({.interrupt = &interrupt});
  EXPECT_EQ(interrupted.reason, StopReason::interrupted);
  EXPECT_EQ(s.n_past, 0U);
  EXPECT_EQ(interrupted.text, "The");
  EXPECT_EQ(run({.max_tokens = 0}).text, "The");
}

TEST(Generation, FullContextBehindAKeptTokenIsNoError) {
  Rig rig(16, 4, 20);
  Sequence s;
  const auto told = tell(rig, s, "hello", {});
  ASSERT_EQ(told.result.reason, StopReason::context_full);
  Sampler sampler(greedy());
  TextStream stream({});
  const int32_t pending[] = {told.result.tokens.back(), 'x'};
  const auto again = generate(*rig.engine, *rig.tokenizer, s, sampler, std::span(pending).first(1), stream,
                              {.n_generated_before = 1});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->reason, StopReason::context_full);
  EXPECT_TRUE(again->tokens.empty());
  EXPECT_FALSE(generate(*rig.engine, *rig.tokenizer, s, sampler, pending, stream, {.n_generated_before = 1}));
}

TEST(Generation, PromptErrors) {
  Rig rig(16, 4, 8);
  Sequence s;
  Sampler sampler(greedy());
  TextStream stream({});
  const auto run = [&](std::vector<int32_t> prompt) {
    return generate(*rig.engine, *rig.tokenizer, s, sampler, prompt, stream, {});
  };
  EXPECT_FALSE(run({}));
  EXPECT_FALSE(run(some_tokens(9, 1)));
  EXPECT_FALSE(run({300}));
  EXPECT_TRUE(run(some_tokens(8, 1)));
  Rig broken;
  broken.model.broken = true;
  Sequence t;
  EXPECT_FALSE(generate(*broken.engine, *broken.tokenizer, t, sampler, some_tokens(3, 1), stream, {}));
}

TEST(Generation, GoesOnAsIfThereHadBeenNoBreak) {
  Rig rig;
  Sequence s;
  const auto whole = tell(rig, s, "hello", {.max_tokens = 100});
  Rig other;
  Sequence t;
  const auto first = tell(other, t, "hello", {.max_tokens = 40});
  Sampler sampler(greedy());
  TextStream stream({});
  const int32_t pending[] = {first.result.tokens.back()};
  const auto rest = generate(*other.engine, *other.tokenizer, t, sampler, pending, stream,
                             {.max_tokens = 60, .n_generated_before = 1});
  ASSERT_TRUE(rest);
  EXPECT_EQ(first.text + rest->text, whole.text);
}

TEST(Generation, MultiByteCharactersStayWhole) {
  Rig rig;
  Sequence s;
  // Noise over all bytes gives broken UTF-8, of which every piece must be well-formed.
  SamplingParams params{.temperature = 20, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 4};
  Sampler sampler(params);
  TextStream stream({});
  const auto prompt = rig.tokenizer->encode("x");
  size_t n_pieces = 0;
  const auto result = generate(*rig.engine, *rig.tokenizer, s, sampler, prompt, stream,
                               {.max_tokens = 400, .on_text = [&](std::string_view piece) {
                                  ++n_pieces;
                                  for (size_t at = 0; at < piece.size();) {
                                    const CodePoint c = decode_utf8(piece, at);
                                    EXPECT_TRUE(c.value != 0xfffd || c.bytes == 3)
                                        << "a broken byte came through";
                                    at += c.bytes;
                                  }
                                }});
  ASSERT_TRUE(result);
  EXPECT_GT(n_pieces, 100U);
}

}  // namespace
}  // namespace forge::rt
