#include "formats/tokenizer_json.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "core/error.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/tokenizer.h"

namespace forge {
namespace {

using Ids = std::vector<int32_t>;

Ids encode(const Metadata& meta, std::string_view text) {
  const std::vector<uint8_t> tables = build_tokenizer_tables(meta);
  const auto tokenizer = rt::Tokenizer::open(tables);
  if (!tokenizer) fail("{}", tokenizer.error().message);
  return tokenizer->encode(text, {.add_bos = false, .add_eos = false, .parse_special = true});
}

Json goldens() {
  std::ifstream in(FORGE_SOURCE_DIR "/tests/goldens/tokenizer_goldens.json", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse_json("tokenizer_goldens.json", {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

// Every kind of tokenizer.json, against Hugging Face's tokenizers (tests/goldens/make_tokenizer_goldens.mjs).
TEST(TokenizerJson, AgreesWithTheReference) {
  const Json all = goldens();
  EXPECT_GE(all["cases"].size(), 20u);
  for (const Json& one : all["cases"]) {
    const auto name = one["name"].get<std::string>();
    Json tokenizer = one["tokenizer"];
    tokenizer["model"] = all["models"].at(tokenizer["model"].get<std::string>());
    Metadata meta;
    ASSERT_NO_THROW(read_tokenizer_json(name, tokenizer, meta)) << name;
    const std::vector<uint8_t> tables = build_tokenizer_tables(meta);
    const auto t = rt::Tokenizer::open(tables);
    ASSERT_TRUE(t) << name << ": " << t.error().message;
    for (size_t i = 0; i < all["texts"].size(); ++i) {
      const auto text = all["texts"][i].get<std::string>();
      const rt::EncodeOptions options{.add_bos = false, .add_eos = false, .parse_special = true};
      EXPECT_EQ(t->encode(text, options), one["ids"][i].get<Ids>()) << name << ": " << Json(text).dump();
    }
  }
}

// A byte-level tokenizer of the letters a to c.
Json small() {
  return Json::parse(R"({
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": ["a b"]},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "added_tokens": [{"id": 6, "content": "<s>", "special": true}, {"id": 5, "content": "<x>"}]})");
}

Metadata read(const Json& json) {
  Metadata meta;
  read_tokenizer_json("tokenizer.json", json, meta);
  return meta;
}

std::string refusal(const Json& json) {
  try {
    build_tokenizer_tables(read(json));
  } catch (const Error& error) {
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
    return error.what();
  }
  return "(accepted)";
}

TEST(TokenizerJson, SetsGgufsKeys) {
  Json json = small();
  json["post_processor"] = Json::parse(R"({"type": "TemplateProcessing", "single": [
    {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]})");
  const Metadata meta = read(json);
  EXPECT_EQ(meta.string("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(meta.string("tokenizer.ggml.pre"), "gpt-2");
  EXPECT_EQ(*meta.strings("tokenizer.ggml.tokens"),
            (std::vector<std::string>{"a", "b", "c", "ab", "[PAD4]", "<x>", "<s>"}));
  EXPECT_EQ(*meta.integers("tokenizer.ggml.token_type"), (std::vector<int64_t>{1, 1, 1, 1, 5, 4, 3}));
  EXPECT_EQ(*meta.strings("tokenizer.ggml.merges"), std::vector<std::string>{"a b"});
  EXPECT_EQ(meta.integer("tokenizer.ggml.bos_token_id"), 6);
  EXPECT_EQ(meta.integer("tokenizer.ggml.eos_token_id"), std::nullopt);
  EXPECT_EQ(meta.boolean("tokenizer.ggml.add_bos_token"), true);
  EXPECT_EQ(encode(meta, "abc<x><s>"), (Ids{3, 2, 5, 6}));
}

TEST(TokenizerJson, RefusesWithTheReason) {
  EXPECT_EQ(refusal(small()), "(accepted)");
  const auto with = [](const char* pointer, const char* value) {
    Json json = small();
    json[Json::json_pointer(pointer)] = Json::parse(value);
    return refusal(json);
  };
  const auto names = [](const std::string& message, std::string_view what) {
    EXPECT_NE(message.find(what), std::string::npos) << message;
  };
  names(refusal(Json::array()), "tokenizer.json: model");
  names(with("/model/type", "\"WordPiece\""), "WordPiece");
  names(with("/model/vocab", "[]"), "vocab");
  names(with("/model/vocab/a", "1"), "id 1");
  names(with("/model/vocab/a", "-1"), "-1");
  names(with("/model/vocab/a", "99999999"), "99999999");
  names(with("/model/vocab/a", "0.5"), "\"a\"");
  names(with("/model/merges", "[[\"a\"]]"), "entry 0");
  names(with("/model/continuing_subword_prefix", "\"##\""), "continuing_subword_prefix");
  names(with("/normalizer", R"({"type": "Nmt"})"), "Nmt");
  names(with("/pre_tokenizer", R"({"type": "UnicodeScripts"})"), "UnicodeScripts");
  names(with("/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"})"), "Odd");
  names(with("/normalizer", R"({"type": "Replace", "pattern": {"Regex": "(?<=a)b"}, "content": ""})"),
        "(?<=");
  names(with("/normalizer", R"({"type": "Replace", "pattern": {"Regex": "a*"}, "content": ""})"), "a*");
  names(with("/normalizer", R"({"type": "Line\nbreak"})"), "Line\\x0abreak");
  names(with("/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "?"})"), "base64");
  names(with("/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "AAAA"})"), "charsmap");
  names(with("/added_tokens/0/content", "\"\""), "added_tokens");
}

}  // namespace
}  // namespace forge
