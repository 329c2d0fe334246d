// fetch_model against a hub of our own, with the faults that real ones have.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <numeric>
#include <thread>

#include "core/error.h"
#include "download/hub_cache.h"
#include "download/model_source.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/download/fake_hub.h"
#include "tests/support/scoped_variable.h"

namespace forge {
namespace {
namespace fs = std::filesystem;
using test::FakeHub;
using test::file_answer;
using test::ServerAnswer;
using test::ServerRequest;
using test::sha256_of;

std::string bytes_of(const std::string& path) {
  const std::vector<uint8_t> bytes = read_file(path);
  return {bytes.begin(), bytes.end()};
}

class Fetch : public testing::Test {
 protected:
  Fetch() {
    content_.resize(300'000);
    std::iota(content_.begin(), content_.end(), '\0');
    hub_.files = {{"README.md", "text"}, {"m-Q8_0.gguf", content_}};
  }
  FetchedModel fetch(const std::string& model = "hf:org/name", bool offline = false) {
    FetchOptions options{.offline = offline, .retry = {.attempts = 3, .first_wait_s = 0.001}};
    options.report.note = [&](std::string_view line) { notes_ += std::string(line) + "\n"; };
    options.report.progress = [&](std::string_view, uint64_t done, uint64_t total) {
      EXPECT_LE(done, total);
      done_ = done;
    };
    return fetch_model(model, options);
  }
  std::string blob() const { return directory_.file("hub/models--org--name/blobs/" + sha256_of(content_)); }
  void put_part(const std::string& part) const {
    fs::create_directories(fs::path(blob()).parent_path());
    write_file(blob() + ".incomplete", {reinterpret_cast<const uint8_t*>(part.data()), part.size()});
  }
  size_t downloads() { return hub_.server().count("GET", "/store/"); }

  FakeHub hub_;
  std::string content_, notes_;
  uint64_t done_ = 0;
  TemporaryDirectory directory_;
  const ScopedVariable endpoint_{"HF_ENDPOINT", hub_.server().url("/")},
      cache_{"HF_HUB_CACHE", directory_.file("hub")}, token_{"HF_TOKEN", ""},
      home_{"HF_HOME", directory_.file("home")}, proxy_{"no_proxy", "127.0.0.1,localhost"};
};

TEST_F(Fetch, FillsTheStandardCacheOnce) {
  const FetchedModel model = fetch();
  EXPECT_EQ(model.name, "m-Q8_0");
  EXPECT_EQ(model.path, directory_.file("hub/models--org--name/snapshots/" + hub_.commit + "/m-Q8_0.gguf"));
  EXPECT_EQ(bytes_of(model.path), content_);
  EXPECT_EQ(fs::read_symlink(model.path), "../../blobs/" + sha256_of(content_));
  EXPECT_EQ(bytes_of(directory_.file("hub/models--org--name/refs/main")), hub_.commit);
  EXPECT_EQ(done_, content_.size());
  EXPECT_FALSE(fs::exists(blob() + ".incomplete"));
  EXPECT_EQ(fetch().path, model.path);
  EXPECT_EQ(fetch("hf:org/name:q8_0").path, model.path);
  EXPECT_EQ(downloads(), 1u);
  EXPECT_EQ(hub_.server().count("GET", "README"), 0u);
}

TEST_F(Fetch, ANewCommitKeepsWhatDidNotChange) {
  const std::string before = fetch().path;
  hub_.commit = std::string(40, 'b');
  EXPECT_NE(fetch().path, before);
  EXPECT_EQ(downloads(), 1u);
  EXPECT_TRUE(fs::exists(before));
}

TEST_F(Fetch, SplitFilesAndCheckpointsComeWhole) {
  hub_.files = {{"a b/m-Q8_0-00001-of-00002.gguf", "one"}, {"a b/m-Q8_0-00002-of-00002.gguf", "two"}};
  const FetchedModel split = fetch();
  EXPECT_EQ(bytes_of(split.path), "one");
  EXPECT_EQ(bytes_of(fs::path(split.path).parent_path() / "m-Q8_0-00002-of-00002.gguf"), "two");

  hub_.commit = std::string(40, 'c');
  hub_.files = {
      {"config.json", "{}"}, {"model.safetensors", "weights"}, {"tokenizer.json", "{ }"}, {"x.bin", ""}};
  const FetchedModel checkpoint = fetch();
  EXPECT_EQ(checkpoint.name, "name");
  EXPECT_EQ(bytes_of(checkpoint.path + "/model.safetensors"), "weights");
  EXPECT_EQ(bytes_of(checkpoint.path + "/tokenizer.json"), "{ }");
  EXPECT_FALSE(fs::exists(checkpoint.path + "/x.bin"));
  EXPECT_EQ(fetch("hf:org/name", true).path, checkpoint.path);
}

TEST_F(Fetch, APartIsResumedAndTheWholeIsChecked) {
  put_part(content_.substr(0, 1000));
  EXPECT_EQ(bytes_of(fetch().path), content_);
  EXPECT_EQ(hub_.server().requests().back().headers.at("range"), "bytes=1000-");
}

TEST_F(Fetch, ADamagedPartIsNoticed) {
  put_part("not what the file begins with");
  expect_error([&] { fetch(); }, {"m-Q8_0.gguf: its SHA-256 is", sha256_of(content_), "try again"});
  EXPECT_FALSE(fs::exists(blob() + ".incomplete"));
  EXPECT_EQ(bytes_of(fetch().path), content_);
}

TEST_F(Fetch, APartLongerThanTheFileIsThrownAway) {
  put_part(content_ + "more");
  EXPECT_EQ(bytes_of(fetch().path), content_);
}

TEST_F(Fetch, AServerWithoutRangesSendsAllOfIt) {
  put_part(content_.substr(0, 1000));
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    if (!request.path.starts_with("/store/")) return std::nullopt;
    return ServerAnswer{.body = content_};
  };
  EXPECT_EQ(bytes_of(fetch().path), content_);
}

TEST_F(Fetch, OtherRangesAndNoneStartAnew) {
  for (const bool is_416 : {true, false}) {
    put_part(content_.substr(0, 1000));
    hub_.fault = [&, is_416](const ServerRequest& request) -> std::optional<ServerAnswer> {
      if (!request.path.starts_with("/store/") || !request.headers.contains("range")) return std::nullopt;
      if (is_416) return ServerAnswer{.status = 416};
      return ServerAnswer{
          .status = 206, .headers = {{"Content-Range", "bytes 0-299999/300000"}}, .body = content_};
    };
    EXPECT_EQ(bytes_of(fetch().path), content_);
    fs::remove_all(directory_.file("hub"));
  }
}

TEST_F(Fetch, CutConnectionsAreResumed) {
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    if (!request.path.starts_with("/store/")) return std::nullopt;
    ServerAnswer answer = file_answer(request, content_, "\"store\"");
    answer.cut_after = 50'000;  // six attempts, of which each brings something
    return answer;
  };
  EXPECT_EQ(bytes_of(fetch().path), content_);
  EXPECT_EQ(downloads(), 6u);
  EXPECT_NE(notes_.find("trying again"), std::string::npos);
}

TEST_F(Fetch, AServerThatStaysBrokenIsGivenUpAndThePartKept) {
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    if (!request.path.starts_with("/store/")) return std::nullopt;
    if (request.headers.contains("range")) return ServerAnswer{.status = 503};
    return ServerAnswer{.body = content_, .cut_after = 50'000};
  };
  expect_error([&] { fetch(); }, {"m-Q8_0.gguf", "HTTP 503", "goes on from there"});
  EXPECT_EQ(downloads(), 3u);  // one that brought something, and two more
  EXPECT_EQ(fs::file_size(blob() + ".incomplete"), 50'000u);
  hub_.fault = nullptr;
  EXPECT_EQ(bytes_of(fetch().path), content_);
}

TEST_F(Fetch, LiesAboutSizesAreErrors) {
  for (const bool chunked : {false, true}) {
    hub_.fault = [&, chunked](const ServerRequest& request) -> std::optional<ServerAnswer> {
      if (!request.path.starts_with("/store/")) return std::nullopt;
      return ServerAnswer{.body = content_ + "more", .chunked = chunked};
    };
    expect_error([&] { fetch(); }, {"m-Q8_0.gguf: the server sends", "300000"});
  }
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    if (!request.path.starts_with("/store/")) return std::nullopt;
    return ServerAnswer{.body = content_.substr(0, 1000), .chunked = true};
  };
  expect_error([&] { fetch(); }, {"m-Q8_0.gguf: 1000 of 300000 bytes came"});
  EXPECT_FALSE(fs::exists(blob()));
}

TEST_F(Fetch, OtherContentIsRefused) {
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    if (!request.path.starts_with("/store/")) return std::nullopt;
    return ServerAnswer{.body = std::string(content_.size(), 'x')};
  };
  expect_error([&] { fetch(); }, {"SHA-256"});
  EXPECT_FALSE(fs::exists(blob()));
}

TEST_F(Fetch, TheTokenGoesToTheHubAlone) {
  hub_.token = "secret";
  expect_error([&] { fetch(); }, {"hf:org/name: gated", "HF_TOKEN"});
  const ScopedVariable token("HF_TOKEN", "secret");
  EXPECT_EQ(bytes_of(fetch().path), content_);
  size_t with_token = 0;
  for (const ServerRequest& request : hub_.server().requests()) {
    if (!request.headers.contains("authorization")) continue;
    ++with_token;
    EXPECT_FALSE(request.path.starts_with("/store/")) << "the token went to another host";
  }
  EXPECT_EQ(with_token, 2u);
}

TEST_F(Fetch, RefusalsSayWhatToDo) {
  int status = 0;
  hub_.fault = [&](const ServerRequest&) { return ServerAnswer{.status = status}; };
  status = 401;
  expect_error([&] { fetch(); }, {"hf:org/name: does not exist, or needs a token", "HF_TOKEN"});
  {
    const ScopedVariable token("HF_TOKEN", "wrong");
    expect_error([&] { fetch(); }, {"hf:org/name: not allowed with this token"});
  }
  status = 404;
  expect_error([&] { fetch(); }, {"hf:org/name: not found", "spelled"});
  EXPECT_EQ(hub_.server().requests().size(), 3u);  // none of these is tried again
  status = 429;
  expect_error([&] { fetch(); }, {"hf:org/name: the server answers HTTP 429", "try later"});
  EXPECT_EQ(hub_.server().requests().size(), 6u);
}

TEST_F(Fetch, HostileNamesAreRefused) {
  hub_.files = {{"../../../m-Q8_0.gguf", content_}};
  expect_error([&] { fetch(); }, {"hf:org/name: the name ../../../m-Q8_0.gguf leads out"});
  EXPECT_TRUE(directory_.names().empty());
}

TEST_F(Fetch, OfflineAndUnreachableTakeWhatIsCached) {
  expect_error([&] { fetch("hf:org/name", true); }, {"hf:org/name: not in the cache", "--offline"});
  EXPECT_EQ(hub_.server().requests().size(), 0u);
  const std::string path = fetch().path;
  const size_t before = hub_.server().requests().size();
  EXPECT_EQ(fetch("hf:org/name", true).path, path);
  EXPECT_EQ(fetch("hf:org/name:Q8_0", true).path, path);
  expect_error([&] { fetch("hf:org/name:Q4_0", true); }, {"hf:org/name:Q4_0: not in the cache"});
  EXPECT_EQ(hub_.server().requests().size(), before);
  const ScopedVariable nobody("HF_ENDPOINT", "http://127.0.0.1:1");
  EXPECT_EQ(fetch().path, path);
  EXPECT_NE(notes_.find("taking what is cached"), std::string::npos);
  EXPECT_THROW(fetch("hf:org/other"), TransportError);
}

TEST_F(Fetch, AFullDiskLeavesThePart) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);
    int status = 1;
    try {
      fetch();
    } catch (const Error& error) {
      status =
          std::string_view(error.what()).find("File too large; the part is kept") != std::string_view::npos
              ? 7
              : 2;
    }
    ::_exit(status);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
  EXPECT_EQ(fs::file_size(blob() + ".incomplete"), 100'000u);
  EXPECT_EQ(bytes_of(fetch().path), content_);
}

TEST_F(Fetch, ADiskWithoutRoomIsSaidAtOnce) {
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    if (!request.path.starts_with("/api/")) return std::nullopt;
    return ServerAnswer{.body = R"({"sha":")" + hub_.commit +
                                R"(","siblings":[{"rfilename":"m.gguf","size":)" + "1000000000000000000" +
                                R"(,"lfs":{"sha256":")" + sha256_of(content_) + R"("}}]})"};
  };
  expect_error([&] { fetch(); }, {"m.gguf: 1000000000000000000 bytes are needed in", "HF_HUB_CACHE"});
  EXPECT_EQ(downloads(), 0u);
}

TEST_F(Fetch, TwoAtOnceDownloadOnce) {
  std::atomic<bool> began = false, second = false;
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    if (request.path.starts_with("/store/")) {
      began = true;
      while (!second) std::this_thread::yield();  // until the other one waits
    }
    return std::nullopt;
  };
  FetchOptions waits{.retry = {.attempts = 1}};
  waits.report.note = [&](std::string_view line) {
    EXPECT_NE(line.find("waiting for another process"), std::string_view::npos);
    second = true;
  };
  std::string other;
  std::thread thread([&] {
    while (!began) std::this_thread::yield();
    other = fetch_model("hf:org/name", waits).path;
  });
  const std::string path = fetch().path;
  thread.join();
  EXPECT_EQ(other, path);
  EXPECT_EQ(downloads(), 1u);
}

TEST_F(Fetch, PagesOfTheHubAreItsFiles) {
  const std::string path = fetch().path;
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    EXPECT_NE(request.path.find("main"), std::string::npos) << request.path;
    return std::nullopt;
  };
  for (const char* page :
       {"/org/name", "/org/name/resolve/main/m-Q8_0.gguf", "/org/name/blob/main/m-Q8_0.gguf?x=1"})
    EXPECT_EQ(fetch(hub_.server().url(page)).path, path) << page;
}

TEST_F(Fetch, ARevisionThatLeadsElsewhereIsNoPage) {
  for (const char* revision : {"..%2f..%2fx", "%2e%2e%2fx"})
    EXPECT_THROW(fetch(hub_.server().url(std::string("/org/name/resolve/") + revision + "/m-Q8_0.gguf")),
                 Error);
  EXPECT_EQ(hub_.server().count("GET", "/api/"), 0u);
}

TEST_F(Fetch, AnyUrlIsAFile) {
  std::string content = content_, etag = "\"v1\"";
  hub_.fault = [&](const ServerRequest& request) -> std::optional<ServerAnswer> {
    return request.path == "/dir/my%20m.gguf?key=1" ? file_answer(request, content, etag)
                                                    : ServerAnswer{.status = 404};
  };
  const ScopedVariable elsewhere("HF_ENDPOINT", "http://127.0.0.1:1");
  const std::string url = hub_.server().url("/dir/my%20m.gguf?key=1");
  const FetchedModel model = fetch(url);
  EXPECT_EQ(model.name, "my m");
  EXPECT_EQ(bytes_of(model.path), content_);
  EXPECT_EQ(hub_.server().count("GET", "/dir/"), 1u);
  fetch(url);
  EXPECT_EQ(hub_.server().count("GET", "/dir/"), 1u);
  content = "a later version";
  etag = "\"v2\"";
  EXPECT_EQ(bytes_of(fetch(url).path), content);
  EXPECT_EQ(bytes_of(fetch(url, true).path), content);
  expect_error([&] { fetch(hub_.server().url("/dir/other.gguf")); }, {"other.gguf: not found"});
  EXPECT_EQ(list_cached_models(directory_.file("hub")).size(), 1u);
}

TEST_F(Fetch, APartOfAUrlIsResumedWhileTheEntityTagIsTheSame) {
  for (const bool changed : {false, true}) {
    std::string content = content_, etag = "\"v1\"";
    bool cut = true;
    hub_.fault = [&](const ServerRequest& request) {
      ServerAnswer answer = file_answer(request, content, etag);
      if (request.method == "GET" && std::exchange(cut, false)) {
        answer.cut_after = 1000;
        if (changed) {
          std::ranges::reverse(content);
          etag = "\"v2\"";
        }
      }
      return answer;
    };
    const ScopedVariable elsewhere("HF_ENDPOINT", "http://127.0.0.1:1");
    EXPECT_EQ(bytes_of(fetch(hub_.server().url("/m.gguf")).path), content);
    EXPECT_EQ(hub_.server().requests().back().headers.at("if-range"), "\"v1\"");
    fs::remove_all(directory_.file("hub"));
  }
}

TEST_F(Fetch, AServerWithoutHeadOrEntityTagsServes) {
  hub_.fault = [&](const ServerRequest& request) {
    return request.method == "HEAD" ? ServerAnswer{.status = 405}
                                    : ServerAnswer{.body = content_, .chunked = true};
  };
  const ScopedVariable elsewhere("HF_ENDPOINT", "http://127.0.0.1:1");
  EXPECT_EQ(bytes_of(fetch(hub_.server().url("/m.gguf")).path), content_);
}

TEST_F(Fetch, MisuseIsSaid) {
  for (const char* model :
       {"hf:", "hf:a/b/c", "hf:a/..", "hf:a/b:", "hf:/a", "hf:a b/c", "http://127.0.0.1:1/", "hf:-a/b"}) {
    try {
      fetch(model);
      ADD_FAILURE() << model;
    } catch (const Error& error) {
      EXPECT_EQ(error.status, 2) << model << ": " << error.what();
    }
  }
}

}  // namespace
}  // namespace forge
