// Graph to Graph. Each pass is one function in a file of its own; optimize() runs them in order and verifies
// after each.
#pragma once

#include <span>
#include <string_view>

#include "ir/graph.h"

namespace forge {

// q, k, v (or gate, up): linears of the same input become one linear of several segments.
void join_linears(Graph& graph);
// A constant that only scales or caps what an embed or a one-segment linear gives becomes an attribute of it.
void fold_scales(Graph& graph);
// silu(g) * u or gelu(g) * u of a two-segment linear without biases becomes its epilogue; so does gelu(x) of one segment.
void fuse_activation(Graph& graph);
// linear(x) + r becomes an epilogue of the linear.
void fuse_residual(Graph& graph);
// attention(q, k, v), with rope(q) and rope(k) where there are some, becomes rope_kv and an attention that reads keys
// and values from the cache, which holds float16.
void fuse_rope_kv(Graph& graph);
// A linear whose weight is block-quantized gets a q8 activation: blocks of 32 int8 with one scale.
void quantize_activations(Graph& graph);
// A norm followed by quantize becomes one node.
void fuse_norm_quantize(Graph& graph);
// The cache holds q8_0 instead of float16: for each head and position, blocks of 32 dimensions as int8 with a float16 scale.
void quantize_kv(Graph& graph);
// Linears of q8 take bf16 of a prompt's rows, and these attend in it. For levels whose matrix unit multiplies it; heads, of few rows, stay as they are.
void bf16_prompts(Graph& graph);
// Nodes whose outputs nobody reads; a write to the KV cache counts as read.
void drop_dead(Graph& graph);

struct Pass {
  std::string_view name;
  void (*run)(Graph&);
};
std::span<const Pass> all_passes();

// What keys and values are rounded to in the KV cache.
enum class KvType : uint8_t { f16, q8_0 };

// What a prompt's rows are multiplied in: q8 like those generated, or bf16.
enum class PromptType : uint8_t { q8, bf16 };

// All passes in order, and quantize_kv and bf16_prompts where they are asked for; verifies after each.
Graph optimize(const Graph& source, KvType kv = KvType::f16, PromptType prompts = PromptType::q8);

}  // namespace forge
