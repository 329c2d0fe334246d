#include "runtime/core/kv_pages.h"

#include <algorithm>
#include <cstring>

namespace forge::rt {

KvPool::KvPool(std::span<uint8_t> region, uint64_t page_bytes)
    : region_(region),
      page_bytes_(static_cast<size_t>(page_bytes)),
      n_pages_(page_bytes == 0
                   ? 0
                   : static_cast<uint32_t>(std::min<uint64_t>(region.size() / page_bytes, UINT32_MAX))) {}

Status KvPool::reserve(Sequence& sequence, uint32_t n) {
  if (n == 0) return Ok{};
  if (n > UINT32_MAX - sequence.n_past) return Error{"KV pages: position overflow"};
  const size_t first_written = sequence.n_past / kPagePositions;
  const size_t n_needed = pages_for(sequence.n_past + n);
  size_t n_shared = 0;
  for (size_t i = first_written; i < sequence.pages.size(); ++i)
    n_shared += references_[sequence.pages[i]] > 1;
  const size_t n_new = n_needed > sequence.pages.size() ? n_needed - sequence.pages.size() : 0;
  if (n_shared + n_new > n_free()) {
    return Error{
        text("KV pages: ", n_shared + n_new, " pages wanted, ", n_free(), " of ", n_pages_, " are free")};
  }
  for (size_t i = first_written; i < sequence.pages.size(); ++i) {
    const uint32_t old = sequence.pages[i];
    if (references_[old] == 1) continue;
    const uint32_t copy = allocate();
    std::memcpy(page(copy).data(), page(old).data(), page_bytes_);
    release(old);
    sequence.pages[i] = copy;
  }
  while (sequence.pages.size() < n_needed) sequence.pages.push_back(allocate());
  return Ok{};
}

void KvPool::truncate(Sequence& sequence, uint32_t n_past) {
  sequence.n_past = std::min(n_past, sequence.n_past);
  const uint32_t n_kept = pages_for(sequence.n_past);
  while (sequence.pages.size() > n_kept) {
    release(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

Sequence KvPool::share(const Sequence& from, uint32_t n_past) {
  Sequence out;
  out.n_past = std::min(n_past, from.n_past);
  out.pages.assign(from.pages.begin(), from.pages.begin() + pages_for(out.n_past));
  for (const uint32_t i : out.pages) ++references_[i];
  return out;
}

uint32_t KvPool::allocate() {
  if (!released_.empty()) {
    const uint32_t i = released_.back();
    released_.pop_back();
    references_[i] = 1;
    return i;
  }
  references_.push_back(1);
  return next_fresh_++;
}

void KvPool::release(uint32_t i) {
  if (--references_[i] == 0) released_.push_back(i);
}

}  // namespace forge::rt
