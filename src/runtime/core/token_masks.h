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

// The bytes of all tokens that text can consist of, as tries; those of control tokens are their token_terminal. Left out
// are empty pieces, pieces longer than kMaxPieceBytes, those with the byte 0xFF, and tokens that end generation: these are
// listed. Immutable; made once a tokenizer and shared.
struct VocabularyTrie {
  static constexpr size_t kMaxPieceBytes = 1024;
  static constexpr size_t kShortBytes = 16;  // most pieces are no longer
  struct Node {
    uint32_t end;          // the subtree is the nodes from this one to before `end`
    uint32_t first_token;  // in `tokens`: those that end here go up to the next node's first
    uint16_t depth;        // of the root's children: 0
    uint8_t byte;
  };
  // Some of the tokens.
  struct Part {
    uint32_t max_bytes = 0;        // of a piece
    std::vector<Node> nodes;       // in preorder, without the root; one more that ends the tokens
    std::vector<uint32_t> tokens;  // by the order of their bytes
  };
  uint32_t n_vocab = 0;
  Part parts[2];                      // pieces of up to kShortBytes, and longer ones
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

// The masks of a grammar over a vocabulary, found when they are first needed and kept: what a state of the automaton
// allows whatever its stack, and the places in tokens where its rule may have ended; for these, what the state behind
// the call allows, and so on down the stack. States that no piece tells apart share what is kept. Shared by all the texts
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
  // Whether some text may follow.
  bool goes_on(const GrammarPosition& position) const;
  // Sets the bits of the tokens that may come next, without those that end generation; mask: [ceil(n_vocab / 32)].
  // The position's nodes serve as scratch and are as before then.
  void allow(GrammarPosition& position, std::span<uint32_t> mask);
  size_t cached_bytes() const { return cached_bytes_; }

  // What the tokens of a part do from a state, on top of a stack that is not known.
  struct Entry {
    uint32_t id = 0;               // never 0, never given again
    std::vector<uint32_t> mask;    // all bits, or empty where few tokens are allowed:
    std::vector<uint32_t> tokens;  // these
    std::vector<uint32_t>
        continuations;      // nodes of the part behind which tokens go on where the rule has ended
    uint64_t n_below = 0;   // nodes of the part below the continuations
    bool too_deep = false;  // not usable: see allow()
  };
  // Of each part of the trie, by the id of the entry above and the state's class.
  using Entries = std::unordered_map<uint64_t, Entry>;
  // Finds whatever allow() may need, until about max_bytes (at most cache_bytes) are kept.
  void find_all(size_t max_bytes);
  const Entries& entries(size_t part) const { return entries_[part]; }
  // Keeps what another object with the same grammar and trie has found; before anything else is asked for.
  void keep(size_t part, uint64_t key, Entry entry);

 private:
  using Part = VocabularyTrie::Part;
  struct Level {  // the readings at a depth in a trie: one, or readings_[begin, end)
    Reading only;
    uint32_t begin, end, n_nodes;
  };
  Entry& entry(size_t part, const Entry* above, uint32_t state);
  bool allow_part(size_t part, Reading reading, GrammarPosition& position, std::span<uint32_t> mask);
  template <class Sink>
  void walk(const Part& part, uint32_t first, uint32_t last, size_t n_readings, StackNodes& nodes,
            uint32_t limit, Sink&& sink);
  void allow_below(const Part& part, uint32_t first, uint32_t last, size_t n_readings, StackNodes& nodes,
                   std::span<uint32_t> mask);

  std::shared_ptr<const VocabularyTrie> trie_;
  GrammarAutomaton automaton_;
  std::vector<std::vector<uint32_t>> classes_;  // of each part: states that its pieces do not tell apart
  ReadingSet set_;
  size_t cache_limit_, cached_bytes_ = 0;
  Entries entries_[2];
  uint32_t last_id_ = 0;
  std::vector<Reading> readings_;  // of walk(): all levels
  std::vector<Level> levels_;
  std::vector<uint32_t> scratch_;  // a mask
  bool too_deep_ = false;          // of the last walk()
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
  // The same by bytes of text (or terminals), wherever tokens end in it.
  bool accept_bytes(std::span<const uint8_t> bytes);
  bool complete() const { return position_.complete; }  // the text may end here
  bool only_end_left() const;                           // and nothing else may come
  bool ended() const { return ended_; }                 // a token that ends generation was accepted

 private:
  std::shared_ptr<TokenMasks> masks_;
  GrammarPosition position_;
  std::vector<uint32_t> mask_;
  bool mask_valid_ = false, ended_ = false;
};

}  // namespace forge::rt
