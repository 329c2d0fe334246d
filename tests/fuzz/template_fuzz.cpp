// Any bytes as a chat template, and behind a zero byte as the JSON of its variables: an Error of one line, or a text
// within the limits, the same each time. The limits are small, so that no template takes long.
#include "runtime/core/chat_template.h"

#include "runtime/core/jinja_json.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

using namespace forge::rt;

constexpr jinja::Limits kLimits = {
    .steps = 200'000, .bytes = 32u << 20, .output_bytes = 1u << 20, .levels = 200};

// A conversation with what templates look for.
const jinja::Value& messages() {
  static const Result<jinja::Value> value = jinja::parse_json(
      R"([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello é"},
          {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHello!", "reasoning_content": "Hm.",
           "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]},
          {"role": "tool", "content": "{\"a\": true}", "tool_call_id": "1", "name": "f"},
          {"role": "user", "content": [{"type": "text", "text": "and?"}]}])");
  return *value;
}

std::string one_line(const Error& error) {
  forge::fuzz::require(error.message.find('\n') == std::string::npos);
  return error.message;
}

std::string render(const ChatTemplate& chat_template, const RenderOptions& options) {
  const Result<std::string> text = chat_template.render(messages(), options);
  if (!text) return one_line(text.error());
  forge::fuzz::require(text->size() <= kLimits.output_bytes);
  return *text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  RenderOptions options{
      .bos_token = "<s>", .eos_token = "</s>", .now = jinja::BrokenDownTime{}, .limits = kLimits};
  if (zero != std::string_view::npos) {
    const Result<jinja::Value> variables = jinja::parse_json(input.substr(zero + 1));
    if (variables) {
      options.variables = *variables;
    } else {
      one_line(variables.error());
    }
  }
  const Result<ChatTemplate> parsed = ChatTemplate::parse(input.substr(0, zero));
  if (!parsed) {
    one_line(parsed.error());
    return 0;
  }
  forge::fuzz::require(render(*parsed, options) == render(*parsed, options));
  return 0;
}
