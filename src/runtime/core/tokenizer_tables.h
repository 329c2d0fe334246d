// Looking things up in the hash tables of tokenizer_format.h.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/core/tokenizer_format.h"

namespace forge::rt {

// The first slot from `hash` on that `matches`; null when an empty one, whose `key` is kNone, comes first. The
// table has an empty slot unless it has none at all.
template <class Slot, class Matches>
const Slot* probe(std::span<const Slot> slots, uint32_t hash, int32_t Slot::* key, Matches matches) {
  if (slots.empty()) return nullptr;
  for (uint32_t i = tokenizer_format::slot_of(hash, static_cast<uint32_t>(slots.size()));;) {
    const Slot& slot = slots[i];
    if (slot.*key == tokenizer_format::kNone) return nullptr;
    if (matches(slot)) return &slot;
    if (++i == slots.size()) i = 0;
  }
}

// Whether a search always ends. An empty table is fine.
template <class Slot>
bool has_empty_slot(std::span<const Slot> slots, int32_t Slot::* key) {
  for (const Slot& slot : slots) {
    if (slot.*key == tokenizer_format::kNone) return true;
  }
  return slots.empty();
}

// A set of texts, each with an id.
struct Trie {
  std::span<const tokenizer_format::TrieSlot> slots;
  std::span<const int32_t> ids;  // by node

  // The node behind `byte`; kNone if no text goes on so.
  int32_t step(int32_t node, char byte) const {
    const auto b = static_cast<int32_t>(static_cast<uint8_t>(byte));
    const auto* slot =
        probe(slots, tokenizer_format::hash_pair(node, b), &tokenizer_format::TrieSlot::next,
              [&](const tokenizer_format::TrieSlot& s) { return s.node == node && s.byte == b; });
    return slot == nullptr ? tokenizer_format::kNone : slot->next;
  }
  // The text that ends at a node of `step`; kNone if none does.
  int32_t id(int32_t node) const { return ids[static_cast<size_t>(node)]; }

  bool is_sound(uint32_t n_ids) const {
    uint32_t bad = 0;
    for (const auto& s : slots)
      bad |= s.next != tokenizer_format::kNone && static_cast<uint32_t>(s.next) >= ids.size();
    for (const int32_t i : ids) bad |= i != tokenizer_format::kNone && static_cast<uint32_t>(i) >= n_ids;
    return bad == 0 && has_empty_slot(slots, &tokenizer_format::TrieSlot::next);
  }
};

}  // namespace forge::rt
