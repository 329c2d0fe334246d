// Writes one JSON object; small enough to go without a library in every artifact.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace forge::rt {

class JsonObject {
 public:
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, int64_t value);
  // Enough digits for the value; null when it is not finite.
  void add(std::string_view key, double value);
  void add(std::string_view key, std::span<const double> values);
  void add(std::string_view key, const JsonObject& object);
  void add(std::string_view key, std::span<const JsonObject> objects);
  void add_null(std::string_view key);
  // "{...}\n", one member a line; objects inside are one line each.
  std::string finish() const;

 private:
  void add_raw(std::string_view key, std::string_view value);
  std::string in_one_line() const;
  std::vector<std::string> members_;  // "key": value
};

// With quotes; control characters, quotes and backslashes escaped, and what is not UTF-8 replaced by U+FFFD.
std::string json_string(std::string_view text);

}  // namespace forge::rt
