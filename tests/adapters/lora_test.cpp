// Adapters: PEFT's form and GGUF's give one model, whose logits are PEFT's (tests/goldens/make_architecture_goldens.py).
#include "adapters/lora.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "interp/interpreter.h"
#include "models/architecture.h"
#include "models/huggingface.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/formats/safetensors_bytes.h"
#include "tests/support/step_runner.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

const std::string kGoldens = FORGE_SOURCE_DIR "/tests/goldens/";

std::vector<float> floats(const Tensor& t) {
  std::vector<float> out(static_cast<size_t>(t.rows() * t.cols()));
  info(t.type).decode(t.data.data(), out.data(), out.size());
  return out;
}

float range(const std::vector<float>& x) {
  const auto [low, high] = std::ranges::minmax_element(x);
  return *high - *low;
}

TEST(Golden, MergedModelHasPeftsLogits) {
  std::ifstream token_file(kGoldens + "lora.tokens.txt");
  const std::vector<int32_t> tokens{std::istream_iterator<int32_t>(token_file), {}};
  const std::vector<uint8_t> bytes = read_file(kGoldens + "lora.logits.bin");
  std::vector<float> expected(bytes.size() / sizeof(float));
  std::memcpy(expected.data(), bytes.data(), bytes.size());
  ASSERT_GE(tokens.size(), 16U);
  for (const char* form : {"lora", "lora.gguf"}) {
    Checkpoint model = read_huggingface(kGoldens + "hf/llama");
    const auto logits = [&] {
      const Graph graph = build_graph(model, 0);
      const Interpreter interpreter(graph, model);
      return test::StepRunner(interpreter.model_code(), nullptr, 1, 1).prompt(tokens, 16);
    };
    const std::vector<float> plain = logits();
    merge_adapter(model, read_adapter(kGoldens + form, model), 1, MergedType::f32, nullptr);
    const std::vector<float> merged = logits();
    ASSERT_EQ(merged.size(), expected.size());
    float worst = 0, change = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::fabs(merged[i] - expected[i]));
      change = std::max(change, std::fabs(plain[i] - expected[i]));
    }
    EXPECT_LT(worst, 1e-4F * range(expected)) << form;
    EXPECT_GT(change, 0.1F * range(expected)) << form;
  }
}

TEST(Golden, BothFormsAreOneAdapter) {
  Checkpoint a = read_huggingface(kGoldens + "hf/llama"), b = read_gguf(kGoldens + "llama.gguf");
  merge_adapter(a, read_adapter(kGoldens + "lora", a), 0.5, MergedType::own, nullptr);
  merge_adapter(b, read_adapter(kGoldens + "lora.gguf", b), 0.5, MergedType::own, nullptr);
  for (const Tensor& t : a.tensors) {
    if (t.name == "rope_freqs.weight") continue;  // computed on one side
    EXPECT_EQ(t.type, b.find(t.name)->type) << t.name;
    EXPECT_TRUE(std::ranges::equal(t.data, b.find(t.name)->data)) << t.name;
  }
}

// A base of two layers, 64 wide, 2 query heads and 1 key head of 32; and adapters made for it.
class Lora : public testing::Test {
 protected:
  static Checkpoint base(DType type = DType::f32) {
    return test::make_checkpoint({.n_hidden = 64,
                                  .n_heads = 2,
                                  .n_kv_heads = 1,
                                  .head_dim = 32,
                                  .n_ff = 96,
                                  .type = [type](const std::string&) { return type; }});
  }
  // Matrices that can be told apart.
  static FloatTensor matrix(const std::string& name, int64_t rows, int64_t cols) {
    FloatTensor t{name, {rows, cols}, {}};
    for (int64_t i = 0; i < rows * cols; ++i)
      t.values.push_back(0.01F * static_cast<float>((i * 7 + static_cast<int64_t>(name.size())) % 23 - 11));
    return t;
  }
  static std::vector<FloatTensor> pair(const std::string& module, int64_t rank, int64_t in, int64_t out) {
    const std::string name = "base_model.model.model.layers." + module;
    return {matrix(name + ".lora_A.weight", rank, in), matrix(name + ".lora_B.weight", out, rank)};
  }
  // Writes a PEFT directory; `more` goes over the configuration's r = 2, lora_alpha = 3.
  std::string write_peft(const std::vector<FloatTensor>& tensors, const Json& more = Json::object()) const {
    Json config = {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 3}};
    config.update(more);
    const std::string text = config.dump();
    write_file(directory_.file("adapter_config.json"),
               {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    write_file(directory_.file("adapter_model.safetensors"), safetensors_bytes(tensors));
    return directory_.path();
  }
  static double scale_of(const std::string& path) { return read_adapter(path, base()).updates.at(0).scale; }
  void refuse(const Json& more, std::initializer_list<std::string_view> parts) const {
    const std::string path = write_peft(pair("0.mlp.down_proj", 2, 96, 64), more);
    expect_error([&] { read_adapter(path, base()); }, parts);
  }

  const TemporaryDirectory directory_;
};

TEST_F(Lora, AddsTheScaledProduct) {
  const std::vector<FloatTensor> ab = pair("1.mlp.down_proj", 2, 96, 64);
  Checkpoint model = base();
  const std::vector<float> before = floats(*model.find("blk.1.ffn_down.weight"));
  const Adapter adapter = read_adapter(write_peft(ab), model);
  merge_adapter(model, adapter, -2, MergedType::own, nullptr);
  const std::vector<float> after = floats(*model.find("blk.1.ffn_down.weight"));
  for (size_t o = 0; o < 64; ++o)
    for (size_t i = 0; i < 96; ++i) {
      double product = 0;
      for (size_t r = 0; r < 2; ++r)
        product += double{ab[1].values[o * 2 + r]} * double{ab[0].values[r * 96 + i]};
      const double expected = before[o * 96 + i] - 2 * 3.0 / 2 * product;
      // Five roundings of values below 1.
      EXPECT_NEAR(after[o * 96 + i], expected, 5 * 0x1p-24);
    }
  EXPECT_EQ(*model.meta.strings(kAdaptersKey), std::vector<std::string>{adapter.sha256 + " -2"});
  EXPECT_EQ(floats(*model.find("blk.0.ffn_down.weight")), floats(*base().find("blk.0.ffn_down.weight")));
}

TEST_F(Lora, QueryRowsAreInterleaved) {
  const std::vector<FloatTensor> ab = pair("0.self_attn.q_proj", 1, 64, 64);
  const LoraUpdate update = read_adapter(write_peft(ab, {{"r", 1}}), base()).updates.at(0);
  EXPECT_EQ(update.tensor, "blk.0.attn_q.weight");
  for (size_t head : {0, 1})
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_EQ(update.b[head * 32 + 2 * i], ab[1].values[head * 32 + i]);
      EXPECT_EQ(update.b[head * 32 + 2 * i + 1], ab[1].values[head * 32 + 16 + i]);
    }
}

TEST_F(Lora, ScaleFollowsTheConfiguration) {
  const auto ab = pair("0.mlp.down_proj", 2, 96, 64);
  EXPECT_EQ(scale_of(write_peft(ab)), 1.5);
  EXPECT_EQ(scale_of(write_peft(ab, {{"use_rslora", true}})), 3 / std::sqrt(2.0));
  EXPECT_EQ(scale_of(write_peft(ab, {{"alpha_pattern", {{"down_proj", 8}}}})), 4.0);
  EXPECT_EQ(scale_of(write_peft(ab, {{"alpha_pattern", {{"own_proj", 8}, {"up_proj", 9}}}})), 1.5);
  EXPECT_EQ(scale_of(write_peft(ab, {{"alpha_pattern", {{R"(layers\.0\.mlp\.down_proj)", 8}}}})), 4.0);
  EXPECT_EQ(scale_of(write_peft(ab, {{"alpha_pattern", {{"^layers.0.mlp.down_proj", 8}}}})), 1.5);
  EXPECT_EQ(scale_of(write_peft(ab, {{"alpha_pattern", {{"^model.layers.0.mlp.down_proj$", 8}}}})), 4.0);
  EXPECT_EQ(scale_of(write_peft(ab, {{"r", 7}, {"rank_pattern", {{"down_proj", 2}}}})), 1.5);
}

TEST_F(Lora, QuantizedBaseIsQuantizedAgainAndItIsSaid) {
  const std::string path = write_peft(pair("0.mlp.down_proj", 2, 96, 64));
  Checkpoint model = base(DType::q8_0);
  Checkpoint wide = base(DType::q8_0);
  const Adapter adapter = read_adapter(path, model);
  std::vector<std::string> notes;
  merge_adapter(model, adapter, 1, MergedType::own, [&](std::string_view line) { notes.emplace_back(line); });
  merge_adapter(wide, adapter, 1, MergedType::f32, nullptr);
  const Tensor &own = *model.find("blk.0.ffn_down.weight"), &f32 = *wide.find("blk.0.ffn_down.weight");
  EXPECT_EQ(own.type, DType::q8_0);
  EXPECT_EQ(f32.type, DType::f32);
  std::vector<uint8_t> expected(own.data.size());
  info(DType::q8_0).encode(floats(f32).data(), expected.data(), 64 * 96);
  EXPECT_TRUE(std::ranges::equal(own.data, expected));
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("1 tensors of tiny.gguf were decoded from q8_0, merged and stored as q8_0"),
            std::string::npos)
      << notes[0];
}

TEST_F(Lora, TypesThatAreOnlyReadBecomeHalfFloats) {
  Checkpoint model = base();
  Tensor& t = *std::ranges::find(model.tensors, "blk.0.ffn_up.weight", &Tensor::name);
  const std::vector<uint8_t> blocks(row_bytes(DType::iq3_xxs, 96 * 256), 1);
  t.type = DType::iq3_xxs;
  t.shape = {96, 256};
  t.data = blocks;
  const Adapter adapter = read_adapter(write_peft(pair("0.mlp.up_proj", 2, 256, 96)), model);
  std::vector<std::string> notes;
  merge_adapter(model, adapter, 1, MergedType::own, [&](std::string_view line) { notes.emplace_back(line); });
  EXPECT_EQ(t.type, DType::f16);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("decoded from iq3_xxs, merged and stored as f16"), std::string::npos) << notes[0];
}

TEST_F(Lora, ScaleBeyondTheTypeIsRefused) {
  Checkpoint model = base();
  const Adapter adapter = read_adapter(write_peft(pair("0.mlp.down_proj", 2, 96, 64)), model);
  expect_error([&] { merge_adapter(model, adapter, 1e99, MergedType::own, nullptr); },
               {"1e+99 times the update of blk.0.ffn_down.weight is beyond what", "give a smaller scale"});
}

TEST_F(Lora, MismatchNamesTheTensorAndBothShapes) {
  Checkpoint model = base();
  const std::string wide = write_peft(pair("0.mlp.down_proj", 2, 95, 64));
  expect_error([&] { merge_adapter(model, read_adapter(wide, model), 1, MergedType::own, nullptr); },
               {"blk.0.ffn_down.weight is [64, 95], but the tensor of tiny.gguf is [64, 96]"});
  const std::string deep = write_peft(pair("2.mlp.down_proj", 2, 96, 64));
  expect_error([&] { merge_adapter(model, read_adapter(deep, model), 1, MergedType::own, nullptr); },
               {"the adapter changes blk.2.ffn_down.weight, which tiny.gguf does not have"});
}

TEST_F(Lora, RefusesOtherMethodsByName) {
  refuse({{"use_dora", true}}, {"use_dora is true", "DoRA"});
  refuse({{"peft_type", "IA3"}}, {"peft_type is \"IA3\", expected LORA"});
  refuse({{"bias", "all"}}, {"bias is \"all\""});
  refuse({{"modules_to_save", {"lm_head"}}}, {"modules_to_save"});
  refuse({{"init_lora_weights", "pissa_niter_16"}}, {"init_lora_weights"});
  refuse({{"alpha_pattern", {{".*_proj", 3}}}}, {"alpha_pattern", "another pattern"});
  refuse({{"alpha_pattern", {{"down_proj", "x"}}}}, {"\"down_proj\" is no number"});
  refuse({{"lora_alpha", nullptr}}, {"lora_alpha is missing"});
  refuse({{"r", 0}}, {"\"r\" is 0"});
  refuse({{"r", 3}}, {"lora_A [2, 96] and lora_B [64, 2], expected rank 3"});
}

TEST_F(Lora, RefusesTensorsItCantMerge) {
  const auto refuse_tensors = [&](const std::vector<FloatTensor>& tensors,
                                  std::initializer_list<std::string_view> parts) {
    const std::string path = write_peft(tensors);
    expect_error([&] { read_adapter(path, base()); }, parts);
  };
  std::vector<FloatTensor> ab = pair("0.mlp.down_proj", 2, 96, 64);
  refuse_tensors({ab[0]}, {"\"model.layers.0.mlp.down_proj\" has no lora_B.weight"});
  refuse_tensors({ab[1]}, {"has no lora_A.weight"});
  refuse_tensors({matrix("base_model.model.lm_head.weight", 2, 2)},
                 {"is no lora_A.weight and no lora_B.weight"});
  refuse_tensors(pair("0.mlp.side_proj", 2, 96, 64),
                 {"\"model.layers.0.mlp.side_proj\" has no place in the architecture 'llama'"});
  refuse_tensors({}, {"the adapter holds no tensors"});
  ab[0].shape = {192};
  refuse_tensors(ab, {"is F32 of [192], expected a matrix"});
  expect_error([&] { read_adapter(directory_.file("absent"), base()); },
               {"absent: there is no such file or directory"});
  std::filesystem::remove(directory_.file("adapter_config.json"));
  expect_error([&] { read_adapter(directory_.path(), base()); }, {"adapter_config.json: missing"});
}

TEST_F(Lora, GgufAdapters) {
  Checkpoint file;
  file.meta.set("general.architecture", {MetaType::string, MetaType::u32, std::string("llama")});
  file.meta.set("general.type", {MetaType::string, MetaType::u32, std::string("adapter")});
  file.meta.set("adapter.lora.alpha", {MetaType::f32, MetaType::u32, 3.0});
  const FloatTensor a = matrix("a", 2, 96), b = matrix("b", 64, 2);
  const auto add = [&](const std::string& name, const FloatTensor& t) {
    file.tensors.push_back(
        {name,
         DType::f32,
         t.shape,
         {reinterpret_cast<const uint8_t*>(t.values.data()), t.values.size() * sizeof(float)}});
  };
  add("blk.0.ffn_down.weight.lora_a", a);
  add("blk.0.ffn_down.weight.lora_b", b);
  const std::string path = directory_.file("a.gguf");
  const auto read = [&] {
    write_gguf(file, path);
    return read_adapter(path, base());
  };
  const Adapter adapter = read();
  EXPECT_EQ(adapter.updates.at(0).scale, 1.5);
  EXPECT_EQ(adapter.updates[0].a, a.values);
  EXPECT_EQ(adapter.updates[0].b, b.values);
  file.meta.set("adapter.lora.alpha", {MetaType::f32, MetaType::u32, 0.0});
  EXPECT_EQ(read().updates.at(0).scale, 1.0);
  file.tensors.pop_back();
  expect_error(read, {"\"blk.0.ffn_down.weight\" has no lora_b"});
  const FloatTensor wide = matrix("b", 64, 3);
  add("blk.0.ffn_down.weight.lora_b", wide);
  expect_error(read, {"lora_a [2, 96] and lora_b [64, 3], expected [rank, in] and [out, rank]"});
  file.tensors[1].name = "x";
  expect_error(read, {"tensor \"x\" is no lora_a and no lora_b"});
  file.meta.set("general.architecture", {MetaType::string, MetaType::u32, std::string("qwen2")});
  expect_error(read, {"for the architecture 'qwen2', but tiny.gguf is 'llama'"});
  file.meta.set("adapter.type", {MetaType::string, MetaType::u32, std::string("dora")});
  expect_error(read, {"an adapter of type \"dora\", expected lora"});
  file.meta.set("general.type", {MetaType::string, MetaType::u32, std::string("model")});
  expect_error(read, {"no adapter, expected a GGUF file whose general.type is adapter"});
}

TEST_F(Lora, TiedEmbeddingIsNotChanged) {
  Checkpoint model = base();
  Adapter adapter{.path = "a"};
  adapter.updates.push_back({.tensor = "token_embd.weight", .rank = 1, .n_in = 64, .n_out = 300});
  expect_error([&] { merge_adapter(model, adapter, 1, MergedType::own, nullptr); },
               {"the adapter changes token_embd.weight, which is the head of tiny.gguf as well"});
}

TEST(AdapterArgument, PathAndScale) {
  const auto parsed = [](std::string_view text) {
    const AdapterArgument argument = parse_adapter_argument(text);
    return std::pair(argument.path, argument.scale);
  };
  EXPECT_EQ(parsed("a/b"), std::pair(std::string("a/b"), 1.0));
  EXPECT_EQ(parsed("a/b:0.5"), std::pair(std::string("a/b"), 0.5));
  EXPECT_EQ(parsed("a:b:-2"), std::pair(std::string("a:b"), -2.0));
  for (const char* text : {"a:", "a:x", "a:nan", "a:inf", "a:1 "}) {
    try {
      parse_adapter_argument(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.status, 2);
      EXPECT_NE(std::string(e.what()).find("expected PATH or PATH:SCALE"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace forge
