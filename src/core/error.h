// Errors of the compiler. One line: what is wrong, where, what was expected and, where there is one, the way
// out.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace forge {

// Thrown by everything above runtime/. `status` is the process exit status: 1 for a failure, 2 for misuse.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_status = 1)
      : std::runtime_error(message), status(exit_status) {}
  int status;
};

// Throws Error with a formatted message; exit status 1.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error for a command that was called wrongly; exit status 2.
template <class... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), 2);
}

}  // namespace forge
