// The KV of a text's beginning as bytes, to be kept in a file or in the program that made it:
//
//   KvImageHeader | tokens, int32 each | a note | zeros up to a multiple of 4096 | pages, kv_page_bytes each
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/core/kv_pages.h"
#include "runtime/core/payload.h"
#include "runtime/core/result.h"
#include "runtime/core/step.h"

namespace forge::rt {

struct KvImageHeader {
  char magic[8];
  uint32_t version;
  uint32_t n_past;  // positions whose KV is in the pages
  uint64_t plan_hash;
  uint64_t model_hash;  // the payload's table hash, which covers the hashes of all tensors
  uint64_t kv_page_bytes;
  uint64_t n_tokens;  // n_past, or one more: a token that was generated and not yet run
  uint64_t note_bytes;
  uint64_t hash;           // of everything, with this field zero
  uint32_t n_prompt_rows;  // see CachedText
  char level[60];          // whose arithmetic the prompt rows are of, zero-padded
};
static_assert(sizeof(KvImageHeader) == 128);

// Whose KV it is.
struct KvIdentity {
  uint64_t plan_hash = 0, model_hash = 0, page_bytes = 0;
  uint32_t n_vocab = 0;
  std::string_view level;
};
KvIdentity kv_identity(const ModelCode& code, const Payload& payload);

struct KvImage {
  std::vector<int32_t> tokens;
  uint32_t n_past = 0;
  uint32_t n_prompt_rows = 0;  // 0 where another level computed them: they may have other bits here
  std::string_view note;
  std::span<const uint8_t> pages;  // [pages_for(n_past)]
  // Makes `to` hold the bytes that begin at pages[offset] without reading them, as a host can that has them in a file;
  // false where that can't be, and empty where nobody can: then they are copied.
  std::function<bool(std::span<uint8_t> to, uint64_t offset)> map;

  std::span<const int32_t> present() const { return std::span(tokens).first(n_past); }
};

// The parts of an image, in their order; the first is `header`, which is filled in. All but the header point into what is
// given. tokens: those of the sequence, and perhaps one behind them.
std::vector<std::span<const uint8_t>> kv_image_parts(const KvIdentity& identity, const KvPool& pool,
                                                     const Sequence& sequence,
                                                     std::span<const int32_t> tokens, uint32_t n_prompt_rows,
                                                     std::string_view note, KvImageHeader& header);

// Bytes of an image of n_past positions and as many tokens, with no note.
uint64_t kv_image_bytes(const KvIdentity& identity, uint32_t n_past);

// What is checked: all, as of a file that comes from anywhere; or its shape, so that it can be looked into. That is enough
// for what a program carries: a program of the same weights and KV layout made it, and info --verify hashes it.
enum class KvImageCheck : uint8_t { all, shape };
// Points into `bytes`. The Error says what is wrong, without a name in front.
Result<KvImage> read_kv_image(std::span<const uint8_t> bytes, const KvIdentity& identity, KvImageCheck check);
// Whether the image's hash is right, whoever it belongs to.
Status verify_kv_image(std::span<const uint8_t> bytes);

// Fills `sequence`, which must be empty, with the first n positions. Error where the pool has no room.
Status place_kv(const KvImage& image, uint32_t n, KvPool& pool, Sequence& sequence);

}  // namespace forge::rt
