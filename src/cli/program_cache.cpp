#include "cli/program_cache.h"
#include "cli/progress.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/mapped_file.h"
#include "models/architecture.h"
#include "runtime/host/mapping.h"
#include "toolchain/cache.h"
#include "toolchain/compiler.h"

namespace forge {
namespace {

// A program is compiled for the default context as long as that is enough: --ctx limits it when it runs.
uint32_t compiled_context(const BuildOptions& options) {
  if (options.ctx == 0) return 0;
  ModelSource model = options.model;
  model.adapters.clear();
  model.quantization = {};  // changes no shape
  const uint32_t standard = build_graph(read_model(model, nullptr), 0).ctx_max;
  return options.ctx > standard ? options.ctx : 0;
}

// Identifies a file without reading it.
std::string file_identity(const std::string& path) {
  struct stat st = {};
  if (::stat(path.c_str(), &st) != 0) fail("{}: {}", path, std::strerror(errno));
  return fmt::format("{} {} {} {}.{:09}", std::filesystem::absolute(path).string(), st.st_ino, st.st_size,
                     st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

// Names the cache entry of a compiled model: what it is, and a hash of everything that shapes it but the
// compiler.
std::string program_name(const BuildOptions& options) {
  const CompileOptions compile = compile_options(options, "");
  if (compile.target.triple() != kHostTriple)
    fail_usage("--cpu {}: programs for {} don't run on this machine; forge compile makes one to copy there",
               options.cpu, compile.target.triple());
  const std::string files_hash = forge_files_hash(find_forge_files(kHostTriple, options.tls));
  const std::string forge = file_identity("/proc/self/exe");
  const std::string context = fmt::format("{}", options.ctx);
  std::vector<std::string> identities = source_settings(options.model);
  for (const std::string& file : source_files(options.model)) identities.push_back(file_identity(file));
  std::vector<std::string_view> parts = {"forge program 4",
                                         forge,
                                         files_hash,
                                         compile.target.name,
                                         options.kv,
                                         context,
                                         compile.has_chat_template ? "own template" : "",
                                         compile.chat_template};
  parts.insert(parts.end(), identities.begin(), identities.end());
  std::string stem = model_name(options.model).substr(0, 100);
  for (char& c : stem) {
    if (c <= ' ' || c == 0x7f) c = '_';
  }
  return fmt::format("{}-{}", stem, hash_parts(parts).substr(0, 32));
}

// The name with the compiler that would build the program. Without one, what any compiler made will do: the
// one last used, if there is one.
std::string name_with_compiler(const std::string& name, const Cache& cache) {
  try {
    return fmt::format("{}-{}", name, hash_parts({find_compiler().identity}).substr(0, 8));
  } catch (const Error&) {
    const std::vector<CacheEntry> entries = cache.list();
    const auto last = std::find_if(entries.rbegin(), entries.rend(), [&](const CacheEntry& entry) {
      return entry.kind == "program" && entry.name.starts_with(name + "-");
    });
    return last == entries.rend() ? name : last->name;
  }
}

// The path of the program, compiled if the cache has none that is whole.
std::string cached_program(const BuildOptions& options) {
  const Cache cache = Cache::standard();
  const auto path = cache.program_path(name_with_compiler(program_name(options), cache));
  if (!path && cache.directory().empty())
    fail(
        "no folder for compiled programs: HOME is not set; set FORGE_CACHE_DIR to one, or use forge compile");
  if (!path) {
    fail("the cache {} can't be written; set FORGE_CACHE_DIR, or make the program with forge compile",
         cache.directory());
  }
  std::error_code error;
  if (std::filesystem::exists(*path, error)) {
    if (rt::open_carried_payload(*path)) {
      Cache::touch(*path);
      return *path;
    }
    std::filesystem::remove(*path, error);
  }
  ProgressBar progress;
  const BuildReport report = build_artifact(options, Output::executable, *path, progress);
  progress.end();
  if (options.verbose || ::isatty(STDERR_FILENO) != 0) {
    print_to_stderr("{}\n", build_summary(report, options.model.path, progress));
  }
  cache.prune(*path);
  return *path;
}

bool is_executable_format(const std::string& path) {
  if (std::error_code error; std::filesystem::is_directory(path, error)) return false;
  const MappedFile map(path);
  constexpr std::string_view kMagic = "\x7f\x45LF";
  return map.bytes().size() > kMagic.size() &&
         std::memcmp(map.bytes().data(), kMagic.data(), kMagic.size()) == 0;
}

}  // namespace

std::string program_of(BuildOptions options) {
  if (is_executable_format(options.model.path) && source_settings(options.model).empty() && !options.anew) {
    if (const auto carried = rt::open_carried_payload(options.model.path); !carried)
      fail("{}: {}", options.model.path, carried.error().message);
    return options.model.path;
  }
  options.ctx = compiled_context(options);
  return cached_program(options);
}

}  // namespace forge
