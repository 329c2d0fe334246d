#include "runtime/core/dry_breakers.h"

#include <algorithm>
#include <string_view>

namespace forge::rt {
namespace {

constexpr size_t kMaxBytes = 40;
constexpr size_t kMaxTail = 20;

struct BreakerString {
  std::string_view bytes;
  std::vector<std::vector<int32_t>> tails;  // [i]: the tokens of bytes.substr(i)
};

}  // namespace

Result<DryBreakers> dry_breakers(const Tokenizer& tokenizer, std::span<const std::string> strings) {
  if (strings.size() > kMaxDryBreakers)
    return Error{
        text("there are ", strings.size(), " DRY sequence breakers, the limit is ", kMaxDryBreakers)};
  std::vector<BreakerString> wanted;
  for (const std::string_view string : strings) {
    if (string.empty()) continue;
    BreakerString& s = wanted.emplace_back();
    s.bytes = string.substr(0, kMaxBytes);
    for (size_t i = 0; i < s.bytes.size(); ++i) {
      s.tails.push_back(tokenizer.encode(s.bytes.substr(i), {.add_bos = false, .add_eos = false}));
      s.tails.back().resize(std::min(s.tails.back().size(), kMaxTail));
    }
  }
  DryBreakers out;
  std::string buffer;
  for (int32_t token = 0; !wanted.empty() && token < tokenizer.n_vocab(); ++token) {
    buffer.clear();
    tokenizer.append_piece(token, buffer, /*special=*/true);
    const std::string_view piece = buffer;
    for (const BreakerString& s : wanted) {
      if (piece.find(s.bytes) != std::string_view::npos) {
        out.push_back({.head = token, .tail = {}});
        continue;
      }
      // A piece that ends with the string's first n bytes.
      for (size_t n = 1; n < std::min(s.bytes.size(), piece.size() + 1); ++n) {
        if (piece.ends_with(s.bytes.substr(0, n))) out.push_back({.head = token, .tail = s.tails[n]});
      }
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace forge::rt
