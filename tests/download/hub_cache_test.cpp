#include "download/hub_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/scoped_variable.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

void write_text(const std::string& path, std::string_view text) {
  fs::create_directories(fs::path(path).parent_path());
  write_file(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

TEST(SafePath, OnlyBelow) {
  for (const char* path : {"a", "a/b.gguf", "a b/c", "..a", "a..b", ".hidden"})
    EXPECT_TRUE(is_safe_path(path)) << path;
  for (const std::string& path :
       {std::string(""), std::string("/a"), std::string("a/"), std::string("a/../b"), std::string(".."),
        std::string("a/./b"), std::string("a\\b"), std::string("a\0b", 3), std::string(256, 'a'),
        std::string(2000, '/')})
    EXPECT_FALSE(is_safe_path(path)) << path;
}

TEST(BlobName, IsAWord) {
  EXPECT_EQ(blob_name("\"abc-1\""), "abc-1");
  EXPECT_EQ(blob_name("W/\"abc\""), "abc");
  for (const char* etag : {"\"../../x\"", "\"a b\"", "\"\"", "", "\"a.b\""})
    EXPECT_EQ(blob_name(etag).size(), 64u) << etag;
}

TEST(HubDirectory, FollowsTheVariables) {
  const ScopedVariable cache("HF_HUB_CACHE", ""), home("HF_HOME", ""), xdg("XDG_CACHE_HOME", "");
  {
    const ScopedVariable user("HOME", "/home/u");
    EXPECT_EQ(hub_directory(), "/home/u/.cache/huggingface/hub");
    const ScopedVariable chosen_xdg("XDG_CACHE_HOME", "/x");
    EXPECT_EQ(hub_directory(), "/x/huggingface/hub");
    const ScopedVariable chosen_home("HF_HOME", "/h");
    EXPECT_EQ(hub_directory(), "/h/hub");
    const ScopedVariable chosen("HF_HUB_CACHE", "/c");
    EXPECT_EQ(hub_directory(), "/c");
  }
  const ScopedVariable nobody("HOME", "");
  expect_error([] { hub_directory(); }, {"HOME is not set", "HF_HUB_CACHE"});
}

TEST(HubToken, FromTheVariableOrTheFile) {
  const TemporaryDirectory directory;
  const ScopedVariable home("HF_HOME", directory.path()), path("HF_TOKEN_PATH", "");
  const ScopedVariable none("HF_TOKEN", "");
  EXPECT_EQ(hub_token(), "");
  write_text(directory.file("token"), "from-file\n");
  EXPECT_EQ(hub_token(), "from-file");
  const ScopedVariable set("HF_TOKEN", "from-variable");
  EXPECT_EQ(hub_token(), "from-variable");
  const ScopedVariable bad("HF_TOKEN", "two\nlines");
  EXPECT_THROW(hub_token(), Error);
}

TEST(CachedRepo, HasTheStandardLayout) {
  const TemporaryDirectory directory;
  const CachedRepo repo(directory.path(), "org/name");
  EXPECT_EQ(repo.commit_of("main"), std::nullopt);
  write_text(repo.blob_path("b1"), "one");
  write_text(repo.blob_path("b2"), "two");
  repo.link("c1", "m.gguf", "b1");
  repo.link("c1", "sub/dir/n.gguf", "b2");
  repo.write_ref("main", "c1");
  repo.write_ref("refs/pr/1", "c1");
  EXPECT_EQ(fs::read_symlink(directory.file("models--org--name/snapshots/c1/m.gguf")), "../../blobs/b1");
  EXPECT_EQ(fs::read_symlink(directory.file("models--org--name/snapshots/c1/sub/dir/n.gguf")),
            "../../../../blobs/b2");
  EXPECT_EQ(repo.commit_of("main"), "c1");
  EXPECT_EQ(repo.commit_of("refs/pr/1"), "c1");
  EXPECT_EQ(repo.commit_of("c1"), "c1");
  EXPECT_EQ(repo.commit_of("../../models--org--name/snapshots/c1"), std::nullopt);
  EXPECT_EQ(repo.files("c1"), (std::vector<std::string>{"m.gguf", "sub/dir/n.gguf"}));
  repo.link("c1", "m.gguf", "b2");  // a later version
  EXPECT_EQ(read_file(repo.file_path("c1", "m.gguf")), (std::vector<uint8_t>{'t', 'w', 'o'}));
  fs::remove(repo.blob_path("b2"));
  EXPECT_TRUE(repo.files("c1").empty());  // what the links point to is gone
}

TEST(CachedRepo, OneProcessAtATimeHoldsALock) {
  const TemporaryDirectory directory;
  const CachedRepo repo(directory.path(), "org/name");
  std::atomic<int> inside = 0, waited = 0;
  const auto work = [&] {
    repo.with_lock(
        "b", [&] { ++waited; },
        [&] {
          EXPECT_EQ(++inside, 1);
          while (waited == 0) std::this_thread::yield();
          --inside;
        });
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(waited, 1);
}

TEST(ListCachedModels, FilesPartsAndSnapshots) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(list_cached_models(directory.file("none")).empty());
  const CachedRepo gguf(directory.path(), "a/gguf"), checkpoint(directory.path(), "b/hf");
  write_text(gguf.blob_path("1"), "12345");
  for (const char* name :
       {"m-Q8_0.gguf", "s-00001-of-00002.gguf", "s-00002-of-00002.gguf", "lone-00001-of-00002.gguf"})
    gguf.link("c", name, "1");
  write_text(checkpoint.blob_path("1"), "12");
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
    checkpoint.link("d", name, "1");
  write_text(directory.file("datasets--a--b/snapshots/c/x.gguf"), "1");
  const std::vector<CachedModel> models = list_cached_models(directory.path());
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[0].repo, "a/gguf");
  EXPECT_EQ(models[0].file, "m-Q8_0.gguf");
  EXPECT_EQ(models[0].bytes, 5u);
  EXPECT_EQ(models[0].path, gguf.file_path("c", "m-Q8_0.gguf"));
  EXPECT_GT(models[0].used_s, 0);
  EXPECT_EQ(models[1].file, "s-00001-of-00002.gguf");
  EXPECT_EQ(models[1].bytes, 10u);
  EXPECT_EQ(models[2].repo, "b/hf");
  EXPECT_EQ(models[2].file, "");
  EXPECT_EQ(models[2].bytes, 6u);
  EXPECT_EQ(models[2].path, checkpoint.snapshot_path("d"));
}

}  // namespace
}  // namespace forge
