// The pieces that GGUF's reader and writer share: a checked cursor over untrusted bytes, and the metadata
// section.
//
//   header   "GGUF", u32 version, u64 n_tensors, u64 n_metadata
//   entry    string key, u32 type, value;   string: u64 length, bytes;   array: u32 element type, u64 count,
//   elements tensor   string name, u32 n_dims, u64 dims[] (innermost first), u32 type, u64 offset from the
//   data section data     starts at the next multiple of the alignment, as each tensor does; all integers
//   little-endian
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "formats/checkpoint.h"

namespace forge {

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr uint32_t kDefaultAlignment = 32;
inline constexpr std::string_view kAlignmentKey = "general.alignment";

constexpr uint64_t align_up(uint64_t n, uint64_t alignment) { return (n + alignment - 1) & ~(alignment - 1); }

// The alignment that key general.alignment asks for, 32 without it. Throws Error, in the name of `path`,
// unless it is a u32 that is a power of two up to 1 MiB.
uint32_t data_alignment(std::string_view path, const Metadata& meta);

// "u32"; "array" for an array.
std::string_view meta_type_name(MetaType type);

// In double quotes for a one-line message: what doesn't print is escaped, what is long is cut.
std::string quote(std::string_view text);

// Reads numbers and strings off a file's start; every read is checked against the bytes that are left.
class GgufCursor {
 public:
  // `file` is for messages.
  GgufCursor(std::string_view file, std::span<const uint8_t> bytes) : file_(file), bytes_(bytes) {}

  // Says what is being read ("key \"general.name\"") to the messages of what follows.
  void enter(std::string what) { what_ = std::move(what); }
  size_t offset() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }

  template <class T>
    requires std::is_arithmetic_v<T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  // A string with its length before it.
  std::string_view string();
  // A string that becomes a name: 1 to `limit` bytes of UTF-8 without control characters.
  std::string_view name(size_t limit);
  // The next n bytes.
  std::span<const uint8_t> take(uint64_t n);
  // A count of things that take at least `min_bytes` each; throws when the file can't hold that many.
  size_t count(uint64_t min_bytes);

  // Throws "FILE: WHAT IS WRONG, in WHAT at offset N, expected …", N being where the value read last begins.
  [[noreturn]] void refuse(std::string_view wrong, std::string_view expected) const;

 private:
  std::string_view file_;
  std::span<const uint8_t> bytes_;
  size_t at_ = 0, last_ = 0;
  std::string what_ = "the header";
};

// Reads n entries.
Metadata read_metadata(GgufCursor& cursor, size_t n);
inline constexpr uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;

// Appends to a file's header.
template <class T>
  requires std::is_arithmetic_v<T>
void append_number(std::vector<uint8_t>& out, T value) {
  const size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}
void append_string(std::vector<uint8_t>& out, std::string_view text);
// Appends all entries. Throws Error when a value doesn't fit its type.
void append_metadata(std::vector<uint8_t>& out, const Metadata& meta);

}  // namespace forge
