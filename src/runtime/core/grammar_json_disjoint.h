// Whether JSON schemas exclude each other, for oneOf.
#pragma once

#include "runtime/core/jinja_value.h"

namespace forge::rt {

// Whether no value is valid under both schemas of `root`, as far as types, listed values (const, enum) and those of
// required properties show: how alternatives are told apart in practice. False where that is not plain to see.
bool disjoint_schemas(const jinja::Value& root, const jinja::Value& first, const jinja::Value& second);

}  // namespace forge::rt
