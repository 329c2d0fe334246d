#include "toolchain/artifact.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "core/mapped_file.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"

namespace forge {
namespace {

class Artifact : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return directory_.file(name); }
  size_t files() const { return directory_.names().size(); }

  TemporaryDirectory directory_;
};

PackedTensor tensor(std::string name, uint64_t offset, uint64_t bytes, uint8_t first) {
  return {.name = std::move(name),
          .type = "q8_0",
          .layout = "tile16x4",
          .rows = 16,
          .cols = bytes / 16,
          .offset = offset,
          .bytes = bytes,
          .pack = [first](std::span<uint8_t> out) { std::iota(out.begin(), out.end(), first); }};
}

PayloadInput example() {
  PayloadInput in;
  in.plan_hash = 0x1234567890abcdef;
  in.manifest = {{"name", "storyteller"}, {"default_args", "chat --system \"a\\b\nc\""}, {"empty", ""}};
  in.tokenizer = {1, 2, 3};
  in.source_kv = std::vector<uint8_t>(1000, 7);
  in.chat_template = "{{ messages }}";
  in.weights_bytes = 256 + 256 + 512 + 256;  // a gap before "b", padding at the end
  in.tensors.push_back(tensor("a", 0, 160, 1));
  in.tensors.push_back(tensor("b", 512, 512, 99));
  return in;
}

void expect_example(std::span<const uint8_t> bytes) {
  const auto opened = rt::open_payload(bytes);
  ASSERT_TRUE(opened) << opened.error().message;
  const PayloadInput in = example();
  EXPECT_EQ(opened->plan_hash, in.plan_hash);
  EXPECT_EQ(opened->manifest, in.manifest);
  EXPECT_EQ(std::vector(opened->tokenizer.begin(), opened->tokenizer.end()), in.tokenizer);
  EXPECT_EQ(std::vector(opened->source_kv.begin(), opened->source_kv.end()), in.source_kv);
  EXPECT_EQ(opened->chat_template, in.chat_template);
  ASSERT_EQ(opened->weights.size(), in.weights_bytes);
  EXPECT_EQ(static_cast<size_t>(opened->weights.data() - bytes.data()) % rt::kPageAlignment, 0u);
  EXPECT_EQ(opened->weights[0], 1);
  EXPECT_EQ(opened->weights[159], 160);
  EXPECT_EQ(opened->weights[160], 0);
  EXPECT_EQ(opened->weights[512], 99);
  const auto table = rt::parse_tensor_table(*opened);
  ASSERT_TRUE(table) << table.error().message;
  ASSERT_EQ(table->size(), 2u);
  EXPECT_EQ((*table)[1].name, "b");
  EXPECT_EQ((*table)[1].type, "q8_0");
  EXPECT_EQ((*table)[1].layout, "tile16x4");
  EXPECT_EQ((*table)[1].rows, 16u);
  EXPECT_EQ((*table)[1].cols, 32u);
  EXPECT_EQ((*table)[1].offset, 512u);
  EXPECT_EQ((*table)[1].bytes, 512u);
  EXPECT_TRUE(rt::verify_weights(*opened));
}

TEST_F(Artifact, PayloadReadsBack) {
  const std::vector<uint8_t> bytes = build_payload(example(), true);
  expect_example(bytes);
  write_payload(file("p"), example(), nullptr);
  const MappedFile map(file("p"));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), map.bytes().begin(), map.bytes().end()));
}

TEST_F(Artifact, PayloadWithoutWeightsPacksNothing) {
  PayloadInput in = example();
  for (PackedTensor& t : in.tensors) t.pack = [](std::span<uint8_t>) { FAIL() << "packed"; };
  const std::vector<uint8_t> bytes = build_payload(in, false);
  const auto opened = rt::open_payload(bytes);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(opened->weights.empty());
  EXPECT_FALSE(rt::verify_weights(*opened));
}

TEST_F(Artifact, ExecutableCarriesThePayloadBehindItsCode) {
  const std::vector<uint8_t> exe(5000, 0xcc);
  uint64_t reported = 0;
  write_executable(file("prog"), exe, example(), [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, example().weights_bytes);
    reported = done;
  });
  EXPECT_EQ(reported, 160u + 512u);
  const MappedFile map(file("prog"));
  const auto bytes = map.bytes();
  EXPECT_TRUE(std::equal(exe.begin(), exe.end(), bytes.begin()));
  rt::PayloadTrailer trailer;
  std::memcpy(&trailer, bytes.data() + bytes.size() - sizeof(trailer), sizeof(trailer));
  EXPECT_EQ(std::memcmp(trailer.magic, rt::kTrailerMagic, sizeof(trailer.magic)), 0);
  EXPECT_EQ(trailer.payload_offset, 8192u);
  EXPECT_EQ(trailer.payload_offset + trailer.payload_bytes + sizeof(trailer), bytes.size());
  expect_example(bytes.subspan(trailer.payload_offset, trailer.payload_bytes));
  struct stat st = {};
  ASSERT_EQ(::stat(file("prog").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0700, 0700u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(Artifact, EveryFlippedByteIsFound) {
  std::vector<uint8_t> bytes = build_payload(example(), true);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x10;
    const auto opened = rt::open_payload(bytes);
    EXPECT_TRUE(!opened || !rt::verify_weights(*opened)) << "byte " << i;
    bytes[i] ^= 0x10;
  }
}

TEST_F(Artifact, EveryTruncationIsFound) {
  const std::vector<uint8_t> bytes = build_payload(example(), true);
  for (size_t n = 0; n < bytes.size(); n += 37) {
    EXPECT_FALSE(rt::open_payload(std::span(bytes).first(n))) << n;
  }
}

TEST_F(Artifact, FailedPackLeavesNothing) {
  PayloadInput in = example();
  in.tensors[1].pack = [](std::span<uint8_t>) { fail("tensor b: broken"); };
  EXPECT_EQ(message_of([&] { write_executable(file("prog"), {}, in, nullptr); }), "tensor b: broken");
  EXPECT_EQ(files(), 0u);
}

TEST_F(Artifact, ExistingProgramSurvivesAFailure) {
  write_payload(file("prog"), example(), nullptr);
  PayloadInput in = example();
  in.tensors[0].pack = [](std::span<uint8_t>) { fail("no"); };
  EXPECT_EQ(message_of([&] { write_payload(file("prog"), in, nullptr); }), "no");
  const MappedFile map(file("prog"));
  expect_example(map.bytes());
}

TEST_F(Artifact, UnwritablePath) {
  const std::string path = file("no/such/folder");
  EXPECT_EQ(message_of([&] { write_executable(path, {}, example(), nullptr); }),
            path + ": can't be written: there is no folder " + file("no/such"));
}

TEST_F(Artifact, FullDisk) {
  // A file-size limit makes write() fail as a full disk does, with another errno.
  struct Limit {
    Limit() {
      ::signal(SIGXFSZ, SIG_IGN);
      ::getrlimit(RLIMIT_FSIZE, &old);
      rlimit small = old;
      small.rlim_cur = 5000;
      ::setrlimit(RLIMIT_FSIZE, &small);
    }
    ~Limit() { ::setrlimit(RLIMIT_FSIZE, &old); }
    rlimit old = {};
  };
  std::string message;
  {
    const Limit limit;
    message = message_of([&] { write_executable(file("prog"), {}, example(), nullptr); });
  }
  EXPECT_EQ(message, file("prog") + ": can't be written: File too large");
  EXPECT_EQ(files(), 0u);
}

TEST_F(Artifact, MisplacedTensorsAreRefused) {
  const auto message_with = [](uint64_t offset, uint64_t bytes) {
    PayloadInput in = example();
    in.tensors[1].offset = offset;
    in.tensors[1].bytes = bytes;
    return message_of([&] { (void)build_payload(in, true); });
  };
  for (const auto& [offset, bytes] : std::vector<std::pair<uint64_t, uint64_t>>{
           {513, 16}, {0, 16}, {1280, 1}, {1024, 257}, {1024, UINT64_MAX}}) {
    EXPECT_EQ(message_with(offset, bytes),
              fmt::format("packed tensor 'b' at {} with {} bytes is misplaced in 1280 bytes of weights",
                          offset, bytes));
  }
  EXPECT_EQ(message_with(1024, 256), "no error");
}

TEST_F(Artifact, HostileNamesAreRefused) {
  PayloadInput in = example();
  in.tensors[0].name = "a\tq8_0";
  EXPECT_NE(message_of([&] { (void)build_payload(in, true); }), "no error");
  in = example();
  in.manifest["a = b"] = "";
  EXPECT_NE(message_of([&] { (void)build_payload(in, true); }), "no error");
}

}  // namespace
}  // namespace forge
