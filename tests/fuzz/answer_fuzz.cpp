// Three parts with lines "====" between them: a format's text (or a chat template, from which one is derived), an answer,
// and bytes that say where to cut it. Any format gives the same however the answer is cut, and valid arguments.
#include "runtime/core/answer_parser.h"

#include <algorithm>

#include "runtime/core/jinja_json.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

using namespace forge::rt;
using forge::fuzz::require;

// What came, with a mark before each part.
struct Sink {
  std::string out;
  AnswerDelta::Kind last = AnswerDelta::Kind::call_end;

  void take(const std::vector<AnswerDelta>& deltas) {
    for (const AnswerDelta& d : deltas) {
      if (d.kind != last || d.kind == AnswerDelta::Kind::call_begin)
        out += text('\0', static_cast<int>(d.kind));
      last = d.kind;
      out += d.text;
      if (!d.id.empty()) out += text('#', d.id);
      if (d.kind != AnswerDelta::Kind::call_arguments) continue;
      const Result<jinja::Value> arguments = jinja::parse_json(d.text);
      require(arguments && arguments->is(jinja::Type::dict));
    }
  }
};

const jinja::Value& tools() {
  static const Result<jinja::Value> value = jinja::parse_json(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}])");
  return *value;
}

// Cuts the answer into pieces of cuts[i] % 32 bytes and what remains.
std::string parse(const AnswerFormat& format, std::string_view prompt, std::string_view answer,
                  std::string_view cuts) {
  AnswerOptions options;
  options.prompt = prompt;
  options.tools = tools();
  AnswerParser parser(format, options);
  Sink sink;
  for (size_t i = 0; i < cuts.size() && !answer.empty(); ++i) {
    const size_t n = std::min<size_t>(static_cast<uint8_t>(cuts[i]) % 32, answer.size());
    sink.take(parser.push(answer.substr(0, n)));
    answer.remove_prefix(n);
  }
  sink.take(parser.push(answer));
  sink.take(parser.finish());
  return sink.out;
}

// The part before the next separator, which is taken away.
std::string_view take_part(std::string_view& input) {
  constexpr std::string_view kSeparator = "\n====\n";
  const size_t end = std::min(input.find(kSeparator), input.size());
  const std::string_view part = input.substr(0, end);
  input.remove_prefix(std::min(input.size(), end + kSeparator.size()));
  return part;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view source = take_part(input), answer = take_part(input), cuts = take_part(input);
  Result<AnswerFormat> format = AnswerFormat::from_text(source);
  if (!format) {
    require(format.error().message.find('\n') == std::string::npos);
    const Result<ChatTemplate> chat_template = ChatTemplate::parse(source);
    if (!chat_template || source.size() > 4096) return 0;
    format = derive_answer_format(*chat_template);
  }
  const Result<AnswerFormat> again = AnswerFormat::from_text(format->to_text());
  require(static_cast<bool>(again) && again->to_text() == format->to_text());
  for (const std::string_view prompt : {std::string_view(), std::string_view(format->thinking.open)}) {
    const std::string whole = parse(*format, prompt, answer, {});
    require(parse(*format, prompt, answer, cuts) == whole);
    require(parse(*format, prompt, answer, std::string(answer.size(), '\1')) == whole);
  }
  return 0;
}
