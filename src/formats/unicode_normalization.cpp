#include "formats/unicode_normalization.h"

#include <iterator>
#include <map>
#include <span>

#include "runtime/core/unicode.h"

namespace forge {
namespace {

#include "formats/unicode_normalization.inc"

struct Entry {
  uint32_t character;
  bool composes, compatibility;
  std::span<const uint32_t> to;
};

std::vector<Entry> entries() {
  std::vector<Entry> out;
  for (const uint32_t* at = kDecompositions; at != std::end(kDecompositions);) {
    const uint32_t length = at[1] >> 2;
    out.push_back({at[0], (at[1] & 2) != 0, (at[1] & 1) != 0, {at + 2, length}});
    at += 2 + length;
  }
  return out;
}

void append_decomposed(std::string& out, uint32_t character, const std::map<uint32_t, Entry>& table) {
  const auto it = table.find(character);
  if (it == table.end()) return rt::append_utf8(out, character);
  for (const uint32_t part : it->second.to) append_decomposed(out, part, table);
}

}  // namespace

std::vector<Decomposition> decompositions(bool compatibility) {
  std::map<uint32_t, Entry> table;
  for (const Entry& entry : entries()) {
    if (compatibility || !entry.compatibility) table.emplace(entry.character, entry);
  }
  std::vector<Decomposition> out;
  for (const auto& [character, entry] : table) {
    out.push_back({character, {}});
    append_decomposed(out.back().text, character, table);
  }
  return out;
}

std::vector<CombiningClass> combining_classes() {
  std::vector<CombiningClass> out;
  for (const uint32_t entry : kCombiningClasses) out.push_back({entry >> 8, entry & 0xff});
  return out;
}

std::vector<Composite> composites() {
  std::vector<Composite> out;
  for (const Entry& entry : entries()) {
    if (entry.composes) out.push_back({entry.to[0], entry.to[1], entry.character});
  }
  return out;
}

}  // namespace forge
