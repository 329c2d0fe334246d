// Child processes and their scratch directories. Both end with forge when it is interrupted (after
// install_interrupt_cleanup() of core/output_file.h): children are killed, the directories removed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace forge {

// A new directory under $TMPDIR or /tmp, removed with the files in it. One at a time in a process. Directories of
// processes that were killed before they could remove theirs are removed first.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int lock_ = -1;  // the directory itself, locked as long as its owner lives
};

struct ProcessResult {
  int status = 0;      // exit status; 128 + signal when a signal ended it
  std::string output;  // stdout and stderr together
};

// Runs them at the same time, each as run_process does, and waits for all.
std::vector<ProcessResult> run_processes(const std::vector<std::vector<std::string>>& commands,
                                         const std::string& directory);
// Runs argv[0], a path, without a shell, in `directory` (which is also its TMPDIR), with an empty stdin.
// Throws Error when it can't be started.
ProcessResult run_process(const std::vector<std::string>& argv, const std::string& directory);

// The first line that one of our programs wrote before it failed, without its name in front: that of a file that the user
// never saw.
std::string_view complaint(const ProcessResult& result);

// The path of the executable file `name` on PATH (or `name` itself when it has a slash), or "".
std::string find_on_path(const std::string& name);

}  // namespace forge
