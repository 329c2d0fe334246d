// An artifact's main function calls this with its generated code.
#pragma once

#include "runtime/core/step.h"

namespace forge::rt {

// Checks the processor, finds and checks the payload, and runs the command line. Returns the exit status.
int program_main(const ModelCode* code, int argc, char** argv);

}  // namespace forge::rt
