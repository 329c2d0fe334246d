// `--emit source`: everything that a program is made of, in a folder that a person can read, change and
// build.
#pragma once

#include <string>

#include "toolchain/artifact.h"
#include "toolchain/compiler.h"

namespace forge {

// Writes the generated sources, the headers they include, the runtime archive, the payload (as
// program.weights), a README and build.sh, which makes `program` of them. The folder may exist; files in it
// are replaced one by one.
void write_source_folder(const std::string& directory, const ForgeFiles& files, const Sources& sources,
                         const CpuTarget& target, const PayloadInput& payload, const Progress& progress);

}  // namespace forge
