#include "runtime/core/grammar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/grammar_matcher.h"
#include "runtime/core/jinja_json.h"
#include "tests/runtime/grammar_rig.h"

namespace forge::rt {
namespace {

// Runs texts through a grammar, byte by byte.
struct Matcher {
  explicit Matcher(const Grammar& grammar) : automaton(make_automaton(grammar)), set(automaton) {}
  bool matches(std::string_view s) {
    GrammarPosition p = grammar_start(automaton, set);
    for (const char c : s) {
      const auto byte = static_cast<uint8_t>(c);
      if (!advance(automaton, set, p, {&byte, 1})) return false;
    }
    return p.complete;
  }
  GrammarAutomaton automaton;
  ReadingSet set;
};

struct Case {
  std::string grammar;
  std::vector<std::string> yes, no;
};

void check(const std::vector<Case>& cases, const auto& make) {
  for (const Case& c : cases) {
    const Result<Grammar> g = make(c.grammar);
    ASSERT_TRUE(g) << c.grammar << ": " << g.error().message;
    Matcher m(*g);
    for (const auto& s : c.yes) EXPECT_TRUE(m.matches(s)) << c.grammar << " should match " << s;
    for (const auto& s : c.no) EXPECT_FALSE(m.matches(s)) << c.grammar << " should not match " << s;
    // What is written and read again is the same grammar.
    const auto bytes = write_grammar(*g);
    const auto again = read_grammar(bytes);
    ASSERT_TRUE(again) << c.grammar << ": " << again.error().message;
    EXPECT_EQ(write_grammar(*again), bytes);
  }
}

struct Refusal {
  std::string grammar, message;
};

void check_refusals(const std::vector<Refusal>& cases, const auto& make) {
  for (const auto& c : cases) {
    const Result<Grammar> g = make(c.grammar);
    ASSERT_FALSE(g) << c.grammar;
    EXPECT_NE(g.error().message.find(c.message), std::string::npos) << c.grammar << ": " << g.error().message;
    EXPECT_EQ(g.error().message.find('\n'), std::string::npos) << c.grammar;
  }
}

const auto kGbnf = [](const std::string& s) { return parse_gbnf(s); };
const auto kRegex = [](const std::string& s) { return regex_grammar(s); };
const auto kSchema = [](const std::string& s) { return schema_grammar(s); };

TEST(Gbnf, Matches) {
  check(
      {
          {R"(root ::= "a" "b" | "c")", {"ab", "c"}, {"", "a", "b", "abc", "cc"}},
          {"# a comment\nroot ::= (\n  \"a\" # one\n  | \"b\"\n)* \"\\n\"\n",
           {"\n", "abba\n"},
           {"", "a", "c\n"}},
          {"root ::= x y?\nx ::= [a-c]+\ny ::= [^a-c\\n]{2}",
           {"a", "abcdd", "a\u00e9\u00e9"},
           {"", "add d", "ad", "a\n\n"}},
          {R"(root ::= "x"{3})", {"xxx"}, {"xx", "xxxx"}},
          {R"(root ::= "xy"{1,2} "z"{2,})", {"xyzz", "xyxyzzzzz"}, {"zz", "xyz", "xyxyxyzz"}},
          {R"(root ::= "x"{0,2})", {"", "x", "xx"}, {"xxx"}},
          {R"(root ::= "\x41\u00e9\U0001F600\t\"\\\[\]")", {"A\u00e9\U0001F600\t\"\\[]"}, {"A"}},
          {R"(root ::= [\]a-]+)", {"]a-"}, {"b"}},
          {"root ::= .",
           {"a", "\n", "\u00e9", "\u20ac", "\U0010FFFF"},
           {"", "ab", "\x80", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80"}},
          {"root ::= [\u0400-\u04ff\U0001F600-\U0001F64F]+",
           {"\u0416\U0001F600", "\u04ff"},
           {"a", "\u0500", "\u03ff", "\U0001F650"}},
          // Recursion, in the middle and at the end.
          {"root ::= \"(\" root \")\" | \"x\"", {"x", "((x))"}, {"(x", "x)", "()", "((x)"}},
          {"root ::= \"a\" root | \"b\"", {"b", "aaaaaaaab"}, {"a", "ba"}},
          // Two readings at once, which part late.
          {"root ::= a \"1\" | b \"2\"\na ::= \"x\" a | \"x\" a \"y\" | \"x\"\nb ::= \"x\" b | \"x\"",
           {"xxx1", "xxx2", "xxxyy1"},
           {"xxyy1", "xxy2", "1"}},
          {"root ::= list\nlist ::= item (\",\" ws item)*\nitem ::= [0-9]+ | \"[\" ws list? ws \"]\"\nws ::= "
           "\" \"*",
           {"1", "1, 2", "[[], [1,  2]]", "[ ]"},
           {"", "1,", "[1", "]"}},
          // A rule that never ends is no way to an end; one that is not reached does not matter.
          {"root ::= \"a\" | \"b\" never\nnever ::= \"c\" never\nunused ::= \"x\"", {"a"}, {"b", "bc", "x"}},
          {"root ::= e e \"x\" e\ne ::= \"\" | \"y\"{0,3}", {"x", "yyyyyyxyyy"}, {"yyyyyyyx", ""}},
      },
      kGbnf);
}

TEST(Gbnf, NamesWhatItRefuses) {
  check_refusals(
      {
          {"", "rule \"root\" is not defined"},
          {"x ::= \"a\"", "rule \"root\" is not defined"},
          {"root ::= a", "rule \"a\" is not defined"},
          {"root ::= \"a\"\nroot ::= \"b\"", "line 2: rule \"root\" is defined twice"},
          {"root ::= root \"a\" | \"b\"", "rule \"root\" is left recursive"},
          {"root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a \"y\" | \"z\"", "is left recursive"},
          {"root ::= \"a\" root", "no finite text matches"},
          {"root ::= [^\\x00-\\U0010FFFF]", "no finite text matches"},
          {"root ::= <think> \"a\"", "tokens (<name>)"},
          {"root ::= !<think>", "tokens (<name>)"},
          {"root ::= \"a", "ends inside of a string"},
          {"root ::= [a", "ends inside of a string"},
          {"root ::= [z-a]", "runs backwards"},
          {"root ::= (\"a\"", "expected ')'"},
          {"root ::= \"a\")", "line 1: expected the end of the line"},
          {"root ::= *", "nothing to repeat"},
          {"root ::= \"a\"{2,1}", "m above n"},
          {"root ::= \"a\"{99999999999}", "a repetition beyond"},
          {"root ::= \"a\"{x}", "expected a number"},
          {"root ::= \"\\q\"", "unknown escape \\q"},
          {"root ::= \"\\x4\"", "needs 2 hexadecimal digits"},
          {"root ::= \"\\ud800\"", "names no character"},
          {"root = \"a\"", "expected ::="},
          {"root ::= \"a\"\n&", "line 2: expected the name of a rule"},
          {"root ::= \"\x80\"", "not UTF-8"},
          {"root ::= " + std::string(200, '(') + "\"a\"" + std::string(200, ')'), "nested more than 100"},
          {"root ::= (((\"a\"{60000} \"b\"){60000} \"c\"){60000} \"d\" | \"e\"){60000}", "too large"},
          {"root ::= ([ab]* \"a\" [ab]{200}) \"x\"", "too large"},
      },
      kGbnf);
}

TEST(Regex, Matches) {
  check(
      {
          {"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
          {"^a|b$", {"a", "b"}, {"ab", ""}},
          {"a(b|cd)*e?", {"a", "abcdbe"}, {"ace", "e"}},
          {"(?:ab){2,3}", {"abab", "ababab"}, {"ab", "abababab"}},
          {"(?<name>x)(?P<other>y)", {"xy"}, {"x"}},
          {"\\d{3}-\\w+\\s\\D\\W\\S", {"123-a_9 x-y"}, {"12-a x-y", "123-- x-y"}},
          {"[\\d.\\-x]+", {"1.-x"}, {"y"}},
          {"[^\\d\\s]", {"a", "\u00e9"}, {"1", " ", "\u00a0"}},
          {"[a-]", {"a", "-"}, {"b"}},
          {"\\u00e9\\x41\\u{1F600}\\uD83D\\uDE00", {"\u00e9A\U0001F600\U0001F600"}, {"e"}},
          {"a.c", {"abc", "a\u20acc"}, {"a\nc", "ac", "a\u2028c"}},
          {"a+?b*?c??", {"a", "aabbc"}, {"b"}},
          {"\\.\\*\\[\\]\\{\\}\\/", {".*[]{}/"}, {"a"}},
          {"x{2}", {"xx"}, {"x", "xxx"}},
          {"", {""}, {"a"}},
          {"(|a)b", {"b", "ab"}, {"a"}},
          {"]}", {"]}"}, {""}},
          {".{0,300}x", {std::string(300, 'a') + "x", "x"}, {std::string(301, 'a') + "x"}},
          // In blocks.
          {"(?:ab|cd|\u00e9){1000}",
           {[] {
             std::string s;
             for (int i = 0; i < 500; ++i) s += "ab\u00e9";
             return s;
           }()},
           {[] {
              std::string s;
              for (int i = 0; i < 500; ++i) s += "ab\u00e9";
              return s + "ab";
            }(),
            "ab"}},
      },
      kRegex);
}

TEST(Regex, LongRepetitionsCountExactly) {
  // Cut to blocks of 64: every count around their bounds.
  for (const auto& [min, max] : std::vector<std::pair<int, int>>{{0, 130},
                                                                 {0, 191},
                                                                 {0, 192},
                                                                 {5, 200},
                                                                 {129, 129},
                                                                 {64, 400},
                                                                 {130, 194},
                                                                 {130, 195},
                                                                 {200, -1}}) {
    const std::string part = "(?:ab|cd|ef|gh|ij|kl|mn|op|qr|st|uv|wx|yz|01|23|45|67|89)";
    const auto g =
        regex_grammar(part + "{" + std::to_string(min) + "," + (max < 0 ? "" : std::to_string(max)) + "}");
    ASSERT_TRUE(g) << g.error().message;
    Matcher m(*g);
    std::string s;
    for (int n = 0; n < 420; ++n, s += "ij")
      EXPECT_EQ(m.matches(s), n >= min && (max < 0 || n <= max)) << min << " " << max << ": " << n;
  }
}

TEST(Regex, AgreesWithTheStandardLibrary) {
  // All texts of up to 7 of three letters.
  for (const char* r : {"a*b|c", "(a|b)*c(a|b){1,2}", "(ab?)+c*", "[^a]b*[ab]", "((a|ab)(c|bcd?))*",
                        "(a*b*)*c", "a{2,3}(b|)c?", "(?:a|b|c)*abc"}) {
    const auto g = regex_grammar(r);
    ASSERT_TRUE(g) << g.error().message;
    Matcher m(*g);
    const std::regex expected(r);
    for (size_t n = 0; n <= 7; ++n) {
      std::string s(n, 'a');
      for (;;) {
        EXPECT_EQ(m.matches(s), std::regex_match(s, expected)) << r << " on " << s;
        size_t i = 0;
        while (i < n && s[i] == 'c') s[i++] = 'a';
        if (i == n) break;
        ++s[i];
      }
    }
  }
}

TEST(Regex, NamesWhatItRefuses) {
  check_refusals(
      {
          {"(a)\\1", "backreferences (\\1)"},
          {"\\k<x>", "backreferences"},
          {"(?=a)", "lookaround (?=)"},
          {"(?!a)", "lookaround (?!)"},
          {"(?<=a)b", "lookaround (?<)"},
          {"(?<!a)b", "lookaround"},
          {"\\bword", "word boundaries"},
          {"\\p{L}", "Unicode properties"},
          {"(?i)a", "groups (?…)"},
          {"(?>a)", "groups (?…)"},
          {"a++", "possessive"},
          {"a**", "a repetition of a repetition"},
          {"*a", "nothing to repeat"},
          {"a{2,1}", "m above n"},
          {"a{,3}", "expected {m}"},
          {"a{70000}", "a repetition beyond"},
          {"[b-a]", "runs backwards"},
          {"[a", "expected ']'"},
          {"[]a]", "an empty class"},
          {"[\\d-z]", "a range from a set"},
          {"[a-\\d]", "a range to a set"},
          {"[[:alpha:]]", "POSIX classes"},
          {"(a", "expected ')'"},
          {"a)", "')' without its '('"},
          {"a^b", "'^' is honoured at the ends only"},
          {"a$b", "'$' is honoured at the ends only"},
          {"(^a)", "at the ends only"},
          {"\\q", "the escape \\q"},
          {"\\", "a backslash at the end"},
          {"\\ud800", "names no character"},
          {"\\u{110000}", "names no character"},
          {"\\x4", "hexadecimal digit"},
          {"\xff", "not UTF-8"},
          {std::string(200, '(') + std::string(200, ')'), "nested more than 100"},
          {"(a|b)*a(a|b){40}", "too large"},
          {"[^\\u{0}-\\u{10FFFF}]", "no finite text"},
      },
      kRegex);
}

TEST(Choices, AreTheTextsAndNoOthers) {
  const std::string choices[] = {"yes", "no", "none", "\u00e9t\u00e9"};
  const auto g = choices_grammar(choices);
  ASSERT_TRUE(g);
  Matcher m(*g);
  for (const auto& c : choices) EXPECT_TRUE(m.matches(c));
  for (const char* c : {"", "n", "nope", "yesno", "\u00e9t"}) EXPECT_FALSE(m.matches(c)) << c;
  EXPECT_FALSE(choices_grammar({}));
  const std::string empty[] = {"a", ""};
  EXPECT_FALSE(choices_grammar(empty));
}

TEST(JsonObject, IsJsonInCompactForm) {
  const auto g = json_object_grammar();
  ASSERT_TRUE(g);
  Matcher m(*g);
  for (const char* s :
       {"{}", R"({"a":1})", R"({"a": [1, 2.5e-3,-0,null], "b":{"c":"\u00e9\n\ud83d\ude00x"}})",
        R"({"":true,"a":[],"b":[[]]})", "{\"\u00e9\U0001F600\":false}"}) {
    EXPECT_TRUE(m.matches(s)) << s;
    EXPECT_TRUE(jinja::parse_json(s)) << s;
  }
  for (const char* s : {"",
                        "1",
                        "[]",
                        "{",
                        "{ }",
                        R"({"a" :1})",
                        R"({"a":  1})",
                        R"({"a":1,})",
                        R"({"a":01})",
                        R"({"a":1.})",
                        R"({"a":+1})",
                        R"({"a":.5})",
                        "{\"a\":\"\n\"}",
                        R"({"a":"\x"})",
                        R"({"a":"\ud83d"})",
                        R"({"a":"\ude00"})",
                        R"({"a":NaN})",
                        R"({a:1})",
                        R"({"a":1}x)",
                        "{\"\xff\":1}"}) {
    EXPECT_FALSE(m.matches(s)) << s;
  }
}

TEST(JsonSchema, Matches) {
  check(
      {
          {"{}", {"1", "null", R"({"a":[{}]})", "\"x\""}, {"", "x"}},
          {"true", {"1"}, {""}},
          {R"({"type":"object"})", {"{}", R"({"a":1})"}, {"1", "[]"}},
          {R"({"type":["string","null"],"title":"t","description":"d","default":null,"examples":[1],"$schema":"x","$id":"y"})",
           {"\"a\"", "null"},
           {"1", "true"}},
          {R"({"type":"boolean"})", {"true", "false"}, {"1", "null"}},
          {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},"required":["b"]})",
           {R"({"b":"x"})", R"({"a":1,"b":"x"})", R"({"a":-12, "b": "x","c":null})", R"({"b":"","c":null})"},
           {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"a":1.5,"b":"x"})",
            R"({"a":1,"b":"x",})", R"({,"b":"x"})", R"({"b":"x","b":"x"})"}},
          {R"({"properties":{"a":{},"b":{}}})",
           {"{}", R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"},
           {R"({"c":1})", "1", R"({"a":1"b":2})"}},
          {R"({"type":"object","properties":{"ab":{"type":"integer"},"ac":{"type":"integer"},"\"":{"type":"null"}},"additionalProperties":{"type":"string"}})",
           {"{}", R"({"ab":1})", R"({"ab":1,"x":"s","abc":"t"})", R"({"x":"s"})", R"({"a":"s","":"t"})",
            R"({"\"":null,"\"\"":"x"})"},
           {R"({"ab":"s"})", R"({"x":1})", R"({"ac":"s"})", R"({"\u0061b":"s"})", R"({"\"":"s"})",
            R"({"x":"s","ab":1})"}},
          {R"({"type":"object","additionalProperties":false})", {"{}"}, {R"({"a":1})"}},
          {R"({"type":"object","required":["z"],"additionalProperties":{"type":"integer"}})",
           {R"({"z":1})", R"({"z":1,"y":2})"},
           {"{}", R"({"y":1})", R"({"z":"a"})"}},
          {R"({"type":"object","properties":{"a":false,"b":true}})", {"{}", R"({"b":[]})"}, {R"({"a":1})"}},
          {R"({"enum":[1,"a",null,{"x":[1,2.5]},true]})",
           {"1", "\"a\"", "null", R"({"x":[1,2.5]})", R"({"x": [1, 2.5]})", "true"},
           {"2", "\"b\"", "false"}},
          {R"({"type":"string","enum":["a\"\n",1]})", {R"("a\"\n")"}, {"1"}},
          {R"({"const":"x"})", {"\"x\""}, {"\"y\""}},
          {R"({"type":"integer","const":1.0})", {"1.0"}, {"1"}},
          {R"({"type":"array","items":{"type":"integer"}})",
           {"[]", "[1]", "[1, 2,3]"},
           {"[", "[1,]", "[\"a\"]", "[1 ,2]"}},
          {R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3})",
           {"[1,2]", "[1,2,3]"},
           {"[]", "[1]", "[1,2,3,4]"}},
          {R"({"items":{"type":"integer"},"maxItems":0})", {"[]"}, {"[1]"}},
          {R"({"items":false})", {"[]"}, {"[1]"}},
          {R"({"type":"array","minItems":1})", {"[1]", "[null,{}]"}, {"[]"}},
          {R"({"prefixItems":[{"type":"integer"},{"type":"string"}]})",
           {"[]", "[1]", "[1,\"a\"]"},
           {"[1,\"a\",2]", "[\"a\"]"}},
          {R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"null"},"minItems":1})",
           {"[1]", "[1,\"a\"]", "[1,\"a\",null,null]"},
           {"[]", "[1,null]", "[1,\"a\",2]"}},
          {R"({"prefixItems":[{"type":"integer"}],"minItems":2,"maxItems":3})",
           {"[1,2]", "[1,\"a\",{}]"},
           {"[1]", "[1,2,3,4]"}},
          {R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})",
           {"1", "\"a\""},
           {"\"ab\"", "null"}},
          {R"({"oneOf":[{"const":1},{"const":2}]})", {"1", "2"}, {"3"}},
          {R"({"oneOf":[{"type":"integer"},{"type":["string","null"]},{"$ref":"#/$defs/b"}],"$defs":{"b":{"type":"boolean"}}})",
           {"1", "null", "true"},
           {"[]"}},
          {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["k"],"additionalProperties":false},{"type":"object","properties":{"k":{"enum":["b","c"]}},"required":["k"],"additionalProperties":false}]})",
           {R"({"k":"a"})", R"({"k":"a","x":3})", R"({"k":"c"})"},
           {R"({"k":"c","x":3})"}},
          {R"({"type":"array","anyOf":[{"minItems":2},{"prefixItems":[{"const":7}]}],"oneOf":[{"type":"array","maxItems":2},{"type":"string"}]})",
           {"[7]", "[1,2]"},
           {"[1]", "[1,2,3]"}},
          {R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2}},"anyOf":[{"required":["a"]},{"required":["b"]}]})",
           {R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"},
           {"{}"}},
          {R"({"allOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":{"const":2}},"required":["b"]}]})",
           {R"({"a":1,"b":2})"},
           {R"({"a":1})", R"({"b":2})", "{}"}},
          {R"({"allOf":[{"type":["string","integer"]},{"type":["number","null"]}]})",
           {"1"},
           {"1.5", "null", "\"a\""}},
          {R"({"$defs":{"p":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}},"allOf":[{"$ref":"#/$defs/p"},{"properties":{"m":{"type":"null"}},"required":["m"]}]})",
           {R"({"n":1,"m":null})"},
           {R"({"n":1})", R"({"m":null})"}},
          {R"({"$defs":{"p":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}},"description":"x","allOf":[{"$ref":"#/$defs/p"}]})",
           {R"({"n":1})"},
           {"{}"}},
          // References, recursive ones too.
          {R"({"definitions":{"a/b~":{"type":"null"}},"$ref":"#/definitions/a~1b~0"})", {"null"}, {"1"}},
          {R"({"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#"}},"required":["v"]})",
           {R"({"v":1})", R"({"v":1,"next":{"v":2,"next":{"v":3}}})"},
           {R"({"v":1,"next":{}})", R"({"v":1,"next":1})"}},
          {R"({"$defs":{"tree":{"anyOf":[{"type":"integer"},{"type":"array","items":{"$ref":"#/$defs/tree"}}]}},"$ref":"#/$defs/tree"})",
           {"1", "[]", "[1,[2,[]]]"},
           {"[", "null"}},
          // Strings.
          {R"({"type":"string","minLength":2,"maxLength":3})",
           {"\"ab\"", "\"\u00e9\U0001F600a\"", R"("\n\u00e9\ud83d\ude00")"},
           {"\"a\"", "\"abcd\"", "\"\""}},
          {R"({"type":"string","minLength":1})", {"\"a\"", "\"abcd\""}, {"\"\""}},
          {R"({"type":"string","maxLength":500})",
           {"\"" + std::string(500, 'x') + "\"", "\"\""},
           {"\"" + std::string(501, 'x') + "\""}},
          {R"({"type":"string","pattern":"^a\\d+$"})", {"\"a12\""}, {"\"a\"", "\"xa1\"", "\"a1x\""}},
          {R"({"type":"string","pattern":"b"})", {"\"b\"", "\"abc\""}, {"\"ac\"", "\"\""}},
          {R"({"type":"string","pattern":"^a|b$"})", {"\"ax\"", "\"xb\""}, {"\"xax\""}},
          {R"({"type":"string","pattern":"^.[\"\\\\]\\n$"})",
           {R"("x\"\n")", R"("\\\\\n")"},
           {"\"x\"\n\"", R"("x\n\n")"}},
          {R"({"type":"string","format":"date"})",
           {"\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\""},
           {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"2024-04-31\"", "\"0000-01-01\"",
            "\"24-1-1\""}},
          {R"({"type":"string","format":"time"})",
           {"\"23:59:59Z\"", "\"00:00:00.123+01:30\""},
           {"\"24:00:00Z\"", "\"23:59:60Z\"", "\"12:00Z\"", "\"12:00:00\""}},
          {R"({"type":"string","format":"date-time"})",
           {"\"2024-02-29T12:00:00Z\""},
           {"\"2024-02-29 12:00:00Z\"", "\"2024-02-29\""}},
          {R"({"type":"string","format":"uuid"})",
           {"\"123e4567-e89b-12d3-a456-426614174000\""},
           {"\"123e4567e89b12d3a456426614174000\""}},
          {R"({"type":"number"})", {"1", "-0.5", "1e5", "2.5E-3"}, {"01", "1.", ".5", "NaN"}},
          {R"({"type":["integer","number"]})", {"1", "1.5"}, {"\"a\""}},
          // An alternative that what is beside it rules out is none.
          {R"({"type":"string","anyOf":[{"type":"integer"},{"maxLength":1},false]})",
           {"\"a\""},
           {"1", "\"ab\""}},
          // 1 is 1.0 and not true.
          {R"({"const":1,"allOf":[{"const":1.0}]})", {"1"}, {"true", "2"}},
          {R"({"enum":[1,true],"const":true})", {"true"}, {"1"}},
      },
      kSchema);
}

TEST(JsonSchema, NamesWhatItRefuses) {
  check_refusals(
      {
          {R"({"type":"object","properties":{"age":{"type":"integer","multipleOf":2}}})",
           "#/properties/age/multipleOf: this keyword can't be honoured"},
          {R"({"not":{}})", "#/not: this keyword"},
          {R"({"oneOf":[{"type":"number"},{"type":"integer"}]})",
           "#/oneOf: schemas 0 and 1 may both be valid"},
          {R"({"oneOf":[{"type":"string"},{"maxLength":3}]})", "#/oneOf: schemas 0 and 1 may both be valid"},
          {R"({"if":{},"then":{}})", "#/if: this keyword"},
          {R"({"type":"object","patternProperties":{"a":{}}})", "#/patternProperties"},
          {R"({"type":"object","minProperties":1})", "#/minProperties"},
          {R"({"type":"object","propertyNames":{}})", "#/propertyNames"},
          {R"({"type":"object","dependentRequired":{}})", "#/dependentRequired"},
          {R"({"type":"array","uniqueItems":true})", "#/uniqueItems"},
          {R"({"type":"array","contains":{}})", "#/contains"},
          {R"({"type":"string","contentEncoding":"base64"})", "#/contentEncoding"},
          {R"({"$anchor":"x"})", "#/$anchor"},
          {R"({"type":"string","frobnicate":1})", "#/frobnicate"},
          {R"({"properties":{"a/b":{"items":{"anyOf":[{"nope":1}]}}}})",
           "#/properties/a~1b/items/anyOf/0/nope"},
          {R"({"$defs":{"x":{"nope":1}},"properties":{"a":{"$ref":"#/$defs/x"}}})", "#/$defs/x/nope"},
          {R"({"type":"string","format":"email"})", "#/format: the format \"email\""},
          {R"({"type":"string","minimum":1})", "#/minimum: says nothing about"},
          {R"({"type":"strnig"})", "#/type"},
          {R"({"type":[]})", "#/type"},
          {R"({"type":["string",1]})", "#/type"},
          {R"({"$ref":"other.json"})", "#/$ref: \"other.json\""},
          {R"({"$ref":"#/$defs/none"})", "#/$ref: \"#/$defs/none\" is not found"},
          {R"({"$ref":1})", "#/$ref"},
          {R"({"$ref":"#"})", "left recursive"},
          {R"({"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"},{"type":"null"}]},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"})",
           "left recursive"},
          {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "no finite text"},
          {R"({"allOf":[{"$ref":"#"},{"type":"object"}]})", "nested more than 32"},
          {R"({"type":"object","properties":{"a":{"allOf":[{"$ref":"#"},{"title":"x","required":[]}]}}})",
           "nested more than 100"},
          {"false", "#: false allows nothing"},
          {"1", "#: expected a schema"},
          {R"({"anyOf":[]})", "#/anyOf"},
          {R"({"anyOf":[false]})", "#/anyOf/0: false"},
          {R"({"enum":[]})", "#/enum: no value is left"},
          {R"({"type":"string","enum":[1]})", "#/enum: no value is left"},
          {R"({"enum":["a"],"minLength":1})", "#/minLength: can't be honoured beside enum"},
          {R"({"enum":["a"],"nope":1})", "#/nope"},
          {R"({"const":1,"enum":[2]})", "no value is left"},
          {R"({"const":1,"enum":[true]})", "no value is left"},
          {R"({"const":1,"allOf":[{"const":true}]})", "#/allOf/0/const: can't be merged"},
          {R"({"allOf":[{"properties":{"a":{"const":1}}},{"properties":{"a":{"const":true}}}]})",
           "#/allOf/1/properties/a: another schema"},
          {R"({"type":"string","anyOf":[{"type":"null"},{"type":"integer"}]})",
           "#/anyOf/0/type: no type is left"},
          // What is wrong deep inside of an alternative is not passed over.
          {R"({"title":"x","type":"object","anyOf":[{"properties":{"a":false},"required":["a"]},{"properties":{}}]})",
           "#/anyOf/0/properties/a: false"},
          {R"({"allOf":[{"minimum":1},{"minimum":2}]})", "can't be merged"},
          {R"({"allOf":[{"type":"string"},{"type":"null"}]})", "no type is left"},
          {R"({"allOf":[{"properties":{"a":{"const":1}}},{"properties":{"a":{"const":2}}}]})",
           "/properties/a: another schema"},
          {R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
           "#/allOf/0/additionalProperties: can't be honoured beside \"b\""},
          {R"({"allOf":[{"prefixItems":[{}]},{"items":{"type":"null"}}]})",
           "#/allOf/1/items: can't be merged"},
          {R"({"allOf":[{"if":{}}]})", "#/allOf/0/if"},
          {R"({"type":"object","properties":{"a":{}},"required":["b"]})",
           "#/required: \"b\" is not in properties"},
          {R"({"type":"object","required":[1]})", "#/required"},
          {R"({"type":"object","properties":{"a":false},"required":["a"]})", "#/properties/a: false"},
          {R"({"items":[{}]})", "#/items: a list can't be honoured"},
          {R"({"type":"array","minItems":3,"maxItems":2})", "at least 3 and at most 2"},
          {R"({"type":"array","minItems":-1})", "#/minItems"},
          {R"({"type":"array","minItems":1.5})", "#/minItems"},
          {R"({"type":"array","maxItems":100000})", "#/maxItems: more than 65536"},
          {R"({"type":"string","maxLength":100000})", "#/maxLength: more than 65536"},
          {R"({"type":"string","minLength":3,"maxLength":2})", "#/maxLength: is below minLength"},
          {R"x({"type":"string","pattern":"(?=a)"})x", "#/pattern: byte 1: lookaround"},
          {R"({"type":"string","pattern":"a","maxLength":3})",
           "#/maxLength: can't be honoured beside pattern"},
          {R"({"type":"string","pattern":"a","format":"date"})",
           "#/format: can't be honoured beside pattern"},
          {R"({"type":"integer","minimum":"a"})", "#/minimum: expected a number"},
          {R"({"type":"integer","exclusiveMinimum":true})", "#/exclusiveMinimum: expected a number"},
          {R"({"type":"integer","minimum":1,"exclusiveMinimum":0})",
           "#/exclusiveMinimum: can't be honoured beside minimum"},
          {R"({"type":"integer","minimum":2,"maximum":1})", "no finite text"},
          {R"({"type":"number","minimum":1e40})", "#/minimum: a bound of more than 30 digits"},
          {R"({"type":"number","exclusiveMinimum":0.12345678901234567})",
           "#/exclusiveMinimum: an exclusive bound"},
      },
      kSchema);
}

// Every text of digits, '-' and '.' up to 5 characters: it matches if and only if it is a JSON number within the bounds.
TEST(JsonSchema, NumbersAreWithinTheirBoundsExactly) {
  const struct {
    const char* keywords;
    double low, high;
    bool low_open, high_open;
  } kCases[] = {
      {R"("minimum":0)", 0, 1e9, false, false},
      {R"("minimum":-3)", -3, 1e9, false, false},
      {R"("maximum":0)", -1e9, 0, false, false},
      {R"("minimum":3,"maximum":12)", 3, 12, false, false},
      {R"("minimum":-12,"maximum":105)", -12, 105, false, false},
      {R"("minimum":-99,"maximum":-7)", -99, -7, false, false},
      {R"("minimum":18,"maximum":18)", 18, 18, false, false},
      {R"("minimum":999,"maximum":1001)", 999, 1001, false, false},
      {R"("exclusiveMinimum":0,"exclusiveMaximum":10)", 0, 10, true, true},
      {R"("exclusiveMinimum":0)", 0, 1e9, true, false},
      {R"("exclusiveMaximum":0)", -1e9, 0, false, true},
      {R"("exclusiveMinimum":-1,"maximum":1)", -1, 1, true, false},
      {R"("minimum":0.5,"maximum":2.25)", 0.5, 2.25, false, false},
      {R"("exclusiveMinimum":0.5,"exclusiveMaximum":0.75)", 0.5, 0.75, true, true},
      {R"("minimum":0.25,"exclusiveMaximum":0.26)", 0.25, 0.26, false, true},
      {R"("minimum":-0.5,"exclusiveMaximum":-0.05)", -0.5, -0.05, false, true},
      {R"("exclusiveMinimum":-2.5,"maximum":1e-1)", -2.5, 0.1, true, false},
      {R"("minimum":1e3)", 1000, 1e9, false, false},
      {R"("exclusiveMinimum":9.9)", 9.9, 1e9, true, false},
  };
  std::vector<std::string> texts = {""};
  for (size_t begin = 0, n = 0; n < 5; ++n) {
    const size_t end = texts.size();
    for (size_t i = begin; i < end; ++i) {
      for (const char c : std::string_view("0125789-.")) {
        if (c == '-' && !texts[i].empty()) continue;
        texts.push_back(texts[i] + c);
      }
    }
    begin = end;
  }
  const std::regex json_number("-?(0|[1-9][0-9]*)(\\.[0-9]+)?");
  std::vector<std::pair<std::string, double>> valid;
  std::vector<std::string> invalid;
  for (const auto& t : texts) {
    if (std::regex_match(t, json_number)) {
      valid.emplace_back(t, std::strtod(t.c_str(), nullptr));
    } else {
      invalid.push_back(t);
    }
  }
  for (const auto& c : kCases) {
    for (const bool whole : {false, true}) {
      const auto g = schema_grammar(std::string(R"({"type":")") + (whole ? "integer" : "number") + "\"," +
                                    c.keywords + "}");
      if (!g && whole) {
        EXPECT_NE(g.error().message.find("no finite text"), std::string::npos) << g.error().message;
        for (int i = -200; i < 2000; ++i)
          EXPECT_FALSE(i >= c.low + c.low_open && i <= c.high - c.high_open) << c.keywords;
        continue;
      }
      ASSERT_TRUE(g) << c.keywords << ": " << g.error().message;
      Matcher m(*g);
      for (const auto& [t, v] : valid) {
        bool expected = (c.low_open ? v > c.low : v >= c.low) && (c.high_open ? v < c.high : v <= c.high);
        if (whole) expected &= t.find('.') == std::string::npos && t != "-0";
        // -0 may be left out.
        if (!whole && t[0] == '-' && v == 0 && !m.matches(t)) continue;
        EXPECT_EQ(m.matches(t), expected) << c.keywords << (whole ? " integer " : " number ") << t;
      }
      for (const auto& t : invalid) EXPECT_FALSE(m.matches(t)) << c.keywords << " " << t;
    }
  }
}

std::string repeated(std::string_view part, int n, char separator) {
  std::string out;
  for (int i = 0; i < n; ++i) out.append(i == 0 ? "" : std::string(1, separator)).append(part);
  return out;
}

// Small texts that ask for much: they end soon, in an Error.
TEST(JsonSchema, IsBounded) {
  const std::string many = repeated("{\"title\":\"x\"}", 5000, ',');
  const std::string text(100'000, 'x');
  check_refusals(
      {
          {"{\"const\":\"" + text + "\",\"anyOf\":[" + many + "]}", "#/anyOf/11: its texts have more than"},
          {"{\"$defs\":{\"o\":{\"required\":[" + repeated("\"" + text.substr(0, 20) + "\"", 20'000, ',') +
               "]}},\"allOf\":[" + repeated("{\"$ref\":\"#/$defs/o\"}", 5000, ',') + "]}",
           "that must hold at once are too large"},
          {"{\"enum\":[" + repeated("0", 200'000, ',') + "]}", "more than 100000 values"},
          {"{\"anyOf\":[" + repeated("{\"anyOf\":[" + repeated("true", 150, ',') + "]}", 150, ',') + "]}",
           "more than 20000 schemas"},
      },
      kSchema);
}

TEST(Grammar, ReadingChecksEverything) {
  const auto g = json_object_grammar();
  ASSERT_TRUE(g);
  const std::vector<uint8_t> bytes = write_grammar(*g);
  for (size_t n = 0; n < bytes.size(); n += 7) EXPECT_FALSE(read_grammar(std::span(bytes).first(n))) << n;
  // Whatever a changed byte makes of it, it can be used or is refused.
  size_t refused = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {1, 0x80, 0xFF}) {
      auto changed = bytes;
      changed[i] = static_cast<uint8_t>(changed[i] ^ flip);
      const auto read = read_grammar(changed);
      refused += !read;
      if (!read) continue;
      Matcher m(*read);
      m.matches(R"({"a":[1,{"b":"c"}]})");
    }
  }
  EXPECT_GT(refused, bytes.size());
  // Left recursion, and a state without a way to an end.
  Grammar broken;
  broken.rules = {0};
  broken.states = {{.first_edge = 0, .n_edges = 1, .accepting = true}, {.first_edge = 1, .accepting = true}};
  broken.edges = {{'a', 'b', 1}};
  EXPECT_TRUE(read_grammar(write_grammar(broken)));
  broken.states[1].accepting = false;
  EXPECT_FALSE(read_grammar(write_grammar(broken)));
  broken.states[1].accepting = true;
  broken.states[0].n_calls = 1;
  broken.calls = {{0, 1}};
  EXPECT_FALSE(read_grammar(write_grammar(broken)));
  // Many rules that share a long way without bytes: checked in linear time.
  Grammar chain;
  for (uint32_t i = 0; i < 60'000; ++i) {
    chain.rules.push_back(i);
    chain.states.push_back({.first_call = i, .n_calls = i + 2 < 60'000 ? 1u : 0u, .accepting = true});
    if (i + 2 < 60'000) chain.calls.push_back({59'999, i + 1});
  }
  EXPECT_TRUE(read_grammar(write_grammar(chain)));
  chain.calls[59'000].rule = 0;
  EXPECT_FALSE(read_grammar(write_grammar(chain)));
}

}  // namespace
}  // namespace forge::rt
