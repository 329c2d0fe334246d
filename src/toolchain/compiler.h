// Turns generated source into a linked program: clang and lld as child processes, behind the code cache.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "toolchain/cache.h"
#include "toolchain/cpu_level.h"

namespace forge {

// The clang that compiles generated code, and its linker.
struct Compiler {
  std::string clang, linker;  // paths
  std::string version;        // "clang version 19.1.7", for `info`
  std::string identity;       // of both binaries: path, size, time of change; part of the cache's key
};

// $FORGE_CLANG, clang++-19, or a clang++ that is at least 19. Throws Error that says what to install.
Compiler find_compiler();

// What ships beside the forge executable and goes into programs.
struct ForgeFiles {
  std::string include_directory;  // kernel headers and runtime/core/step.h, by their paths in src/
  std::string runtime_archive;    // the runtime with its main(), at the baseline level
  std::string tls_archive;        // TLS for `serve`; empty: the program goes without

  // In the order in which they are linked.
  std::vector<std::string> archives() const;
};

// Relative to the running executable (bin/../share/forge and bin/../lib/forge, in the build tree as when
// installed), or under $FORGE_HOME. Throws Error naming the file that is missing.
ForgeFiles find_forge_files(std::string_view triple = kHostTriple, bool tls = false);
// The headers, path -> text, in the order of their paths.
std::vector<std::pair<std::string, std::string>> read_headers(const ForgeFiles& files);
// SHA-256 over the contents of all of them.
std::string forge_files_hash(const ForgeFiles& files);

// Of the kernels' headers alone: what decides the bits of a program's arithmetic beside its plan.
std::string kernels_hash(const ForgeFiles& files);

// Generated source: file name -> text. Those that CpuTarget::source() names are compiled; they may include others.
using Sources = std::map<std::string, std::string>;

// The arguments that compile `source` to `source`.o for the level, without the compiler's own path.
std::vector<std::string> compile_arguments(const CpuLevel& level, const std::string& source,
                                           const std::string& include_directory);
// The arguments that link the objects of all levels with ForgeFiles::archives() to `output`; an empty linker leaves the
// choice of an lld to clang.
std::vector<std::string> link_arguments(const CpuTarget& target, const std::string& linker,
                                        const std::vector<std::string>& archives, const std::string& output);

struct LinkedProgram {
  std::vector<uint8_t> bytes;  // a static ELF executable without payload
  bool cached = false;
};

// Told the commands that are run and all that they print; may be null.
using Log = std::function<void(std::string_view line)>;

// Compiles (all levels at once) and links, or takes the program from the cache. Throws Error with the compiler's first error line.
LinkedProgram build_program(const Compiler& compiler, const ForgeFiles& files, const Sources& sources,
                            const CpuTarget& target, const Cache& cache, const Log& log = nullptr);
// Compiles model.cpp to the object file `path`, uncached: for tests that look at the object.
void compile_object(const Compiler& compiler, const ForgeFiles& files, const Sources& sources,
                    const CpuLevel& level, const std::string& path);
// Compiles to a shared library that exports forge_model_code, uncached: for tests that run generated code in
// their own process.
void build_shared_library(const Compiler& compiler, const ForgeFiles& files, const Sources& sources,
                          const CpuLevel& level, const std::string& path);

}  // namespace forge
