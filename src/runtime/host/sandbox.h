// Gives up what a running server does not need.
#pragma once

#include <string>
#include <vector>

#include "runtime/core/engine.h"
#include "runtime/core/result.h"

namespace forge::rt {

// What a server still does with files once it serves.
struct FileNeeds {
  bool removes_socket = false;       // removes a file, which a Unix socket's path is at the end
  std::vector<std::string> folders;  // reads, makes and removes files in these
};

// From here on the team's threads, the calling one among them, and threads that they start reach files by nothing but what
// is open already, and what is needed: by Landlock, where the kernel has it. Error where it has and a folder can't be
// opened. Before filter_system_calls.
Status close_file_system(const FileNeeds& needs, Team& team);
// From here on no thread of this process can start a program or a thread, connect to anything or, where nothing is needed,
// open a file: whoever takes the process over finds a model and open sockets. By seccomp, as far as the kernel has it;
// without it nothing is given up, which is no Error. Call it once all threads run and all files are open.
Status filter_system_calls(const FileNeeds& needs);

}  // namespace forge::rt
