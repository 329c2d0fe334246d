#include "runtime/host/chat_commands.h"

#include <algorithm>
#include <utility>

namespace forge::rt {
namespace {

struct Context {
  Conversation& conversation;
  AnswerOptions& options;
};

struct ChatCommand {
  std::string_view name, argument, help;
  Result<CommandOutcome> (*run)(const Context& context, std::string_view argument);
};

constexpr std::string_view kSpaces = " \t\n";

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  return text.substr(0, text.find_last_not_of(kSpaces) + 1);  // npos + 1 is 0
}

// The first word, and what follows it.
std::pair<std::string_view, std::string_view> split_word(std::string_view text) {
  const size_t end = std::min(text.find_first_of(kSpaces), text.size());
  return {text.substr(0, end), trimmed(text.substr(end))};
}

// Pairs of columns, the second aligned.
std::string columns(const std::vector<std::pair<std::string, std::string>>& rows) {
  size_t width = 0;
  for (const auto& [left, right] : rows) width = std::max(width, left.size());
  std::string out;
  for (const auto& [left, right] : rows) {
    const std::string gap = right.empty() ? "" : std::string(width + 2 - left.size(), ' ');
    out += text("  ", left, gap, right, "\n");
  }
  return out;
}

Result<CommandOutcome> help(const Context& context, std::string_view argument);

Result<CommandOutcome> system(const Context& context, std::string_view argument) {
  Conversation& conversation = context.conversation;
  if (!argument.empty()) conversation.set_system(argument == "none" ? std::string_view() : argument);
  const std::string_view now = conversation.system();
  return CommandOutcome{.output = now.empty() ? "no instructions\n" : text("instructions: ", now, "\n")};
}

Result<CommandOutcome> regen(const Context& context, std::string_view) {
  if (context.conversation.last_user_message() == nullptr) return Error{"/regen: there is no answer yet"};
  return CommandOutcome{.action = ChatAction::answer_again};
}

Result<CommandOutcome> edit(const Context& context, std::string_view argument) {
  if (context.conversation.last_user_message() == nullptr) return Error{"/edit: there is no message yet"};
  if (argument.empty()) return CommandOutcome{.action = ChatAction::edit};
  return CommandOutcome{.action = ChatAction::answer_edited, .message = std::string(argument)};
}

Result<CommandOutcome> save(const Context& context, std::string_view argument) {
  if (argument.empty() || argument == "-") return Error{"/save: give the name of a file"};
  const std::string path(argument);
  if (const Status saved = context.conversation.save(path); !saved)
    return Error{text("/save: ", saved.error().message)};
  return CommandOutcome{.output = text("saved to ", path, "\n")};
}

Result<CommandOutcome> load(const Context& context, std::string_view argument) {
  if (argument.empty()) return Error{"/load: give the name of a file that /save or --save-state wrote"};
  const std::string path(argument);
  if (const Status loaded = context.conversation.load(path); !loaded)
    return Error{text("/load: ", loaded.error().message)};
  return CommandOutcome{.output = text(context.conversation.n_messages(), " messages from ", path, "\n")};
}

Result<CommandOutcome> stats(const Context& context, std::string_view) {
  const Conversation& conversation = context.conversation;
  const AnswerStats& s = conversation.stats();
  const auto rate = [](size_t n, double seconds) {
    return seconds > 0 ? fixed(static_cast<double>(n) / seconds, 1) : std::string("-");
  };
  std::string out;
  if (s.n_prompt != 0) {
    // The first token comes out of the prompt's last row.
    const size_t n_decoded = s.n_generated == 0 ? 0 : s.n_generated - 1;
    out = text("last answer: prompt ", s.n_prompt, " tokens in ", fixed(s.prompt_seconds, 3), " s (",
               rate(s.n_prompt, s.prompt_seconds), " tok/s), ", s.n_kept,
               " more were there already; generated ", s.n_generated, " in ", fixed(s.decode_seconds, 3),
               " s (", rate(n_decoded, s.decode_seconds), " tok/s), seed ", s.seed, "\n");
  }
  out += text("context: ", conversation.n_tokens(), " of ", conversation.ctx(), " tokens, ",
              conversation.n_messages(), " messages\n");
  return CommandOutcome{.output = std::move(out)};
}

// "temp" of "--temp".
std::string_view setting_name(const Option& option) { return option.name.substr(2); }

Result<CommandOutcome> set(const Context& context, std::string_view argument) {
  const auto [name, value] = split_word(argument);
  std::vector<Option> options = answer_options(context.options);
  if (!value.empty()) {
    const auto option = std::ranges::find(options, name, setting_name);
    if (option != options.end()) {
      if (const Status status = option->set(value); !status)
        return Error{text("/set ", name, ": ", status.error().message)};
      options = answer_options(context.options);  // with the new value
    }
  }
  std::vector<std::pair<std::string, std::string>> rows;
  std::string names;
  for (const Option& o : options) {
    names += text(names.empty() ? "" : ", ", setting_name(o));
    if (!name.empty() && setting_name(o) != name) continue;
    // The help of a command does not show the seed, which is random.
    const std::string now =
        o.name == "--seed" ? std::to_string(context.options.sampling.params.seed) : o.initial;
    rows.emplace_back(text(setting_name(o), " ", now), value.empty() ? o.help : std::string());
  }
  if (rows.empty()) return Error{text("/set: there is no '", name, "', but ", names)};
  return CommandOutcome{.output = columns(rows)};
}

Result<CommandOutcome> quit(const Context&, std::string_view) {
  return CommandOutcome{.action = ChatAction::quit};
}

constexpr ChatCommand kCommands[] = {
    {"help", "", "this list", help},
    {"system", "[TEXT]",
     "shows the instructions in front of the conversation, or replaces them; none: no more", system},
    {"regen", "", "answers the last message anew, with another seed", regen},
    {"edit", "[TEXT]", "replaces the last message and answers it; on a terminal it can be edited", edit},
    {"save", "FILE", "keeps the conversation in a file, as --save-state does", save},
    {"load", "FILE", "goes on with a kept one", load},
    {"stats", "", "tokens, tokens per second, use of the context", stats},
    {"set", "[NAME VALUE]", "shows the settings, or changes one: /set temp 0.5", set},
    {"quit", "", "leaves", quit},
};

Result<CommandOutcome> help(const Context&, std::string_view) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const ChatCommand& c : kCommands) {
    rows.emplace_back(text("/", c.name, c.argument.empty() ? "" : " ", c.argument), c.help);
  }
  rows.emplace_back("//TEXT", "a message that begins with a slash");
  rows.emplace_back("TEXT\\", "a backslash at the end: the message goes on in the next line");
  rows.emplace_back("\"\"\"TEXT\"\"\"",
                    "a message of any lines; on a terminal Alt+Enter and Ctrl+J begin a new one");
  return CommandOutcome{.output = columns(rows)};
}

}  // namespace

std::vector<Option> answer_options(AnswerOptions& options) {
  std::vector<Option> out = {
      {.name = "--tokens",
       .letter = 'n',
       .value = "N",
       .help = "tokens of an answer at most",
       .initial = options.max_tokens == UINT32_MAX ? "" : std::to_string(options.max_tokens),
       .set = into(options.max_tokens, 1)},
  };
  add_sampling_options(out, options.sampling);
  return out;
}

Result<CommandOutcome> run_chat_command(std::string_view command, Conversation& conversation,
                                        AnswerOptions& options) {
  const auto [name, argument] = split_word(command);
  const auto* found = std::ranges::find(kCommands, name, &ChatCommand::name);
  if (found != std::end(kCommands)) {
    if (found->argument.empty() && !argument.empty())
      return Error{text("/", name, " takes nothing behind it")};
    return found->run({conversation, options}, argument);
  }
  std::string names;
  for (const ChatCommand& c : kCommands) names += text(" /", c.name);
  return Error{text("there is no command '/", name, "', but", names,
                    "; a message that begins with a slash is written with two")};
}

}  // namespace forge::rt
