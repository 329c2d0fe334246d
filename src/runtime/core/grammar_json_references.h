// References of JSON schemas.
#pragma once

#include <string_view>

#include "runtime/core/jinja_value.h"

namespace forge::rt {

// What a reference into the schema itself ("#", "#/$defs/name": a JSON pointer, RFC 6901) names in `root`; null where there
// is nothing, or it leads elsewhere.
const jinja::Value* find_reference(const jinja::Value& root, std::string_view reference);

}  // namespace forge::rt
