// Answers divided into thoughts, content and calls: what templates write comes back, at every cut of the text.
#include "runtime/core/answer_parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/core/answer_messages.h"
#include "runtime/core/jinja_json.h"
#include "tests/runtime/answer_templates.h"

namespace forge::rt {
namespace {

using Kind = AnswerDelta::Kind;

// What was said, put together again.
struct Answer {
  std::string reasoning, content;
  std::vector<ToolCall> calls;
  std::string order;  // r, c, t: reasoning, content and calls as they came
  bool operator==(const Answer& o) const {
    return reasoning == o.reasoning && content == o.content && order == o.order &&
           std::equal(calls.begin(), calls.end(), o.calls.begin(), o.calls.end(),
                      [](const auto& a, const auto& b) {
                        return a.id == b.id && a.name == b.name && a.arguments == b.arguments;
                      });
  }
};

void PrintTo(const Answer& a, std::ostream* os) {
  *os << "reasoning «" << a.reasoning << "» content «" << a.content << "» order " << a.order;
  for (const ToolCall& c : a.calls) *os << "\n  " << c.id << ' ' << c.name << ' ' << c.arguments;
}

void add(Answer& a, const std::vector<AnswerDelta>& deltas) {
  const auto came = [&](char what) {
    if (a.order.empty() || a.order.back() != what || what == 't') a.order += what;
  };
  for (const AnswerDelta& d : deltas) {
    switch (d.kind) {
      case Kind::reasoning:
        a.reasoning += d.text;
        came('r');
        break;
      case Kind::content:
        a.content += d.text;
        came('c');
        break;
      case Kind::call_begin:
        ASSERT_EQ(d.call, a.calls.size());
        a.calls.push_back({d.id, d.text, ""});
        came('t');
        break;
      case Kind::call_arguments:
        ASSERT_EQ(d.call + 1, a.calls.size());
        a.calls.back().arguments += d.text;
        break;
      case Kind::call_end: {
        ASSERT_EQ(d.call + 1, a.calls.size());
        const auto arguments = jinja::parse_json(a.calls.back().arguments);
        EXPECT_TRUE(arguments && arguments->is(jinja::Type::dict)) << a.calls.back().arguments;
        break;
      }
    }
  }
}

Answer parse_pieces(const AnswerFormat& format, const AnswerOptions& options,
                    const std::vector<std::string_view>& pieces) {
  AnswerParser parser(format, options);
  Answer a;
  for (const std::string_view piece : pieces) add(a, parser.push(piece));
  add(a, parser.finish());
  EXPECT_EQ(parser.n_calls(), a.calls.size());
  return a;
}

// The same at every cut in two and byte by byte.
Answer parse(const AnswerFormat& format, const AnswerOptions& options, std::string_view text) {
  Answer whole = parse_pieces(format, options, {text});
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    bytes.push_back(text.substr(i, 1));
    const Answer cut = parse_pieces(format, options, {text.substr(0, i), text.substr(i)});
    if (!(cut == whole)) {
      EXPECT_EQ(cut, whole) << "cut at " << i << " of «" << text << "»";
      break;
    }
  }
  EXPECT_EQ(parse_pieces(format, options, bytes), whole);
  return whole;
}

const jinja::Value& tools() {
  static const jinja::Value v = json(R"([
    {"type": "function", "function": {"name": "get_weather", "description": "The weather.",
      "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Where."},
        "note": {"type": "string", "description": "What."}, "options": {"type": "object", "description": "How."}}}}},
    {"type": "function", "function": {"name": "f2", "description": "Two.",
      "parameters": {"type": "object", "properties": {"n": {"type": "integer", "description": "N."},
        "list": {"type": "array", "description": "L."}, "flag": {"type": "boolean", "description": "B."}}}}}])");
  return v;
}

constexpr std::string_view kFirstArguments =
    R"({"city": "Zürich \"West\" 🎈", "note": "a {brace} } ] [x] \\ line\nnext, (é) 'q' true </b>",)"
    R"( "options": {"deep": [1, -2.5e3, true, null, {"": "}"}], "empty": {}}})";
constexpr std::string_view kSecondArguments = R"({"n": -17, "list": ["1", 2, []], "flag": false})";

jinja::Value question() { return json(R"({"role": "user", "content": "Weather?"})"); }

// Renders an assistant's message, cuts its part out and parses it.
void round_trip(const AnswerTemplate& t, size_t n_calls, bool has_content, bool has_thoughts) {
  SCOPED_TRACE(testing::Message() << t.name << ", calls " << n_calls << ", content " << has_content
                                  << ", thoughts " << has_thoughts);
  const AnswerFormat f = derived(t.source);
  const auto chat_template = ChatTemplate::parse(t.source);
  ASSERT_TRUE(chat_template);
  Answer expected;
  jinja::DictBuilder d;
  d->set("role", jinja::Value::string("assistant"));
  if (has_content) expected.content = "First: <b>, [1] and {x}.\n\nThen more.";
  d->set("content", jinja::Value::string(expected.content));
  if (has_thoughts) {
    expected.reasoning = "Hm, <tool_call>?\n\nYes.";
    d->set("reasoning_content", jinja::Value::string(expected.reasoning));
  }
  if (n_calls > 0) {
    std::vector<jinja::Value> calls;
    for (size_t i = 0; i < n_calls; ++i) {
      const jinja::DictBuilder function, call;
      ToolCall& c = expected.calls.emplace_back();
      c.name = i == 0 ? "get_weather" : "f2";
      c.arguments = i == 0 ? kFirstArguments : kSecondArguments;
      function->set("name", jinja::Value::string(c.name));
      function->set("arguments", jinja::Value::string(c.arguments));
      call->set("id", jinja::Value::string(i == 0 ? "abcDEF123" : "ghiJKL456"));
      call->set("type", jinja::Value::string("function"));
      call->set("function", function.value());
      calls.push_back(call.value());
    }
    d->set("tool_calls", jinja::Value::list(std::move(calls)));
  }
  const auto conversation = prepare_messages(f, jinja::Value::list({question(), d.value()}), tools());
  ASSERT_TRUE(conversation) << conversation.error().message;
  RenderOptions options;
  options.add_generation_prompt = false;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  options.now = jinja::BrokenDownTime{};
  const jinja::DictBuilder variables;
  variables->set("tools", conversation->tools);
  options.variables = variables.value();
  const auto whole = chat_template->render(conversation->messages, options);
  ASSERT_TRUE(whole) << whole.error().message;
  // Templates that write calls directly behind the header leave out its line break.
  size_t begin = whole->rfind(t.header);
  ASSERT_NE(begin, std::string::npos) << *whole;
  begin += t.header.size();
  const size_t end = whole->find(t.end, begin);
  ASSERT_NE(end, std::string::npos) << *whole;
  std::string part = whole->substr(begin, end - begin);
  AnswerOptions parser_options;
  parser_options.tools = tools();
  if (f.thinking.by_default == PromptThinking::opens && has_thoughts) {
    parser_options.prompt = "<|assistant|><think>\n";
    ASSERT_TRUE(part.starts_with("<think>\n"));
    part.erase(0, 8);
  }
  const Answer got = parse(f, parser_options, part);
  EXPECT_EQ(got.reasoning, expected.reasoning) << part;
  EXPECT_EQ(got.content, expected.content) << part;
  ASSERT_EQ(got.calls.size(), expected.calls.size()) << part;
  for (size_t i = 0; i < n_calls; ++i) {
    EXPECT_EQ(got.calls[i].name, expected.calls[i].name);
    EXPECT_TRUE(equals(json(got.calls[i].arguments), json(expected.calls[i].arguments)))
        << got.calls[i].arguments;
    if (!f.calls.id_key.empty() || !f.calls.id_end.empty()) {
      EXPECT_EQ(got.calls[i].id, i == 0 ? "abcDEF123" : "ghiJKL456");
    }
  }
}

void round_trips(const AnswerTemplate& t) {
  const AnswerFormat f = derived(t.source);
  const bool renders_thoughts = !f.thinking.message_key.empty();
  for (const bool thoughts : {false, true}) {
    if (thoughts && !renders_thoughts) continue;
    round_trip(t, 0, true, thoughts);
    for (const size_t n : {1, 2}) {
      if (n == 2 && !f.parallel_calls) continue;
      round_trip(t, n, false, thoughts);
      // A call without a marker can't follow content.
      const bool is_bare = f.calls.section_begin.empty() && f.calls.call_begin.empty();
      if ((f.renders_content || !f.renders_calls) && !is_bare) round_trip(t, n, true, thoughts);
    }
  }
}

TEST(AnswerParser, OurTemplatesComeBack) {
  const auto all = own_templates();
  ASSERT_GE(all.size(), 15u);
  for (const AnswerTemplate& t : all) round_trips(t);
}

TEST(AnswerParser, TemplatesOfRealModelsComeBack) {
  const auto all = real_templates();
  if (all.empty()) GTEST_SKIP() << "SKIPPED: no folder ../shared/data/templates beside the checkout";
  for (const AnswerTemplate& t : all) round_trips(t);
}

AnswerFormat named(std::string_view name) {
  for (const AnswerTemplate& t : own_templates()) {
    if (t.name == name) return derived(t.source);
  }
  ADD_FAILURE() << name;
  return {};
}

Answer parse_as(std::string_view format, std::string_view text, std::string_view prompt = "") {
  AnswerOptions options;
  options.prompt = prompt;
  options.tools = tools();
  return parse(named(format), options, text);
}

// Text that is no call comes out as it is, but for white space at a marker.
TEST(AnswerParser, BrokenCallsAreContent) {
  for (const std::string text : {
           "<tool_call>\nnot json\n</tool_call>",
           "<tool_call>\n{\"name\": \"f2\", \"arguments\": {\"n\": 1}\n</tool_call>",    // a brace is missing
           "<tool_call>\n{\"name\": \"f2\", \"arguments\": {\"n\": 01}}\n</tool_call>",  // no JSON
           "<tool_call>\n{\"name\": 5, \"arguments\": {}}\n</tool_call>",
           "<tool_call>\n{\"arguments\": {}}\n</tool_call>",
           "<tool_call>\n{\"name\": \"f2\", \"arguments\": [1]}\n</tool_call>",
           "<tool_call>\n{\"name\": \"f2\", \"arguments\": \"[1]\"}\n</tool_call>",
           "<tool_call>\n{\"name\": \"\", \"arguments\": {}}\n</tool_call>",
           "<tool_call>\n[]\n</tool_call> and more",
           "text <tool_call",
           "<tool_call>",
           "<tool_call>\n{\"name\": \"f2",
           "  leading and trailing \n ",
           "<tool_cal l> <<tool_cal",
       }) {
    const Answer a = parse_as("hermes", text);
    EXPECT_EQ(a.content, text);
    EXPECT_EQ(a.calls.size(), 0u);
  }
  for (const std::string text : {"{\"name\": \"unknown\", \"parameters\": {}}", "{\"a\": 1}", "[1] says so",
                                 "{", "[]", "{\"name\": \"f2\", \"parameters\": {}"}) {
    const Answer a = parse_as("llama", text);
    EXPECT_EQ(a.content, text);
    EXPECT_EQ(a.calls.size(), 0u);
  }
  for (const std::string text : {"[see](http://x)", "[f2(n=)]", "[f2(n=1", "[f2(1)]", "[f2(n=1)(]",
                                 "[unknown(n=1)]", "[f2(n=1_0)]", "[f2(n=\"a)]"}) {
    const Answer a = parse_as("python list", text);
    EXPECT_EQ(a.content + (a.calls.empty() ? "" : "!"), text == "[f2(n=1)(]" ? "(]!" : text);
  }
  for (const std::string text :
       {"<tool_call>\n<function=f2>\n<parameter=n>\n1\n</parameter>\n", "<tool_call>\n<function=f2",
        "<function= >", "<tool_call>\n<function=f2>\nn = 1\n</function>", "<tool_call>\n<parameter=n>"}) {
    const Answer a = parse_as("xml, name in the tag", text);
    EXPECT_EQ(a.content, text);
    EXPECT_EQ(a.calls.size(), 0u);
  }
}

TEST(AnswerParser, ACallBehindABrokenOneIsFound) {
  const Answer a =
      parse_as("hermes", "<tool_call>\n<tool_call>\n{\"name\": \"f2\", \"arguments\": {}}\n</tool_call>");
  EXPECT_EQ(a.content, "<tool_call>");
  ASSERT_EQ(a.calls.size(), 1u);
  EXPECT_EQ(a.calls[0].name, "f2");
  const Answer b =
      parse_as("xml, name in the tag",
               "<tool_call>\n<tool_call>\n<function=f2>\n<parameter=n>\n1\n</parameter>\n</function>");
  EXPECT_EQ(b.content, "<tool_call>");
  EXPECT_EQ(b.calls.size(), 1u);
}

// What models write that templates do not.
TEST(AnswerParser, OtherSpellings) {
  for (
      const std::string text : {
          "<tool_call>{\"name\":\"f2\",\"arguments\":{\"n\":1}}</tool_call>",
          "\n\n<tool_call>\n\n{\"arguments\": {\"n\": 1}, \"name\": \"f2\"}",
          "<tool_call>{\"name\": \"f2\", \"parameters\": {\"n\": 1}}</tool_call>\n",
          "<tool_call>{\"name\": \"f2\", \"arguments\": \"{\\\"n\\\": 1}\"}</tool_call>",
          R"(<tool_call>{"type": "function", "function": {"name": "f2", "arguments": {"n": 1}}}</tool_call>)",
          "<tool_call>[{\"name\": \"f2\", \"arguments\": {\"n\": 1}}]</tool_call>",
      }) {
    const Answer a = parse_as("hermes", text);
    EXPECT_EQ(a.content, "") << text;
    ASSERT_EQ(a.calls.size(), 1u) << text;
    EXPECT_EQ(a.calls[0].name, "f2");
    EXPECT_TRUE(equals(json(a.calls[0].arguments), json("{\"n\": 1}"))) << a.calls[0].arguments;
  }
  const Answer no_arguments = parse_as("hermes", "<tool_call>{\"name\": \"f2\"}</tool_call>");
  ASSERT_EQ(no_arguments.calls.size(), 1u);
  EXPECT_EQ(no_arguments.calls[0].arguments, "{}");
  const Answer line_break =
      parse_as("hermes", "<tool_call>{\"name\": \"f2\", \"arguments\": {\"a\": \"x\ny\"}}");
  ASSERT_EQ(line_break.calls.size(), 1u);
  EXPECT_TRUE(equals(json(line_break.calls[0].arguments), json(R"({"a": "x\ny"})")));
  // Numbers stay as they are written.
  const Answer number = parse_as("hermes", "<tool_call>{\"name\": \"f2\", \"arguments\": {\"n\": 1.50}}");
  ASSERT_EQ(number.calls.size(), 1u);
  EXPECT_EQ(number.calls[0].arguments, "{\"n\": 1.50}");
}

TEST(AnswerParser, PythonLiterals) {
  const Answer a = parse_as(
      "python list",
      R"([f2(n=-1, a='it\'s \u00e9 \x41 "q"', b=(1, 2.5,), c={'k': [True, False, None]}, d=[], ), get_weather()])");
  ASSERT_EQ(a.calls.size(), 2u);
  EXPECT_TRUE(equals(
      json(a.calls[0].arguments),
      json(R"({"n": -1, "a": "it's é A \"q\"", "b": [1, 2.5], "c": {"k": [true, false, null]}, "d": []})")))
      << a.calls[0].arguments;
  EXPECT_EQ(a.calls[1].arguments, "{}");
  EXPECT_EQ(a.content, "");
  const Answer pair = parse_as("python list", R"([f2(a="\ud83c\udf88")])");
  ASSERT_EQ(pair.calls.size(), 1u);
  EXPECT_TRUE(equals(json(pair.calls[0].arguments), json(R"({"a": "🎈"})"))) << pair.calls[0].arguments;
  // Nesting is limited.
  const std::string deep = "[f2(a=" + std::string(5000, '[') + std::string(5000, ']') + ")]";
  AnswerOptions options;
  options.tools = tools();
  EXPECT_EQ(parse_pieces(named("python list"), options, {deep}).content, deep);
}

TEST(AnswerParser, XmlValuesHaveTheTypesOfTheTool) {
  const Answer a = parse_as(
      "xml, name in the tag",
      "<tool_call>\n<function=get_weather>\n<parameter=city>\n5\n</parameter>\n<parameter=options>\n{\"a\": "
      "1}\n</parameter>\n<parameter=other>\ntrue\n</parameter>\n<parameter=note>\n\n x \n\n</parameter>\n"
      "</function>\n</tool_call>");
  ASSERT_EQ(a.calls.size(), 1u);
  EXPECT_TRUE(equals(json(a.calls[0].arguments),
                     json(R"({"city": "5", "options": {"a": 1}, "other": true, "note": "\n x \n"})")))
      << a.calls[0].arguments;
  // Without the outer tag.
  const Answer b =
      parse_as("xml, name in the tag", "<function=f2>\n<parameter=n>\n1\n</parameter>\n</function>");
  ASSERT_EQ(b.calls.size(), 1u);
  EXPECT_EQ(b.calls[0].arguments, "{\"n\": 1}");
}

TEST(AnswerParser, Thoughts) {
  constexpr std::string_view kFormat = "hermes, thoughts";
  Answer a = parse_as(kFormat, "<think>\nSo.\n\n</think>\n\nYes </think> no");
  EXPECT_EQ(a.reasoning, "So.");
  EXPECT_EQ(a.content, "Yes </think> no");
  a = parse_as(kFormat, "No thoughts <think>x</think>");
  EXPECT_EQ(a.reasoning, "");
  EXPECT_EQ(a.content, "No thoughts <think>x</think>");
  a = parse_as(kFormat, "So.</think>Yes", "<|assistant|><think>\n");
  EXPECT_EQ(a.reasoning, "So.");
  EXPECT_EQ(a.content, "Yes");
  a = parse_as(kFormat, "cut off </thi", "<|assistant|><think>\n");
  EXPECT_EQ(a.reasoning, "cut off </thi");
  EXPECT_EQ(a.content, "");
  // A call in thoughts is a thought.
  a = parse_as(kFormat, "<think><tool_call>{\"name\": \"f2\"}</tool_call></think>");
  EXPECT_EQ(a.calls.size(), 0u);
  EXPECT_EQ(a.reasoning, "<tool_call>{\"name\": \"f2\"}</tool_call>");
  AnswerOptions options;
  options.thoughts = false;
  a = parse(named(kFormat), options, "<think>\nSo.</think>Yes");
  EXPECT_EQ(a.content, "<think>\nSo.</think>Yes");
  EXPECT_EQ(a.reasoning, "");
}

TEST(AnswerParser, WithoutToolsNothingIsACall) {
  constexpr std::string_view kText = "<tool_call>{\"name\": \"f2\", \"arguments\": {}}</tool_call>";
  EXPECT_EQ(parse(named("hermes"), {}, kText).content, kText);
}

TEST(AnswerParser, StreamsWhatCannotBeAMarker) {
  AnswerOptions options;
  options.tools = tools();
  AnswerParser parser(named("hermes, thoughts"), options);
  const auto text_of = [&](std::string_view piece) {
    std::string out;
    for (const AnswerDelta& d : parser.push(piece)) out += (d.kind == Kind::reasoning ? "r:" : "c:") + d.text;
    return out;
  };
  EXPECT_EQ(text_of("<thi"), "");
  EXPECT_EQ(text_of("nk>\nA"), "r:A");
  EXPECT_EQ(text_of(" b </"), "r: b");
  EXPECT_EQ(text_of("c"), "r: </c");
  EXPECT_EQ(text_of("</think>\n\n"), "");
  EXPECT_EQ(text_of("Hi <"), "c:Hi");
  EXPECT_EQ(text_of("b>"), "c: <b>");
}

TEST(AnswerParser, CallsAreOneDeltaEach) {
  AnswerOptions options;
  options.tools = tools();
  AnswerParser parser(named("mistral"), options);
  EXPECT_TRUE(parser.push("[TOOL_CALLS][{\"name\": \"f2\", \"arguments\": {\"n\": 1}, \"id\": \"abcdefgh1\"")
                  .empty());
  const auto deltas = parser.push("}, {\"name\": ");
  ASSERT_EQ(deltas.size(), 3u);
  EXPECT_EQ(deltas[0].kind, Kind::call_begin);
  EXPECT_EQ(deltas[0].text, "f2");
  EXPECT_EQ(deltas[0].id, "abcdefgh1");
  EXPECT_EQ(deltas[1].kind, Kind::call_arguments);
  EXPECT_EQ(deltas[1].text, "{\"n\": 1}");
  EXPECT_EQ(deltas[2].kind, Kind::call_end);
  const auto rest = parser.finish();
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].text, ", {\"name\": ");
}

// No part of a marker or of a call is text where tokens ran out; what may be no call is.
TEST(AnswerParser, WhatIsCutOffIsNoText) {
  AnswerOptions options;
  options.tools = tools();
  const auto rest = [&](std::string_view format, std::string_view text) {
    AnswerParser parser(named(std::string(format)), options);
    std::string out;
    for (const AnswerDelta& d : parser.push(text)) out += d.text;
    for (const AnswerDelta& d : parser.finish(/*cut_off=*/true)) out += d.text;
    return out;
  };
  EXPECT_EQ(rest("mistral", "Well [TOOL_CA"), "Well ");
  EXPECT_EQ(rest("mistral", "Well [TOOL_CALLS][{\"name\": \"f2\", \"argu"), "Well");
  EXPECT_EQ(rest("mistral", "Well ["), "Well [");
  EXPECT_EQ(rest("mistral", "Well then"), "Well then");
}

// A format that would end an id with nothing is none: a damaged manifest.
TEST(AnswerParser, FormatsThatEndAnIdWithNothingAreRefused) {
  AnswerFormat f = named("mistral, names before arguments");
  ASSERT_TRUE(AnswerFormat::from_text(f.to_text()));
  f.calls.id_end = " ";
  EXPECT_FALSE(AnswerFormat::from_text(f.to_text()));
}

TEST(AnswerParser, XmlValuesTooDeepForAnObjectAreContent) {
  const auto call = [](size_t depth) {
    return "<tool_call>\n<function=f2>\n<parameter=n>\n" + std::string(depth, '[') + std::string(depth, ']') +
           "\n</parameter>\n</function>\n</tool_call>";
  };
  EXPECT_EQ(parse_as("xml, name in the tag", call(63)).calls.size(), 1u);
  EXPECT_EQ(parse_as("xml, name in the tag", call(64)).content, call(64));
}

// Time grows with the length of the text, whatever it holds.
TEST(AnswerParser, LongTexts) {
  AnswerOptions options;
  options.tools = tools();
  for (const std::string_view unit :
       {"<tool_call>", "<tool_call>{", "<tool_call>{}", "<", "\n", "{\"name\": \"f2\"}"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    const Answer a = parse_pieces(named("hermes"), options, {text});
    EXPECT_EQ(a.content.size(), text.size()) << unit;
  }
}

}  // namespace
}  // namespace forge::rt
