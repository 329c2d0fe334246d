// The tokenizer tables: a flat blob that formats/tokenizer_tables.cpp writes and runtime/core/tokenizer.cpp
// uses where it lies, without parsing. Little-endian; a header, then the sections it names, each at a
// multiple of 8.
//
// Bytes of pieces are what decoding gives: GPT-2's byte alphabet and SentencePiece's "▁" are resolved when
// the tables are built. Hash tables use open addressing with linear probing: an entry lies at or after
// slot_of(hash), before the next empty slot; every non-empty table has an empty slot.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace forge::rt::tokenizer_format {

static_assert(std::endian::native == std::endian::little);

inline constexpr char kMagic[8] = {'F', 'O', 'R', 'G', 'E', 'T', 'O', 'K'};
inline constexpr uint32_t kVersion = 2;
inline constexpr int32_t kNone = -1;  // "no such token", and an empty slot

enum class Model : uint32_t {
  spm = 0,      // SentencePiece BPE: merges what makes the piece with the best score
  bpe = 1,      // BPE: merges by rank
  unigram = 2,  // SentencePiece Unigram: the pieces with the best sum of scores
};

enum Flags : uint32_t {
  kAddBos = 1,
  kAddEos = 2,
  kAddSpacePrefix = 4,         // text between special tokens gets a space in front
  kIgnoreMerges = 8,           // a word that is itself in the vocabulary is not put together from merges
  kBytes = 16,                 // bpe: merging starts with bytes instead of characters
  kSpaces = 32,                // pieces hold a space where the file has "▁", and "▁" in text is a space
  kPrefixFirst = 64,           // kAddSpacePrefix, but only at the start of the text
  kPrefixMissing = 128,        // kAddSpacePrefix, but not before a space
  kPrefixWords = 256,          // kAddSpacePrefix, but for each word
  kNormalizedSpecials = 1024,  // some tokens are recognised in normalized text
  kFuseUnknown = 512,          // neighbouring unknown tokens are one
};

enum Attributes : uint8_t {
  kControl = 1,  // control and unknown tokens: text gives them only with parse_special
  kHidden = 2,   // prints nothing unless special tokens are asked for
  kEndOfGeneration = 4,
  kStripRight = 8,   // white space behind it is dropped when it is recognised in text
  kStripLeft = 16,   // white space before it likewise
  kWholeWord = 32,   // recognised only where no word character stands next to it
  kNormalized = 64,  // recognised in normalized text
};

// GPT-2 writes each byte as a printable character: itself where it is one, else the next free one from
// U+0100.
inline constexpr auto kByteAlphabet = [] {
  std::array<uint32_t, 256> alphabet{};
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
    alphabet[b] = printable ? b : next++;
  }
  return alphabet;
}();

struct Section {
  uint32_t offset;  // from the start of the blob
  uint32_t count;   // entries
};

// What is done to text before it is cut, in order.
enum class StepKind : uint32_t {
  prepend = 0,   // text, unless there is none
  strip = 1,     // white space; a: 1 at the start, 2 at the end, 3 at both
  replace = 2,   // matches of regexes[a] by text
  map = 3,       // characters by what mappings[a, a + b) holds for them
  charsmap = 4,  // the longest match of SentencePiece's map at each place
};
enum MapFlags : uint32_t {
  kMapReorder = 1,  // combining marks by their classes, as Unicode's normalization forms have them
  kMapCompose = 2,  // and characters with their marks (NFC, NFKC)
};
struct Step {
  StepKind kind;
  uint32_t a, b;
  uint32_t map_flags;
  uint32_t text, text_length;  // in the pool
};
struct MappingSlot {  // character -> text in the pool
  int32_t character;  // kNone in an empty slot
  uint32_t offset, length;
};
struct CombiningSlot {  // character -> its canonical combining class, where that is not 0
  int32_t character;
  uint32_t combining_class;
};
struct CompositeSlot {  // two characters -> the one that they compose
  int32_t first, second, composite;
};
struct TrieSlot {            // (node, byte) -> node; the root is node 0
  int32_t node, byte, next;  // next: kNone in an empty slot
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

// A regular expression as a table: state × class of the next character (the last class: the text ends) ->
// next state, and whether the expression matches up to before that character.
struct Regex {
  uint32_t first;  // of its n_states * n_classes entries in transitions
  uint32_t n_states;
};
inline constexpr uint16_t kDeadState = 0, kStartState = 1, kMatchBit = 0x8000;
inline constexpr uint32_t kCharBlockBits = 7;  // characters' classes lie in blocks of 128

// What becomes of the matches of a splitting expression and of the text between them.
enum class Behavior : uint32_t {
  isolated = 0,         // both are pieces
  removed = 1,          // the text between matches is
  contiguous = 2,       // neighbouring matches are one piece
  merged_previous = 3,  // a match belongs to the piece before it
  merged_next = 4,
};
struct Split {  // cuts what the one before left; regexes[i] of the i-th
  Behavior behavior;
  uint32_t inverted;  // matches and text between them change places
  uint32_t bytes;     // sees a byte as the character that stands for it in kByteAlphabet
};

struct Header {
  char magic[8];
  uint32_t version;
  Model model;
  uint32_t flags;
  uint32_t n_vocab;
  int32_t bos, eos, eot, unk, pad;
  uint32_t max_piece_bytes;   // the longest piece in piece_slots
  uint32_t n_classes;         // of characters, for the regular expressions, with the text's end
  uint8_t joins_space[32];    // bit b: some piece in piece_slots holds byte b followed by a space
  uint8_t special_first[32];  // bit b: some special token's text starts with byte b
  double unknown_score;       // unigram: of a character that is no piece
  int32_t byte_ids[256];      // the token of a single byte (kBytes), or its fallback token
  Section piece_offsets;      // uint32_t, n_vocab + 1, ascending, into the pool
  Section attributes;         // uint8_t, n_vocab
  Section priorities;         // uint32_t, n_vocab (spm): 0 for the best score, equal for equal scores
  Section piece_slots;        // PieceSlot (not for bpe of bytes without kIgnoreMerges)
  Section merge_slots;        // MergeSlot (bpe)
  Section splits;             // Split
  Section regexes;            // Regex
  Section char_blocks;        // uint16_t, a block's index in char_classes; empty without regexes
  Section char_classes;       // uint8_t
  Section transitions;        // uint16_t
  Section special_trie;       // TrieSlot: tokens that are recognised in text before anything else
  Section special_ids;        // int32_t, of each node the token that ends there
  Section steps;              // Step: the normalizer
  Section mappings;           // MappingSlot, a table for each step
  Section combining;          // CombiningSlot
  Section composites;         // CompositeSlot
  Section charsmap;           // bytes: SentencePiece's format
  Section piece_trie;         // TrieSlot (unigram)
  Section piece_ids;          // int32_t, of each node the piece that ends there (unigram)
  Section scores;             // double, n_vocab (unigram)
  Section pool;               // bytes
};
static_assert(sizeof(Header) % 8 == 0);

inline uint32_t finish_hash(uint64_t h) {
  return static_cast<uint32_t>((h ^ h >> 29) * 0x9e3779b97f4a7c15u >> 32);
}

inline uint32_t hash_character(int32_t character) {
  return finish_hash(static_cast<uint64_t>(static_cast<uint32_t>(character)) * 0xff51afd7ed558ccdu);
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
