// KV that is kept elsewhere than in the engine's pool: in the program, on disk.
#pragma once

#include <cstdint>
#include <functional>
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
  // Opens that text, so that nothing which keep() does can take it away: a function that loads its first n positions, no
  // more than longest() said, into `text`, which is empty. It returns false where the pool has no room: then `text` stays
  // empty. Empty where the text can't be read after all.
  using Load = std::function<bool(uint32_t n, KvPool& pool, CachedText& text)>;
  virtual Load open(std::span<const int32_t> prompt, bool prompt_rows_only) = 0;
  // A text that is about to lose its KV, to be kept or not.
  virtual void keep(const CachedText& text, const KvPool& pool) = 0;
};

// The one text whose KV the program carries (forge compile --system-prompt).
class ProgramPrompt final : public KvStore {
 public:
  explicit ProgramPrompt(KvImage image) : image_(std::move(image)) {}
  uint32_t longest(std::span<const int32_t> prompt, bool prompt_rows_only) override;
  Load open(std::span<const int32_t> prompt, bool prompt_rows_only) override;
  void keep(const CachedText&, const KvPool&) override {}

 private:
  KvImage image_;
};

// The image's first n positions as a text; false where the pool has no room.
bool load_text(const KvImage& image, uint32_t n, KvPool& pool, CachedText& text);

}  // namespace forge::rt
