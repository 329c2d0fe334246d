#include "tests/runtime/fake_payload.h"

#include <cstring>

#include "formats/checkpoint.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/answer_format.h"
#include "runtime/core/unicode.h"
#include "tests/runtime/fake_model.h"

namespace forge::rt {
namespace {

MetaValue strings(std::vector<std::string> values) {
  return {.type = MetaType::array, .element = MetaType::string, .value = std::move(values)};
}

std::string byte_character(uint32_t byte) {
  uint32_t n = 0;
  for (uint32_t b = 0; b <= byte; ++b) {
    const bool keeps = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
    if (b == byte) {
      std::string out;
      append_utf8(out, keeps ? b : 256 + n);
      return out;
    }
    n += keeps ? 0 : 1;
  }
  return {};
}

}  // namespace

const char* const kFakeTemplate =
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

PayloadInput fake_payload_input(const std::string& start_name) {
  std::vector<std::string> tokens;
  tokens.reserve(kFakeVocab);
  std::vector<int64_t> types(kFakeVocab, 1);
  for (uint32_t b = 0; b < 256; ++b) tokens.push_back(byte_character(b));
  tokens.emplace_back("<|end|>");
  tokens.emplace_back(start_name);
  types[kFakeEnd] = types[kFakeStart] = 3;
  Metadata meta;
  meta.set("tokenizer.ggml.model", {.type = MetaType::string, .value = std::string("gpt2")});
  meta.set("tokenizer.ggml.pre", {.type = MetaType::string, .value = std::string("gpt-2")});
  meta.set("tokenizer.ggml.tokens", strings(tokens));
  meta.set("tokenizer.ggml.merges", strings({}));
  meta.set("tokenizer.ggml.token_type", {.type = MetaType::array, .element = MetaType::i32, .value = types});
  meta.set("tokenizer.ggml.eos_token_id", {.type = MetaType::u32, .value = int64_t{kFakeEnd}});

  PayloadInput input;
  input.plan_hash = kFakePlanHash;
  input.manifest = {{"model.name", "fake"}, {"note", "two\nlines and a \\"}};
  if (const auto chat_template = ChatTemplate::parse(kFakeTemplate))
    input.manifest["answer.format"] = derive_answer_format(*chat_template).to_text();
  input.tokenizer = build_tokenizer_tables(meta);
  input.source_kv = {1, 2, 3};
  input.chat_template = kFakeTemplate;
  for (uint64_t i = 0; i < 3; ++i) {
    input.tensors.push_back({.name = "t" + std::to_string(i),
                             .type = "f32",
                             .layout = "rows",
                             .rows = 10,
                             .cols = 10 + i,
                             .offset = i * 512,
                             .bytes = 4 * 10 * (10 + i),
                             .pack = [i](std::span<uint8_t> out) {
                               std::memset(out.data(), static_cast<int>(i + 1), out.size());
                             }});
  }
  input.weights_bytes = 3 * 512;
  return input;
}

}  // namespace forge::rt
