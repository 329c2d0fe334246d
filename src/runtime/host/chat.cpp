// chat: a conversation on a terminal, or a line a turn in a pipe.
#include <cstdlib>
#include <optional>
#include <utility>

#include "runtime/core/chat_template.h"
#include "runtime/core/jinja_json.h"
#include "runtime/host/chat_commands.h"
#include "runtime/host/chat_input.h"
#include "runtime/host/conversation.h"
#include "runtime/host/line_editor.h"
#include "runtime/host/program.h"

namespace forge::rt {
namespace {

struct ChatFlags {
  RunFlags run;
  AnswerOptions answer;
  std::optional<std::string> system;
  std::string save_state, load_state;
};

// What a pipe's reader finds between two answers, on a line of its own.
constexpr std::string_view kBetweenAnswers = "---\n";

// Of --chat-template-kwargs. What is not among them keeps the template's own default.
Status set_template_variables(std::string_view json, jinja::Value& out) {
  Result<jinja::Value> parsed = jinja::parse_json(json);
  if (!parsed) return parsed.error();
  if (!parsed->is(jinja::Type::dict))
    return Error{"expected a JSON object, like {\"enable_thinking\": false}"};
  for (const char* own : {"messages", "add_generation_prompt"})
    if (parsed->as_dict().find(own) != nullptr) return Error{text(own, " is what chat itself says")};
  out = std::move(*parsed);
  return Ok{};
}

std::vector<Option> option_table(ChatFlags& f) {
  std::vector<Option> options = {
      {.name = "--system",
       .letter = 's',
       .value = "TEXT",
       .help = "instructions in front of the conversation, in the place of those that were compiled in",
       .set = [&f](std::string_view value) -> Status {
         f.system = value;
         return Ok{};
       }},
      {.name = "--chat-template-kwargs",
       .value = "JSON",
       .help = "variables for the chat template: {\"enable_thinking\": false}",
       .set =
           [&f](std::string_view json) { return set_template_variables(json, f.answer.template_variables); }},
      {.name = "--stop",
       .value = "TEXT",
       .help = "end an answer before this text (may be repeated)",
       .set = into(f.answer.stop)},
      {.name = "--save-state",
       .value = "F",
       .help = "keep the conversation in a file at the end",
       .set = into(f.save_state)},
      {.name = "--load-state",
       .value = "F",
       .help = "go on with a kept conversation",
       .set = into(f.load_state)},
  };
  const auto of_answers = answer_options(f.answer);
  options.insert(options.end(), of_answers.begin(), of_answers.end());
  add_run_options(options, f.run);
  return options;
}

// Whether colours may go there: a terminal that knows them, and nobody asked for none (no-color.org).
bool takes_colours(bool is_terminal) {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string_view(value != nullptr ? value : "");
  };
  return is_terminal && variable("NO_COLOR").empty() && variable("TERM") != "dumb";
}

// The loop of a conversation: reads messages and commands, answers.
class Chat {
 public:
  Chat(Program& program, Conversation& conversation, AnswerOptions& options)
      : program_(program),
        conversation_(conversation),
        options_(options),
        editor_(takes_colours(program.out.is_terminal())),
        dims_(takes_colours(program.err.is_terminal())) {}

  // Until the input ends or somebody leaves. Returns the exit status.
  int run() {
    if (editor_.interactive()) say("Ctrl-C stops an answer, Ctrl-D leaves, /help lists commands.\n");
    while (program_.out.usable() && !quits_) {
      const auto message = read_message();
      if (!message) break;
      if (message->is_command) {
        obey(message->text);
      } else if (message->text.find_first_not_of(" \t\n") != std::string::npos) {
        answer([&] { return conversation_.answer(message->text); });
      }
    }
    return status_;
  }

 private:
  // Nothing at the end of the input.
  std::optional<ChatMessageInput> read_message() {
    bool warned = false;
    for (;;) {
      std::string line;
      switch (read_line(input_.is_open() ? ". " : "> ", line)) {
        case ReadLine::end_of_input: return input_.finish();
        case ReadLine::interrupt:
          if (!editor_.interactive()) return std::nullopt;
          if (input_.is_open()) {
            input_.drop();
          } else if (std::exchange(warned, true)) {
            return std::nullopt;
          } else {
            say("(Ctrl-C once more or Ctrl-D leaves)\n");
          }
          break;
        case ReadLine::line:
          warned = false;
          if (auto message = input_.add(line)) return message;
      }
    }
  }

  ReadLine read_line(std::string_view prompt, std::string& line, std::string_view initial = {}) {
    program_.out.flush();
    program_.err.flush();
    interrupt_flag() = false;
    return editor_.read(prompt, line, initial);
  }

  void obey(std::string_view command) {
    auto outcome = run_chat_command(command, conversation_, options_);
    if (!outcome) {
      // A slip of the fingers is no failure of the program, but a script's is.
      const int failed = fail(program_, Error{text("chat: ", outcome.error().message)});
      if (!editor_.interactive()) status_ = failed;
      return;
    }
    say(outcome->output);
    switch (outcome->action) {
      case ChatAction::none: break;
      case ChatAction::answer_again: answer([&] { return conversation_.answer_again(); }); break;
      case ChatAction::answer_edited:
        answer([&] { return conversation_.answer_edited(std::move(outcome->message)); });
        break;
      case ChatAction::edit: edit(); break;
      case ChatAction::quit: quits_ = true; break;
    }
  }

  void edit() {
    if (!editor_.interactive()) {
      status_ = fail(program_, Error{"chat: /edit: give the new message behind it"});
      return;
    }
    std::string message;
    if (read_line("> ", message, *conversation_.last_user_message()) != ReadLine::line || message.empty())
      return;
    answer([&] { return conversation_.answer_edited(std::move(message)); });
  }

  template <class Answer>
  void answer(const Answer& give_answer) {
    if (!std::exchange(first_, false) && !editor_.interactive()) program_.out.write(kBetweenAnswers);
    interrupt_flag() = false;
    editor_.let_keys_signal(true);
    const Status answered = give_answer();
    editor_.let_keys_signal(false);
    if (!answered) status_ = fail(program_, answered.error());
    program_.out.write("\n");
  }

  // To standard error, dimmed where it can be.
  void say(std::string_view lines) {
    if (lines.empty()) return;
    program_.out.flush();
    program_.err.write(dims_ ? text("\x1b[2m", lines, "\x1b[0m") : std::string(lines));
    program_.err.flush();
  }

  Program& program_;
  Conversation& conversation_;
  AnswerOptions& options_;
  LineEditor editor_;
  ChatInput input_;
  bool dims_, quits_ = false, first_ = true;
  int status_ = 0;
};

}  // namespace

int chat_command(Program& program, std::span<const std::string> args) {
  ChatFlags f;
  f.answer.sampling = default_sampling(program);
  Arguments parsed;
  int status = 0;
  if (!parse_command(program,
                     {.command = "chat",
                      .positionals = "",
                      .summary = "Talks with the model. In a pipe: each line is a turn, each answer goes to "
                                 "standard output, with a line --- between two. Lines that begin with / are "
                                 "commands; /help lists them.",
                      .example = "chat --system \"You tell short stories.\" --temp 0.7"},
                     option_table(f), args, 0, parsed, status)) {
    return status;
  }
  if (program.payload->chat_template.empty()) {
    return fail(program, Error{"chat: the model has no chat template; compile it with --chat-template FILE"});
  }
  const auto chat_template = ChatTemplate::parse(program.payload->chat_template);
  if (!chat_template) return fail(program, chat_template.error());
  const auto session = open_session(program, f.run, status, f.save_state);
  if (session == nullptr) return status;
  auto masks = compiled_in_masks(program, session->tokenizer);
  if (!masks) return fail(program, masks.error());
  f.answer.masks = std::move(*masks);
  Conversation conversation(program, *session, *chat_template, f.answer);
  if (!f.load_state.empty()) {
    if (const Status loaded = conversation.load(f.load_state); !loaded) return fail(program, loaded.error());
  }
  const auto compiled_in = program.payload->string("system_prompt");
  if (f.system) {
    conversation.set_system(*f.system);  // in the place of kept ones
  } else if (compiled_in && f.load_state.empty()) {
    conversation.set_system(*compiled_in);
  }
  catch_interrupts(/*second_exits=*/false);
  status = Chat(program, conversation, f.answer).run();
  program.err.write(text("seed ", f.answer.sampling.params.seed, "\n"));
  if (!f.save_state.empty()) {
    if (const Status saved = conversation.save(f.save_state); !saved) return fail(program, saved.error());
  }
  return status;
}

}  // namespace forge::rt
