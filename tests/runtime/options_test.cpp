#include "runtime/host/options.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace forge::rt {
namespace {

struct Flags {
  uint32_t n = 5;
  float temp = 1;
  bool json = false;
  std::string file;
  std::vector<std::string> stop;
  std::vector<Option> table() {
    return {{.name = "--tokens", .letter = 'n', .value = "N", .help = "how many", .set = into(n, 1, 100)},
            {.name = "--temp",
             .value = "T",
             .help = "heat",
             .set = into(temp, 0, 2),
             .variable = "FORGE_TEST_TEMP"},
            {.name = "--json", .help = "as JSON", .set = into(json)},
            {.name = "--file", .letter = 'f', .value = "F", .help = "a file", .set = into(file)},
            {.name = "--stop", .value = "TEXT", .help = "ends", .set = into(stop)}};
  }
};

std::string error_of(const std::vector<std::string>& args, size_t max_positionals = 1) {
  Flags f;
  const auto parsed = parse_options(f.table(), args, max_positionals);
  return parsed ? "no error" : parsed.error().message;
}

TEST(Options, EveryForm) {
  Flags f;
  const std::vector<std::string> args = {"-n",     "7",  "hello",   "--temp=0.5", "--json",
                                         "--stop", "-x", "--stop=", "-fa b"};
  const auto parsed = parse_options(f.table(), args, 1);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(f.n, 7U);
  EXPECT_EQ(f.temp, 0.5F);
  EXPECT_TRUE(f.json);
  EXPECT_EQ(f.file, "a b");
  EXPECT_EQ(f.stop, (std::vector<std::string>{"-x", ""}));
  EXPECT_EQ(parsed->positionals, (std::vector<std::string>{"hello"}));
  const auto rest = parse_options(f.table(), std::vector<std::string>{"--", "--json", "-"}, 2);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->positionals, (std::vector<std::string>{"--json", "-"}));
  EXPECT_TRUE(parse_options(f.table(), std::vector<std::string>{"--nonsense", "-h"}, 0)->help);
}

TEST(Options, Mistakes) {
  EXPECT_NE(error_of({"--nonsense"}).find("unknown option '--nonsense'"), std::string::npos);
  EXPECT_NE(error_of({"-z"}).find("unknown option '-z'"), std::string::npos);
  EXPECT_NE(error_of({"--tokens"}).find("needs a value"), std::string::npos);
  EXPECT_NE(error_of({"--json=1"}).find("takes no value"), std::string::npos);
  EXPECT_NE(error_of({"a", "b"}).find("unexpected argument 'b'"), std::string::npos);
  for (const char* bad : {"0", "101", "-1", "1x", "", " 1", "0x10", "99999999999999999999"}) {
    EXPECT_NE(error_of({"-n", bad}), "no error") << bad;
  }
  for (const char* bad : {"nan", "inf", "2.1", "-0.1", "1e400", "0x1", "1,5", ""}) {
    EXPECT_NE(error_of({"--temp", bad}), "no error") << bad;
  }
}

TEST(Options, EnvironmentGivesWay) {
  Flags f;
  setenv("FORGE_TEST_TEMP", "1.5", 1);
  ASSERT_TRUE(parse_options(f.table(), {}, 0));
  EXPECT_EQ(f.temp, 1.5F);
  ASSERT_TRUE(parse_options(f.table(), std::vector<std::string>{"--temp", "0.25"}, 0));
  EXPECT_EQ(f.temp, 0.25F);
  setenv("FORGE_TEST_TEMP", "hot", 1);
  EXPECT_NE(error_of({}).find("FORGE_TEST_TEMP"), std::string::npos);
  EXPECT_TRUE(parse_options(f.table(), std::vector<std::string>{"--help"}, 0));
  unsetenv("FORGE_TEST_TEMP");
}

TEST(Options, Help) {
  Flags f;
  const std::string help = help_text(
      "story", {.command = "tell", .positionals = "[TEXT]", .summary = "Tells.", .example = "tell -n 5"},
      f.table());
  EXPECT_NE(help.find("usage: story tell [options] [TEXT]"), std::string::npos) << help;
  EXPECT_NE(help.find("-n, --tokens N"), std::string::npos) << help;
  EXPECT_NE(help.find("[FORGE_TEST_TEMP]"), std::string::npos) << help;
  EXPECT_NE(help.find("story tell -n 5"), std::string::npos) << help;
}

TEST(Options, SplitsAsAShell) {
  const auto split = [](std::string_view line) { return *split_command_line(line); };
  using Words = std::vector<std::string>;
  EXPECT_EQ(split("chat --temp 0.7"), (Words{"chat", "--temp", "0.7"}));
  EXPECT_EQ(split("  a 'b c'\"d e\"  \"\" \\'x\\ y "), (Words{"a", "b cd e", "", "'x y"}));
  EXPECT_EQ(split("\"a\\\"b\\n\" 'a\\b'"), (Words{"a\"b\\n", "a\\b"}));
  EXPECT_EQ(split(" "), Words{});
  EXPECT_FALSE(split_command_line("a 'b"));
}

TEST(Options, TokenIds) {
  EXPECT_EQ(*parse_token_ids("1,5, 9 10\n"), (std::vector<int32_t>{1, 5, 9, 10}));
  EXPECT_TRUE(parse_token_ids("")->empty());
  EXPECT_EQ(*parse_token_ids("1,5,"), (std::vector<int32_t>{1, 5}));
  EXPECT_FALSE(parse_token_ids("1,,5"));
  EXPECT_FALSE(parse_token_ids(",5"));
  EXPECT_FALSE(parse_token_ids("1,-5"));
  EXPECT_FALSE(parse_token_ids("1,x"));
  EXPECT_FALSE(parse_token_ids("2147483648"));
}

}  // namespace
}  // namespace forge::rt
