// The chat page, as page/index.html has it.
#pragma once

#include <string_view>

namespace forge::rt {

// Stands in the page where a number that was drawn for one answer belongs (Content-Security-Policy).
inline constexpr std::string_view kPageNonce = "__NONCE__";
extern const std::string_view kPage;

}  // namespace forge::rt
