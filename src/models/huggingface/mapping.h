// How a family's Hugging Face checkpoints become GGUF's: one short file a family, beside this one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/huggingface/config.h"

namespace forge::huggingface {

// A module by its name without "model." or "transformer." before it and ".weight" or ".bias" behind, "%l" for the
// layer; and GGUF's name for it.
struct ModuleName {
  std::string_view huggingface, gguf;
  bool transposed = false;  // a Conv1D: stored [in, out], where a linear is [out, in]
};

// Metadata and tensors that a family's file adds.
struct Converted {
  KeyWriter keys;
  std::vector<std::pair<std::string, std::vector<float>>> vectors;  // F32 tensors by their names
};

// A key that config.json may leave to the class, and its value as JSON.
struct DefaultKey {
  const char* key;
  std::string_view value;
};

struct Mapping {
  std::span<const std::string_view> classes;  // config.json's architectures: "LlamaForCausalLM"
  std::string_view architecture;              // GGUF's general.architecture
  std::span<const ModuleName> names;          // looked up before kCommonNames
  std::span<const DefaultKey> defaults;
  std::span<const std::string_view> activations;  // of the feed-forward network, as config.json spells it
  // Q and K rows are stored with rope pairs as neighbours (GGUF's "norm" style) and not half a head apart.
  bool interleaves_rope = false;
  bool adds_one_to_norms = false;  // the model multiplies by 1 + weight, GGUF stores the sum
  bool has_long_rope = false;      // rope type longrope is convert's to write
  bool is_always_tied = false;     // an lm_head in the file is a copy of the embedding
  // What is not common to all; refuses what the graph can't express. May be null.
  void (*convert)(const ModelConfig& model, Converted& out) = nullptr;
};

inline constexpr std::string_view kSilu[] = {"silu", "swish"};

std::span<const Mapping* const> all_mappings();

// The mapping of a GGUF architecture; null when there is none.
const Mapping* mapping_of(std::string_view architecture);

// The mapping of the class that config.json names. Throws Error with the classes that are known.
const Mapping& find_mapping(const Config& config);

// config.json with what its class leaves out. Refuses quantized weights and other activations.
ModelConfig read_model_config(const Mapping& mapping, Config config);

// A Hugging Face tensor's place in GGUF.
struct Place {
  std::string name;  // "blk.3.attn_q.weight"
  bool transposed = false;
  bool is_norm = false;
  enum class Rows : uint8_t { plain, query_heads, key_heads } rows = Rows::plain;  // to be interleaved
};
// The place of a tensor; nothing when the family has none of that name.
std::optional<Place> find_place(const Mapping& mapping, std::string_view tensor);

// The row that row `row` of a tensor with halved rope pairs has when they are neighbours; `head` rows a head, even.
constexpr int64_t interleaved_row(int64_t row, int64_t head) {
  const int64_t in_head = row % head, half = head / 2;
  return row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

}  // namespace forge::huggingface
