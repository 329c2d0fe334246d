// Texts of one kind, a megabyte each: no input may be quadratic.
#include <gtest/gtest.h>

#include <string>

#include "core/mapped_file.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/tokenizer.h"

namespace forge {
namespace {

// What the kinds of tokenizer in tests/goldens have rules for: letters, digits, blanks, marks that normalizers reorder and
// compose, prefixes of added tokens. Anything quadratic would run into the program's time limit: 1e12 steps a run.
TEST(TokenizerJson, LongRunsOfEveryKind) {
  constexpr size_t kBytes = 1'000'000;
  const std::string path = FORGE_SOURCE_DIR "/tests/goldens/tokenizer_goldens.json";
  const MappedFile file(path);
  const Json all = parse_json(path, file.bytes());
  for (const Json& one : all["cases"]) {
    Json json = one["tokenizer"];
    json["model"] = all["models"].at(json["model"].get<std::string>());
    Metadata meta;
    read_tokenizer_json("tokenizer.json", json, meta);
    const std::vector<uint8_t> tables = build_tokenizer_tables(meta);
    const auto t = rt::Tokenizer::open(tables);
    ASSERT_TRUE(t) << one["name"] << ": " << t.error().message;
    for (const std::string_view piece :
         {"a", "aB", "9", " ", " \n", "\u0301\u0323", "\u1100", "▁", "<s", "\xe2"}) {
      std::string text;
      while (text.size() < kBytes) text += piece;
      for (const int32_t id : t->encode(text, {.add_bos = false, .add_eos = false, .parse_special = true}))
        if (id < 0 || id >= t->n_vocab()) FAIL() << one["name"] << ": id " << id << " of " << t->n_vocab();
    }
  }
}

}  // namespace
}  // namespace forge
