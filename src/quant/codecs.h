// The codecs of each family, joined by packed.cpp, and what they are made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "quant/levels.h"
#include "quant/packed.h"

namespace forge {

std::span<const BlockCodec>
integer_codecs();                            // levels are integers in a row (legacy, K, ternary, q1_0, q2_0)
std::span<const BlockCodec> table_codecs();  // iq4_*, mxfp4, nvfp4
std::span<const BlockCodec> grid_codecs();   // iq1_*, iq2_*, iq3_*

// Where a value's bits lie in a block: bits [first, first + n) of the block, seen as one little-endian number,
// are bits [shift, shift + n) of the value. They lie in two bytes at most.
struct BitField {
  size_t first, n, shift = 0;
};

inline uint32_t read_field(const uint8_t* block, BitField f) {
  uint32_t bits = block[f.first / 8];
  if (f.first % 8 + f.n > 8) bits |= static_cast<uint32_t>(block[f.first / 8 + 1]) << 8;
  return (bits >> f.first % 8 & ((1U << f.n) - 1)) << f.shift;
}
// The block's bits were zero before, or the same.
inline void write_field(uint8_t* block, BitField f, uint32_t value) {
  const uint32_t bits = (value >> f.shift & ((1U << f.n) - 1)) << f.first % 8;
  block[f.first / 8] = static_cast<uint8_t>(block[f.first / 8] | bits);
  if (f.first % 8 + f.n > 8)
    block[f.first / 8 + 1] = static_cast<uint8_t>(block[f.first / 8 + 1] | bits >> 8);
}

// split and join of a type that says once where its fields lie: T::fields(values..., field) calls
// field(value, BitField) for each, and T::kBytes is the block's size.
template <class T, class... Values>
void read_fields(const uint8_t* block, Values&... values) {
  T::fields(values..., [block](auto& value, BitField f) {
    value = static_cast<std::remove_reference_t<decltype(value)>>(value | read_field(block, f));
  });
}
template <class T, class... Values>
void write_fields(uint8_t* block, Values&... values) {
  std::memset(block, 0, T::kBytes);
  T::fields(values..., [block](const auto& value, BitField f) { write_field(block, f, value); });
}

// BlockCodec::levels of codes that are indices into a table.
template <size_t n, const std::array<int8_t, 16>& kTable>
void table_levels(const uint8_t* codes, int8_t* levels) {
  for (size_t i = 0; i < n; ++i) levels[i] = kTable[codes[i] & 15];
}

}  // namespace forge
