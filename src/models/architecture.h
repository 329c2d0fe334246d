// Architectures: from a checkpoint's metadata and tensors to a Graph.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "formats/checkpoint.h"
#include "ir/graph.h"

namespace forge {

// What the generic decoder (decoder.cpp) is told about a model. read_config fills in what every architecture
// has from the usual metadata keys; an architecture's file then sets its flags and quirks.
struct DecoderConfig {
  std::string_view architecture;  // also the prefix of its metadata keys
  uint32_t n_layers = 0, n_hidden = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, n_ff = 0, n_vocab = 0;
  uint32_t ctx_train = 0;  // positions the model was trained for
  double norm_eps = 0;
  // rope
  uint32_t n_rot = 0;                        // leading dimensions of a head that are rotated
  std::string_view rope_style = "norm";      // "norm": pairs (2i, 2i+1); "neox": pairs (i, i + n_rot/2)
  double rope_base = 10000, rope_scale = 1;  // positions are multiplied by rope_scale
  bool rope_factors = false;                 // a tensor rope_freqs.weight divides the frequencies (Llama 3)
  bool qkv_bias = false;
};

struct Architecture {
  std::string_view name;  // general.architecture
  void (*configure)(DecoderConfig& config, const Checkpoint& checkpoint);
};

std::span<const Architecture* const> all_architectures();

// Positions at most where none are asked for.
inline constexpr uint32_t kDefaultCtx = 8192;

// The Graph of a checkpoint. ctx 0: the smaller of the model's context and kDefaultCtx. Throws Error naming the
// missing key or tensor, or the shape that was expected.
Graph build_graph(const Checkpoint& checkpoint, uint32_t ctx);

}  // namespace forge
