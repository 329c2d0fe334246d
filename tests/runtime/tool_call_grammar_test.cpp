// Forced calls: what a model would write of them is allowed, arguments that break the tool's schema are not, and what is
// allowed is what the parser reads.
#include "runtime/core/tool_call_grammar.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/answer_parser.h"
#include "runtime/core/grammar_matcher.h"
#include "runtime/core/jinja_json.h"
#include "runtime/core/token_masks.h"
#include "tests/runtime/answer_templates.h"

namespace forge::rt {
namespace {

AnswerFormat format_of(std::string_view name) {
  for (const AnswerTemplate& t : own_templates())
    if (t.name == name) return derived(t.source);
  ADD_FAILURE() << name;
  return {};
}

const std::vector<std::string> kNone;  // of the tools are strict

// The tool "f" with such parameters.
jinja::Value tool(const std::string& parameters) {
  return json(R"([{"type": "function", "function": {"name": "f", "parameters": )" + parameters + "}}]");
}

bool matches(const Grammar& grammar, std::string_view s) {
  const GrammarAutomaton automaton = make_automaton(grammar);
  ReadingSet set(automaton);
  GrammarPosition p = grammar_start(automaton, set);
  for (const char c : s) {
    const auto byte = static_cast<uint8_t>(c);
    if (!advance(automaton, set, p, {&byte, 1})) return false;
  }
  return p.complete;
}

constexpr std::string_view kParameters =
    R"({"type": "object", "properties": {
      "city": {"type": "string"}, "unit": {"enum": ["c", "f"], "type": "string"},
      "days": {"type": "integer", "minimum": 1, "maximum": 9}, "exact": {"type": ["boolean", "null"]},
      "where": {"$ref": "#/$defs/place"}},
     "$defs": {"place": {"type": "object", "properties": {"at": {"type": "array", "items": {"type": "number"}}, "in":
      {"$ref": "#/$defs/place"}}}},
     "required": ["city", "days"]})";

TEST(ToolCallGrammar, HoldsArgumentsToTheSchemaInEveryFormat) {
  const jinja::Value tools = tool(std::string(kParameters));
  const std::vector<std::string> yes = {
      R"({"city": "x", "days": 2})",
      R"({"city": "Zürich <b> \"W\"\n</x", "unit": "f", "days": 9, "exact": null, "where": {"at": [1.5, -2], "in": {}}})",
      R"({"city": "", "days": 1, "exact": true, "where": {"in": {"in": {"at": []}}}})"};
  const std::vector<std::string> no = {R"({"city": "x"})",
                                       R"({"city": "x", "days": 10})",
                                       R"({"city": "x", "days": "2"})",
                                       R"({"city": "x", "unit": "k", "days": 2})",
                                       R"({"city": "x", "days": 2, "more": 1})",
                                       R"({"city": "x", "days": 2, "where": {"at": ["1"]}})",
                                       R"({"city": "x", "days": 2, "exact": 0})",
                                       "{}"};
  for (const AnswerTemplate& t : own_templates()) {
    SCOPED_TRACE(t.name);
    const AnswerFormat f = derived(t.source);
    const auto g = tool_call_grammar(f, tools, {});
    ASSERT_TRUE(g) << g.error().message;
    for (const std::string& arguments : yes) {
      const std::string said = write_calls(f.calls, {{"abcdefgh1", "f", arguments}});
      EXPECT_TRUE(matches(*g, said)) << said;
      EXPECT_EQ(
          matches(*g, write_calls(f.calls, {{"abcdefgh1", "f", arguments}, {"abcdefgh2", "f", arguments}})),
          f.parallel_calls);
    }
    for (const std::string& arguments : no) {
      const std::string said = write_calls(f.calls, {{"abcdefgh1", "f", arguments}});
      // Between tags a string looks as its text does.
      if (f.calls.style == CallStyle::xml && arguments.find("\"2\"") != std::string::npos) continue;
      EXPECT_FALSE(matches(*g, said)) << said;
    }
    EXPECT_FALSE(matches(*g, write_calls(f.calls, {{"abcdefgh1", "g", yes[0]}})));
    EXPECT_FALSE(matches(*g, ""));
    const auto one = tool_call_grammar(f, tools, {.parallel = false});
    ASSERT_TRUE(one);
    EXPECT_TRUE(matches(*one, write_calls(f.calls, {{"abcdefgh1", "f", yes[0]}})));
    EXPECT_FALSE(
        matches(*one, write_calls(f.calls, {{"abcdefgh1", "f", yes[0]}, {"abcdefgh2", "f", yes[0]}})));
    const auto any = tool_call_grammar(f, tools, {.strict = &kNone});
    ASSERT_TRUE(any);
    for (const std::string& arguments : no)
      EXPECT_TRUE(matches(*any, write_calls(f.calls, {{"abcdefgh1", "f", arguments}}))) << arguments;
  }
}

TEST(ToolCallGrammar, TextBetweenTagsIsHeldToItsKeywords) {
  const AnswerFormat f = format_of("xml, name in the tag");
  const auto said = [](std::string_view value) {
    return "<tool_call>\n<function=f>\n<parameter=s>\n" + std::string(value) +
           "\n</parameter>\n</function>\n</tool_call>";
  };
  const auto check = [&](const std::string& schema, std::string_view value) {
    const auto g =
        tool_call_grammar(f, tool(R"({"properties": {"s": )" + schema + R"(}, "required": ["s"]})"), {});
    EXPECT_TRUE(g) << g.error().message;
    return g && (matches(*g, said(value)) || matches(*g, "\n" + said(value)));
  };
  EXPECT_TRUE(check(R"({"type": "string"})", "<p>a</p>\n</param"));
  EXPECT_FALSE(check(R"({"type": "string"})", "a</parameter>b"));
  EXPECT_TRUE(check(R"({"type": "string", "pattern": "^[a-z]+$"})", "abc"));
  EXPECT_FALSE(check(R"({"type": "string", "pattern": "^[a-z]+$"})", "aBc"));
  EXPECT_FALSE(check(R"({"type": "string", "pattern": "^a.*$"})", "a</parameter>"));
  EXPECT_TRUE(check(R"({"type": "string", "maxLength": 3})", "\u00e9\"x"));
  EXPECT_FALSE(check(R"({"type": "string", "maxLength": 3})", "abcd"));
  EXPECT_TRUE(check(R"({"type": "string", "format": "date"})", "2024-02-29"));
  // Where other values are possible, too, it is JSON.
  EXPECT_TRUE(check(R"({"type": ["string", "null"]})", "\"a\""));
  EXPECT_TRUE(check(R"({"type": ["string", "null"]})", "null"));
  EXPECT_FALSE(check(R"({"type": ["string", "null"]})", "a"));
}

TEST(ToolCallGrammar, WhatCannotBeHonouredIsNamed) {
  const AnswerFormat f = format_of("hermes");
  const auto message = [&](const AnswerFormat& format, const jinja::Value& tools,
                           const ToolCallGrammarOptions& options = {}) {
    const auto g = tool_call_grammar(format, tools, options);
    EXPECT_FALSE(g);
    return g ? std::string() : g.error().message;
  };
  EXPECT_EQ(
      message(f, tool(R"({"properties": {"a": {"multipleOf": 3}}})")),
      "tools: the function 'f': JSON schema, #/properties/a/multipleOf: this keyword can't be honoured");
  EXPECT_EQ(message(f, tool(R"({"type": "string"})")),
            "tools: the function 'f': JSON schema, #/type: no type is left beside the other schemas' types");
  // Not asked for, not read.
  const std::vector<std::string> strict = {"f"};
  EXPECT_TRUE(tool_call_grammar(f, tool(R"({"properties": {"a": {"multipleOf": 3}}})"), {.strict = &kNone}));
  EXPECT_FALSE(
      tool_call_grammar(f, tool(R"({"properties": {"a": {"multipleOf": 3}}})"), {.strict = &strict}));
  EXPECT_EQ(message(f, tool("{}"), {.name = "h"}), "tool_choice: no tool is called 'h'");
  EXPECT_EQ(message({}, tool("{}")), "tool_choice: the chat template has no tool calls");
  EXPECT_EQ(message(f, json("[{}]")), R"(tools: expected {"function": {"name": …}})");
  EXPECT_NE(
      message(format_of("python list"), tool(R"({"properties": {"a b": {}}})")).find("#/properties/a b"),
      std::string::npos);
  EXPECT_NE(message(format_of("xml, keys and values"),
                    tool(R"({"properties": {"a": {"type": "string", "const": "</arg_value>"}}})"))
                .find("#/properties/a/const"),
            std::string::npos);
}

TEST(ToolCallGrammar, CallOpenings) {
  EXPECT_EQ(call_opening(format_of("hermes").calls), "<tool_call>");
  EXPECT_EQ(call_opening(format_of("mistral").calls), "[TOOL_CALLS]");
  EXPECT_EQ(call_opening(format_of("llama").calls), "");
}

// Texts that the masks lead to, token by token, come out of the parser as calls; control tokens, whose names ordinary
// tokens spell as well, stand where the markers do.
TEST(ToolCallGrammar, WhatIsAllowedIsRead) {
  const jinja::Value tools = json(R"([
    {"type": "function", "function": {"name": "f", "parameters": {"properties": {
      "s": {"type": "string", "enum": ["one", "<two>"]}, "n": {"type": "integer", "minimum": 0, "maximum": 99},
      "b": {"type": "boolean"}}, "required": ["s"]}}},
    {"type": "function", "function": {"name": "g", "parameters": {"properties": {"l": {"maxItems": 2, "items":
      {"const": "\u00e9"}}}}}}])");
  for (const AnswerTemplate& t : own_templates()) {
    SCOPED_TRACE(t.name);
    const AnswerFormat f = derived(t.source);
    // Bytes, an end, and the tags of the format.
    std::vector<std::string> pieces;
    pieces.reserve(300);
    for (int byte = 0; byte < 255; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
    pieces.emplace_back();
    constexpr uint32_t kEnd = 256;
    pieces.emplace_back("<end>");
    std::vector<MarkerToken> tokens;
    for (const std::string* marker : {&f.calls.section_begin, &f.calls.call_begin, &f.calls.call_end}) {
      for (const std::string& part : marker_parts(*marker)) {
        if (part.front() != '<' || part.back() != '>') continue;
        tokens.push_back({part, static_cast<int32_t>(pieces.size())});
        pieces.push_back(token_terminal(tokens.back().token));
      }
    }
    const uint32_t ends[] = {kEnd};
    const auto g = tool_call_grammar(f, tools, {.tokens = tokens});
    ASSERT_TRUE(g) << g.error().message;
    const auto masks =
        std::make_shared<TokenMasks>(make_vocabulary_trie(pieces, ends), *read_grammar(write_grammar(*g)));
    uint64_t seed = 7;
    for (int run = 0; run < 20; ++run) {
      GrammarState state(masks);
      std::string said;
      bool marked = tokens.empty();
      for (int step = 0; !state.only_end_left() && step < 2000; ++step) {
        std::vector<uint32_t> allowed;
        const auto mask = state.allowed();
        for (uint32_t token = 0; token < pieces.size(); ++token) {
          const bool is_allowed = (mask[token / 32] >> (token % 32) & 1) != 0;
          EXPECT_EQ(is_allowed, GrammarState(state).accept(static_cast<int32_t>(token))) << token;
          if (is_allowed) allowed.push_back(token);
        }
        ASSERT_FALSE(allowed.empty()) << said;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const uint32_t token = allowed[(seed >> 33) % allowed.size()];
        ASSERT_TRUE(state.accept(static_cast<int32_t>(token)));
        if (token == kEnd) break;
        if (token < 255) said += pieces[token];
        for (const MarkerToken& m : tokens) {
          if (static_cast<uint32_t>(m.token) != token) continue;
          said += m.name;
          marked = true;
        }
      }
      ASSERT_TRUE(state.complete()) << said;
      EXPECT_TRUE(marked) << said;
      AnswerParser parser(f, {.tools = tools});
      std::vector<AnswerDelta> deltas = parser.push(said);
      for (AnswerDelta& d : parser.finish()) deltas.push_back(std::move(d));
      EXPECT_GE(parser.n_calls(), 1u) << said;
      for (const AnswerDelta& d : deltas) {
        EXPECT_NE(d.kind, AnswerDelta::Kind::content) << said;
        if (d.kind != AnswerDelta::Kind::call_arguments) continue;
        const auto schema = json_schema_grammar(json(
            R"({"anyOf": [{"properties": {"s": {"enum": ["one", "<two>"]}, "n": {"type": "integer"}, "b": {"type":
              "boolean"}}, "required": ["s"]}, {"properties": {"l": {"maxItems": 2, "items": {"const": "\u00e9"}}}}]})"));
        ASSERT_TRUE(schema);
        EXPECT_TRUE(matches(*schema, d.text)) << d.text;
      }
    }
  }
}

}  // namespace
}  // namespace forge::rt
