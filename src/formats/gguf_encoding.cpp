#include "formats/gguf_encoding.h"

#include <algorithm>
#include <bit>

namespace forge {
namespace {

// The length of the UTF-8 character at the start of the text (which is not empty); 0 when there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // The second byte says whether it is overlong, a surrogate or above U+10FFFF.
  const uint8_t second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ||
      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90)) {
    return 0;
  }
  return length;
}

bool is_control(char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; }

}  // namespace

uint32_t data_alignment(std::string_view path, const Metadata& meta) {
  constexpr int64_t kMaxAlignment = 1 << 20;
  const MetaValue* value = meta.find(kAlignmentKey);
  if (value == nullptr) return kDefaultAlignment;
  if (value->type != MetaType::u32)
    fail("{}: alignment of another type, in key {}, expected u32", path, quote(kAlignmentKey));
  const int64_t alignment = std::get<int64_t>(value->value);
  if (alignment > kMaxAlignment || !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    fail("{}: alignment {}, in key {}, expected a power of two up to {}", path, alignment,
         quote(kAlignmentKey), kMaxAlignment);
  }
  return static_cast<uint32_t>(alignment);
}

std::string quote(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string out = "\"";
  while (!text.empty() && out.size() < kLongest) {
    const size_t length = utf8_length(text);
    if (length == 0 || is_control(text[0])) {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[0]));
    } else {
      if (text[0] == '"' || text[0] == '\\') out += '\\';
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out + (text.empty() ? "\"" : "\"…");
}

void GgufCursor::refuse(std::string_view wrong, std::string_view expected) const {
  fail("{}: {}, in {} at offset {}, expected {}", file_, wrong, what_, last_, expected);
}

std::span<const uint8_t> GgufCursor::take(uint64_t n) {
  last_ = at_;
  if (n > left()) refuse(fmt::format("the file ends after {} bytes", left()), fmt::format("{} bytes", n));
  const auto bytes = bytes_.subspan(at_, n);
  at_ += n;
  return bytes;
}

std::string_view GgufCursor::string() {
  const uint64_t length = number<uint64_t>();
  if (length > left()) refuse(fmt::format("string of {} bytes", length), fmt::format("{} at most", left()));
  const auto bytes = take(length);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view GgufCursor::name(size_t limit) {
  const std::string_view text = string();
  if (text.empty() || text.size() > limit) {
    refuse(fmt::format("name of {} bytes", text.size()), fmt::format("1 to {}", limit));
  }
  for (std::string_view rest = text; !rest.empty();) {
    const size_t length = utf8_length(rest);
    if (length == 0 || is_control(rest[0])) {
      refuse(fmt::format("name {}", quote(text)), "UTF-8 without control characters");
    }
    rest.remove_prefix(length);
  }
  return text;
}

size_t GgufCursor::count(uint64_t min_bytes) {
  const uint64_t n = number<uint64_t>();
  if (n > left() / min_bytes) {
    refuse(fmt::format("count of {}", n),
           fmt::format("{} at most in the {} bytes left", left() / min_bytes, left()));
  }
  return n;
}

}  // namespace forge
