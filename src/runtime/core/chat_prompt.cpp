#include "runtime/core/chat_prompt.h"

#include <algorithm>
#include <iterator>

#include "runtime/core/unicode.h"

namespace forge::rt {

using jinja::DictBuilder;
using jinja::Value;

namespace {

// Stands where a control token's name in a message was cut in two, until the text is split into tokens. A
// noncharacter: it has no meaning in text, and messages lose theirs.
constexpr std::string_view kCut = "\xef\xb7\x90";  // U+FDD0

}  // namespace

ChatPrompt::ChatPrompt(const ChatTemplate& chat_template, const Tokenizer& tokenizer)
    : template_(chat_template), tokenizer_(tokenizer) {
  std::vector<std::string> names;
  for (int32_t t = 0; t < tokenizer.n_vocab(); ++t) {
    std::string name = tokenizer.is_control(t) ? control_name(t) : std::string();
    if (name.size() > 1) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  for (std::string& name : names) {
    // Names that begin with another one follow it.
    if (control_names_.empty() || !name.starts_with(control_names_.back()))
      control_names_.push_back(std::move(name));
  }
}

std::string ChatPrompt::control_name(int32_t token) const {
  std::string out;
  tokenizer_.append_piece(token, out, /*special=*/true);
  return out;
}

std::string ChatPrompt::disarm(std::string_view given) const {
  // First of all, what could hide a name from the search and be gone behind it.
  std::string text;
  text.reserve(given.size());
  for (const char c : given) {
    text += c;
    if (text.ends_with(kCut)) text.resize(text.size() - kCut.size());
  }
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    // The one name that may begin the rest is the last that is not behind it. Most characters are beyond all names.
    bool named = false;
    const auto first = static_cast<uint8_t>(rest[0]);
    if (!control_names_.empty() && first >= static_cast<uint8_t>(control_names_.front()[0]) &&
        first <= static_cast<uint8_t>(control_names_.back()[0])) {
      const auto behind = std::upper_bound(control_names_.begin(), control_names_.end(), rest);
      named = behind != control_names_.begin() && rest.starts_with(*std::prev(behind));
    }
    const uint32_t bytes = decode_utf8(text, at).bytes;
    out += rest.substr(0, bytes);
    if (named) out += kCut;
    at += bytes;
  }
  return out;
}

// Values that came from JSON are at most 64 levels deep.
Value ChatPrompt::disarmed(const Value& value) const {  // NOLINT(misc-no-recursion)
  if (value.is_string()) return Value::string(disarm(value.as_string()));
  if (value.is(jinja::Type::sequence)) {
    std::vector<Value> items;
    for (const Value& item : value.as_sequence().items) items.push_back(disarmed(item));
    return Value::list(std::move(items));
  }
  if (value.is(jinja::Type::dict)) {
    const DictBuilder out;
    for (const auto& [key, item] : value.as_dict().entries) out->set(disarmed(key), disarmed(item));
    return out.value();
  }
  return value;
}

Result<ChatPrompt::Prompt> ChatPrompt::prompt(const Value& messages, const Options& options) const {
  const std::string bos = control_name(tokenizer_.bos());
  RenderOptions render;
  render.add_generation_prompt = options.add_generation_prompt;
  render.bos_token = bos;
  render.eos_token = control_name(tokenizer_.eos());
  render.variables = options.disarmed ? options.variables : disarmed(options.variables);
  render.now = options.now;
  auto rendered = template_.render(options.disarmed ? messages : disarmed(messages), render);
  if (!rendered) return rendered.error();
  *rendered += disarm(options.answer_begins);
  Prompt out;
  std::string_view rest = *rendered;
  // The template writes the begin token itself, or the tokenizer adds it: never both.
  EncodeOptions encode{.add_eos = false, .parse_special = true};
  if (!bos.empty() && rest.starts_with(bos)) encode.add_bos = false;
  for (;;) {
    const size_t cut = rest.find(kCut);
    const auto part = tokenizer_.encode(rest.substr(0, cut), encode);
    out.tokens.insert(out.tokens.end(), part.begin(), part.end());
    out.text += rest.substr(0, cut);
    if (cut == std::string_view::npos) return out;
    rest.remove_prefix(cut + kCut.size());
    encode.add_bos = false;
  }
}

Value chat_message(std::string_view role, std::string_view content) {
  const DictBuilder d;
  d->set("role", Value::string(std::string(role)));
  d->set("content", Value::string(std::string(content)));
  return d.value();
}

}  // namespace forge::rt
