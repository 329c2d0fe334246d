// One conversation with the model: its messages, and the tokens that its sequence's KV holds.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/chat_prompt.h"
#include "runtime/core/generation.h"
#include "runtime/host/program.h"

namespace forge::rt {

// How answers are made. May change between two.
struct AnswerOptions {
  SamplingFlags sampling;
  uint32_t max_tokens = UINT32_MAX;
  std::vector<std::string> stop;
  jinja::Value template_variables;    // a dict, or undefined
  std::shared_ptr<TokenMasks> masks;  // of what answers match; null: any text
};

// What the last answer took.
struct AnswerStats {
  size_t n_prompt = 0, n_kept = 0;  // tokens run, and those that the KV had already
  size_t n_generated = 0;
  double prompt_seconds = 0, decode_seconds = 0;
  uint64_t seed = 0;
};

class Conversation {
 public:
  // All must outlive the object.
  Conversation(Program& program, Session& session, const ChatTemplate& chat_template,
               const AnswerOptions& options);

  // Each answers; the answer goes to standard output as it comes. An Error, or an interrupt before the answer
  // began, leaves the conversation as it was.
  Status answer(std::string user);
  // The last message anew, with another seed. Error: there is none.
  Status answer_again();
  // `user` instead of the last message. Error: there is none.
  Status answer_edited(std::string user);

  // The instructions in front; none where empty.
  std::string_view system() const;
  void set_system(std::string_view instructions);
  // What the last answer is to; null without one.
  const std::string* last_user_message() const;

  // Takes the place of the conversation. On an Error that stays.
  Status load(const std::string& path);
  Status save(const std::string& path) const;

  size_t n_messages() const { return messages_.size(); }
  uint32_t n_tokens() const { return sequence_.n_past; }  // in the context
  uint32_t ctx() const { return session_.engine.ctx(); }
  const AnswerStats& stats() const { return stats_; }

 private:
  // Answers the last message, which is a user's; where it can't `before` is put back.
  Status answer_last(std::vector<ChatMessage> before);
  Result<std::vector<int32_t>> prompt_tokens() const;
  bool drop_oldest_turn();
  void report_dropped(uint32_t n_turns);
  Result<std::vector<int32_t>> make_room(const std::vector<int32_t>& answer);
  Result<Generated> run(const std::vector<int32_t>& prompt, TextStream& stream, uint32_t max_tokens,
                        GrammarState* grammar);

  Program& program_;
  Session& session_;
  ChatPrompt prompt_;
  const AnswerOptions& options_;
  std::vector<ChatMessage> messages_;  // instructions or none, then user and assistant by turns
  Sequence sequence_;
  uint64_t n_answers_ = 0;
  std::vector<int32_t> tokens_;  // [sequence_.n_past]
  AnswerStats stats_;
};

}  // namespace forge::rt
