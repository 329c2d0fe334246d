#include "cli/build.h"

#include "cli/system_prompt.h"
#include "cli/tune.h"

#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/mapped_file.h"
#include "core/output_file.h"
#include "formats/gguf_encoding.h"
#include "runtime/host/program.h"
#include "toolchain/compiler.h"
#include "toolchain/source_folder.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

std::string read_template(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error) && path.find_first_of("{\n") != std::string::npos)
    fail_usage("--chat-template {}: looks like a template, expected the name of a file with one",
               quote(path));
  if (fs::is_regular_file(path, error) && fs::file_size(path, error) == 0) return "";
  const MappedFile map(path);
  return {reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size()};
}

}  // namespace

void print_note(std::string_view line) { print_to_stderr("forge: {}\n", line); }

Checkpoint read_model(const ModelSource& source, const Note& note, ProgressBar& progress) {
  progress.begin("parse");
  return read_model(source,
                    [&](std::string_view line) {
                      progress.erase();
                      if (note) note(line);
                    },
                    {.begin = [&](std::string_view phase) { progress.begin(phase); },
                     .bytes = [&](uint64_t done, uint64_t total) { progress.bytes(done, total); }});
}

// What replaced the model it is made from would cost the user the model.
void refuse_to_replace_input(const ModelSource& model, const std::string& path) {
  for (const std::string& file : source_files(model)) {
    std::error_code error;
    if (fs::equivalent(file, path, error))
      fail_usage("{}: the output would replace what it is made from", path);
  }
}

void check_output(const ModelSource& model, const std::string& path) {
  refuse_to_replace_input(model, path);
  expect_writable(path);
}

CompileOptions compile_options(const BuildOptions& options, const std::string& compiler_version) {
  CompileOptions out;
  out.target = cpu_target(options.cpu, options.triple);
  out.ctx = options.ctx;
  if (options.kv != "f16" && options.kv != "q8_0") fail_usage("--kv {}: expected f16 or q8_0", options.kv);
  out.kv = options.kv == "q8_0" ? KvType::q8_0 : KvType::f16;
  out.default_args = options.default_args;
  out.has_chat_template = !options.chat_template_file.empty();
  if (out.has_chat_template) {
    out.chat_template_file = options.chat_template_file;
    out.chat_template = read_template(options.chat_template_file);
  }
  if (!options.system_prompt_file.empty()) out.system_prompt = read_system_prompt(options.system_prompt_file);
  if (!options.json_schema_file.empty()) {
    const MappedFile map(options.json_schema_file);
    out.json_schema.assign(map.bytes().begin(), map.bytes().end());
    out.json_schema_file = options.json_schema_file;
  }
  out.compiler = compiler_version;
  return out;
}

std::string target_text(const CpuTarget& target) {
  return target.triple() == kHostTriple ? target.name : fmt::format("{}, {}", target.name, target.triple());
}

BuildReport build_artifact(const BuildOptions& options, Output output, const std::string& path,
                           ProgressBar& progress) {
  // What is wrong or missing is said before a large model is read.
  std::vector<std::string> outputs = {path};
  if (output == Output::separate_weights) outputs.push_back(path + ".weights");
  if (output == Output::source) outputs = {path + "/program.weights"};
  for (const std::string& file : outputs) {
    refuse_to_replace_input(options.model, file);
    for (const auto& [input, what] : {std::pair(options.chat_template_file, "the chat template"),
                                      std::pair(options.system_prompt_file, "the system prompt"),
                                      std::pair(options.json_schema_file, "the JSON schema")})
      if (std::error_code error; fs::equivalent(input, file, error))
        fail_usage("{}: the output would replace {}", file, what);
    if (output != Output::source) expect_writable(file);
  }
  const Compiler compiler = find_compiler();
  const CompileOptions compile = compile_options(options, compiler.version);
  if (options.tune) check_tunable(compile.target);
  const ForgeFiles files = find_forge_files(compile.target.triple(), options.tls);
  const Log log = [&](std::string_view line) {
    if (options.verbose) print_to_stderr("{}\n", line);
  };

  const Checkpoint checkpoint = read_model(options.model, print_note, progress);
  CompiledModel model = compile_model(checkpoint, compile, [&](std::string_view phase) {
    if (phase != "parse") progress.begin(phase);
  });
  model.payload.manifest["kernels"] = kernels_hash(files);
  BuildReport report = {.target = target_text(compile.target), .weights_bytes = model.payload.weights_bytes};
  const Progress bytes = [&](uint64_t done, uint64_t total) { progress.bytes(done, total); };

  const auto note = [&](std::string_view line) {
    progress.erase();
    print_note(line);
  };
  if (options.tune) {
    progress.begin("tune");
    const Schedules schedules =
        tune(compiler, files, model, compile.target,
             {.run = [&](uint64_t done, uint64_t total) { progress.count(done, total, "runs"); },
              .note = note,
              .log = log});
    if (!schedules.empty()) {
      model.sources = sources_with(schedules, model, compile.target);
      model.payload.manifest["schedules"] = schedules_text(schedules);
    }
  }
  if (!compile.system_prompt.empty()) {
    progress.begin("system prompt");
    model.payload.prompt = system_prompt_image(checkpoint, compile, model, note);
  }
  if (output == Output::source) {
    progress.begin("pack");
    write_source_folder(path, files, model.sources, compile.target, model.payload, bytes);
    return report;
  }
  progress.begin("compile");
  const LinkedProgram program =
      build_program(compiler, files, model.sources, compile.target, Cache::standard(), log);
  report.program_bytes = program.bytes.size();
  report.cached = program.cached;
  progress.begin("pack");
  if (output == Output::executable) {
    write_executable(path, program.bytes, model.payload, bytes);
  } else {
    OutputFile file(path);
    file.write(program.bytes);
    write_payload(path + ".weights", model.payload, bytes);
    file.commit(0755);
  }
  return report;
}

std::string build_summary(const BuildReport& report, const std::string& path, const ProgressBar& progress) {
  std::string times;
  double total = 0;
  for (const auto& [phase, seconds] : progress.times()) {
    times += fmt::format("{}{} {:.2f}", times.empty() ? "" : ", ", phase, seconds);
    total += seconds;
  }
  const std::string code =
      report.program_bytes == 0
          ? "source"
          : fmt::format("code {}{}", rt::human_bytes(report.program_bytes), report.cached ? " (cached)" : "");
  return fmt::format("{}: {}, weights {}, for {}; {:.2f} s ({})", path, code,
                     rt::human_bytes(report.weights_bytes), report.target, total, times);
}

}  // namespace forge
