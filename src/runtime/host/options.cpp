#include "runtime/host/options.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdlib>

namespace forge::rt {
namespace {

const Option* find_option(std::span<const Option> options, std::string_view name) {
  for (const Option& o : options) {
    if (o.name == name || (name.size() == 2 && name[0] == '-' && o.letter != 0 && name[1] == o.letter))
      return &o;
  }
  return nullptr;
}

Status set_option(const Option& option, std::string_view source, std::string_view value) {
  Status status = option.set(value);
  if (!status) return Error{text(source, ": ", status.error().message)};
  return status;
}

}  // namespace

Result<uint64_t> parse_unsigned(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    const auto digit = static_cast<uint64_t>(c - '0');
    if (c < '0' || c > '9') return Error{rt::text("'", text, "' is not a whole number")};
    if (value > (UINT64_MAX - digit) / 10) return Error{rt::text("'", text, "' is too large")};
    value = value * 10 + digit;
  }
  if (text.empty()) return Error{"the value is empty, expected a whole number"};
  return value;
}

Result<double> parse_number(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const bool plain = !copy.empty() && copy.find_first_not_of("0123456789+-.eE") == std::string::npos;
  const double value = plain ? std::strtod(copy.c_str(), &end) : 0;
  if (!plain || *end != '\0' || !std::isfinite(value)) return Error{rt::text("'", text, "' is not a number")};
  return value;
}

Result<std::vector<int32_t>> parse_token_ids(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n", kSeparators = ", \t\r\n";
  std::vector<int32_t> out;
  bool id_before = false;  // which a comma must have
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
    if (text.empty()) return out;
    if (text.front() == ',') {
      if (!id_before) return Error{"there is no token id before a comma"};
      id_before = false;
      text.remove_prefix(1);
      continue;
    }
    const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    const auto id = parse_unsigned(word);
    if (!id || *id > INT32_MAX) return Error{rt::text("'", word, "' is not a token id")};
    out.push_back(static_cast<int32_t>(*id));
    id_before = true;
    text.remove_prefix(word.size());
  }
}

Result<std::vector<std::string>> split_command_line(std::string_view line) {
  std::vector<std::string> out;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      if (in_word) out.push_back(std::exchange(word, {}));
      in_word = false;
      continue;
    }
    in_word = true;
    if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    } else if (c == '\\' && quote != '\'' && i + 1 < line.size()) {
      const char next = line[i + 1];
      // Between double quotes a backslash stands for itself unless it protects a quote or a backslash.
      if (quote == '"' && next != '"' && next != '\\') word += c;
      word += next;
      ++i;
    } else {
      word += c;
    }
  }
  if (quote != 0) return Error{rt::text("a quote (", quote, ") is not closed in: ", line)};
  if (in_word) out.push_back(std::move(word));
  return out;
}

std::function<Status(std::string_view)> into(bool& flag) {
  return [&flag](std::string_view) -> Status {
    flag = true;
    return Ok{};
  };
}

std::function<Status(std::string_view)> into(std::string& out) {
  return [&out](std::string_view value) -> Status {
    out = value;
    return Ok{};
  };
}

std::function<Status(std::string_view)> into(std::vector<std::string>& out) {
  return [&out](std::string_view value) -> Status {
    out.emplace_back(value);
    return Ok{};
  };
}

std::function<Status(std::string_view)> into(uint32_t& out, uint32_t low, uint32_t high) {
  return [&out, low, high](std::string_view value) -> Status {
    const auto n = parse_unsigned(value);
    if (!n) return n.error();
    if (*n < low || *n > high) return Error{text(*n, " is not in ", low, " .. ", high)};
    out = static_cast<uint32_t>(*n);
    return Ok{};
  };
}

std::function<Status(std::string_view)> into(uint64_t& out) {
  return [&out](std::string_view value) -> Status {
    const auto n = parse_unsigned(value);
    if (!n) return n.error();
    out = *n;
    return Ok{};
  };
}

std::function<Status(std::string_view)> into(float& out, float low, float high) {
  return [&out, low, high](std::string_view value) -> Status {
    const auto n = parse_number(value);
    if (!n) return n.error();
    if (*n < static_cast<double>(low) || *n > static_cast<double>(high)) {
      return Error{text(value, " is not in ", static_cast<int64_t>(low), " .. ", static_cast<int64_t>(high))};
    }
    out = static_cast<float>(*n);
    return Ok{};
  };
}

Result<Arguments> parse_options(std::span<const Option> options, std::span<const std::string> args,
                                size_t max_positionals) {
  Arguments out;
  // A mistake in the environment must not stand in the way of --help.
  for (const std::string& arg : args) {
    if (arg == "--") break;
    if (arg == "--help" || arg == "-h") {
      out.help = true;
      return out;
    }
  }
  for (const Option& o : options) {
    const char* value = o.variable != nullptr ? std::getenv(o.variable) : nullptr;
    if (value == nullptr || *value == '\0') continue;
    if (Status status = set_option(o, o.variable, value); !status) return status.error();
  }
  bool options_end = false;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string_view arg = args[i];
    if (options_end || arg.size() < 2 || arg[0] != '-') {
      if (out.positionals.size() == max_positionals) {
        return Error{text("unexpected argument '", arg, "' (quote a text that has spaces; see --help)")};
      }
      out.positionals.emplace_back(arg);
      continue;
    }
    if (arg == "--") {
      options_end = true;
      continue;
    }
    const bool long_form = arg[1] == '-';
    const size_t name_end = long_form ? std::min(arg.find('='), arg.size()) : 2;
    const std::string_view name = arg.substr(0, name_end);
    const Option* o = find_option(options, name);
    if (o == nullptr) return Error{text("unknown option '", name, "' (see --help)")};
    const bool attached = name_end < arg.size();
    std::string_view value = arg.substr(name_end);
    if (attached && long_form) value.remove_prefix(1);
    if (o->value.empty()) {
      if (attached) return Error{text(name, " takes no value")};
    } else if (!attached) {
      if (i + 1 == args.size()) return Error{text(name, " needs a value ", o->value)};
      value = args[++i];
    }
    if (Status status = set_option(*o, name, value); !status) return status.error();
  }
  return out;
}

std::string help_text(std::string_view program, const Usage& usage, std::span<const Option> options) {
  std::string out =
      text("usage: ", program, " ", usage.command, " [options]", usage.positionals.empty() ? "" : " ",
           usage.positionals, "\n", usage.summary, "\n\noptions:\n");
  std::vector<std::string> heads;
  size_t width = 0;
  for (const Option& o : options) {
    std::string head = "  ";
    if (o.letter != 0) head += text('-', o.letter, ", ");
    head += o.name;
    if (!o.value.empty()) head += text(' ', o.value);
    width = std::max(width, head.size());
    heads.push_back(std::move(head));
  }
  for (size_t i = 0; i < options.size(); ++i) {
    out += heads[i] + std::string(width + 2 - heads[i].size(), ' ') + options[i].help;
    if (!options[i].initial.empty()) out += text(" (default ", options[i].initial, ")");
    if (options[i].variable != nullptr) out += text(" [", options[i].variable, "]");
    out += '\n';
  }
  out += text("\nexample:\n  ", program, " ", usage.example, "\n");
  return out;
}

}  // namespace forge::rt
