#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "runtime/core/jinja_eval.h"
#include "runtime/core/jinja_json.h"
#include "runtime/core/jinja_parser.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {
namespace {

// The text, or "error: …".
std::string rendered(std::string_view source, std::string_view variables = "{}", const Limits& limits = {}) {
  const Result<Value> values = parse_json(variables);
  if (!values) return "bad variables: " + values.error().message;
  const Result<Template> parsed = parse_template(source);
  if (!parsed) return "parse error: " + parsed.error().message;
  const Result<std::string> out = render(*parsed, *values, nullptr, limits);
  return out ? *out : "error: " + out.error().message;
}

TEST(Jinja, RefusesWhatItDoesNotKnowWhenParsing) {
  const struct {
    const char *source, *message;
  } kCases[] = {
      {"a\n{{ x | frobnicate }}", "line 2: unknown filter 'frobnicate'"},
      {"{{ x | escape }}", "unknown filter 'escape'"},
      {"{{ x is weird }}", "line 1: unknown test 'weird'"},
      {"{{ x | map('nope') }}", "unknown filter 'nope'"},
      {"{{ x | selectattr('a', 'nope') }}", "unknown test 'nope'"},
      {"{{ x | select('no\nsuch') }}", "unknown test 'no such'"},
      {"\n\n{{ now() }}", "line 3: unknown function 'now'"},
      {"{{ x.frob() }}", "unknown method 'frob'"},
      {"{% frob %}", "unknown tag 'frob'"},
      {"{% include 'x' %}", "the tag 'include' is not supported"},
      {"{% for x in y recursive %}{% endfor %}", "recursive loops are not supported"},
      {"{% if x %}", "found the end of the template, expected {% endif %}"},
      {"{% endif %}", "unknown tag 'endif'"},
      {"{% break %}", "{% break %} outside of a loop"},
      {"{{ x", "a tag without }}"},
      {"{{ 'x }}", "without its closing quote"},
      {"{# x", "a comment without #}"},
      {"{% raw %}", "{% raw %} without {% endraw %}"},
      {"{{ (1 }}", "unexpected '}', expected ')'"},
      {"{{ 1 ) }}", "unexpected ')'"},
      {"{{ ! }}", "unexpected character '!'"},
      {"{{ \u201cx\u201d }}", "unexpected character '\u201c'"},
      {"{{ }}", "found '}}', expected an expression"},
      {"{{ 99999999999999999999 }}", "an integer beyond 64 bits"},
      {"{% set 1 = 2 %}", "expected a name to assign to"},
      {"{% set x.y.z = 2 %}", "expected '%}'"},
  };
  for (const auto& c : kCases) {
    const std::string out = rendered(c.source);
    EXPECT_TRUE(out.starts_with("parse error: chat template, line ")) << c.source << " → " << out;
    EXPECT_NE(out.find(c.message), std::string::npos) << c.source << " → " << out;
  }
}

TEST(Jinja, NamesWhatFailsWhenRendering) {
  const struct {
    const char *source, *message;
  } kCases[] = {
      {"a\n\n{{ x.y }}", "line 3: 'x' is undefined; it has no attribute 'y'"},
      {"{{ 'a' + x }}", "'x' is undefined"},
      {"{{ 'a' + 1 }}", "unsupported operands of +: 'str' and 'int'"},
      {"{{ x() }}{% set x = 1 %}", "'x' is undefined; it can't be called"},
      {"{{ [1].append(2) }}", "'append' would change a list"},
      {"{{ 1 / 0 }}", "division by zero"},
      {"{{ 9223372036854775807 + 1 }}", "beyond 64 bits"},
      {"{{ range(100001) }}", "range() of 100001 items"},
      {"{{ range(-9223372036854775807, 9223372036854775807) }}", "range() of 18446744073709551614 items"},
      {"{{ raise_exception('no ' ~ 1) }}", "the template refuses: no 1"},
      {"{{ raise_exception('no\nand\tno') }}", "the template refuses: no and no"},
      {"{{ [1, 'a'] | sort }}", "have no order"},
      {"{{ {[1]: 2} }}", "unhashable type: 'list'"},
      {"{{ [1] | tojson(foo=1) }}", "'tojson' has no argument 'foo'"},
      {"{{ 'a' | replace('b') }}", "'replace' lacks its argument 'new'"},
      {"{{ [1] | map('upper') }}", "a generator can't be printed"},
      {"{{ [1] | select | tojson }}", "has no JSON form"},
      {"{% set a, b = [1] %}", "can't unpack 1 values to 2 names"},
      {"{% for x in 5 %}{% endfor %}", "a int can't be iterated over"},
      {"{% set x = 1 %}{% set x.y = 1 %}", "it is no namespace"},
      {"{{ strftime_now('%Y') }}", "'strftime_now' is undefined"},
  };
  for (const auto& c : kCases) {
    const std::string out = rendered(c.source);
    EXPECT_TRUE(out.starts_with("error: chat template, line ")) << c.source << " → " << out;
    EXPECT_NE(out.find(c.message), std::string::npos) << c.source << " → " << out;
  }
}

TEST(Jinja, ErrorsAreOneLineOfWholeCharacters) {
  for (const char* before : {"", "y"}) {
    std::string name = before;
    while (name.size() < 1000) name += "é";
    const std::string out = rendered("{{ raise_exception('" + name + "') }}");
    EXPECT_LT(out.size(), 400U);
    EXPECT_TRUE(out.ends_with("é…")) << out;
  }
}

// Templates that would run for ever, fill memory or overflow the stack.
TEST(Jinja, HostileTemplatesAreErrors) {
  const auto many = [](std::string_view s, size_t n) {
    std::string out;
    for (size_t i = 0; i < n; ++i) out += s;
    return out;
  };
  // A namespace's s, changed 999 times, then `rest`.
  const auto grown = [](const std::string& first, const std::string& next, const std::string& rest) {
    return text("{% set ns = namespace(s=", first, ") %}{% for i in range(999) %}{% set ns.s = ", next,
                " %}{% endfor %}", rest);
  };
  const std::string nested_loops = "{% for a in range(99999) %}{% for b in range(99999) %}";
  const std::string cases[] = {
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f() %}" + many("{% if true %}", 100) + "{{ f() }}" + many("{% endif %}", 100) +
          "{% endmacro %}{{ f() }}",
      "{% macro f(x) %}{% call f(x) %}{% endcall %}{{ caller }}{% endmacro %}{{ f(1) }}",
      "{% macro f() %}{% for i in [1] %}{{ [i] | join ~ f() }}{% endfor %}{% endmacro %}{{ f() }}",
      nested_loops + "{% endfor %}{% endfor %}",
      nested_loops + "xxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
      grown("'xxxxxxxx'", "ns.s + ns.s", ""),
      grown("'xxxxxxxx'", "ns.s ~ ns.s", ""),
      grown("[1]", "ns.s + ns.s", ""),
      grown("[1]", "[ns.s, ns.s]", "{{ ns.s }}"),
      grown("{}", "{1: ns.s, 2: ns.s}", "{{ ns.s == ns.s }}"),
      grown("[]", "[ns.s]", ""),
      "{{ 'x' * 999999999999 }}",
      "{{ [1] * 999999999999 }}",
      "{{ 'x'.center(999999999999) }}",
      "{{ 'x' | indent(999999999999) }}",
      "{{ '%999999999d' % 1 }}",
      "{{ '%.999999999f' % 1.5 }}",
      "{{ 'aaaaaaaaaaaaaaaa'.replace('', 'b' * 9999999) }}",
      "{{ 2 ** 9223372036854775807 }}",
      "{{ 10 ** 19 }}",
      "{{ " + many("(", 5000) + "1" + many(")", 5000) + " }}",
      "{{ " + many("[", 5000) + many("]", 5000) + " }}",
      "{{ " + many("not ", 5000) + "1 }}",
      "{{ " + many("-", 5000) + "1 }}",
      "{{ 1" + many("+1", 5000) + " }}",
      "{{ x" + many(".x", 5000) + " }}",
      "{{ x" + many("|list", 5000) + " }}",
      "{{ 1" + many(" if 1 else 1", 5000) + " }}",
      many("{% if 1 %}", 5000) + many("{% endif %}", 5000),
      many("{% for x in y %}", 5000),
      std::string((1u << 20) + 1, ' '),
  };
  for (const std::string& source : cases) {
    const std::string out = rendered(source);
    EXPECT_NE(out.find("error: chat template"), std::string::npos)
        << source.substr(0, 100) << " → " << out.substr(0, 100);
  }
}

TEST(Jinja, DeeplyLinkedNamespacesAreFreed) {
  EXPECT_EQ(
      rendered("{% set ns = namespace(p=none) %}{% for i in range(90000) %}{% set n = namespace(p=ns.p) %}"
               "{% set ns.p = n %}{% endfor %}{% set ns.self = ns %}{% macro m() %}{% endmacro %}"
               "{% set ns.m = m %}{% for i in [1, 2] %}{% set ns.l = [loop, ns] %}{% endfor %}ok"),
      "ok");
}

TEST(Jinja, LimitsAreTheCallers) {
  Limits limits;
  limits.output_bytes = 10;
  EXPECT_EQ(rendered("0123456789", "{}", limits), "0123456789");
  EXPECT_NE(rendered("01234567890", "{}", limits).find("more than 10 bytes"), std::string::npos);
  limits = {};
  limits.steps = 100;
  EXPECT_NE(rendered("{% for i in range(200) %}{% endfor %}", "{}", limits).find("100 steps"),
            std::string::npos);
  limits = {};
  limits.bytes = 1 << 20;
  EXPECT_NE(
      rendered("{% for i in range(200) %}{% set x = 'a' * 10000 %}{% endfor %}", "{}", limits).find("1 MiB"),
      std::string::npos);
}

TEST(Jinja, BytesThatAreNoUtf8PassThrough) {
  EXPECT_EQ(rendered("{{ x }}{{ x | upper }}{{ x[::-1] }}",
                     "{\"x\": \"a\xFF\xC3"
                     "b\"}"),
            "a\xFF\xC3"
            "b"
            "A\xFF\xC3"
            "B"
            "b\xC3\xFF"
            "a");
}

TEST(JinjaJson, ReadsAndRefuses) {
  EXPECT_EQ(rendered("{{ x | tojson }}",
                     R"({"x": {"a": [1, -2.5e3, true, null, "\u00e9\ud83e\udd8a\n\/"], "a ": {}}})"),
            "{\"a\": [1, -2500.0, true, null, \"é🦊\\n/\"], \"a \": {}}");
  std::string deep(65, '[');
  deep += std::string(65, ']');
  for (const std::string& bad :
       {std::string(""), std::string("{"), std::string("[1,]"), std::string("{\"a\":1,}"), std::string("01"),
        std::string("1."), std::string("1e"), std::string("-"), std::string("\"\\x\""),
        std::string("\"\\ud800\""), std::string("\"\\udc00\""), std::string("\"a\nb\""), std::string("\"abc"),
        std::string("nul"), std::string("NaN"), std::string("1 2"), std::string("9223372036854775808"),
        std::string("1e999"), deep}) {
    const Result<Value> v = parse_json(bad);
    EXPECT_FALSE(v) << bad;
    if (!v) EXPECT_TRUE(v.error().message.starts_with("JSON, byte ")) << v.error().message;
  }
  EXPECT_TRUE(parse_json(deep.substr(1, 128)));
  EXPECT_EQ(parse_json("-9223372036854775808")->as_int(), INT64_MIN);
}

TEST(JinjaValue, DictsKeepOrderAndReplace) {
  const DictBuilder d;
  for (int i = 0; i < 1000; ++i) d->set(Value::integer(i * 7), Value::integer(i));
  for (int i = 0; i < 1000; ++i) d->set(Value::real(i * 7.0), Value::integer(-i));
  ASSERT_EQ(d->entries.size(), 1000u);
  EXPECT_EQ(d->entries[999].first.as_int(), 6993);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(d->find(Value::integer(i * 7))->as_int(), -i);
  EXPECT_EQ(d->find(Value::integer(1)), nullptr);
  d->set("key", Value::none());
  EXPECT_NE(d->find("key"), nullptr);
}

}  // namespace
}  // namespace forge::rt::jinja
