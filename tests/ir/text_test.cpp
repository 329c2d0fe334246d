// The text form of a graph: printed, read back, and refused with the line's number.
#include <gtest/gtest.h>

#include <random>

#include "ir/graph.h"
#include "models/architecture.h"
#include "passes/passes.h"
#include "tests/core/expect_error.h"
#include "tests/ir/small_graph.h"
#include "tests/support/goldens.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

void expect_round_trip(const Graph& g) {
  const std::string text = print(g);
  const Graph back = parse_graph(text);
  EXPECT_EQ(print(back), text);
  EXPECT_EQ(back.weights.size(), g.weights.size());
  EXPECT_NO_THROW(verify(back, "parsing"));
}

TEST(GraphText, RoundTripOfSourceAndOptimizedGraphs) {
  test::TinyModel llama, untied, qwen, mixed;
  llama.rope_factors = true;
  untied.tied = false;
  untied.n_layers = 1;
  qwen.architecture = "qwen2";
  qwen.qkv_bias = true;
  mixed.n_layers = 3;
  mixed.type = [](const std::string& name) {
    if (name.find("attn_v") != std::string::npos) return name[4] == '1' ? DType::q6_k : DType::q4_k;
    return name.find("ffn_up") != std::string::npos ? DType::f16 : DType::q5_0;
  };
  for (const test::TinyModel& model : {llama, untied, qwen, mixed}) {
    const Graph source = build_graph(test::make_checkpoint(model), 0);
    expect_round_trip(source);
    expect_round_trip(optimize(source));
  }
}

// Lists of attributes by layer, parts of tensors and the other operations are in these.
TEST(GraphText, RoundTripOfEveryArchitecture) {
  for (const test::GoldenModel& model : test::kGoldenModels) {
    const Graph source = build_graph(test::read_golden_gguf(model.name), model.ctx);
    expect_round_trip(source);
    expect_round_trip(optimize(source));
  }
}

TEST(GraphText, ListsHaveOneKindOfNumber) {
  const auto with = [](std::string_view list) {
    std::string text(kSmallGraph);
    const size_t at = text.find("n_rot=");
    text.replace(at, text.find(' ', at) - at, "n_rot=" + std::string(list));
    return text;
  };
  const Graph g = parse_graph(with("[16,0]"));
  EXPECT_EQ(g.body[4].integer("n_rot", 0), 16);
  EXPECT_EQ(g.body[4].integer("n_rot", 1), 0);
  expect_error([&] { (void)g.body[4].integer("n_rot", 2); }, {"has no value for layer 2"});
  expect_error([&] { (void)parse_graph(with("[16,1.5]")); }, {"a list mixes whole numbers and reals"});
  expect_error([&] { (void)parse_graph(with("[16,x]")); }, {"'x' in a list is no number"});
  expect_error([&] { (void)parse_graph(with("[16,0")); }, {"a list has no closing bracket"});
  expect_error([&] { verify(parse_graph(with("[16,0,16]")), "the test"); },
               {"attribute n_rot has 3 values, expected one or 2"});
  expect_error([&] { verify(parse_graph(with("[16,8]")), "the test"); },
               {"n_rot must be the same in all layers"});
}

TEST(GraphText, SmallGraphPrintsAsItIsWritten) {
  const Graph g = parse_graph(kSmallGraph);
  EXPECT_EQ(print(g), kSmallGraph);
  EXPECT_NO_THROW(verify(g, "parsing"));
  EXPECT_EQ(g.n_layers, 2U);
  EXPECT_EQ(g.prologue.size(), 1U);
  EXPECT_EQ(g.body.size(), 15U);
  EXPECT_EQ(g.epilogue.size(), 3U);
}

TEST(GraphText, SpacingDoesNotMatter) {
  std::string loose;
  for (const char c : kSmallGraph) {
    if (c == ',' || c == '=' || c == '(' || c == ')') loose += " \t";
    loose += c;
    if (c == '\n') loose += "\r\n\n  ";
  }
  // In an attribute, a value goes up to the next space; "hidden=" is one word.
  for (const std::string_view word : {"hidden \t=%", "logits \t=%"}) {
    const size_t at = loose.find(word);
    ASSERT_NE(at, std::string::npos);
    loose.erase(at + 6, 2);
  }
  loose = edited(loose, "} yields", "}\t  yields");
  EXPECT_EQ(print(parse_graph(loose)), kSmallGraph);
}

TEST(GraphText, RealsAreToldFromIntegers) {
  const Graph g = parse_graph(edited(kSmallGraph, "scale=0.25", "scale=1e30"));
  EXPECT_EQ(g.body[6].number("scale"), 1e30);
  EXPECT_EQ(g.body[6].integer("n_heads"), 4);
  EXPECT_EQ(g.body[6].string("kv"), "f32");
  EXPECT_EQ(print(parse_graph(print(g))), print(g));
}

TEST(GraphText, ErrorsNameTheLine) {
  const auto refused = [](std::string_view from, std::string_view to,
                          std::initializer_list<std::string_view> parts) {
    SCOPED_TRACE(std::string(from) + " -> " + std::string(to));
    expect_error([&] { (void)parse_graph(edited(kSmallGraph, from, to)); }, parts);
  };
  refused("graph llama", "grape llama", {"line 1: expected 'graph' before 'grape llama {'"});
  refused("graph llama {", "graph llama", {"line 1: expected '{'"});
  refused("n_hidden=64", "n_hiden=64", {"line 2: unknown dimension 'n_hiden'"});
  refused("ctx_max=64", "ctx_max=x", {"line 2: expected a number before 'x"});
  refused("n_vocab=48", "n_vocab=99999999999", {"line 2: expected a number"});
  refused("n_vocab=48}", "n_vocab=48", {"line 2: expected a dimension"});
  refused("[48, 64] \"", "[48 64] \"", {"line 3: expected ','"});
  refused("token_embd.weight\"", "token_embd.weight", {"line 3", "no closing quote"});
  refused("weight\" : q8_0\n", "weight\" : q9_0\n", {"line 3: unknown type 'q9_0'"});
  refused("attn_norm.weight\" : f32*2", "attn_norm.weight\" : f32*70000", {"line 4: 70000 layers"});
  refused("weight @attn_v[%l]", "weight @attn_k[%l]", {"line 8: @attn_k is declared twice"});
  refused("input %tokens: i32[1]", "input %tokens: i33[1]", {"line 14: unknown element type 'i33'"});
  refused("input %tokens: i32[1]", "input %tokens: i32[1] twice", {"line 14: 'twice' is left over"});
  refused("repeat 2 as", "repeat 3 as", {"line 16: repeats 3 layers, but dims say 2"});
  refused("= %embedded) {", "= %embedding) {", {"line 16: %embedding is not defined"});
  refused("= %embedded) {", "= %embedded {", {"line 16: expected ')'"});
  refused("silu(%gate)", "relu(%gate)", {"line 28: unknown operation 'relu'"});
  refused("silu(%gate)", "silu(%gait)", {"line 28: %gait is not defined"});
  refused("silu(%gate)", "silu(%gate", {"line 28: expected ')'"});
  refused("linear(%gated) @ffn_down[%l]", "linear(%gated) @ffn_dawn[%l]",
          {"line 30: @ffn_dawn is not declared"});
  refused("linear(%gated) @ffn_down[%l]", "linear(%gated) @ffn_down[%l] then mul",
          {"line 30: unknown epilogue 'mul'"});
  refused("linear(%gated) @ffn_down[%l]", "linear(%gated) @ffn_down[%l] ; x",
          {"line 30: '; x' is left over"});
  refused("%up: f32[96] = ", "%gate: f32[96] = ", {"line 27: %gate is defined twice"});
  refused("@output_norm {eps=1e-05}", "@output_norm {eps=1e-05", {"line 34"});
  refused("logits=%logits\n}\n", "logits=%logits\n", {"line 36: the closing '}' is missing"});
  refused("logits=%logits\n}\n", "logits=%logits\n}\n}\n", {"line 38: '}' follows the graph"});
  expect_error([] { (void)parse_graph(" \n\t\n"); }, {"the text is empty"});
}

// Cut anywhere, or with bytes changed: an Error, or a graph that the verifier takes or refuses; and what is
// taken prints to something that reads back.
TEST(GraphText, SurvivesAnyText) {
  const std::string optimized = print(optimize(parse_graph(kSmallGraph)));
  std::mt19937 random(5);
  size_t read = 0, verified = 0, refused = 0;
  const auto attempt = [&](const std::string& text) {
    try {
      const Graph g = parse_graph(text);
      ++read;
      verify(g, "parsing");
      ++verified;
      const std::string printed = print(g);
      EXPECT_EQ(print(parse_graph(printed)), printed);
    } catch (const Error& e) {
      ++refused;
      EXPECT_EQ(std::string_view(e.what()).find('\n'), std::string_view::npos);
    }
  };
  for (const std::string& text : {std::string(kSmallGraph), optimized}) {
    for (size_t n = 0; n < text.size(); ++n) attempt(text.substr(0, n));
    for (int round = 0; round < 4000; ++round) {
      std::string changed = text;
      for (uint32_t n = 1 + random() % 3; n > 0; --n) {
        const size_t at = random() % changed.size();
        switch (random() % 4) {
          case 0: changed[at] = static_cast<char>(random()); break;
          case 1: changed.erase(at, 1 + random() % 8); break;
          case 2: changed.insert(at, text.substr(random() % text.size(), random() % 12)); break;
          default: std::swap(changed[at], changed[random() % changed.size()]); break;
        }
        if (changed.empty()) changed = " ";
      }
      attempt(changed);
    }
  }
  // The loop reached all three ends.
  EXPECT_GT(refused, 1000U);
  EXPECT_GT(read, 100U);
  EXPECT_GT(verified, 100U);
}

}  // namespace
}  // namespace forge
