// What is found out from templates: a table, checked by hand against their texts.
#include "runtime/core/answer_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "runtime/core/answer_messages.h"
#include "runtime/core/jinja_json.h"
#include "tests/runtime/answer_templates.h"

namespace forge::rt {
namespace {

// The members that differ from those of an empty format, one a line.
std::string summary(const AnswerFormat& f) {
  const std::string empty = AnswerFormat{}.to_text(), given = f.to_text();
  const auto plain = jinja::json_members(empty);
  std::string out;
  for (const jinja::JsonMember& m : jinja::json_members(given)) {
    const auto same = std::find_if(plain.begin(), plain.end(), [&](const auto& p) { return p.key == m.key; });
    if (same != plain.end() && same->value != m.value) out += m.key + ": " + std::string(m.value) + "\n";
  }
  return out;
}

const std::vector<ToolCall> kCalls = {{"abcdefgh1", "f", R"({"a": "x"})"},
                                      {"abcdefgh2", "g", R"({"b": true})"}};

struct Expected {
  std::string name, summary, calls;
};

constexpr const char* kHermesKeys =
    "calls.name_key: \"name\"\ncalls.arguments_key: \"arguments\"\ncalls.key_order: [\"name\", "
    "\"arguments\"]\n";
constexpr const char* kHermesCalls =
    "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}}\n</tool_call>\n<tool_call>\n{\"name\": "
    "\"g\", "
    "\"arguments\": {\"b\": true}}\n</tool_call>";

std::string hermes() {
  return "calls.style: \"json\"\ncalls.call_begin: \"<tool_call>\\n\"\ncalls.call_end: "
         "\"\\n</tool_call>\"\ncalls.separator: \"\\n\"\n" +
         std::string(kHermesKeys);
}
constexpr const char* kThink = "thinking.open: \"<think>\"\nthinking.close: \"</think>\"\n";

void check(const std::vector<AnswerTemplate>& templates, const std::vector<Expected>& table) {
  ASSERT_EQ(templates.size(), table.size());
  for (size_t i = 0; i < table.size(); ++i) {
    SCOPED_TRACE(table[i].name);
    ASSERT_EQ(templates[i].name, table[i].name);
    const AnswerFormat f = derived(templates[i].source);
    EXPECT_EQ(summary(f), table[i].summary);
    EXPECT_EQ(write_calls(f.calls, kCalls), table[i].calls);
    const auto back = AnswerFormat::from_text(f.to_text());
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->to_text(), f.to_text());
    EXPECT_EQ(f.to_text().find('\n'), std::string::npos);
  }
}

TEST(AnswerFormat, TemplatesOfRealModels) {
  const auto templates = real_templates();
  if (templates.empty()) GTEST_SKIP() << "SKIPPED: no folder ../shared/data/templates beside the checkout";
  const std::string native =
      "system_role: true\nlists_tools: true\nrenders_calls: true\nrenders_content: true\nrenders_results: "
      "true\nparallel_calls: true\n";
  check(
      templates,
      {
          {"HuggingFaceTB-SmolLM3-3B",
           std::string(kThink) +
               "thinking.variable: \"enable_thinking\"\nthinking.on_by_default: true\nthinking.when_off: "
               "\"closes\"\n" +
               hermes() + "system_role: true\nrenders_results: true\nparallel_calls: true\n",
           kHermesCalls},
          // Without the vocabulary nothing says how it calls.
          {"LFM2.5-Instruct",
           std::string(kThink) + hermes() +
               "system_role: true\nrenders_results: true\nparallel_calls: true\n",
           kHermesCalls},
          {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
           hermes() + "system_role: true\nlists_tools: true\nempty_tools: true\nrenders_calls: "
                      "true\nrenders_results: "
                      "true\nparallel_calls: true\n",
           kHermesCalls},
          {"Qwen-Qwen2.5-7B-Instruct", hermes() + native, kHermesCalls},
          {"Qwen-Qwen3-0.6B",
           std::string(kThink) +
               "thinking.message_key: \"reasoning_content\"\nthinking.variable: "
               "\"enable_thinking\"\nthinking.on_by_default: true\nthinking.when_off: \"closes\"\n" +
               hermes() + native,
           kHermesCalls},
          {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
           std::string(kThink) +
               "thinking.variable: \"enable_thinking\"\nthinking.by_default: \"closes\"\nthinking.when_on: "
               "\"opens\"\nthinking.when_off: \"closes\"\ncalls.style: \"named_json\"\ncalls.section_begin: "
               "\"<｜tool▁calls▁begin｜>\"\ncalls.call_begin: "
               "\"<｜tool▁call▁begin｜>function<｜tool▁sep｜>\"\ncalls.call_end: "
               "\"\\n```<｜tool▁call▁end｜>\"\ncalls.separator: \"\\n\"\ncalls.section_end: "
               "\"<｜tool▁calls▁end｜>\"\ncalls.name_end: \"\\n```json\\n\"\nsystem_role: "
               "true\nrenders_calls: "
               "true\nrenders_results: true\nparallel_calls: true\nnull_content: true\n",
           "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": "
           "\"x\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{\"b\": "
           "true}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
          {"google-gemma-2-2b-it", hermes() + "parallel_calls: true\n", kHermesCalls},
          {"ibm-granite-granite-3.3-2B-Instruct",
           std::string(kThink) +
               "thinking.variable: \"thinking\"\ncalls.style: \"any\"\ncalls.section_begin: "
               "\"<|tool_call|>\"\nsystem_role: true\nlists_tools: true\nrenders_results: "
               "true\nparallel_calls: true\n",
           "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}}, {\"name\": \"g\", \"arguments\": "
           "{\"b\": "
           "true}}]"},
          {"meta-llama-Llama-3.2-3B-Instruct",
           "calls.style: \"json\"\ncalls.name_key: \"name\"\ncalls.arguments_key: "
           "\"parameters\"\ncalls.key_order: "
           "[\"name\", \"parameters\"]\nsystem_role: true\nlists_tools: true\nrenders_calls: "
           "true\nrenders_results: "
           "true\n",
           "{\"name\": \"f\", \"parameters\": {\"a\": \"x\"}}{\"name\": \"g\", \"parameters\": {\"b\": "
           "true}}"},
          {"microsoft-Phi-3.5-mini-instruct", hermes() + "system_role: true\nparallel_calls: true\n",
           kHermesCalls},
          {"mistralai-Mistral-Nemo-Instruct-2407",
           "calls.style: \"json\"\ncalls.list: true\ncalls.section_begin: \"[TOOL_CALLS]\"\ncalls.separator: "
           "\", "
           "\"\ncalls.name_key: \"name\"\ncalls.arguments_key: \"arguments\"\ncalls.id_key: "
           "\"id\"\ncalls.key_order: "
           "[\"name\", \"arguments\", \"id\"]\nsystem_role: true\nlists_tools: true\nrenders_calls: "
           "true\nrenders_results: true\nparallel_calls: true\ncall_id_length: 9\n",
           "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}, \"id\": \"abcdefgh1\"}, {\"name\": "
           "\"g\", "
           "\"arguments\": {\"b\": true}, \"id\": \"abcdefgh2\"}]"},
      });
}

TEST(AnswerFormat, OurTemplates) {
  const std::string native =
      "system_role: true\nlists_tools: true\nrenders_calls: true\nrenders_content: true\nrenders_results: "
      "true\n";
  const std::string many = native + "parallel_calls: true\n";
  const std::string reasoning = "thinking.message_key: \"reasoning_content\"\n";
  const std::string hermes_keys = kHermesKeys;
  const std::string list_calls =
      "[{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}}, {\"name\": \"g\", \"arguments\": {\"b\": true}}]";
  check(
      own_templates(),
      {
          {"hermes", hermes() + many, kHermesCalls},
          {"hermes, thoughts", kThink + reasoning + hermes() + many, kHermesCalls},
          {"hermes, prompt opens thoughts",
           kThink + reasoning + "thinking.by_default: \"opens\"\n" + hermes() + many, kHermesCalls},
          {"hermes, [THINK]",
           "thinking.open: \"[THINK]\"\nthinking.close: \"[/THINK]\"\n" + reasoning + hermes() + many,
           kHermesCalls},
          {"mistral",
           "calls.style: \"json\"\ncalls.list: true\ncalls.section_begin: \"[TOOL_CALLS]\"\ncalls.separator: "
           "\", "
           "\"\ncalls.name_key: \"name\"\ncalls.arguments_key: \"arguments\"\ncalls.id_key: "
           "\"id\"\ncalls.key_order: [\"name\", \"arguments\", \"id\"]\n" +
               many,
           "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}, \"id\": \"abcdefgh1\"}, {\"name\": "
           "\"g\", \"arguments\": {\"b\": true}, \"id\": \"abcdefgh2\"}]"},
          {"mistral, names before arguments",
           "calls.style: \"named_json\"\ncalls.call_begin: \"[TOOL_CALLS]\"\ncalls.name_end: "
           "\"[CALL_ID]\"\ncalls.id_end: \"[ARGS]\"\n" +
               many,
           "[TOOL_CALLS]f[CALL_ID]abcdefgh1[ARGS]{\"a\": \"x\"}[TOOL_CALLS]g[CALL_ID]abcdefgh2[ARGS]{\"b\": "
           "true}"},
          {"granite",
           "calls.style: \"json\"\ncalls.list: true\ncalls.section_begin: "
           "\"<|tool_call|>\"\ncalls.separator: \", "
           "\"\n" +
               hermes_keys + many,
           "<|tool_call|>" + list_calls},
          {"command-r",
           "calls.style: \"json\"\ncalls.list: true\ncalls.section_begin: "
           "\"<|START_ACTION|>\"\ncalls.separator: \", "
           "\"\ncalls.section_end: \"<|END_ACTION|>\"\ncalls.name_key: \"tool_name\"\ncalls.arguments_key: "
           "\"parameters\"\ncalls.id_key: \"tool_call_id\"\ncalls.key_order: [\"tool_call_id\", "
           "\"tool_name\", "
           "\"parameters\"]\n" +
               many,
           "<|START_ACTION|>[{\"tool_call_id\": \"abcdefgh1\", \"tool_name\": \"f\", \"parameters\": {\"a\": "
           "\"x\"}}, {\"tool_call_id\": \"abcdefgh2\", \"tool_name\": \"g\", \"parameters\": {\"b\": "
           "true}}]<|END_ACTION|>"},
          {"llama",
           "calls.style: \"json\"\ncalls.name_key: \"name\"\ncalls.arguments_key: "
           "\"parameters\"\ncalls.key_order: "
           "[\"name\", \"parameters\"]\n" +
               native,
           "{\"name\": \"f\", \"parameters\": {\"a\": \"x\"}}{\"name\": \"g\", \"parameters\": {\"b\": "
           "true}}"},
          {"string arguments",
           "calls.style: \"json\"\ncalls.call_begin: \"<tool_call>\"\ncalls.call_end: \"</tool_call>\"\n" +
               hermes_keys + many + "string_arguments: true\n",
           "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}}</tool_call><tool_call>{\"name\": "
           "\"g\", "
           "\"arguments\": {\"b\": true}}</tool_call>"},
          {"python list", "calls.style: \"python\"\ncalls.list: true\ncalls.separator: \", \"\n" + many,
           "[f(a=\"x\"), g(b=True)]"},
          {"python list, markers",
           "calls.style: \"python\"\ncalls.list: true\ncalls.section_begin: "
           "\"<|tool_call_start|>\"\ncalls.separator: \", \"\ncalls.section_end: \"<|tool_call_end|>\"\n" +
               many,
           "<|tool_call_start|>[f(a=\"x\"), g(b=True)]<|tool_call_end|>"},
          {"xml, name in the tag",
           "calls.style: \"xml\"\ncalls.call_begin: \"<tool_call>\\n<function=\"\ncalls.call_end: "
           "\"</function>\\n</tool_call>\"\ncalls.separator: \"\\n\"\ncalls.name_end: "
           "\">\\n\"\ncalls.parameter_begin: \"<parameter=\"\ncalls.parameter_middle: "
           "\">\\n\"\ncalls.parameter_end: \"\\n</parameter>\\n\"\n" +
               many,
           "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n</"
           "tool_call>\n<tool_call>\n"
           "<function=g>\n<parameter=b>\ntrue\n</parameter>\n</function>\n</tool_call>"},
          {"xml, keys and values",
           "calls.style: \"xml\"\ncalls.call_begin: \"<tool_call>\"\ncalls.call_end: "
           "\"</tool_call>\"\ncalls.separator: \"\\n\"\ncalls.name_end: \"\\n\"\ncalls.parameter_begin: "
           "\"<arg_key>\"\ncalls.parameter_middle: \"</arg_key>\\n<arg_value>\"\ncalls.parameter_end: "
           "\"</arg_value>\\n\"\n" +
               many,
           "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n</tool_call>\n<tool_call>g\n"
           "<arg_key>b</arg_key>\n<arg_value>true</arg_value>\n</tool_call>"},
          {"xml, attributes",
           "calls.style: \"xml\"\ncalls.section_begin: \"<calls>\\n\"\ncalls.call_begin: \"<invoke "
           "name=\\\"\"\ncalls.call_end: \"</invoke>\"\ncalls.separator: \"\\n\"\ncalls.section_end: "
           "\"\\n</calls>\"\ncalls.name_end: \"\\\">\\n\"\ncalls.parameter_begin: \"<parameter "
           "name=\\\"\"\ncalls.parameter_middle: \"\\\">\"\ncalls.parameter_end: \"</parameter>\\n\"\n" +
               many,
           "<calls>\n<invoke name=\"f\">\n<parameter name=\"a\">x</parameter>\n</invoke>\n<invoke "
           "name=\"g\">\n<parameter name=\"b\">true</parameter>\n</invoke>\n</calls>"},
          {"deepseek",
           "calls.style: \"named_json\"\ncalls.section_begin: \"<｜tool▁calls▁begin｜>\"\ncalls.call_begin: "
           "\"<｜tool▁call▁begin｜>function<｜tool▁sep｜>\"\ncalls.call_end: "
           "\"\\n```<｜tool▁call▁end｜>\"\ncalls.separator: \"\\n\"\ncalls.section_end: "
           "\"<｜tool▁calls▁end｜>\"\ncalls.name_end: \"\\n```json\\n\"\n" +
               many,
           "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": "
           "\"x\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{\"b\": "
           "true}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
          {"function tag",
           "calls.style: \"named_json\"\ncalls.call_begin: \"<function=\"\ncalls.call_end: "
           "\"</function>\"\ncalls.separator: \"\\n\"\ncalls.name_end: \">\"\n" +
               many,
           "<function=f>{\"a\": \"x\"}</function>\n<function=g>{\"b\": true}</function>"},
      });
}

// The vocabulary says what the template does not.
TEST(AnswerFormat, MarkersFromTheVocabulary) {
  const std::string source =
      "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|{{ m.role }}|>{{ m.content "
      "}}<|end|>{% "
      "endfor %}";
  const AnswerFormat f =
      derived(source, {{"<|tool_list_start|>", "<|tool_call_end|>", "<|tool_call_start|>"}});
  EXPECT_EQ(f.calls.style, CallStyle::any);
  EXPECT_EQ(f.calls.section_begin, "<|tool_call_start|>");
  EXPECT_EQ(f.calls.section_end, "<|tool_call_end|>");
  EXPECT_TRUE(f.native_tools());
  EXPECT_TRUE(f.has_marker("<|tool_call_end|>"));
  EXPECT_FALSE(f.has_marker("<|tool_list_start|>"));
  EXPECT_FALSE(f.has_marker(""));
  EXPECT_FALSE(derived(source).native_tools());
}

TEST(AnswerFormat, ThoughtsCutOutOfEarlierAnswers) {
  const AnswerFormat f = derived(
      "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}{% endfor %}{% if "
      "add_generation_prompt %}<|assistant|>{% endif %}");
  EXPECT_EQ(f.thinking.open, "<think>");
  EXPECT_EQ(f.thinking.close, "</think>");
  EXPECT_EQ(f.thinking.message_key, "");
}

// A template that refuses or fails at everything gives a format, and quickly.
TEST(AnswerFormat, HostileTemplates) {
  for (const std::string source :
       {"", "{{ raise_exception('no') }}",
        "{% for m in messages %}{{ m.content }}{{ m.tool_calls }}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}", "{{ messages }}",
        "{{ messages | tojson }}", "{{ tools | tojson }}{{ messages | tojson }}",
        "{{ '{' * 100000 }}{{ messages | tojson }}",
        "{% for m in messages %}{{ '<' * 3000 }}{{ m | tojson }}{% endfor %}"}) {
    const AnswerFormat f = derived(source);
    EXPECT_TRUE(AnswerFormat::from_text(f.to_text())) << source;
  }
}

TEST(AnswerFormat, DamagedTextIsRefused) {
  const std::string good = derived(own_templates()[1].source).to_text();
  for (size_t i = 0; i < good.size(); ++i) EXPECT_FALSE(AnswerFormat::from_text(good.substr(0, i))) << i;
  const auto refused = [&](std::string_view what, std::string_view now) {
    std::string bad = good;
    const size_t at = bad.find(what);
    ASSERT_NE(at, std::string::npos) << what;
    bad.replace(at, what.size(), now);
    const auto f = AnswerFormat::from_text(bad);
    ASSERT_FALSE(f) << bad;
    EXPECT_EQ(f.error().message.find('\n'), std::string::npos);
  };
  refused("\"version\": 1", "\"version\": 2");
  refused("\"json\"", "\"jason\"");
  refused("\"leaves\"", "\"Leaves\"");
  refused("\"system_role\": true", "\"system_role\": 1");
  refused("\"call_id_length\": 0", "\"call_id_length\": -1");
  refused("\"call_id_length\": 0", "\"call_id_length\": 1000");
  refused("[\"name\", \"arguments\"]", "[\"name\"]");
  refused("[\"name\", \"arguments\"]", "[\"name\", \"name\"]");
  refused("\"</think>\"", "\"\"");
  refused("\"</think>\"", "\" </think>\"");
  refused("\"</think>\"", "\"" + std::string(300, 'x') + "\"");
  refused("\"json\"", "\"xml\"");  // needs markers that are not there
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string bad = good;
    for (int n = 0; n < 3; ++n) bad[random() % bad.size()] = static_cast<char>(32 + random() % 95);
    const auto f = AnswerFormat::from_text(bad);
    if (f) EXPECT_TRUE(AnswerFormat::from_text(f->to_text())) << bad;
  }
}

TEST(AnswerFormat, MarkerParts) {
  using V = std::vector<std::string>;
  EXPECT_EQ(marker_parts(""), V{});
  EXPECT_EQ(marker_parts(" \n"), V{});
  EXPECT_EQ(marker_parts("<a><b>\n<function="), (V{"<a>", "<b>", "<function="}));
  EXPECT_EQ(marker_parts("[TOOL_CALLS][ x"), (V{"[TOOL_CALLS]", "[", "x"}));
  EXPECT_EQ(marker_parts("function<｜tool▁sep｜>"), (V{"function", "<｜tool▁sep｜>"}));
  EXPECT_EQ(marker_parts("\n```json\n"), V{"```json"});
  EXPECT_EQ(marker_parts("<parameter name=\""), (V{"<parameter", "name=\""}));
}

const char* const kTools =
    R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}])";
const char* const kConversation = R"([
  {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Go"},
  {"role": "assistant", "content": "Now.", "reasoning_content": "Hm.", "tool_calls": [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
    {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": ""}}]},
  {"role": "tool", "tool_call_id": "call_1", "content": "one"},
  {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]}])";

std::string prepared(const AnswerFormat& f, std::string_view messages, std::string_view tools) {
  const auto c = prepare_messages(f, json(messages), json(tools));
  if (!c) return c.error().message;
  const auto writer = ChatTemplate::parse("{{ messages | tojson }} {{ tools | tojson }}");
  const jinja::DictBuilder variables;
  variables->set("tools", c->tools);
  RenderOptions options;
  options.variables = variables.value();
  const auto out = writer->render(c->messages, options);
  return out ? *out : out.error().message;
}

TEST(PrepareMessages, ForATemplateThatKnowsAll) {
  AnswerFormat f = derived(own_templates()[1].source);
  EXPECT_EQ(
      prepared(f, kConversation, kTools),
      R"([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Go"}, {"role": "assistant", "reasoning_content": "Hm.", "content": "Now.", "tool_calls": [{"type": "function", "id": "call_1", "function": {"name": "f", "arguments": {"a": 1}}}, {"type": "function", "id": "call_2", "function": {"name": "f", "arguments": {}}}]}, {"role": "tool", "content": "one", "tool_call_id": "call_1"}, {"role": "tool", "content": [{"type": "text", "text": "two"}], "tool_call_id": "call_2"}] )" +
          std::string(kTools));
  f.thinking.message_key = "thinking";
  f.string_arguments = true;
  f.call_id_length = 9;
  const std::string other = prepared(f, kConversation, "null");
  EXPECT_NE(other.find("\"thinking\": \"Hm.\""), std::string::npos) << other;
  EXPECT_EQ(other.find("reasoning_content"), std::string::npos) << other;
  EXPECT_NE(other.find(R"("arguments": "{\"a\": 1}")"), std::string::npos) << other;
  EXPECT_TRUE(other.ends_with(" null")) << other;
  // A call and its result keep the same id.
  EXPECT_EQ(other.find("call_1"), std::string::npos) << other;
  const size_t id = other.find("\"id\": \"");
  ASSERT_NE(id, std::string::npos);
  EXPECT_EQ(other[id + 16], '"') << other;
  EXPECT_NE(other.find("\"tool_call_id\": \"" + other.substr(id + 7, 9) + '"'), std::string::npos) << other;
}

TEST(PrepareMessages, ForATemplateThatKnowsNothing) {
  const AnswerFormat f = derived(
      "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('role') }}{% "
      "endif %}<|{{ "
      "m.role }}|>{{ m.content }}{% endfor %}");
  EXPECT_FALSE(f.native_tools());
  EXPECT_FALSE(f.system_role);
  EXPECT_EQ(
      prepared(f, kConversation, kTools),
      R"([{"role": "user", "content": "You may call one or more functions. These are the functions:\n{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}}\nTo call a function, write nothing but\n<tool_call>\n{\"name\": \"FUNCTION\", \"arguments\": {\"ARGUMENT\": \"VALUE\"}}\n</tool_call>\n\nBe kind.\n\nGo"}, {"role": "assistant", "reasoning_content": "Hm.", "content": "Now.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"}, {"role": "user", "content": "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>"}] null)");
}

TEST(PrepareMessages, WrongShapesAreNamed) {
  const AnswerFormat f = derived(own_templates()[0].source);
  EXPECT_EQ(prepared(f, "{}", "null"), "messages: expected a list");
  EXPECT_EQ(prepared(f, "[]", "1"), "tools: expected a list");
  EXPECT_EQ(prepared(f, R"([{"role": "user", "content": ""}, 5])", "null"),
            "messages[1]: expected an object with \"role\"");
  EXPECT_EQ(prepared(f, R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])", "null"),
            "messages[0].tool_calls: expected {\"function\": {\"name\", \"arguments\"}}");
  for (const std::string arguments : {"\"[1]\"", "\"{\"", "1", "null", "[]"}) {
    EXPECT_EQ(prepared(f,
                       R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": )" +
                           arguments + "}}]}]",
                       "null"),
              "messages[0].tool_calls: \"arguments\" must be the text of a JSON object")
        << arguments;
  }
}

}  // namespace
}  // namespace forge::rt
