#include "runtime/core/tokenizer.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "runtime/core/tokenizer_split.h"
#include "runtime/core/unicode.h"

namespace forge::rt {

using namespace tokenizer_format;

namespace {

bool test(const uint8_t (&set)[32], char byte) {
  const auto b = static_cast<uint8_t>(byte);
  return (set[b / 8] >> (b % 8) & 1) != 0;
}

// isspace() of the C locale.
bool is_ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The section as a span; false if it does not lie in the tables.
template <class T>
bool section(std::span<const uint8_t> tables, Section s, std::span<const T>& out) {
  if (s.offset % 8 != 0 || uint64_t{s.offset} + uint64_t{s.count} * sizeof(T) > tables.size()) return false;
  out = {reinterpret_cast<const T*>(tables.data() + s.offset), s.count};
  return true;
}

// Whether every id of a hash table is a token, and a search always meets an empty slot. An empty table is
// fine.
template <class Slot>
bool slots_are_sound(std::span<const Slot> slots, int32_t Slot::* id, uint32_t n_vocab) {
  uint32_t used = 0, bad = 0;
  for (const Slot& slot : slots) {
    used += slot.*id != kNone;
    bad |= slot.*id != kNone && static_cast<uint32_t>(slot.*id) >= n_vocab;
  }
  return bad == 0 && (slots.empty() || used < slots.size());
}

// The first slot from `hash` on that `matches`; null when an empty one comes first.
template <class Slot, class Matches>
const Slot* probe(std::span<const Slot> slots, uint32_t hash, int32_t Slot::* id, Matches matches) {
  if (slots.empty()) return nullptr;
  for (uint32_t i = slot_of(hash, static_cast<uint32_t>(slots.size()));;) {
    const Slot& slot = slots[i];
    if (slot.*id == kNone) return nullptr;
    if (matches(slot)) return &slot;
    if (++i == slots.size()) i = 0;
  }
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
  if (h->model != Model::spm && h->model != Model::bpe) return broken("unknown model");

  Tokenizer t;
  t.header_ = h;
  std::span<const uint32_t> piece_offsets, priorities;
  std::span<const uint8_t> attributes;
  std::span<const char> pool;
  if (!section(tables, h->piece_offsets, piece_offsets) || !section(tables, h->attributes, attributes) ||
      !section(tables, h->priorities, priorities) || !section(tables, h->piece_slots, t.piece_slots_) ||
      !section(tables, h->merge_slots, t.merge_slots_) ||
      !section(tables, h->special_slots, t.special_slots_) ||
      !section(tables, h->special_lengths, t.special_lengths_) || !section(tables, h->pool, pool)) {
    return broken("a section lies outside of them");
  }
  if (piece_offsets.size() != size_t{h->n_vocab} + 1 || attributes.size() != h->n_vocab ||
      priorities.size() != (h->model == Model::spm ? h->n_vocab : 0)) {
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
      !slots_are_sound(t.merge_slots_, &MergeSlot::merged, h->n_vocab) ||
      !slots_are_sound(t.special_slots_, &SpecialSlot::id, h->n_vocab)) {
    return broken("a hash table is full or holds an id outside of the vocabulary");
  }
  for (const SpecialSlot& s : t.special_slots_) {
    if (s.id != kNone && uint64_t{s.offset} + s.length > pool.size())
      return broken("a special token's text is outside");
  }
  for (size_t i = 0; i < t.special_lengths_.size(); ++i) {
    if (t.special_lengths_[i] == 0 || (i > 0 && t.special_lengths_[i] >= t.special_lengths_[i - 1])) {
      return broken("lengths of special tokens do not descend");
    }
  }
  if (h->model == Model::bpe) {
    const std::string_view name(h->splitter, sizeof h->splitter);
    t.splitter_ = find_splitter(name.substr(0, name.find('\0')));
    if (t.splitter_ == nullptr) return broken("unknown pre-tokenizer");
  }
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

const SpecialSlot* Tokenizer::find_special(std::string_view bytes) const {
  const uint32_t hash = hash_bytes(bytes);
  return probe(special_slots_, hash, &SpecialSlot::id, [&](const SpecialSlot& s) {
    return s.hash == hash && std::string_view(pool_ + s.offset, s.length) == bytes;
  });
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
    const std::vector<Special> specials = find_specials(input, parse_special);
    if (is_spm()) spaced_.reserve(input.size() + specials.size() + 1);
    size_t done = 0;
    for (const Special& s : specials) {
      if (done < s.begin) encode_text(input.substr(done, s.begin - done));
      out_.push_back(s.id);
      after_special_ = true;
      done = s.end;
    }
    if (done < input.size()) encode_text(input.substr(done));
  }

 private:
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
  struct CacheEntry {  // a word of this call that was encoded to out[begin, begin + count)
    const char* word = nullptr;
    uint32_t length = 0, hash = 0;
    size_t begin = 0, count = 0;
  };
  static constexpr uint32_t kEnd = UINT32_MAX;
  static constexpr size_t kMaxCacheEntries = 8192;
  // Longer words (texts without a place to cut) are cut here, so that positions fit and memory stays bounded.
  static constexpr size_t kMaxWordBytes = size_t{1} << 24;

  bool is_spm() const { return t_.header_->model == Model::spm; }

  // Longer texts take precedence wherever they stand; among those of one length the first.
  std::vector<Special> find_specials(std::string_view input, bool parse_special) const {
    std::vector<size_t> starts;
    if (t_.special_lengths_.empty()) return {};
    for (size_t i = 0; i < input.size(); ++i) {
      if (test(t_.header_->special_first, input[i])) starts.push_back(i);
    }
    std::vector<Special> taken, found;
    for (const uint32_t length : t_.special_lengths_) {
      size_t next = 0;  // in taken
      size_t free = 0;  // where the last match ended
      for (const size_t start : starts) {
        while (next < taken.size() && taken[next].begin <= start) free = std::max(free, taken[next++].end);
        const size_t limit = next < taken.size() ? taken[next].begin : input.size();
        if (start < free || limit - start < length) continue;
        const SpecialSlot* s = t_.find_special(input.substr(start, length));
        if (s == nullptr || (!parse_special && t_.is_control(s->id))) continue;
        size_t end = start + length;
        if (t_.has(s->id, kStripRight)) {
          while (end < limit && is_ascii_space(input[end])) ++end;
        }
        found.push_back({start, end, s->id});
        free = end;
      }
      if (found.empty()) continue;
      std::vector<Special> both;
      both.reserve(taken.size() + found.size());
      std::merge(taken.begin(), taken.end(), found.begin(), found.end(), std::back_inserter(both),
                 [](const Special& x, const Special& y) { return x.begin < y.begin; });
      taken = std::move(both);
      found.clear();
    }
    return taken;
  }

  void encode_text(std::string_view input) {
    if (is_spm()) {
      encode_spaced(input);
    } else {
      split_words(
          *t_.splitter_, input,
          {[](void* self, std::string_view word) { static_cast<Encoder*>(self)->encode_word(word); }, this});
    }
    after_special_ = false;
  }

  // SentencePiece knows no words, but no merge can cross a place that no piece spans: before a space, after
  // most other characters. Cutting there changes nothing and keeps the queue short.
  void encode_spaced(std::string_view input) {
    const size_t begin = spaced_.size();
    if (after_special_ && (t_.header_->flags & kAddSpacePrefix) != 0) spaced_ += ' ';
    constexpr std::string_view kEscapedSpace = "\xe2\x96\x81";  // pieces hold a space where the file has "▁"
    for (size_t at = 0;;) {
      const size_t end = std::min(input.find(kEscapedSpace, at), input.size());
      spaced_.append(input, at, end - at);
      if (end == input.size()) break;
      spaced_ += ' ';
      at = end + kEscapedSpace.size();
    }
    const std::string_view spaced = std::string_view(spaced_).substr(begin);
    size_t word = 0;
    for (size_t i = 1; i < spaced.size(); ++i) {
      if (spaced[i] == ' ' && !test(t_.header_->joins_space, spaced[i - 1])) {
        encode_word(spaced.substr(word, i - word));
        word = i;
      }
    }
    encode_word(spaced.substr(word));
  }

  void encode_word(std::string_view word) {
    while (word.size() > kMaxWordBytes) {
      merge_word(word.substr(0, kMaxWordBytes));
      word.remove_prefix(kMaxWordBytes);
    }
    if (cache_.empty()) return merge_word(word);
    const uint32_t hash = hash_bytes(word);
    CacheEntry& entry = cache_[hash & (cache_.size() - 1)];
    if (entry.hash == hash && std::string_view(entry.word, entry.length) == word) {
      for (size_t i = 0; i < entry.count; ++i) out_.push_back(out_[entry.begin + i]);
      return;
    }
    const size_t begin = out_.size();
    merge_word(word);
    entry = {word.data(), static_cast<uint32_t>(word.size()), hash, begin, out_.size() - begin};
  }

  void merge_word(std::string_view word) {
    if ((t_.header_->flags & kIgnoreMerges) != 0) {
      if (const int32_t id = t_.find_piece(word); id != kNone) {
        out_.push_back(id);
        return;
      }
    }
    word_ = word;
    symbols_.clear();
    for (size_t at = 0; at < word.size();) {
      const size_t n = is_spm() ? decode_utf8(word, at).bytes : 1;
      const int32_t id =
          is_spm() ? t_.find_piece(word.substr(at, n)) : t_.header_->byte_ids[static_cast<uint8_t>(word[at])];
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
    if (is_spm()) {
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
    const std::string_view bytes = word_.substr(symbol.begin, symbol.length);
    if (is_spm() && bytes == " ") {
      for (const char byte : std::string_view("\xe2\x96\x81")) emit_byte(byte);
      return;
    }
    for (const char byte : bytes) emit_byte(byte);
  }

  void emit_byte(char byte) {
    int32_t id = t_.header_->byte_ids[static_cast<uint8_t>(byte)];
    // Some files name the end-of-text token as the unknown one: text must not give that.
    if (id == kNone && !t_.is_end_of_generation(t_.unk())) id = t_.unk();
    if (id != kNone) out_.push_back(id);
  }

  const Tokenizer& t_;
  std::vector<int32_t>& out_;
  std::string spaced_;  // spm: the text with its added spaces; reserved, so that words stay where they are
  bool after_special_ = true;  // also at the start
  std::string_view word_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> candidates_;
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
