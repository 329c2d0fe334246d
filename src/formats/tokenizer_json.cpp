#include "formats/tokenizer_json.h"

#include "core/error.h"

namespace forge {

void read_tokenizer_json(const std::string& path, const Json& json, Metadata& meta) {
  const Json& model = json.at("model");
  if (model.at("type") != "BPE") fail("{}: tokenizer model is not supported", path);
  size_t n = model.at("vocab").size();
  for (const Json& added : json.at("added_tokens")) n = std::max(n, added.at("id").get<size_t>() + 1);
  std::vector<std::string> tokens(n);
  std::vector<int64_t> types(n, 1);
  for (const auto& [text, id] : model.at("vocab").items()) tokens.at(id.get<size_t>()) = text;
  for (const Json& added : json.at("added_tokens")) {
    tokens.at(added.at("id").get<size_t>()) = added.at("content").get<std::string>();
    types.at(added.at("id").get<size_t>()) = added.at("special").get<bool>() ? 3 : 4;
  }
  std::vector<std::string> merges;
  for (const Json& m : model.at("merges"))
    merges.push_back(m.is_string() ? m.get<std::string>()
                                   : m.at(0).get<std::string>() + " " + m.at(1).get<std::string>());
  meta.set("tokenizer.ggml.model", {MetaType::string, MetaType::u32, std::string("gpt2")});
  meta.set("tokenizer.ggml.pre", {MetaType::string, MetaType::u32, std::string("gpt-2")});
  meta.set("tokenizer.ggml.tokens", {MetaType::array, MetaType::string, std::move(tokens)});
  meta.set("tokenizer.ggml.token_type", {MetaType::array, MetaType::i32, std::move(types)});
  meta.set("tokenizer.ggml.merges", {MetaType::array, MetaType::string, std::move(merges)});
}

}  // namespace forge
