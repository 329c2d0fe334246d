#include "runtime/core/tokenizer.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <iterator>
#include <utility>

#include "runtime/core/unicode.h"

namespace forge::rt {

using namespace tokenizer_format;

namespace {

bool test(const uint8_t (&set)[32], char byte) {
  const auto b = static_cast<uint8_t>(byte);
  return (set[b / 8] >> (b % 8) & 1) != 0;
}

bool has_class(std::string_view text, size_t at, CharClass classes) {
  return (char_class(decode_utf8(text, at).value) & classes) != 0;
}

// The section as a span; false if it does not lie in the tables.
template <class T>
bool section(std::span<const uint8_t> tables, Section s, std::span<const T>& out) {
  if (s.offset % 8 != 0 || uint64_t{s.offset} + uint64_t{s.count} * sizeof(T) > tables.size()) return false;
  out = {reinterpret_cast<const T*>(tables.data() + s.offset), s.count};
  return true;
}

// Whether every id of a hash table is a token, and a search always ends.
template <class Slot>
bool slots_are_sound(std::span<const Slot> slots, int32_t Slot::* id, uint32_t n_vocab) {
  uint32_t bad = 0;
  for (const Slot& slot : slots) bad |= slot.*id != kNone && static_cast<uint32_t>(slot.*id) >= n_vocab;
  return bad == 0 && has_empty_slot(slots, id);
}

}  // namespace

Result<Tokenizer> Tokenizer::open(std::span<const uint8_t> tables) {
  const auto broken = [](std::string_view what) { return Error{text("tokenizer tables: ", what)}; };
  if (reinterpret_cast<uintptr_t>(tables.data()) % 8 != 0) return broken("not aligned to 8 bytes");
  if (tables.size() < sizeof(Header)) return broken("shorter than their header");
  const auto* h = reinterpret_cast<const Header*>(tables.data());
  if (std::memcmp(h->magic, kMagic, sizeof kMagic) != 0) return broken("bad magic, expected FORGETOK");
  if (h->version != kVersion) return broken(text("version ", h->version, ", expected ", kVersion));
  if (h->n_vocab == 0 || h->n_vocab > INT32_MAX)
    return broken(text("a vocabulary of ", h->n_vocab, " tokens"));
  if (h->model != Model::spm && h->model != Model::bpe && h->model != Model::unigram)
    return broken("unknown model");

  Tokenizer t;
  t.header_ = h;
  std::span<const uint32_t> piece_offsets, priorities;
  std::span<const uint8_t> attributes;
  std::span<const char> pool;
  NormalizerView& n = t.normalizer_;
  RegexView& r = t.regexes_;
  r.n_classes = h->n_classes;
  if (!section(tables, h->piece_offsets, piece_offsets) || !section(tables, h->attributes, attributes) ||
      !section(tables, h->priorities, priorities) || !section(tables, h->piece_slots, t.piece_slots_) ||
      !section(tables, h->merge_slots, t.merge_slots_) || !section(tables, h->splits, t.splits_) ||
      !section(tables, h->regexes, r.regexes) || !section(tables, h->char_blocks, r.char_blocks) ||
      !section(tables, h->char_classes, r.char_classes) || !section(tables, h->transitions, r.transitions) ||
      !section(tables, h->special_trie, t.specials_.slots) ||
      !section(tables, h->special_ids, t.specials_.ids) || !section(tables, h->piece_trie, t.pieces_.slots) ||
      !section(tables, h->piece_ids, t.pieces_.ids) || !section(tables, h->scores, t.scores_) ||
      !section(tables, h->steps, n.steps) || !section(tables, h->mappings, n.mappings) ||
      !section(tables, h->combining, n.combining) || !section(tables, h->composites, n.composites) ||
      !section(tables, h->charsmap, n.charsmap) || !section(tables, h->pool, pool)) {
    return broken("a section lies outside of them");
  }
  n.pool = pool;
  if (piece_offsets.size() != size_t{h->n_vocab} + 1 || attributes.size() != h->n_vocab ||
      priorities.size() != (h->model == Model::spm ? h->n_vocab : 0) ||
      t.scores_.size() != (h->model == Model::unigram ? h->n_vocab : 0)) {
    return broken(text("a section's size does not fit the vocabulary of ", h->n_vocab, " tokens"));
  }
  uint32_t bad = piece_offsets.back() > pool.size();
  for (size_t i = 0; i < h->n_vocab; ++i) bad |= piece_offsets[i] > piece_offsets[i + 1];
  if (bad != 0) return broken("piece offsets do not ascend within the pool");

  const auto is_id = [&](int32_t id) { return id == kNone || static_cast<uint32_t>(id) < h->n_vocab; };
  if (!is_id(h->bos) || !is_id(h->eos) || !is_id(h->eot) || !is_id(h->unk) || !is_id(h->pad) ||
      !std::all_of(std::begin(h->byte_ids), std::end(h->byte_ids), is_id)) {
    return broken("a special token's id is outside of the vocabulary");
  }
  if (!slots_are_sound(t.piece_slots_, &PieceSlot::id, h->n_vocab) ||
      !slots_are_sound(t.merge_slots_, &MergeSlot::merged, h->n_vocab) || !t.specials_.is_sound(h->n_vocab) ||
      !t.pieces_.is_sound(h->n_vocab)) {
    return broken("a hash table is full or holds an id outside of the vocabulary");
  }
  if (!r.is_sound() || t.splits_.size() > r.regexes.size())
    return broken("a regular expression's table is not sound");
  if (!n.is_sound(r)) return broken("the normalizer is not sound");
  t.piece_offsets_ = piece_offsets.data();
  t.attributes_ = attributes.data();
  t.priorities_ = priorities.data();
  t.pool_ = pool.data();
  return t;
}

int32_t Tokenizer::find_piece(std::string_view bytes) const {
  const uint32_t hash = hash_bytes(bytes);
  const PieceSlot* slot = probe(piece_slots_, hash, &PieceSlot::id,
                                [&](const PieceSlot& s) { return s.hash == hash && piece(s.id) == bytes; });
  return slot == nullptr ? kNone : slot->id;
}

const MergeSlot* Tokenizer::find_merge(int32_t left, int32_t right) const {
  return probe(merge_slots_, hash_pair(left, right), &MergeSlot::merged,
               [&](const MergeSlot& s) { return s.left == left && s.right == right; });
}

// The state of one call of encode.
class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, std::vector<int32_t>& out) : t_(tokenizer), out_(out) {}

  void encode(std::string_view input, bool parse_special) {
    out_.reserve(out_.size() + input.size() / 3);
    if (const size_t entries = std::bit_floor(std::min(input.size() / 4, kMaxCacheEntries)); entries >= 64) {
      cache_.resize(entries);
    }
    parse_special_ = parse_special;
    // White space that special tokens take is gone before the text is normalized.
    each_segment(input, false, [&](std::string_view segment) {
      at_start_ = segment.data() == input.data();
      const bool spaces = has(kSpaces) && !has(kPrefixWords);
      if (t_.normalizer_.steps.empty() && !spaces) return encode_normalized(segment);
      std::string& text = buffers_.emplace_back(normalize(t_.normalizer_, t_.regexes_, segment));
      if (spaces) text = with_spaces(text);
      encode_normalized(text);
    });
  }

 private:
  static constexpr uint32_t kEnd = UINT32_MAX;
  struct Special {  // a token that was recognised in the text; takes input[begin, end)
    size_t begin, end;
    int32_t id;
  };
  struct Symbol {
    uint32_t begin, length;  // in the word; length 0: became part of the symbol before
    int32_t id;
    uint32_t previous, next;
  };
  struct Candidate {  // two neighbours that can be merged
    uint32_t priority, left, right, length;
    int32_t id;
    // For a heap with the lowest priority number, and then the leftmost, on top.
    bool operator<(const Candidate& o) const {
      return priority != o.priority ? priority > o.priority : left > o.left;
    }
  };
  struct Best {  // unigram: the last piece of the best way to cut a word up to here
    double score = 0;
    uint32_t begin = kEnd;
    int32_t id = kNone;
  };
  struct CacheEntry {  // a word of this call that was encoded to out[begin, begin + count)
    const char* word = nullptr;
    uint32_t length = 0, hash = 0;
    size_t begin = 0, count = 0;
  };
  static constexpr size_t kMaxCacheEntries = 8192;
  // Longer words (texts without a place to cut) are cut here, so that positions fit and memory stays bounded.
  static constexpr size_t kMaxWordBytes = size_t{1} << 24;

  bool has(uint32_t flag) const { return (t_.header_->flags & flag) != 0; }

  // Puts out the special tokens of the text, which is normalized or not yet, and calls encode_segment with what
  // stands between them.
  template <class EncodeSegment>
  void each_segment(std::string_view input, bool normalized, EncodeSegment encode_segment) {
    size_t done = 0;
    for (size_t at = 0; at < input.size();) {
      Special s{at, at, kNone};
      if (test(t_.header_->special_first, input[at])) s = special_at(input, at, normalized);
      if (s.id == kNone) {
        ++at;
        continue;
      }
      strip_around(input, done, s);
      if (done < s.begin) encode_segment(input.substr(done, s.begin - done));
      out_.push_back(s.id);
      at = done = s.end;
    }
    if (done < input.size()) encode_segment(input.substr(done));
  }

  // The longest special token that stands at `at`.
  Special special_at(std::string_view input, size_t at, bool normalized) const {
    Special found{at, at, kNone};
    int32_t node = 0;
    for (size_t i = at; i < input.size(); ++i) {
      node = t_.specials_.step(node, input[i]);
      if (node == kNone) break;
      const int32_t id = t_.specials_.id(node);
      if (id == kNone || t_.has(id, kNormalized) != normalized || (!parse_special_ && t_.is_control(id)))
        continue;
      if (t_.has(id, kWholeWord) && !stands_alone(input, at, i + 1)) continue;
      found = {at, i + 1, id};
    }
    return found;
  }

  static bool stands_alone(std::string_view input, size_t begin, size_t end) {
    constexpr CharClass kWord = kLetter | bit(Category::Nd) | bit(Category::Nl) | bit(Category::Pc) |
                                bit(Category::Mn) | bit(Category::Mc) | bit(Category::Me);
    return (begin == 0 || !has_class(input, last_code_point(input.substr(0, begin)), kWord)) &&
           (end == input.size() || !has_class(input, end, kWord));
  }

  // Widens s over white space, but not before `done`.
  void strip_around(std::string_view input, size_t done, Special& s) const {
    if (t_.has(s.id, kStripLeft)) {
      while (s.begin > done) {
        const size_t last = done + last_code_point(input.substr(done, s.begin - done));
        if (!has_class(input, last, kWhitespace)) break;
        s.begin = last;
      }
    }
    if (t_.has(s.id, kStripRight)) {
      while (s.end < input.size() && has_class(input, s.end, kWhitespace))
        s.end += decode_utf8(input, s.end).bytes;
    }
  }

  static std::string with_spaces(std::string_view text) {
    constexpr std::string_view kEscapedSpace = "\xe2\x96\x81";  // pieces hold a space where the file has "▁"
    std::string out;
    out.reserve(text.size() + 1);
    for (size_t at = 0;;) {
      const size_t end = std::min(text.find(kEscapedSpace, at), text.size());
      out.append(text, at, end - at);
      if (end == text.size()) return out;
      out += ' ';
      at = end + kEscapedSpace.size();
    }
  }

  void encode_normalized(std::string_view input) {
    if (!has(kNormalizedSpecials)) return encode_text(input);
    const std::string_view whole = input;
    const bool first = at_start_;
    each_segment(input, true, [&](std::string_view segment) {
      at_start_ = first && segment.data() == whole.data();
      encode_text(segment);
    });
  }

  // Text without special tokens; it stays where it is during the call of encode.
  void encode_text(std::string_view input) {
    if (has(kAddSpacePrefix) && !has(kPrefixWords) && (at_start_ || !has(kPrefixFirst)) &&
        !(has(kPrefixMissing) && input[0] == ' ')) {
      std::string& prefixed = buffers_.emplace_back();
      prefixed.reserve(input.size() + 1);
      prefixed += ' ';
      prefixed += input;
      input = prefixed;
    }
    if (has(kPrefixWords)) {
      words_ = &buffers_.emplace_back();
      words_->reserve(2 * input.size());
    }
    split_words(
        t_.regexes_, t_.splits_, input,
        {[](void* self, std::string_view word) { static_cast<Encoder*>(self)->take_word(word); }, this});
  }

  void take_word(std::string_view word) {
    if (has(kPrefixWords)) {
      const size_t begin = words_->size();
      const std::string spaced = has(kSpaces) ? with_spaces(word) : std::string(word);
      if (spaced[0] != ' ') *words_ += ' ';
      *words_ += spaced;
      word = std::string_view(*words_).substr(begin);
    }
    if (!has(kSpaces) || has(kIgnoreMerges)) return encode_word(word);
    // No piece spans a place before a space but for those in joins_space, so cutting there changes nothing and
    // keeps the work on each part short. Words that got a space of their own are cut at all.
    size_t begin = 0;
    for (size_t i = word.find(' ', 1); i < word.size(); i = word.find(' ', i + 1)) {
      if (!has(kPrefixWords) && test(t_.header_->joins_space, word[i - 1])) continue;
      encode_word(word.substr(begin, i - begin));
      begin = i;
    }
    encode_word(word.substr(begin));
  }

  void encode_word(std::string_view word) {
    while (word.size() > kMaxWordBytes) {
      find_pieces(word.substr(0, kMaxWordBytes));
      word.remove_prefix(kMaxWordBytes);
    }
    if (cache_.empty()) return find_pieces(word);
    const uint32_t hash = hash_bytes(word);
    CacheEntry& entry = cache_[hash & (cache_.size() - 1)];
    if (entry.hash == hash && std::string_view(entry.word, entry.length) == word) {
      for (size_t i = 0; i < entry.count; ++i) out_.push_back(out_[entry.begin + i]);
      return;
    }
    const size_t begin = out_.size();
    find_pieces(word);
    entry = {word.data(), static_cast<uint32_t>(word.size()), hash, begin, out_.size() - begin};
  }

  void find_pieces(std::string_view word) {
    if (has(kIgnoreMerges)) {
      if (const int32_t id = t_.find_piece(word); id != kNone) {
        out_.push_back(id);
        return;
      }
    }
    unknown_end_ = SIZE_MAX;
    if (t_.header_->model == Model::unigram) {
      find_best_pieces(word);
    } else {
      merge_word(word);
    }
  }

  // Viterbi's algorithm: best_[i] is the best way to cut the first i bytes of the word.
  void find_best_pieces(std::string_view word) {
    best_.assign(word.size() + 1, {});
    best_[0].score = 0;
    for (size_t begin = 0; begin < word.size();) {
      const size_t character = decode_utf8(word, begin).bytes;
      const double before = best_[begin].score;
      const auto offer = [&](size_t end, int32_t id, double score) {
        Best& b = best_[end];
        if (b.begin == kEnd || before + score > b.score)
          b = {before + score, static_cast<uint32_t>(begin), id};
      };
      bool has_character = false;
      int32_t node = 0;
      for (size_t i = begin; i < word.size(); ++i) {
        node = t_.pieces_.step(node, word[i]);
        if (node == kNone) break;
        const int32_t id = t_.pieces_.id(node);
        if (id == kNone) continue;
        offer(i + 1, id, t_.scores_[static_cast<size_t>(id)]);
        has_character |= i + 1 - begin == character;
      }
      if (!has_character) offer(begin + character, kNone, t_.header_->unknown_score);
      begin += character;
    }
    word_ = word;
    symbols_.clear();
    for (auto end = static_cast<uint32_t>(word.size()); end > 0; end = best_[end].begin) {
      const uint32_t begin = best_[end].begin;
      symbols_.push_back({begin, end - begin, best_[end].id, kEnd, kEnd});
    }
    for (size_t i = symbols_.size(); i-- > 0;) emit(symbols_[i]);
  }

  void merge_word(std::string_view word) {
    word_ = word;
    symbols_.clear();
    for (size_t at = 0; at < word.size();) {
      const size_t n = has(kBytes) ? 1 : decode_utf8(word, at).bytes;
      const int32_t id = has(kBytes) ? t_.header_->byte_ids[static_cast<uint8_t>(word[at])]
                                     : t_.find_piece(word.substr(at, n));
      const auto index = static_cast<uint32_t>(symbols_.size());
      symbols_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(n), id, index - 1, index + 1});
      at += n;
    }
    if (symbols_.empty()) return;
    symbols_.front().previous = kEnd;
    symbols_.back().next = kEnd;

    candidates_.clear();
    for (uint32_t i = 0; i + 1 < symbols_.size(); ++i) add_candidate(i, i + 1, false);
    std::make_heap(candidates_.begin(), candidates_.end());
    while (!candidates_.empty()) {
      std::pop_heap(candidates_.begin(), candidates_.end());
      const Candidate c = candidates_.back();
      candidates_.pop_back();
      Symbol& left = symbols_[c.left];
      Symbol& right = symbols_[c.right];
      // A symbol only ever grows or vanishes: equal lengths mean that both are as they were.
      if (left.length == 0 || right.length == 0 || left.length + right.length != c.length) continue;
      left.length = c.length;
      left.id = c.id;
      left.next = right.next;
      right.length = 0;
      if (left.next != kEnd) symbols_[left.next].previous = c.left;
      if (left.previous != kEnd) add_candidate(left.previous, c.left, true);
      if (left.next != kEnd) add_candidate(c.left, left.next, true);
    }
    for (uint32_t i = 0; i != kEnd; i = symbols_[i].next) emit(symbols_[i]);
  }

  void add_candidate(uint32_t left, uint32_t right, bool into_heap) {
    const Symbol& a = symbols_[left];
    const Symbol& b = symbols_[right];
    Candidate c{0, left, right, a.length + b.length, kNone};
    if (t_.header_->model == Model::spm) {
      if (c.length > t_.header_->max_piece_bytes) return;
      c.id = t_.find_piece(word_.substr(a.begin, c.length));
      if (c.id == kNone) return;
      c.priority = t_.priorities_[static_cast<size_t>(c.id)];
    } else {
      const MergeSlot* merge = t_.find_merge(a.id, b.id);
      if (merge == nullptr) return;
      c.id = merge->merged;
      c.priority = merge->rank;
    }
    candidates_.push_back(c);
    if (into_heap) std::push_heap(candidates_.begin(), candidates_.end());
  }

  void emit(const Symbol& symbol) {
    if (symbol.id != kNone) {
      out_.push_back(symbol.id);
      return;
    }
    std::string_view bytes = word_.substr(symbol.begin, symbol.length);
    if (has(kSpaces) && bytes == " ") bytes = "\xe2\x96\x81";
    const auto byte_id = [&](char byte) { return t_.header_->byte_ids[static_cast<uint8_t>(byte)]; };
    if (std::all_of(bytes.begin(), bytes.end(), [&](char byte) { return byte_id(byte) != kNone; })) {
      for (const char byte : bytes) out_.push_back(byte_id(byte));
      return;
    }
    // Some files name the end-of-text token as the unknown one: text must not give that.
    if (t_.unk() == kNone || t_.is_end_of_generation(t_.unk())) return;
    if (has(kFuseUnknown) && unknown_end_ == out_.size()) return;
    out_.push_back(t_.unk());
    unknown_end_ = out_.size();
  }

  const Tokenizer& t_;
  std::vector<int32_t>& out_;
  bool parse_special_ = false;
  bool at_start_ = true;             // the text at hand begins the input
  std::deque<std::string> buffers_;  // altered text; words in the cache point into it
  std::string* words_ =
      nullptr;  // kPrefixWords: words with their spaces; reserved, so that they stay where they are
  size_t unknown_end_ = SIZE_MAX;  // the size of out_ behind an unknown token of the word at hand
  std::string_view word_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> candidates_;
  std::vector<Best> best_;
  std::vector<CacheEntry> cache_;
};

std::vector<int32_t> Tokenizer::encode(std::string_view input, const EncodeOptions& options) const {
  std::vector<int32_t> out;
  if (options.add_bos.value_or(adds_bos()) && bos() != kNone) out.push_back(bos());
  Encoder(*this, out).encode(input, options.parse_special);
  if (options.add_eos.value_or(adds_eos()) && eos() != kNone) out.push_back(eos());
  return out;
}

void Tokenizer::append_piece(int32_t id, std::string& out, bool special) const {
  if (id < 0 || id >= n_vocab() || (!special && has(id, kHidden))) return;
  out += piece(id);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool special) const {
  std::string out;
  bool strip_space = (header_->flags & kAddSpacePrefix) != 0;
  for (const int32_t id : ids) {
    const size_t begin = out.size();
    append_piece(id, out, special);
    if (!strip_space || is_control(id) || out.size() == begin) continue;
    if (out[begin] == ' ') out.erase(begin, 1);
    strip_space = false;
  }
  return out;
}

}  // namespace forge::rt
