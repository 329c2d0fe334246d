// Writes one flat JSON object; small enough to go without a library in every artifact.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace forge::rt {

class JsonObject {
 public:
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, int64_t value);
  // Enough digits for the value; null when it is not finite.
  void add(std::string_view key, double value);
  void add(std::string_view key, std::span<const double> values);
  void add_null(std::string_view key);
  // "{...}\n", one member a line.
  std::string finish() const;

 private:
  void add_raw(std::string_view key, std::string_view value);
  std::string members_;
};

// With quotes; control characters, quotes and backslashes escaped, and what is not UTF-8 replaced by U+FFFD.
std::string json_string(std::string_view text);

}  // namespace forge::rt
