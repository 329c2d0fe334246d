// The tokenizer tables: a flat blob that formats/tokenizer_tables.cpp writes and runtime/core/tokenizer.cpp
// uses where it lies, without parsing. Little-endian; a header, then the sections it names, each at a
// multiple of 8.
//
// Bytes of pieces are what decoding gives: GPT-2's byte alphabet and SentencePiece's "▁" are resolved when
// the tables are built. Hash tables use open addressing with linear probing: an entry lies at or after
// slot_of(hash), before the next empty slot; every non-empty table has an empty slot.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace forge::rt::tokenizer_format {

static_assert(std::endian::native == std::endian::little);

inline constexpr char kMagic[8] = {'F', 'O', 'R', 'G', 'E', 'T', 'O', 'K'};
inline constexpr uint32_t kVersion = 1;
inline constexpr int32_t kNone = -1;  // "no such token", and an empty slot

enum class Model : uint32_t {
  spm = 0,  // SentencePiece BPE: merges what makes the piece with the best score; byte fallback
  bpe = 1,  // byte-level BPE: merges by rank
};

enum Flags : uint32_t {
  kAddBos = 1,
  kAddEos = 2,
  kAddSpacePrefix = 4,
  kIgnoreMerges = 8,
};

enum Attributes : uint8_t {
  kControl = 1,  // control and unknown tokens: text gives them only with parse_special
  kHidden = 2,   // prints nothing unless special tokens are asked for
  kEndOfGeneration = 4,
  kStripRight = 8,  // white space behind it is dropped when it is recognised in text
};

struct Section {
  uint32_t offset;  // from the start of the blob
  uint32_t count;   // entries
};

struct PieceSlot {  // piece bytes -> id, for what merging may produce
  uint32_t hash;
  int32_t id;
};

struct MergeSlot {  // (left, right) -> (rank, merged)
  int32_t left, right;
  uint32_t rank;
  int32_t merged;  // kNone in an empty slot
};

struct SpecialSlot {        // a token that is recognised in text before anything else
  uint32_t offset, length;  // of its text, in the pool
  uint32_t hash;
  int32_t id;
};

struct Header {
  char magic[8];
  uint32_t version;
  Model model;
  uint32_t flags;
  uint32_t n_vocab;
  int32_t bos, eos, eot, unk, pad;
  uint32_t max_piece_bytes;   // the longest piece in piece_slots
  char splitter[32];          // bpe: the pre-tokenizer's name, zero-padded
  uint8_t joins_space[32];    // bit b: some piece in piece_slots holds byte b followed by a space
  uint8_t special_first[32];  // bit b: some special token's text starts with byte b
  int32_t byte_ids[256];      // the token of a single byte (bpe), or its fallback token (spm)
  Section piece_offsets;      // uint32_t, n_vocab + 1, ascending, into the pool
  Section attributes;         // uint8_t, n_vocab
  Section priorities;         // uint32_t, n_vocab (spm): 0 for the best score, equal for equal scores
  Section piece_slots;        // PieceSlot (spm, and bpe with kIgnoreMerges)
  Section merge_slots;        // MergeSlot (bpe)
  Section special_slots;      // SpecialSlot
  Section special_lengths;    // uint32_t, the lengths of special tokens' texts, descending, each once
  Section pool;               // bytes
};
static_assert(sizeof(Header) % 8 == 0);

inline uint32_t finish_hash(uint64_t h) {
  return static_cast<uint32_t>((h ^ h >> 29) * 0x9e3779b97f4a7c15u >> 32);
}

inline uint32_t hash_pair(int32_t left, int32_t right) {
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  return finish_hash(key * 0xff51afd7ed558ccdu);
}

inline uint32_t hash_bytes(std::string_view s) {
  constexpr uint64_t kMultiplier = 0xff51afd7ed558ccdu;
  const auto load = [&](size_t at, auto value) {
    std::memcpy(&value, s.data() + at, sizeof value);
    return static_cast<uint64_t>(value);
  };
  const size_t n = s.size();
  uint64_t h = n * kMultiplier;
  size_t at = 0;
  for (; at + 8 < n; at += 8) h = (std::rotl(h, 23) ^ load(at, uint64_t{})) * kMultiplier;
  uint64_t tail = 0;  // the last 1 to 8 bytes, by loads that may overlap
  if (n - at >= 4) {
    tail = load(at, uint32_t{}) << 32 | load(n - 4, uint32_t{});
  } else if (n > at) {
    tail = load(at, uint8_t{}) << 16 | load(at + (n - at) / 2, uint8_t{}) << 8 | load(n - 1, uint8_t{});
  }
  return finish_hash((std::rotl(h, 23) ^ tail) * kMultiplier);
}

// Where the search for a hash starts in a table of n_slots (not 0).
inline uint32_t slot_of(uint32_t hash, uint32_t n_slots) {
  return static_cast<uint32_t>(static_cast<uint64_t>(hash) * n_slots >> 32);
}

}  // namespace forge::rt::tokenizer_format
