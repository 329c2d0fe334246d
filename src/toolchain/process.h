// Child processes: no shell, output captured, killed with their own children when forge is interrupted.
#pragma once

#include <string>
#include <vector>

namespace forge {

struct ProcessResult {
  int status = 0;      // exit status; 128 + signal when a signal ended it
  std::string output;  // stdout and stderr together
};

// Runs argv[0] (a path, or a name looked up on PATH) in `directory` (empty: the current one) with stdin
// closed and TMPDIR set to `directory` when that is given. Throws Error when it can't be started.
ProcessResult run_process(const std::vector<std::string>& argv, const std::string& directory);

// The path of an executable file `name` on PATH (or `name` itself when it has a slash), or "".
std::string find_program(const std::string& name);

}  // namespace forge
