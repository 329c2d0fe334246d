// Compiled programs against the interpreter's run of the optimized graph, for every type and odd shapes.
//
// The kernels and the interpreter add in the same order with the same rounding, so the comparison is exact:
// memcmp. That is stricter than the 1e-5 of the logits' range that correctness needs, and it leaves a kernel
// bug nowhere to hide.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>

#include "codegen/cpu/kernels/shares.h"
#include "interp/interpreter.h"
#include "tests/support/compiled_model.h"
#include "tests/support/goldens.h"
#include "tests/support/step_runner.h"
#include "tests/support/tiny_model.h"

namespace forge::test {
namespace {

std::vector<int32_t> some_tokens(uint32_t n, uint32_t n_vocab) {
  std::vector<int32_t> tokens(n);
  for (uint32_t i = 0; i < n; ++i) tokens[i] = static_cast<int32_t>((i * 7919 + 13) % n_vocab);
  return tokens;
}

std::vector<CpuLevel> levels_here() {
  std::vector<CpuLevel> out;
  for (const CpuLevel& level : cpu_levels())
    if (missing_feature(level).empty()) out.push_back(level);
  return out;
}

// This machine's level, but with prompts in bf16 as those with a matrix unit have them: the loops that stand for it
// (kernels/bf16.h) add in its order. Where there is one, it is used.
CpuLevel bf16_level() {
  CpuLevel level = levels_here().back();
  level.kernel_level = "amx";
  return level;
}

CpuLevel level_without_bf16() {
  std::vector<CpuLevel> levels = levels_here();
  std::erase_if(levels, [](const CpuLevel& level) { return level.has_bf16_tiles(); });
  return levels.back();
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, std::string_view what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  size_t different = 0, first = 0;
  for (size_t i = a.size(); i-- > 0;)
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) {
      ++different;
      first = i;
    }
  EXPECT_EQ(different, 0U) << what << ": of " << a.size() << ", the first at " << first << ": " << a[first]
                           << " and " << b[first];
}

// All that must hold for one model at one level: the interpreter's bits, from one and from three workers, in
// cuts of one row, of a few (the decode phase) and of many (the batch phase), and beside neighbours. in_shares: it must have
// the prompt phase and room for two workers' shares.
void check_model(const Checkpoint& checkpoint, const CpuLevel& level, const std::string& what,
                 uint32_t ctx = 0, KvType kv = KvType::f16, const Schedules& schedules = {},
                 bool in_shares = false) {
  const LoadedModel compiled(checkpoint, level, ctx, kv, schedules);
  ASSERT_EQ(compiled.code().missing_cpu_feature(), nullptr);

  const uint32_t n_vocab = compiled.code().n_vocab;
  const bool has_shares = compiled.model().plan.phases.size() > 2;  // the prompt phase
  if (in_shares) {
    ASSERT_TRUE(has_shares) << what;
    ASSERT_GE(compiled.code().ctx_max, 2 * kernels::kShareRows + 5) << what;
  }
  const std::vector<int32_t> tokens = some_tokens(std::min(70U, compiled.code().ctx_max), n_vocab);
  const Interpreter interpreter(compiled.model().optimized, checkpoint);
  StepRunner oracle(interpreter.model_code(), nullptr, 1, 1);
  const std::vector<float> expected = oracle.prompt(tokens, 16);

  // Cuts of one row, of a few (the decode phase) and of many (the batch phase).
  for (const auto& [workers, cut] : {std::pair{1U, 1U}, {1U, 16U}, {2U, 3U}, {3U, 16U}}) {
    StepRunner runner(compiled.code(), compiled.weights(), workers, 2);
    expect_same_bits(runner.prompt(tokens, cut), expected,
                     what + ", " + std::to_string(workers) + " workers, cuts of " + std::to_string(cut));
  }

  for (const uint32_t workers : {1U, 2U}) {
    const uint32_t n = workers * kernels::kShareRows + 5;
    if (!has_shares || n > compiled.code().ctx_max) break;
    const std::vector<int32_t> prompt = some_tokens(n, n_vocab);
    const std::vector<float> last =
        StepRunner(interpreter.model_code(), nullptr, 1, 1).last_of_prompt(prompt, 64);
    StepRunner runner(compiled.code(), compiled.weights(), workers, 1);
    expect_same_bits(runner.last_of_prompt(prompt, n), last,
                     what + ", rows shared by " + std::to_string(workers));
  }

  // Wanted rows here and there, of prompts and of a generated row; before that, and in the end, none: a row gets the bits that it has where all
  // rows are wanted, or where none is left out.
  const auto rows = [&](const std::vector<float>& from, size_t begin, size_t n) {
    return std::vector<float>(from.begin() + static_cast<ptrdiff_t>(begin * n_vocab),
                              from.begin() + static_cast<ptrdiff_t>((begin + n) * n_vocab));
  };
  for (const uint32_t workers : {1U, 2U}) {
    // The third sequence is the first, with as many rows as workers' shares need.
    const uint32_t n_head = 20, n_long = has_shares ? workers * kernels::kShareRows + 3 : 40,
                   n_last = std::min(n_long, compiled.code().ctx_max);
    const std::vector<int32_t> head(tokens.begin(), tokens.begin() + n_head),
        all = some_tokens(n_last, n_vocab);
    StepRunner runner(compiled.code(), compiled.weights(), workers, 3),
        same(interpreter.model_code(), nullptr, 1, 3);
    const auto both = [&](const std::vector<SequenceRows>& batch, const std::vector<uint32_t>& wanted) {
      const std::vector<float> logits = runner.step_wanting(batch, wanted);
      expect_same_bits(logits, same.step_wanting(batch, wanted),
                       what + ", " + std::to_string(wanted.size()) + " wanted rows, " +
                           std::to_string(workers) + " workers");
      return logits;
    };
    both({{0, 0, head}, {1, 0, {head.begin(), head.begin() + 10}}}, {});
    const std::vector<float> some = both({{0, n_head, {tokens[n_head]}, rt::RowClass::generated},
                                          {1, 10, {head.begin() + 10, head.end()}},
                                          {2, 0, all}},
                                         {0, 2, 5, 10, 11, 14, 15, 10 + n_last});
    expect_same_bits(rows(some, 1, 1), rows(expected, 11, 1), what + ", the second row of a prompt's rest");
    expect_same_bits(rows(some, 4, 1), rows(expected, 0, 1), what + ", the first row of a prompt");
    both({{2, 0, all}}, {7});
    both({{2, 0, all}}, {0, n_last - 1});
    both({{2, 0, all}}, {});
  }

  // Two sequences in one batch; the second is the first, shorter. Generated rows beside prompt rows, then alone.
  StepRunner runner(compiled.code(), compiled.weights(), 2, 2), same(interpreter.model_code(), nullptr, 1, 2);
  const std::vector<int32_t> head(tokens.begin(), tokens.begin() + 9),
      half(tokens.begin(), tokens.begin() + 7);
  const std::vector<float> both = runner.step({{0, 0, head}, {1, 0, half}});
  expect_same_bits(rows(both, 0, 9), rows(expected, 0, 9), what + ", first of two sequences");
  expect_same_bits(rows(both, 9, 7), rows(expected, 0, 7), what + ", second of two sequences");
  expect_same_bits(same.step({{0, 0, head}, {1, 0, half}}), both, what + ", two sequences");
  const std::vector<std::vector<SequenceRows>> steps = {
      {{0, 9, {tokens[9]}, rt::RowClass::generated}, {1, 7, {tokens.begin() + 7, tokens.begin() + 15}}},
      {{0, 10, {tokens[10]}, rt::RowClass::generated}, {1, 15, {tokens[15]}, rt::RowClass::generated}},
      {{0, 11, {tokens[11]}, rt::RowClass::generated}, {1, 16, {tokens[16]}}},
  };
  for (const auto& step : steps) {
    const std::vector<float> mixed = runner.step(step);
    expect_same_bits(mixed, same.step(step), what + ", generated rows");
    if (step[1].tokens.size() > 1)
      expect_same_bits(rows(mixed, 1, 8), rows(expected, 7, 8), what + ", a prompt beside a generated row");
  }
}

void check_model(const TinyModel& tiny, const CpuLevel& level) {
  check_model(make_checkpoint(tiny), level,
              std::string(level.name) + " " + std::string(info(tiny.type("blk.0.attn_q.weight")).name));
}

// The matrices, or those of every second layer and the head, as Q8_0 where their columns are whole blocks.
Checkpoint quantized(Checkpoint checkpoint, bool half) {
  for (Tensor& t : checkpoint.tensors) {
    const bool chosen =
        t.name == "output.weight" || t.name.starts_with("blk.1.") || t.name.starts_with("blk.3.");
    if ((half && !chosen) || t.shape.size() != 2 || t.cols() % 32 != 0) continue;
    std::vector<float> values(static_cast<size_t>(t.rows() * t.cols()));
    info(t.type).decode(t.data.data(), values.data(), values.size());
    const auto encoded = std::make_shared<std::vector<uint8_t>>(row_bytes(DType::q8_0, values.size()));
    info(DType::q8_0).encode(values.data(), encoded->data(), values.size());
    t.type = DType::q8_0;
    t.data = *encoded;
    checkpoint.storage.push_back(encoded);
  }
  return checkpoint;
}

// Beyond what --tune tries: less ahead than a block's codes, more groups.
TEST(Compiled, SchedulesChangeNoBit) {
  TinyModel tiny;
  tiny.ctx = 512;
  tiny.type = [](const std::string& name) {
    return name.find("ffn_down") != std::string::npos ? DType::q6_k : DType::q4_0;
  };
  const Checkpoint checkpoint = make_checkpoint(tiny);
  const Schedules schedules = {{tiny.n_hidden, {64, 2}}, {tiny.n_ff, {16384, 24}}};
  for (const CpuLevel& level : {levels_here().back(), bf16_level()})
    check_model(checkpoint, level, std::string(level.kernel_level) + ", schedules", 0, KvType::f16, schedules,
                level.kernel_level == "amx");
}

// Architectures whose stages no other test has: layer_norm, gelu, positions and parts of tensors (gpt2), windows, caps and
// norms behind blocks (gemma2), norms of heads and two rotations (gemma3), norms of rows (olmo2), partial rotation with
// magnitude (phi4-mini), one norm for both blocks (stablelm-parallel), layers without rope (smollm3), scales (granite),
// biases at the gate (llama-bias). Compiling is what takes the time, so each at one level, and two with their cache in q8_0.
// Norms of heads, windows and two kinds of layers have a prompt's rows in bf16, too.
TEST(Compiled, Architectures) {
  std::vector<CpuLevel> levels = levels_here();
  levels.push_back(bf16_level());
  size_t i = 0;
  for (const char* name : {"gpt2", "gemma2", "gemma3", "olmo2", "phi4-mini", "stablelm-parallel", "smollm3",
                           "granite", "llama-bias"}) {
    const Checkpoint checkpoint = quantized(read_golden_gguf(name), true);
    const CpuLevel& level = levels[levels.size() - 1 - i++ % levels.size()];
    const bool q8 = name == std::string_view("gemma3") || name == std::string_view("phi4-mini");
    check_model(checkpoint, level, std::string(level.name) + " " + name, 64, q8 ? KvType::q8_0 : KvType::f16);
  }
  for (const char* name : {"gemma3", "olmo2", "llama-bias"}) {
    const Checkpoint checkpoint = quantized(read_golden_gguf(name), false);
    const bool q8 = name == std::string_view("gemma3");
    check_model(checkpoint, bf16_level(), std::string("bf16 ") + name, 512, q8 ? KvType::q8_0 : KvType::f16,
                {}, true);
  }
}

TEST(Compiled, EveryBlockTypeAtEveryLevel) {
  // One model holds all types, so that one compile a level covers them.
  const TinyModel tiny = test::every_type_model();
  std::vector<bool> seen(64, false);
  for (const Tensor& t : make_checkpoint(tiny).tensors) seen[static_cast<size_t>(t.type)] = true;
  for (const DTypeInfo& t : all_dtypes())
    EXPECT_TRUE(seen[static_cast<size_t>(t.type)] || t.type == DType::q8_k) << t.name;
  for (const CpuLevel& level : levels_here()) check_model(tiny, level);
  const CpuLevel level = bf16_level();
  check_model(make_checkpoint(tiny), level, "bf16 prompts");
}

// Behind 512 positions few rows are divided finer than by heads where these can't be dealt out evenly.
TEST(Compiled, DeepSteps) {
  TinyModel tiny;
  tiny.n_hidden = 96;
  tiny.n_heads = 6;
  tiny.n_kv_heads = 3;
  tiny.head_dim = 48;
  const Checkpoint checkpoint = make_checkpoint(tiny);
  const LoadedModel compiled(checkpoint, levels_here().back(), 600);
  const std::vector<int32_t> tokens = some_tokens(530, compiled.code().n_vocab);
  const Interpreter interpreter(compiled.model().optimized, checkpoint);
  const std::vector<float> expected = StepRunner(interpreter.model_code(), nullptr, 1, 1).prompt(tokens, 16);
  for (const auto& [workers, cut] : {std::pair{2U, 3U}, {4U, 1U}, {3U, 4U}}) {
    StepRunner runner(compiled.code(), compiled.weights(), workers, 1);
    expect_same_bits(runner.prompt(tokens, cut), expected,
                     std::to_string(workers) + " workers, cuts of " + std::to_string(cut));
  }
}

TEST(Compiled, OddShapes) {
  TinyModel odd = test::odd_model();
  odd.tied = false;
  odd.type = [](const std::string& name) { return name.starts_with("blk") ? DType::f32 : DType::f16; };
  check_model(odd, levels_here().back());

  // Multiples of 32 but not of 256, groups of three queries, head size 24, biases, rotary pairs half a head
  // apart.
  TinyModel qwen;
  qwen.architecture = "qwen2";
  qwen.n_hidden = 96;
  qwen.n_heads = 6;
  qwen.n_kv_heads = 2;
  qwen.head_dim = 32;
  qwen.n_ff = 160;
  qwen.n_vocab = 1001;
  qwen.qkv_bias = true;
  qwen.type = [](const std::string& name) {
    return name.find("attn") != std::string::npos ? DType::q5_0 : DType::q4_1;
  };
  check_model(qwen, levels_here().back());

  // Wide heads, rope factors as Llama 3 has them.
  TinyModel wide;
  wide.n_layers = 1;
  wide.n_heads = 3;
  wide.n_kv_heads = 1;
  wide.head_dim = 128;
  wide.n_hidden = 288;
  wide.n_ff = 320;
  wide.rope_factors = true;
  check_model(wide, levels_here().front());
}

TEST(Compiled, LongPromptsInWholeSteps) {
  // Steps of many rows: several blocks of attention, one wanted row among all, pages filled in one step.
  TinyModel tiny = test::small_model();
  tiny.ctx = 640;
  const Checkpoint checkpoint = make_checkpoint(tiny);
  for (const CpuLevel& level : {levels_here().back(), bf16_level()}) {
    const LoadedModel compiled(checkpoint, level);
    const uint32_t max_rows = compiled.code().max_rows;
    const std::vector<int32_t> tokens = some_tokens(max_rows + 45, tiny.n_vocab);
    const Interpreter interpreter(compiled.model().optimized, checkpoint);
    const std::vector<float> expected =
        StepRunner(interpreter.model_code(), nullptr, 1, 1).last_of_prompt(tokens, 256);
    for (const uint32_t cut : {4U, 17U, 100U, max_rows}) {
      StepRunner runner(compiled.code(), compiled.weights(), 2, 1);
      expect_same_bits(runner.last_of_prompt(tokens, cut), expected, "cuts of " + std::to_string(cut));
    }
  }
}

// Of a step of which not all rows are wanted.
size_t barriers_of_step(const Plan& plan, const Phase& phase) {
  const auto count = [](const std::vector<Stage>& stages) {
    return static_cast<size_t>(std::ranges::count_if(stages, [](const Stage& s) { return s.barrier; }));
  };
  const size_t of_moving = phase.wanted_from == 0 ? 0 : 2;
  return count(phase.prologue) + plan.layers.size() * count(phase.body) + of_moving + count(phase.epilogue);
}

// Two workers that share the rows of two prompts: a step has the second half of one and all of the other, and a worker's rows
// end somewhere in one of them. The log shows which phase it was: the workers met once a layer.
TEST(Compiled, WorkersShareTheRowsOfPrompts) {
  TinyModel tiny = test::small_model();
  tiny.ctx = 512;
  const Checkpoint checkpoint = make_checkpoint(tiny);
  const LoadedModel compiled(checkpoint, bf16_level());
  const rt::ModelCode& code = compiled.code();
  const Plan& plan = compiled.model().plan;
  ASSERT_EQ(plan.phases.size(), 3U);
  const std::vector<int32_t> tokens = some_tokens(300, tiny.n_vocab);
  const std::vector<int32_t> head(tokens.begin(), tokens.begin() + 120),
      tail(tokens.begin() + 120, tokens.end());
  const Interpreter interpreter(compiled.model().optimized, checkpoint);
  const auto run = [&](const rt::ModelCode& model, const uint8_t* weights, uint32_t n_workers,
                       rt::StageLog* logs) {
    StepRunner runner(model, weights, n_workers, 2);
    runner.step({{0, 0, head}});
    runner.stage_logs = logs;
    return runner.step({{0, 120, tail}, {1, 0, tokens}});
  };
  const std::vector<float> expected = run(interpreter.model_code(), nullptr, 1, nullptr);
  for (const uint32_t n_workers : {1U, 2U, 3U, 4U}) {
    std::vector<std::vector<rt::StageEvent>> events(n_workers,
                                                    std::vector<rt::StageEvent>(code.max_stage_events));
    std::vector<rt::StageLog> logs;
    logs.reserve(n_workers);
    for (auto& of_worker : events)
      logs.push_back({.next = of_worker.data(), .end = of_worker.data() + of_worker.size()});
    expect_same_bits(run(code, compiled.weights(), n_workers, logs.data()), expected,
                     std::to_string(n_workers) + " workers");
    const size_t n_waits = static_cast<size_t>(std::count_if(
        events[0].data(), logs[0].next, [](const rt::StageEvent& e) { return e.stage == rt::kWaiting; }));
    const bool is_shared = tail.size() + tokens.size() >= size_t{kernels::kShareRows} * n_workers;
    EXPECT_EQ(is_shared, n_workers < 4);
    EXPECT_EQ(n_waits, barriers_of_step(plan, plan.phases[is_shared ? 2 : 1]));
  }
}

// The logs of two workers that run one step of `rows`; its logits must be `expected` to the bit.
std::vector<std::vector<rt::StageEvent>> logged_step(const LoadedModel& compiled, const SequenceRows& rows,
                                                     size_t room, const std::vector<float>& expected,
                                                     uint64_t& n_lost) {
  std::vector<std::vector<rt::StageEvent>> events(2, std::vector<rt::StageEvent>(room));
  std::vector<rt::StageLog> logs(2);
  for (size_t w = 0; w < 2; ++w) logs[w] = {.next = events[w].data(), .end = events[w].data() + room};
  StepRunner runner(compiled.code(), compiled.weights(), 2, 1);
  runner.stage_logs = logs.data();
  expect_same_bits(runner.step({rows}), expected, "a logged step");
  n_lost = logs[0].n_lost + logs[1].n_lost;
  for (size_t w = 0; w < 2; ++w) events[w].resize(static_cast<size_t>(logs[w].next - events[w].data()));
  return events;
}

void check_stage_log(const std::vector<rt::StageEvent>& events, const LoadedModel& compiled, size_t phase) {
  const rt::ModelCode& code = compiled.code();
  const Plan& plan = compiled.model().plan;
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events[0].stage, rt::kOutsideStep);
  size_t n_waits = 0;
  uint64_t weight_bytes = 0;
  std::map<std::pair<std::string, std::string>, std::vector<int32_t>> layers_of;  // by kernel and output
  for (size_t i = 1; i < events.size(); ++i) {
    EXPECT_LE(events[i - 1].end, events[i].end) << i;
    n_waits += events[i].stage == rt::kWaiting;
    if (events[i].stage == rt::kWaiting) continue;
    ASSERT_LT(events[i].stage, code.n_stages);
    const rt::StageInfo& stage = code.stages[events[i].stage];
    layers_of[{stage.kernel, stage.output}].push_back(events[i].layer);
    weight_bytes += stage.weight_bytes + stage.weight_bytes_per_row;
  }
  EXPECT_EQ(n_waits, barriers_of_step(plan, plan.phases[phase]));
  if (phase == 0) EXPECT_EQ(weight_bytes, code.weight_bytes_per_token);
  for (const auto& [name, layers] : layers_of)
    EXPECT_TRUE(layers == std::vector<int32_t>({-1}) || layers == std::vector<int32_t>({0, 1, 2}))
        << name.first << " " << name.second;
  for (const char* kernel : {"embed", "norm", "linear", "rope_kv", "attention", "head"})
    EXPECT_TRUE(std::ranges::any_of(layers_of, [&](const auto& e) { return e.first.first == kernel; }))
        << kernel;
}

TEST(Compiled, EveryStageIsLoggedOnceALayerAndNoBitChanges) {
  // Two signatures, biases, a gated product of two types.
  TinyModel tiny;
  tiny.n_layers = 3;
  tiny.tied = false;
  tiny.qkv_bias = true;
  tiny.type = [](const std::string& name) {
    if (name.find("attn_v") != std::string::npos) return name[4] == '1' ? DType::q6_k : DType::q4_k;
    return name.find("ffn_up") != std::string::npos ? DType::q5_1 : DType::q4_0;
  };
  for (const CpuLevel& level : {level_without_bf16(), bf16_level()}) {
    SCOPED_TRACE(level.kernel_level);
    const LoadedModel compiled(make_checkpoint(tiny), level);
    const rt::ModelCode& code = compiled.code();
    const Plan& plan = compiled.model().plan;
    ASSERT_EQ(plan.signatures.size(), 2U);
    ASSERT_EQ(plan.phases.size(), level.has_bf16_tiles() ? 3U : 2U);
    size_t most = 0;
    for (size_t phase = 0; phase < plan.phases.size(); ++phase) {
      const uint32_t n_rows = std::array{1U, 40U, 2 * kernels::kShareRows}[phase];
      const SequenceRows rows{0, 0, some_tokens(n_rows, tiny.n_vocab),
                              phase == 0 ? rt::RowClass::generated : rt::RowClass::prompt};
      const std::vector<float> expected = StepRunner(code, compiled.weights(), 2, 1).step({rows});
      uint64_t n_lost = 0;
      const auto workers = logged_step(compiled, rows, code.max_stage_events, expected, n_lost);
      EXPECT_EQ(n_lost, 0U);
      for (const std::vector<rt::StageEvent>& events : workers) {
        most = std::max(most, events.size());
        check_stage_log(events, compiled, phase);
      }
      // A log that is too small counts what it leaves out.
      const auto cut = logged_step(compiled, rows, 3, expected, n_lost);
      EXPECT_EQ(cut[0].size() + cut[1].size() + n_lost, workers[0].size() + workers[1].size());
      EXPECT_EQ(cut[0].size(), 3U);
    }
    EXPECT_EQ(most, code.max_stage_events);
  }
}

TEST(Compiled, ValuesBeyondHalfPrecisionStayWithTheirRows) {
  TinyModel tiny = test::small_model();
  tiny.n_layers = 1;
  tiny.type = [](const std::string&) { return DType::f32; };
  Checkpoint checkpoint = make_checkpoint(tiny);
  // V weights so large that some values are beyond 65504, each row's in another place.
  for (Tensor& t : checkpoint.tensors) {
    if (t.name != "blk.0.attn_v.weight") continue;
    const auto grown = std::make_shared<std::vector<uint8_t>>(t.data.begin(), t.data.end());
    for (size_t i = 0; i < grown->size(); i += 4) {
      float v;
      std::memcpy(&v, grown->data() + i, 4);
      v *= 40000.0F;
      std::memcpy(grown->data() + i, &v, 4);
    }
    t.data = *grown;
    checkpoint.storage.push_back(grown);
  }
  const LoadedModel compiled(checkpoint, levels_here().back());
  const std::vector<int32_t> tokens = some_tokens(40, tiny.n_vocab);
  StepRunner one(compiled.code(), compiled.weights(), 1, 1), many(compiled.code(), compiled.weights(), 2, 1);
  const std::vector<float> alone = one.prompt(tokens, 1);
  expect_same_bits(many.prompt(tokens, 16), alone, "values beyond float16");
  for (float x : alone) ASSERT_TRUE(std::isfinite(x));
}

}  // namespace
}  // namespace forge::test
