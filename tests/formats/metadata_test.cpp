#include <gtest/gtest.h>

#include "tests/core/expect_error.h"
#include "tests/formats/gguf_bytes.h"

namespace forge {
namespace {

Metadata sample() { return sample_gguf().meta; }

TEST(Metadata, LooksUpByType) {
  const Metadata meta = sample();
  EXPECT_EQ(meta.integer("llama.block_count"), 2);
  EXPECT_EQ(meta.integer("a.i64"), INT64_MIN);
  EXPECT_EQ(meta.number("a.f64"), 0.1);
  EXPECT_EQ(meta.number("a.f32"), double{1e-5f});
  EXPECT_EQ(meta.number("a.i32"), -5.0);  // an integer is a number
  EXPECT_EQ(meta.boolean("a.bool"), true);
  EXPECT_EQ(meta.string("general.architecture"), "llama");
  ASSERT_NE(meta.strings("tokenizer.ggml.tokens"), nullptr);
  EXPECT_EQ(meta.strings("tokenizer.ggml.tokens")->at(4), "\xe2\x96\x81once");
  ASSERT_NE(meta.integers("tokenizer.ggml.token_type"), nullptr);
  EXPECT_EQ(meta.integers("tokenizer.ggml.token_type")->at(3), -6);
  ASSERT_NE(meta.numbers("tokenizer.ggml.scores"), nullptr);
  EXPECT_EQ(meta.numbers("tokenizer.ggml.scores")->at(2), -2.5);
}

TEST(Metadata, AbsentKeysAreNothing) {
  const Metadata meta;
  EXPECT_EQ(meta.find("x"), nullptr);
  EXPECT_EQ(meta.integer("x"), std::nullopt);
  EXPECT_EQ(meta.number("x"), std::nullopt);
  EXPECT_EQ(meta.boolean("x"), std::nullopt);
  EXPECT_EQ(meta.string("x"), std::nullopt);
  EXPECT_EQ(meta.strings("x"), nullptr);
  EXPECT_EQ(meta.integers("x"), nullptr);
  EXPECT_EQ(meta.numbers("x"), nullptr);
}

TEST(Metadata, AnotherTypeIsAnErrorThatNamesTheKey) {
  const Metadata meta = sample();
  expect_error([&] { meta.integer("general.architecture"); },
               {"\"general.architecture\" has type string, expected an integer"});
  expect_error([&] { meta.integer("a.bool"); }, {"\"a.bool\" has type bool, expected an integer"});
  expect_error([&] { meta.integer("a.f32"); }, {"\"a.f32\" has type f32, expected an integer"});
  expect_error([&] { meta.number("a.bool"); }, {"\"a.bool\" has type bool, expected a number"});
  expect_error([&] { meta.number("a.bytes"); }, {"\"a.bytes\" has type array of u8, expected a number"});
  expect_error([&] { meta.boolean("a.u8"); }, {"\"a.u8\" has type u8, expected a bool"});
  expect_error([&] { meta.string("a.u8"); }, {"\"a.u8\" has type u8, expected a string"});
  expect_error([&] { meta.strings("a.bytes"); },
               {"\"a.bytes\" has type array of u8, expected an array of strings"});
  expect_error([&] { meta.integers("a.u8"); }, {"expected an array of integers"});
  expect_error([&] { meta.numbers("tokenizer.ggml.tokens"); },
               {"array of string, expected an array of floats"});
}

TEST(Metadata, SetReplacesAndKeepsTheOrder) {
  Metadata meta;
  meta.set("b", meta_u32(1));
  meta.set("a", meta_u32(2));
  meta.set("b", meta_string("x"));
  ASSERT_EQ(meta.entries().size(), 2u);
  EXPECT_EQ(meta.entries()[0].first, "b");
  EXPECT_EQ(meta.string("b"), "x");
}

TEST(Metadata, EncodesAndDecodesEveryType) {
  const Metadata meta = sample();
  const std::vector<uint8_t> bytes = encode_metadata(meta);
  const Metadata decoded = decode_metadata(bytes);
  ASSERT_EQ(decoded.entries().size(), meta.entries().size());
  for (size_t i = 0; i < meta.entries().size(); ++i) {
    const auto& [key, value] = meta.entries()[i];
    const auto& [other_key, other] = decoded.entries()[i];
    EXPECT_EQ(key, other_key);
    EXPECT_EQ(value.type, other.type) << key;
    if (value.type == MetaType::array) EXPECT_EQ(value.element, other.element) << key;
    EXPECT_EQ(value.value, other.value) << key;
  }
  EXPECT_EQ(encode_metadata(decoded), bytes);
}

TEST(Metadata, DecodeRefusesEveryCutAndWhatFollows) {
  const std::vector<uint8_t> bytes = encode_metadata(sample());
  for (size_t n = 0; n < bytes.size(); ++n) {
    expect_error([&] { decode_metadata(std::span(bytes).first(n)); },
                 {"metadata: ", "at offset ", "expected "});
  }
  std::vector<uint8_t> longer = bytes;
  longer.push_back(0);
  expect_error([&] { decode_metadata(longer); }, {"metadata: 1 bytes too many"});
}

TEST(Metadata, EncodeRefusesValuesThatDontFitTheirType) {
  const auto encode_one = [](MetaValue value) {
    Metadata meta;
    meta.set("k", std::move(value));
    encode_metadata(meta);
  };
  expect_error([&] { encode_one({MetaType::u8, MetaType::u32, int64_t{256}}); },
               {"\"k\"", "doesn't fit its type u8"});
  expect_error([&] { encode_one({MetaType::u64, MetaType::u32, int64_t{-1}}); }, {"\"k\"", "type u64"});
  expect_error([&] { encode_one({MetaType::string, MetaType::u32, int64_t{1}}); }, {"\"k\"", "type string"});
  expect_error([&] { encode_one(meta_array(MetaType::i8, std::vector<int64_t>{1, 128})); },
               {"\"k\"", "type i8"});
  expect_error([&] { encode_one(meta_array(MetaType::f32, std::vector<int64_t>{1})); },
               {"\"k\"", "type f32"});
  expect_error([&] { encode_one({MetaType::array, MetaType::array, int64_t{1}}); }, {"type array"});
}

TEST(Quote, IsOneShortLine) {
  EXPECT_EQ(quote("a \"b\"\\"), R"("a \"b\"\\")");
  EXPECT_EQ(quote("a\nb\xff\x7f"), R"("a\x0ab\xff\x7f")");
  EXPECT_EQ(quote("\xe2\x96\x81"), "\"\xe2\x96\x81\"");
  EXPECT_EQ(quote("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80"), R"("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80")");
  EXPECT_EQ(quote(""), "\"\"");
  EXPECT_LT(quote(std::string(1000, 'x')).size(), 100u);
}

}  // namespace
}  // namespace forge
