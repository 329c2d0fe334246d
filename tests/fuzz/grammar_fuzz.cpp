// A byte that says which, and behind it any bytes as GBNF ('g'), a regular expression ('r'), a JSON schema ('s') or a
// grammar that was written (any other): an Error of one line, or a grammar that is the same when written and read again, whose
// masks are the tokens that it accepts, and of which texts go on.
#include "runtime/core/grammar.h"

#include "runtime/core/jinja_json.h"
#include "runtime/core/token_masks.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

using namespace forge::rt;
using forge::fuzz::require;

constexpr uint32_t kEnd = 0;  // the token that ends generation; the others are the bytes, and these
constexpr const char* kPieces[] = {"{\"",      "\":",    "\", \"",   "\"}",  "]}",   "[[",
                                   "12",       ".5",     "ab",       "abab", "true", "\\u00",
                                   "\xc3\xa9", "\xa9\"", "\xf0\x9f", "  ",   "\n",   "a long piece of text"};

const std::shared_ptr<const VocabularyTrie>& vocabulary() {
  static const auto trie = [] {
    std::vector<std::string> pieces = {""};
    for (int b = 0; b < 256; ++b) pieces.emplace_back(1, static_cast<char>(b));
    pieces.insert(pieces.end(), std::begin(kPieces), std::end(kPieces));
    const uint32_t ends[] = {kEnd};
    return make_vocabulary_trie(pieces, ends);
  }();
  return trie;
}

Result<Grammar> grammar_of(uint8_t kind, std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (kind == 'g') return parse_gbnf(text);
  if (kind == 'r') return regex_grammar(text);
  if (kind != 's') return read_grammar(bytes);
  const auto schema = jinja::parse_json(text);
  if (!schema) return schema.error();
  return json_schema_grammar(*schema);
}

bool bit(std::span<const uint32_t> mask, uint32_t t) { return (mask[t / 32] >> (t % 32) & 1) != 0; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto grammar = grammar_of(data[0], {data + 1, size - 1});
  if (!grammar) {
    require(grammar.error().message.find('\n') == std::string::npos);
    return 0;
  }
  const auto written = write_grammar(*grammar);
  const auto again = read_grammar(written);
  require(static_cast<bool>(again) && write_grammar(*again) == written);
  const uint32_t n = vocabulary()->n_vocab;
  GrammarState state(std::make_shared<TokenMasks>(vocabulary(), *grammar, size_t{1} << 16));
  uint32_t random = static_cast<uint32_t>(size);
  for (int step = 0; step < 12; ++step) {
    const auto mask = state.allowed();
    std::vector<int32_t> allowed;
    for (uint32_t t = 1; t < n; ++t) {
      const bool accepted = GrammarState(state).accept(static_cast<int32_t>(t));
      // Where there are too many readings a token may be allowed and refused, never the other way.
      require(bit(mask, t) || !accepted);
      if (accepted) allowed.push_back(static_cast<int32_t>(t));
    }
    require(bit(mask, kEnd) == state.complete());
    // Every byte is a token, so a text that may go on can; a grammar that was read may need more depth than there is.
    const bool was_read = std::string_view("grs").find(static_cast<char>(data[0])) == std::string_view::npos;
    require(was_read || state.only_end_left() || !allowed.empty());
    if (allowed.empty()) return 0;
    random = random * 1664525 + 1013904223;
    require(state.accept(allowed[(random >> 8) % allowed.size()]));
  }
  return 0;
}
