// chat: a conversation on a terminal, or a line a turn in a pipe.
#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/core/chat_prompt.h"
#include "runtime/core/generation.h"
#include "runtime/core/jinja_json.h"
#include "runtime/host/line_editor.h"
#include "runtime/host/program.h"
#include "runtime/host/state_file.h"

namespace forge::rt {
namespace {

struct ChatFlags {
  RunFlags run;
  SamplingFlags sampling;
  uint32_t max_tokens = UINT32_MAX;
  std::vector<std::string> stop;
  std::string system, save_state, load_state;
  jinja::Value template_variables;  // a dict, or undefined
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

// One conversation: its messages, and the tokens that the sequence's KV holds.
class Conversation {
 public:
  Conversation(Program& program, Session& session, const ChatTemplate& chat_template, const ChatFlags& flags)
      : program_(program), session_(session), prompt_(chat_template, session.tokenizer), flags_(flags) {
    if (!flags.system.empty()) messages_.push_back({.role = "system", .content = flags.system});
  }

  Status load(const std::string& path) {
    auto state = load_state(path, program_, session_.engine, sequence_);
    if (!state) return state.error();
    tokens_ = std::move(state->tokens);
    tokens_.resize(sequence_.n_past);
    if (Status parsed = parse_transcript(state->transcript, path); !parsed) return parsed;
    if (flags_.system.empty()) return Ok{};
    // New instructions take the place of the kept ones.
    if (messages_.front().role == "system") messages_.erase(messages_.begin());
    messages_.insert(messages_.begin(), {.role = "system", .content = flags_.system});
    return Ok{};
  }

  Status save(const std::string& path) const {
    SavedState state{.tokens = tokens_, .transcript = {}};
    for (const ChatMessage& m : messages_) {
      state.transcript += text(m.role, " ", m.content.size(), "\n", m.content, "\n");
    }
    return save_state(path, program_, session_.engine.pool(), sequence_, state);
  }

  // Answers `user`; the answer goes to standard output as it comes. An Error, or an interrupt before the answer
  // began, leaves the conversation as it was.
  Status turn(std::string user) {
    const std::vector<ChatMessage> before = messages_;
    const auto undo = [&] {
      messages_ = before;
      --n_turns_;
    };
    messages_.push_back({.role = "user", .content = std::move(user)});
    messages_.push_back({.role = "assistant", .content = {}});
    ++n_turns_;
    TextStream stream(flags_.stop);
    std::vector<int32_t> answer;
    for (;;) {
      auto prompt = make_room(answer);
      if (!prompt) {
        undo();
        return prompt.error();
      }
      auto result = run(*prompt, stream, flags_.max_tokens - static_cast<uint32_t>(answer.size()));
      if (!result) {
        undo();
        return result.error();
      }
      if (result->reason == StopReason::interrupted && answer.empty() && result->tokens.empty()) {
        undo();  // nothing was answered
        return Ok{};
      }
      messages_.back().content += result->text;
      answer.insert(answer.end(), result->tokens.begin(), result->tokens.end());
      if (result->reason != StopReason::context_full) return Ok{};
      // Room is made by dropping older turns; where this turn alone fills the context the answer ends here.
      if (!drop_oldest_turn()) {
        const std::string rest = finish_text(stream);
        program_.out.write(rest);
        messages_.back().content += rest;
        program_.err.write(
            text("chat: the context of ", session_.engine.ctx(), " tokens is full: the answer ends here\n"));
        return Ok{};
      }
      report_dropped(1);
    }
  }

 private:
  Status parse_transcript(std::string_view rest, const std::string& path) {
    std::vector<ChatMessage> messages;
    while (!rest.empty()) {
      const size_t space = rest.find(' ');
      const size_t line_end = rest.find('\n');
      const auto bytes = space < line_end ? parse_unsigned(rest.substr(space + 1, line_end - space - 1))
                                          : Result<uint64_t>(Error{});
      if (!bytes || *bytes >= rest.size() - line_end - 1)
        return Error{text(path, ": not a state that chat saved")};
      messages.push_back({.role = std::string(rest.substr(0, space)),
                          .content = std::string(rest.substr(line_end + 1, *bytes))});
      rest.remove_prefix(line_end + 1 + *bytes + 1);
    }
    if (messages.empty()) return Error{text(path, ": not a state that chat saved")};
    messages_ = std::move(messages);
    return Ok{};
  }

  // The conversation up to where the answer begins.
  Result<std::vector<int32_t>> prompt_tokens() const {
    std::vector<jinja::Value> shown;
    for (const ChatMessage& m : std::span(messages_).first(messages_.size() - 1))
      shown.push_back(chat_message(m.role, m.content));
    return prompt_.tokens(jinja::Value::list(std::move(shown)),
                          {.variables = flags_.template_variables, .now = utc_now()});
  }

  // Drops the oldest user message and what follows it up to the next one; false where only this turn is left.
  bool drop_oldest_turn() {
    const auto is_user = [](const ChatMessage& m) { return m.role == "user"; };
    const auto first = std::find_if(messages_.begin(), messages_.end(), is_user);
    const auto second = first == messages_.end() ? first : std::find_if(first + 1, messages_.end(), is_user);
    if (second == messages_.end()) return false;
    messages_.erase(first, second);
    return true;
  }

  void report_dropped(uint32_t n_turns) {
    if (n_turns == 0) return;
    program_.out.flush();
    program_.err.write(
        n_turns == 1 ? "chat: the context is full: the oldest turn was dropped\n"
                     : text("chat: the context is full: the ", n_turns, " oldest turns were dropped\n"));
    program_.err.flush();
  }

  // The tokens to answer from, with older turns dropped until there is room for an answer behind them. On an
  // Error (this turn alone has no room) they are dropped too: turn() brings them back.
  Result<std::vector<int32_t>> make_room(const std::vector<int32_t>& answer) {
    const uint32_t ctx = session_.engine.ctx();
    const uint32_t wanted = std::min(std::min(flags_.max_tokens, 256U), ctx / 4);
    for (uint32_t n_dropped = 0;; ++n_dropped) {
      auto prompt = prompt_tokens();
      if (!prompt) return prompt;
      prompt->insert(prompt->end(), answer.begin(), answer.end());
      const bool roomy = prompt->size() + wanted <= ctx;
      if (!roomy && drop_oldest_turn()) continue;
      if (roomy || prompt->size() < ctx) {
        report_dropped(n_dropped);
        return prompt;
      }
      return Error{
          text("chat: this turn has ", prompt->size(), " tokens, the context holds ", ctx, " (see --ctx)")};
    }
  }

  Result<Generated> run(const std::vector<int32_t>& prompt, TextStream& stream, uint32_t max_tokens) {
    // What the KV holds already stays; at least the last token must run.
    const size_t limit = std::min(tokens_.size(), prompt.size() - 1);
    size_t n_kept = 0;
    while (n_kept < limit && tokens_[n_kept] == prompt[n_kept]) ++n_kept;
    session_.engine.pool().truncate(sequence_, static_cast<uint32_t>(n_kept));
    auto sampling = sampling_params(flags_.sampling, session_.tokenizer);
    if (!sampling) return sampling.error();
    sampling->seed += n_turns_;  // the same question need not get the same answer
    Sampler sampler(*sampling);
    for (size_t i = 0; i < n_kept; ++i) sampler.accept(prompt[i]);
    GenerateOptions options{.max_tokens = max_tokens, .interrupt = &interrupt_flag()};
    options.on_text = [this](std::string_view piece) {
      program_.out.write(piece);
      program_.out.flush();
      if (!program_.out.usable()) interrupt_flag() = true;
    };
    auto result = generate(session_.engine, session_.tokenizer, sequence_, sampler,
                           std::span(prompt).subspan(n_kept), stream, options);
    tokens_ = prompt;
    if (result) tokens_.insert(tokens_.end(), result->tokens.begin(), result->tokens.end());
    tokens_.resize(std::min<size_t>(tokens_.size(), sequence_.n_past));
    return result;
  }

  Program& program_;
  Session& session_;
  ChatPrompt prompt_;
  const ChatFlags& flags_;
  std::vector<ChatMessage> messages_;
  Sequence sequence_;
  uint64_t n_turns_ = 0;
  std::vector<int32_t> tokens_;  // [sequence_.n_past]
};

std::vector<Option> option_table(ChatFlags& f) {
  std::vector<Option> options = {
      {.name = "--system",
       .letter = 's',
       .value = "TEXT",
       .help = "instructions in front of the conversation",
       .set = into(f.system)},
      {.name = "--chat-template-kwargs",
       .value = "JSON",
       .help = "variables for the chat template: {\"enable_thinking\": false}",
       .set = [&f](std::string_view json) { return set_template_variables(json, f.template_variables); }},
      {.name = "--tokens",
       .letter = 'n',
       .value = "N",
       .help = "tokens of an answer at most",
       .set = into(f.max_tokens, 1)},
      {.name = "--stop",
       .value = "TEXT",
       .help = "end an answer before this text (may be repeated)",
       .set = into(f.stop)},
      {.name = "--save-state",
       .value = "F",
       .help = "keep the conversation in a file at the end",
       .set = into(f.save_state)},
      {.name = "--load-state",
       .value = "F",
       .help = "go on with a kept conversation",
       .set = into(f.load_state)},
  };
  add_sampling_options(options, f.sampling);
  add_run_options(options, f.run);
  return options;
}

// Reads and answers until the input ends. Returns the exit status.
int converse(Program& program, Conversation& conversation) {
  LineEditor editor;
  if (editor.interactive()) program.err.write("Ctrl-C stops an answer, Ctrl-D leaves.\n");
  bool warned = false;
  bool first = true;
  int status = 0;
  while (program.out.usable()) {
    program.out.flush();
    program.err.flush();
    interrupt_flag() = false;
    std::string line;
    const ReadLine read = editor.read("> ", line);
    if (read == ReadLine::end_of_input) break;
    if (read == ReadLine::interrupt) {
      if (warned || !editor.interactive()) break;
      program.err.write("(Ctrl-C once more or Ctrl-D leaves)\n");
      warned = true;
      continue;
    }
    warned = false;
    if (line.find_first_not_of(" \t\n") == std::string::npos) continue;
    if (!std::exchange(first, false) && !editor.interactive()) program.out.write(kBetweenAnswers);
    interrupt_flag() = false;
    editor.let_keys_signal(true);
    const Status answered = conversation.turn(std::move(line));
    editor.let_keys_signal(false);
    if (!answered) status = fail(program, answered.error());
    program.out.write("\n");
  }
  return status;
}

}  // namespace

int chat_command(Program& program, std::span<const std::string> args) {
  ChatFlags f;
  f.sampling = default_sampling(program);
  Arguments parsed;
  int status = 0;
  if (!parse_command(program,
                     {.command = "chat",
                      .positionals = "",
                      .summary = "Talks with the model. In a pipe: each line is a turn, each answer goes to "
                                 "standard output, with a "
                                 "line --- between two.",
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
  Conversation conversation(program, *session, *chat_template, f);
  if (!f.load_state.empty()) {
    if (const Status loaded = conversation.load(f.load_state); !loaded) return fail(program, loaded.error());
  }
  catch_interrupts(/*second_exits=*/false);
  status = converse(program, conversation);
  program.err.write(text("seed ", f.sampling.params.seed, "\n"));
  if (!f.save_state.empty()) {
    if (const Status saved = conversation.save(f.save_state); !saved) return fail(program, saved.error());
  }
  return status;
}

}  // namespace forge::rt
