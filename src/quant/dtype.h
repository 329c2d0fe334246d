// Storage types of tensors, as GGUF numbers them (ggml's `ggml_type`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace forge {

enum class DType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  q8_k = 15,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  q1_0 = 41,
  q2_0 = 42,
};

// One storage type: how many weights share a block, how many bytes a block takes, and the exact reference
// decoding that the interpreter and all tests use.
struct DTypeInfo {
  DType type;
  std::string_view name;  // "q4_k", also the spelling in dumps, flags and errors
  uint32_t block_weights;
  uint32_t block_bytes;
  // Decodes n weights (a multiple of block_weights) from src to dst.
  void (*decode)(const uint8_t* src, float* dst, size_t n);
  // Encodes n weights (a multiple of block_weights), nearest as ggml's reference encoder does it. Null for the
  // types of codebook grids (iq1_*, iq2_*, iq3_*), which are only read.
  void (*encode)(const float* src, uint8_t* dst, size_t n);
};

const DTypeInfo& info(DType type);
std::span<const DTypeInfo> all_dtypes();
// The type with ggml's number `id`, if the compiler knows it.
std::optional<DType> dtype_from_id(uint32_t id);
// ggml's name for a type number, also for those the compiler does not support ("iq2_xxs"); "unknown"
// otherwise.
std::string_view ggml_type_name(uint32_t id);
std::optional<DType> dtype_from_name(std::string_view name);

// Bytes of one row of n weights; n must be a multiple of the block.
inline size_t row_bytes(DType type, size_t n) {
  return n / info(type).block_weights * info(type).block_bytes;
}

}  // namespace forge
