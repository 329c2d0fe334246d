#include "runtime/server/logprobs_json.h"

#include <algorithm>
#include <cmath>

#include "runtime/host/json.h"

namespace forge::rt {
namespace {

// JSON has no infinity: what the model rules out is as unlikely as a float can say.
std::string logprob_json(float logprob) {
  return std::isnan(logprob) ? "null" : json_number(std::max(logprob, -9999.0F));
}

std::string piece(const ModelInfo& model, int32_t token) {
  std::string out;
  model.tokenizer().append_piece(token, out, /*special=*/true);
  return out;
}

JsonObject token_json(const std::string& bytes, float logprob) {
  std::vector<std::string> numbers;
  for (const char c : bytes) numbers.push_back(std::to_string(static_cast<uint8_t>(c)));
  JsonObject out;
  out.add("token", bytes);
  out.add_json("logprob", logprob_json(logprob));
  out.add_json("bytes", json_array(numbers));
  return out;
}

}  // namespace

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

std::string chat_logprobs_json(const ModelInfo& model, std::span<const TextToken> tokens) {
  std::vector<std::string> content;
  content.reserve(tokens.size());
  for (const TextToken& t : tokens) {
    JsonObject entry = token_json(t.bytes, t.logprob);
    std::vector<std::string> top;
    top.reserve(t.top.size());
    for (const TokenLogprob& other : t.top)
      top.push_back(token_json(piece(model, other.token), other.logprob).compact());
    entry.add_json("top_logprobs", json_array(top));
    content.push_back(entry.compact());
  }
  JsonObject out;
  out.add_json("content", json_array(content));
  return out.compact();
}

std::string completion_logprobs_json(const ModelInfo& model, std::span<const TextToken> tokens,
                                     size_t offset) {
  std::vector<std::string> texts;
  std::vector<std::string> logprobs;
  std::vector<std::string> tops;
  std::vector<std::string> offsets;
  for (const TextToken& t : tokens) {
    texts.push_back(json_string(t.bytes));
    logprobs.push_back(logprob_json(t.logprob));
    JsonObject top;
    for (const TokenLogprob& other : t.top)
      top.add_json(piece(model, other.token), logprob_json(other.logprob));
    tops.push_back(std::isnan(t.logprob) ? "null" : top.compact());
    offsets.push_back(std::to_string(offset));
    offset += count_characters(t.bytes);
  }
  JsonObject out;
  out.add_json("tokens", json_array(texts));
  out.add_json("token_logprobs", json_array(logprobs));
  out.add_json("top_logprobs", json_array(tops));
  out.add_json("text_offset", json_array(offsets));
  return out.compact();
}

}  // namespace forge::rt
