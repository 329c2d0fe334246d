// An artifact's main function calls this with its generated code.
#pragma once

#include "runtime/core/step.h"

namespace forge::rt {

// Takes the first of the code and what it leads to (ModelCode::next) that the processor can run, finds and checks the
// payload, and runs the command line. Returns the exit status. FORGE_LEVEL in the environment names another level.
int program_main(const ModelCode* code, int argc, char** argv);

}  // namespace forge::rt
