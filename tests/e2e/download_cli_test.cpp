// forge with models that are downloaded, from a hub in the test's own process.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "formats/checkpoint.h"
#include "tests/download/fake_hub.h"
#include "tests/e2e/command_test.h"
#include "tests/support/scoped_variable.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

class DownloadCli : public CommandTest {
 protected:
  static void SetUpTestSuite() {
    set_up_commands();
    model_ = cache_->file("tiny.gguf");
    write_gguf(test::make_checkpoint({}), model_);
    const std::vector<uint8_t> bytes = read_file(model_);
    content_.assign(bytes.begin(), bytes.end());
  }
  DownloadCli() { hub_.files = {{"tiny-Q8_0.gguf", content_}, {"README.md", "text"}}; }

  inline static std::string content_;
  test::FakeHub hub_;
  const ScopedVariable endpoint_{"HF_ENDPOINT", hub_.server().url()}, hub_cache_{"HF_HUB_CACHE", file("hub")},
      token_{"HF_TOKEN", ""}, home_{"HF_HOME", file("home")}, offline_{"HF_HUB_OFFLINE", ""},
      proxy_{"no_proxy", "127.0.0.1,localhost"};
};

TEST_F(DownloadCli, EveryCommandTakesARepository) {
  const ProcessResult compiled = shell("$forge compile hf:org/name:q8_0");
  ASSERT_EQ(compiled.status, 0) << compiled.output;
  EXPECT_EQ(compiled.output.substr(0, 15), "tiny-Q8_0: code")
      << "in a pipe there is the summary and nothing else";
  EXPECT_EQ(std::count(compiled.output.begin(), compiled.output.end(), '\n'), 1) << compiled.output;
  const std::string text = output("./tiny-Q8_0 generate abc -n 20 --seed 1");
  EXPECT_EQ(output("$forge generate hf:org/name abc -n 20 --seed 1"), text);
  EXPECT_EQ(output("$forge generate --offline " + hub_.server().url("/org/name") + " abc -n 20 --seed 1"),
            text);
  EXPECT_EQ(output("HF_HUB_OFFLINE=1 $forge tokenize hf:org/name --ids abc"),
            output("$forge tokenize $model --ids abc"));
  EXPECT_EQ(output("$forge dump --offline hf:org/name --stage graph"),
            output("$forge dump $model --stage graph"));
  EXPECT_NE(output("$forge info --offline hf:org/name").find("GGUF version 3"), std::string::npos);
  EXPECT_EQ(hub_.server().count("GET", "/store/"), 1u);
}

TEST_F(DownloadCli, ErrorsAreOneLine) {
  EXPECT_EQ(error("$forge compile --offline hf:org/name -o prog", 1),
            "forge: hf:org/name: not in the cache " + file("hub") + "; run it once without --offline");
  EXPECT_EQ(error("$forge generate hf:org/other abc", 1),
            "forge: hf:org/other: not found (HTTP 404); is the name spelled right?");
  EXPECT_EQ(error("$forge compile hf: -o prog", 2),
            "forge: hf:: expected hf:ORG/NAME, hf:ORG/NAME:Q4_K_M or hf:ORG/NAME:FILE.gguf");
  EXPECT_EQ(error("env -u HOME HF_HUB_CACHE= HF_HOME= XDG_CACHE_HOME= $forge compile hf:org/name -o prog", 1),
            "forge: no folder for downloads: HOME is not set; set HF_HUB_CACHE to one");
  EXPECT_FALSE(fs::exists(file("prog")));
}

TEST_F(DownloadCli, AnInterruptLeavesAPartToGoOnFrom) {
  std::atomic<bool> over = false;
  hub_.fault = [&](const test::ServerRequest& request) -> std::optional<test::ServerAnswer> {
    if (!request.path.starts_with("/store/") || request.headers.contains("range")) return std::nullopt;
    return test::ServerAnswer{.body = content_, .cut_after = 100'000, .before_cut = [&] {
                                while (!over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                              }};
  };
  const std::string part = file("hub/models--org--name/blobs/" + test::sha256_of(content_) + ".incomplete");
  const pid_t forge = ::fork();
  if (forge == 0) {
    ::execl(FORGE_BINARY, "forge", "info", "hf:org/name", nullptr);
    ::_exit(99);
  }
  std::error_code none;
  for (int i = 0; i < 3000 && (!fs::exists(part) || fs::file_size(part, none) < 100'000); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ::kill(forge, SIGINT);
  int status = 0;
  ASSERT_EQ(::waitpid(forge, &status, 0), forge);
  over = true;
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status;
  EXPECT_EQ(fs::file_size(part), 100'000u);
  output("$forge info hf:org/name");
  EXPECT_EQ(hub_.server().requests().back().headers.at("range"), "bytes=100000-");
  EXPECT_FALSE(fs::exists(part));
}

TEST_F(DownloadCli, ModelsListsWhatIsCachedAndCompiled) {
  EXPECT_NE(output("FORGE_CACHE_DIR=c $forge models").find("nothing is cached"), std::string::npos);
  output("FORGE_CACHE_DIR=c $forge generate hf:org/name abc -n 1");
  const std::string table = output("FORGE_CACHE_DIR=c $forge models");
  EXPECT_NE(table.find("hf:org/name:tiny-Q8_0.gguf"), std::string::npos) << table;
  const auto json = nlohmann::json::parse(output("FORGE_CACHE_DIR=c $forge models --json"));
  ASSERT_EQ(json.at("cached").size(), 1u);
  const auto& cached = json.at("cached")[0];
  EXPECT_EQ(cached.at("model"), "hf:org/name:tiny-Q8_0.gguf");
  EXPECT_EQ(cached.at("revision"), hub_.commit);
  EXPECT_EQ(cached.at("bytes"), content_.size());
  ASSERT_EQ(json.at("compiled").size(), 1u);
  const auto& compiled = json.at("compiled")[0];
  EXPECT_EQ(compiled.at("name"), "tiny-Q8_0");
  EXPECT_EQ(compiled.at("architecture"), "llama");
  EXPECT_EQ(compiled.at("source_sha256"), test::sha256_of(content_));
  EXPECT_GT(compiled.at("bytes").get<int64_t>(), static_cast<int64_t>(content_.size()));
  EXPECT_EQ(output(compiled.at("path").get<std::string>() + " generate abc -n 20 --seed 1"),
            output("$forge generate $model abc -n 20 --seed 1"));
}

}  // namespace
}  // namespace forge
