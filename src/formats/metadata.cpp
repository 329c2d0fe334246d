// Metadata: look-ups, and GGUF's encoding of it.
#include <bit>
#include <limits>

#include "formats/gguf_encoding.h"

namespace forge {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies");

// No vocabulary comes near; bounds what an array takes in memory, where an element may be larger than in the
// file.
constexpr uint64_t kMaxArray = uint64_t{1} << 24;
constexpr size_t kMaxKey = 65535;  // GGUF's own limit

// Calls f with a zero of the C++ type that holds a number of this type in the file.
template <class F>
auto with_number_type(MetaType type, F&& f) {
  switch (type) {
    case MetaType::u8:
    case MetaType::boolean: return f(uint8_t{});
    case MetaType::i8: return f(int8_t{});
    case MetaType::u16: return f(uint16_t{});
    case MetaType::i16: return f(int16_t{});
    case MetaType::u32: return f(uint32_t{});
    case MetaType::i32: return f(int32_t{});
    case MetaType::u64: return f(uint64_t{});
    case MetaType::i64: return f(int64_t{});
    case MetaType::f32: return f(float{});
    case MetaType::f64: return f(double{});
    case MetaType::string:
    case MetaType::array: break;
  }
  fail("metadata value of type {} is no number", meta_type_name(type));
}

template <class T>
using Widened = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;

template <class T>
Widened<T> read_number(GgufCursor& cursor, MetaType type) {
  const T value = cursor.number<T>();
  if constexpr (std::is_same_v<T, uint8_t>) {
    if (type == MetaType::boolean && value > 1)
      cursor.refuse(fmt::format("bool of value {}", value), "0 or 1");
  }
  if constexpr (std::is_same_v<T, uint64_t>) {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      cursor.refuse(fmt::format("value {} is too large", value), "less than 2^63");
    }
  }
  return static_cast<Widened<T>>(value);
}

MetaType read_type(GgufCursor& cursor) {
  const uint32_t type = cursor.number<uint32_t>();
  if (type > static_cast<uint32_t>(MetaType::f64)) {
    cursor.refuse(fmt::format("unknown value type {}", type), "0 to 12");
  }
  return static_cast<MetaType>(type);
}

void read_array(GgufCursor& cursor, MetaValue& out) {
  out.element = read_type(cursor);
  if (out.element == MetaType::array) cursor.refuse("nested array", "an array of numbers or strings");
  const bool strings = out.element == MetaType::string;
  const uint64_t bytes =
      strings ? sizeof(uint64_t) : with_number_type(out.element, [](auto zero) { return sizeof(zero); });
  const size_t n = cursor.count(bytes);
  if (n > kMaxArray)
    cursor.refuse(fmt::format("array of {} elements", n), fmt::format("{} at most", kMaxArray));
  if (strings) {
    std::vector<std::string> values;
    values.reserve(n);
    for (size_t i = 0; i < n; ++i) values.emplace_back(cursor.string());
    out.value = std::move(values);
    return;
  }
  with_number_type(out.element, [&](auto zero) {
    using T = decltype(zero);
    std::vector<Widened<T>> values(n);
    for (auto& value : values) value = read_number<T>(cursor, out.element);
    out.value = std::move(values);
  });
}

MetaValue read_value(GgufCursor& cursor) {
  MetaValue out;
  out.type = read_type(cursor);
  if (out.type == MetaType::array) {
    read_array(cursor, out);
  } else if (out.type == MetaType::string) {
    out.value = std::string(cursor.string());
  } else {
    with_number_type(out.type, [&](auto zero) { out.value = read_number<decltype(zero)>(cursor, out.type); });
  }
  return out;
}

[[noreturn]] void fail_encoding(std::string_view key, const MetaValue& value) {
  fail("metadata key {} can't be written: the value doesn't fit its type {}", quote(key),
       meta_type_name(value.type == MetaType::array ? value.element : value.type));
}

// The alternative that the value's type asks for.
template <class T>
const T& held(std::string_view key, const MetaValue& value) {
  const T* v = std::get_if<T>(&value.value);
  if (v == nullptr) fail_encoding(key, value);
  return *v;
}

template <class T>
void append_narrowed(std::vector<uint8_t>& out, std::string_view key, const MetaValue& value,
                     Widened<T> wide) {
  if constexpr (std::is_integral_v<T>) {
    if (!std::in_range<T>(wide)) fail_encoding(key, value);
  }
  append_number(out, static_cast<T>(wide));
}

void append_value(std::vector<uint8_t>& out, std::string_view key, const MetaValue& value) {
  append_number(out, static_cast<uint32_t>(value.type));
  if (value.type == MetaType::string) {
    append_string(out, held<std::string>(key, value));
  } else if (value.type != MetaType::array) {
    with_number_type(value.type, [&](auto zero) {
      using T = decltype(zero);
      append_narrowed<T>(out, key, value, held<Widened<T>>(key, value));
    });
  } else if (append_number(out, static_cast<uint32_t>(value.element)); value.element == MetaType::string) {
    const auto& strings = held<std::vector<std::string>>(key, value);
    append_number(out, static_cast<uint64_t>(strings.size()));
    for (const std::string& s : strings) append_string(out, s);
  } else {
    with_number_type(value.element, [&](auto zero) {
      using T = decltype(zero);
      const auto& numbers = held<std::vector<Widened<T>>>(key, value);
      append_number(out, static_cast<uint64_t>(numbers.size()));
      for (const auto number : numbers) append_narrowed<T>(out, key, value, number);
    });
  }
}

[[noreturn]] void fail_look_up(std::string_view key, const MetaValue& value, std::string_view expected) {
  fail("metadata key {} has type {}{}, expected {}", quote(key),
       value.type == MetaType::array ? "array of " : "",
       meta_type_name(value.type == MetaType::array ? value.element : value.type), expected);
}

// A pointer to the value if the key is there; throws when it is of another kind.
template <class T>
const T* look_up(const Metadata& meta, std::string_view key, std::string_view expected) {
  const MetaValue* value = meta.find(key);
  if (value == nullptr) return nullptr;
  const T* held_value = std::get_if<T>(&value->value);
  if (held_value == nullptr) fail_look_up(key, *value, expected);
  return held_value;
}

}  // namespace

std::string_view meta_type_name(MetaType type) {
  static constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<uint32_t>(type)];
}

void Metadata::set(std::string key, MetaValue value) {
  const auto [at, is_new] = index_.try_emplace(key, entries_.size());
  if (is_new) {
    entries_.emplace_back(std::move(key), std::move(value));
  } else {
    entries_[at->second].second = std::move(value);
  }
}

const MetaValue* Metadata::find(std::string_view key) const {
  const auto at = index_.find(std::string(key));
  return at == index_.end() ? nullptr : &entries_[at->second].second;
}

std::optional<int64_t> Metadata::integer(std::string_view key) const {
  const auto* value = look_up<int64_t>(*this, key, "an integer");
  if (value == nullptr) return std::nullopt;
  if (find(key)->type == MetaType::boolean) fail_look_up(key, *find(key), "an integer");
  return *value;
}

std::optional<double> Metadata::number(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value != nullptr && std::holds_alternative<int64_t>(value->value)) {
    if (value->type == MetaType::boolean) fail_look_up(key, *value, "a number");
    return static_cast<double>(std::get<int64_t>(value->value));
  }
  const auto* real = look_up<double>(*this, key, "a number");
  return real == nullptr ? std::nullopt : std::optional(*real);
}

std::optional<bool> Metadata::boolean(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != MetaType::boolean) fail_look_up(key, *value, "a bool");
  return std::get<int64_t>(value->value) != 0;
}

std::optional<std::string> Metadata::string(std::string_view key) const {
  const auto* value = look_up<std::string>(*this, key, "a string");
  return value == nullptr ? std::nullopt : std::optional(*value);
}

const std::vector<std::string>* Metadata::strings(std::string_view key) const {
  return look_up<std::vector<std::string>>(*this, key, "an array of strings");
}

const std::vector<int64_t>* Metadata::integers(std::string_view key) const {
  return look_up<std::vector<int64_t>>(*this, key, "an array of integers");
}

const std::vector<double>* Metadata::numbers(std::string_view key) const {
  return look_up<std::vector<double>>(*this, key, "an array of floats");
}

const Tensor* Checkpoint::find(std::string_view name) const {
  for (const Tensor& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

Metadata read_metadata(GgufCursor& cursor, size_t n) {
  Metadata meta;
  for (size_t i = 0; i < n; ++i) {
    cursor.enter(fmt::format("the key of metadata entry {}", i));
    const std::string key(cursor.name(kMaxKey));
    cursor.enter("key " + quote(key));
    if (meta.find(key) != nullptr) cursor.refuse("duplicate key", "each key once");
    meta.set(key, read_value(cursor));
  }
  return meta;
}

void append_string(std::vector<uint8_t>& out, std::string_view text) {
  append_number(out, static_cast<uint64_t>(text.size()));
  out.insert(out.end(), text.begin(), text.end());
}

void append_metadata(std::vector<uint8_t>& out, const Metadata& meta) {
  for (const auto& [key, value] : meta.entries()) {
    append_string(out, key);
    append_value(out, key, value);
  }
}

std::vector<uint8_t> encode_metadata(const Metadata& meta) {
  std::vector<uint8_t> out;
  append_number(out, static_cast<uint64_t>(meta.entries().size()));
  append_metadata(out, meta);
  return out;
}

Metadata decode_metadata(std::span<const uint8_t> bytes) {
  GgufCursor cursor("metadata", bytes);
  Metadata meta = read_metadata(cursor, cursor.count(kMinEntryBytes));
  cursor.enter("the end");
  if (cursor.left() != 0) cursor.refuse(fmt::format("{} bytes too many", cursor.left()), "none");
  return meta;
}

}  // namespace forge
