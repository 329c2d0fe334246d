#include "runtime/core/answer_guide.h"

#include <algorithm>
#include <utility>

#include "runtime/core/answer_format.h"

namespace forge::rt {
namespace {

std::string_view without_leading_space(std::string_view s) {
  const size_t at = s.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? std::string_view() : s.substr(at);
}

// The longest end of the text that `marker` begins with, but not all of it.
std::string_view begun_marker(std::string_view text, std::string_view marker) {
  size_t n = std::min(text.size(), marker.size() - 1);
  while (!marker.starts_with(text.substr(text.size() - n))) --n;
  return text.substr(text.size() - n);
}

std::span<const uint8_t> bytes_of(std::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

}  // namespace

AnswerGuide::AnswerGuide(AnswerGuideOptions options)
    : options_(std::move(options)), mask_((options_.n_vocab + 31) / 32) {
  const bool constrained = options_.masks != nullptr && options_.opening.empty();
  if (!options_.close_thoughts.empty() && options_.thoughts_open) {
    begin_thoughts({});
  } else if (options_.close_thoughts.empty() || (constrained && options_.open_token < 0)) {
    begin_answer({});
    forced_.clear();
  }
}

void AnswerGuide::set(uint32_t token, bool value) {
  const uint32_t bit = 1u << (token % 32);
  mask_[token / 32] = value ? mask_[token / 32] | bit : mask_[token / 32] & ~bit;
}

void AnswerGuide::allow_all() { std::fill(mask_.begin(), mask_.end(), UINT32_MAX); }

std::span<const uint32_t> AnswerGuide::allowed() {
  if (!forced_.empty()) {
    std::fill(mask_.begin(), mask_.end(), 0);
    set(static_cast<uint32_t>(forced_.back()), true);
    return mask_;
  }
  if (grammar_) return grammar_->allowed();
  if (options_.masks == nullptr) return {};
  const VocabularyTrie& trie = options_.masks->trie();
  if (options_.opening.empty()) {
    // The answer, which the grammar has, is still to come.
    if (stage_ == Stage::thoughts) {
      allow_all();
      for (const uint32_t end : trie.ends) set(end, false);
      if (!tail_.empty()) forbid([this](std::string_view piece) { return !closes_well(piece); });
    } else {
      GrammarState first(options_.masks);
      const auto mask = first.allowed();
      std::copy(mask.begin(), mask.end(), mask_.begin());
      set(static_cast<uint32_t>(options_.open_token), true);
    }
    return mask_;
  }
  // A token that ends the opening may go on as the grammar does alone.
  if (stage_ != Stage::answer || tail_.empty()) return {};
  allow_all();
  forbid([this](std::string_view piece) { return !opens_well(piece); });
  return mask_;
}

void AnswerGuide::forbid(const std::function<bool(std::string_view piece)>& is_wrong) {
  const VocabularyTrie& trie = options_.masks->trie();
  for (uint32_t t = 0; t < trie.n_vocab; ++t) {
    const auto piece = trie.piece(t);
    if (is_wrong({reinterpret_cast<const char*>(piece.data()), piece.size()})) set(t, false);
  }
}

// Whether the grammar can begin with what a piece has behind the end of the thoughts, where it ends them.
bool AnswerGuide::closes_well(std::string_view piece) const {
  const std::string_view rest = std::string_view(options_.close_thoughts).substr(tail_.size());
  if (!piece.starts_with(rest)) return true;
  GrammarState state(options_.masks);
  return state.accept_bytes(bytes_of(without_leading_space(piece.substr(rest.size()))));
}

// Whether the grammar can go on from what a piece has behind the opening, where it ends that.
bool AnswerGuide::opens_well(std::string_view piece) const {
  const std::string_view rest = std::string_view(options_.opening).substr(tail_.size());
  if (!piece.starts_with(rest) || piece.size() == rest.size()) return true;
  GrammarState state(options_.masks);
  return state.accept_bytes(bytes_of(options_.opening_bytes)) &&
         state.accept_bytes(bytes_of(piece.substr(rest.size())));
}

bool AnswerGuide::only_end_left() const { return forced_.empty() && grammar_ && grammar_->only_end_left(); }

bool AnswerGuide::accept(int32_t token, std::string_view text) {
  if (!forced_.empty()) {
    forced_.pop_back();
    if (stage_ != Stage::thoughts) return true;  // white space before the grammar
    ++n_thought_tokens_;
    return !forced_.empty() || begin_answer({});
  }
  switch (stage_) {
    case Stage::start: return accept_start(token, text);
    case Stage::thoughts: return accept_thought(text);
    case Stage::answer: break;
  }
  return accept_answer(token, text);
}

bool AnswerGuide::accept_start(int32_t token, std::string_view text) {
  const std::string& open = options_.open_thoughts;
  ++n_thought_tokens_;
  if (options_.masks != nullptr && options_.opening.empty()) {
    if (token == options_.open_token) return begin_thoughts({});
    n_thought_tokens_ = 0;
    stage_ = Stage::answer;
    grammar_.emplace(options_.masks);
    return grammar_->accept(token);
  }
  tail_ = without_leading_space(tail_ + std::string(text));
  if (open.size() > tail_.size() && open.starts_with(tail_)) return true;
  const std::string said = std::exchange(tail_, {});
  if (said.starts_with(open)) return begin_thoughts(std::string_view(said).substr(open.size()));
  n_thought_tokens_ = 0;
  return begin_answer(said);
}

bool AnswerGuide::begin_thoughts(std::string_view inside) {
  stage_ = Stage::thoughts;
  tail_.clear();
  if (options_.max_thoughts == 0) {
    force(options_.close_tokens);
    return true;
  }
  if (inside.empty()) return true;
  --n_thought_tokens_;  // counted as the token of a thought
  return accept_thought(inside);
}

bool AnswerGuide::accept_thought(std::string_view text) {
  const std::string& close = options_.close_thoughts;
  ++n_thought_tokens_;
  tail_ += text;
  if (const size_t at = tail_.find(close); at != std::string::npos)
    return begin_answer(std::exchange(tail_, {}).substr(at + close.size()));
  tail_ = begun_marker(tail_, close);
  if (++n_inside_ >= options_.max_thoughts) force(options_.close_tokens);
  return true;
}

// text: what has come of it with the token before.
bool AnswerGuide::begin_answer(std::string_view text) {
  stage_ = Stage::answer;
  tail_.clear();
  if (options_.masks == nullptr) return true;
  if (!options_.opening.empty()) return find_opening(text);
  grammar_.emplace(options_.masks);
  if (text.empty()) force(options_.behind_thoughts);
  return grammar_->accept_bytes(bytes_of(without_leading_space(text)));
}

bool AnswerGuide::accept_answer(int32_t token, std::string_view text) {
  if (grammar_) return grammar_->accept(token);
  return options_.masks == nullptr || find_opening(text);
}

bool AnswerGuide::find_opening(std::string_view text) {
  tail_ += text;
  const size_t at = tail_.find(options_.opening);
  if (at == std::string::npos) {
    tail_ = begun_marker(tail_, options_.opening);
    return true;
  }
  const std::string rest = std::exchange(tail_, {}).substr(at + options_.opening.size());
  grammar_.emplace(options_.masks);
  return grammar_->accept_bytes(bytes_of(options_.opening_bytes)) && grammar_->accept_bytes(bytes_of(rest));
}

}  // namespace forge::rt
