#include "formats/overrides.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "formats/gguf_encoding.h"

namespace forge {
namespace {

// The whole text as a T; nullopt when it is none or out of T's range.
template <class T>
std::optional<T> parse(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int64_t> parse_boolean(std::string_view text) {
  if (text == "true") return 1;
  if (text == "false") return 0;
  return std::nullopt;
}

// Only finite numbers are of use to a model.
std::optional<double> parse_finite(std::string_view text) {
  const auto value = parse<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

template <class T>
std::optional<int64_t> parse_within(std::string_view text) {
  const auto value = parse<int64_t>(text);
  return value && std::in_range<T>(*value) ? value : std::nullopt;
}

std::optional<int64_t> parse_integer(MetaType type, std::string_view text) {
  switch (type) {
    case MetaType::u8: return parse_within<uint8_t>(text);
    case MetaType::i8: return parse_within<int8_t>(text);
    case MetaType::u16: return parse_within<uint16_t>(text);
    case MetaType::i16: return parse_within<int16_t>(text);
    case MetaType::u32: return parse_within<uint32_t>(text);
    case MetaType::i32: return parse_within<int32_t>(text);
    case MetaType::u64: return parse_within<uint64_t>(text);
    default: return parse<int64_t>(text);
  }
}

MetaValue value_of_type(std::string_view key, MetaType type, std::string_view text) {
  MetaValue out{.type = type};
  const auto hold = [&](auto value, std::string_view expected) {
    if (!value) fail_usage("--override {}: {} is not {}, the type of the key", key, quote(text), expected);
    out.value = *std::move(value);
  };
  if (type == MetaType::boolean) {
    hold(parse_boolean(text), "true or false");
  } else if (type == MetaType::string) {
    out.value = std::string(text);
  } else if (type == MetaType::f32) {
    // As a file would give it back.
    const auto value = parse_finite(text);
    hold(value && std::fabs(*value) <= std::numeric_limits<float>::max()
             ? std::optional<double>(static_cast<float>(*value))
             : std::nullopt,
         "a float32");
  } else if (type == MetaType::f64) {
    hold(parse_finite(text), "a number");
  } else {
    hold(parse_integer(type, text), fmt::format("an integer of type {}", meta_type_name(type)));
  }
  return out;
}

MetaType type_by_look(std::string_view text) {
  if (parse_boolean(text)) return MetaType::boolean;
  if (const auto integer = parse<int64_t>(text)) {
    return std::in_range<uint32_t>(*integer)  ? MetaType::u32
           : std::in_range<int32_t>(*integer) ? MetaType::i32
                                              : MetaType::i64;
  }
  return parse_finite(text) ? MetaType::f32 : MetaType::string;
}

}  // namespace

void override_metadata(Metadata& meta, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0)
    fail_usage("--override {}: expected KEY=VALUE", assignment);
  const std::string_view key = assignment.substr(0, equals), text = assignment.substr(equals + 1);
  const MetaValue* old = meta.find(key);
  if (old != nullptr && old->type == MetaType::array)
    fail_usage("--override {}: the key holds an array, expected one with a single value", key);
  meta.set(std::string(key), value_of_type(key, old == nullptr ? type_by_look(text) : old->type, text));
}

}  // namespace forge
