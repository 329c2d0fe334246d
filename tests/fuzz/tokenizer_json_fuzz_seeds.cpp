// tokenizer_json_fuzz_seeds DIRECTORY: the tokenizers of tests/goldens with vocabularies of a few tokens, for
// tokenizer_json_fuzz to start from.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "formats/json.h"

namespace {

forge::Json small_model(const forge::Json& model) {
  forge::Json small = model;
  if (model["vocab"].is_array()) {
    small["vocab"] = {{"<unk>", 0.0},     {"<s>", 0.0}, {"a", -1.5},
                      {"\u2581a", -1.25}, {"b", -2.0},  {"ab", -1.0}};
  } else {
    small["vocab"] = {{"<unk>", 0}, {"<s>", 1}, {"a", 2}, {"b", 3}, {"ab", 4}, {"\u2581", 5}, {"<0x41>", 6}};
    small["merges"] = {"a b"};
  }
  return small;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: tokenizer_json_fuzz_seeds DIRECTORY\n", stderr);
    return 2;
  }
  std::filesystem::create_directories(argv[1]);
  std::ifstream in(FORGE_SOURCE_DIR "/tests/goldens/tokenizer_goldens.json", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const forge::Json goldens = forge::parse_json("tokenizer_goldens.json",
                                                {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  for (const forge::Json& one : goldens["cases"]) {
    forge::Json tokenizer = one["tokenizer"];
    tokenizer["model"] = small_model(goldens["models"].at(tokenizer["model"].get<std::string>()));
    std::ofstream out(std::filesystem::path(argv[1]) / (one["name"].get<std::string>() + ".json"),
                      std::ios::binary);
    out << tokenizer.dump();
    if (!out.flush()) {
      std::perror(argv[1]);
      return 1;
    }
  }
  return 0;
}
