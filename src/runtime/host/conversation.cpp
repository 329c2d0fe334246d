#include "runtime/host/conversation.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/core/prefix_cache.h"
#include "runtime/host/state_file.h"

namespace forge::rt {
namespace {

Result<std::vector<ChatMessage>> parse_transcript(std::string_view rest, const std::string& path) {
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
  return messages;
}

}  // namespace

Conversation::Conversation(Program& program, Session& session, const ChatTemplate& chat_template,
                           const AnswerOptions& options)
    : program_(program), session_(session), prompt_(chat_template, session.tokenizer), options_(options) {}

std::string_view Conversation::system() const {
  const bool has = !messages_.empty() && messages_.front().role == "system";
  return has ? std::string_view(messages_.front().content) : std::string_view();
}

void Conversation::set_system(std::string_view instructions) {
  if (!messages_.empty() && messages_.front().role == "system") messages_.erase(messages_.begin());
  if (!instructions.empty())
    messages_.insert(messages_.begin(), {.role = "system", .content = std::string(instructions)});
}

const std::string* Conversation::last_user_message() const {
  const size_t n = messages_.size();
  if (n < 2 || messages_[n - 1].role != "assistant" || messages_[n - 2].role != "user") return nullptr;
  return &messages_[n - 2].content;
}

Status Conversation::load(const std::string& path) {
  auto file = open_state(path, program_, session_.engine);
  if (!file) return file.error();
  auto messages = parse_transcript(file->image.note, path);
  if (!messages) return messages.error();
  // The engine's memory is for one context. Its tokens would be run anew if the other one were not placed.
  session_.engine.pool().truncate(sequence_, 0);
  tokens_.clear();
  if (Status placed = place_kv(file->image, file->image.n_past, session_.engine.pool(), sequence_); !placed)
    return placed;
  messages_ = std::move(*messages);
  tokens_ = std::move(file->image.tokens);
  tokens_.resize(sequence_.n_past);
  return Ok{};
}

Status Conversation::save(const std::string& path) const {
  SavedState state{.tokens = tokens_, .transcript = {}, .n_prompt_rows = 0};
  for (const ChatMessage& m : messages_) {
    state.transcript += text(m.role, " ", m.content.size(), "\n", m.content, "\n");
  }
  return save_state(path, program_, session_.engine.pool(), sequence_, state);
}

Status Conversation::answer(std::string user) {
  std::vector<ChatMessage> before = messages_;
  messages_.push_back({.role = "user", .content = std::move(user)});
  return answer_last(std::move(before));
}

Status Conversation::answer_again() {
  if (last_user_message() == nullptr) return Error{"there is no answer yet"};
  std::vector<ChatMessage> before = messages_;
  messages_.pop_back();
  return answer_last(std::move(before));
}

Status Conversation::answer_edited(std::string user) {
  if (last_user_message() == nullptr) return Error{"there is no message yet"};
  std::vector<ChatMessage> before = messages_;
  messages_.pop_back();
  messages_.back().content = std::move(user);
  return answer_last(std::move(before));
}

Status Conversation::answer_last(std::vector<ChatMessage> before) {
  const auto undo = [&] {
    messages_ = std::move(before);
    --n_answers_;
  };
  messages_.push_back({.role = "assistant", .content = {}});
  ++n_answers_;
  stats_ = {};
  TextStream stream(options_.stop);
  std::optional<GrammarState> grammar;
  if (options_.masks != nullptr) grammar.emplace(options_.masks);
  std::vector<int32_t> answer;
  for (;;) {
    auto prompt = make_room(answer);
    if (!prompt) {
      undo();
      return prompt.error();
    }
    auto result = run(*prompt, stream, options_.max_tokens - static_cast<uint32_t>(answer.size()),
                      grammar ? &*grammar : nullptr);
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

// The conversation up to where the answer begins.
Result<std::vector<int32_t>> Conversation::prompt_tokens() const {
  std::vector<jinja::Value> shown;
  for (const ChatMessage& m : std::span(messages_).first(messages_.size() - 1))
    shown.push_back(chat_message(m.role, m.content));
  auto prompt = prompt_.prompt(jinja::Value::list(std::move(shown)),
                               {.variables = options_.template_variables, .now = utc_now()});
  if (!prompt) return prompt.error();
  return std::move(prompt->tokens);
}

// Drops the oldest user message and what follows it up to the next one; false where only this turn is left.
bool Conversation::drop_oldest_turn() {
  const auto is_user = [](const ChatMessage& m) { return m.role == "user"; };
  const auto first = std::find_if(messages_.begin(), messages_.end(), is_user);
  const auto second = first == messages_.end() ? first : std::find_if(first + 1, messages_.end(), is_user);
  if (second == messages_.end()) return false;
  messages_.erase(first, second);
  return true;
}

void Conversation::report_dropped(uint32_t n_turns) {
  if (n_turns == 0) return;
  program_.out.flush();
  program_.err.write(n_turns == 1
                         ? "chat: the context is full: the oldest turn was dropped\n"
                         : text("chat: the context is full: the ", n_turns, " oldest turns were dropped\n"));
  program_.err.flush();
}

// The tokens to answer from, with older turns dropped until there is room for an answer behind them. On an
// Error (this turn alone has no room) they are dropped too: answer_last() brings them back.
Result<std::vector<int32_t>> Conversation::make_room(const std::vector<int32_t>& answer) {
  const uint32_t ctx = session_.engine.ctx();
  const uint32_t wanted = std::min(std::min(options_.max_tokens, 256U), ctx / 4);
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

Result<Generated> Conversation::run(const std::vector<int32_t>& prompt, TextStream& stream,
                                    uint32_t max_tokens, GrammarState* grammar) {
  auto sampling = sampling_params(options_.sampling, session_.tokenizer);
  if (!sampling) return sampling.error();
  sampling->seed += n_answers_ - 1;  // the same question need not get the same answer
  // What the KV holds already stays; at least the last token must run.
  const auto needed = std::span(prompt).first(prompt.size() - 1);
  uint32_t n_kept = common_beginning(tokens_, needed);
  KvPool& pool = session_.engine.pool();
  pool.truncate(sequence_, n_kept);
  if (const auto& carried = session_.prompt) {
    if (const uint32_t n = common_beginning(carried->present(), needed); n > n_kept) {
      pool.truncate(sequence_, 0);
      if (const Status placed = place_kv(*carried, n, pool, sequence_); !placed) return placed.error();
      n_kept = n;
    }
  }
  Sampler sampler(*sampling);
  for (size_t i = 0; i < n_kept; ++i) sampler.accept(prompt[i]);
  GenerateOptions options{.max_tokens = max_tokens, .grammar = grammar, .interrupt = &interrupt_flag()};
  options.on_text = [this](std::string_view piece) {
    program_.out.write(piece);
    program_.out.flush();
    if (!program_.out.usable()) interrupt_flag() = true;
  };
  const double start = seconds_now();
  double prompt_end = start;
  options.on_prompt = [&](uint32_t, uint32_t) { prompt_end = seconds_now(); };
  auto result = generate(session_.engine, session_.tokenizer, sequence_, sampler,
                         std::span(prompt).subspan(n_kept), stream, options);
  stats_.n_prompt += prompt.size() - n_kept;
  stats_.n_kept += n_kept;
  stats_.n_generated += result ? result->tokens.size() : 0;
  stats_.prompt_seconds += prompt_end - start;
  stats_.decode_seconds += seconds_now() - prompt_end;
  stats_.seed = sampling->seed;
  tokens_ = prompt;
  if (result) tokens_.insert(tokens_.end(), result->tokens.begin(), result->tokens.end());
  tokens_.resize(std::min<size_t>(tokens_.size(), sequence_.n_past));
  return result;
}

}  // namespace forge::rt
