// Any bytes as the configuration of a Hugging Face model (config.json, tokenizer_config.json, generation_config.json
// and chat_template.json at once), whose architecture they choose themselves: an Error of one line, or metadata that
// survives encoding.
#include <algorithm>

#include "formats/json.h"
#include "models/huggingface/mapping.h"
#include "models/huggingface/tokenizer_config.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

using namespace forge;
using namespace forge::huggingface;

void convert(const Json& json) {
  const Config config("config.json", json);
  Metadata meta;
  meta.set("tokenizer.ggml.tokens",
           {MetaType::array, MetaType::string, std::vector<std::string>{"a", "<s>", "</s>", "<pad>"}});
  write_special_tokens(config, config, config, meta);
  write_chat_template(config, std::nullopt, config, meta);
  write_sampling(config, meta);
  for (const Mapping* mapping : all_mappings()) {
    fuzz::expect_error_or_success([&] {
      Converted out{KeyWriter(meta, mapping->architecture), {}};
      const ModelConfig model = read_model_config(*mapping, config);
      write_common_keys(model, out.keys);
      if (mapping->convert != nullptr) mapping->convert(model, out);
      fuzz::require(llama3_rope_factors(model).size() <= (size_t{1} << 30));
    });
  }
  const std::vector<uint8_t> encoded = encode_metadata(meta);
  fuzz::require(encode_metadata(decode_metadata(encoded)) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::expect_error_or_success([&] { convert(parse_json("config.json", {data, size})); });
  return 0;
}
