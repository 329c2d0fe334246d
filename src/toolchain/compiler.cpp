#include "toolchain/compiler.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/mapped_file.h"
#include "toolchain/process.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

constexpr int kMinClangVersion = 19;
// Debian's headers and libraries to link programs for kArmTriple with.
constexpr std::string_view kCrossPackage = "libstdc++-12-dev-arm64-cross";
constexpr std::string_view kTlsPackage = "libmbedtls-dev";

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// "Debian clang version 19.1.7 (3~deb12u1)" gives 19; nullopt for what is no clang.
std::optional<int> clang_major(std::string_view version_line) {
  constexpr std::string_view kBefore = "clang version ";
  const size_t at = version_line.find(kBefore);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view number = version_line.substr(at + kBefore.size());
  int major = 0;
  if (std::from_chars(number.data(), number.data() + number.size(), major).ec != std::errc())
    return std::nullopt;
  return major;
}

// Size and time of change of the file behind `path`, with its name.
std::string identity_of(const std::string& path) {
  struct stat st = {};
  if (::stat(path.c_str(), &st) != 0) fail("{}: {}", path, std::strerror(errno));
  return fmt::format("{} {} {}.{:09}", path, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

std::string version_line(const std::string& clang) {
  const ProcessResult result = run_process({clang, "--version"}, "/");
  return result.status == 0 ? std::string(first_line(result.output)) : "";
}

// The first line with "error:" in it, else the first line: a compiler's notes are for -v.
std::string error_line(const ProcessResult& result) {
  std::string_view rest = result.output;
  while (!rest.empty()) {
    const std::string_view line = first_line(rest);
    if (line.find("error:") != std::string_view::npos) return std::string(line);
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return result.output.empty() ? fmt::format("exit status {}", result.status)
                               : std::string(first_line(result.output));
}

// Runs the program once for each list of arguments, all at the same time.
void run(const std::string& program, const std::vector<std::vector<std::string>>& runs,
         const std::string& directory, std::string_view what, const Log& log = nullptr) {
  std::vector<std::vector<std::string>> commands;
  for (const std::vector<std::string>& arguments : runs) {
    std::vector<std::string>& argv = commands.emplace_back(1, program);
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    if (log) log(fmt::format("{}", fmt::join(argv, " ")));
  }
  const std::vector<ProcessResult> results = run_processes(commands, directory);
  for (const ProcessResult& result : results)
    if (log && !result.output.empty()) log(result.output);
  for (const ProcessResult& result : results)
    if (result.status != 0) fail("{} failed: {}", what, error_line(result));
}

void write_sources(const Sources& sources, const std::string& directory) {
  for (const auto& [name, text] : sources) {
    std::ofstream file(fmt::format("{}/{}", directory, name), std::ios::binary);
    file << text;
    file.close();
    if (!file) fail("{}/{}: can't be written", directory, name);
  }
}

std::vector<uint8_t> read_file(const std::string& path) {
  const MappedFile map(path);
  return {map.bytes().begin(), map.bytes().end()};
}

std::string object_name(const std::string& source) { return fs::path(source).replace_extension(".o"); }

std::string executable_directory() {
  char path[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0 || n == sizeof path) return "";
  return fs::path(std::string(path, static_cast<size_t>(n))).parent_path();
}

}  // namespace

Compiler find_compiler() {
  Compiler found;
  const char* chosen = std::getenv("FORGE_CLANG");
  const bool is_chosen = chosen != nullptr && *chosen != '\0';
  const std::vector<std::string> names =
      is_chosen ? std::vector<std::string>{chosen} : std::vector<std::string>{"clang++-19", "clang++"};
  for (const std::string& name : names) {
    const std::string path = find_on_path(name);
    if (path.empty()) continue;
    const std::string line = version_line(path);
    if (clang_major(line).value_or(0) < kMinClangVersion) {
      if (is_chosen) fail("FORGE_CLANG={}: not a clang {} or newer", name, kMinClangVersion);
      continue;
    }
    found.clang = path;
    found.version = line;
    break;
  }
  if (found.clang.empty() && is_chosen) fail("FORGE_CLANG={}: no such program", chosen);
  if (!found.clang.empty()) {
    // Clang knows the linker that came with it; it answers with the bare name when there is none.
    const ProcessResult asked = run_process({found.clang, "-print-prog-name=ld.lld"}, "/");
    const std::string own(first_line(asked.output));
    for (const std::string& name :
         {own.find('/') != std::string::npos ? own : "", std::string("ld.lld-19"), std::string("ld.lld")}) {
      if (found.linker.empty() && !name.empty()) found.linker = find_on_path(name);
    }
  }
  if (found.clang.empty() || found.linker.empty()) {
    fail("no {} found to compile with; install it: apt-get install clang-19 lld-19",
         found.clang.empty() ? "clang 19" : "lld 19");
  }
  found.identity =
      fmt::format("{}\n{}\n{}", found.version, identity_of(found.clang), identity_of(found.linker));
  return found;
}

std::vector<std::string> ForgeFiles::archives() const {
  if (tls_archive.empty()) return {runtime_archive};
  return {tls_archive, runtime_archive};
}

ForgeFiles find_forge_files(std::string_view triple, bool tls) {
  const char* home = std::getenv("FORGE_HOME");
  const std::string root = home != nullptr && *home != '\0' ? home : executable_directory() + "/..";
  ForgeFiles files;
  files.include_directory = fs::path(root + "/share/forge/include").lexically_normal();
  const fs::path archives = fs::path(fmt::format("{}/lib/forge/{}", root, triple)).lexically_normal();
  files.runtime_archive = archives / "libforge_rt.a";
  std::error_code error;
  for (const std::string& path : {files.include_directory, files.runtime_archive}) {
    if (!fs::exists(path, error)) {
      if (triple != kHostTriple && fs::exists(files.include_directory, error))
        fail("{}: not found; forge was built without programs for {}: install {} and build it anew", path,
             triple, kCrossPackage);
      fail("{}: not found; forge's own files lie beside it as it was installed, or under FORGE_HOME", path);
    }
  }
  if (!tls) return files;
  files.tls_archive = archives / "libforge_tls.a";
  if (!fs::exists(files.tls_archive, error))
    fail("--tls: {}: not found; forge was built where {} is not installed for {}", files.tls_archive,
         kTlsPackage, triple);
  return files;
}

std::vector<std::pair<std::string, std::string>> read_headers(const ForgeFiles& files) {
  std::vector<std::pair<std::string, std::string>> headers;
  const auto options = fs::directory_options::follow_directory_symlink;
  for (const auto& entry : fs::recursive_directory_iterator(files.include_directory, options)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".h" || entry.file_size() == 0) continue;
    const MappedFile map(entry.path());
    headers.emplace_back(entry.path().lexically_relative(files.include_directory), as_text(map.bytes()));
  }
  std::ranges::sort(headers);
  return headers;
}

namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

// For hash_parts; point into `headers`.
std::vector<std::string_view> parts_of(const Headers& headers) {
  std::vector<std::string_view> parts;
  for (const auto& [name, text] : headers) {
    parts.emplace_back(name);
    parts.emplace_back(text);
  }
  return parts;
}

}  // namespace

std::string forge_files_hash(const ForgeFiles& files) {
  const Headers headers = read_headers(files);
  std::vector<MappedFile> archives;
  for (const std::string& path : files.archives()) archives.emplace_back(path);
  std::vector<std::string_view> parts = parts_of(headers);
  for (const MappedFile& archive : archives) parts.push_back(as_text(archive.bytes()));
  return hash_parts(parts);
}

std::string kernels_hash(const ForgeFiles& files) {
  const Headers headers = read_headers(files);
  return hash_parts(parts_of(headers));
}

std::vector<std::string> compile_arguments(const CpuLevel& level, const std::string& source,
                                           const std::string& include_directory) {
  std::vector<std::string> out = {
      "-std=c++20",
      "-O3",
      "-DNDEBUG",
      "-fno-exceptions",
      "-fno-rtti",
      "-fno-asynchronous-unwind-tables",
      "-fno-math-errno",
      "-ffp-contract=off",  // a fused multiply-add stands in the source where one is meant
      "-fvisibility=hidden",
      "-ffunction-sections",
      "-fdata-sections",
      "-I" + include_directory,
  };
  for (std::string& flag : level.flags()) out.push_back(std::move(flag));
  for (const std::string& argument : {std::string("-c"), source, std::string("-o"), object_name(source)})
    out.push_back(argument);
  return out;
}

std::vector<std::string> link_arguments(const CpuTarget& target, const std::string& linker,
                                        const std::vector<std::string>& archives, const std::string& output) {
  std::vector<std::string> out = {fmt::format("--target={}", target.triple()),
                                  "-static",
                                  linker.empty() ? "-fuse-ld=lld" : "--ld-path=" + linker,
                                  "-Wl,--gc-sections",
                                  "-Wl,--strip-all",
                                  "-Wl,--build-id=none"};
  for (size_t i = 0; i < target.levels.size(); ++i) out.push_back(object_name(target.source(i)));
  out.insert(out.end(), archives.begin(), archives.end());
  for (const std::string& argument : {std::string("-o"), output}) out.push_back(argument);
  return out;
}

LinkedProgram build_program(const Compiler& compiler, const ForgeFiles& files, const Sources& sources,
                            const CpuTarget& target, const Cache& cache, const Log& log) {
  const auto compilations = [&](const std::string& include_directory) {
    std::vector<std::vector<std::string>> runs;
    runs.reserve(target.levels.size());
    for (size_t i = 0; i < target.levels.size(); ++i)
      runs.push_back(compile_arguments(*target.levels[i], target.source(i), include_directory));
    return runs;
  };
  // Paths of forge's own files don't shape the program, so the key has their contents and not where they lie.
  const std::string files_hash = forge_files_hash(files);
  std::vector<std::string> arguments = link_arguments(target, "", {}, "");
  for (std::vector<std::string>& run : compilations(""))
    for (std::string& a : run) arguments.push_back(std::move(a));
  std::vector<std::string_view> parts = {"forge code 1", compiler.identity, files_hash};
  parts.insert(parts.end(), arguments.begin(), arguments.end());
  for (const auto& [name, text] : sources) {
    parts.emplace_back(name);
    parts.emplace_back(text);
  }
  const std::string name = fmt::format("{}-{}", target.name, hash_parts(parts).substr(0, 32));
  if (auto bytes = cache.load("code", name)) {
    if (log) log(fmt::format("cached code: {}", name));
    return {.bytes = std::move(*bytes), .cached = true};
  }

  const ScratchDirectory scratch;
  write_sources(sources, scratch.path());
  run(compiler.clang, compilations(files.include_directory), scratch.path(), "compiling the generated code",
      log);
  run(compiler.clang, {link_arguments(target, compiler.linker, files.archives(), "program")}, scratch.path(),
      "linking the program", log);
  LinkedProgram program = {.bytes = read_file(scratch.path() + "/program")};
  cache.store("code", name, program.bytes);
  return program;
}

void compile_object(const Compiler& compiler, const ForgeFiles& files, const Sources& sources,
                    const CpuLevel& level, const std::string& path) {
  const ScratchDirectory scratch;
  write_sources(sources, scratch.path());
  run(compiler.clang, {compile_arguments(level, "model.cpp", files.include_directory)}, scratch.path(),
      "compiling the generated code");
  fs::copy_file(scratch.path() + "/model.o", path, fs::copy_options::overwrite_existing);
}

void build_shared_library(const Compiler& compiler, const ForgeFiles& files, const Sources& sources,
                          const CpuLevel& level, const std::string& path) {
  const ScratchDirectory scratch;
  write_sources(sources, scratch.path());
  std::vector<std::string> arguments = compile_arguments(level, "model.cpp", files.include_directory);
  arguments.emplace_back("-fPIC");
  arguments.emplace_back("-fvisibility=default");
  run(compiler.clang, {arguments}, scratch.path(), "compiling the generated code");
  run(compiler.clang, {{"-shared", "--ld-path=" + compiler.linker, "model.o", "-o", "model.so"}},
      scratch.path(), "linking the shared library");
  fs::copy_file(scratch.path() + "/model.so", path, fs::copy_options::overwrite_existing);
}

}  // namespace forge
