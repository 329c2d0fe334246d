#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/formats/gguf_bytes.h"

namespace forge {
namespace {

// Reads `bytes` as a file, writes the checkpoint and gives the bytes of what was written.
std::vector<uint8_t> round_trip(const TemporaryDirectory& directory, std::span<const uint8_t> bytes) {
  write_file(directory.file("in.gguf"), bytes);
  write_gguf(read_gguf(directory.file("in.gguf")), directory.file("out.gguf"));
  return read_file(directory.file("out.gguf"));
}

// A writer pads the last tensor too.
std::vector<uint8_t> padded(const GgufSpec& spec) {
  std::vector<uint8_t> bytes = gguf_bytes(spec);
  bytes.resize(align_up(bytes.size(), spec.alignment));
  return bytes;
}

// The sample with its gaps between tensors zeroed, as a writer leaves them.
std::vector<uint8_t> clean_sample(GgufSpec spec) {
  const uint64_t data_bytes = std::exchange(spec.data_bytes, 0);
  std::vector<uint8_t> bytes = gguf_bytes(spec);
  const size_t data = bytes.size();
  bytes.resize(data + align_up(data_bytes, spec.alignment));
  for (const TensorSpec& tensor : spec.tensors) {
    uint64_t weights = 1;
    for (const uint64_t dim : tensor.dims) weights *= dim;
    for (size_t i = 0; i < row_bytes(*dtype_from_id(tensor.type), weights); ++i) {
      bytes[data + tensor.offset + i] = static_cast<uint8_t>(i * 3 + 1);
    }
  }
  return bytes;
}

TEST(GgufWriter, GivesTheSameBytesBack) {
  const TemporaryDirectory directory;
  GgufSpec spec = sample_gguf();
  EXPECT_EQ(round_trip(directory, clean_sample(spec)), clean_sample(spec));
  spec.version = 2;
  EXPECT_EQ(round_trip(directory, clean_sample(spec)), clean_sample(spec));
  spec.alignment = 64;
  spec.meta.set("general.alignment", meta_u32(64));
  EXPECT_EQ(round_trip(directory, clean_sample(spec)), clean_sample(spec));
  EXPECT_EQ(directory.names().size(), 2u);
}

TEST(GgufWriter, GivesAVocabularyBack) {
  const TemporaryDirectory directory;
  GgufSpec spec = sample_gguf();
  spec.tensors.clear();
  spec.data_bytes = 0;
  EXPECT_EQ(round_trip(directory, gguf_bytes(spec)), gguf_bytes(spec));
}

TEST(GgufWriter, ClosesGaps) {
  const TemporaryDirectory directory;
  GgufSpec apart, close;
  apart.tensors = {{"b", {8}, 0, 512}, {"a", {8}, 0, 64}};
  apart.data_bytes = 1024;
  const std::vector<uint8_t> written = round_trip(directory, gguf_bytes(apart));
  const Checkpoint before = read_gguf(directory.file("in.gguf")),
                   after = read_gguf(directory.file("out.gguf"));
  ASSERT_EQ(after.tensors.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after.tensors[i].name, before.tensors[i].name);
    EXPECT_TRUE(std::ranges::equal(after.tensors[i].data, before.tensors[i].data));
  }
  close.tensors = {{"b", {8}, 0, 0}, {"a", {8}, 0, 32}};
  close.data_bytes = 64;
  EXPECT_EQ(written.size(), padded(close).size());
}

// Real writers' files, where they are there: the vocabularies beside the checkout and shared/tools/mkgguf.py.
TEST(GgufWriter, GivesRealFilesBack) {
  const std::filesystem::path vocabularies = FORGE_SOURCE_DIR "/../shared/data/tokenizers";
  if (!std::filesystem::exists(vocabularies)) GTEST_SKIP() << "missing: ../shared/data/tokenizers";
  const TemporaryDirectory directory;
  int n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(vocabularies)) {
    if (entry.path().extension() != ".gguf") continue;
    const std::vector<uint8_t> bytes = read_file(entry.path());
    EXPECT_EQ(round_trip(directory, bytes), bytes) << entry.path();
    ++n;
  }
  EXPECT_GT(n, 0);
}

TEST(GgufWriter, RefusesWhatItCouldNotReadBack) {
  const TemporaryDirectory directory;
  write_file(directory.file("in.gguf"), gguf_bytes(sample_gguf()));
  const std::string out = directory.file("out.gguf");
  const auto refuse = [&](auto change, std::initializer_list<std::string_view> parts) {
    Checkpoint checkpoint = read_gguf(directory.file("in.gguf"));
    change(checkpoint);
    expect_error([&] { write_gguf(checkpoint, out); }, parts);
  };
  refuse([](Checkpoint& c) { c.gguf_version = 1; }, {out + ": GGUF version 1, expected 2 or 3"});
  refuse([](Checkpoint& c) { c.alignment = 64; }, {out + ": alignment 64"});
  for (const uint32_t alignment : {0u, 3u, 1u << 21}) {
    refuse(
        [=](Checkpoint& c) {
          c.alignment = alignment;
          c.meta.set("general.alignment", meta_u32(alignment));
        },
        {fmt::format("{}: alignment {}, in key", out, alignment), "a power of two"});
  }
  refuse([](Checkpoint& c) { c.tensors[1].data = c.tensors[1].data.first(8); },
         {"\"norm.weight\" has 8 bytes"});
  refuse([](Checkpoint& c) { c.tensors[1].shape = {}; }, {"\"norm.weight\""});
  refuse([](Checkpoint& c) { c.meta.set("k", {MetaType::u8, MetaType::u32, int64_t{-1}}); }, {"\"k\""});
  EXPECT_EQ(directory.names(), std::vector<std::string>{"in.gguf"});
}

TEST(GgufWriter, NamesThePathThatCannotBeWritten) {
  const TemporaryDirectory directory;
  write_file(directory.file("in.gguf"), gguf_bytes(sample_gguf()));
  const Checkpoint checkpoint = read_gguf(directory.file("in.gguf"));
  const std::string path = directory.file("absent/out.gguf");
  expect_error([&] { write_gguf(checkpoint, path); }, {path + ": can't be written: there is no folder"});
}

}  // namespace
}  // namespace forge
