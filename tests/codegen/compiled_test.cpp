// Compiled programs against the interpreter's run of the optimized graph, for every type and odd shapes.
//
// The kernels and the interpreter add in the same order with the same rounding, so the comparison is exact:
// memcmp. That is stricter than the 1e-5 of the logits' range that correctness needs, and it leaves a kernel
// bug nowhere to hide.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>

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

std::vector<std::string_view> levels_here() {
  std::vector<std::string_view> out;
  for (const CpuLevel& level : cpu_levels())
    if (missing_feature(level).empty()) out.push_back(level.name);
  return out;
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
// cuts of one row, of a few (the decode phase) and of many (the batch phase), and beside neighbours.
void check_model(const Checkpoint& checkpoint, std::string_view level, const std::string& what,
                 uint32_t ctx = 0) {
  const LoadedModel compiled(checkpoint, level, ctx);
  ASSERT_EQ(compiled.code().missing_cpu_feature(), nullptr);

  const uint32_t n_vocab = compiled.code().n_vocab;
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

  // Two sequences in one batch; the second is the first, shorter. Generated rows beside prompt rows.
  StepRunner runner(compiled.code(), compiled.weights(), 2, 2);
  const std::vector<int32_t> head(tokens.begin(), tokens.begin() + 9),
      half(tokens.begin(), tokens.begin() + 7);
  const std::vector<float> both = runner.step({{0, 0, head}, {1, 0, half}});
  const auto rows = [&](const std::vector<float>& from, size_t begin, size_t n) {
    return std::vector<float>(from.begin() + static_cast<ptrdiff_t>(begin * n_vocab),
                              from.begin() + static_cast<ptrdiff_t>((begin + n) * n_vocab));
  };
  expect_same_bits(rows(both, 0, 9), rows(expected, 0, 9), what + ", first of two sequences");
  expect_same_bits(rows(both, 9, 7), rows(expected, 0, 7), what + ", second of two sequences");
  const std::vector<float> mixed = runner.step(
      {{0, 9, {tokens[9]}, rt::RowClass::generated}, {1, 7, {tokens.begin() + 7, tokens.begin() + 15}}});
  expect_same_bits(rows(mixed, 0, 1), rows(expected, 9, 1), what + ", a generated row beside a prompt");
  expect_same_bits(rows(mixed, 1, 8), rows(expected, 7, 8), what + ", a prompt beside a generated row");
}

void check_model(const TinyModel& tiny, std::string_view level) {
  check_model(make_checkpoint(tiny), level,
              std::string(level) + " " + std::string(info(tiny.type("blk.0.attn_q.weight")).name));
}

// The matrices of every second layer, and the head, as Q8_0 where their columns are whole blocks.
Checkpoint half_quantized(Checkpoint checkpoint) {
  for (Tensor& t : checkpoint.tensors) {
    const bool chosen =
        t.name == "output.weight" || t.name.starts_with("blk.1.") || t.name.starts_with("blk.3.");
    if (!chosen || t.shape.size() != 2 || t.cols() % 32 != 0) continue;
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

// Architectures whose stages no other test has: layer_norm, gelu, positions and parts of tensors (gpt2), windows, caps and
// norms behind blocks (gemma2), norms of heads and two rotations (gemma3), norms of rows (olmo2), partial rotation with
// magnitude (phi4-mini), one norm for both blocks (stablelm-parallel), layers without rope (smollm3), scales (granite),
// biases at the gate (llama-bias). Compiling is what takes the time, so each at one level.
TEST(Compiled, Architectures) {
  const std::vector<std::string_view> levels = levels_here();
  size_t i = 0;
  for (const char* name : {"gpt2", "gemma2", "gemma3", "olmo2", "phi4-mini", "stablelm-parallel", "smollm3",
                           "granite", "llama-bias"}) {
    const Checkpoint checkpoint = half_quantized(read_golden_gguf(name));
    const std::string_view level = levels[levels.size() - 1 - i++ % levels.size()];
    check_model(checkpoint, level, std::string(level) + " " + name, 64);
  }
}

TEST(Compiled, EveryBlockTypeAtEveryLevel) {
  // One model holds all types, so that one compile a level covers them.
  const TinyModel tiny = test::every_type_model();
  std::vector<bool> seen(64, false);
  for (const Tensor& t : make_checkpoint(tiny).tensors) seen[static_cast<size_t>(t.type)] = true;
  for (const DTypeInfo& t : all_dtypes())
    EXPECT_TRUE(seen[static_cast<size_t>(t.type)] || t.type == DType::q8_k) << t.name;
  for (std::string_view level : levels_here()) check_model(tiny, level);
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
  // Steps of many rows: several blocks of attention, one wanted row among 256, pages filled in one step.
  TinyModel tiny = test::small_model();
  tiny.ctx = 512;
  const Checkpoint checkpoint = make_checkpoint(tiny);
  const LoadedModel compiled(checkpoint, levels_here().back());
  const std::vector<int32_t> tokens = some_tokens(301, tiny.n_vocab);
  const Interpreter interpreter(compiled.model().optimized, checkpoint);
  const std::vector<float> expected =
      StepRunner(interpreter.model_code(), nullptr, 1, 1).last_of_prompt(tokens, 256);
  for (const uint32_t cut : {4U, 17U, 100U, 256U}) {
    StepRunner runner(compiled.code(), compiled.weights(), 2, 1);
    expect_same_bits(runner.last_of_prompt(tokens, cut), expected, "cuts of " + std::to_string(cut));
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
