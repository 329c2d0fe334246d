// Each pass alone: the text before and after; that a second run changes nothing; that what it computes stays.
#include "passes/passes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "interp/interpreter.h"
#include "models/architecture.h"
#include "tests/ir/small_graph.h"
#include "tests/support/goldens.h"
#include "tests/support/step_runner.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

using PassFunction = void (*)(Graph&);

// The text after the pass; checked by the verifier, and that the pass leaves its own result alone.
std::string after(PassFunction pass, std::string_view text) {
  Graph g = parse_graph(text);
  verify(g, "parsing");
  pass(g);
  verify(g, "the pass");
  std::string once = print(g);
  pass(g);
  EXPECT_EQ(print(g), once) << "a second run changed it";
  return once;
}

void expect_unchanged(PassFunction pass, std::string_view text) { EXPECT_EQ(after(pass, text), text); }

constexpr std::string_view kQkv = R"(    %q: f32[64] = linear(%attn_norm) @attn_q[%l] + @attn_q_bias[%l]
    %k: f32[32] = linear(%attn_norm) @attn_k[%l]
    %v: f32[32] = linear(%attn_norm) @attn_v[%l]
)";
constexpr std::string_view kQkvJoined =
    "    %q: f32[64], %k: f32[32], %v: f32[32] = linear(%attn_norm) @attn_q[%l] + @attn_q_bias[%l], "
    "@attn_k[%l], @attn_v[%l]\n";
constexpr std::string_view kGateUp = R"(    %gate: f32[96] = linear(%attn_residual) @ffn_gate[%l]
    %up: f32[96] = linear(%attn_residual) @ffn_up[%l]
)";
constexpr std::string_view kGateUpJoined =
    "    %gate: f32[96], %up: f32[96] = linear(%attn_residual) @ffn_gate[%l], @ffn_up[%l]\n";
constexpr std::string_view kGated = R"(    %gate_silu: f32[96] = silu(%gate)
    %gated: f32[96] = mul(%gate_silu, %up)
)";

std::string joined() { return edited(edited(kSmallGraph, kQkv, kQkvJoined), kGateUp, kGateUpJoined); }

TEST(JoinLinears, OfOneInput) {
  EXPECT_EQ(after(join_linears, kSmallGraph), joined());
  expect_unchanged(join_linears, joined());
}

TEST(JoinLinears, NotOverWhatStandsBetween) {
  const std::string apart = edited(joined(), kGateUpJoined,
                                   "    %gate: f32[96] = linear(%attn_residual) @ffn_gate[%l]\n"
                                   "    %between: f32[64] = silu(%attn_residual)\n"
                                   "    %up: f32[96] = linear(%attn_residual) @ffn_up[%l]\n");
  expect_unchanged(join_linears, apart);
  const std::string fused =
      edited(joined(), kGateUpJoined,
             "    %other: f32[64] = linear(%attn, %x) @attn_output[%l] then add\n"
             "    %gate: f32[96], %up: f32[96] = linear(%attn_residual) @ffn_gate[%l], @ffn_up[%l]\n");
  expect_unchanged(join_linears, fused);
}

TEST(FuseGate, SiluOfTheFirstTimesTheSecond) {
  const std::string expected =
      edited(edited(joined(), kGated, ""), kGateUpJoined,
             "    %gated: f32[96] = linear(%attn_residual) @ffn_gate[%l], @ffn_up[%l] then silu_mul\n");
  EXPECT_EQ(after(fuse_activation, joined()), expected);
  EXPECT_EQ(after(fuse_activation, edited(joined(), "mul(%gate_silu, %up)", "mul(%up, %gate_silu)")),
            expected);
}

TEST(FuseGate, OnlyWhereNobodyElseReadsAndTheKernelFits) {
  expect_unchanged(fuse_activation, kSmallGraph);  // not joined
  const auto with = [](std::string_view from, std::string_view to) { return edited(joined(), from, to); };
  expect_unchanged(fuse_activation, with("mul(%gate_silu, %up)", "mul(%gate_silu, %gate)"));
  expect_unchanged(fuse_activation, with("mul(%gate_silu, %up)", "mul(%gate_silu, %gate_silu)"));
  expect_unchanged(fuse_activation, with("mul(%gate_silu, %up)", "add(%gate_silu, %up)"));
  expect_unchanged(fuse_activation, with("silu(%gate)", "silu(%up)"));
  expect_unchanged(fuse_activation,
                   with(kGated, std::string(kGated) + "    %again: f32[96] = add(%up, %gated)\n"));
  const std::string biased =
      edited(with("@ffn_gate[%l], @ffn_up[%l]", "@ffn_gate[%l] + @gate_bias[%l], @ffn_up[%l]"),
             "  weight @output_norm ",
             "  weight @gate_bias[%l] [1, 96] \"blk.%l.ffn_gate.bias\" : f32*2\n  weight @output_norm ");
  expect_unchanged(fuse_activation, biased);
}

std::string ops_of(const std::vector<Node>& nodes) {
  std::string out;
  for (const Node& n : nodes) out += std::string(op_name(n.op)) + " ";
  return out;
}

TEST(FoldScales, IntoWhatTheyScale) {
  Graph granite = build_graph(test::read_golden_gguf("granite"), 0);
  EXPECT_EQ(ops_of(granite.prologue), "embed scale ");
  EXPECT_EQ(ops_of(granite.epilogue), "select_rows rms_norm linear scale ");
  fold_scales(granite);
  EXPECT_EQ(ops_of(granite.prologue), "embed ");
  EXPECT_EQ(granite.prologue[0].number("scale"), 12.0);
  EXPECT_EQ(granite.epilogue.back().number("scale"), 0.5);
  EXPECT_EQ(granite.epilogue.back().outputs[0], granite.logits);
  EXPECT_EQ(ops_of(granite.body).find("scale"), std::string::npos);

  Graph gemma2 = build_graph(test::read_golden_gguf("gemma2"), 0);
  fold_scales(gemma2);
  EXPECT_EQ(gemma2.epilogue.back().number("softcap"), 4.0);
  // Scaled behind a cap is something else than capped behind a scale.
  Graph twice = build_graph(test::read_golden_gguf("gemma2"), 0);
  Node scale;
  scale.op = Op::scale;
  scale.attributes["by"] = 2.0;
  scale.inputs = {twice.logits};
  twice.logits = twice.add_value("scaled", ElementType::f32, twice.n_vocab, RowSet::wanted);
  scale.outputs = {twice.logits};
  twice.epilogue.push_back(scale);
  fold_scales(twice);
  EXPECT_EQ(ops_of(twice.epilogue), "select_rows rms_norm linear scale ");
}

TEST(FuseActivation, GeluWithAndWithoutAGate) {
  Graph gpt2 = build_graph(test::read_golden_gguf("gpt2"), 0);
  fuse_activation(gpt2);
  EXPECT_EQ(ops_of(gpt2.body).find("gelu"), std::string::npos);
  EXPECT_TRUE(std::ranges::any_of(gpt2.body, [](const Node& n) { return n.epilogue == Epilogue::gelu; }));
  Graph gemma = build_graph(test::read_golden_gguf("gemma"), 0);
  join_linears(gemma);
  fuse_activation(gemma);
  EXPECT_TRUE(
      std::ranges::any_of(gemma.body, [](const Node& n) { return n.epilogue == Epilogue::gelu_mul; }));
}

TEST(FuseRopeKv, WithoutRopeTheCacheIsStillWritten) {
  Graph g = build_graph(test::read_golden_gguf("gpt2"), 0);
  fuse_rope_kv(g);
  const auto it = std::ranges::find(g.body, Op::rope_kv, &Node::op);
  ASSERT_NE(it, g.body.end());
  EXPECT_EQ(it->integer("n_rot"), 0);
  EXPECT_EQ((it + 1)->op, Op::attention);
  EXPECT_EQ((it + 1)->inputs, it->outputs);
}

TEST(FuseResidual, EitherSideOfTheSum) {
  const std::string expected =
      edited(edited(kSmallGraph,
                    R"(    %attn_out: f32[64] = linear(%attn) @attn_output[%l]
    %attn_residual: f32[64] = add(%attn_out, %x)
)",
                    R"(    %attn_residual: f32[64] = linear(%attn, %x) @attn_output[%l] then add
)"),
             R"(    %ffn_out: f32[64] = linear(%gated) @ffn_down[%l]
    %ffn_residual: f32[64] = add(%ffn_out, %attn_residual)
)",
             R"(    %ffn_residual: f32[64] = linear(%gated, %attn_residual) @ffn_down[%l] then add
)");
  EXPECT_EQ(after(fuse_residual, kSmallGraph), expected);
  EXPECT_EQ(after(fuse_residual, edited(kSmallGraph, "add(%attn_out, %x)", "add(%x, %attn_out)")), expected);
}

TEST(FuseResidual, OnlyRightBehindAndReadOnce) {
  Graph g = parse_graph(edited(kSmallGraph, "add(%attn_out, %x)", "add(%attn_out, %attn_out)"));
  fuse_residual(g);
  EXPECT_NE(print(g).find("add(%attn_out, %attn_out)"), std::string::npos);
  g = parse_graph(edited(kSmallGraph, "    %attn_residual: f32[64] = add(%attn_out, %x)\n",
                         "    %late: f32[64] = silu(%x)\n"
                         "    %attn_residual: f32[64] = add(%attn_out, %late)\n"));
  fuse_residual(g);
  verify(g, "fuse_residual");
  EXPECT_NE(print(g).find("add(%attn_out, %late)"), std::string::npos);
}

constexpr std::string_view kRopes =
    R"(    %q_rope: f32[64] = rope(%q) {base=10000.0 head_dim=16 n_heads=4 n_rot=16 scale=1.0 style=norm}
    %k_rope: f32[32] = rope(%k) {base=10000.0 head_dim=16 n_heads=2 n_rot=16 scale=1.0 style=norm}
    %attn: f32[64] = attention(%q_rope, %k_rope, %v) {head_dim=16 kv=f32 n_heads=4 n_kv_heads=2 scale=0.25}
)";

TEST(FuseRopeKv, RotatesIntoTheCache) {
  EXPECT_EQ(
      after(fuse_rope_kv, kSmallGraph),
      edited(
          kSmallGraph, kRopes,
          R"(    %q_rope: f32[64] = rope_kv(%q, %k, %v) {base=10000.0 head_dim=16 kv=f16 n_heads=4 n_kv_heads=2 n_rot=16 scale=1.0 style=norm}
    %attn: f32[64] = attention(%q_rope) {head_dim=16 kv=f16 n_heads=4 n_kv_heads=2 scale=0.25}
)"));
}

TEST(FuseRopeKv, OnlyWhereBothTurnAlike) {
  const std::string_view k = "rope(%k) {base=10000.0 head_dim=16 n_heads=2 n_rot=16 scale=1.0 style=norm}";
  for (const auto& [from, to] : {std::pair{"base=10000.0", "base=500000.0"},
                                 {"n_rot=16", "n_rot=8"},
                                 {"scale=1.0", "scale=0.5"},
                                 {"style=norm", "style=neox"}})
    expect_unchanged(fuse_rope_kv, edited(kSmallGraph, k, edited(k, from, to)));
  const std::string factors =
      edited(kSmallGraph, "  weight @output_norm ",
             "  weight @rope_freqs [1, 8] \"rope_freqs.weight\" : f32\n  weight @output_norm ");
  expect_unchanged(fuse_rope_kv, edited(factors, "rope(%k)", "rope(%k) @rope_freqs"));
  // A rotated query that is read elsewhere stays.
  expect_unchanged(fuse_rope_kv, edited(kSmallGraph, "add(%attn_out, %x)", "add(%attn_out, %q_rope)"));
}

TEST(QuantizeActivations, BlockTypesGetQ8AndFloatsDoNot) {
  std::string expected = edited(kSmallGraph, kQkv,
                                R"(    %attn_norm_q8: q8[64] = quantize(%attn_norm)
    %q: f32[64] = linear(%attn_norm_q8) @attn_q[%l] + @attn_q_bias[%l]
    %k: f32[32] = linear(%attn_norm_q8) @attn_k[%l]
    %v: f32[32] = linear(%attn_norm_q8) @attn_v[%l]
)");
  expected = edited(expected, kGateUp,
                    R"(    %attn_residual_q8: q8[64] = quantize(%attn_residual)
    %gate: f32[96] = linear(%attn_residual_q8) @ffn_gate[%l]
    %up: f32[96] = linear(%attn_residual_q8) @ffn_up[%l]
)");
  expected = edited(expected, "    %ffn_out: f32[64] = linear(%gated) @ffn_down[%l]\n",
                    R"(    %gated_q8: q8[96] = quantize(%gated)
    %ffn_out: f32[64] = linear(%gated_q8) @ffn_down[%l]
)");
  expected = edited(expected, "  %logits: f32[wanted, 48] = linear(%hidden) @token_embd\n",
                    R"(  %hidden_q8: q8[wanted, 64] = quantize(%hidden)
  %logits: f32[wanted, 48] = linear(%hidden_q8) @token_embd
)");
  EXPECT_EQ(after(quantize_activations, kSmallGraph), expected);
}

TEST(QuantizeActivations, MixedTypesGetBothForms) {
  // Float in one layer, blocks in the other; and segments of both kinds in one linear.
  const std::string text = after(quantize_activations,
                                 edited(joined(), "attn_k.weight\" : q8_0*2", "attn_k.weight\" : q8_0 bf16"));
  EXPECT_NE(text.find("= linear(%attn_norm, %attn_norm_q8) @attn_q[%l] + @attn_q_bias[%l], @attn_k[%l], "),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("linear(%attn_residual_q8) @ffn_gate[%l]"), std::string::npos);
}

TEST(QuantizeActivations, AFloatModelIsLeftAlone) {
  std::string text(kSmallGraph);
  for (const std::string_view type : {"q8_0", "q4_0"})
    for (size_t at = text.find(type); at != std::string::npos; at = text.find(type, at))
      text.replace(at, 4, "bf16");
  expect_unchanged(quantize_activations, print(parse_graph(text)));
}

TEST(FuseNormQuantize, OneFormOrBoth) {
  const std::string before = after(quantize_activations, kSmallGraph);
  std::string expected = edited(before,
                                R"(    %attn_norm: f32[64] = rms_norm(%x) @attn_norm[%l] {eps=1e-05}
    %attn_norm_q8: q8[64] = quantize(%attn_norm)
)",
                                R"(    %attn_norm_q8: q8[64] = rms_norm(%x) @attn_norm[%l] {eps=1e-05}
)");
  // The hidden state is an output too.
  expected = edited(
      expected,
      R"(  %hidden: f32[wanted, 64] = rms_norm(%wanted) @output_norm {eps=1e-05}
  %hidden_q8: q8[wanted, 64] = quantize(%hidden)
)",
      R"(  %hidden: f32[wanted, 64], %hidden_q8: q8[wanted, 64] = rms_norm(%wanted) @output_norm {eps=1e-05}
)");
  EXPECT_EQ(after(fuse_norm_quantize, before), expected);
  expect_unchanged(fuse_norm_quantize, kSmallGraph);
}

TEST(DropDead, WhatNobodyReads) {
  const std::string dead =
      edited(kSmallGraph,
             "    %attn_out:", "    %a: f32[64] = silu(%attn)\n    %b: f32[64] = silu(%a)\n    %attn_out:");
  EXPECT_EQ(after(drop_dead, dead), kSmallGraph);
  expect_unchanged(drop_dead, kSmallGraph);
  // Keys and values are written for later steps, also where this one does not look at them.
  Graph g = parse_graph(after(fuse_rope_kv, kSmallGraph));
  for (Node& n : g.body)
    if (n.op == Op::linear && g.values[n.outputs[0]].name == "attn_out") n.inputs[0] = g.body_input;
  drop_dead(g);
  EXPECT_EQ(print(g).find("attention("), std::string::npos);
  EXPECT_NE(print(g).find("rope_kv("), std::string::npos);
}

TEST(Passes, EachIsIdempotentInItsPlace) {
  Graph g = parse_graph(kSmallGraph);
  for (const Pass& pass : all_passes()) {
    g = parse_graph(after(pass.run, print(g)));
  }
  EXPECT_EQ(print(g), print(optimize(parse_graph(kSmallGraph))));
  EXPECT_EQ(print(optimize(g)), print(g)) << "the optimized graph is a fixed point";
}

TEST(Bf16Prompts, LinearsOfBlocksAndAttentionHaveIt) {
  const std::string before = print(optimize(parse_graph(kSmallGraph)));
  std::string expected =
      edited(before, "%attn_norm_q8: q8[64] = ", "%attn_norm_q8: q8[64], %attn_norm_bf16: bf16[64] = ");
  expected = edited(expected, "linear(%attn_norm_q8)", "linear(%attn_norm_q8, %attn_norm_bf16)");
  expected =
      edited(expected,
             "%attn_residual_q8: q8[64] = ", "%attn_residual_q8: q8[64], %attn_residual_bf16: bf16[64] = ");
  expected = edited(expected, "linear(%attn_residual_q8)", "linear(%attn_residual_q8, %attn_residual_bf16)");
  // What multiplies in bf16 finishes prompts' rows apart, so it rounds them, too.
  expected = edited(expected, "%gated: f32[96] = ", "%gated: f32[96], %gated_bf16: bf16[96] = ");
  expected = edited(expected, "quantize(%gated)", "quantize(%gated) {rows=generated}");
  expected = edited(expected, "linear(%gated_q8, ", "linear(%gated_q8, %gated_bf16, ");
  expected =
      edited(expected, "n_heads=4 n_kv_heads=2 scale=0.25", "n_heads=4 n_kv_heads=2 prompts=bf16 scale=0.25");
  EXPECT_EQ(after(bf16_prompts, before), expected);  // the head and the linear of f16 stay as they are
  EXPECT_EQ(after(bf16_prompts, expected), expected);
}

TEST(Bf16Prompts, WhatAFloatWeightTakesAsWellStays) {
  const std::string text = print(
      optimize(parse_graph(edited(kSmallGraph, "ffn_up.weight\" : q8_0*2", "ffn_up.weight\" : q8_0 f16")),
               KvType::f16, PromptType::bf16));
  EXPECT_NE(text.find("linear(%attn_residual, %attn_residual_q8) @ffn_gate"), std::string::npos) << text;
}

// --- what is computed

std::vector<float> logits(const Graph& g, const Checkpoint& checkpoint) {
  const Interpreter interpreter(g, checkpoint);
  test::StepRunner runner(interpreter.model_code(), nullptr, 1, 1);
  std::vector<int32_t> tokens(20);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((i * 31 + 5) % g.n_vocab);
  return runner.prompt(tokens, 16);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

test::TinyModel small_model(DType type) {
  test::TinyModel m;
  m.n_hidden = 64;
  m.head_dim = 16;
  m.n_ff = 96;
  m.n_vocab = 90;
  m.qkv_bias = true;
  m.type = [type](const std::string&) { return type; };
  return m;
}

TEST(Passes, ThatOnlyRearrangeKeepEveryBit) {
  for (const DType type : {DType::f32, DType::q5_1}) {
    const Checkpoint checkpoint = make_checkpoint(small_model(type));
    Graph g = build_graph(checkpoint, 0);
    const std::vector<float> expected = logits(g, checkpoint);
    for (const PassFunction pass : {join_linears, fuse_activation, fuse_residual, drop_dead}) {
      const std::string before = print(g);
      pass(g);
      EXPECT_EQ(print(g) == before, pass == drop_dead);
      EXPECT_TRUE(same_bits(logits(g, checkpoint), expected));
    }
    // The cache rounds to float16; with a source graph that does so as well, this too keeps every bit.
    const std::vector<float> plain = logits(g, checkpoint);
    for (Node& n : g.body)
      if (n.op == Op::attention) n.attributes["kv"] = std::string("f16");
    const std::vector<float> rounded = logits(g, checkpoint);
    EXPECT_FALSE(same_bits(rounded, plain));
    fuse_rope_kv(g);
    EXPECT_TRUE(same_bits(logits(g, checkpoint), rounded));
  }
}

TEST(Passes, ThatOnlyRearrangeKeepEveryBitOfEveryArchitecture) {
  for (const test::GoldenModel& model : test::kGoldenModels) {
    const Checkpoint checkpoint = test::read_golden_gguf(model.name);
    Graph g = build_graph(checkpoint, model.ctx);
    for (Node& n : g.body)
      if (n.op == Op::attention) n.attributes["kv"] = std::string("f16");
    const std::vector<float> expected = logits(g, checkpoint);
    EXPECT_TRUE(same_bits(logits(optimize(g), checkpoint), expected)) << model.name;
  }
}

TEST(Passes, FusingTheNormWithItsQuantizationKeepsEveryBit) {
  const Checkpoint checkpoint = make_checkpoint(small_model(DType::q8_0));
  Graph g = build_graph(checkpoint, 0);
  quantize_activations(g);
  const std::vector<float> expected = logits(g, checkpoint);
  fuse_norm_quantize(g);
  EXPECT_TRUE(same_bits(logits(g, checkpoint), expected));
}

// A segment of floats beside one of blocks computes what it computes alone.
TEST(Passes, SegmentsOfMixedTypesTakeTheirOwnForm) {
  test::TinyModel mixed = small_model(DType::q8_0);
  mixed.type = [](const std::string& name) {
    if (name == "blk.0.attn_k.weight" || name == "blk.1.attn_v.weight") return DType::f16;
    return name == "blk.1.ffn_up.weight" ? DType::bf16 : DType::q8_0;
  };
  const Checkpoint checkpoint = make_checkpoint(mixed);
  Graph alone = build_graph(checkpoint, 0);
  Graph together = alone;
  join_linears(together);
  quantize_activations(together);
  EXPECT_NE(print(together).find("linear(%attn_norm, %attn_norm_q8)"), std::string::npos);
  quantize_activations(alone);
  EXPECT_TRUE(same_bits(logits(together, checkpoint), logits(alone, checkpoint)));
}

// A block of q8 has steps of its largest magnitude / 127, about 2.3 deviations of a normal variable: an error of
// 2.3 / 127 / sqrt(12) = 0.5% of the deviation. bf16 rounds by steps of 2^-7 of a number's own power of two, 0.15% of it, weights
// and activations: together 0.2%. The head is the same in both.
TEST(Bf16Prompts, ChangeAPromptByLessThanItsQuantizationAndNothingThatIsGenerated) {
  const Checkpoint checkpoint = make_checkpoint(small_model(DType::q8_0));
  const Graph source = build_graph(checkpoint, 0), q8 = optimize(source),
              bf16 = optimize(source, KvType::f16, PromptType::bf16);
  const std::vector<float> exact = logits(source, checkpoint), quantized = logits(q8, checkpoint),
                           rounded = logits(bf16, checkpoint);
  double quantizing = 0, rounding = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    quantizing += std::pow(quantized[i] - exact[i], 2);
    rounding += std::pow(rounded[i] - exact[i], 2);
  }
  EXPECT_GT(rounding, 0);
  EXPECT_LT(rounding, quantizing);
  const auto generated = [&](const Graph& g) {
    const Interpreter interpreter(g, checkpoint);
    test::StepRunner runner(interpreter.model_code(), nullptr, 1, 1);
    return runner.step({{0, 0, {5, 36, 67, 8}, rt::RowClass::generated}});
  };
  EXPECT_TRUE(same_bits(generated(bf16), generated(q8)));
}

}  // namespace
}  // namespace forge
