// The packed layout: how the compiler lays weights out for the kernels, and back.
//
// Sixteen rows form a group of two streams, scales and quants; the picture is in
// codegen/cpu/kernels/weights.h, whose readers mirror the writers here. Rows are padded to 16 with zero
// blocks. The same information as in the source type, bit for bit: unpacking gives the source bytes back.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "quant/dtype.h"

namespace forge {

// A block type taken apart: one record of scales, and the weights' codes, one byte each here.
struct BlockCodec {
  DType type;
  uint32_t bits;   // of a code: 1 to 6 or 8
  uint32_t codes;  // of a block: one a weight, but 52 bytes of trits in tq1_0
  uint32_t run;    // weights that share a scale (and minimum), 16 or 32; a block may repeat one scale
  // Fields of the scale record in bytes: `halves` fields of 2 bytes (float16), then `bytes` fields of 1 byte.
  uint32_t halves, bytes;
  void (*split)(const uint8_t* block, uint8_t* record, uint8_t* codes);
  void (*join)(const uint8_t* record, const uint8_t* codes, uint8_t* block);
  // The levels of a block's weights: w = scale * level, or scale * level + minimum.
  void (*levels)(const uint8_t* codes, int8_t* levels);
  // Of the weights number run * r to run * r + run - 1 of a block. minimum: null for types without one.
  float (*scale)(const uint8_t* record, uint32_t r);
  float (*minimum)(const uint8_t* record, uint32_t r);
  std::optional<float> minimum_of(const uint8_t* record, uint32_t r) const {
    return minimum == nullptr ? std::nullopt : std::optional(minimum(record, r));
  }
  uint32_t level_bits = 0;  // the least n so that |level| <= 2^n for each code, as block_codec has found
};

inline constexpr uint32_t kMaxBlock = 256, kMaxRecord = 32;

// The codec of a block type; null for f32, f16, bf16 and q8_k, which is no type of weights.
const BlockCodec* block_codec(DType type);

// Matrices in groups of 16 rows ("tiles16") and vectors ("row", padded to 16 elements).
enum class Layout : uint8_t { tiles16, row };
std::string_view layout_name(Layout layout);

// Bytes of a packed [rows, cols] tensor.
uint64_t packed_bytes(DType type, Layout layout, uint64_t rows, uint64_t cols);
// source: rows * row_bytes(type, cols) bytes; out: packed_bytes(...) bytes, all of which are written.
void pack(DType type, Layout layout, uint64_t rows, uint64_t cols, std::span<const uint8_t> source,
          std::span<uint8_t> out);
void unpack(DType type, Layout layout, uint64_t rows, uint64_t cols, std::span<const uint8_t> packed,
            std::span<uint8_t> out);

}  // namespace forge
