#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/formats/safetensors_bytes.h"

namespace forge {
namespace {

void write_text(const std::string& path, std::string_view text) {
  write_file(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

class SafeTensorsFile : public testing::Test {
 protected:
  SafeTensors read(std::string_view header, size_t data) const {
    write_file(path_, safetensors_bytes(header, data));
    return read_safetensors(path_);
  }
  void refuse_bytes(std::span<const uint8_t> bytes, std::initializer_list<std::string_view> parts) const {
    write_file(path_, bytes);
    expect_error([&] { read_safetensors(path_); }, parts);
  }
  void refuse(std::string_view header, size_t data, std::initializer_list<std::string_view> parts) const {
    refuse_bytes(safetensors_bytes(header, data), parts);
  }
  // One tensor "t" with these fields and 8 bytes of data.
  void refuse_fields(const std::string& fields, std::initializer_list<std::string_view> parts) const {
    refuse(R"({"t":{)" + fields + "}}", 8, parts);
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.file("model.safetensors");
};

TEST_F(SafeTensorsFile, ReadsTensorsWhereTheyLie) {
  const SafeTensors file = read(kSampleHeader, kSampleData);
  ASSERT_EQ(file.tensors.size(), 4u);
  const SafeTensor &a = file.tensors[0], &b = file.tensors[1], &mask = file.tensors[2],
                   &none = file.tensors[3];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.type, DType::f32);
  EXPECT_EQ(a.shape, std::vector<int64_t>{2});
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.type, DType::bf16);
  EXPECT_EQ(b.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(mask.dtype, "I64");
  EXPECT_FALSE(mask.type);
  EXPECT_TRUE(mask.shape.empty());
  EXPECT_EQ(none.data.size(), 0u);
  ASSERT_EQ(file.files.size(), 1u);
  const auto bytes = file.files[0]->bytes();
  EXPECT_EQ(a.data.data(), bytes.data() + 8 + kSampleHeader.size());
  EXPECT_EQ(b.data.data(), a.data.data() + 8);
  EXPECT_EQ(mask.data.data() + mask.data.size(), bytes.data() + bytes.size());
}

TEST_F(SafeTensorsFile, RefusesOtherFiles) {
  const std::string_view pointer = "version https://git-lfs.github.com/spec/v1\n";
  refuse_bytes({reinterpret_cast<const uint8_t*>(pointer.data()), pointer.size()},
               {"a Git LFS pointer", "git lfs pull"});
  refuse_bytes(std::vector<uint8_t>(7), {"7 bytes, expected safetensors"});
  std::vector<uint8_t> bytes = safetensors_bytes("{}", 0);
  bytes[0] = 3;
  refuse_bytes(bytes, {"a header of 3 bytes, expected 2 at most"});
  for (size_t i = 0; i < 8; ++i) bytes[i] = 0xff;
  refuse_bytes(bytes, {"a header of 18446744073709551615 bytes"});
  refuse("[]", 0, {"the header is no object"});
  refuse("{", 0, {"no JSON at offset 1"});
  refuse("", 0, {"no JSON at offset"});
  refuse("{\"t\": 1e999}", 0, {"out of range"});
  refuse("{\"\xff\": 1}", 0, {"no JSON at offset"});
  refuse(std::string(100000, '['), 0, {"nested deeper than 64"});
  std::string deep = R"({"__metadata__":)";
  for (int i = 0; i < 100; ++i) deep += R"({"a":)";
  refuse(deep, 0, {"nested deeper than 64"});
}

TEST_F(SafeTensorsFile, RefusesBadEntries) {
  refuse(R"({"t":3})", 0, {R"(tensor "t": no object)"});
  refuse(R"({"":{}})", 0, {"a tensor name of 0 bytes"});
  refuse_fields(R"("shape":[2],"data_offsets":[0,8])", {R"(tensor "t": no dtype)"});
  refuse_fields(R"("dtype":"F32","data_offsets":[0,8])", {"no shape"});
  refuse_fields(R"("dtype":"F32","shape":[2])", {"no data_offsets"});
  refuse_fields(R"("dtype":"F4","shape":[2],"data_offsets":[0,8])",
                {R"(unknown dtype "F4", expected F32, F16 or BF16)"});
  refuse_fields(R"("dtype":4,"shape":[2],"data_offsets":[0,8])", {"dtype is no string"});
  for (const char* shape :
       {"2", "[-1]", "[2.0]", "[\"2\"]", "[null]", "[9223372036854775808]", "[1,1,1,1,1,1,1,1,2]"})
    refuse_fields(fmt::format(R"("dtype":"F32","shape":{},"data_offsets":[0,8])", shape),
                  {"tensor \"t\": shape"});
  refuse_fields(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])",
                {"what a file can hold"});
  for (const char* offsets : {"[0]", "[]", "[8,0]", "[0,8,9]", "{}", "[0,-8]"})
    refuse_fields(fmt::format(R"("dtype":"F32","shape":[2],"data_offsets":{})", offsets), {"data_offsets"});
  refuse_fields(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])",
                {"8 bytes at data_offsets [0, 8], expected 12 for F32 of [3]"});
  refuse_fields(R"("dtype":"F16","shape":[2],"data_offsets":[0,8])", {"expected 4 for F16 of [2]"});
  refuse(
      R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"t":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
      8, {"key \"t\" twice"});
}

TEST_F(SafeTensorsFile, RefusesGapsOverlapsAndCutFiles) {
  const auto two = [](int a, int b, int c, int d) {
    return fmt::format(
        R"({{"x":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}},"y":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
        b - a, a, b, d - c, c, d);
  };
  EXPECT_EQ(read(two(0, 4, 4, 8), 8).tensors.size(), 2u);
  EXPECT_EQ(read(two(4, 8, 0, 4), 8).tensors[0].name, "y");
  refuse(two(0, 4, 3, 8), 8, {R"(tensor "y": its data begins at 3, expected 4)"});
  refuse(two(0, 4, 0, 4), 4, {"its data begins at 0, expected 4"});
  refuse(two(0, 4, 5, 8), 8, {"its data begins at 5, expected 4"});
  refuse(two(1, 4, 4, 8), 8, {R"(tensor "x": its data begins at 1, expected 0)"});
  refuse(two(0, 4, 4, 8), 9, {"9 bytes of data, expected 8"});
  refuse(two(0, 4, 4, 8), 7, {"7 bytes of data, expected 8; the file is cut short"});
  refuse("{}", 1, {"1 bytes of data, expected 0"});
}

// Every byte of the header changed, and every length cut: an Error of one line or a file whose bytes are all there.
TEST_F(SafeTensorsFile, DamagedFilesAreErrors) {
  const std::vector<uint8_t> whole = safetensors_bytes(kSampleHeader, kSampleData);
  const auto use = [&](const std::vector<uint8_t>& bytes) {
    write_file(path_, bytes);
    try {
      size_t sum = 0;
      for (const SafeTensor& t : read_safetensors(path_).tensors)
        for (const uint8_t byte : t.data) sum += byte;
      return sum != 0;
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
      return false;
    }
  };
  for (size_t n = 1; n < whole.size(); n += 3)
    EXPECT_FALSE(use({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n)})) << n;
  for (size_t i = 0; i < whole.size() - kSampleData; ++i) {
    std::vector<uint8_t> damaged = whole;
    damaged[i] ^= 0x15;
    use(damaged);
  }
}

class SafeTensorsIndex : public testing::Test {
 protected:
  void SetUp() override {
    write_file(directory_.file("m-1.safetensors"),
               safetensors_bytes({{"a", {2}, {1, 2}}, {"b", {1, 2}, {3, 4}}}));
    write_file(directory_.file("m-2.safetensors"),
               safetensors_bytes(std::vector<FloatTensor>{{"c", {1}, {5}}}));
  }
  SafeTensors read(std::string_view index) const {
    write_text(path_, index);
    return read_safetensors_index(path_);
  }
  void refuse(std::string_view index, std::initializer_list<std::string_view> parts) const {
    expect_error([&] { read(index); }, parts);
  }
  const TemporaryDirectory directory_;
  const std::string path_ = directory_.file("model.safetensors.index.json");
};

TEST_F(SafeTensorsIndex, JoinsTheFiles) {
  const SafeTensors all = read(
      R"({"metadata":{"total_size":20},"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors","c":"m-2.safetensors"}})");
  ASSERT_EQ(all.tensors.size(), 3u);
  EXPECT_EQ(all.files.size(), 2u);
  EXPECT_EQ(all.tensors[2].name, "c");
  float c = 0;
  std::memcpy(&c, all.tensors[2].data.data(), sizeof c);
  EXPECT_EQ(c, 5.0F);
  EXPECT_EQ(safetensors_index_files(path_), (std::vector<std::string>{directory_.file("m-1.safetensors"),
                                                                      directory_.file("m-2.safetensors")}));
}

TEST_F(SafeTensorsIndex, RefusesWhatDoesNotFitTogether) {
  refuse("[]", {"no weight_map"});
  refuse(R"({"weight_map":{}})", {"no weight_map"});
  refuse(R"({"weight_map":[1]})", {"no weight_map"});
  refuse(R"({"weight_map":{"a":"m-3.safetensors"}})", {"m-3.safetensors: missing, expected beside"});
  refuse(R"({"weight_map":{"a":"m-1.safetensors","z":"m-2.safetensors"}})",
         {"m-2.safetensors: tensor \"z\" is missing"});
  refuse(R"({"weight_map":{"a":"m-2.safetensors","c":"m-1.safetensors"}})", {"is missing, which"});
  for (const char* name : {"../m-1.safetensors", "/etc/m.safetensors", "m-1.bin", "", "a\\u0000.safetensors"})
    refuse(fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", name),
           {"tensor \"a\" is in", "expected the name of a safetensors file beside the index"});
  refuse(R"({"weight_map":{"a":7}})", {"expected the name of a safetensors file"});
  write_file(directory_.file("m-2.safetensors"),
             safetensors_bytes(std::vector<FloatTensor>{{"a", {1}, {5}}}));
  refuse(R"({"weight_map":{"b":"m-1.safetensors","a":"m-2.safetensors"}})",
         {"tensor \"a\" is in \"m-1.safetensors\" as well"});
}

}  // namespace
}  // namespace forge
