#include "runtime/core/payload.h"

#include <bit>
#include <cstring>
#include <utility>

#include "runtime/core/kv_image.h"
#include "runtime/core/mask_image.h"

namespace forge::rt {
namespace {

static_assert(std::endian::native == std::endian::little, "payload structures are read as they lie");

// Odd constants with balanced bits, one for each lane.
constexpr uint64_t kLaneKeys[8] = {0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb,
                                   0xd6e8feb86659fd93, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9,
                                   0xa0761d6478bd642f, 0xe7037ed1a0b428db};

uint64_t load64(const uint8_t* p) {
  uint64_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// The 128-bit product folded to 64 bits.
uint64_t multiply_mix(uint64_t a, uint64_t b) {
  __extension__ using Product = unsigned __int128;
  const Product p = static_cast<Product>(a) * b;
  return static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
}

constexpr uint32_t kMaxSections = 64;

// A section's name when it is zero-padded and printable, else empty.
std::string_view section_name(const SectionEntry& entry) {
  const std::string_view padded(entry.name, sizeof entry.name);
  const size_t n = padded.find('\0');
  if (n == std::string_view::npos || padded.find_first_not_of('\0', n) != std::string_view::npos) return {};
  for (const char c : padded.substr(0, n)) {
    if (c < '!' || c > '~') return {};
  }
  return padded.substr(0, n);
}

bool all_zero(std::span<const uint8_t> bytes) {
  for (const uint8_t b : bytes) {
    if (b != 0) return false;
  }
  return true;
}

// subspan for 64-bit positions that were checked against bytes.size() (size_t has 32 bits on wasm32).
std::span<const uint8_t> slice(std::span<const uint8_t> bytes, uint64_t offset, uint64_t n) {
  return bytes.subspan(static_cast<size_t>(offset), static_cast<size_t>(n));
}

std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Takes one line off the front of `rest`.
std::string_view next_line(std::string_view& rest) {
  const size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line;
}

Result<std::string> unescape(std::string_view value, size_t line_number) {
  std::string out;
  out.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] != '\\') {
      out += value[i];
      continue;
    }
    const char next = i + 1 < value.size() ? value[i + 1] : '\0';
    if (next != '\\' && next != 'n') {
      return Error{
          text("payload: manifest line ", line_number, ": a backslash is followed by neither '\\' nor 'n'")};
    }
    out += next == 'n' ? '\n' : '\\';
    ++i;
  }
  return out;
}

Status parse_manifest(std::string_view rest, std::map<std::string, std::string, std::less<>>& manifest) {
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    const std::string_view line = next_line(rest);
    if (line.empty()) continue;
    const size_t separator = line.find(" = ");
    if (separator == std::string_view::npos || separator == 0) {
      return Error{text("payload: manifest line ", line_number, " is not `key = value`")};
    }
    auto value = unescape(line.substr(separator + 3), line_number);
    if (!value) return value.error();
    const std::string_view key = line.substr(0, separator);
    if (!manifest.emplace(key, std::move(*value)).second) {
      return Error{text("payload: manifest line ", line_number, ": key '", key, "' appears twice")};
    }
  }
  return Ok{};
}

// Digits of the given base only, no sign, no overflow.
bool parse_unsigned(std::string_view digits, uint64_t base, uint64_t& out) {
  if (digits.empty()) return false;
  out = 0;
  for (const char c : digits) {
    uint64_t digit = base;
    if (c >= '0' && c <= '9') digit = static_cast<uint64_t>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<uint64_t>(c - 'a') + 10;
    if (digit >= base) return false;
    if (out > (UINT64_MAX - digit) / base) return false;
    out = out * base + digit;
  }
  return true;
}

}  // namespace

uint64_t hash64(std::span<const uint8_t> bytes, uint64_t seed) {
  const uint8_t* p = bytes.data();
  size_t n = bytes.size();
  uint64_t lanes[8];
  // Not a lane's own key: the product must not be symmetric in the two halves of a block.
  for (size_t i = 0; i < 8; ++i) lanes[i] = seed ^ kLaneKeys[(i + 1) % 8];
  // Eight independent chains of 16 bytes each hide the multiplier's latency.
  const auto block = [&lanes](const uint8_t* at) {
    for (size_t i = 0; i < 8; ++i) {
      lanes[i] = multiply_mix(load64(at + 16 * i) ^ kLaneKeys[i], load64(at + 16 * i + 8) ^ lanes[i]);
    }
  };
  for (; n >= 128; n -= 128, p += 128) block(p);
  if (n != 0) {
    uint8_t tail[128] = {};
    std::memcpy(tail, p, n);
    block(tail);
  }
  uint64_t h = multiply_mix(seed ^ kLaneKeys[0], static_cast<uint64_t>(bytes.size()) ^ kLaneKeys[1]);
  for (size_t i = 0; i < 8; ++i) h = multiply_mix(h ^ lanes[i], kLaneKeys[i] ^ (h >> 32));
  return h ^ (h >> 29);
}

uint64_t payload_table_hash(const PayloadHeader& header, std::span<const SectionEntry> table) {
  PayloadHeader h = header;
  h.table_hash = 0;
  const uint64_t seed = hash64({reinterpret_cast<const uint8_t*>(&h), sizeof h});
  return hash64({reinterpret_cast<const uint8_t*>(table.data()), table.size_bytes()}, seed);
}

Result<std::string_view> Payload::string(std::string_view key) const {
  const auto it = manifest.find(key);
  if (it == manifest.end()) return Error{text("payload: the manifest has no key '", key, "'")};
  return std::string_view(it->second);
}

Result<int64_t> Payload::integer(std::string_view key) const {
  const auto value = string(key);
  if (!value) return value.error();
  const bool negative = value->starts_with('-');
  uint64_t magnitude = 0;
  if (!parse_unsigned(value->substr(negative ? 1 : 0), 10, magnitude) || magnitude > INT64_MAX) {
    return Error{text("payload: manifest key '", key, "' is '", *value, "', expected an integer")};
  }
  return negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
}

Result<Payload> open_payload(std::span<const uint8_t> bytes) {
  PayloadHeader header;
  if (bytes.size() < sizeof header) {
    return Error{text("payload: ", bytes.size(), " bytes, expected at least a header of ", sizeof header)};
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kPayloadMagic, sizeof kPayloadMagic) != 0) {
    return Error{"payload: bad magic at offset 0, expected FORGEPAY"};
  }
  if (header.version != kPayloadVersion) {
    return Error{text("payload: version ", header.version, ", this program reads version ", kPayloadVersion)};
  }
  if (header.payload_bytes != bytes.size()) {
    return Error{text("payload: ", bytes.size(), " bytes are there, the header expects ",
                      header.payload_bytes, header.payload_bytes > bytes.size() ? " (truncated)" : "")};
  }
  if (header.n_sections > kMaxSections) {
    return Error{text("payload: ", header.n_sections, " sections, expected at most ", kMaxSections)};
  }
  const uint64_t table_end = sizeof header + header.n_sections * sizeof(SectionEntry);
  if (table_end > bytes.size()) return Error{"payload: the section table runs past the end"};
  std::vector<SectionEntry> table(header.n_sections);
  if (!table.empty())
    std::memcpy(table.data(), bytes.data() + sizeof header, table.size() * sizeof(SectionEntry));
  if (payload_table_hash(header, table) != header.table_hash) {
    return Error{"payload: header or section table was altered (hash mismatch)"};
  }

  Payload out;
  out.bytes = bytes;
  out.plan_hash = header.plan_hash;
  std::span<const uint8_t> manifest, chat_template, tensors;
  struct Known {
    std::string_view name;
    std::span<const uint8_t>* bytes;
    bool required;
    bool seen = false;
  };
  Known known[] = {{"manifest", &manifest, true},      {"tokenizer", &out.tokenizer, true},
                   {"template", &chat_template, true}, {"source.kv", &out.source_kv, true},
                   {"tensors", &tensors, true},        {"answers", &out.answers, false},
                   {"prompt", &out.prompt, false},     {"weights", &out.weights, false}};
  uint64_t end = table_end;
  for (const SectionEntry& entry : table) {
    const std::string_view name = section_name(entry);
    Known* k = nullptr;
    for (Known& candidate : known) {
      if (candidate.name == name) k = &candidate;
    }
    if (k == nullptr) return Error{text("payload: unknown section '", name, "'")};
    if (k->seen) return Error{text("payload: section '", name, "' appears twice")};
    k->seen = true;
    if (entry.offset < end || entry.offset % kSectionAlignment != 0 || entry.offset > bytes.size() ||
        entry.bytes > bytes.size() - entry.offset) {
      return Error{text("payload: section '", name, "' at ", entry.offset, " with ", entry.bytes,
                        " bytes overlaps, is misaligned or runs past the end")};
    }
    const bool is_large = name == "weights" || name == "prompt";
    if (is_large && entry.offset % kPageAlignment != 0) {
      return Error{text("payload: section '", name, "' at ", entry.offset, " is not page-aligned")};
    }
    if (entry.offset - end >= 2 * kPageAlignment || !all_zero(slice(bytes, end, entry.offset - end))) {
      return Error{text("payload: the gap before section '", name, "' is not padding")};
    }
    *k->bytes = slice(bytes, entry.offset, entry.bytes);
    if (!is_large && name != "answers" && hash64(*k->bytes) != entry.hash) {
      return Error{text("payload: section '", name, "' at ", entry.offset, " was altered (hash mismatch)")};
    }
    end = entry.offset + entry.bytes;
  }
  for (const Known& k : known) {
    if (k.required && !k.seen) return Error{text("payload: section '", k.name, "' is missing")};
  }
  if (bytes.size() - end >= 2 * kPageAlignment || !all_zero(slice(bytes, end, bytes.size() - end))) {
    return Error{"payload: bytes after the last section are not padding"};
  }
  out.chat_template = as_text(chat_template);
  out.tensors = as_text(tensors);
  if (auto s = parse_manifest(as_text(manifest), out.manifest); !s) return s.error();
  return out;
}

Result<std::vector<TensorEntry>> parse_tensor_table(const Payload& payload, AbsentWeights absent) {
  std::vector<TensorEntry> out;
  std::string_view rest = payload.tensors;
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    std::string_view line = next_line(rest);
    if (line.empty()) continue;
    std::string_view fields[8];
    size_t n_fields = 0;
    for (; n_fields < 8; ++n_fields) {
      const size_t tab = line.find('\t');
      fields[n_fields] = line.substr(0, tab);
      if (tab == std::string_view::npos) break;
      line.remove_prefix(tab + 1);
    }
    TensorEntry t;
    if (n_fields != 7 || fields[0].empty() || fields[7].size() != 16 ||
        !parse_unsigned(fields[2], 10, t.rows) || !parse_unsigned(fields[3], 10, t.cols) ||
        !parse_unsigned(fields[5], 10, t.offset) || !parse_unsigned(fields[6], 10, t.bytes) ||
        !parse_unsigned(fields[7], 16, t.hash)) {
      return Error{text("payload: tensor table line ", line_number,
                        ": expected name, type, rows, cols, layout, offset, bytes, hash separated by tabs")};
    }
    t.name = fields[0];
    t.type = fields[1];
    t.layout = fields[4];
    const bool any = absent == AbsentWeights::allowed && payload.weights.empty();
    const uint64_t limit = any ? UINT64_MAX : payload.weights.size();
    if (t.offset % kSectionAlignment != 0 || t.offset > limit || t.bytes > limit - t.offset) {
      return Error{text("payload: tensor '", t.name, "' at ", t.offset, " with ", t.bytes,
                        " bytes is misaligned or runs past the weights (", payload.weights.size(),
                        " bytes)")};
    }
    out.push_back(std::move(t));
  }
  return out;
}

Status verify_weights(const Payload& payload) {
  const auto table = parse_tensor_table(payload, AbsentWeights::allowed);
  if (!table) return table.error();
  if (payload.weights.empty() && !table->empty()) return Error{"payload: it holds no weights to verify"};
  uint64_t end = 0;
  for (const TensorEntry& t : *table) {
    if (t.offset > end && !all_zero(slice(payload.weights, end, t.offset - end))) {
      return Error{text("payload: the padding before tensor '", t.name, "' was altered")};
    }
    if (hash64(slice(payload.weights, t.offset, t.bytes)) != t.hash) {
      return Error{
          text("payload: tensor '", t.name, "' at offset ", t.offset, " of the weights was altered")};
    }
    if (t.offset + t.bytes > end) end = t.offset + t.bytes;
  }
  if (!all_zero(slice(payload.weights, end, payload.weights.size() - end)))
    return Error{"payload: the padding after the last tensor was altered"};
  if (!payload.answers.empty()) {
    if (const Status whole = verify_mask_image(payload.answers); !whole) return whole;
  }
  if (payload.prompt.empty()) return Ok{};
  if (const Status whole = verify_kv_image(payload.prompt); !whole)
    return Error{text("payload: the KV of the system prompt: ", whole.error().message)};
  return Ok{};
}

}  // namespace forge::rt
