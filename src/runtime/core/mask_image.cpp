#include "runtime/core/mask_image.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime/core/payload.h"

namespace forge::rt {
namespace {

// Little-endian as the machines are, each array behind its length. The hash over what follows it comes first.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t n_vocab;
  uint64_t hash;
};
constexpr char kMagic[8] = {'F', 'O', 'R', 'G', 'E', 'M', 'S', 'K'};
constexpr uint32_t kVersion = 1;

struct EntryHead {
  uint64_t key, n_below;
  uint32_t id, too_deep;
};

template <class T>
concept Plain = std::is_trivially_copyable_v<T>;

class Writer {
 public:
  template <Plain T>
  void value(const T& v) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&v);
    out_.insert(out_.end(), bytes, bytes + sizeof v);
  }
  template <Plain T>
  void array(const std::vector<T>& values) {
    value(uint64_t{values.size()});
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    out_.insert(out_.end(), bytes, bytes + values.size() * sizeof(T));
  }
  std::vector<uint8_t> take() { return std::move(out_); }

 private:
  std::vector<uint8_t> out_;
};

// After the first value that is not there all others are empty.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(bytes) {}
  template <Plain T>
  T value() {
    T out{};
    if (good_ = good_ && rest_.size() >= sizeof out; good_) {
      std::memcpy(&out, rest_.data(), sizeof out);
      rest_ = rest_.subspan(sizeof out);
    }
    return out;
  }
  template <Plain T>
  void array(std::vector<T>& out) {
    const auto n = value<uint64_t>();
    if (good_ = good_ && n <= rest_.size() / sizeof(T); !good_) return;
    out.resize(static_cast<size_t>(n));
    if (n != 0) std::memcpy(out.data(), rest_.data(), out.size() * sizeof(T));
    rest_ = rest_.subspan(out.size() * sizeof(T));
  }
  bool at_end() const { return good_ && rest_.empty(); }
  bool good() const { return good_; }

 private:
  std::span<const uint8_t> rest_;
  bool good_ = true;
};

// As it lies in memory, with zeros in the gap.
struct NodeImage {
  uint32_t end, first_token;
  uint16_t depth;
  uint8_t byte, zero = 0;
};
static_assert(sizeof(NodeImage) == sizeof(VocabularyTrie::Node));

void write_trie(Writer& w, const VocabularyTrie& trie) {
  for (const VocabularyTrie::Part& part : trie.parts) {
    std::vector<NodeImage> nodes;
    nodes.reserve(part.nodes.size());
    for (const auto& n : part.nodes) nodes.push_back({n.end, n.first_token, n.depth, n.byte});
    w.value(part.max_bytes);
    w.array(nodes);
    w.array(part.tokens);
  }
  w.array(trie.ends);
  w.array(trie.piece_begin);
  w.array(trie.pieces);
}

std::shared_ptr<VocabularyTrie> read_trie(Reader& r, uint32_t n_vocab) {
  auto trie = std::make_shared<VocabularyTrie>();
  trie->n_vocab = n_vocab;
  for (VocabularyTrie::Part& part : trie->parts) {
    part.max_bytes = r.value<uint32_t>();
    r.array(part.nodes);
    r.array(part.tokens);
  }
  r.array(trie->ends);
  r.array(trie->piece_begin);
  r.array(trie->pieces);
  return trie;
}

// Whether all that is looked up by what the trie says is there.
bool is_sound(const VocabularyTrie& trie) {
  const auto all_below = [](const std::vector<uint32_t>& values, uint64_t limit) {
    return std::all_of(values.begin(), values.end(), [&](uint32_t v) { return v < limit; });
  };
  if (trie.piece_begin.size() != size_t{trie.n_vocab} + 1 || trie.piece_begin.back() != trie.pieces.size() ||
      !std::is_sorted(trie.piece_begin.begin(), trie.piece_begin.end()) ||
      !std::is_sorted(trie.ends.begin(), trie.ends.end()) || !all_below(trie.ends, trie.n_vocab))
    return false;
  for (const VocabularyTrie::Part& part : trie.parts) {
    const auto n = static_cast<uint32_t>(part.nodes.size());
    if (n == 0 || part.max_bytes > VocabularyTrie::kMaxPieceBytes || !all_below(part.tokens, trie.n_vocab) ||
        part.nodes.back().first_token != part.tokens.size())
      return false;
    // A node's subtree lies within that of the node before it that is not as deep.
    std::vector<uint32_t> ends;
    for (uint32_t i = 0; i + 1 < n; ++i) {
      const VocabularyTrie::Node& node = part.nodes[i];
      if (node.depth > ends.size() || node.depth >= part.max_bytes) return false;
      ends.resize(node.depth);
      if (node.end <= i || node.end >= n || (!ends.empty() && node.end > ends.back()) ||
          node.first_token > part.nodes[i + 1].first_token)
        return false;
      ends.push_back(node.end);
    }
  }
  return true;
}

bool is_sound(const TokenMasks::Entry& e, const VocabularyTrie& trie, size_t part) {
  const size_t n_words = (trie.n_vocab + 31) / 32;
  const size_t n_nodes = trie.parts[part].nodes.size() - 1;
  return e.id != 0 && e.id != UINT32_MAX && (e.mask.empty() || e.mask.size() == n_words) &&
         std::all_of(e.tokens.begin(), e.tokens.end(), [&](uint32_t t) { return t < trie.n_vocab; }) &&
         std::all_of(e.continuations.begin(), e.continuations.end(), [&](uint32_t c) { return c < n_nodes; });
}

}  // namespace

std::vector<uint8_t> write_mask_image(const std::shared_ptr<const VocabularyTrie>& trie,
                                      const Grammar& grammar, size_t max_bytes) {
  TokenMasks masks(trie, grammar, 4 * max_bytes);
  masks.find_all(max_bytes);
  Writer w;
  w.array(write_grammar(grammar));
  write_trie(w, *trie);
  for (const size_t part : {0, 1}) {
    std::vector<const TokenMasks::Entries::value_type*> sorted;
    for (const auto& entry : masks.entries(part)) sorted.push_back(&entry);
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    w.value(uint64_t{sorted.size()});
    for (const auto* kept : sorted) {
      const TokenMasks::Entry& e = kept->second;
      w.value(
          EntryHead{.key = kept->first, .n_below = e.n_below, .id = e.id, .too_deep = e.too_deep ? 1U : 0U});
      w.array(e.mask);
      w.array(e.tokens);
      w.array(e.continuations);
    }
  }
  const std::vector<uint8_t> rest = w.take();
  Header header{
      .magic = {}, .version = kVersion, .n_vocab = trie->n_vocab, .hash = hash64(rest, trie->n_vocab)};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  Writer whole;
  whole.value(header);
  std::vector<uint8_t> out = whole.take();
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

namespace {

Error broken(std::string_view what) { return Error{text("the answers' grammar: ", what)}; }

// What is behind the header.
Result<std::span<const uint8_t>> open(std::span<const uint8_t> bytes, Header& header) {
  if (bytes.size() < sizeof header || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    return broken("bad magic");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != kVersion)
    return broken(text("version ", header.version, ", this program reads ", kVersion));
  bytes = bytes.subspan(sizeof header);
  if (hash64(bytes, header.n_vocab) != header.hash) return broken("altered (hash mismatch)");
  return bytes;
}

}  // namespace

Status verify_mask_image(std::span<const uint8_t> bytes) {
  Header header{};
  const auto rest = open(bytes, header);
  return rest ? Status(Ok{}) : Status(rest.error());
}

Result<std::shared_ptr<TokenMasks>> read_mask_image(std::span<const uint8_t> bytes, uint32_t n_vocab) {
  Header header{};
  const auto rest = open(bytes, header);
  if (!rest) return rest.error();
  if (header.n_vocab != n_vocab)
    return broken(text("of ", header.n_vocab, " tokens, the model has ", n_vocab));
  Reader r(*rest);
  std::vector<uint8_t> written;
  r.array(written);
  const auto grammar = read_grammar(written);
  if (!grammar) return broken(grammar.error().message);
  const auto trie = read_trie(r, n_vocab);
  if (!r.good() || !is_sound(*trie)) return broken("damaged (the vocabulary)");
  auto masks = std::make_shared<TokenMasks>(trie, *grammar);
  for (const size_t part : {0, 1}) {
    const auto n = r.value<uint64_t>();
    for (uint64_t i = 0; i < n && r.good(); ++i) {
      const auto head = r.value<EntryHead>();
      TokenMasks::Entry e{.id = head.id,
                          .mask = {},
                          .tokens = {},
                          .continuations = {},
                          .n_below = head.n_below,
                          .too_deep = head.too_deep != 0};
      r.array(e.mask);
      r.array(e.tokens);
      r.array(e.continuations);
      if (!r.good() || !is_sound(e, *trie, part)) return broken("damaged (a mask)");
      masks->keep(part, head.key, std::move(e));
    }
  }
  if (!r.at_end()) return broken("cut off");
  return masks;
}

}  // namespace forge::rt
