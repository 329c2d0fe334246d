// What the verifier refuses: each case is the small graph with one thing wrong.
#include <gtest/gtest.h>

#include "ir/graph.h"
#include "passes/passes.h"
#include "tests/core/expect_error.h"
#include "tests/ir/small_graph.h"

namespace forge {
namespace {

void refused(std::string_view from, std::string_view to, std::initializer_list<std::string_view> parts,
             std::string_view text = kSmallGraph) {
  SCOPED_TRACE(std::string(from) + " -> " + std::string(to));
  const Graph g = parse_graph(edited(text, from, to));
  expect_error([&] { verify(g, "the test"); }, parts);
}

TEST(Verifier, Dimensions) {
  refused("ctx_max=64", "ctx_max=0", {"graph after the test: a dimension is zero"});
  refused("n_vocab=48", "n_vocab=49", {"embed giving %embedded", "a row for each token"});
  refused("n_hidden=64", "n_hidden=32", {"%hidden must be f32[32]"});
  refused("[48, 64] \"", "[0, 64] \"", {"@token_embd has no elements"});
  refused("attn_k.weight\" : q8_0*2", "attn_k.weight\" : q8_0", {"@attn_k has 1 types, expected 2"});
  refused("output_norm.weight\" : f32", "output_norm.weight\" : f32*2",
          {"@output_norm has 2 types, expected 1"});
}

// Order and definition are the parser's to refuse in text, so these graphs are changed in memory.
TEST(Verifier, OrderOfDefinitions) {
  const auto refused_after = [](auto change, std::initializer_list<std::string_view> parts) {
    Graph g = parse_graph(kSmallGraph);
    change(g);
    expect_error([&] { verify(g, "the test"); }, parts);
  };
  refused_after([](Graph& g) { std::swap(g.body[0], g.body[1]); },
                {"linear giving %q: %attn_norm is used before it is defined"});
  refused_after([](Graph& g) { g.body[0].inputs[0] = g.hidden; }, {"%hidden is used before it is defined"});
  refused_after([](Graph& g) { g.body.push_back(g.body.back()); }, {"%ffn_residual is defined twice"});
  refused_after([](Graph& g) { g.body[0].inputs[0] = 999; }, {"an input does not exist"});
  refused_after([](Graph& g) { g.body[0].outputs[0] = 999; }, {"an output does not exist"});
  refused_after([](Graph& g) { g.body[1].segments[0].weight = 999; }, {"a weight is missing"});
  refused_after([](Graph& g) { g.body[1].segments[0].weight = kNoWeight; }, {"a weight is missing"});
  refused_after([](Graph& g) { g.body[1].segments.clear(); }, {"linear giving %q: no segment"});
  refused_after([](Graph& g) { g.body[4].inputs.clear(); }, {"takes one input"});
  refused_after([](Graph& g) { g.prologue_output = g.body_output; },
                {"the prologue's output is not defined"});
  refused_after([](Graph& g) { g.body_input = g.prologue_output; }, {"the body's input is defined twice"});
  refused_after([](Graph& g) { g.body_output = g.logits; }, {"the body's output is not defined"});
  refused_after([](Graph& g) { g.epilogue.pop_back(); }, {"an output is not defined"});
  refused_after([](Graph& g) { g.tokens = g.hidden; }, {"no i32 input"});
  refused_after([](Graph& g) { g.prologue[0].segments[0].weight = 1; },
                {"@attn_norm is a layer's and used outside of the layers"});
}

TEST(Verifier, Shapes) {
  refused("%embedded: f32[64]", "%embedded: f32[65]", {"embed giving %embedded", "must be f32[64]"});
  refused("weight @attn_norm[%l] [1, 64]", "weight @attn_norm[%l] [1, 60]", {"@attn_norm must be [1, 64]"});
  refused("weight @attn_norm[%l] [1, 64]", "weight @attn_norm[%l] [2, 64]", {"@attn_norm must be [1, 64]"});
  refused("weight @attn_q_bias[%l] [1, 64]", "weight @attn_q_bias[%l] [1, 32]",
          {"@attn_q_bias must be [1, 64]"});
  refused("attn_q.bias\" : f32*2", "attn_q.bias\" : q8_0*2", {"@attn_q_bias is a vector of type q8_0"});
  refused("weight @ffn_down[%l] [64, 96]", "weight @ffn_down[%l] [64, 64]",
          {"linear giving %ffn_out: %gated must have 64 columns"});
  refused("weight @ffn_down[%l] [64, 96]", "weight @ffn_down[%l] [63, 96]", {"%ffn_out must be f32[63]"});
  refused("ffn_down.weight\" : q8_0*2", "ffn_down.weight\" : q8_0 q4_k",
          {"@ffn_down: 96 columns are no multiple of q4_k's block"});
  refused("%attn_residual: f32[64]", "%attn_residual: f32[32]", {"add giving %attn_residual"});
  refused("%gate_silu: f32[96]", "%gate_silu: f32[95]", {"silu giving %gate_silu"});
  refused("%gated: f32[96]", "%gated: f32[64]", {"mul giving %gated"});
  refused("(%x: f32[64] =", "(%x: f32[32] =", {"rms_norm giving %attn_norm"});
  refused("} yields %ffn_residual", "} yields %gated", {"the carried value changes its type"});
}

TEST(Verifier, Rows) {
  refused("%attn_out: f32[64]", "%attn_out: f32[wanted, 64]", {"linear giving %attn_out: rows differ"});
  refused("%wanted: f32[wanted, 64]", "%wanted: f32[64]", {"turns all rows into wanted rows"});
  refused("output hidden=%hidden", "output hidden=%ffn_residual",
          {"output %ffn_residual must be of the wanted rows"});
}

TEST(Verifier, Elements) {
  refused("%attn_norm: f32[64]", "%attn_norm: i32[64]", {"%attn_norm must be f32, q8 or bf16"});
  refused("%q_rope: f32[64]", "%q_rope: q8[64]", {"rope giving %q_rope: %q_rope must be f32[64]"});
  refused("linear(%gated)", "linear(%tokens)", {"linear giving %ffn_out"});
  refused("embed(%tokens)", "embed(%tokens, %tokens)",
          {"has 2 inputs, 1 outputs, 1 weights; expected 1, 1, 1"});
}

TEST(Verifier, Attributes) {
  const std::string_view norm = "%attn_norm: f32[64] = rms_norm(%x) @attn_norm[%l] {eps=1e-05}";
  const auto norm_with = [&](std::string_view attributes) { return edited(norm, "{eps=1e-05}", attributes); };
  refused(norm, norm_with(""), {"rms_norm: attribute 'eps' is missing"});
  refused(norm, norm_with("{eps=1}"), {"rms_norm: attribute 'eps' has the wrong type"});
  refused(norm, norm_with("{eps=-0.5}"), {"eps is negative"});
  refused(norm, norm_with("{eps=nan}"), {"eps is negative"});

  const std::string_view rope = "rope(%k) {base=10000.0 head_dim=16 n_heads=2 n_rot=16 scale=1.0 style=norm}";
  const auto rope_with = [&](std::string_view from, std::string_view to) { return edited(rope, from, to); };
  refused(rope, rope_with("n_heads=2", "n_heads=3"), {"%k must be f32[48]"});
  refused(rope, rope_with("n_heads=2", "n_heads=0"), {"attribute n_heads=0 is out of range"});
  refused(rope, rope_with("n_heads=2", "n_heads=16777217"), {"is out of range"});
  // 2^32 + 32 columns must not pass for 32.
  refused(rope, rope_with("head_dim=16 n_heads=2", "head_dim=49248 n_heads=87211"), {"%k must be f32"});
  refused(rope, rope_with("n_rot=16", "n_rot=15"), {"n_rot must be even"});
  refused(rope, rope_with("n_rot=16", "n_rot=18"), {"n_rot must be even and at most head_dim"});
  refused(rope, rope_with("style=norm", "style=gptj"), {"style must be norm or neox"});
  refused(rope, rope_with("base=10000.0", "base=-1.0"), {"base and scale must be positive"});
  refused(rope, rope_with("scale=1.0", "scale=0.0"), {"base and scale must be positive"});
  refused(rope, rope_with("rope(%k)", "rope(%k) @output_norm"), {"@output_norm must be [1, 8]"});

  const std::string_view heads = "{head_dim=16 kv=f32 n_heads=4 n_kv_heads=2 scale=0.25}";
  refused(heads, edited(heads, "n_kv_heads=2", "n_kv_heads=3"), {"n_heads must be a multiple of n_kv_heads"});
  refused(heads, edited(heads, "kv=f32", "kv=q8"), {"kv must be f32, f16 or q8_0"});
  refused(heads, edited(heads, "scale=0.25", "scale=0.0"), {"scale must be positive"});
  refused("attention(%q_rope, %k_rope, %v)", "attention(%q_rope, %k_rope)", {"takes q, k, v or q"});
  refused("attention(%q_rope, %k_rope, %v)", "attention(%q_rope, %q_rope, %v)", {"%q_rope must be f32[32]"});
}

TEST(Verifier, OptimizedForms) {
  const std::string text = print(optimize(parse_graph(kSmallGraph)));
  EXPECT_NO_THROW(verify(parse_graph(text), "parsing"));
  const auto wrong = [&](std::string_view from, std::string_view to,
                         std::initializer_list<std::string_view> parts) { refused(from, to, parts, text); };
  // Block types and floats mixed: both activations must be there.
  wrong("linear(%gated_q8, %attn_residual) @ffn_down[%l] then add",
        "linear(%gated_q8) @ffn_down[%l] then add", {"the add epilogue takes one segment and an addend"});
  wrong("linear(%attn, %x) @attn_output[%l] then add", "linear(%attn_norm_q8, %x) @attn_output[%l] then add",
        {"@attn_output is f16 in a layer but the node has no f32 input"});
  wrong("linear(%attn, %x) @attn_output[%l] then add", "linear(%attn, %attn, %x) @attn_output[%l] then add",
        {"an activation stands in one form twice"});
  wrong("@ffn_gate[%l], @ffn_up[%l] then silu_mul", "@ffn_gate[%l] then silu_mul",
        {"a gated product takes two segments"});
  wrong("@ffn_gate[%l], @ffn_up[%l] then silu_mul", "@ffn_gate[%l], @attn_q[%l] then silu_mul",
        {"%gated must be f32[64]"});
  wrong("%attn_norm_q8: q8[64]", "%attn_norm_q8: q8[64], %again: q8[64]",
        {"an activation stands in one form twice"});
  wrong("%gated_q8: q8[96]", "%gated_q8: f32[96]", {"quantize giving %gated_q8: gives q8"});
  wrong("%gated_q8: q8[96]", "%gated_q8: q8[64]", {"%gated_q8 must have 96 columns"});
  wrong("kv=f16 n_heads=4 n_kv_heads=2 n_rot", "kv=f32 n_heads=4 n_kv_heads=2 n_rot",
        {"kv must be f16 or q8_0"});
  wrong("rope_kv(%q, %k, %v)", "rope_kv(%q, %k)", {"takes q, k, v and gives q"});
  wrong("rope_kv(%q, %k, %v)", "rope_kv(%q, %q, %v)", {"%q must be f32[32]"});

  Graph biased = parse_graph(kSmallGraph);
  join_linears(biased);
  for (Node& n : biased.body)
    if (n.outputs.size() == 2) {
      n.epilogue = Epilogue::silu_mul;
      n.outputs.pop_back();
      n.segments[0].bias = biased.body[1].segments[0].bias;
    }
  expect_error([&] { verify(biased, "the test"); }, {"a gated product takes two segments without biases"});
}

TEST(Verifier, PromptsInBf16) {
  const std::string text = print(optimize(parse_graph(kSmallGraph), KvType::f16, PromptType::bf16));
  EXPECT_NO_THROW(verify(parse_graph(text), "parsing"));
  const auto wrong = [&](std::string_view from, std::string_view to,
                         std::initializer_list<std::string_view> parts) { refused(from, to, parts, text); };
  wrong("linear(%gated_q8, %gated_bf16, %attn_residual)", "linear(%gated_bf16, %attn_residual)",
        {"bf16 must stand beside q8"});
  wrong("%gated_bf16: bf16[96]", "%gated_bf16: bf16[64]", {"%gated_bf16 must be bf16[96]"});
  wrong("%gated_bf16: bf16[96]", "%gated_bf16: f32[96]", {"%gated_bf16 must be bf16[96]"});
  wrong("linear(%attn_residual_q8, %attn_residual_bf16) @ffn_gate", "linear(%attn_residual_q8) @ffn_gate",
        {"needs one output a segment"});
  wrong("rows=generated", "rows=prompt", {"rows must be generated"});
  wrong(" {rows=generated}", "", {"%gated has no floats of prompts"});
  wrong("%attn_norm_bf16: bf16[64]", "%attn_norm_bf16: bf16[32]", {"%attn_norm_bf16 must have 64 columns"});
  wrong("ffn_down.weight\" : q8_0*2", "ffn_down.weight\" : q8_0 f16",
        {"@ffn_down is f16 in a layer but the node has no f32 input"});
  wrong("prompts=bf16", "prompts=f16", {"prompts must be bf16"});
}

TEST(Verifier, QuantizedColumnsAreWholeBlocks) {
  std::string text = print(optimize(parse_graph(kSmallGraph)));
  for (size_t at = text.find("96"); at != std::string::npos; at = text.find("96", at))
    text.replace(at, 2, "80");
  EXPECT_NE(text.find("ffn_down.weight\" : q8_0*2"), std::string::npos);
  text.replace(text.find("ffn_down.weight\" : q8_0*2"), 25, "ffn_down.weight\" : f32*2");
  expect_error([&] { verify(parse_graph(text), "the test"); },
               {"is in blocks of 32, of which 80 columns are no multiple"});
}

}  // namespace
}  // namespace forge
