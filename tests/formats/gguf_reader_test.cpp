#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <numeric>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/formats/gguf_bytes.h"

namespace forge {
namespace {

class GgufReader : public testing::Test {
 protected:
  Checkpoint read(const GgufSpec& spec) const { return read_bytes(gguf_bytes(spec)); }
  Checkpoint read_bytes(std::span<const uint8_t> bytes) const {
    write_file(path_, bytes);
    return read_gguf(path_);
  }
  // Expects an error that starts with the file's name.
  void refuse(const GgufSpec& spec, std::initializer_list<std::string_view> parts) const {
    refuse_bytes(gguf_bytes(spec), parts);
  }
  void refuse_bytes(std::span<const uint8_t> bytes, std::initializer_list<std::string_view> parts) const {
    write_file(path_, bytes);
    expect_error(
        [&] {
          try {
            read_gguf(path_);
          } catch (const Error& error) {
            EXPECT_TRUE(std::string_view(error.what()).starts_with(path_ + ": ")) << error.what();
            EXPECT_NE(std::string_view(error.what()).find(", expected "), std::string_view::npos)
                << error.what();
            throw;
          }
        },
        parts);
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.file("model.gguf");
};

// Reads every weight, so that a sanitizer sees what lies outside the file.
float touch(const Checkpoint& checkpoint) {
  float sum = 0;
  for (const Tensor& tensor : checkpoint.tensors) {
    std::vector<float> weights(static_cast<size_t>(tensor.rows() * tensor.cols()));
    EXPECT_EQ(tensor.data.size(), row_bytes(tensor.type, weights.size())) << tensor.name;
    info(tensor.type).decode(tensor.data.data(), weights.data(), weights.size());
    sum = std::accumulate(weights.begin(), weights.end(), sum);
  }
  return sum;
}

TEST_F(GgufReader, ReadsTensorsWhereTheyLie) {
  const GgufSpec spec = sample_gguf();
  const std::vector<uint8_t> bytes = gguf_bytes(spec);
  const size_t data = bytes.size() - spec.data_bytes;
  const Checkpoint checkpoint = read_bytes(bytes);
  EXPECT_EQ(checkpoint.path, path_);
  EXPECT_EQ(checkpoint.gguf_version, 3u);
  EXPECT_EQ(checkpoint.alignment, 32u);
  ASSERT_EQ(checkpoint.tensors.size(), 3u);
  const Tensor& embedding = checkpoint.tensors[0];
  EXPECT_EQ(embedding.name, "token_embd.weight");
  EXPECT_EQ(embedding.type, DType::q8_0);
  EXPECT_EQ(embedding.shape, (std::vector<int64_t>{5, 32}));
  EXPECT_EQ(embedding.rows(), 5);
  EXPECT_EQ(embedding.cols(), 32);
  ASSERT_EQ(embedding.data.size(), 5u * 34);
  EXPECT_EQ(std::memcmp(embedding.data.data(), bytes.data() + data, 5 * 34), 0);
  EXPECT_EQ(checkpoint.find("w"), &checkpoint.tensors[2]);
  EXPECT_EQ(checkpoint.find("w")->shape, (std::vector<int64_t>{2, 2, 3}));
  EXPECT_EQ(std::memcmp(checkpoint.find("w")->data.data(), bytes.data() + data + 256, 24), 0);
  EXPECT_EQ(checkpoint.find("v"), nullptr);
  EXPECT_EQ(checkpoint.meta.string("general.architecture"), "llama");
  EXPECT_EQ(encode_metadata(checkpoint.meta), encode_metadata(spec.meta));
}

TEST_F(GgufReader, ReadsVersion2AndAlignments) {
  GgufSpec spec = sample_gguf();
  spec.version = 2;
  EXPECT_EQ(read(spec).gguf_version, 2u);
  spec.alignment = 64;
  spec.meta.set("general.alignment", meta_u32(64));
  const std::vector<uint8_t> bytes = gguf_bytes(spec);
  const Checkpoint checkpoint = read_bytes(bytes);
  EXPECT_EQ(checkpoint.alignment, 64u);
  EXPECT_EQ(checkpoint.tensors[0].data[0], bytes[bytes.size() - spec.data_bytes]);
}

TEST_F(GgufReader, ReadsAVocabularyAlone) {
  GgufSpec spec = sample_gguf();
  spec.tensors.clear();
  spec.data_bytes = 0;
  EXPECT_EQ(read(spec).meta.strings("tokenizer.ggml.tokens")->size(), 5u);
}

TEST_F(GgufReader, RefusesOtherFiles) {
  GgufSpec spec = sample_gguf();
  spec.magic = "GGUX";
  refuse(spec, {R"(bad magic "GGUX", in the header at offset 0, expected "GGUF")"});
  spec.magic = "tjgg";
  refuse(spec, {"a ggml file from before GGUF"});
  refuse_bytes(std::vector<uint8_t>{'G', 'G'}, {"bad magic"});
  const std::string_view pointer = "version https://git-lfs.github.com/spec/v1\n";
  refuse_bytes(std::vector<uint8_t>(pointer.begin(), pointer.end()), {"a Git LFS pointer", "git lfs pull"});
  for (const uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    spec = sample_gguf();
    spec.version = version;
    refuse(spec, {fmt::format("GGUF version {}", version), "offset 4, expected 2 or 3"});
  }
  spec.version = 0x03000000;
  refuse(spec, {"a big-endian file", "expected little-endian"});
}

TEST_F(GgufReader, RefusesCountsThatTheFileCannotHold) {
  for (const uint64_t n : {uint64_t{1000}, uint64_t{1} << 32, UINT64_MAX}) {
    GgufSpec spec = sample_gguf();
    spec.n_tensors = n;
    refuse(spec, {fmt::format("count of {}", n), "in the header's number of tensors at offset 8"});
    spec = sample_gguf();
    spec.n_metadata = n;
    refuse(spec, {fmt::format("count of {}", n), "in the header's number of metadata entries at offset 16"});
  }
}

// One entry after the sample's: its key, then raw bytes.
GgufSpec with_entry(const std::string& key, std::initializer_list<std::vector<uint8_t>> parts) {
  GgufSpec spec = sample_gguf();
  append_string(spec.more_metadata, key);
  for (const auto& part : parts)
    spec.more_metadata.insert(spec.more_metadata.end(), part.begin(), part.end());
  spec.n_more_metadata = 1;
  return spec;
}
template <class T>
std::vector<uint8_t> raw(T value) {
  std::vector<uint8_t> out;
  append_number(out, value);
  return out;
}
std::vector<uint8_t> raw(MetaType type) { return raw(static_cast<uint32_t>(type)); }

TEST_F(GgufReader, RefusesBadMetadata) {
  const auto absurd = raw(uint64_t{1} << 62);
  refuse(with_entry("k", {raw(uint32_t{13})}), {"unknown value type 13, in key \"k\"", "expected 0 to 12"});
  refuse(with_entry("k", {raw(MetaType::boolean), {2}}), {"bool of value 2, in key \"k\""});
  refuse(with_entry("k", {raw(MetaType::u64), raw(uint64_t{1} << 63)}),
         {"value 9223372036854775808 is too large"});
  refuse(with_entry("k", {raw(MetaType::string), absurd}),
         {"string of 4611686018427387904 bytes, in key \"k\""});
  refuse(with_entry("k", {raw(MetaType::array), raw(MetaType::string), absurd}),
         {"count of 4611686018427387904"});
  refuse(with_entry("k", {raw(MetaType::array), raw(MetaType::u8), absurd}),
         {"count of 4611686018427387904"});
  refuse(with_entry("k", {raw(MetaType::array), raw(MetaType::array), raw(uint64_t{1})}), {"nested array"});
  refuse(with_entry("k", {raw(MetaType::array), raw(uint32_t{99}), raw(uint64_t{1})}),
         {"unknown value type 99"});
  refuse(with_entry("k", {raw(MetaType::array), raw(MetaType::boolean), raw(uint64_t{2}), {1, 3}}),
         {"bool of value 3, in key \"k\""});
  refuse(with_entry("a.u8", {raw(MetaType::u8), {0}}), {"duplicate key, in key \"a.u8\""});
  refuse(with_entry("", {raw(MetaType::u8), {0}}), {"name of 0 bytes, in the key of metadata entry 18"});
  refuse(with_entry(std::string(70000, 'x'), {raw(MetaType::u8), {0}}),
         {"name of 70000 bytes", "1 to 65535"});
  refuse(with_entry("k\xc3(", {raw(MetaType::u8), {0}}), {R"(name "k\xc3(", in)", "expected UTF-8"});
  refuse(with_entry("k\n", {raw(MetaType::u8), {0}}), {R"(name "k\x0a", in)", "without control characters"});
}

TEST_F(GgufReader, RefusesArraysBeyondAllVocabularies) {
  constexpr uint64_t kElements = (uint64_t{1} << 24) + 1;
  refuse(with_entry(
             "k", {raw(MetaType::array), raw(MetaType::u8), raw(kElements), std::vector<uint8_t>(kElements)}),
         {"array of 16777217 elements, in key \"k\"", "16777216 at most"});
}

TEST(ModelFiles, AreAllShardsOrTheFileAlone) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(model_files("d/m-00001-of-00003.gguf"),
            (Names{"d/m-00001-of-00003.gguf", "d/m-00002-of-00003.gguf", "d/m-00003-of-00003.gguf"}));
  for (const char* name : {"m.gguf", "-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00001-of-00000.gguf",
                           "m-00001-of-0000x.gguf", "m-00001-of-00003.bin", ""}) {
    EXPECT_EQ(model_files(name), Names{name});
  }
}

TEST_F(GgufReader, RefusesBadAlignments) {
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 21, 0x80000000u, UINT32_MAX}) {
    GgufSpec spec = sample_gguf();
    spec.meta.set("general.alignment", meta_u32(alignment));
    refuse(spec, {fmt::format("alignment {}, in key \"general.alignment\"", alignment), "a power of two"});
  }
  GgufSpec spec = sample_gguf();
  spec.meta.set("general.alignment", meta_string("32"));
  refuse(spec, {"alignment of another type", "expected u32"});
}

TEST_F(GgufReader, RefusesBadTensors) {
  const auto with_tensor = [](const TensorSpec& tensor) {
    GgufSpec spec = sample_gguf();
    spec.tensors.push_back(tensor);
    spec.data_bytes += 4096;
    return spec;
  };
  const uint64_t at = 288;
  EXPECT_EQ(read(with_tensor({"x", {4}, 0, at})).tensors.size(), 4u);
  refuse(with_tensor({"", {4}, 0, at}), {"name of 0 bytes, in the name of tensor 3"});
  refuse(with_tensor({std::string(65, 'x'), {4}, 0, at}), {"name of 65 bytes", "expected 1 to 64"});
  refuse(with_tensor({"x\ty", {4}, 0, at}), {R"(name "x\x09y")"});
  refuse(with_tensor({"w", {4}, 0, at}), {"duplicate tensor name, in tensor \"w\""});
  refuse(with_tensor({"x", {}, 0, at}), {"0 dimensions, in tensor \"x\"", "expected 1 to 4"});
  refuse(with_tensor({"x", {1, 1, 1, 1, 1}, 0, at}), {"5 dimensions, in tensor \"x\""});
  refuse(with_tensor({"x", {4, 0}, 0, at}), {"dimension 1 of size 0, in tensor \"x\""});
  refuse(with_tensor({"x", {uint64_t{1} << 63}, 0, at}), {"dimension 0 of size 9223372036854775808"});
  refuse(with_tensor({"x", {uint64_t{1} << 32, uint64_t{1} << 31}, 0, at}),
         {"dimension 1 of size 2147483648"});
  refuse(with_tensor({"x", {uint64_t{1} << 62}, 0, at}), {"4611686018427387904 weights"});
  refuse(with_tensor({"x", {uint64_t{1} << 40}, 0, at}),
         {"the file ends inside tensor \"x\"", "4398046511104 bytes"});
  refuse(with_tensor({"x", {33}, 8, at}),
         {"rows of 33 weights of type q8_0, in tensor \"x\"", "a multiple of 32"});
  refuse(with_tensor({"x", {128}, 12, at}), {"rows of 128 weights of type q4_k", "a multiple of 256"});
  refuse(with_tensor({"x", {256}, 9, at}),
         {"unsupported type q8_1 (9), in tensor \"x\"", "expected one of f32,"});
  refuse(with_tensor({"x", {256}, 4, at}), {"unsupported type q4_2 (4)"});
  refuse(with_tensor({"x", {256}, 777, at}), {"unsupported type unknown (777)"});
  refuse(with_tensor({"x", {4}, 0, at + 4}), {"data offset 292, in tensor \"x\"", "a multiple of 32"});
  refuse(with_tensor({"x", {4}, 0, 160}), {"tensors \"token_embd.weight\" and \"x\" overlap"});
  refuse(with_tensor({"x", {4}, 0, 192}), {"overlap"});
  refuse(with_tensor({"x", {4}, 0, 1u << 20}), {"the file ends inside tensor \"x\""});
  refuse(with_tensor({"x", {4}, 0, UINT64_MAX - 31}), {"the file ends inside tensor \"x\"", "at least 2^64"});
}

// Every cut is an error, up to the last byte of the last tensor.
TEST_F(GgufReader, RefusesEveryCut) {
  const std::vector<uint8_t> bytes = gguf_bytes(sample_gguf());
  for (size_t n = 1; n < bytes.size(); ++n) refuse_bytes(std::span(bytes).first(n), {"offset "});
  EXPECT_EQ(read_bytes(bytes).tensors.size(), 3u);
}

// Every changed byte of the header is an error, or gives a checkpoint that can be read within its bounds and
// written.
TEST_F(GgufReader, SurvivesEveryChangedByte) {
  GgufSpec spec = sample_gguf();
  size_t header = 0;
  std::vector<uint8_t> bytes = gguf_bytes(spec, &header);
  int refused = 0, accepted = 0;
  for (size_t i = 0; i < header; ++i) {
    for (const int change : {0x01, 0x04, 0x20, 0x80, 0xff}) {
      bytes[i] ^= static_cast<uint8_t>(change);
      write_file(path_, bytes);
      try {
        const Checkpoint checkpoint = read_gguf(path_);
        touch(checkpoint);
        encode_metadata(checkpoint.meta);
        ++accepted;
      } catch (const Error& error) {
        EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos) << error.what();
        ++refused;
      }
      bytes[i] ^= static_cast<uint8_t>(change);
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(accepted, 500);
}

TEST_F(GgufReader, ReadsALargeVocabularyAtOnce) {
  constexpr int kTokens = 150000;
  std::vector<std::string> tokens, merges;
  for (int i = 0; i < kTokens; ++i) {
    tokens.push_back(fmt::format("token{}", i));
    merges.push_back(fmt::format("token{} token{}", i, i + 1));
  }
  GgufSpec spec;
  spec.meta.set("tokenizer.ggml.tokens", meta_strings(tokens));
  spec.meta.set("tokenizer.ggml.merges", meta_strings(merges));
  spec.meta.set("tokenizer.ggml.token_type", meta_array(MetaType::i32, std::vector<int64_t>(kTokens, 1)));
  const Checkpoint checkpoint = read(spec);
  EXPECT_EQ(*checkpoint.meta.strings("tokenizer.ggml.tokens"), tokens);
  EXPECT_EQ(*checkpoint.meta.strings("tokenizer.ggml.merges"), merges);
}

TEST_F(GgufReader, HashesTheFile) {
  // `sha256sum` of the 37 bytes: header of a file without keys and tensors, then "forge to hash".
  std::vector<uint8_t> bytes = gguf_bytes({});
  for (const char c : std::string_view("forge to hash")) bytes.push_back(static_cast<uint8_t>(c));
  const Checkpoint checkpoint = read_bytes(bytes);
  EXPECT_EQ(source_sha256(checkpoint), "a2cf208d7d6e1456ff83ff6fb1f2003644720eb0067b850225b1e7279d593a77");
  EXPECT_TRUE(checkpoint.source_sha256.empty());
}

// A model in three files, one tensor each.
class SplitGguf : public testing::Test {
 protected:
  SplitGguf() {
    for (size_t i = 0; i < 3; ++i) {
      GgufSpec& shard = shards_.emplace_back();
      if (i == 0) shard.meta.set("general.architecture", meta_string("llama"));
      shard.meta.set("split.no", meta_u16(static_cast<uint16_t>(i)));
      shard.meta.set("split.count", meta_u16(3));
      shard.meta.set("split.tensors.count", meta_i32(3));
      shard.tensors = {{fmt::format("t{}", i), {4 + i}, 0, 0}};
      shard.data_bytes = 4 * (4 + i);
    }
  }
  std::string path(size_t i) const { return directory_.file(fmt::format("m-{:05}-of-00003.gguf", i + 1)); }
  Checkpoint read() const {
    for (size_t i = 0; i < shards_.size(); ++i) write_file(path(i), gguf_bytes(shards_[i]));
    return read_gguf(path(0));
  }
  void refuse(std::initializer_list<std::string_view> parts) const {
    expect_error([&] { read(); }, parts);
  }

  const TemporaryDirectory directory_;
  std::vector<GgufSpec> shards_;
};

TEST_F(SplitGguf, IsOneCheckpoint) {
  const Checkpoint checkpoint = read();
  ASSERT_EQ(checkpoint.tensors.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(checkpoint.tensors[i].name, fmt::format("t{}", i));
    EXPECT_EQ(checkpoint.tensors[i].data.size(), 4 * (4 + i));
  }
  ASSERT_EQ(checkpoint.meta.entries().size(), 1u);  // what says how it was split is gone
  EXPECT_EQ(checkpoint.meta.string("general.architecture"), "llama");
  ASSERT_EQ(checkpoint.files.size(), 3u);
  touch(checkpoint);
  // It can be written as one file and read again.
  write_gguf(checkpoint, directory_.file("one.gguf"));
  EXPECT_EQ(read_gguf(directory_.file("one.gguf")).tensors.size(), 3u);
}

TEST_F(SplitGguf, IsHashedWhole) {
  std::vector<uint8_t> all;
  for (const GgufSpec& shard : shards_) {
    const auto bytes = gguf_bytes(shard);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  // The first shard starts a GGUF file, so the concatenation reads as one; its keys say it is a shard of
  // three, which the name has to say too.
  const std::string joined = directory_.file("joined-00001-of-00001.gguf");
  Checkpoint whole;
  whole.files = {all};
  EXPECT_EQ(source_sha256(read()), source_sha256(whole));
  write_file(joined, all);
  expect_error([&] { read_gguf(joined); }, {joined + ": a shard of 3, in key \"split.count\""});
}

TEST_F(SplitGguf, NamesTheMissingShard) {
  read();
  std::filesystem::remove(path(1));
  expect_error([&] { read_gguf(path(0)); }, {path(1) + ": missing, shard 2 of 3", path(0)});
}

TEST_F(SplitGguf, RefusesAnotherShardThanTheFirst) {
  read();
  expect_error([&] { read_gguf(path(1)); }, {path(1) + ": shard 2 of a model, expected the first", path(0)});
}

TEST_F(SplitGguf, RefusesAShardUnderAPlainName) {
  write_file(directory_.file("m.gguf"), gguf_bytes(shards_[0]));
  expect_error([&] { read_gguf(directory_.file("m.gguf")); },
               {"m.gguf: a shard of 3, in key \"split.count\"", "ends in -00001-of-00003.gguf"});
}

TEST_F(SplitGguf, ChecksEveryShard) {
  shards_[1].meta.set("split.no", meta_u16(2));
  refuse({path(1) + ": value 2, in key \"split.no\", expected 1"});
  shards_[1].meta.set("split.no", meta_u16(1));
  shards_[2].meta.set("split.count", meta_u16(4));
  refuse({path(2) + ": value 4, in key \"split.count\", expected 3"});
  shards_[2].meta.set("split.count", meta_u16(3));
  shards_[2].meta.set("split.tensors.count", meta_i32(2));
  refuse({path(2) + ": value 2, in key \"split.tensors.count\", expected 3"});
  shards_[2].meta.set("split.tensors.count", meta_string("3"));
  refuse({path(2) + ": no number in key \"split.tensors.count\""});
  for (GgufSpec& shard : shards_) shard.meta.set("split.tensors.count", meta_i32(4));
  refuse({path(0) + ": 3 tensors in all 3 shards, expected 4"});
  shards_[1].tensors[0].name = "t0";
  refuse({path(1) + ": duplicate tensor name \"t0\""});
  shards_[2].magic = "GGUX";
  shards_[1].tensors[0].name = "t1";
  refuse({path(2) + ": bad magic"});
}

TEST_F(SplitGguf, NeedsItsKeys) {
  shards_[0].meta = {};
  refuse({path(0) + ": no number in key \"split.tensors.count\""});
}

}  // namespace
}  // namespace forge
