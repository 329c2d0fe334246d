// From a model file to an artifact: what `forge compile` and the commands that run a model share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model_source.h"
#include "cli/progress.h"
#include "codegen/compile.h"

namespace forge {

struct BuildOptions {
  ModelSource model;
  std::string cpu = "native", triple;  // see cpu_target
  uint32_t ctx = 0;                    // 0: the default of CompileOptions
  std::string kv = "f16";              // the KV cache: f16 or q8_0
  bool tls = false;                    // `serve` can speak TLS
  bool tune = false;                   // with the schedules that are fastest on this machine
  std::string default_args;            // what the program does when started with nothing
  std::string chat_template_file;      // empty: the model's own template
  std::string system_prompt_file;      // what conversations begin with, its KV in the program; may be empty
  std::string json_schema_file;        // that answers match; may be empty
  bool verbose = false;                // tells on stderr what is run
  bool anew = false;  // also where `model` is a program: what is asked for may differ from it
};

// For read_model: on stderr.
void print_note(std::string_view line);
// read_model with the bar: phases "parse" and those of quantizing, where that is asked for. `note` may be null.
Checkpoint read_model(const ModelSource& source, const Note& note, ProgressBar& progress);
// Throws a usage Error where an output at `path` would replace a file that the model is made from.
void refuse_to_replace_input(const ModelSource& model, const std::string& path);

// As well, and an Error where no file can be written there: for the outputs of forge itself, before long work.
void check_output(const ModelSource& model, const std::string& path);

// compile_model's options. Throws Error when the level is unknown or the template file can't be read.
CompileOptions compile_options(const BuildOptions& options, const std::string& compiler_version);

enum class Output : uint8_t {
  executable,        // one file
  separate_weights,  // the program, and its payload in PATH.weights
  source,            // a folder: generated source, kernel headers, runtime, payload, build.sh
};

struct BuildReport {
  std::string target;
  uint64_t program_bytes = 0, weights_bytes = 0;  // the linked code; the packed weights
  bool cached = false;                            // the code was
};

// Writes the artifact to `path`. Throws Error; then nothing new is at `path`.
BuildReport build_artifact(const BuildOptions& options, Output output, const std::string& path,
                           ProgressBar& progress);

// The line that ends a build: sizes and times.
std::string build_summary(const BuildReport& report, const std::string& path, const ProgressBar& progress);

}  // namespace forge
