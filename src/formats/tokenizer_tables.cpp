#include "formats/tokenizer_tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/ascii.h"
#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "formats/tokenizer_pipeline.h"
#include "formats/tokenizer_regex.h"
#include "formats/unicode_normalization.h"
#include "runtime/core/jinja_unicode.h"
#include "runtime/core/tokenizer_format.h"
#include "runtime/core/tokenizer_normalize.h"
#include "runtime/core/tokenizer_split.h"
#include "runtime/core/unicode.h"

namespace forge {
namespace {

using namespace rt::tokenizer_format;

// GGUF's token types.
enum class TokenType : int64_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

struct Token {
  std::string text;   // as the file spells it
  std::string bytes;  // what it decodes to
  double score = 0;
  TokenType type = TokenType::normal;
  bool control = false;  // also normal and user-defined tokens that are control tokens by their name
  bool end_of_generation = false;
  uint8_t attributes = 0;  // kStripRight and the like
  bool mergeable = false;  // merging may give it; its key is `bytes`

  bool is_control() const { return control || type == TokenType::control || type == TokenType::unknown; }
  bool is_special() const { return is_control() || type == TokenType::user_defined; }
};

struct Vocabulary {
  Model model = Model::bpe;
  Pipeline pipeline;
  bool from_json = false;  // the pipeline is a tokenizer.json's
  std::vector<Token> tokens;
  std::unordered_map<std::string_view, int32_t> ids;  // by text

  int32_t find(std::string_view text) const {
    const auto it = ids.find(text);
    return it == ids.end() ? kNone : it->second;
  }
  bool has(uint32_t flag) const { return (pipeline.flags & flag) != 0; }
  Token& operator[](int32_t id) { return tokens[static_cast<size_t>(id)]; }
};

constexpr std::string_view kEscapedSpace = "\u2581";

// The bytes that a piece of a byte-level vocabulary stands for; nullopt if a character is not of the
// alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text) {
  static const std::unordered_map<uint32_t, char> bytes = [] {
    std::unordered_map<uint32_t, char> map;
    for (size_t b = 0; b < kByteAlphabet.size(); ++b) map.emplace(kByteAlphabet[b], static_cast<char>(b));
    return map;
  }();
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const rt::CodePoint cp = rt::decode_utf8(text, at);
    const auto it = bytes.find(cp.value);
    if (it == bytes.end()) return std::nullopt;
    out += it->second;
    at += cp.bytes;
  }
  return out;
}

std::string unescape_spaces(std::string text) {
  for (size_t at = 0; (at = text.find(kEscapedSpace, at)) != std::string::npos; ++at) {
    text.replace(at, kEscapedSpace.size(), " ");
  }
  return text;
}

// The byte of "<0x0A>".
std::optional<char> byte_of_name(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const int high = digit(text[3]), low = digit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

// The model, and what is done to text before it is asked.
void read_pipeline(const Metadata& meta, const std::string& model, Vocabulary& v) {
  if (model == "llama") {
    v.model = Model::spm;
    v.pipeline.flags = kSpaces;
    if (meta.boolean("tokenizer.ggml.add_space_prefix").value_or(true)) v.pipeline.flags |= kAddSpacePrefix;
    v.pipeline.adds_bos = true;
  } else if (model == "t5") {
    using Kind = NormalizerStep::Kind;
    v.model = Model::unigram;
    v.pipeline.flags = kSpaces | kFuseUnknown;
    if (meta.find("tokenizer.ggml.precompiled_charsmap") != nullptr) {
      v.pipeline.normalizer.push_back({Kind::charsmap});
    }
    if (meta.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false)) {
      v.pipeline.normalizer.push_back({Kind::replace, " +", " "});
      v.pipeline.normalizer.push_back({.kind = Kind::strip, .left = true, .right = true});
    }
    if (meta.boolean("tokenizer.ggml.add_space_prefix").value_or(true)) v.pipeline.flags |= kAddSpacePrefix;
  } else if (model == "gpt2" || model == "gemma4") {
    v.model = Model::bpe;
    const std::string otherwise = model == "gpt2" ? "default" : model;
    v.pipeline = pipeline_of_name(meta.string("tokenizer.ggml.pre").value_or(otherwise));
  } else {
    fail(
        "tokenizer.ggml.model: unknown tokenizer {}; known are llama (SentencePiece BPE), gpt2 (byte-level "
        "BPE), "
        "gemma4 (BPE of characters) and t5 (SentencePiece Unigram)",
        quote(model));
  }
  // Where the tokenizer came from a tokenizer.json, this says more.
  if (const std::optional<std::string> pipeline = meta.string("tokenizer.forge.pipeline")) {
    v.pipeline = pipeline_of_json(*pipeline);
    v.from_json = true;
    if (v.model == Model::spm) v.model = Model::bpe;
  }
}

Vocabulary read_vocabulary(const Metadata& meta) {
  Vocabulary v;
  const std::string model = meta.string("tokenizer.ggml.model").value_or("");
  read_pipeline(meta, model, v);
  const std::vector<std::string>* texts = meta.strings("tokenizer.ggml.tokens");
  if (texts == nullptr || texts->empty())
    fail("tokenizer.ggml.tokens is missing or empty; expected the vocabulary");
  constexpr size_t kMaxTokens = size_t{1} << 24;
  if (texts->size() > kMaxTokens) {
    fail("tokenizer.ggml.tokens: {} tokens; expected at most {}", texts->size(), kMaxTokens);
  }
  const std::vector<double>* scores = meta.numbers("tokenizer.ggml.scores");
  const std::vector<int64_t>* types = meta.integers("tokenizer.ggml.token_type");
  const auto check_size = [&](std::string_view key, size_t n) {
    if (n != texts->size()) fail("{}: {} entries; expected {}, one for each token", key, n, texts->size());
  };
  if (scores != nullptr) check_size("tokenizer.ggml.scores", scores->size());
  if (types != nullptr) check_size("tokenizer.ggml.token_type", types->size());

  v.tokens.resize(texts->size());
  v.ids.reserve(texts->size());
  for (size_t i = 0; i < texts->size(); ++i) {
    Token& token = v.tokens[i];
    token.text = (*texts)[i];
    if (scores != nullptr) token.score = (*scores)[i];
    if (std::isnan(token.score)) fail("tokenizer.ggml.scores: the score of token {} is not a number", i);
    if (types != nullptr) token.type = static_cast<TokenType>((*types)[i]);
    if (token.text.empty()) continue;  // can be predicted, but stands for nothing
    const auto [it, is_new] = v.ids.emplace(token.text, static_cast<int32_t>(i));
    if (!is_new) {
      fail("tokenizer.ggml.tokens: tokens {} and {} are both {}; expected distinct ones", it->second, i,
           quote(token.text));
    }
  }
  return v;
}

struct SpecialIds {
  int32_t bos = kNone, eos = kNone, eot = kNone, unk = kNone, pad = kNone;
};

// The token that a key names; `otherwise` when the key is absent. An id outside of the vocabulary is an Error
// where generating depends on it.
int32_t special_id(const Metadata& meta, const Vocabulary& v, std::string_view name, int32_t otherwise,
                   bool is_needed = true) {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
  const auto n = static_cast<int64_t>(v.tokens.size());
  const std::optional<int64_t> id = meta.integer(key);
  if (!id) return otherwise < n ? otherwise : kNone;
  if (*id >= 0 && *id < n) return static_cast<int32_t>(*id);
  if (is_needed) fail("{}: {} is no token; expected an id below {}", key, *id, n);
  return kNone;
}

// Files seldom say which tokens end an answer: these names are known to (llama.cpp's list). A name in the
// second list is also taken for the end-of-turn token if the file names none.
constexpr std::string_view kEndNames[] = {
    "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",        "</s>", "<|eom_id|>",
    "[EOS]",      "<eos>",    "<turn|>",   "<|tool_response>", "[e~[",
};
constexpr std::string_view kEndOfTurnNames[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",         "<|endoftext|>",      "<|end_of_text|>",
    "<EOT>",      "_<EOT>",     "[EOT]",   "<｜end▁of▁sentence｜>", "<end_of_utterance>",
};

// Tokens for filling in the middle, by the key that names them: the first of the names that is in the
// vocabulary is used if the file has no such key, and is a control token. Some end an answer.
struct FillToken {
  std::array<std::string_view, 2> keys;
  bool ends_generation;
  std::array<std::string_view, 8> names;
};
constexpr FillToken kFillTokens[] = {
    {{"fim_pre", "prefix"},
     false,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
      "<|code_prefix|>", "<|prefix|>"}},
    {{"fim_suf", "suffix"},
     false,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
      "<|code_suffix|>", "<|suffix|>"}},
    {{"fim_mid", "middle"},
     false,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>",
      "<|middle|>"}},
    {{"fim_pad", ""}, true, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {{"fim_rep", ""}, true, {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {{"fim_sep", ""}, true, {"<|file_sep|>"}},
};

// Finds the special tokens and marks what ends an answer; tokens that are control tokens by their name become
// so.
SpecialIds mark_special_tokens(const Metadata& meta, Vocabulary& v) {
  // SentencePiece's defaults, where the file is not from a tokenizer.json.
  const bool spm = v.model == Model::spm;
  // A tokenizer.json lists its special tokens: there, a name makes none.
  const auto find = [&](std::string_view name) {
    const int32_t id = v.find(name);
    return id != kNone && v.from_json && !v[id].is_special() ? kNone : id;
  };
  SpecialIds ids;
  ids.bos = special_id(meta, v, "bos", spm ? 1 : kNone);
  ids.eos = special_id(meta, v, "eos", spm ? 2 : kNone);
  ids.eot = special_id(meta, v, "eot", kNone);
  ids.unk = special_id(meta, v, "unknown", spm ? 0 : kNone, false);
  ids.pad = special_id(meta, v, "padding", kNone, false);

  for (const FillToken& fill : kFillTokens) {
    int32_t id = special_id(meta, v, fill.keys[0], kNone, false);
    if (id == kNone && !fill.keys[1].empty()) id = special_id(meta, v, fill.keys[1], kNone, false);
    for (size_t i = 0; id == kNone && i < fill.names.size() && !fill.names[i].empty(); ++i) {
      id = find(fill.names[i]);
      if (id != kNone) v[id].control = true;
    }
    if (id != kNone && fill.ends_generation) v[id].end_of_generation = true;
  }
  for (const std::span<const std::string_view> names : {std::span(kEndNames), std::span(kEndOfTurnNames)}) {
    for (const std::string_view name : names) {
      if (const int32_t id = find(name); id != kNone) v[id].control = v[id].end_of_generation = true;
    }
  }
  for (const std::string_view name : kEndOfTurnNames) {
    if (ids.eot == kNone) ids.eot = find(name);
  }
  for (const std::string_view name : {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}) {
    if (const int32_t id = find(name); id != kNone) {  // gpt-oss: part of what is shown
      v[id].type = TokenType::user_defined;
      v[id].control = false;
    }
  }
  for (const int32_t id : {ids.eos, ids.eot, special_id(meta, v, "eom", kNone, false)}) {
    if (id != kNone) v[id].end_of_generation = true;
  }
  if (const auto* ends = meta.integers(kEosTokenIdsKey)) {
    for (const int64_t id : *ends) {
      if (id < 0 || id >= static_cast<int64_t>(v.tokens.size()))
        fail("{}: {} is no token; expected ids below {}", kEosTokenIdsKey, id, v.tokens.size());
      v[static_cast<int32_t>(id)].end_of_generation = true;
    }
  }
  const auto ends = [&](std::string_view name) {
    const int32_t id = find(name);
    return id != kNone && v[id].end_of_generation;
  };
  const auto spare = [&](std::string_view name, TokenType type) {
    Token& token = v[find(name)];
    token.end_of_generation = token.control = false;
    token.type = type;
  };
  // In these families "<|end|>" ends a message within an answer, and "</s>" is an ordinary piece.
  const bool has_call = ends("<|call|>") || ends("<|calls|>");
  if (has_call && (ends("<|return|>") || ends("<|flush|>")) && ends("<|end|>")) {
    spare("<|end|>", TokenType::user_defined);
  }
  if (ends("<|tool_response>") && ends("</s>")) spare("</s>", TokenType::normal);

  const std::string name = ascii_lower(meta.string("general.name").value_or(""));
  if (name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos) {
    for (Token& token : v.tokens) {
      if (token.is_special() && token.text != "<unk>" && token.text != "<s>" &&
          token.text != "<|endoftext|>") {
        token.attributes |= kStripRight;
      }
    }
  }
  return ids;
}

// Sets Token::bytes and Token::mergeable.
void resolve_pieces(Vocabulary& v) {
  for (Token& token : v.tokens) {
    token.bytes = token.text;
    if (token.text.empty()) continue;
    const std::optional<char> byte = byte_of_name(token.text);
    if (token.type == TokenType::byte && byte) {
      token.bytes = std::string(1, *byte);
    } else if (token.is_control()) {
      continue;
    } else if (!v.has(kBytes)) {
      token.mergeable = true;
      if (!v.has(kSpaces)) continue;
      // A piece with a space of its own can't come out of text, whose spaces are escaped.
      token.mergeable = token.text.find(' ') == std::string::npos;
      token.bytes = unescape_spaces(token.text);
    } else if (token.type == TokenType::user_defined) {
      token.mergeable =
          std::all_of(token.text.begin(), token.text.end(), [](char c) { return c > ' ' && c < 0x7f; });
    } else if (std::optional<std::string> bytes = from_byte_alphabet(token.text)) {
      token.mergeable = true;
      token.bytes = *std::move(bytes);
    }
  }
}

// A hash table at a load of at most two thirds.
template <class Slot>
std::vector<Slot> make_slots(size_t n, const Slot& empty) {
  return std::vector<Slot>(n == 0 ? 0 : n + n / 2 + 1, empty);
}

// The first slot from `hash` on that is empty or `is_same`.
template <class Slot, class IsSame>
Slot& find_slot(std::vector<Slot>& slots, uint32_t hash, int32_t Slot::* id, IsSame is_same) {
  size_t i = slot_of(hash, static_cast<uint32_t>(slots.size()));
  while (slots[i].*id != kNone && !is_same(slots[i])) i = i + 1 == slots.size() ? 0 : i + 1;
  return slots[i];
}

template <class Slot>
void insert(std::vector<Slot>& slots, uint32_t hash, int32_t Slot::* id, const Slot& value) {
  find_slot(slots, hash, id, [](const Slot&) { return false; }) = value;
}

// What is looked up by its text: everything that scores can merge, or the characters and, where it may be found
// without merges, whole words.
std::vector<PieceSlot> piece_slots(const Vocabulary& v) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const std::string& bytes = v.tokens[i].bytes;
    if (!v.tokens[i].mergeable || bytes.empty()) continue;
    const bool is_character = rt::decode_utf8(bytes, 0).bytes == bytes.size();
    if (v.model == Model::spm || v.has(kIgnoreMerges) || is_character) ids.push_back(static_cast<int32_t>(i));
  }
  auto slots = make_slots(ids.size(), PieceSlot{0, kNone});
  for (const int32_t id : ids) {
    const uint32_t hash = hash_bytes(v.tokens[static_cast<size_t>(id)].bytes);
    insert(slots, hash, &PieceSlot::id, PieceSlot{hash, id});
  }
  return slots;
}

struct TrieTables {
  std::vector<TrieSlot> slots;
  std::vector<int32_t> ids;
};

// Of equal texts the first counts.
TrieTables make_trie(const std::vector<std::pair<std::string_view, int32_t>>& texts) {
  TrieTables trie;
  std::unordered_map<uint64_t, int32_t> children;  // node << 8 | byte
  trie.ids.push_back(kNone);
  for (const auto& [text, id] : texts) {
    int32_t node = 0;
    for (const char c : text) {
      const auto byte = static_cast<uint8_t>(c);
      const auto next = static_cast<int32_t>(trie.ids.size());
      const auto [it, is_new] = children.emplace(static_cast<uint64_t>(node) << 8 | byte, next);
      if (is_new) trie.ids.push_back(kNone);
      node = it->second;
    }
    int32_t& its_id = trie.ids[static_cast<size_t>(node)];
    if (its_id == kNone) its_id = id;
  }
  trie.slots = make_slots(children.size(), TrieSlot{0, 0, kNone});
  std::vector<std::pair<uint64_t, int32_t>> sorted(children.begin(), children.end());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [key, next] : sorted) {
    const auto node = static_cast<int32_t>(key >> 8), byte = static_cast<int32_t>(key & 0xff);
    insert(trie.slots, hash_pair(node, byte), &TrieSlot::next, TrieSlot{node, byte, next});
  }
  return trie;
}

std::vector<MergeSlot> merge_slots(const Metadata& meta, const Vocabulary& v) {
  const std::vector<std::string>* merges = meta.strings("tokenizer.ggml.merges");
  if (merges == nullptr) fail("tokenizer.ggml.merges is missing; a tokenizer that merges by rank needs it");
  constexpr size_t kMaxMerges = size_t{1} << 26;
  if (merges->size() > kMaxMerges) {
    fail("tokenizer.ggml.merges: {} merges; expected at most {}", merges->size(), kMaxMerges);
  }
  auto slots = make_slots(merges->size(), MergeSlot{kNone, kNone, 0, kNone});
  std::string merged_text;
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string_view merge = (*merges)[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) continue;
    const std::string_view left_text = merge.substr(0, space), right_text = merge.substr(space + 1);
    merged_text.assign(left_text).append(right_text);
    const int32_t left = v.find(left_text), right = v.find(right_text), merged = v.find(merged_text);
    if (left == kNone || right == kNone || merged == kNone) continue;
    if (v.tokens[static_cast<size_t>(merged)].is_control()) continue;  // text must not give control tokens
    MergeSlot& slot = find_slot(slots, hash_pair(left, right), &MergeSlot::merged,
                                [&](const MergeSlot& s) { return s.left == left && s.right == right; });
    if (slot.merged == kNone)
      slot = {left, right, static_cast<uint32_t>(rank), merged};  // the first one counts
  }
  return slots;
}

// 0 for the best score; equal scores have equal priorities.
std::vector<uint32_t> priorities(const Vocabulary& v) {
  std::vector<uint32_t> order(v.tokens.size()), result(v.tokens.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint32_t>(i);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return v.tokens[a].score > v.tokens[b].score; });
  uint32_t priority = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && v.tokens[order[i]].score != v.tokens[order[i - 1]].score) ++priority;
    result[order[i]] = priority;
  }
  return result;
}

void set_bit(uint8_t (&set)[32], char byte) {
  const auto b = static_cast<uint8_t>(byte);
  set[b / 8] = static_cast<uint8_t>(set[b / 8] | 1u << (b % 8));
}

void set_byte_ids(const Vocabulary& v, Header& header) {
  for (int b = 0; b < 256; ++b) {
    int32_t id = kNone;
    if (!v.has(kBytes)) {
      const std::string itself(1, static_cast<char>(b));
      if (v.pipeline.byte_fallback) id = v.find(fmt::format("<0x{:02X}>", b));
      if (v.pipeline.byte_fallback && id == kNone) id = v.find(itself);
    } else {
      std::string character;
      rt::append_utf8(character, kByteAlphabet[static_cast<size_t>(b)]);
      id = v.find(character);
    }
    if (id != kNone && v.tokens[static_cast<size_t>(id)].is_control()) id = kNone;
    header.byte_ids[b] = id;
  }
}

uint32_t flags(const Metadata& meta, const Vocabulary& v) {
  const auto flag = [&](std::string_view name, bool otherwise, uint32_t bit) {
    return meta.boolean(fmt::format("tokenizer.ggml.{}", name)).value_or(otherwise) ? bit : 0;
  };
  return v.pipeline.flags | flag("add_bos_token", v.pipeline.adds_bos, kAddBos) |
         flag("add_eos_token", false, kAddEos);
}

// Puts sections behind each other, each at a multiple of 8 bytes.
class Blob {
 public:
  Blob() : bytes_(sizeof(Header)) {}

  template <class T>
  Section add(const std::vector<T>& values) {
    bytes_.resize((bytes_.size() + 7) / 8 * 8);
    const size_t offset = bytes_.size(), size = values.size() * sizeof(T);
    if (offset + size > UINT32_MAX)
      fail("tokenizer.ggml.tokens: the tokenizer's tables are larger than 4 GiB");
    bytes_.resize(offset + size);
    if (size > 0) std::memcpy(bytes_.data() + offset, values.data(), size);
    return {static_cast<uint32_t>(offset), static_cast<uint32_t>(values.size())};
  }

  std::vector<uint8_t> finish(const Header& header) && {
    std::memcpy(bytes_.data(), &header, sizeof header);
    return std::move(bytes_);
  }

 private:
  std::vector<uint8_t> bytes_;
};

// Appends to the pool; the offset.
uint32_t add_text(std::vector<char>& pool, std::string_view text) {
  if (pool.size() + text.size() > UINT32_MAX) fail("tokenizer.ggml.tokens: more than 4 GiB of text");
  const auto offset = static_cast<uint32_t>(pool.size());
  pool.insert(pool.end(), text.begin(), text.end());
  return offset;
}

// ---- the normalizer ----

struct NormalizerTables {
  std::vector<Step> steps;
  std::vector<MappingSlot> mappings;
  std::vector<CombiningSlot> combining;
  std::vector<CompositeSlot> composites;
  std::vector<uint8_t> charsmap;
};

int32_t as_character(uint32_t cp) { return static_cast<int32_t>(cp); }

// The characters that a step of kind `map` replaces.
std::vector<Decomposition> replaced_characters(NormalizerStep::Kind kind) {
  using Kind = NormalizerStep::Kind;
  if (kind == Kind::nfc || kind == Kind::nfd) return decompositions(false);
  if (kind == Kind::nfkc || kind == Kind::nfkd) return decompositions(true);
  std::vector<Decomposition> out;
  constexpr rt::CharClass kMarks = bit(rt::Category::Mn) | bit(rt::Category::Mc) | bit(rt::Category::Me);
  for (uint32_t cp = 0; cp < 0x110000; ++cp) {
    if (kind == Kind::strip_accents) {
      if ((rt::char_class(cp) & kMarks) != 0) out.push_back({cp, ""});
      continue;
    }
    std::string itself, lower;
    rt::append_utf8(itself, cp);
    rt::jinja::append_case(lower, cp, rt::jinja::Case::lower);
    if (lower != itself) out.push_back({cp, lower});
  }
  return out;
}

NormalizerTables normalizer_tables(const Metadata& meta, const Pipeline& pipeline, std::vector<char>& pool) {
  using Kind = NormalizerStep::Kind;
  NormalizerTables out;
  auto next_regex = static_cast<uint32_t>(pipeline.splits.size());
  for (const NormalizerStep& from : pipeline.normalizer) {
    Step step{};
    step.text = add_text(pool, from.to);
    step.text_length = static_cast<uint32_t>(from.to.size());
    switch (from.kind) {
      case Kind::prepend: step.kind = StepKind::prepend; break;
      case Kind::strip:
        step.kind = StepKind::strip;
        step.a = (from.left ? 1u : 0u) | (from.right ? 2u : 0u);
        break;
      case Kind::replace:
        step.kind = StepKind::replace;
        step.a = next_regex++;
        break;
      case Kind::charsmap: {
        step.kind = StepKind::charsmap;
        const std::vector<int64_t>* bytes = meta.integers("tokenizer.ggml.precompiled_charsmap");
        if (bytes == nullptr) fail("tokenizer.ggml.precompiled_charsmap is missing; the normalizer needs it");
        out.charsmap.assign(bytes->begin(), bytes->end());
        break;
      }
      case Kind::nfc:
      case Kind::nfd:
      case Kind::nfkc:
      case Kind::nfkd:
      case Kind::lowercase:
      case Kind::strip_accents: {
        step.kind = StepKind::map;
        const bool form = from.kind != Kind::lowercase && from.kind != Kind::strip_accents;
        if (form) step.map_flags |= kMapReorder;
        if (from.kind == Kind::nfc || from.kind == Kind::nfkc) step.map_flags |= kMapCompose;
        const std::vector<Decomposition> replaced = replaced_characters(from.kind);
        auto slots = make_slots(replaced.size(), MappingSlot{kNone, 0, 0});
        for (const Decomposition& d : replaced) {
          insert(slots, hash_character(as_character(d.character)), &MappingSlot::character,
                 MappingSlot{as_character(d.character), add_text(pool, d.text),
                             static_cast<uint32_t>(d.text.size())});
        }
        step.a = static_cast<uint32_t>(out.mappings.size());
        step.b = static_cast<uint32_t>(slots.size());
        out.mappings.insert(out.mappings.end(), slots.begin(), slots.end());
        if (!form || !out.combining.empty()) break;
        const std::vector<CombiningClass> classes = combining_classes();
        out.combining = make_slots(classes.size(), CombiningSlot{kNone, 0});
        for (const CombiningClass& c : classes) {
          insert(out.combining, hash_character(as_character(c.character)), &CombiningSlot::character,
                 CombiningSlot{as_character(c.character), c.combining_class});
        }
        const std::vector<Composite> pairs = composites();
        out.composites = make_slots(pairs.size(), CompositeSlot{0, 0, kNone});
        for (const Composite& c : pairs) {
          const CompositeSlot slot{as_character(c.first), as_character(c.second), as_character(c.composite)};
          insert(out.composites, hash_pair(slot.first, slot.second), &CompositeSlot::composite, slot);
        }
        break;
      }
    }
    out.steps.push_back(step);
  }
  return out;
}

RegexTables regex_tables(const Pipeline& pipeline) {
  std::vector<std::string> expressions;
  expressions.reserve(pipeline.splits.size());
  for (const SplitStep& split : pipeline.splits) expressions.push_back(split.regex);
  for (const NormalizerStep& step : pipeline.normalizer) {
    if (step.kind == NormalizerStep::Kind::replace) expressions.push_back(step.from);
  }
  return expressions.empty() ? RegexTables{} : compile_regexes(expressions);
}

struct SpecialTexts {
  std::vector<std::pair<std::string_view, int32_t>> texts;
  std::deque<std::string> normalized;  // those that are not the token's own
};

// What is recognised in text, and the token that it is.
SpecialTexts special_texts(const Vocabulary& v, const NormalizerTables& normalizer,
                           const RegexTables& regexes, const std::vector<char>& pool) {
  const rt::RegexView regex_view{regexes.n_classes, regexes.char_blocks, regexes.char_classes,
                                 regexes.regexes, regexes.transitions};
  const rt::NormalizerView view{normalizer.steps,      normalizer.mappings, normalizer.combining,
                                normalizer.composites, normalizer.charsmap, pool};
  if (!view.is_sound(regex_view)) fail("tokenizer.ggml.precompiled_charsmap: is not sound");
  SpecialTexts out;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const Token& token = v.tokens[i];
    if (!token.is_special()) continue;
    std::string_view text = token.text;
    if ((token.attributes & kNormalized) != 0) {
      std::string normalized = rt::normalize(view, regex_view, text);
      if (v.has(kSpaces)) normalized = unescape_spaces(std::move(normalized));
      text = out.normalized.emplace_back(std::move(normalized));
    }
    if (!text.empty()) out.texts.emplace_back(text, static_cast<int32_t>(i));
  }
  return out;
}

// The scores of Unigram's pieces, and of a character that is none.
std::vector<double> unigram_scores(const Vocabulary& v, Header& header) {
  std::vector<double> scores;
  scores.reserve(v.tokens.size());
  double least = 0;
  for (const Token& token : v.tokens) {
    scores.push_back(token.score);
    least = std::min(least, token.score);
  }
  constexpr double kUnknownPenalty = 10;  // SentencePiece's
  header.unknown_score = least - kUnknownPenalty;
  return scores;
}

}  // namespace

std::vector<uint8_t> build_tokenizer_tables(const Metadata& meta) {
  Vocabulary v = read_vocabulary(meta);
  const SpecialIds ids = mark_special_tokens(meta, v);
  for (const auto& [id, attributes] : v.pipeline.attributes) {
    if (id < 0 || static_cast<size_t>(id) >= v.tokens.size()) {
      fail("tokenizer.forge.pipeline: added_tokens: {} is no token", id);
    }
    v.tokens[static_cast<size_t>(id)].attributes |= attributes;
  }
  resolve_pieces(v);

  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.model = v.model;
  header.flags = flags(meta, v);
  header.n_vocab = static_cast<uint32_t>(v.tokens.size());
  header.bos = ids.bos;
  header.eos = ids.eos;
  header.eot = ids.eot;
  header.unk = ids.unk;
  header.pad = ids.pad;
  set_byte_ids(v, header);

  Blob blob;
  std::vector<char> pool;
  std::vector<uint32_t> piece_offsets;
  std::vector<uint8_t> attributes;
  std::vector<std::pair<std::string_view, int32_t>> pieces;
  for (const Token& token : v.tokens) {
    piece_offsets.push_back(add_text(pool, token.bytes));
    const bool hidden =
        token.is_control() || (token.type != TokenType::normal && token.type != TokenType::byte &&
                               token.type != TokenType::user_defined);
    attributes.push_back(static_cast<uint8_t>((token.is_control() ? kControl : 0) | (hidden ? kHidden : 0) |
                                              (token.end_of_generation ? kEndOfGeneration : 0) |
                                              token.attributes));
    if (token.mergeable) {
      header.max_piece_bytes = std::max(header.max_piece_bytes, static_cast<uint32_t>(token.bytes.size()));
      for (size_t i = 1; i < token.bytes.size(); ++i) {
        if (token.bytes[i] == ' ') set_bit(header.joins_space, token.bytes[i - 1]);
      }
    }
    if (token.mergeable) pieces.emplace_back(token.bytes, static_cast<int32_t>(attributes.size()) - 1);
  }
  piece_offsets.push_back(static_cast<uint32_t>(pool.size()));
  const NormalizerTables normalizer = normalizer_tables(meta, v.pipeline, pool);
  const RegexTables regexes = regex_tables(v.pipeline);
  const SpecialTexts specials = special_texts(v, normalizer, regexes, pool);
  for (const auto& [text, id] : specials.texts) set_bit(header.special_first, text[0]);
  const TrieTables special_trie = make_trie(specials.texts);
  std::vector<Split> splits;
  splits.reserve(v.pipeline.splits.size());
  for (const SplitStep& split : v.pipeline.splits) {
    splits.push_back({split.behavior, split.inverted ? 1u : 0u, split.bytes ? 1u : 0u});
  }

  header.piece_offsets = blob.add(piece_offsets);
  header.attributes = blob.add(attributes);
  if (v.model == Model::spm) header.priorities = blob.add(priorities(v));
  if (v.model != Model::unigram && (!v.has(kBytes) || v.has(kIgnoreMerges))) {
    header.piece_slots = blob.add(piece_slots(v));
  }
  if (v.model == Model::bpe) header.merge_slots = blob.add(merge_slots(meta, v));
  if (v.model == Model::unigram) {
    const TrieTables trie = make_trie(pieces);
    header.piece_trie = blob.add(trie.slots);
    header.piece_ids = blob.add(trie.ids);
    header.scores = blob.add(unigram_scores(v, header));
  }
  header.special_trie = blob.add(special_trie.slots);
  header.special_ids = blob.add(special_trie.ids);
  header.splits = blob.add(splits);
  header.n_classes = regexes.n_classes;
  header.regexes = blob.add(regexes.regexes);
  header.char_blocks = blob.add(regexes.char_blocks);
  header.char_classes = blob.add(regexes.char_classes);
  header.transitions = blob.add(regexes.transitions);
  header.steps = blob.add(normalizer.steps);
  header.mappings = blob.add(normalizer.mappings);
  header.combining = blob.add(normalizer.combining);
  header.composites = blob.add(normalizer.composites);
  header.charsmap = blob.add(normalizer.charsmap);
  header.pool = blob.add(pool);
  return std::move(blob).finish(header);
}

}  // namespace forge
