// Low-rank adapters (LoRA, arXiv:2106.09685): weight + scale · B A, merged into a model before it is compiled.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"

namespace forge {

// An update of one tensor, in GGUF's names and order of rows.
struct LoraUpdate {
  std::string tensor;  // "blk.0.attn_q.weight"
  int64_t rank = 0, n_in = 0, n_out = 0;
  std::vector<float> a, b;  // [rank, n_in], [n_out, rank]
  double scale = 1;         // what the adapter itself says: alpha / rank, or alpha / sqrt(rank)
};

struct Adapter {
  std::string path;  // as the user named it
  std::string sha256;
  std::vector<LoraUpdate> updates;
};

// A GGUF adapter, or a PEFT directory for a model of `base`'s architecture. Throws Error naming the file, and the
// key or tensor.
Adapter read_adapter(const std::string& path, const Checkpoint& base);

// The files that read_adapter reads.
std::vector<std::string> adapter_files(const std::string& path);

// What a command line says: PATH or PATH:SCALE.
struct AdapterArgument {
  std::string path;
  double scale = 1;
};
// Throws Error of misuse when the scale is no finite number.
AdapterArgument parse_adapter_argument(std::string_view text);

// The type in which merged tensors are stored. Merging is done in float32 either way.
enum class MergedType : uint8_t {
  own,  // as before: quantized ones are quantized again, to f16 where their type is only read
  f32,  // for what comes after, which is going to quantize them
};

// Adds scale · the adapter's updates to the model, whose metadata key kAdaptersKey then names the adapter. `note`
// is told what was merged, and where that costs precision; may be null. Throws Error naming the tensor and both
// shapes where they don't fit.
void merge_adapter(Checkpoint& model, const Adapter& adapter, double scale, MergedType type,
                   const std::function<void(std::string_view line)>& note);

// Metadata of our own: the adapters that are merged in, an array of "SHA256 SCALE".
inline constexpr std::string_view kAdaptersKey = "forge.source.adapters";

}  // namespace forge
