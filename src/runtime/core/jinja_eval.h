// Renders a parsed template, within limits.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/core/jinja_ast.h"

namespace forge::rt::jinja {

// What one rendering may use; beyond it is an Error.
struct Limits {
  uint64_t steps = 20'000'000;        // evaluated nodes and touched values (about a second)
  uint64_t bytes = 512ull << 20;      // of all values made, together
  uint64_t output_bytes = 32u << 20;  // of the text, and of each string
  uint32_t levels = 800;              // of nested evaluation; about 0.5 KiB of stack each
};

// Local time for strftime_now, without a clock in here.
struct BrokenDownTime {
  int32_t year = 1970;
  int32_t month = 1;  // 1..12
  int32_t day = 1;    // 1..31
  int32_t hour = 0, minute = 0, second = 0;
};

// The text of the template with `variables` (a dict with string keys) defined. Without a time, strftime_now
// is undefined.
Result<std::string> render(const Template& parsed, const Value& variables, const BrokenDownTime* now,
                           const Limits& limits = {});

}  // namespace forge::rt::jinja
