#include "formats/tokenizer_json.h"

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base64.h"
#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "formats/tokenizer_pipeline.h"

namespace forge {
namespace {

using namespace rt::tokenizer_format;

constexpr size_t kMaxTokens = size_t{1} << 24;
// GGUF's token types.
constexpr int64_t kNormalToken = 1, kUnknownToken = 2, kControlToken = 3, kUserDefined = 4, kUnusedToken = 5,
                  kByteToken = 6;

bool is_true(const Json& object, const char* name) {
  const Json* value = member(object, name);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

std::string string_or(const Json& object, const char* name, std::string otherwise) {
  const Json* value = member(object, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::move(otherwise);
}

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;
  std::vector<double> scores;
  std::unordered_map<std::string, int64_t> ids;

  // Grows to hold the id, with unused tokens in between.
  void set(int64_t id, const std::string& text, int64_t type) {
    if (id < 0 || static_cast<size_t>(id) >= kMaxTokens) {
      fail("token {}: the id {} is not in 0 to {}", quote(text), id, kMaxTokens - 1);
    }
    grow(static_cast<size_t>(id) + 1);
    tokens[static_cast<size_t>(id)] = text;
    types[static_cast<size_t>(id)] = type;
    if (!text.empty()) ids[text] = id;
  }
  bool is_taken(int64_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens.size() &&
           types[static_cast<size_t>(id)] != kUnusedToken;
  }
  void grow(size_t n) {
    if (n <= tokens.size()) return;
    tokens.resize(n);
    types.resize(n, kUnusedToken);
    scores.resize(n);
  }
};

void read_bpe_vocabulary(const Json& model, Vocabulary& v) {
  const Json* vocab = member(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) fail("model: vocab is no object of tokens and their ids");
  for (const auto& [text, id] : vocab->items()) {
    if (!id.is_number_integer()) fail("model: vocab: the id of {} is no integer", quote(text));
    const auto number = id.get<int64_t>();
    if (v.is_taken(number)) fail("model: vocab: two tokens have the id {}", number);
    v.set(number, text, kNormalToken);
  }
}

void read_unigram_vocabulary(const Json& model, Vocabulary& v) {
  const Json* vocab = member(model, "vocab");
  if (vocab == nullptr || !vocab->is_array()) fail("model: vocab is no list of tokens and their scores");
  for (const Json& entry : *vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      fail("model: vocab: entry {} is no [token, score]", v.tokens.size());
    }
    const auto id = static_cast<int64_t>(v.tokens.size());
    v.set(id, entry[0].get<std::string>(), kNormalToken);
    v.scores[static_cast<size_t>(id)] = entry[1].get<double>();
  }
}

// "left right", as GGUF spells merges; in the file either that or [left, right].
std::vector<std::string> read_merges(const Json& model) {
  const Json* merges = member(model, "merges");
  if (merges == nullptr || !merges->is_array()) fail("model: merges is no list");
  std::vector<std::string> out;
  out.reserve(merges->size());
  for (const Json& merge : *merges) {
    if (merge.is_string()) {
      out.push_back(merge.get<std::string>());
      continue;
    }
    if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
      fail("model: merges: entry {} is no pair of tokens", out.size());
    }
    const auto left = merge[0].get<std::string>();
    if (left.find(' ') != std::string::npos)
      fail("model: merges: entry {}: a space within a token is not supported", out.size());
    out.push_back(left + " " + merge[1].get<std::string>());
  }
  return out;
}

// For readers that merge what makes the piece with the best score: the sooner a piece can be merged, the better.
void set_scores_of_merges(const std::vector<std::string>& merges, Vocabulary& v) {
  std::vector<bool> is_set(v.tokens.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    std::string merged = merges[rank];
    const size_t space = merged.find(' ', 1);
    if (space == std::string::npos) continue;
    const auto it = v.ids.find(merged.erase(space, 1));
    if (it == v.ids.end() || is_set[static_cast<size_t>(it->second)]) continue;
    is_set[static_cast<size_t>(it->second)] = true;
    v.scores[static_cast<size_t>(it->second)] = -static_cast<double>(rank);
  }
}

// Adds the tokens that are recognised in text; returns the flags of those that have some.
Json read_added_tokens(const Json& root, bool has_normalizer, Vocabulary& v) {
  Json flags = Json::array();
  const Json* added = member(root, "added_tokens");
  if (added == nullptr) return flags;
  if (!added->is_array()) fail("added_tokens is no list");
  for (const Json& token : *added) {
    const Json* id = member(token, "id");
    const std::string text = string_or(token, "content", "");
    if (id == nullptr || !id->is_number_integer() || text.empty())
      fail("added_tokens: an entry lacks id or content");
    const auto known = v.ids.find(text);
    const int64_t its_id = known == v.ids.end() ? id->get<int64_t>() : known->second;
    v.set(its_id, text, is_true(token, "special") ? kControlToken : kUserDefined);
    Json entry = {{"id", its_id}};
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
      if (is_true(token, flag) && (has_normalizer || flag != std::string_view("normalized")))
        entry[flag] = true;
    }
    if (entry.size() > 1) flags.push_back(std::move(entry));
  }
  return flags;
}

// The special tokens that the post-processor puts around a text.
struct Around {
  bool known = false;
  int64_t first = -1, last = -1;  // -1: none
};

Around read_post_processor(const Json& processor, const Vocabulary& v) {
  const std::string type = string_or(processor, "type", "");
  if (const Json* list = member(processor, "processors");
      type == "Sequence" && list != nullptr && list->is_array()) {
    for (const Json& item : *list) {
      const Around around =
          string_or(item, "type", "") == "Sequence" ? Around{} : read_post_processor(item, v);
      if (around.known) return around;
    }
  }
  const Json* single = member(processor, "single");
  if (type != "TemplateProcessing" || single == nullptr || !single->is_array()) return {};
  Around around{.known = true};
  bool behind = false;
  for (const Json& item : *single) {
    if (member(item, "Sequence") != nullptr) behind = true;
    const Json* special = member(item, "SpecialToken");
    if (special == nullptr) continue;
    const auto it = v.ids.find(string_or(*special, "id", ""));
    if (it == v.ids.end()) continue;
    int64_t& place = behind ? around.last : around.first;
    if (place < 0) place = it->second;
  }
  return around;
}

bool has_steps(const Json* normalizer) {
  if (normalizer == nullptr) return false;
  const Json* list = member(*normalizer, "normalizers");
  return list == nullptr || !list->is_array() || !list->empty();
}

// Takes the map out of the first Precompiled normalizer.
std::vector<uint8_t> take_charsmap(Json& normalizer, int depth = 0) {
  constexpr int kMaxDepth = 8;
  if (!normalizer.is_object() || depth > kMaxDepth) return {};
  if (const auto map = normalizer.find("precompiled_charsmap"); map != normalizer.end()) {
    if (!map->is_string()) fail("normalizer Precompiled: precompiled_charsmap is no text");
    auto bytes = decode_base64(map->get<std::string>());
    if (!bytes) fail("normalizer Precompiled: precompiled_charsmap is no base64");
    normalizer.erase(map);
    return *std::move(bytes);
  }
  if (const auto list = normalizer.find("normalizers"); list != normalizer.end() && list->is_array()) {
    for (Json& item : *list) {
      if (std::vector<uint8_t> bytes = take_charsmap(item, depth + 1); !bytes.empty()) return bytes;
    }
  }
  return {};
}

bool is_byte_name(std::string_view text) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return text.size() == 6 && text.starts_with("<0x") && text[5] == '>' && is_hex(text[3]) && is_hex(text[4]);
}

MetaValue text_value(std::string text) { return {MetaType::string, MetaType::u32, std::move(text)}; }
MetaValue flag_value(bool flag) { return {MetaType::boolean, MetaType::u32, static_cast<int64_t>(flag)}; }
MetaValue id_value(int64_t id) { return {MetaType::u32, MetaType::u32, id}; }

void read(const Json& root, Metadata& meta) {
  const Json* model = member(root, "model");
  if (model == nullptr) fail("model is missing");
  Json small_model = Json::object();
  // Old files do not say what the model is.
  const Json* vocab = member(*model, "vocab");
  small_model["type"] = string_or(*model, "type", vocab != nullptr && vocab->is_array() ? "Unigram" : "BPE");
  for (const char* flag : {"byte_fallback", "fuse_unk", "ignore_merges"})
    small_model[flag] = is_true(*model, flag);
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!string_or(*model, affix, "").empty()) fail("model: {} is not supported", affix);
  }

  const bool unigram = small_model["type"] == "Unigram";
  Vocabulary v;
  std::vector<std::string> merges;
  if (unigram) {
    read_unigram_vocabulary(*model, v);
  } else {
    read_bpe_vocabulary(*model, v);
    merges = read_merges(*model);
  }
  if (v.tokens.empty()) fail("model: vocab is empty");
  const size_t n_model_tokens = v.tokens.size();

  Json pipeline = {{"model", small_model}};
  std::vector<uint8_t> charsmap;
  if (const Json* normalizer = member(root, "normalizer")) {
    pipeline["normalizer"] = *normalizer;
    charsmap = take_charsmap(pipeline["normalizer"]);
  }
  if (const Json* pre = member(root, "pre_tokenizer")) pipeline["pre_tokenizer"] = *pre;
  Json flags = read_added_tokens(root, has_steps(member(root, "normalizer")), v);
  if (!flags.empty()) pipeline["added_tokens"] = std::move(flags);
  const std::string pipeline_text = pipeline.dump();
  const Pipeline parsed = pipeline_of_json(pipeline_text);

  const bool bytes = (parsed.flags & kBytes) != 0;
  if (unigram && bytes) fail("a Unigram model with ByteLevel is not supported");
  if (!unigram && !bytes) set_scores_of_merges(merges, v);
  int64_t unknown = -1;
  if (const Json* id = member(*model, "unk_id"); id != nullptr && id->is_number_integer()) {
    unknown = id->get<int64_t>();
    if (unknown < 0 || static_cast<size_t>(unknown) >= n_model_tokens)
      fail("model: unk_id {} is no token", unknown);
  } else if (const auto it = v.ids.find(string_or(*model, "unk_token", "")); it != v.ids.end()) {
    unknown = it->second;
  }
  // An unknown token that is not among the added ones is not recognised in text.
  if (unknown >= 0 && !bytes && v.types[static_cast<size_t>(unknown)] == kControlToken) {
    v.types[static_cast<size_t>(unknown)] = kUnknownToken;
  }
  if (parsed.byte_fallback && !bytes) {
    for (const auto& [text, id] : v.ids) {
      if (is_byte_name(text)) v.types[static_cast<size_t>(id)] = kByteToken;
    }
  }
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.types[i] != kUnusedToken) continue;
    v.tokens[i] = fmt::format("[PAD{}]", i);
    if (!v.ids.emplace(v.tokens[i], static_cast<int64_t>(i)).second) v.tokens[i].clear();
  }
  Around around;
  if (const Json* processor = member(root, "post_processor")) around = read_post_processor(*processor, v);

  const auto set = [&](std::string_view name, MetaValue value) {
    meta.set(fmt::format("tokenizer.ggml.{}", name), std::move(value));
  };
  set("model", text_value(unigram ? "t5" : bytes ? "gpt2" : "llama"));
  const auto name = name_of_splits(parsed.splits, parsed.flags);
  if (bytes && name) set("pre", text_value(std::string(*name)));
  set("tokens", {MetaType::array, MetaType::string, std::move(v.tokens)});
  if (!bytes) set("scores", {MetaType::array, MetaType::f32, std::move(v.scores)});
  set("token_type", {MetaType::array, MetaType::i32, std::move(v.types)});
  if (!unigram) set("merges", {MetaType::array, MetaType::string, std::move(merges)});
  if (!charsmap.empty()) {
    set("precompiled_charsmap",
        {MetaType::array, MetaType::u8, std::vector<int64_t>(charsmap.begin(), charsmap.end())});
  }
  if (!bytes) {
    const bool prepends = std::any_of(
        parsed.normalizer.begin(), parsed.normalizer.end(),
        [](const NormalizerStep& s) { return s.kind == NormalizerStep::Kind::prepend && s.to == "\u2581"; });
    set("add_space_prefix", flag_value(prepends || (parsed.flags & kAddSpacePrefix) != 0));
  }
  if (unigram) set("remove_extra_whitespaces", flag_value((parsed.flags & kPrefixWords) != 0));
  if (unknown >= 0) set("unknown_token_id", id_value(unknown));
  if (around.first >= 0) set("bos_token_id", id_value(around.first));
  if (around.last >= 0) set("eos_token_id", id_value(around.last));
  set("add_bos_token", flag_value(around.first >= 0));
  set("add_eos_token", flag_value(around.last >= 0));
  meta.set("tokenizer.forge.pipeline", text_value(pipeline_text));
}

}  // namespace

void read_tokenizer_json(const std::string& path, const Json& json, Metadata& meta) {
  try {
    read(json, meta);
  } catch (const Error& error) {
    fail("{}: {}", path, error.what());
  }
}

}  // namespace forge
