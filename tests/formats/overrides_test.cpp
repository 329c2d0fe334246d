#include "formats/overrides.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/formats/gguf_bytes.h"

namespace forge {
namespace {

TEST(Override, KeepsTheTypeOfTheKey) {
  Metadata meta = sample_gguf().meta;
  const size_t n = meta.entries().size();
  for (const char* assignment : {"llama.block_count=7", "a.i8=-5", "a.f32=0.1", "a.f64=2", "a.bool=false",
                                 "general.architecture=a=b", "a.u64=5", "a.i64=-9223372036854775808"})
    override_metadata(meta, assignment);
  EXPECT_EQ(meta.entries().size(), n);
  EXPECT_EQ(meta.find("llama.block_count")->type, MetaType::u32);
  EXPECT_EQ(meta.integer("llama.block_count"), 7);
  EXPECT_EQ(meta.find("a.i8")->type, MetaType::i8);
  EXPECT_EQ(meta.integer("a.i8"), -5);
  EXPECT_EQ(meta.find("a.f32")->type, MetaType::f32);
  EXPECT_EQ(meta.number("a.f32"), static_cast<double>(0.1F));
  EXPECT_EQ(meta.find("a.f64")->type, MetaType::f64);
  EXPECT_EQ(meta.number("a.f64"), 2.0);
  EXPECT_EQ(meta.boolean("a.bool"), false);
  EXPECT_EQ(meta.string("general.architecture"), "a=b");
  EXPECT_EQ(meta.integer("a.i64"), INT64_MIN);
  EXPECT_NO_THROW(encode_metadata(meta));
}

TEST(Override, ANewKeyHasTheTypeItLooksLike) {
  const auto type_of = [](const std::string& text) {
    Metadata meta;
    override_metadata(meta, "k=" + text);
    EXPECT_NO_THROW(encode_metadata(meta)) << text;
    return meta.find("k")->type;
  };
  EXPECT_EQ(type_of("true"), MetaType::boolean);
  EXPECT_EQ(type_of("4294967295"), MetaType::u32);
  EXPECT_EQ(type_of("-1"), MetaType::i32);
  EXPECT_EQ(type_of("4294967296"), MetaType::i64);
  EXPECT_EQ(type_of("1e6"), MetaType::f32);
  EXPECT_EQ(type_of("0.5"), MetaType::f32);
  for (const char* text : {"", "yarn", "1.5x", "nan", "inf", "0x10", "True", "+1"})
    EXPECT_EQ(type_of(text), MetaType::string) << text;
}

TEST(Override, RefusesWhatTheKeyCantHold) {
  const auto error_of = [](std::string_view assignment) {
    Metadata meta = sample_gguf().meta;
    try {
      override_metadata(meta, assignment);
    } catch (const Error& error) {
      EXPECT_EQ(error.status, 2);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of("llama.block_count"), "--override llama.block_count: expected KEY=VALUE");
  EXPECT_EQ(error_of("=3"), "--override =3: expected KEY=VALUE");
  EXPECT_EQ(error_of("llama.block_count=many"),
            R"(--override llama.block_count: "many" is not an integer of type u32, the type of the key)");
  EXPECT_EQ(error_of("a.bools=1"),
            "--override a.bools: the key holds an array, expected one with a single value");
  for (const char* assignment :
       {"llama.block_count=-1", "llama.block_count=4294967296", "a.i8=128", "a.u8=256", "a.u64=-1",
        "a.bool=1", "a.f32=1e39", "a.f32=nan", "a.f64=", "a.i64=1.0", "a.i32=+1", "a.i32= 1"})
    EXPECT_NE(error_of(assignment).find("is not"), std::string::npos) << assignment;
}

}  // namespace
}  // namespace forge
