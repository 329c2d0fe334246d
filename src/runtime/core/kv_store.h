// KV that is kept elsewhere than in the engine's pool: in the program, on disk.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/core/kv_image.h"
#include "runtime/core/prefix_cache.h"

namespace forge::rt {

class KvStore {
 public:
  KvStore() = default;
  KvStore(const KvStore&) = delete;
  KvStore& operator=(const KvStore&) = delete;
  virtual ~KvStore() = default;
  // How many tokens the kept text that begins most like `prompt` has in common with it; of prompt rows alone where
  // `prompt_rows_only`.
  virtual uint32_t longest(std::span<const int32_t> prompt, bool prompt_rows_only) = 0;
  // That text's first n positions, no more than longest() said, into `text`, which is empty. False where it can't be read
  // after all, or the pool has no room: then `text` stays empty.
  virtual bool load(std::span<const int32_t> prompt, uint32_t n, KvPool& pool, CachedText& text) = 0;
  // A text that is about to lose its KV, to be kept or not.
  virtual void keep(const CachedText& text, const KvPool& pool) = 0;
};

// The one text whose KV the program carries (forge compile --system-prompt).
class ProgramPrompt final : public KvStore {
 public:
  explicit ProgramPrompt(KvImage image) : image_(std::move(image)) {}
  uint32_t longest(std::span<const int32_t> prompt, bool prompt_rows_only) override;
  bool load(std::span<const int32_t> prompt, uint32_t n, KvPool& pool, CachedText& text) override;
  void keep(const CachedText&, const KvPool&) override {}

 private:
  KvImage image_;
};

// The image's first n positions as a text; false where the pool has no room.
bool load_text(const KvImage& image, uint32_t n, KvPool& pool, CachedText& text);

}  // namespace forge::rt
