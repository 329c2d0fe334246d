// What tests of grammars and of their masks share.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/core/grammar.h"
#include "runtime/core/grammar_matcher.h"
#include "runtime/core/jinja_json.h"

namespace forge::rt {

inline Result<Grammar> schema_grammar(std::string_view json) {
  const auto value = jinja::parse_json(json);
  if (!value) return Error{"bad test: " + value.error().message};
  return json_schema_grammar(*value);
}

}  // namespace forge::rt
