// The program of a model, for the commands that run one.
#pragma once

#include <string>

#include "cli/build.h"

namespace forge {

// The path of a program of options.model: the model itself where that is a program that forge made and nothing is to be
// changed about it (no other executable is ever run), else one from the cache, compiled if there is none that is
// whole. options.ctx is what it must have room for. Throws Error.
std::string program_of(BuildOptions options);

}  // namespace forge
