#include "runtime/core/kv_store.h"

#include <algorithm>

namespace forge::rt {

bool load_text(const KvImage& image, uint32_t n, KvPool& pool, CachedText& text) {
  if (!place_kv(image, n, pool, text.kv)) return false;
  text.tokens.assign(image.tokens.begin(), image.tokens.begin() + n);
  text.n_prompt_rows = std::min(n, image.n_prompt_rows);
  return true;
}

uint32_t ProgramPrompt::longest(std::span<const int32_t> prompt, bool prompt_rows_only) {
  const uint32_t n = common_beginning(image_.present(), prompt);
  return prompt_rows_only ? std::min(n, image_.n_prompt_rows) : n;
}

KvStore::Load ProgramPrompt::open(std::span<const int32_t>, bool) {
  return [this](uint32_t n, KvPool& pool, CachedText& text) { return load_text(image_, n, pool, text); };
}

}  // namespace forge::rt
