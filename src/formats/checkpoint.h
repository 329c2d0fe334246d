// A checkpoint as it came from disk: typed metadata and named tensors. It knows file formats and nothing of
// architectures; every offset, count, shape and length in it was checked against the file before it got here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "quant/dtype.h"

namespace forge {

// GGUF's metadata value types, with its numbers.
// clang-format off
enum class MetaType : uint32_t {
  u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, boolean = 7, string = 8, array = 9, u64 = 10,
  i64 = 11, f64 = 12,
};
// clang-format on

// One metadata value. `type` is the type in the file (so that a file can be written back as it was); the
// variant holds it widened: integers and bools as int64 (u64 above 2^63 is refused when read), floats as
// double.
struct MetaValue {
  MetaType type = MetaType::u32;
  MetaType element = MetaType::u32;  // of an array
  std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
               std::vector<std::string>>
      value;
};

// Metadata in file order, with GGUF's key names ("llama.block_count") as the project's vocabulary: other
// formats' readers translate into it.
class Metadata {
 public:
  // Replaces the value if the key is there already.
  void set(std::string key, MetaValue value);
  const MetaValue* find(std::string_view key) const;
  std::span<const std::pair<std::string, MetaValue>> entries() const { return entries_; }

  // Typed look-ups; nullopt when the key is absent; throw Error naming the key when it has another type.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;
  const std::vector<std::string>* strings(std::string_view key) const;
  const std::vector<int64_t>* integers(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;

 private:
  std::vector<std::pair<std::string, MetaValue>> entries_;
  std::unordered_map<std::string, size_t> index_;
};

// A key of our own: how forge quantized the model, in words.
inline constexpr std::string_view kQuantizationKey = "forge.quantization";

// A tensor where it lies in the mapped file. shape is outermost first: a linear is {rows = out, cols = in}.
struct Tensor {
  std::string name;
  DType type = DType::f32;
  std::vector<int64_t> shape;
  std::span<const uint8_t> data;

  int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const {
    int64_t n = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
    return n;
  }
};

struct Checkpoint {
  std::string path;  // as the user named it, for messages
  Metadata meta;
  std::vector<Tensor> tensors;  // in file order
  uint32_t gguf_version = 3;
  uint32_t alignment = 32;    // of tensor data in the file
  std::string source_sha256;  // hex, of the file's bytes (of all shards, in order); empty until asked for
  std::vector<std::shared_ptr<const void>> storage;  // what the tensors' spans point into
  std::vector<std::span<const uint8_t>> files;       // the source files whole, in order; they lie in storage

  const Tensor* find(std::string_view name) const;
};

// Reads a GGUF file (v2 or v3); a name ending in -00001-of-0000N.gguf brings in all N shards.
// Throws Error naming the file, the tensor or key, and the offset.
Checkpoint read_gguf(const std::string& path);

// The files that make up a model: `path` alone, or all N shards when it ends in -00001-of-0000N.gguf.
std::vector<std::string> model_files(const std::string& path);

// Writes a GGUF v3 file (v2 when gguf_version says so); a checkpoint read from one file and written unchanged
// gives the same bytes where the writer of the original padded with zeros. Appears under its name only when
// whole.
void write_gguf(const Checkpoint& checkpoint, const std::string& path);

// The metadata section alone in GGUF's own encoding, and back; payloads carry it so that a program can be
// turned into a GGUF again.
std::vector<uint8_t> encode_metadata(const Metadata& meta);
Metadata decode_metadata(std::span<const uint8_t> bytes);

// Lower-case hex SHA-256 of the checkpoint's source files; takes about a second per GB.
std::string source_sha256(const Checkpoint& checkpoint);

}  // namespace forge
