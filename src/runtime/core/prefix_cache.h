// The KV of texts that were run, kept for prompts that begin alike. Pages are shared, not copied: an entry costs what no
// other sequence holds.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <vector>

#include "runtime/core/kv_pages.h"

namespace forge::rt {

// A text and its KV: tokens[p] lies at position p, for p < kv.n_past.
struct CachedText {
  std::vector<int32_t> tokens;  // [kv.n_past]
  // Positions before this one are of prompt rows that saw nothing but prompt rows: what any run of the same tokens
  // as a prompt computes, bit for bit. Behind it stand generated rows, or rows that saw some.
  uint32_t n_prompt_rows = 0;
  Sequence kv;
  std::vector<int32_t> slots = {};  // of the scheduler, whose last text it is
};

// Whether a text makes another superfluous: that begins it, and of no more of its positions are prompt rows known. What is
// known of a text's rows is worth more than its length.
bool covers(std::span<const int32_t> a, uint32_t a_prompt_rows, std::span<const int32_t> b,
            uint32_t b_prompt_rows);

// How many tokens a and b have in common at their beginning.
uint32_t common_beginning(std::span<const int32_t> a, std::span<const int32_t> b);

class PrefixCache {
 public:
  explicit PrefixCache(KvPool& pool) : pool_(&pool) {}

  // The entry with the longest beginning in common with `tokens`, and how long that is; of prompt rows alone where
  // `prompt_rows_only`. Null where there is none.
  struct Match {
    const CachedText* text = nullptr;
    uint32_t n = 0;
  };
  Match find(std::span<const int32_t> tokens, bool prompt_rows_only) const;
  // Shares the first n positions of a text that find() gave, which counts as its use.
  Sequence share(const CachedText& text, uint32_t n);
  // Takes over the text's KV. An entry that the text covers goes, and the text itself where an entry covers it. An entry of the same slot is no slot's any more.
  void insert(CachedText text);
  // Gives back the pages of the entry that was used longest ago, which `before` (may be empty) sees first; false where
  // there is none.
  bool evict(const std::function<void(const CachedText&)>& before = nullptr);
  // The slot's entry; null where it has none.
  const CachedText* of_slot(int32_t slot) const;
  // The slot has no entry any more, which goes where it is no other slot's either. Its tokens; 0 where there was none.
  uint32_t erase_slot(int32_t slot);
  void clear();

  size_t n_entries() const { return entries_.size(); }
  const std::list<CachedText>& entries() const { return entries_; }

 private:
  KvPool* pool_;
  std::list<CachedText> entries_;  // the last used one first
};

}  // namespace forge::rt
