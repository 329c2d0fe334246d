// What a tokenizer does to text before it looks for pieces: normalizers and expressions that cut it into words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/core/tokenizer_format.h"

namespace forge {

struct NormalizerStep {
  enum class Kind : uint8_t {
    nfc,
    nfd,
    nfkc,
    nfkd,
    lowercase,
    strip_accents,
    strip,    // white space at the ends
    prepend,  // `to`, unless the text is empty
    replace,  // what the expression `from` matches by `to`
    charsmap  // SentencePiece's precompiled map
  } kind;
  std::string from = {}, to = {};
  bool left = false, right = false;  // strip
};

struct SplitStep {
  std::string regex;
  rt::tokenizer_format::Behavior behavior = rt::tokenizer_format::Behavior::isolated;
  bool inverted = false;
  bool bytes = false;  // sees the characters that stand for bytes, not the text's

  bool operator==(const SplitStep&) const = default;
};

struct Pipeline {
  std::vector<NormalizerStep> normalizer;
  std::vector<SplitStep> splits;
  uint32_t flags = 0;         // rt::tokenizer_format::Flags but for kAddBos and kAddEos
  bool adds_bos = false;      // unless the file says otherwise
  bool byte_fallback = true;  // of characters that are no piece
  std::vector<std::pair<int64_t, uint8_t>>
      attributes;  // id, rt::tokenizer_format::Attributes of added tokens
};

// The pre-tokenizer of a tokenizer.ggml.pre name, for byte-level BPE vocabularies; throws Error listing the
// known names.
Pipeline pipeline_of_name(std::string_view pre);
// A name whose pre-tokenizer cuts text as these steps do; with the same flag kIgnoreMerges, if there is one.
std::optional<std::string_view> name_of_splits(std::vector<SplitStep> splits, uint32_t flags);

// Reads {"normalizer": …, "pre_tokenizer": …, "model": {"type", "byte_fallback", "fuse_unk", "ignore_merges"},
// "added_tokens": [{"id", "single_word", "lstrip", "rstrip", "normalized"}, …]}, each as in Hugging Face's
// tokenizer.json (a Precompiled normalizer's map is not looked at). Throws Error naming what is not supported.
Pipeline pipeline_of_json(std::string_view json);

}  // namespace forge
