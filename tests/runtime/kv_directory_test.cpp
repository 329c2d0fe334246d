#include "runtime/host/kv_directory.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "runtime/core/generation.h"
#include "tests/runtime/engine_rig.h"

namespace forge::rt {
namespace {
namespace fs = std::filesystem;

class KvDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("kv_directory_" + std::to_string(::getpid()) +
                                         testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(path_);
  }
  void TearDown() override { fs::remove_all(path_); }

  std::unique_ptr<KvDirectory> open(uint64_t max_bytes = 1 << 30) {
    auto out = KvDirectory::open(path_, kv_identity(rig_.model.code, rig_.payload), max_bytes,
                                 [this](const Error& error) { reported_.push_back(error.message); });
    EXPECT_TRUE(out) << out.error().message;
    return out ? std::move(*out) : nullptr;
  }
  CachedText text(const std::vector<int32_t>& tokens) {
    CachedText out{.tokens = tokens, .n_prompt_rows = static_cast<uint32_t>(tokens.size()), .kv = {}};
    EXPECT_TRUE(prefill(*rig_.engine, out.kv, tokens));
    return out;
  }
  void keep(KvDirectory& directory, const std::vector<int32_t>& tokens) {
    CachedText kept = text(tokens);
    directory.keep(kept, rig_.engine->pool());
    rig_.engine->pool().truncate(kept.kv, 0);
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> out;
    for (const auto& entry : fs::recursive_directory_iterator(path_))
      if (entry.is_regular_file()) out.push_back(entry.path());
    return out;
  }

  Rig rig_{16, 4, 512, 32};
  fs::path path_;
  std::vector<std::string> reported_;
};

TEST_F(KvDirectoryTest, KeepsTextsOverRestarts) {
  const auto tokens = some_tokens(150, 1);
  {
    const auto directory = open();
    EXPECT_EQ(directory->longest(tokens, false), 0U);
    keep(*directory, tokens);
    keep(*directory, some_tokens(100, 2));
    keep(*directory, some_tokens(10, 3));  // not worth a file
    EXPECT_EQ(directory->n_files(), 2U);
  }
  const auto directory = open();
  EXPECT_EQ(directory->n_files(), 2U);
  auto prompt = tokens;
  prompt.resize(120);
  prompt.push_back(255);
  ASSERT_EQ(directory->longest(prompt, true), 120U);
  CachedText loaded;
  const auto load = directory->open(prompt, true);
  ASSERT_TRUE(load);
  ASSERT_TRUE(load(120, rig_.engine->pool(), loaded));
  EXPECT_EQ(loaded.tokens, std::vector(prompt.begin(), prompt.begin() + 120));
  EXPECT_EQ(loaded.n_prompt_rows, 120U);
  CachedText run = text(loaded.tokens);
  const Row row{.token = 7, .position = 120, .want = Want::logits};
  const BatchSequence a{.kv = &loaded.kv};
  const BatchSequence b{.kv = &run.kv};
  EXPECT_EQ(rig_.step({.rows = {&row, 1}, .sequences = {&a, 1}}).logits,
            rig_.step({.rows = {&row, 1}, .sequences = {&b, 1}}).logits);
  EXPECT_TRUE(reported_.empty());
}

TEST_F(KvDirectoryTest, ALongerTextTakesTheShorterOnesPlace) {
  const auto directory = open();
  keep(*directory, some_tokens(100, 1));
  keep(*directory, some_tokens(150, 1));
  EXPECT_EQ(files().size(), 1U);
  keep(*directory, some_tokens(100, 1));
  EXPECT_EQ(files().size(), 1U);
  EXPECT_EQ(directory->longest(some_tokens(200, 1), true), 150U);
}

TEST_F(KvDirectoryTest, TheOldestGoesWhereThereIsNoRoom) {
  const auto directory = open(20'000);  // each takes 4096 bytes of head and 2 or 3 pages of 1024
  for (uint32_t i = 0; i < 6; ++i) {
    keep(*directory, some_tokens(128, i));
    CachedText loaded;  // the first one is used again and again
    const auto load = directory->open(some_tokens(128, 0), true);
    ASSERT_TRUE(load);
    ASSERT_TRUE(load(128, rig_.engine->pool(), loaded));
    rig_.engine->pool().truncate(loaded.kv, 0);
  }
  uint64_t bytes = 0;
  for (const auto& file : files()) bytes += fs::file_size(file);
  EXPECT_LE(bytes, 20'000U);
  EXPECT_EQ(directory->longest(some_tokens(128, 0), true), 128U);
  EXPECT_EQ(directory->longest(some_tokens(128, 5), true), 128U);
  EXPECT_LT(directory->longest(some_tokens(128, 1), true), 128U);
  EXPECT_EQ(open(7'000)->n_files(), 1U);
}

TEST_F(KvDirectoryTest, DamagedFilesGo) {
  {
    const auto directory = open();
    keep(*directory, some_tokens(150, 1));
  }
  const fs::path file = files().at(0);
  {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(-10, std::ios::end);
    stream.put('x');
    stream.put('y');
  }
  std::ofstream(file.parent_path() / "other.kv") << "not one of ours";
  const auto directory = open();
  ASSERT_EQ(directory->longest(some_tokens(150, 1), true), 150U);
  EXPECT_FALSE(directory->open(some_tokens(150, 1), true));
  EXPECT_FALSE(fs::exists(file));
  EXPECT_EQ(directory->longest(some_tokens(150, 1), true), 0U);
}

// Room is made between finding a text and loading it, by keeping others: the text's file may have to go for these.
TEST_F(KvDirectoryTest, AnOpenedTextStaysThere) {
  const auto directory = open(8'000);  // one
  keep(*directory, some_tokens(128, 1));
  const auto load = directory->open(some_tokens(128, 1), true);
  ASSERT_TRUE(load);
  keep(*directory, some_tokens(128, 2));
  EXPECT_EQ(directory->n_files(), 1U);
  EXPECT_LT(directory->longest(some_tokens(128, 1), true), 128U);
  CachedText loaded;
  ASSERT_TRUE(load(128, rig_.engine->pool(), loaded));
  EXPECT_EQ(loaded.tokens, some_tokens(128, 1));
  rig_.engine->pool().truncate(loaded.kv, 0);
}

TEST_F(KvDirectoryTest, WhatKilledServersLeftGoes) {
  const std::string folder = open()->folder();
  std::ofstream(folder + "/old.kv.1.part") << "x";
  std::ofstream(folder + "/new.kv.1.part") << "x";
  fs::last_write_time(folder + "/old.kv.1.part", fs::file_time_type::clock::now() - std::chrono::hours(2));
  ASSERT_EQ(mkfifo((folder + "/pipe.kv").c_str(), 0600), 0);  // nothing waits for its other end
  open();
  EXPECT_FALSE(fs::exists(folder + "/old.kv.1.part"));
  EXPECT_TRUE(fs::exists(folder + "/new.kv.1.part"));
}

TEST_F(KvDirectoryTest, AFailureToWriteIsToldOnce) {
  const auto directory = open();
  fs::remove_all(path_);
  keep(*directory, some_tokens(150, 1));
  keep(*directory, some_tokens(150, 2));
  EXPECT_EQ(reported_.size(), 1U);
  EXPECT_EQ(directory->n_files(), 0U);
}

}  // namespace
}  // namespace forge::rt
