// safetensors files made in memory, also ones that no writer would make.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf_encoding.h"
#include "formats/json.h"

namespace forge {

// A file with that header, as it stands, and data of consecutive bytes.
inline std::vector<uint8_t> safetensors_bytes(std::string_view header, size_t data_bytes) {
  std::vector<uint8_t> out;
  append_number(out, static_cast<uint64_t>(header.size()));
  out.insert(out.end(), header.begin(), header.end());
  for (size_t i = 0; i < data_bytes; ++i) out.push_back(static_cast<uint8_t>(i * 5 + 3));
  return out;
}

// A whole file of float32 tensors, one behind the other.
struct FloatTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};
inline std::vector<uint8_t> safetensors_bytes(const std::vector<FloatTensor>& tensors) {
  Json header = Json::object();
  std::vector<uint8_t> data;
  for (const FloatTensor& t : tensors) {
    const size_t begin = data.size();
    for (const float v : t.values) append_number(data, v);
    header[t.name] = {{"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::vector<uint8_t> out = safetensors_bytes(header.dump(), 0);
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

// Three tensors in another order than their data, a scalar, an empty one, and metadata.
inline constexpr std::string_view kSampleHeader =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"mask":{"dtype":"I64","shape":[],"data_offsets":[20,28]},)"
    R"("none":{"dtype":"F16","shape":[0,4],"data_offsets":[28,28]}}  )";
inline constexpr size_t kSampleData = 28;

}  // namespace forge
