// JSON text to Values, for what is passed to a template as JSON.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/jinja_value.h"

namespace forge::rt::jinja {

// One JSON value. Nesting up to 64 deep, integers of 64 bits; an Error names the byte where it fails.
Result<Value> parse_json(std::string_view json);

// Appends s as a JSON string, quotes included; with `ascii` what lies beyond ASCII is escaped.
void append_json_string(std::string& out, std::string_view s, bool ascii = false);

// A member of an object as its text stands, for what must not go through numbers of 64 bits.
struct JsonMember {
  std::string key;         // unescaped
  std::string_view value;  // JSON text, without white space around it
};
// The members of an object, in their order; empty where the text is no object or has none.
std::vector<JsonMember> json_members(std::string_view object);

}  // namespace forge::rt::jinja
