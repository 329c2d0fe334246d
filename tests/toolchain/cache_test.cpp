#include "toolchain/cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "core/error.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/scoped_variable.h"

namespace forge {
namespace {

using Bytes = std::vector<uint8_t>;

void set_used(const std::string& path, time_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

TEST(Cache, HashSeparatesItsParts) {
  // SHA-256 of eight zero bytes.
  EXPECT_EQ(hash_parts({""}), "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
  EXPECT_NE(hash_parts({"ab", "c"}), hash_parts({"a", "bc"}));
  EXPECT_NE(hash_parts({"ab"}), hash_parts({"ab", ""}));
}

TEST(Cache, CodeComesBackAsStored) {
  const TemporaryDirectory directory;
  const Cache cache(directory.file("deep/cache"), 1000);
  EXPECT_EQ(cache.load("code", "x"), std::nullopt);
  cache.store("code", "x", {1, 2, 3});
  EXPECT_EQ(cache.load("code", "x"), (Bytes{1, 2, 3}));
  EXPECT_EQ(cache.load("code", "y"), std::nullopt);
  EXPECT_EQ(cache.load("schedules", "x"), std::nullopt);
  cache.store("schedules", "x", {});
  EXPECT_EQ(cache.load("schedules", "x"), Bytes{});
  EXPECT_EQ(cache.list().size(), 2U);
}

TEST(Cache, AlteredCodeIsAbsentAndRemoved) {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), 1000);
  const std::string path = directory.file("code/x");
  for (size_t byte = 0; byte < 3 + 32; ++byte) {
    cache.store("code", "x", {1, 2, 3});
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(byte));
    const char changed = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(byte));
    file.put(changed);
    file.close();
    EXPECT_EQ(cache.load("code", "x"), std::nullopt) << byte;
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  cache.store("code", "x", {1, 2, 3});
  std::filesystem::resize_file(path, 10);
  EXPECT_EQ(cache.load("code", "x"), std::nullopt);
}

TEST(Cache, ManyWritersAtOnce) {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), 1'000'000);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        cache.store("code", "x", Bytes(1000, 5));
        const auto loaded = cache.load("code", "x");
        EXPECT_TRUE(loaded && *loaded == Bytes(1000, 5));
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(cache.list().size(), 1u);
}

TEST(Cache, PruneRemovesWhatIsLongestUnused) {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), 300);
  cache.store("code", "old", Bytes(68));  // 100 bytes with its hash
  cache.store("code", "middle", Bytes(68));
  const std::string program = *cache.program_path("program");
  std::ofstream(program) << std::string(100, 'x');
  set_used(directory.file("code/old"), 1000);
  set_used(directory.file("code/middle"), 3000);
  set_used(program, 2000);
  cache.store("code", "new", Bytes(68));
  std::vector<std::string> names;
  for (const CacheEntry& entry : cache.list()) names.push_back(entry.kind + "/" + entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{"program/program", "code/middle", "code/new"}));
  set_used(directory.file("code/middle"), 1000);
  EXPECT_TRUE(cache.load("code", "middle"));  // used now
  cache.store("code", "newer", Bytes(68));
  EXPECT_TRUE(cache.load("code", "middle"));
  EXPECT_FALSE(std::filesystem::exists(program));
}

TEST(Cache, AnEntryAboveTheLimitStaysWhileItIsTheNewest) {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), 50);
  cache.store("code", "one", Bytes(68));
  EXPECT_TRUE(cache.load("code", "one"));
  cache.store("code", "two", Bytes(68));
  EXPECT_FALSE(cache.load("code", "one"));
  EXPECT_TRUE(cache.load("code", "two"));
  const std::string program = *cache.program_path("program");
  std::ofstream(program) << std::string(100, 'x');
  set_used(program, 1000);
  cache.prune(program);
  EXPECT_TRUE(std::filesystem::exists(program));
  EXPECT_FALSE(cache.load("code", "two"));
}

TEST(Cache, WhatAnotherProcessWritesIsNoEntry) {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), 50);
  const std::string written = *cache.program_path("p") + ".tmp-1-0",
                    left = *cache.program_path("q") + ".tmp-2-0";
  std::ofstream(written) << std::string(100, 'x');
  std::ofstream(left) << std::string(100, 'x');
  set_used(left, 1000);
  cache.prune("");
  EXPECT_TRUE(std::filesystem::exists(written));
  EXPECT_FALSE(std::filesystem::exists(left)) << "its process was killed long ago";
  EXPECT_EQ(cache.clear(), 0U);
  EXPECT_TRUE(std::filesystem::exists(written));
}

TEST(Cache, ClearSaysWhatItFreed) {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), 1000);
  cache.store("code", "x", Bytes(68));
  std::ofstream(*cache.program_path("p")) << "12345";
  EXPECT_EQ(cache.clear(), 105u);
  EXPECT_TRUE(cache.list().empty());
}

TEST(Cache, OneThatCannotBeWrittenIsNoError) {
  for (const char* directory : {"", "/proc/forge", "/dev/null/forge"}) {
    const Cache cache(directory, 1000);
    cache.store("code", "x", {1});
    EXPECT_EQ(cache.load("code", "x"), std::nullopt);
    EXPECT_EQ(cache.program_path("x"), std::nullopt);
    EXPECT_TRUE(cache.list().empty());
  }
}

TEST(Cache, PlaceAndSizeComeFromTheEnvironment) {
  const ScopedVariable home("HOME", "/home/someone");
  const ScopedVariable own("FORGE_CACHE_DIR", "");
  const ScopedVariable size("FORGE_CACHE_MAX", "");
  const ScopedVariable xdg("XDG_CACHE_HOME", "");
  EXPECT_EQ(Cache::standard().directory(), "/home/someone/.cache/forge");
  EXPECT_EQ(Cache::standard().max_bytes(), 20'000'000'000u);
  const ScopedVariable xdg_set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(Cache::standard().directory(), "/xdg/forge");
  const ScopedVariable own_set("FORGE_CACHE_DIR", "/own");
  EXPECT_EQ(Cache::standard().directory(), "/own");
  const ScopedVariable size_set("FORGE_CACHE_MAX", "5M");
  EXPECT_EQ(Cache::standard().max_bytes(), 5'000'000u);
  for (const char* bad : {"5X", "M", "-1", "5MB", "20000000000000T"}) {
    const ScopedVariable bad_size("FORGE_CACHE_MAX", bad);
    EXPECT_THROW(Cache::standard(), Error) << bad;
  }
}

}  // namespace
}  // namespace forge
