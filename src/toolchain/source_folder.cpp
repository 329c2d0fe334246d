#include "toolchain/source_folder.h"

#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/mapped_file.h"
#include "core/output_file.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kReadme = R"(# A compiled language model, as source

- `model.cpp` is the model: the code that forge generated. `model.LEVEL.cpp` beside it is the same for a lower level.
- `include/` holds the kernels that it calls and the contract with the runtime (`runtime/core/step.h`).
- `libforge_rt.a` is the runtime: command line, tokenizer, sampler, threads; `libforge_tls.a`, where it was asked for, TLS.
- `program.weights` is the payload: manifest, tokenizer tables and packed weights.

`./build.sh` makes `./program`, which finds its payload beside itself. It takes the compiler from CXX
(default clang++-19). The code carries the hash of the plan that the payload was packed for, so both belong together.
)";

constexpr const char *kWeightsName = "program.weights", *kFirstSource = "model.cpp";

std::span<const uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void write_file(const fs::path& path, std::span<const uint8_t> bytes, mode_t mode) {
  fs::create_directories(path.parent_path());
  OutputFile file(path);
  file.write(bytes);
  file.commit(mode);
}

std::string command(const std::vector<std::string>& arguments) {
  std::string line = "\"${CXX:-clang++-19}\"";
  for (const std::string& argument : arguments) line += " " + argument;
  return line + "\n";
}

// The first file of a folder that holds no earlier source of a model; empty where there is none.
std::string foreign_file(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / kWeightsName, error) && fs::exists(folder / kFirstSource, error)) return {};
  const fs::directory_iterator entries(folder, error);
  return error || entries == fs::directory_iterator() ? "" : entries->path().filename().string();
}

}  // namespace

void write_source_folder(const std::string& directory, const ForgeFiles& files, const Sources& sources,
                         const CpuTarget& target, const PayloadInput& payload, const Progress& progress) {
  const fs::path folder = directory;
  std::error_code error;
  if (const std::string other = foreign_file(folder); !other.empty())
    fail("{}: holds {}, which is not of --emit source; give a new or an empty folder", directory, other);
  fs::create_directories(folder, error);
  if (error) fail("{}: can't be created: {}", directory, error.message());

  std::string script =
      "#!/bin/sh\n# Compiles the generated code and links it with the runtime to ./program.\n"
      "set -eu\ncd \"$(dirname \"$0\")\"\n";
  for (size_t i = 0; i < target.levels.size(); ++i)
    script += command(compile_arguments(*target.levels[i], target.source(i), "include"));
  std::vector<std::string> archives;
  for (const std::string& path : files.archives()) archives.push_back(fs::path(path).filename());
  script += command(link_arguments(target, "", archives, "program"));
  for (const auto& [name, text] : sources) write_file(folder / name, as_bytes(text), 0644);
  for (const auto& [name, text] : read_headers(files))
    write_file(folder / "include" / name, as_bytes(text), 0644);
  for (const std::string& path : files.archives())
    write_file(folder / fs::path(path).filename(), MappedFile(path).bytes(), 0644);
  write_file(folder / "README.md", as_bytes(kReadme), 0644);
  write_file(folder / "build.sh", as_bytes(script), 0755);
  write_payload(folder / kWeightsName, payload, progress);
}

}  // namespace forge
