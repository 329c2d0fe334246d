// Writes JSON; small enough to go without a library in every artifact.
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
  void add(std::string_view key, float value);
  void add(std::string_view key, std::span<const double> values);
  void add(std::string_view key, const JsonObject& object);
  void add(std::string_view key, std::span<const JsonObject> objects);
  void add_null(std::string_view key);
  void add_json(std::string_view key, std::string_view json);  // any value, written already
  // "{...}\n", one member a line; objects inside are one line each.
  std::string finish() const;
  // "{...}" without a newline, as long as what add_json took has none.
  std::string compact() const;

 private:
  std::vector<std::string> members_;  // "key": value
};

// With quotes; control characters, quotes and backslashes escaped, and what is not UTF-8 replaced by U+FFFD.
std::string json_string(std::string_view text);
// "[a, b]" of values that are written already.
std::string json_array(std::span<const std::string> values);
// Nine digits at most; null when it is not finite.
std::string json_number(double value);
// The shortest that reads back as the same float; null when it is not finite.
std::string json_number(float value);

}  // namespace forge::rt
