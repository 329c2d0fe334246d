// The interpreter against transformers' float32 logits (tests/goldens/make_goldens.py), and what the optimized
// graph's quantized activations cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "interp/interpreter.h"
#include "models/architecture.h"
#include "models/huggingface.h"
#include "passes/passes.h"
#include "tests/support/goldens.h"
#include "tests/support/step_runner.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

constexpr const char* kModels = FORGE_SOURCE_DIR "/models/";

std::vector<int32_t> read_tokens(const std::string& name) {
  std::ifstream in(test::golden_path(name) + ".tokens.txt");
  EXPECT_TRUE(in.good()) << name << ".tokens.txt is missing";
  return {std::istream_iterator<int32_t>(in), {}};
}

std::vector<float> read_logits(const std::string& name) {
  std::ifstream in(test::golden_path(name) + ".logits.bin", std::ios::binary | std::ios::ate);
  EXPECT_TRUE(in.good()) << name << ".logits.bin is missing";
  if (!in.good()) return {};
  std::vector<float> out(static_cast<size_t>(in.tellg()) / sizeof(float));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size() * sizeof(float)));
  return out;
}

std::vector<float> logits_of(const Graph& g, const Checkpoint& checkpoint,
                             const std::vector<int32_t>& tokens) {
  const Interpreter interpreter(g, checkpoint);
  test::StepRunner runner(interpreter.model_code(), nullptr, 1, 1);
  return runner.prompt(tokens, 16);
}

float range(const std::vector<float>& x) {
  const auto [low, high] = std::ranges::minmax_element(x);
  return *high - *low;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const float d = std::fabs(a[i] - b[i]);
    worst = d <= worst ? worst : d;  // a NaN counts
  }
  return worst;
}

std::string safe_name(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

void expect_transformers_logits(const std::string& name, const Checkpoint& checkpoint, uint32_t ctx) {
  const std::vector<int32_t> tokens = read_tokens(name);
  const std::vector<float> expected = read_logits(name);
  ASSERT_GE(tokens.size(), 16U);
  const Graph g = build_graph(checkpoint, ctx);
  ASSERT_EQ(expected.size(), tokens.size() * g.n_vocab);
  const float spread = range(expected);
  EXPECT_GT(spread, 1.0F);
  const float worst = largest_difference(logits_of(g, checkpoint, tokens), expected);
  EXPECT_LT(worst, 1e-4F * spread);
  std::printf("%s: %.1e of the logits' range\n", checkpoint.path.c_str(),
              static_cast<double>(worst / spread));
}

// Each architecture through llama.cpp's conversion of a transformers model.
class Architectures : public testing::TestWithParam<test::GoldenModel> {};
INSTANTIATE_TEST_SUITE_P(, Architectures, testing::ValuesIn(test::kGoldenModels),
                         [](const auto& p) { return safe_name(p.param.name); });

TEST_P(Architectures, SourceGraphGivesTransformersLogits) {
  expect_transformers_logits(GetParam().name, test::read_golden_gguf(GetParam().name), GetParam().ctx);
}

TEST_P(Architectures, SoItDoesFromTheHuggingFaceDirectory) {
  const std::string name = GetParam().name;
  expect_transformers_logits(name, read_huggingface(test::golden_path("hf/" + name)), GetParam().ctx);
}

// The older cases of make_goldens.py and the bundled model.
class Goldens : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, Goldens,
                         testing::Values("llama-gqa-tied", "llama-mha-odd", "llama-rope3", "qwen2-tied",
                                         "qwen2-untied", "storyteller"),
                         [](const auto& p) { return safe_name(p.param); });

TEST_P(Goldens, SourceGraphGivesTransformersLogits) {
  const std::string name = GetParam();
  expect_transformers_logits(name,
                             read_gguf(name == "storyteller" ? std::string(kModels) + "storyteller-f16.gguf"
                                                             : test::golden_path(name) + ".gguf"),
                             0);
}

// A golden that agrees with anything proves nothing: each model without one of its quirks must be seen.
struct Quirk {
  const char* model;
  std::string_view name;
  Op op;
  void (*leave_out)(Node& n);
};
void drop_factors(Node& n) { n.segments.clear(); }
void other_style(Node& n) {
  n.attributes["style"] = std::string(n.string("style") == "norm" ? "neox" : "norm");
}
template <const char* name>
void drop(Node& n) {
  n.attributes.erase(name);
}
constexpr char kWindow[] = "window", kSoftcap[] = "softcap", kMagnitude[] = "magnitude", kRamp[] = "ramp_low";

TEST(GoldensAreSharp, WithoutAQuirkTheyDiffer) {
  const Quirk quirks[] = {
      {"llama", "rope factors", Op::rope, drop_factors},
      {"qwen2", "rope's pairs", Op::rope, other_style},
      {"llama-linear", "linear scaling", Op::rope, [](Node& n) { n.attributes["scale"] = 1.0; }},
      {"llama-yarn", "yarn's ramp", Op::rope,
       [](Node& n) { drop<kRamp>(n), n.attributes.erase("ramp_high"); }},
      {"llama-yarn", "yarn's magnitude", Op::rope, drop<kMagnitude>},
      {"llama-bias", "biases", Op::linear, [](Node& n) { n.segments[0].bias = kNoWeight; }},
      {"phi3", "window", Op::attention, drop<kWindow>},
      {"mistral", "window", Op::attention, drop<kWindow>},
      {"phi3-short", "short factors", Op::rope, drop_factors},
      {"phi4-mini", "partial rotation", Op::rope,
       [](Node& n) { n.attributes["n_rot"] = int64_t{10}, n.segments.clear(); }},
      {"gemma", "gelu", Op::gelu, [](Node& n) { n.op = Op::silu; }},
      {"gemma", "embedding scale", Op::scale, [](Node& n) { n.attributes["by"] = 1.0; }},
      {"gemma2", "capped scores", Op::attention, drop<kSoftcap>},
      {"gemma2", "capped logits", Op::softcap, [](Node& n) { n.attributes["cap"] = 1000.0; }},
      {"gemma2", "alternating windows", Op::attention, [](Node& n) { n.attributes["window"] = int64_t{6}; }},
      {"gemma3", "local rope", Op::rope, [](Node& n) { n.attributes["base"] = 1000000.0; }},
      {"gemma3", "scaling of global layers only", Op::rope, [](Node& n) { n.attributes["scale"] = 0.125; }},
      {"qwen3", "norms of heads", Op::rms_norm,
       [](Node& n) {
         if (n.has("n_heads")) n.attributes["eps"] = 100.0;
       }},
      {"stablelm", "the mean", Op::layer_norm,
       [](Node& n) { n.op = Op::rms_norm, n.segments[0].bias = kNoWeight; }},
      {"smollm3", "a layer without rope", Op::rope, [](Node& n) { n.attributes["n_rot"] = int64_t{8}; }},
      {"granite", "residual scale", Op::scale, [](Node& n) { n.attributes["by"] = 1.0; }},
      {"granite", "attention scale", Op::attention, [](Node& n) { n.attributes["scale"] = 0.35; }},
      {"gpt2", "positions", Op::embed,
       [](Node& n) {
         if (n.has("of")) n.attributes["scale"] = 0.5;
       }},
  };
  for (const Quirk& quirk : quirks) {
    const Checkpoint checkpoint = test::read_golden_gguf(quirk.model);
    const std::vector<float> expected = read_logits(quirk.model);
    Graph g = build_graph(checkpoint, std::string_view(quirk.model) == "phi4-mini" ? 64 : 0);
    for (auto* part : {&g.prologue, &g.body, &g.epilogue})
      for (Node& n : *part)
        if (n.op == quirk.op) quirk.leave_out(n);
    EXPECT_GT(largest_difference(logits_of(g, checkpoint, read_tokens(quirk.model)), expected),
              1e-3F * range(expected))
        << quirk.model << " without " << quirk.name;
  }
}

// With float weights only keys and values are rounded, to float16: 2^-11 of their size.
TEST(Optimized, AFloatModelLosesWhatTheCacheRounds) {
  for (const char* name : {"llama-gqa-tied", "llama-mha-odd", "qwen2-untied"}) {
    const Checkpoint checkpoint = read_gguf(test::golden_path(name) + ".gguf");
    const std::vector<int32_t> tokens = read_tokens(name);
    const Graph g = build_graph(checkpoint, 0);
    const std::vector<float> source = logits_of(g, checkpoint, tokens);
    const float difference = largest_difference(logits_of(optimize(g), checkpoint, tokens), source);
    EXPECT_LT(difference, 0x1p-10F * range(source)) << name;
    EXPECT_GT(difference, 0.0F) << name;
  }
}

struct Agreement {
  size_t positions = 0, decided = 0, agreed = 0;
  float worst = 0, tolerance = 0;
};

// Teacher-forced: of each position, whether both runs would choose the same token, where the float32 run's gap
// between first and second exceeds twice the tolerance.
//
// The tolerance comes from the rounding of activations to int8, whose error is d / sqrt(12) where d is a 127th
// of the largest of 32 values. That value is at most sqrt(32) times their root mean square, so a linear's
// result is off by 0.0129 of its size at most (0.005 for bell-shaped values; silu and the gated product double
// what they get, which the rest is for). The errors of the linears on the way are independent; five deviations
// of their sum.
Agreement compare_tokens(const Checkpoint& checkpoint, const std::vector<int32_t>& tokens) {
  const Graph g = build_graph(checkpoint, 0);
  const std::vector<float> exact = logits_of(g, checkpoint, tokens);
  const std::vector<float> rounded = logits_of(optimize(g), checkpoint, tokens);
  double sum = 0, squares = 0;
  for (const float l : exact) {
    sum += l;
    squares += double{l} * l;
  }
  const double n = static_cast<double>(exact.size());
  const double deviation = std::sqrt(squares / n - sum / n * (sum / n));
  Agreement a;
  a.worst = largest_difference(exact, rounded);
  a.tolerance = static_cast<float>(5 * 0.0129 * std::sqrt(7.0 * g.n_layers + 1) * deviation);
  for (size_t r = 0; r < tokens.size(); ++r) {
    const auto row = [&](const std::vector<float>& x) {
      return std::vector<float>(x.begin() + static_cast<ptrdiff_t>(r * g.n_vocab),
                                x.begin() + static_cast<ptrdiff_t>((r + 1) * g.n_vocab));
    };
    const auto best = [](const std::vector<float>& x) { return std::ranges::max_element(x) - x.begin(); };
    std::vector<float> ordered = row(exact);
    const ptrdiff_t expected = best(ordered);
    std::ranges::partial_sort(ordered, ordered.begin() + 2, std::ranges::greater{});
    ++a.positions;
    if (ordered[0] - ordered[1] <= 2 * a.tolerance) continue;
    ++a.decided;
    a.agreed += best(row(rounded)) == expected;
  }
  return a;
}

TEST(Optimized, ChoosesTheTokensOfTheFloatModel) {
  const Agreement story =
      compare_tokens(read_gguf(std::string(kModels) + "storyteller-q8_0.gguf"), read_tokens("storyteller"));
  test::TinyModel tiny;
  tiny.n_hidden = 256;
  tiny.n_vocab = 64;
  tiny.type = [](const std::string& name) {
    return name.find("down") != std::string::npos ? DType::q6_k : DType::q4_k;
  };
  std::vector<int32_t> tokens(60);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 37 % 64);
  const Agreement random = compare_tokens(make_checkpoint(tiny), tokens);
  for (const auto& [name, a] : {std::pair{"storyteller q8_0", story}, {"random q4_k", random}}) {
    std::printf("%s: %zu of %zu positions decided, %zu agree; largest difference %.3f, tolerance %.3f\n",
                name, a.decided, a.positions, a.agreed, static_cast<double>(a.worst),
                static_cast<double>(a.tolerance));
    EXPECT_EQ(a.agreed, a.decided) << name;
    EXPECT_LT(a.worst, a.tolerance) << name;
    EXPECT_GT(a.worst, 0.0F) << name;
    EXPECT_GE(a.decided * 8, a.positions) << name << ": too few positions decide";
  }
}

}  // namespace
}  // namespace forge
