// What steers an answer: thoughts that end in time, grammars that begin behind them or where a call does.
#include "runtime/core/answer_guide.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace forge::rt {
namespace {

// Bytes, then an end and tags.
constexpr int32_t kEnd = 256, kOpen = 257, kClose = 258, kCall = 259;
constexpr uint32_t kVocab = 260;

std::vector<std::string> pieces() {
  std::vector<std::string> out;
  out.reserve(kVocab);
  for (int byte = 0; byte < 255; ++byte) out.emplace_back(1, static_cast<char>(byte));
  out.insert(out.end(), {"", "<end>", token_terminal(kOpen), token_terminal(kClose), token_terminal(kCall)});
  return out;
}

std::shared_ptr<TokenMasks> masks_of(std::string_view regex, std::vector<std::string> given = pieces()) {
  const uint32_t ends[] = {kEnd};
  const auto g = regex_grammar(regex);
  EXPECT_TRUE(g) << g.error().message;
  return std::make_shared<TokenMasks>(make_vocabulary_trie(given, ends), *g);
}

std::string name_of(int32_t token) {
  if (token == kOpen) return "<think>";
  if (token == kClose) return "</think>";
  if (token == kCall) return "<call>";
  return {static_cast<char>(token)};
}

AnswerGuideOptions thinking() {
  return {.n_vocab = kVocab,
          .open_thoughts = "<think>",
          .close_thoughts = "</think>",
          .open_token = kOpen,
          .close_tokens = {kClose},
          .behind_thoughts = {'\n', '\n'}};
}

bool may(AnswerGuide& guide, int32_t token) {
  const auto mask = guide.allowed();
  return mask.empty() || (mask[static_cast<size_t>(token) / 32] >> (token % 32) & 1) != 0;
}
// The one token that may come next, or -1.
int32_t only(AnswerGuide& guide) {
  int32_t found = -1;
  for (int32_t t = 0; t < static_cast<int32_t>(kVocab); ++t) {
    if (!may(guide, t)) continue;
    if (found >= 0) return -1;
    found = t;
  }
  return found;
}
bool take(AnswerGuide& guide, int32_t token) {
  return may(guide, token) && guide.accept(token, name_of(token));
}
bool take(AnswerGuide& guide, std::string_view text) {
  for (const char c : text)
    if (!take(guide, static_cast<uint8_t>(c))) return false;
  return true;
}

TEST(AnswerGuide, ThoughtsEndInTime) {
  AnswerGuideOptions options = thinking();
  options.max_thoughts = 3;
  AnswerGuide guide(options);
  ASSERT_TRUE(take(guide, " \n"));
  ASSERT_TRUE(take(guide, kOpen));
  ASSERT_TRUE(take(guide, "ab"));
  EXPECT_EQ(only(guide), -1);
  ASSERT_TRUE(take(guide, "c"));
  EXPECT_EQ(only(guide), kClose);
  ASSERT_TRUE(take(guide, kClose));
  EXPECT_EQ(guide.n_thought_tokens(), 7u);
  EXPECT_TRUE(take(guide, "anything <think> goes"));
  EXPECT_EQ(guide.n_thought_tokens(), 7u);
  // Spelled by other tokens, opened by the prompt, ended by the model.
  options.thoughts_open = true;
  options.max_thoughts = 20;
  AnswerGuide spelled(options);
  ASSERT_TRUE(take(spelled, "a </thi</think>"));
  EXPECT_EQ(spelled.n_thought_tokens(), 15u);
  EXPECT_TRUE(take(spelled, std::string(50, 'x')));
  // None at all, and none because the answer begins without.
  options.max_thoughts = 0;
  AnswerGuide none(options);
  EXPECT_EQ(only(none), kClose);
  options.thoughts_open = false;
  AnswerGuide without(options);
  EXPECT_TRUE(take(without, "<thin, <think>x"));
  EXPECT_EQ(without.n_thought_tokens(), 0u);
}

TEST(AnswerGuide, TheGrammarBeginsBehindThoughts) {
  AnswerGuideOptions options = thinking();
  options.masks = masks_of("[ab]{2}");
  options.thoughts_open = true;
  options.max_thoughts = 4;
  AnswerGuide guide(options);
  ASSERT_TRUE(take(guide, "xyz"));
  EXPECT_FALSE(may(guide, kEnd));  // the answer is still to come
  ASSERT_TRUE(take(guide, "z"));
  for (const int32_t forced : {kClose, int32_t{'\n'}, int32_t{'\n'}}) {
    EXPECT_EQ(only(guide), forced);
    ASSERT_TRUE(take(guide, forced));
  }
  EXPECT_FALSE(may(guide, 'x'));
  ASSERT_TRUE(take(guide, "ab"));
  EXPECT_TRUE(guide.only_end_left());
  // The model may open thoughts by their token, or begin at once.
  options.thoughts_open = false;
  AnswerGuide opens(options);
  EXPECT_FALSE(may(opens, 'x'));
  ASSERT_TRUE(take(opens, kOpen));
  ASSERT_TRUE(take(opens, "x"));
  AnswerGuide begins(options);
  ASSERT_TRUE(take(begins, "a"));
  EXPECT_FALSE(may(begins, kOpen));
  EXPECT_EQ(begins.n_thought_tokens(), 0u);
  // Without a token for it there are none.
  options.open_token = -1;
  AnswerGuide at_once(options);
  EXPECT_FALSE(may(at_once, '<'));
}

TEST(AnswerGuide, TheGrammarBeginsWithACall) {
  AnswerGuideOptions options = thinking();
  std::vector<std::string> vocabulary = pieces();
  vocabulary[1] = ">x";
  vocabulary[2] = ">(";
  options.masks = masks_of("<call>\\([ab]{2}\\)", vocabulary);
  options.opening = options.opening_bytes = "<call>";
  AnswerGuide guide(options);
  ASSERT_TRUE(take(guide, "Well, x(<call"));
  // A token that ends the opening goes on as the grammar does.
  EXPECT_FALSE(may(guide, 1));
  EXPECT_TRUE(may(guide, 2));
  EXPECT_TRUE(may(guide, '>'));
  EXPECT_TRUE(may(guide, kEnd));
  AnswerGuide other = guide;
  ASSERT_TRUE(take(other, ">(ab"));
  EXPECT_EQ(only(other), ')');
  ASSERT_TRUE(guide.accept(2, ">("));
  EXPECT_FALSE(may(guide, 'x'));
  EXPECT_FALSE(may(guide, kEnd));
  ASSERT_TRUE(take(guide, "bb)"));
  EXPECT_TRUE(guide.only_end_left());
  // In thoughts it is none.
  options.thoughts_open = true;
  AnswerGuide thinks(options);
  ASSERT_TRUE(take(thinks, "<call>xyz</think>no <call>"));
  EXPECT_EQ(only(thinks), '(');
}

}  // namespace
}  // namespace forge::rt
