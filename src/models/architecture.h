// Architectures: from a checkpoint's metadata and tensors to a Graph.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"
#include "ir/graph.h"

namespace forge {

// Where the frequencies of rope come from.
struct RopeScaling {
  double base = 10000;
  double factor = 1;                     // positions are divided by it
  double magnitude = 1;                  // multiplies cosine and sine
  bool yarn = false;                     // only the slow pairs are interpolated
  double beta_fast = 32, beta_slow = 1;  // yarn: turns within original_ctx, between which it ramps
  uint32_t original_ctx = 0;             // positions before the scaling
};

// What the generic decoder (decoder.cpp) is told about a model. read_config fills in what every architecture
// has from the usual metadata keys; an architecture's file then sets its flags and quirks.
struct DecoderConfig {
  std::string_view architecture;  // also the prefix of its metadata keys
  uint32_t n_layers = 0, n_hidden = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, n_ff = 0, n_vocab = 0;
  uint32_t ctx_train = 0;  // positions the model was trained for
  double norm_eps = 0;
  enum class Norm : uint8_t { rms, layer } norm = Norm::rms;
  enum class Activation : uint8_t { silu, gelu } activation = Activation::silu;
  bool gated_ffn = true;    // act(gate) * up; otherwise act(up)
  bool pre_norms = true;    // attn_norm, ffn_norm
  bool post_norms = false;  // of what attention and ffn add
  enum class QkNorm : uint8_t {
    none,
    head,
    row
  } qk_norm = QkNorm::none;         // of each head, of all heads together
  bool parallel_residual = false;   // both blocks read the same normed input
  bool qkv_bias = false;            // needed; other biases are used where there are some
  bool position_embedding = false;  // position_embd.weight, and no rope
  // rope (ir/rope.h)
  uint32_t n_rot = 0;                    // leading dimensions of a head that are rotated
  std::string_view rope_style = "norm";  // "norm": pairs (2i, 2i+1); "neox": pairs (i, i + n_rot/2)
  RopeScaling rope;
  RopeScaling local_rope;  // of layers with a window
  uint32_t rope_skip = 0;  // every rope_skip-th layer has no rope; 0: all have
  // attention
  uint32_t window = 0;                                              // positions that local layers see; 0: all
  std::vector<bool> local_layers;                                   // [n_layers]
  double attention_scale = 0;                                       // 0: 1 / sqrt(head_dim)
  double attention_softcap = 0, final_softcap = 0;                  // 0: none
  double embedding_scale = 1, residual_scale = 1, logit_scale = 1;  // multiply
};

// Typed, range-checked look-ups of metadata keys "<architecture>.<key>". Throw Error naming the key.
struct ModelKeys {
  const Checkpoint& checkpoint;
  std::string_view architecture;

  std::string full(std::string_view key) const;
  bool has(std::string_view key) const { return checkpoint.meta.find(full(key)) != nullptr; }
  // 1 to 2^20; without a fallback the key must be there.
  uint32_t dimension(std::string_view key, std::optional<int64_t> fallback = std::nullopt) const;
  double number(std::string_view key, std::optional<double> fallback = std::nullopt) const;  // at least 0
};

struct Architecture {
  std::string_view name;  // general.architecture
  void (*configure)(DecoderConfig& config, const ModelKeys& keys);
};

// For architectures that mix local layers (with a window) and global ones: sets window and local_layers from the keys
// attention.sliding_window and attention.sliding_window_pattern (a period, whose last layer is global, or one bool a
// layer); without the first key nothing is set. period 0: all layers are local.
void set_windows(DecoderConfig& config, const ModelKeys& keys, uint32_t period);

std::span<const Architecture* const> all_architectures();

// Positions at most where none are asked for.
inline constexpr uint32_t kDefaultCtx = 8192;

// The Graph of a checkpoint. ctx 0: the smaller of the model's context and kDefaultCtx. Throws Error naming the
// missing key or tensor, or the shape that was expected.
Graph build_graph(const Checkpoint& checkpoint, uint32_t ctx);

}  // namespace forge
