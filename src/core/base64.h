// Base64 (RFC 4648).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace forge {

// The bytes; nullopt if the text is not base64, padded to whole groups of four.
std::optional<std::vector<uint8_t>> decode_base64(std::string_view text);

}  // namespace forge
