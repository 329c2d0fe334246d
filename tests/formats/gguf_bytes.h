// GGUF files made byte by byte, also ones that no writer would make.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/gguf_encoding.h"

namespace forge {

struct TensorSpec {
  std::string name;
  std::vector<uint64_t> dims;  // as in the file: innermost first
  uint32_t type = 0;
  uint64_t offset = 0;
};

struct GgufSpec {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> n_tensors, n_metadata;  // where they are to lie
  Metadata meta;
  std::vector<uint8_t> more_metadata;  // encoded entries after those of meta
  uint64_t n_more_metadata = 0;
  std::vector<TensorSpec> tensors;
  uint32_t alignment = kDefaultAlignment;
  uint64_t data_bytes = 0;
};

inline std::vector<uint8_t> gguf_bytes(const GgufSpec& spec, size_t* header_bytes = nullptr) {
  std::vector<uint8_t> out(spec.magic.begin(), spec.magic.end());
  append_number(out, spec.version);
  append_number(out, spec.n_tensors.value_or(spec.tensors.size()));
  append_number(out, spec.n_metadata.value_or(spec.meta.entries().size() + spec.n_more_metadata));
  append_metadata(out, spec.meta);
  out.insert(out.end(), spec.more_metadata.begin(), spec.more_metadata.end());
  for (const TensorSpec& tensor : spec.tensors) {
    append_string(out, tensor.name);
    append_number(out, static_cast<uint32_t>(tensor.dims.size()));
    for (const uint64_t dim : tensor.dims) append_number(out, dim);
    append_number(out, tensor.type);
    append_number(out, tensor.offset);
  }
  if (header_bytes != nullptr) *header_bytes = out.size();
  if (!spec.tensors.empty()) out.resize(align_up(out.size(), spec.alignment));
  for (uint64_t i = 0; i < spec.data_bytes; ++i) out.push_back(static_cast<uint8_t>(i * 7 + 1));
  return out;
}

inline MetaValue meta_u32(uint32_t v) { return {MetaType::u32, MetaType::u32, int64_t{v}}; }
inline MetaValue meta_u16(uint16_t v) { return {MetaType::u16, MetaType::u32, int64_t{v}}; }
inline MetaValue meta_i32(int32_t v) { return {MetaType::i32, MetaType::u32, int64_t{v}}; }
inline MetaValue meta_f32(float v) { return {MetaType::f32, MetaType::u32, double{v}}; }
inline MetaValue meta_bool(bool v) { return {MetaType::boolean, MetaType::u32, int64_t{v}}; }
inline MetaValue meta_string(std::string v) { return {MetaType::string, MetaType::u32, std::move(v)}; }
inline MetaValue meta_strings(std::vector<std::string> v) {
  return {MetaType::array, MetaType::string, std::move(v)};
}
inline MetaValue meta_array(MetaType element, std::vector<int64_t> v) {
  return {MetaType::array, element, std::move(v)};
}
inline MetaValue meta_array(MetaType element, std::vector<double> v) {
  return {MetaType::array, element, std::move(v)};
}

// A whole file of 3 tensors and of metadata with every type.
inline GgufSpec sample_gguf() {
  GgufSpec spec;
  spec.meta.set("general.architecture", meta_string("llama"));
  spec.meta.set("llama.block_count", meta_u32(2));
  spec.meta.set("a.u8", {MetaType::u8, MetaType::u32, int64_t{255}});
  spec.meta.set("a.i8", {MetaType::i8, MetaType::u32, int64_t{-128}});
  spec.meta.set("a.u16", meta_u16(65535));
  spec.meta.set("a.i16", {MetaType::i16, MetaType::u32, int64_t{-32768}});
  spec.meta.set("a.i32", meta_i32(-5));
  spec.meta.set("a.f32", meta_f32(1e-5f));
  spec.meta.set("a.bool", meta_bool(true));
  spec.meta.set("a.u64", {MetaType::u64, MetaType::u32, INT64_MAX});
  spec.meta.set("a.i64", {MetaType::i64, MetaType::u32, INT64_MIN});
  spec.meta.set("a.f64", {MetaType::f64, MetaType::u32, 0.1});
  spec.meta.set("tokenizer.ggml.tokens", meta_strings({"<s>", "a", "", "\xff", "\xe2\x96\x81once"}));
  spec.meta.set("tokenizer.ggml.token_type", meta_array(MetaType::i32, std::vector<int64_t>{3, 1, 1, -6, 1}));
  spec.meta.set("tokenizer.ggml.scores", meta_array(MetaType::f32, std::vector<double>{0, -1, -2.5}));
  spec.meta.set("a.bools", meta_array(MetaType::boolean, std::vector<int64_t>{0, 1, 1}));
  spec.meta.set("a.bytes", meta_array(MetaType::u8, std::vector<int64_t>{0, 255}));
  spec.meta.set("a.none", meta_strings({}));
  spec.tensors = {
      {"token_embd.weight", {32, 5}, 8, 0}, {"norm.weight", {9}, 0, 192}, {"w", {3, 2, 2}, 1, 256}};
  spec.data_bytes = 256 + 24;
  return spec;
}

}  // namespace forge
