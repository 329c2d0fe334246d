// The payload: a self-describing file with everything a program needs beside its code (contract).
//
//   offset 0    PayloadHeader, then n_sections SectionEntry
//   sections    each at a multiple of 256 bytes, in the order of the table, gaps filled with zeros
//
// All integers little-endian; offsets count from the payload's start. A carrier says where the payload lies:
// the tail of an ELF executable (page-aligned, its last 32 bytes are a PayloadTrailer), or a file of its own.
//
// Sections:
//   manifest    text, one `key = value` a line; in values "\\" and "\n" are escaped by a backslash
//   tokenizer   tables of runtime/core/tokenizer.h
//   template    the chat template (Jinja); may be empty
//   source.kv   the checkpoint's metadata, in GGUF's encoding
//   tensors     text, one tensor a line: `name type rows cols layout offset bytes hash`, tab-separated;
//               offset from the start of the weights section, hash as 16 hex digits
//   answers     the grammar that answers match (mask_image.h), where the program has one
//   prompt      the KV of a system prompt (kv_image.h), where the program carries one; page-aligned within the payload
//   weights     packed weights, each tensor at a multiple of 256 bytes; page-aligned within the payload
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/result.h"

namespace forge::rt {

inline constexpr char kPayloadMagic[8] = {'F', 'O', 'R', 'G', 'E', 'P', 'A', 'Y'};
inline constexpr char kTrailerMagic[8] = {'F', 'O', 'R', 'G', 'E', 'T', 'R', 'L'};
inline constexpr uint32_t kPayloadVersion = 1;
inline constexpr uint64_t kSectionAlignment = 256;
inline constexpr uint64_t kPageAlignment = 4096;

struct PayloadHeader {
  char magic[8];
  uint32_t version;
  uint32_t n_sections;
  uint64_t payload_bytes;  // the whole payload
  uint64_t plan_hash;      // of the plan that the code was generated from
  uint64_t table_hash;     // hash64 of the section table and of this header with table_hash zero
  uint64_t reserved[3];
};
static_assert(sizeof(PayloadHeader) == 64);

struct SectionEntry {
  char name[24];  // zero-padded
  uint64_t offset;
  uint64_t bytes;
  uint64_t
      hash;  // hash64 of the section; checked at every start; 0 for those that have hashes of their own: weights,
             // prompt and answers
  uint64_t reserved[2];
};
static_assert(sizeof(SectionEntry) == 64);

struct PayloadTrailer {  // the last 32 bytes of an executable that carries a payload
  char magic[8];
  uint64_t payload_offset;  // in the file, page-aligned
  uint64_t payload_bytes;
  uint64_t reserved;
};
static_assert(sizeof(PayloadTrailer) == 32);

// A fast 64-bit hash against accidental change (not against an adversary): several bytes a cycle.
uint64_t hash64(std::span<const uint8_t> bytes, uint64_t seed = 0);
// What PayloadHeader::table_hash must be: over the header with table_hash zero, then the table.
uint64_t payload_table_hash(const PayloadHeader& header, std::span<const SectionEntry> table);

// A checked view of a payload; the bytes must outlive it.
struct Payload {
  std::span<const uint8_t> bytes;
  uint64_t plan_hash = 0;
  std::span<const uint8_t> tokenizer, source_kv, weights;
  std::span<const uint8_t> prompt, answers;  // empty where there are none
  std::string_view chat_template;
  std::string_view tensors;                                  // the table's text
  std::map<std::string, std::string, std::less<>> manifest;  // unescaped

  // The manifest's value, or an Error naming the key.
  Result<std::string_view> string(std::string_view key) const;
  Result<int64_t> integer(std::string_view key) const;
};

struct TensorEntry {
  std::string name, type, layout;
  uint64_t rows = 0, cols = 0, offset = 0, bytes = 0, hash = 0;
};

// Checks magic, version, length, the table and the hash of every section but weights, prompt and answers (about a millisecond).
Result<Payload> open_payload(std::span<const uint8_t> bytes);
// Whether a table may describe tensors that its payload does not hold: the interpreter's has no weights section.
enum class AbsentWeights : uint8_t { refused, allowed };
// The tensor table, every entry inside the weights section; where that is absent and allowed to be, anywhere.
Result<std::vector<TensorEntry>> parse_tensor_table(const Payload& payload,
                                                    AbsentWeights absent = AbsentWeights::refused);
// Hashes every tensor, the prompt and the answers' grammar; the Error names the first one that was altered.
Status verify_weights(const Payload& payload);

}  // namespace forge::rt
