// JSON text to Values, for what is passed to a template as JSON.
#pragma once

#include <string_view>

#include "runtime/core/jinja_value.h"

namespace forge::rt::jinja {

// One JSON value. Nesting up to 64 deep, integers of 64 bits; an Error names the byte where it fails.
Result<Value> parse_json(std::string_view json);

}  // namespace forge::rt::jinja
