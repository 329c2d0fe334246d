// Letters of names that are compared without regard to case: header fields, hosts, types.
#pragma once

#include <string>
#include <string_view>

namespace forge {

// A to Z in lower case, all other bytes as they are, whatever the locale.
inline std::string ascii_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace forge
