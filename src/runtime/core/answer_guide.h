// What steers an answer while it is sampled: how long its thoughts may be, and a grammar for what comes behind them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/token_masks.h"

namespace forge::rt {

struct AnswerGuideOptions {
  uint32_t n_vocab = 0;
  // Of the grammar that the answer must match; null: any text.
  std::shared_ptr<TokenMasks> masks;
  // Where not empty, the answer is any text, and from this text on what the grammar matches, whose texts begin with
  // `opening_bytes`: that text, maybe by a token's terminal, and what stands before it.
  std::string opening, opening_bytes;
  // How thoughts begin and end (see ThinkingFormat); empty: there are none.
  std::string open_thoughts, close_thoughts;
  bool thoughts_open = false;  // the prompt has opened them
  int32_t open_token = -1;     // the token that opens them, where it is one: before a grammar only that can
  uint32_t max_thoughts = UINT32_MAX;    // tokens between the markers; then `close_tokens` are the next
  std::vector<int32_t> close_tokens;     // close_thoughts as tokens
  std::vector<int32_t> behind_thoughts;  // white space that comes between thoughts and what a grammar matches

  bool steers() const { return masks != nullptr || !close_thoughts.empty(); }
};

// One answer's. The same tokens give the same masks.
class AnswerGuide {
 public:
  explicit AnswerGuide(AnswerGuideOptions options);
  // The tokens that may come next (see TokenConstraint::allowed); empty: any. Valid until the next call of a member.
  std::span<const uint32_t> allowed();
  // Goes on by a token and its text, control tokens of markers by their names. False: the grammar can't go on from it.
  bool accept(int32_t token, std::string_view text);
  bool only_end_left() const;
  uint32_t n_thought_tokens() const { return n_thought_tokens_; }  // with those of the markers

 private:
  enum class Stage : uint8_t { start, thoughts, answer };
  bool accept_start(int32_t token, std::string_view text);
  bool accept_thought(std::string_view text);
  bool accept_answer(int32_t token, std::string_view text);
  bool begin_thoughts(std::string_view inside);
  bool begin_answer(std::string_view text);
  bool find_opening(std::string_view text);
  bool opens_well(std::string_view piece) const;
  bool closes_well(std::string_view piece) const;
  void forbid(const std::function<bool(std::string_view piece)>& is_wrong);
  void force(const std::vector<int32_t>& tokens) { forced_.assign(tokens.rbegin(), tokens.rend()); }
  void allow_all();
  void set(uint32_t token, bool value);

  AnswerGuideOptions options_;
  Stage stage_ = Stage::start;
  std::optional<GrammarState> grammar_;  // where it is at work
  std::string tail_;                     // text that may be the beginning of a marker
  std::vector<int32_t> forced_;          // the next tokens, the last one first
  uint32_t n_inside_ = 0, n_thought_tokens_ = 0;
  std::vector<uint32_t> mask_;
};

}  // namespace forge::rt
