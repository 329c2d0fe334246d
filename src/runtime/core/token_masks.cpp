#include "runtime/core/token_masks.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace forge::rt {
namespace {

// How much deeper than the stack at its start one token may go in an entry that is kept: the depth itself is not known
// there. Beyond it, and near kMaxStackDepth, masks are found with the real stack.
constexpr uint32_t kTokenDepth = 128;

void set_bit(std::span<uint32_t> mask, uint32_t token) { mask[token / 32] |= 1u << (token % 32); }

}  // namespace

std::shared_ptr<const VocabularyTrie> make_vocabulary_trie(const Tokenizer& tokenizer) {
  std::vector<std::string> pieces(static_cast<size_t>(tokenizer.n_vocab()));
  std::vector<uint32_t> ends;
  for (uint32_t t = 0; t < pieces.size(); ++t) {
    const auto id = static_cast<int32_t>(t);
    if (tokenizer.is_end_of_generation(id)) ends.push_back(t);
    if (!tokenizer.is_control(id)) tokenizer.append_piece(id, pieces[t]);
  }
  return make_vocabulary_trie(pieces, ends);
}

std::shared_ptr<const VocabularyTrie> make_vocabulary_trie(std::span<const std::string> pieces,
                                                           std::span<const uint32_t> ends) {
  auto out = std::make_shared<VocabularyTrie>();
  VocabularyTrie& trie = *out;
  trie.n_vocab = static_cast<uint32_t>(pieces.size());
  trie.ends.assign(ends.begin(), ends.end());
  std::sort(trie.ends.begin(), trie.ends.end());
  trie.piece_begin.push_back(0);
  for (uint32_t t = 0; t < pieces.size(); ++t) {
    const bool usable = !pieces[t].empty() && pieces[t].size() <= VocabularyTrie::kMaxPieceBytes &&
                        !std::binary_search(trie.ends.begin(), trie.ends.end(), t);
    if (usable) {
      trie.pieces.insert(trie.pieces.end(), pieces[t].begin(), pieces[t].end());
      trie.tokens.push_back(t);
    }
    trie.piece_begin.push_back(static_cast<uint32_t>(trie.pieces.size()));
  }
  std::sort(trie.tokens.begin(), trie.tokens.end(), [&](uint32_t a, uint32_t b) {
    const auto left = trie.piece(a);
    const auto right = trie.piece(b);
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end());
  });
  std::vector<uint32_t> path;  // the nodes of the last piece
  for (uint32_t i = 0; i < trie.tokens.size(); ++i) {
    const auto bytes = trie.piece(trie.tokens[i]);
    size_t common = 0;
    while (common < std::min(path.size(), bytes.size()) && trie.nodes[path[common]].byte == bytes[common])
      ++common;
    const auto n = static_cast<uint32_t>(trie.nodes.size());
    for (; path.size() > common; path.pop_back()) trie.nodes[path.back()].end = n;
    for (size_t d = common; d < bytes.size(); ++d) {
      path.push_back(static_cast<uint32_t>(trie.nodes.size()));
      // A node made on the way to a piece has no token of its own: the piece is its descendant's.
      trie.nodes.push_back({0, i, static_cast<uint16_t>(d), bytes[d]});
    }
  }
  const auto n = static_cast<uint32_t>(trie.nodes.size());
  for (const uint32_t node : path) trie.nodes[node].end = n;
  trie.nodes.push_back({n, static_cast<uint32_t>(trie.tokens.size()), 0, 0});
  return out;
}

TokenMasks::TokenMasks(std::shared_ptr<const VocabularyTrie> trie, const Grammar& grammar, size_t cache_bytes)
    : trie_(std::move(trie)),
      automaton_(make_automaton(grammar)),
      set_(automaton_),
      cache_limit_(cache_bytes) {
  levels_.resize(VocabularyTrie::kMaxPieceBytes + 1);
}

// Walks the nodes [first, last) of the trie, all below one node, from readings_[0, n_readings). For each node that some
// reading reaches: sink(node, whether the stack may be at its end).
template <class Sink>
void TokenMasks::walk(uint32_t first, uint32_t last, size_t n_readings, StackNodes& nodes, uint32_t limit,
                      Sink&& sink) {
  too_deep_ = false;
  if (first >= last) return;
  const VocabularyTrie::Node* trie = trie_->nodes.data();
  const unsigned base = trie[first].depth;
  levels_[0] = {0, n_readings, nodes.size()};
  for (uint32_t i = first; i < last;) {
    const VocabularyTrie::Node& node = trie[i];
    const unsigned depth = node.depth - base;
    const Level level = levels_[depth];
    readings_.resize(level.end);
    if (nodes.size() != level.n_nodes) nodes.truncate(level.n_nodes);
    bool at_end = false;
    bool goes_on = false;
    if (level.end - level.begin == 1) {
      // Most often there is one reading, inside of a rule.
      const Reading from = readings_[level.begin];
      const uint32_t to = automaton_.step(from.state, node.byte);
      if (to == GrammarAutomaton::kNone) {
        i = node.end;
        continue;
      }
      if (automaton_.states[to].plain()) {
        readings_.push_back({to, from.below});
        goes_on = true;
      }
    }
    if (!goes_on) {
      set_.begin(readings_, nodes, limit);
      for (size_t r = level.begin; r < level.end; ++r) {
        const Reading from = readings_[r];
        const uint32_t to = automaton_.step(from.state, node.byte);
        if (to != GrammarAutomaton::kNone) set_.add({to, from.below});
      }
      at_end = set_.at_end();
      goes_on = set_.goes_on();
      too_deep_ |= set_.too_deep();
    }
    if (at_end || goes_on) sink(i, at_end);
    if (!goes_on) {
      i = node.end;
      continue;
    }
    levels_[depth + 1] = {level.end, readings_.size(), nodes.size()};
    ++i;
  }
  nodes.truncate(levels_[0].n_nodes);
}

void TokenMasks::allow_below(uint32_t first, uint32_t last, size_t n_readings, StackNodes& nodes,
                             std::span<uint32_t> mask) {
  const VocabularyTrie& trie = *trie_;
  walk(first, last, n_readings, nodes, kMaxStackDepth, [&](uint32_t node, bool) {
    for (uint32_t t = trie.nodes[node].first_token; t < trie.nodes[node + 1].first_token; ++t) {
      set_bit(mask, trie.tokens[t]);
    }
  });
}

const TokenMasks::Entry& TokenMasks::entry(uint32_t state) {
  if (const auto found = entries_.find(state); found != entries_.end()) return found->second;
  const VocabularyTrie& trie = *trie_;
  Entry e;
  StackNodes nodes;
  readings_.assign(1, {state, StackNodes::kUnknown});
  walk(0, static_cast<uint32_t>(trie.nodes.size() - 1), 1, nodes, kTokenDepth,
       [&](uint32_t node, bool at_end) {
         for (uint32_t t = trie.nodes[node].first_token; t < trie.nodes[node + 1].first_token; ++t) {
           e.tokens.push_back(trie.tokens[t]);
         }
         if (at_end && trie.nodes[node].end > node + 1) e.continuations.push_back(node);
       });
  e.too_deep = too_deep_;
  const size_t n_words = (trie.n_vocab + 31) / 32;
  if (e.tokens.size() > n_words) {
    e.mask.assign(n_words, 0);
    for (const uint32_t t : e.tokens) set_bit(e.mask, t);
    e.tokens = {};
  }
  e.tokens.shrink_to_fit();
  const size_t bytes = 128 + 4 * (e.mask.size() + e.tokens.size() + e.continuations.size());
  if (cached_bytes_ + bytes > cache_limit_) {
    entries_.clear();
    cached_bytes_ = 0;
  }
  cached_bytes_ += bytes;
  return entries_.emplace(state, std::move(e)).first->second;
}

void TokenMasks::allow(GrammarPosition& p, std::span<uint32_t> mask) {
  const auto n = static_cast<uint32_t>(trie_->nodes.size() - 1);
  bool by_state = true;
  for (const Reading& r : p.readings) by_state &= p.nodes[r.below].depth + kTokenDepth <= kMaxStackDepth;
  for (size_t i = 0; i < p.readings.size() && by_state; ++i) {
    const Reading r = p.readings[i];
    if (!automaton_.states[r.state].has_bytes) continue;
    const Entry& e = entry(r.state);
    by_state = !e.too_deep;
    for (size_t w = 0; w < e.mask.size(); ++w) mask[w] |= e.mask[w];
    for (const uint32_t t : e.tokens) set_bit(mask, t);
    if (e.continuations.empty() || r.below <= StackNodes::kUnknown) continue;
    const size_t n_nodes = p.nodes.size();
    readings_.clear();
    set_.begin(readings_, p.nodes, kMaxStackDepth);
    set_.add({p.nodes[r.below].target, p.nodes[r.below].below});
    const size_t n_readings = readings_.size();
    if (set_.goes_on()) {
      for (const uint32_t node : e.continuations) {
        allow_below(node + 1, trie_->nodes[node].end, n_readings, p.nodes, mask);
      }
    }
    p.nodes.truncate(n_nodes);
  }
  if (by_state) return;
  readings_.assign(p.readings.begin(), p.readings.end());
  allow_below(0, n, readings_.size(), p.nodes, mask);
}

GrammarState::GrammarState(std::shared_ptr<TokenMasks> masks)
    : masks_(std::move(masks)), position_(masks_->start()), mask_((masks_->trie().n_vocab + 31) / 32) {}

std::span<const uint32_t> GrammarState::allowed() {
  if (mask_valid_) return mask_;
  std::fill(mask_.begin(), mask_.end(), 0);
  if (!ended_) {
    masks_->allow(position_, mask_);
    if (position_.complete) {
      for (const uint32_t t : masks_->trie().ends) set_bit(mask_, t);
    }
  }
  mask_valid_ = true;
  return mask_;
}

bool GrammarState::accept(int32_t token) {
  const VocabularyTrie& trie = masks_->trie();
  if (ended_ || token < 0 || static_cast<uint32_t>(token) >= trie.n_vocab) return false;
  const auto t = static_cast<uint32_t>(token);
  if (std::binary_search(trie.ends.begin(), trie.ends.end(), t)) {
    if (!position_.complete) return false;
    ended_ = true;
    mask_valid_ = false;
    return true;
  }
  const auto bytes = trie.piece(t);
  if (bytes.empty() || !masks_->advance(position_, bytes)) return false;
  mask_valid_ = false;
  return true;
}

}  // namespace forge::rt
