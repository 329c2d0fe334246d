// safetensors: tensors of a Hugging Face checkpoint, memory-mapped.
//
//   u64 n (little-endian), n bytes of JSON, data
//   JSON  {"NAME": {"dtype": "BF16", "shape": [4, 2], "data_offsets": [begin, end]}, …, "__metadata__": {…}}
//
// Offsets count from the data's start; the tensors fill the data without a gap
// (https://github.com/huggingface/safetensors).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/mapped_file.h"
#include "quant/dtype.h"

namespace forge {

// A tensor where it lies in the mapped file, shape outermost first; its bytes are as many as shape and type say.
struct SafeTensor {
  std::string name;
  std::string dtype;  // as the file spells it
  std::optional<DType>
      type;  // f32, f16 or bf16; nothing where the compiler can't use it (F64, integers, FP8)
  std::vector<int64_t> shape;
  std::span<const uint8_t> data;
};

struct SafeTensors {
  std::vector<SafeTensor> tensors;                       // in the order of the data, file by file
  std::vector<std::shared_ptr<const MappedFile>> files;  // what their spans point into
};

// Reads one file. Throws Error naming the file, the tensor, and what was expected.
SafeTensors read_safetensors(const std::string& path);

// Reads all files that an index (model.safetensors.index.json) names; they lie beside it, and each tensor where
// the index says.
SafeTensors read_safetensors_index(const std::string& path);

// The paths of the files that an index names, each once, sorted.
std::vector<std::string> safetensors_index_files(const std::string& path);

}  // namespace forge
