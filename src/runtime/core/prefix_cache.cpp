#include "runtime/core/prefix_cache.h"

#include <algorithm>

namespace forge::rt {

bool covers(std::span<const int32_t> a, uint32_t a_prompt_rows, std::span<const int32_t> b,
            uint32_t b_prompt_rows) {
  return a_prompt_rows >= b_prompt_rows && a.size() >= b.size() && std::equal(b.begin(), b.end(), a.begin());
}

uint32_t common_beginning(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<uint32_t>(end - a.begin());
}

PrefixCache::Match PrefixCache::find(std::span<const int32_t> tokens, bool prompt_rows_only) const {
  Match best;
  for (const CachedText& text : entries_) {
    uint32_t n = common_beginning(text.tokens, tokens);
    if (prompt_rows_only) n = std::min(n, text.n_prompt_rows);
    if (n > best.n) best = {&text, n};
  }
  return best;
}

Sequence PrefixCache::share(const CachedText& text, uint32_t n) {
  const auto at =
      std::find_if(entries_.begin(), entries_.end(), [&](const CachedText& e) { return &e == &text; });
  entries_.splice(entries_.begin(), entries_, at);
  return pool_->share(text.kv, n);
}

void PrefixCache::insert(CachedText text) {
  const auto drop = [&](std::list<CachedText>::iterator at) {
    pool_->truncate(at->kv, 0);
    return entries_.erase(at);
  };
  for (CachedText& e : entries_)
    for (const int32_t slot : text.slots) std::erase(e.slots, slot);
  entries_.push_front(std::move(text));
  CachedText& added = entries_.front();
  for (auto at = std::next(entries_.begin()); at != entries_.end();) {
    if (covers(added.tokens, added.n_prompt_rows, at->tokens, at->n_prompt_rows)) {
      added.slots.insert(added.slots.end(), at->slots.begin(), at->slots.end());
      at = drop(at);
    } else if (covers(at->tokens, at->n_prompt_rows, added.tokens, added.n_prompt_rows)) {
      at->slots.insert(at->slots.end(), added.slots.begin(), added.slots.end());
      entries_.splice(std::next(entries_.begin()), entries_, at);
      drop(entries_.begin());
      return;
    } else {
      ++at;
    }
  }
}

const CachedText* PrefixCache::of_slot(int32_t slot) const {
  const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const CachedText& e) {
    return std::find(e.slots.begin(), e.slots.end(), slot) != e.slots.end();
  });
  return at == entries_.end() ? nullptr : &*at;
}

uint32_t PrefixCache::erase_slot(int32_t slot) {
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (std::erase(at->slots, slot) == 0) continue;
    const uint32_t n = at->kv.n_past;
    if (at->slots.empty()) {
      pool_->truncate(at->kv, 0);
      entries_.erase(at);
    }
    return n;
  }
  return 0;
}

bool PrefixCache::evict(const std::function<void(const CachedText&)>& before) {
  if (entries_.empty()) return false;
  if (before) before(entries_.back());
  pool_->truncate(entries_.back().kv, 0);
  entries_.pop_back();
  return true;
}

void PrefixCache::clear() {
  while (evict()) {
  }
}

}  // namespace forge::rt
