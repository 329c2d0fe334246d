// A grammar, the vocabulary's trie and the masks of both as bytes: what a program carries whose answers match a grammar,
// so that nothing of it is computed when it runs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/core/token_masks.h"

namespace forge::rt {

// With masks of about max_bytes; what is missing is found when it is needed. The same on every machine.
std::vector<uint8_t> write_mask_image(const std::shared_ptr<const VocabularyTrie>& trie,
                                      const Grammar& grammar, size_t max_bytes);
// Whether the bytes are as they were written.
Status verify_mask_image(std::span<const uint8_t> bytes);
// Error for bytes that were altered, or of another vocabulary's size.
Result<std::shared_ptr<TokenMasks>> read_mask_image(std::span<const uint8_t> bytes, uint32_t n_vocab);

}  // namespace forge::rt
