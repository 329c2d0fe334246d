// Source text to a parsed template. What the evaluator does not know is an Error here, as far as it can be
// seen.
#pragma once

#include <string_view>

#include "runtime/core/jinja_ast.h"

namespace forge::rt::jinja {

// Limits: 1 MiB of source, nesting of expressions and blocks 150 deep.
Result<Template> parse_template(std::string_view source);

}  // namespace forge::rt::jinja
