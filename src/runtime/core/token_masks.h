// Which tokens of a vocabulary a grammar allows next.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/core/grammar.h"
#include "runtime/core/grammar_matcher.h"
#include "runtime/core/tokenizer.h"

namespace forge::rt {

// The bytes of all tokens that text can consist of, as a trie. Left out are control tokens, empty pieces, pieces longer
// than kMaxPieceBytes and tokens that end generation: these are listed. Immutable; made once a tokenizer and shared.
struct VocabularyTrie {
  static constexpr size_t kMaxPieceBytes = 1024;
  struct Node {
    uint32_t end;          // the subtree is the nodes from this one to before `end`
    uint32_t first_token;  // in `tokens`: those that end here go up to the next node's first
    uint16_t depth;        // of the root's children: 0
    uint8_t byte;
  };
  uint32_t n_vocab = 0;
  std::vector<Node> nodes;            // in preorder, without the root; one more that ends the tokens
  std::vector<uint32_t> tokens;       // by the order of their bytes
  std::vector<uint32_t> ends;         // tokens that end generation, ascending
  std::vector<uint32_t> piece_begin;  // [n_vocab + 1] in `pieces`; an empty piece is never allowed
  std::vector<uint8_t> pieces;

  std::span<const uint8_t> piece(uint32_t token) const {
    return std::span(pieces).subspan(piece_begin[token], piece_begin[token + 1] - piece_begin[token]);
  }
};
std::shared_ptr<const VocabularyTrie> make_vocabulary_trie(const Tokenizer& tokenizer);
// pieces[t]: the bytes of token t, empty where text can't have it. `ends`: the tokens that end generation.
std::shared_ptr<const VocabularyTrie> make_vocabulary_trie(std::span<const std::string> pieces,
                                                           std::span<const uint32_t> ends);

// The masks of a grammar over a vocabulary, found when they are first needed and kept for each state of the automaton:
// what a state allows whatever its stack, and where tokens go on behind the end of its rule. Shared by all the texts
// that one thread generates with the grammar.
class TokenMasks {
 public:
  // cache_bytes: about what the kept masks may take.
  TokenMasks(std::shared_ptr<const VocabularyTrie> trie, const Grammar& grammar,
             size_t cache_bytes = 32 << 20);
  TokenMasks(const TokenMasks&) = delete;
  TokenMasks& operator=(const TokenMasks&) = delete;

  const VocabularyTrie& trie() const { return *trie_; }
  GrammarPosition start() { return grammar_start(automaton_, set_); }
  bool advance(GrammarPosition& position, std::span<const uint8_t> bytes) {
    return rt::advance(automaton_, set_, position, bytes);
  }
  // Sets the bits of the tokens that may come next, without those that end generation; mask: [ceil(n_vocab / 32)].
  // The position's nodes serve as scratch and are as before then.
  void allow(GrammarPosition& position, std::span<uint32_t> mask);
  size_t cached_bytes() const { return cached_bytes_; }

 private:
  struct Entry {
    std::vector<uint32_t> mask;    // all bits, or empty where few tokens are allowed:
    std::vector<uint32_t> tokens;  // these
    std::vector<uint32_t>
        continuations;      // nodes of the trie behind which tokens go on where the rule has ended
    bool too_deep = false;  // the entry is not usable: see allow()
  };
  struct Level {
    size_t begin, end;  // readings of a depth in the trie
    size_t n_nodes;
  };
  const Entry& entry(uint32_t state);
  template <class Sink>
  void walk(uint32_t first, uint32_t last, size_t n_readings, StackNodes& nodes, uint32_t limit, Sink&& sink);
  void allow_below(uint32_t first, uint32_t last, size_t n_readings, StackNodes& nodes,
                   std::span<uint32_t> mask);

  std::shared_ptr<const VocabularyTrie> trie_;
  GrammarAutomaton automaton_;
  ReadingSet set_;
  size_t cache_limit_, cached_bytes_ = 0;
  std::unordered_map<uint32_t, Entry> entries_;  // by state
  std::vector<Reading> readings_;                // of walk(): all levels
  std::vector<Level> levels_;
  bool too_deep_ = false;  // of the last walk()
};

// The grammar's view of one text that is being generated. Copies go on independently.
class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<TokenMasks> masks);
  // The tokens that may come next (see TokenConstraint::allowed); those that end generation where the text is complete,
  // and only then. Valid until the next call of a member. Nothing is allowed behind a token that ended the text, or where a limit
  // (kMaxStackDepth) cuts off what the grammar would allow.
  std::span<const uint32_t> allowed();
  // Goes on by a token; false where it isn't allowed: nothing has changed then. (Rarely also for an allowed one, where an
  // ambiguous grammar has more than kMaxReadings readings.)
  bool accept(int32_t token);
  bool complete() const { return position_.complete; }  // the text may end here
  bool ended() const { return ended_; }                 // a token that ends generation was accepted

 private:
  std::shared_ptr<TokenMasks> masks_;
  GrammarPosition position_;
  std::vector<uint32_t> mask_;
  bool mask_valid_ = false, ended_ = false;
};

}  // namespace forge::rt
