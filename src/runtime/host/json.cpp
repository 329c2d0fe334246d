#include "runtime/host/json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  char buffer[40];
  const int n = std::snprintf(buffer, sizeof buffer, "%.9g", value);
  return {buffer, static_cast<size_t>(std::clamp(n, 0, static_cast<int>(sizeof buffer) - 1))};
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

}  // namespace

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

void JsonObject::add_raw(std::string_view key, std::string_view value) {
  std::string& member = members_.emplace_back(json_string(key));
  member += ": ";
  member += value;
}

void JsonObject::add(std::string_view key, std::string_view value) { add_raw(key, json_string(value)); }
void JsonObject::add(std::string_view key, int64_t value) { add_raw(key, std::to_string(value)); }
void JsonObject::add(std::string_view key, double value) { add_raw(key, number(value)); }
void JsonObject::add_null(std::string_view key) { add_raw(key, "null"); }

void JsonObject::add(std::string_view key, std::span<const double> values) {
  std::string list = "[";
  for (const double v : values) list += (list.size() > 1 ? ", " : "") + number(v);
  add_raw(key, list + "]");
}

void JsonObject::add(std::string_view key, const JsonObject& object) { add_raw(key, object.in_one_line()); }

void JsonObject::add(std::string_view key, std::span<const JsonObject> objects) {
  std::string list = "[";
  for (const JsonObject& o : objects) {
    list += list.size() > 1 ? ",\n    " : "\n    ";
    list += o.in_one_line();
  }
  add_raw(key, list + "]");
}

std::string JsonObject::in_one_line() const { return "{" + joined(members_, ", ") + "}"; }
std::string JsonObject::finish() const {
  return "{" + (members_.empty() ? "" : "\n  " + joined(members_, ",\n  ")) + "\n}\n";
}

}  // namespace forge::rt
