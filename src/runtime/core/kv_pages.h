// KV memory as pages of kPagePositions positions over a region that the host reserved. Pages are
// reference-counted: sequences can share a prefix; a page that is to be written and is shared is copied
// first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/core/result.h"
#include "runtime/core/step.h"

namespace forge::rt {

// One sequence's KV: pages[p / kPagePositions] holds position p; positions 0 .. n_past - 1 are present.
// Move-only in spirit: hand it back with KvPool::truncate(s, 0).
struct Sequence {
  std::vector<uint32_t> pages;
  uint32_t n_past = 0;
};

class KvPool {
 public:
  // Page i lies at region + i * page_bytes. The region is touched only as pages are used; never-used pages
  // are handed out in ascending order, so that a lone sequence has the identity table.
  KvPool(std::span<uint8_t> region, uint64_t page_bytes);

  // Makes positions n_past .. n_past + n - 1 writable: allocates pages, copies those that are shared. n_past
  // stays. On an Error (no page left) the sequence is as it was.
  Status reserve(Sequence& sequence, uint32_t n);
  // Keeps positions below n_past (which must be at most sequence.n_past) and releases the pages behind them.
  void truncate(Sequence& sequence, uint32_t n_past);
  // A sequence that shares the first n_past positions (at most from.n_past).
  Sequence share(const Sequence& from, uint32_t n_past);

  std::span<uint8_t> page(uint32_t i) const { return region_.subspan(i * page_bytes_, page_bytes_); }
  uint8_t* base() const { return region_.data(); }
  uint32_t n_pages() const { return n_pages_; }
  uint32_t n_free() const { return n_pages_ - next_fresh_ + static_cast<uint32_t>(released_.size()); }
  uint32_t references(uint32_t i) const { return i < references_.size() ? references_[i] : 0; }

 private:
  uint32_t allocate();  // a free page; n_free() must not be 0
  void release(uint32_t i);

  std::span<uint8_t> region_;
  size_t page_bytes_;
  uint32_t n_pages_;
  uint32_t next_fresh_ = 0;           // pages from here on were never used
  std::vector<uint32_t> released_;    // used before, free now
  std::vector<uint32_t> references_;  // [next_fresh_]
};

// Pages that n positions take.
inline uint32_t pages_for(uint32_t n) { return n / kPagePositions + (n % kPagePositions != 0 ? 1 : 0); }

}  // namespace forge::rt
