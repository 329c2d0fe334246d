#include "models/huggingface/tokenizer_config.h"

#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "formats/tokenizer_tables.h"

namespace forge::huggingface {
namespace {

void set_u32(Metadata& meta, std::string key, int64_t value) {
  meta.set(std::move(key), {MetaType::u32, MetaType::u32, value});
}

// A token's text: "bos_token" is a string, or an object with its content.
std::optional<std::string> token_text(const Config& tokenizer, const char* key) {
  const Json* value = tokenizer.find({key});
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) return tokenizer.object({key}).string({"content"});
  return tokenizer.string({key});
}

// An id, or several of which the first counts most.
std::vector<int64_t> token_ids(const Config& config, const char* key) {
  const Json* value = config.find({key});
  if (value == nullptr) return {};
  if (!value->is_array()) return {*config.integer({key})};
  return *config.integers({key});
}

}  // namespace

void write_special_tokens(const Config& tokenizer, const Config& config, const Config& generation,
                          Metadata& meta) {
  std::unordered_map<std::string_view, int64_t> ids;
  const std::vector<std::string>* tokens = meta.strings("tokenizer.ggml.tokens");
  const auto n = tokens == nullptr ? 0 : static_cast<int64_t>(tokens->size());
  for (int64_t id = 0; id < n; ++id) ids.emplace((*tokens)[static_cast<size_t>(id)], id);

  struct Special {
    const char *text, *id, *add;  // keys of tokenizer_config.json, config.json, tokenizer_config.json
    std::string_view gguf;
  };
  constexpr Special kSpecials[] = {
      {"bos_token", "bos_token_id", "add_bos_token", "bos"},
      {"eos_token", "eos_token_id", "add_eos_token", "eos"},
      {"unk_token", "unk_token_id", nullptr, "unknown"},
      {"pad_token", "pad_token_id", nullptr, "padding"},
  };
  for (const Special& special : kSpecials) {
    std::optional<int64_t> id;
    if (const auto text = token_text(tokenizer, special.text)) {
      if (const auto at = ids.find(*text); at != ids.end()) id = at->second;
    }
    for (const Config* by_id : {&config, &generation})
      if (const auto given = token_ids(*by_id, special.id); !id && !given.empty()) id = given.front();
    if (id && *id >= 0 && *id < n)
      set_u32(meta, fmt::format("tokenizer.ggml.{}_token_id", special.gguf), *id);
    if (special.add == nullptr) continue;
    if (const auto add = tokenizer.boolean({special.add}))
      meta.set(fmt::format("tokenizer.ggml.{}", special.add),
               {MetaType::boolean, MetaType::u32, int64_t{*add}});
  }
  // An answer may have several ends; GGUF has a key for one, so that they get one of ours.
  std::vector<int64_t> ends;
  for (const Config* by_id : {&generation, &config})
    for (const int64_t id : token_ids(*by_id, "eos_token_id"))
      if (id >= 0 && id < n && std::ranges::find(ends, id) == ends.end()) ends.push_back(id);
  if (ends.size() > 1)
    meta.set(std::string(kEosTokenIdsKey), {MetaType::array, MetaType::i32, std::move(ends)});
}

void write_chat_template(const Config& tokenizer, const std::optional<std::string>& jinja, const Config& json,
                         Metadata& meta) {
  const auto set = [&](std::string key, std::string text) {
    meta.set(std::move(key), {MetaType::string, MetaType::u32, std::move(text)});
  };
  const std::string key = "tokenizer.chat_template";
  if (jinja) return set(key, *jinja);
  const Json* value = tokenizer.find({"chat_template"});
  const Config& from = value == nullptr ? json : tokenizer;
  if (value == nullptr) value = json.find({"chat_template"});
  if (value == nullptr) return;
  if (!value->is_array()) return set(key, *from.string({"chat_template"}));
  std::vector<std::string> names;
  std::string first;
  for (const Json& entry : *value) {
    const Config named(from.path(), entry);
    const auto name = named.string({"name"}), text = named.string({"template"});
    if (!name || !text) from.refuse("chat_template", "a text, or a list of names with texts");
    if (names.empty()) first = *text;
    names.push_back(*name);
    set(*name == "default" ? key : fmt::format("{}.{}", key, *name), *text);
  }
  if (names.empty()) return;
  if (meta.find(key) == nullptr) set(key, first);
  std::erase(names, "default");
  if (!names.empty())
    meta.set("tokenizer.chat_templates", {MetaType::array, MetaType::string, std::move(names)});
}

void write_sampling(const Config& generation, Metadata& meta) {
  struct Setting {
    const char* from;
    const char* key;
    MetaType type;
  };
  constexpr Setting kSettings[] = {
      {"top_k", "top_k", MetaType::i32},
      {"top_p", "top_p", MetaType::f32},
      {"min_p", "min_p", MetaType::f32},
      {"temperature", "temp", MetaType::f32},
      {"repetition_penalty", "penalty_repeat", MetaType::f32},
  };
  for (const auto& [from, key, type] : kSettings) {
    const auto number = generation.number({from});
    if (!number) continue;
    MetaValue value{.type = type};
    if (type == MetaType::f32)
      value.value = static_cast<double>(static_cast<float>(*number));
    else if (const auto integer = generation.integer({from}); std::in_range<int32_t>(*integer))
      value.value = *integer;
    else
      generation.refuse(from, "less than 2^31");
    meta.set(fmt::format("general.sampling.{}", key), std::move(value));
  }
}

}  // namespace forge::huggingface
