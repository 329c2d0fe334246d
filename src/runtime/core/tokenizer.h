// Text to tokens and back, for byte-level BPE ("gpt2"), SentencePiece BPE ("llama") and Unigram ("t5")
// vocabularies, over tables that are used where they lie (tokenizer_format.h). The results are those of Hugging
// Face's tokenizers, and for GGUF files, which say less, llama.cpp's; except that text which is not UTF-8 keeps
// its bytes, and that control tokens never come out of merging.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/result.h"
#include "runtime/core/tokenizer_format.h"
#include "runtime/core/tokenizer_normalize.h"
#include "runtime/core/tokenizer_split.h"
#include "runtime/core/tokenizer_tables.h"

namespace forge::rt {

struct EncodeOptions {
  std::optional<bool> add_bos = {};  // as the model file says, unless given
  std::optional<bool> add_eos = {};
  bool parse_special = false;  // recognise control tokens ("<|im_start|>") in the text
};

// Immutable once open: any number of threads may use one object.
class Tokenizer {
 public:
  // Checks all of the tables, in linear time; the bytes, aligned to 8, must outlive the tokenizer.
  static Result<Tokenizer> open(std::span<const uint8_t> tables);

  // Takes about n log n for n bytes, whatever the text. Text need not be UTF-8. User-defined tokens are
  // recognised always, control tokens with parse_special only.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // Appends the bytes of one token: not always whole characters (see Utf8Stream). Control tokens give
  // nothing, or with `special` their name; ids outside of the vocabulary give nothing.
  void append_piece(int32_t id, std::string& out, bool special = false) const;
  // All pieces, without the space that encode put in front.
  std::string decode(std::span<const int32_t> ids, bool special = false) const;

  int32_t n_vocab() const { return static_cast<int32_t>(header_->n_vocab); }
  // Token ids, -1 where the model has no such token.
  int32_t bos() const { return header_->bos; }
  int32_t eos() const { return header_->eos; }
  int32_t eot() const { return header_->eot; }
  int32_t unk() const { return header_->unk; }
  int32_t pad() const { return header_->pad; }
  bool adds_bos() const { return (header_->flags & tokenizer_format::kAddBos) != 0 && header_->bos >= 0; }
  bool adds_eos() const { return (header_->flags & tokenizer_format::kAddEos) != 0 && header_->eos >= 0; }
  // Control and unknown tokens: those that text yields with parse_special only.
  bool is_control(int32_t id) const { return has(id, tokenizer_format::kControl); }
  // eos, eot, and what else ends an answer.
  bool is_end_of_generation(int32_t id) const { return has(id, tokenizer_format::kEndOfGeneration); }

 private:
  friend class Encoder;
  Tokenizer() = default;
  bool has(int32_t id, uint8_t attribute) const {
    return id >= 0 && id < n_vocab() && (attributes_[static_cast<size_t>(id)] & attribute) != 0;
  }
  std::string_view piece(int32_t id) const {
    const auto i = static_cast<size_t>(id);
    return {pool_ + piece_offsets_[i], piece_offsets_[i + 1] - piece_offsets_[i]};
  }
  // kNone if merging can't give such a piece.
  int32_t find_piece(std::string_view bytes) const;
  const tokenizer_format::MergeSlot* find_merge(int32_t left, int32_t right) const;

  const tokenizer_format::Header* header_ = nullptr;
  const uint32_t* piece_offsets_ = nullptr;
  const uint8_t* attributes_ = nullptr;
  const uint32_t* priorities_ = nullptr;
  std::span<const tokenizer_format::PieceSlot> piece_slots_;
  std::span<const tokenizer_format::MergeSlot> merge_slots_;
  RegexView regexes_;
  std::span<const tokenizer_format::Split> splits_;
  NormalizerView normalizer_;
  Trie specials_, pieces_;
  std::span<const double> scores_;
  const char* pool_ = nullptr;
};

}  // namespace forge::rt
