#include "runtime/core/kv_image.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace forge::rt {
namespace {

constexpr char kMagic[8] = {'F', 'O', 'R', 'G', 'E', 'S', 'T', 'A'};
constexpr uint32_t kVersion = 2;
constexpr uint8_t kPadding[kPageAlignment] = {};

// Zeros behind n bytes.
uint64_t padding_behind(uint64_t n) { return (kPageAlignment - n % kPageAlignment) % kPageAlignment; }

template <class T>
std::span<const uint8_t> bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

uint64_t header_hash(KvImageHeader header) {
  header.hash = 0;
  return hash64({reinterpret_cast<const uint8_t*>(&header), sizeof header});
}

// The image's parts behind its header, where its length fits that.
struct Parts {
  KvImageHeader header;
  std::span<const uint8_t> tokens, note, padding, pages;
};

std::optional<KvImageHeader> header_of(std::span<const uint8_t> bytes) {
  KvImageHeader header{};
  if (bytes.size() < sizeof header || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

Result<Parts> split(std::span<const uint8_t> bytes) {
  const auto found = header_of(bytes);
  if (!found) return Error{"not a file of --save-state"};
  const KvImageHeader& header = *found;
  if (header.version != kVersion)
    return Error{text("state version ", header.version, ", this program reads ", kVersion)};
  const uint64_t page_bytes = header.kv_page_bytes;
  // Each limit before it is used: none of the sums can overflow.
  uint64_t rest = bytes.size() - sizeof header;
  const auto takes = [&rest](uint64_t n) {
    if (n > rest) return false;
    rest -= n;
    return true;
  };
  const bool whole = page_bytes != 0 && header.n_tokens <= rest / sizeof(int32_t) &&
                     takes(header.n_tokens * sizeof(int32_t)) && takes(header.note_bytes) &&
                     takes(padding_behind(bytes.size() - rest)) && rest % page_bytes == 0 &&
                     rest / page_bytes == pages_for(header.n_past) && header.n_past <= header.n_tokens &&
                     header.n_tokens <= uint64_t{header.n_past} + 1 && header.n_prompt_rows <= header.n_past;
  if (!whole) return Error{"truncated or altered (its length does not fit its header)"};
  Parts out{.header = header, .tokens = {}, .note = {}, .padding = {}, .pages = {}};
  std::span<const uint8_t> at = bytes.subspan(sizeof header);
  const auto take = [&at](uint64_t n) {
    const auto part = at.first(static_cast<size_t>(n));
    at = at.subspan(static_cast<size_t>(n));
    return part;
  };
  out.tokens = take(header.n_tokens * sizeof(int32_t));
  out.note = take(header.note_bytes);
  out.padding = take(padding_behind(bytes.size() - at.size()));
  out.pages = at;
  return out;
}

Status check_hash(const Parts& parts) {
  uint64_t hash = header_hash(parts.header);
  for (const auto part : {parts.tokens, parts.note, parts.padding}) hash = hash64(part, hash);
  const auto page_bytes = static_cast<size_t>(parts.header.kv_page_bytes);
  for (auto pages = parts.pages; !pages.empty(); pages = pages.subspan(page_bytes))
    hash = hash64(pages.first(page_bytes), hash);
  if (hash != parts.header.hash) return Error{"truncated or altered (hash mismatch)"};
  return Ok{};
}

}  // namespace

KvIdentity kv_identity(const ModelCode& code, const Payload& payload) {
  PayloadHeader header{};
  if (payload.bytes.size() >= sizeof header) std::memcpy(&header, payload.bytes.data(), sizeof header);
  return {.plan_hash = code.plan_hash,
          .model_hash = header.table_hash,
          .page_bytes = code.kv_page_bytes,
          .n_vocab = code.n_vocab,
          .level = code.level};
}

std::vector<std::span<const uint8_t>> kv_image_parts(const KvIdentity& identity, const KvPool& pool,
                                                     const Sequence& sequence,
                                                     std::span<const int32_t> tokens, uint32_t n_prompt_rows,
                                                     std::string_view note, KvImageHeader& header) {
  header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.n_past = sequence.n_past;
  header.plan_hash = identity.plan_hash;
  header.model_hash = identity.model_hash;
  header.kv_page_bytes = identity.page_bytes;
  header.n_tokens = tokens.size();
  header.note_bytes = note.size();
  header.n_prompt_rows = n_prompt_rows;
  identity.level.copy(header.level, sizeof header.level);
  std::vector<std::span<const uint8_t>> parts = {
      {reinterpret_cast<const uint8_t*>(&header), sizeof header},
      bytes_of(tokens),
      {reinterpret_cast<const uint8_t*>(note.data()), note.size()}};
  parts.emplace_back(kPadding,
                     static_cast<size_t>(padding_behind(sizeof header + parts[1].size() + parts[2].size())));
  for (uint32_t i = 0; i < pages_for(sequence.n_past); ++i) parts.emplace_back(pool.page(sequence.pages[i]));
  uint64_t hash = header_hash(header);
  for (const auto part : std::span(parts).subspan(1)) hash = hash64(part, hash);
  header.hash = hash;
  return parts;
}

uint64_t kv_image_bytes(const KvIdentity& identity, uint32_t n_past) {
  const uint64_t head = sizeof(KvImageHeader) + uint64_t{n_past} * sizeof(int32_t);
  return head + padding_behind(head) + pages_for(n_past) * identity.page_bytes;
}

Result<KvImage> read_kv_image(std::span<const uint8_t> bytes, const KvIdentity& identity,
                              KvImageCheck check) {
  auto parts = split(bytes);
  if (!parts) return parts.error();
  const KvImageHeader& header = parts->header;
  const bool check_all = check == KvImageCheck::all;
  if (header.kv_page_bytes != identity.page_bytes ||
      (check_all && (header.plan_hash != identity.plan_hash || header.model_hash != identity.model_hash)))
    return Error{"the state of another model, or of the same one compiled differently"};
  if (check_all) {
    if (const Status whole = check_hash(*parts); !whole) return whole.error();
  }
  KvImage out;
  out.tokens.resize(static_cast<size_t>(header.n_tokens));
  if (!out.tokens.empty()) std::memcpy(out.tokens.data(), parts->tokens.data(), parts->tokens.size());
  for (const int32_t token : out.tokens) {
    if (token < 0 || static_cast<uint32_t>(token) >= identity.n_vocab)
      return Error{text("token ", token, " is not in the vocabulary")};
  }
  out.n_past = header.n_past;
  const std::string_view padded(header.level, sizeof header.level);
  if (padded.substr(0, padded.find('\0')) == identity.level) out.n_prompt_rows = header.n_prompt_rows;
  out.note = {reinterpret_cast<const char*>(parts->note.data()), parts->note.size()};
  out.pages = parts->pages;
  return out;
}

Status verify_kv_image(std::span<const uint8_t> bytes) {
  const auto parts = split(bytes);
  return parts ? check_hash(*parts) : parts.error();
}

Status place_kv(const KvImage& image, uint32_t n, KvPool& pool, Sequence& sequence) {
  if (Status status = pool.reserve(sequence, n); !status) return status;
  size_t at = 0;
  for (const uint32_t page : sequence.pages) {
    const std::span<uint8_t> to = pool.page(page);
    if (!image.map || !image.map(to, at)) std::memcpy(to.data(), image.pages.data() + at, to.size());
    at += to.size();
  }
  sequence.n_past = n;
  return Ok{};
}

}  // namespace forge::rt
