#include "runtime/core/token_masks.h"

#include <algorithm>
#include <bit>
#include <unordered_set>
#include <utility>

namespace forge::rt {
namespace {

// How much deeper than the stack at its start one token may go in an entry that is kept: the depth itself is not known
// there. Beyond it, and near kMaxStackDepth, masks are found with the real stack.
constexpr uint32_t kTokenDepth = 128;

// Walks of fewer nodes are not kept.
constexpr uint64_t kDirectNodes = 512;

void set_bit(std::span<uint32_t> mask, uint32_t token) { mask[token / 32] |= 1u << (token % 32); }

// Sorts the part's tokens and makes its trie.
void add_nodes(const VocabularyTrie& trie, VocabularyTrie::Part& part) {
  std::sort(part.tokens.begin(), part.tokens.end(), [&](uint32_t a, uint32_t b) {
    const auto left = trie.piece(a);
    const auto right = trie.piece(b);
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end());
  });
  std::vector<uint32_t> path;  // the nodes of the last piece
  for (uint32_t i = 0; i < part.tokens.size(); ++i) {
    const auto bytes = trie.piece(part.tokens[i]);
    part.max_bytes = std::max(part.max_bytes, static_cast<uint32_t>(bytes.size()));
    size_t common = 0;
    while (common < std::min(path.size(), bytes.size()) && part.nodes[path[common]].byte == bytes[common])
      ++common;
    const auto n = static_cast<uint32_t>(part.nodes.size());
    for (; path.size() > common; path.pop_back()) part.nodes[path.back()].end = n;
    for (size_t d = common; d < bytes.size(); ++d) {
      path.push_back(static_cast<uint32_t>(part.nodes.size()));
      // A node made on the way to a piece has no token of its own: the piece is its descendant's.
      part.nodes.push_back({0, i, static_cast<uint16_t>(d), bytes[d]});
    }
  }
  const auto n = static_cast<uint32_t>(part.nodes.size());
  for (const uint32_t node : path) part.nodes[node].end = n;
  part.nodes.push_back({n, static_cast<uint32_t>(part.tokens.size()), 0, 0});
}

// About what an entry takes.
size_t bytes_of(const TokenMasks::Entry& e) {
  return sizeof e + 64 + 4 * (e.mask.size() + e.tokens.size() + e.continuations.size());
}

}  // namespace

std::shared_ptr<const VocabularyTrie> make_vocabulary_trie(const Tokenizer& tokenizer) {
  std::vector<std::string> pieces(static_cast<size_t>(tokenizer.n_vocab()));
  std::vector<uint32_t> ends;
  for (uint32_t t = 0; t < pieces.size(); ++t) {
    const auto id = static_cast<int32_t>(t);
    if (tokenizer.is_end_of_generation(id)) ends.push_back(t);
    if (tokenizer.is_control(id)) {
      pieces[t] = token_terminal(id);
    } else {
      tokenizer.append_piece(id, pieces[t]);
      // Never in UTF-8, and would be the beginning of a control token.
      if (pieces[t].find('\xFF') != std::string::npos) pieces[t].clear();
    }
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
      trie.parts[pieces[t].size() > VocabularyTrie::kShortBytes ? 1 : 0].tokens.push_back(t);
    }
    trie.piece_begin.push_back(static_cast<uint32_t>(trie.pieces.size()));
  }
  for (VocabularyTrie::Part& part : trie.parts) add_nodes(trie, part);
  return out;
}

TokenMasks::TokenMasks(std::shared_ptr<const VocabularyTrie> trie, const Grammar& grammar, size_t cache_bytes)
    : trie_(std::move(trie)),
      automaton_(make_automaton(grammar)),
      set_(automaton_),
      cache_limit_(cache_bytes) {
  const uint32_t lengths[] = {trie_->parts[0].max_bytes, trie_->parts[1].max_bytes};
  classes_ = lookahead_classes(automaton_, lengths);
  levels_.resize(VocabularyTrie::kMaxPieceBytes + 1);
}

void TokenMasks::keep(size_t part, uint64_t key, Entry entry) {
  last_id_ = std::max(last_id_, entry.id);
  cached_bytes_ += bytes_of(entry);
  entries_[part].emplace(key, std::move(entry));
}

void TokenMasks::find_all(size_t max_bytes) {
  // Room for the largest entry: an entry beyond the limit would drop all others.
  const size_t largest = bytes_of({}) + 4 * (trie_->n_vocab / 32 + 1 + trie_->parts[0].nodes.size() +
                                             trie_->parts[1].nodes.size());
  const size_t limit = std::min(max_bytes, cache_limit_ - std::min(cache_limit_, largest));
  // Of each rule, by its first state: the states behind its calls.
  std::unordered_map<uint32_t, std::vector<uint32_t>> behind;
  behind[automaton_.start];
  for (const GrammarAutomaton::Call& call : automaton_.calls) behind[call.rule].push_back(call.target);
  // Of each state: the rules that it belongs to.
  std::vector<std::vector<uint32_t>> rules(automaton_.states.size());
  for (const auto& [first, targets] : behind) {
    std::vector<uint32_t> open = {first};
    while (!open.empty()) {
      const uint32_t state = open.back();
      open.pop_back();
      if (!rules[state].empty() && rules[state].back() == first) continue;
      rules[state].push_back(first);
      for (uint32_t c = 0; c < automaton_.n_classes; ++c) {
        const uint32_t to = automaton_.next[size_t{state} * automaton_.n_classes + c];
        if (to != GrammarAutomaton::kNone) open.push_back(to);
      }
      const GrammarAutomaton::State& s = automaton_.states[state];
      for (uint32_t i = 0; i < s.n_calls; ++i) open.push_back(automaton_.calls[s.first_call + i].target);
    }
  }
  struct Found {
    size_t part;
    const Entry* entry;
    uint32_t rule;  // that the stack below the entry goes on behind
  };
  std::vector<Found> open;
  std::unordered_set<uint64_t> seen;
  const auto found = [&](size_t part, const Entry& e, uint32_t state) {
    if (e.too_deep || e.n_below <= kDirectNodes) return;
    for (const uint32_t rule : rules[state])
      if (seen.insert(uint64_t{e.id} << 32 | rule).second) open.push_back({part, &e, rule});
  };
  for (uint32_t state = 0; state < automaton_.states.size(); ++state) {
    if (!automaton_.states[state].has_bytes) continue;
    for (const size_t part : {0, 1}) {
      if (cached_bytes_ >= limit) return;
      found(part, entry(part, nullptr, state), state);
    }
  }
  while (!open.empty() && cached_bytes_ < limit) {
    const Found f = open.back();
    open.pop_back();
    for (const uint32_t target : behind[f.rule]) {
      if (cached_bytes_ >= limit) return;
      found(f.part, entry(f.part, f.entry, target), target);
      // Where nothing is left of a rule its own end does not stay on the stack.
      if (automaton_.states[target].only_ends()) found(f.part, *f.entry, target);
    }
  }
}

bool TokenMasks::goes_on(const GrammarPosition& p) const {
  return std::any_of(p.readings.begin(), p.readings.end(),
                     [&](const Reading& r) { return automaton_.states[r.state].has_bytes; });
}

// Walks the nodes [first, last) of the trie, all below one node, from readings_[0, n_readings). For each node that some
// reading reaches: sink(node, whether the stack may be at its end).
template <class Sink>
void TokenMasks::walk(const Part& part, uint32_t first, uint32_t last, size_t n_readings, StackNodes& nodes,
                      uint32_t limit, Sink&& sink) {
  constexpr uint32_t kNone = GrammarAutomaton::kNone;
  too_deep_ = false;
  if (first >= last || n_readings == 0) return;
  const VocabularyTrie::Node* trie = part.nodes.data();
  const unsigned base = trie[first].depth;
  const auto n_nodes = static_cast<uint32_t>(nodes.size());
  levels_[0] = {{kNone, 0}, 0, static_cast<uint32_t>(n_readings), n_nodes};
  if (n_readings == 1) levels_[0].only = readings_[0];
  for (uint32_t i = first; i < last;) {
    const VocabularyTrie::Node& node = trie[i];
    const unsigned depth = node.depth - base;
    const Level level = levels_[depth];
    if (level.only.state != kNone) {
      // Most often there is one reading, inside of a rule.
      const uint32_t to = automaton_.step(level.only.state, node.byte);
      if (to == kNone) {
        i = node.end;
        continue;
      }
      if (automaton_.states[to].plain()) {
        sink(i, false);
        levels_[depth + 1] = {{to, level.only.below}, level.end, level.end, level.n_nodes};
        ++i;
        continue;
      }
    }
    readings_.resize(level.end);
    nodes.truncate(level.n_nodes);
    set_.begin(readings_, nodes, limit);
    const auto step = [&](Reading from) {
      const uint32_t to = automaton_.step(from.state, node.byte);
      if (to != kNone) set_.add({to, from.below});
    };
    if (level.only.state != kNone) {
      step(level.only);
    } else {
      for (size_t r = level.begin; r < level.end; ++r) step(readings_[r]);
    }
    too_deep_ |= set_.too_deep();
    if (set_.alive()) sink(i, set_.at_end());
    if (!set_.goes_on()) {
      i = node.end;
      continue;
    }
    const auto end = static_cast<uint32_t>(readings_.size());
    levels_[depth + 1] = {{kNone, 0}, level.end, end, static_cast<uint32_t>(nodes.size())};
    if (end - level.end == 1) levels_[depth + 1].only = readings_.back();
    ++i;
  }
  nodes.truncate(n_nodes);
}

void TokenMasks::allow_below(const Part& part, uint32_t first, uint32_t last, size_t n_readings,
                             StackNodes& nodes, std::span<uint32_t> mask) {
  walk(part, first, last, n_readings, nodes, kMaxStackDepth, [&](uint32_t node, bool) {
    for (uint32_t t = part.nodes[node].first_token; t < part.nodes[node + 1].first_token; ++t) {
      set_bit(mask, part.tokens[t]);
    }
  });
}

// What a state allows; with `above`, what it allows where the rule of that entry has ended.
TokenMasks::Entry& TokenMasks::entry(size_t part_index, const Entry* above, uint32_t state) {
  const uint64_t key = uint64_t{above == nullptr ? 0 : above->id} << 32 | classes_[part_index][state];
  auto& entries = entries_[part_index];
  if (const auto found = entries.find(key); found != entries.end()) return found->second;
  const Part& part = trie_->parts[part_index];
  const size_t n_words = (trie_->n_vocab + 31) / 32;
  Entry e;
  e.id = ++last_id_;
  StackNodes nodes;
  scratch_.assign(n_words, 0);
  const auto sink = [&](uint32_t node, bool at_end) {
    for (uint32_t t = part.nodes[node].first_token; t < part.nodes[node + 1].first_token; ++t) {
      set_bit(scratch_, part.tokens[t]);
    }
    if (at_end && part.nodes[node].end > node + 1) e.continuations.push_back(node);
  };
  if (above == nullptr) {
    readings_.assign(1, {state, StackNodes::kUnknown});
    walk(part, 0, static_cast<uint32_t>(part.nodes.size() - 1), 1, nodes, kTokenDepth, sink);
    e.too_deep = too_deep_;
  } else {
    readings_.clear();
    set_.begin(readings_, nodes, kTokenDepth);
    set_.add({state, StackNodes::kUnknown});
    e.too_deep = set_.too_deep();
    if (set_.at_end()) e.continuations = above->continuations;
    const size_t n_readings = set_.goes_on() ? readings_.size() : 0;
    for (const uint32_t node : above->continuations) {
      walk(part, node + 1, part.nodes[node].end, n_readings, nodes, kTokenDepth, sink);
      e.too_deep |= too_deep_;
    }
    std::sort(e.continuations.begin(), e.continuations.end());
    e.continuations.erase(std::unique(e.continuations.begin(), e.continuations.end()), e.continuations.end());
  }
  for (const uint32_t node : e.continuations) e.n_below += part.nodes[node].end - node - 1;
  size_t n_tokens = 0;
  for (const uint32_t word : scratch_) n_tokens += static_cast<size_t>(std::popcount(word));
  if (n_tokens > n_words) {
    e.mask = scratch_;
  } else {
    e.tokens.reserve(n_tokens);
    for (uint32_t w = 0; w < n_words; ++w) {
      for (uint32_t bits = scratch_[w]; bits != 0; bits &= bits - 1)
        e.tokens.push_back(32 * w + static_cast<uint32_t>(std::countr_zero(bits)));
    }
  }
  e.continuations.shrink_to_fit();
  const size_t bytes = bytes_of(e);
  if (cached_bytes_ + bytes > cache_limit_) {
    for (auto& part_entries : entries_) part_entries.clear();
    cached_bytes_ = 0;
  }
  cached_bytes_ += bytes;
  return entries.emplace(key, std::move(e)).first->second;
}

// False where an entry is not usable.
bool TokenMasks::allow_part(size_t part_index, Reading r, GrammarPosition& p, std::span<uint32_t> mask) {
  const Part& part = trie_->parts[part_index];
  const Entry* e = &entry(part_index, nullptr, r.state);
  for (;;) {
    if (e->too_deep) return false;
    for (size_t w = 0; w < e->mask.size(); ++w) mask[w] |= e->mask[w];
    for (const uint32_t t : e->tokens) set_bit(mask, t);
    if (e->continuations.empty() || r.below <= StackNodes::kUnknown) return true;
    const auto [target, below, depth] = p.nodes[r.below];
    if (e->n_below > kDirectNodes) {
      e = &entry(part_index, e, target);
      r.below = below;
      continue;
    }
    // Little is left: with the real stack.
    const size_t n_nodes = p.nodes.size();
    readings_.clear();
    set_.begin(readings_, p.nodes, kMaxStackDepth);
    set_.add({target, below});
    const size_t n_readings = set_.goes_on() ? readings_.size() : 0;
    for (const uint32_t node : e->continuations) {
      allow_below(part, node + 1, part.nodes[node].end, n_readings, p.nodes, mask);
    }
    p.nodes.truncate(n_nodes);
    return true;
  }
}

void TokenMasks::allow(GrammarPosition& p, std::span<uint32_t> mask) {
  bool by_state = true;
  for (const Reading& r : p.readings) by_state &= p.nodes[r.below].depth + kTokenDepth <= kMaxStackDepth;
  for (size_t i = 0; i < p.readings.size() && by_state; ++i) {
    const Reading r = p.readings[i];
    if (!automaton_.states[r.state].has_bytes) continue;
    for (size_t part = 0; part < 2 && by_state; ++part) by_state = allow_part(part, r, p, mask);
  }
  if (by_state) return;
  for (const Part& part : trie_->parts) {
    readings_.assign(p.readings.begin(), p.readings.end());
    allow_below(part, 0, static_cast<uint32_t>(part.nodes.size() - 1), readings_.size(), p.nodes, mask);
  }
}

GrammarState::GrammarState(std::shared_ptr<TokenMasks> masks)
    : masks_(std::move(masks)), position_(masks_->start()), mask_((masks_->trie().n_vocab + 31) / 32) {}

bool GrammarState::only_end_left() const { return position_.complete && !masks_->goes_on(position_); }

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
  return !bytes.empty() && accept_bytes(bytes);
}

bool GrammarState::accept_bytes(std::span<const uint8_t> bytes) {
  if (ended_ || !masks_->advance(position_, bytes)) return false;
  mask_valid_ = false;
  return true;
}

}  // namespace forge::rt
