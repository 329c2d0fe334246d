#include "cli/calibration.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "codegen/compile.h"
#include "interp/interpreter.h"
#include "runtime/core/tokenizer.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/step_runner.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

class Calibration : public testing::Test {
 protected:
  Calibration() {
    ::setenv("FORGE_HOME", FORGE_BUILD_DIR, 0);
    ::setenv("FORGE_CACHE_DIR", directory_.file("cache").c_str(), 1);
    std::ofstream(path_) << text_;
  }

  const std::string text_ = "It was the best of times, it was the worst of times, it was the age of wisdom.";
  TemporaryDirectory directory_;
  std::string path_ = directory_.file("text.txt");
};

// Mean squares of the source graph's values over the text, by the interpreter in float32: "layer.value".
std::map<std::string, std::vector<double>> reference(const Checkpoint& model, const std::string& text) {
  CompileOptions options;
  options.target = cpu_target("x86-64-v3");
  const CompiledModel compiled = compile_model(model, options, nullptr);
  const auto tokenizer = rt::Tokenizer::open(compiled.payload.tokenizer);
  std::vector<int32_t> tokens = tokenizer->encode(text);
  if (tokenizer->adds_bos()) tokens[0] = tokenizer->bos();

  std::map<std::string, std::vector<double>> means;
  const Interpreter interpreter(compiled.source, model);
  test::StepRunner runner(interpreter.model_code(), nullptr, 1, 1);
  runner.trace_context = &means;
  runner.trace = [](void* context, const char* name, int32_t layer, const float* data, uint32_t rows,
                    uint32_t cols, uint32_t stride) {
    auto& mean = (*static_cast<std::map<std::string, std::vector<double>>*>(
        context))[fmt::format("{}.{}", layer, name)];
    mean.assign(cols, 0);
    for (uint32_t r = 0; r < rows; ++r)
      for (uint32_t i = 0; i < cols; ++i)
        mean[i] += double{data[r * stride + i]} * double{data[r * stride + i]} / rows;
  };
  runner.step({{0, 0, tokens}}, 1);
  return means;
}

void expect_near(const Importances& importances, const std::string& tensor,
                 const std::vector<double>& expected) {
  const auto found = importances.find(tensor, expected.size());
  ASSERT_EQ(found.size(), expected.size()) << tensor;
  // The compiled model's attention holds float16, or bfloat16 on this machine's matrix unit: 2^-11 or 2^-8 of a value, twice that
  // of a square, some ten of which add up over two layers.
  const double unit = native_cpu_level().has_bf16_tiles() ? 0x1p-8 : 0x1p-11;
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(static_cast<double>(found[i]), expected[i], 20 * unit * expected[i] + 1e-5)
        << tensor << " column " << i;
}

TEST_F(Calibration, MeasuresTheSquaresOfTheInputsOfEveryMatrix) {
  test::TinyModel tiny;
  tiny.type = [](const std::string&) { return DType::f32; };
  const Checkpoint model = test::make_checkpoint(tiny);
  const Importances importances = calibrate(model, path_);
  const auto expected = reference(model, text_);
  for (const int layer : {0, 1}) {
    const std::string l = std::to_string(layer), block = "blk." + l + ".";
    for (const char* name : {"attn_q", "attn_k", "attn_v"})
      expect_near(importances, block + name + ".weight", expected.at(l + ".attn_norm"));
    expect_near(importances, block + "attn_output.weight", expected.at(l + ".attn"));
    for (const char* name : {"ffn_gate", "ffn_up"})
      expect_near(importances, block + name + ".weight", expected.at(l + ".ffn_norm"));
    expect_near(importances, block + "ffn_down.weight", expected.at(l + ".gated"));
  }
  EXPECT_EQ(importances.find("token_embd.weight", 256).size(), 256u);  // the head
  EXPECT_EQ(importances.of_tensor.size(), 15u);
}

// Its activations are those of the quantized weights, in floats: near those of the weights it was made of.
TEST_F(Calibration, RunsAQuantizedModelInFloats) {
  const Checkpoint model = test::make_checkpoint({});
  const Importances importances = calibrate(model, path_);
  const auto found = importances.find("blk.0.attn_q.weight", 256);
  const auto expected = reference(model, text_).at("0.attn_norm");
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(static_cast<double>(found[i]), expected[i], 0.01 * expected[i] + 1e-4) << i;
}

TEST_F(Calibration, NamesWhatIsWrong) {
  const Checkpoint model = test::make_checkpoint({});
  expect_error([&] { calibrate(model, directory_.file("none")); },
               {"--calibration-file ", "none: there is no such file"});
  std::ofstream(directory_.file("empty")).flush();
  expect_error([&] { calibrate(model, directory_.file("empty")); },
               {"--calibration-file: ", "empty: no text"});
}

}  // namespace
}  // namespace forge
