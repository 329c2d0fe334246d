// Normalizers: what a tokenizer does to text before it cuts it into words. They arrive as tables
// (tokenizer_format.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/core/tokenizer_format.h"
#include "runtime/core/tokenizer_split.h"

namespace forge::rt {

// The tables; what they point to must outlive them.
struct NormalizerView {
  std::span<const tokenizer_format::Step> steps;
  std::span<const tokenizer_format::MappingSlot> mappings;
  std::span<const tokenizer_format::CombiningSlot> combining;
  std::span<const tokenizer_format::CompositeSlot> composites;
  std::span<const uint8_t> charsmap;
  std::span<const char> pool;

  // Whether every index lies inside of the tables.
  bool is_sound(const RegexView& regexes) const;
};

// The text after all steps; takes time linear in it. Bytes that are no UTF-8 stay as they are.
std::string normalize(const NormalizerView& normalizer, const RegexView& regexes, std::string_view text);

}  // namespace forge::rt
