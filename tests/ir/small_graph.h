// A graph that has every operation of a source graph, small enough to edit as text.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace forge {

inline constexpr std::string_view kSmallGraph = R"(graph llama {
  dims {ctx_max=64 n_hidden=64 n_layers=2 n_vocab=48}
  weight @token_embd [48, 64] "token_embd.weight" : q8_0
  weight @attn_norm[%l] [1, 64] "blk.%l.attn_norm.weight" : f32*2
  weight @attn_q[%l] [64, 64] "blk.%l.attn_q.weight" : q8_0 q4_0
  weight @attn_q_bias[%l] [1, 64] "blk.%l.attn_q.bias" : f32*2
  weight @attn_k[%l] [32, 64] "blk.%l.attn_k.weight" : q8_0*2
  weight @attn_v[%l] [32, 64] "blk.%l.attn_v.weight" : q8_0*2
  weight @attn_output[%l] [64, 64] "blk.%l.attn_output.weight" : f16*2
  weight @ffn_gate[%l] [96, 64] "blk.%l.ffn_gate.weight" : q8_0*2
  weight @ffn_up[%l] [96, 64] "blk.%l.ffn_up.weight" : q8_0*2
  weight @ffn_down[%l] [64, 96] "blk.%l.ffn_down.weight" : q8_0*2
  weight @output_norm [1, 64] "output_norm.weight" : f32
  input %tokens: i32[1]
  %embedded: f32[64] = embed(%tokens) @token_embd
  repeat 2 as %l (%x: f32[64] = %embedded) {
    %attn_norm: f32[64] = rms_norm(%x) @attn_norm[%l] {eps=1e-05}
    %q: f32[64] = linear(%attn_norm) @attn_q[%l] + @attn_q_bias[%l]
    %k: f32[32] = linear(%attn_norm) @attn_k[%l]
    %v: f32[32] = linear(%attn_norm) @attn_v[%l]
    %q_rope: f32[64] = rope(%q) {base=10000.0 head_dim=16 n_heads=4 n_rot=16 scale=1.0 style=norm}
    %k_rope: f32[32] = rope(%k) {base=10000.0 head_dim=16 n_heads=2 n_rot=16 scale=1.0 style=norm}
    %attn: f32[64] = attention(%q_rope, %k_rope, %v) {head_dim=16 kv=f32 n_heads=4 n_kv_heads=2 scale=0.25}
    %attn_out: f32[64] = linear(%attn) @attn_output[%l]
    %attn_residual: f32[64] = add(%attn_out, %x)
    %gate: f32[96] = linear(%attn_residual) @ffn_gate[%l]
    %up: f32[96] = linear(%attn_residual) @ffn_up[%l]
    %gate_silu: f32[96] = silu(%gate)
    %gated: f32[96] = mul(%gate_silu, %up)
    %ffn_out: f32[64] = linear(%gated) @ffn_down[%l]
    %ffn_residual: f32[64] = add(%ffn_out, %attn_residual)
  } yields %ffn_residual
  %wanted: f32[wanted, 64] = select_rows(%ffn_residual)
  %hidden: f32[wanted, 64] = rms_norm(%wanted) @output_norm {eps=1e-05}
  %logits: f32[wanted, 48] = linear(%hidden) @token_embd
  output hidden=%hidden logits=%logits
}
)";

// The text with one occurrence of `from` (there must be one at least) replaced; `from` names it uniquely.
inline std::string edited(std::string_view text, std::string_view from, std::string_view to) {
  std::string out(text);
  const size_t at = out.find(from);
  EXPECT_NE(at, std::string::npos) << "not in the graph: " << from;
  EXPECT_EQ(out.find(from, at + 1), std::string::npos) << "more than once in the graph: " << from;
  if (at != std::string::npos) out.replace(at, from.size(), to);
  return out;
}

}  // namespace forge
