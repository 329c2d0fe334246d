#include "runtime/host/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

std::string joined(std::span<const std::string> parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

}  // namespace

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  char buffer[40];
  const int n = std::snprintf(buffer, sizeof buffer, "%.9g", value);
  return {buffer, static_cast<size_t>(std::clamp(n, 0, static_cast<int>(sizeof buffer) - 1))};
}

std::string json_number(float value) {
  if (!std::isfinite(value)) return "null";
  char buffer[40];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}

std::string json_string(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text, at);
    at += c.bytes;
    if (c.value == '"' || c.value == '\\') {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (c.value == '\n') {
      out += "\\n";
    } else if (c.value < 0x20 || c.value == 0x7f) {
      out += "\\u00";
      out += kHex[c.value >> 4];
      out += kHex[c.value & 15];
    } else {
      append_utf8(out, c.value);
    }
  }
  return out + '"';
}

std::string json_array(std::span<const std::string> values) { return "[" + joined(values, ", ") + "]"; }

void JsonObject::add_json(std::string_view key, std::string_view json) {
  std::string& member = members_.emplace_back(json_string(key));
  member += ": ";
  member += json;
}

void JsonObject::add(std::string_view key, std::string_view value) { add_json(key, json_string(value)); }
void JsonObject::add(std::string_view key, int64_t value) { add_json(key, std::to_string(value)); }
void JsonObject::add(std::string_view key, double value) { add_json(key, json_number(value)); }
void JsonObject::add(std::string_view key, float value) { add_json(key, json_number(value)); }
void JsonObject::add_null(std::string_view key) { add_json(key, "null"); }

void JsonObject::add(std::string_view key, std::span<const double> values) {
  std::string list = "[";
  for (const double v : values) list += (list.size() > 1 ? ", " : "") + json_number(v);
  add_json(key, list + "]");
}

void JsonObject::add(std::string_view key, const JsonObject& object) { add_json(key, object.compact()); }

void JsonObject::add(std::string_view key, std::span<const JsonObject> objects) {
  std::string list = "[";
  for (const JsonObject& o : objects) {
    list += list.size() > 1 ? ",\n    " : "\n    ";
    list += o.compact();
  }
  add_json(key, list + "]");
}

std::string JsonObject::compact() const { return "{" + joined(members_, ", ") + "}"; }
std::string JsonObject::finish() const {
  return "{" + (members_.empty() ? "" : "\n  " + joined(members_, ",\n  ")) + "\n}\n";
}

}  // namespace forge::rt
