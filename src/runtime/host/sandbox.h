// Gives up what a running server does not need.
#pragma once

#include "runtime/core/result.h"

namespace forge::rt {

// From here on no thread of this process can open a file, start a program or a thread, or connect to anything: whoever
// takes the process over finds a model and open sockets. By seccomp, and for the calling thread by Landlock, too, as far
// as the kernel has them; without them nothing is given up, which is no Error. Call it once all threads run and all files
// are open. `removes_socket`: the process may remove a file, which a Unix socket's path is at the end.
Status drop_privileges_of_server(bool removes_socket);

}  // namespace forge::rt
