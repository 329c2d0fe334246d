// The command line of a program: a table of options for each command, from which parsing and --help follow.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/result.h"

namespace forge::rt {

struct Option {
  std::string_view name;        // "--temp"
  char letter = 0;              // 'n' for "-n"
  std::string_view value = {};  // the value's name in the help; empty: a switch
  std::string help;
  std::string initial = {};  // the value before the option is given, for the help; empty: not shown
  std::function<Status(std::string_view value)> set;  // a switch gets an empty value
  const char* variable = nullptr;                     // "FORGE_TEMP": taken where the option is not given
};

// Setters. Numbers are decimal, in [low, high]; everything else is an Error.
std::function<Status(std::string_view)> into(bool& flag);
std::function<Status(std::string_view)> into(std::string& out);
std::function<Status(std::string_view)> into(std::vector<std::string>& out);
std::function<Status(std::string_view)> into(uint32_t& out, uint32_t low, uint32_t high = UINT32_MAX);
std::function<Status(std::string_view)> into(uint64_t& out);
std::function<Status(std::string_view)> into(float& out, float low, float high);

struct Usage {
  std::string_view command;      // "generate"
  std::string_view positionals;  // "[PROMPT]"
  std::string_view summary;      // one sentence
  std::string_view example;      // "generate \"Once upon a time\" -n 200"
};

struct Arguments {
  bool help = false;  // --help or -h was given; nothing else counts then
  std::vector<std::string> positionals;
};

// Environment first, then `args`. "--name value", "--name=value", "-nvalue"; "--" ends the options.
Result<Arguments> parse_options(std::span<const Option> options, std::span<const std::string> args,
                                size_t max_positionals);
// The text of `PROGRAM COMMAND --help`.
std::string help_text(std::string_view program, const Usage& usage, std::span<const Option> options);

// Decimal numbers without locale, sign only where it makes sense, nothing behind.
Result<uint64_t> parse_unsigned(std::string_view text);
Result<double> parse_number(std::string_view text);
// Comma- or space-separated token ids.
Result<std::vector<int32_t>> parse_token_ids(std::string_view text);
// Splits as a shell would: spaces, single and double quotes, backslash.
Result<std::vector<std::string>> split_command_line(std::string_view line);

}  // namespace forge::rt
