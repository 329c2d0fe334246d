// Any bytes as a tokenizer.json: an Error of one line, or a tokenizer whose ids are in its vocabulary.
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/tokenizer.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void use(const forge::Metadata& meta) {
  const std::vector<uint8_t> tables = forge::build_tokenizer_tables(meta);
  const auto tokenizer = forge::rt::Tokenizer::open(tables);
  require(static_cast<bool>(tokenizer));
  for (const std::string_view text :
       {"Hello, WORLD's 1234 x\n\n  <s>a</s> e\xcc\x81\xcc\xa3 \xe2\x96\x81 \xf0\x9f\x98\x80\xff", "", " "}) {
    const auto ids = tokenizer->encode(text, {.parse_special = true});
    for (const int32_t id : ids) require(id >= 0 && id < tokenizer->n_vocab());
    tokenizer->decode(ids, true);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    forge::Metadata meta;
    forge::read_tokenizer_json("tokenizer.json", forge::parse_json("tokenizer.json", {data, size}), meta);
    use(meta);
  } catch (const forge::Error& error) {
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
