#include "quantize/importances.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "formats/checkpoint.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"

namespace forge {
namespace {

class Imatrix : public testing::Test {
 protected:
  // The older format, as a string of pieces.
  template <class T>
  static std::string bytes(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
  }
  static std::string entry(const std::string& name, int32_t calls, const std::vector<float>& values) {
    std::string out = bytes(static_cast<int32_t>(name.size())) + name + bytes(calls) +
                      bytes(static_cast<int32_t>(values.size()));
    for (const float v : values) out += bytes(v);
    return out;
  }
  Importances read(const std::string& contents) {
    std::ofstream(path_, std::ios::binary) << contents;
    return read_imatrix(path_);
  }

  // GGUF: tensors of the file's name, all f32.
  Importances read_gguf_of(const std::vector<std::pair<std::string, std::vector<float>>>& tensors,
                           const std::string& type = "imatrix") {
    Checkpoint file;
    file.meta.set("general.type", {MetaType::string, MetaType::u32, type});
    for (const auto& [name, values] : tensors) {
      file.tensors.push_back(
          {name,
           DType::f32,
           {static_cast<int64_t>(values.size())},
           {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)}});
    }
    write_gguf(file, path_);
    return read_imatrix(path_);
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.file("imatrix");
};

TEST_F(Imatrix, ReadsTheOlderFormat) {
  const std::string file = bytes(int32_t{2}) + entry("a", 4, {4, 8}) + entry("b", 1, {3}) +
                           bytes(int32_t{4}) + bytes(int32_t{4}) + "text";
  const Importances i = read(file);
  ASSERT_EQ(i.of_tensor.size(), 2u);
  EXPECT_EQ(i.of_tensor.at("a"), (std::vector<float>{1, 2}));
  EXPECT_EQ(i.find("b", 1)[0], 3);
  EXPECT_TRUE(i.find("c", 1).empty());
  expect_error([&] { i.find("a", 3); }, {"2 importances for tensor \"a\", which has 3 columns"});
}

TEST_F(Imatrix, ReadsGguf) {
  const Importances i = read_gguf_of({{"a.in_sum2", {4, 8}},
                                      {"a.counts", {4}},
                                      {"experts.in_sum2", {1, 2}},
                                      {"experts.counts", {1, 1}},
                                      {"b.in_sum2", {1}},
                                      {"b.counts", {0}}});
  ASSERT_EQ(i.of_tensor.size(), 1u);
  EXPECT_EQ(i.of_tensor.at("a"), (std::vector<float>{1, 2}));
}

// The same entries in both formats; imatrix_fuzz starts from them.
TEST_F(Imatrix, ReadsTheGoldenFiles) {
  const Importances older = read_imatrix(FORGE_SOURCE_DIR "/tests/goldens/imatrix/older.dat");
  const Importances current = read_imatrix(FORGE_SOURCE_DIR "/tests/goldens/imatrix/current.gguf");
  EXPECT_EQ(older.of_tensor, current.of_tensor);
  EXPECT_EQ(older.of_tensor.at("blk.0.attn_q.weight"), (std::vector<float>{1, 2, 0, 0.5f}));
}

TEST_F(Imatrix, RefusesWhatIsNone) {
  expect_error([&] { read_gguf_of({{"a", {1}}}, "model"); }, {"a GGUF file of type \"model\""});
  expect_error([&] { read_gguf_of({{"a.in_sum2", {1}}}); }, {"tensor \"a\".counts is missing"});
  expect_error([&] { read_gguf_of({{"a", {1}}}); }, {"no entry with importances"});
  expect_error([&] { read("abc"); }, {"the file ends after 3 bytes"});
  expect_error([&] { read(bytes(int32_t{-1}) + "abcdefgh"); }, {"count -1, in what should be the number"});
  expect_error([&] { read(bytes(int32_t{1}) + bytes(int32_t{1 << 30}) + "abcd"); }, {"count 1073741824"});
  expect_error([&] { read(bytes(int32_t{1}) + entry("a", 0, {1})); }, {"count 0, in entry 0"});
  for (const float bad : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()})
    expect_error([&] { read(bytes(int32_t{1}) + entry("a", 1, {bad})); }, {"entry \"a\" holds"});
  expect_error([&] { read(bytes(int32_t{2}) + entry("a", 1, {1}) + entry("a", 1, {1})); }, {"stands twice"});
}

// Every cut of a file is an error of one line, or a file that is whole.
TEST_F(Imatrix, SurvivesCuts) {
  const std::string file = bytes(int32_t{2}) + entry("a", 4, {4, 8}) + entry("b", 1, {3}) + bytes(int32_t{4});
  for (size_t n = 1; n < file.size() - 4; ++n) expect_error([&] { read(file.substr(0, n)); }, {"expected"});
}

TEST(EncoderWeights, HaveMeanOneAndNoZeros) {
  EXPECT_EQ(encoder_weights(std::vector<float>{1, 3}), (std::vector<float>{0.5f, 1.5f}));
  EXPECT_EQ(encoder_weights(std::vector<float>{0, 0}), (std::vector<float>{1, 1}));
  EXPECT_EQ(encoder_weights(std::vector<float>{0, 2}), (std::vector<float>{1e-4f, 2}));
}

}  // namespace
}  // namespace forge
