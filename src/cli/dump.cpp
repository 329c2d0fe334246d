#include <memory>

#include "cli/build.h"
#include "cli/commands.h"
#include "cli/fetch_model.h"
#include "core/error.h"
#include "core/output_file.h"

namespace forge {
namespace {

struct Flags {
  BuildOptions build;
  std::string stage, output;
};

std::string stage_text(const CompiledModel& model, const std::string& stage) {
  if (stage == "graph") return print(model.source);
  if (stage == "optimized") return print(model.optimized);
  if (stage == "plan") return print(model.plan, model.optimized);
  std::string text;
  for (const auto& [name, source] : model.sources) {
    // One file is shown as it is; several are told apart by a line with their names.
    if (model.sources.size() > 1) text += fmt::format("// ==== {} ====\n", name);
    text += source;
  }
  return text;
}

void dump(Flags& flags) {
  fetch_model(flags.build.model);
  if (!flags.output.empty()) check_output(flags.build.model, flags.output);
  const Checkpoint checkpoint = read_model(flags.build.model, print_note);
  const std::string text =
      stage_text(compile_model(checkpoint, compile_options(flags.build, ""), nullptr), flags.stage);
  if (flags.output.empty()) {
    fmt::print("{}", text);
    return;
  }
  OutputFile file(flags.output);
  file.write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  file.commit(0644);
}

}  // namespace

void add_dump(CLI::App& forge) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = forge.add_subcommand("dump", "show what the compiler makes of a model, stage by stage");
  add_model(*command, flags->build.model);
  command->add_option("--stage", flags->stage, "graph, optimized, plan or source")
      ->required()
      ->check(CLI::IsMember({"graph", "optimized", "plan", "source"}));
  command->add_option("--cpu", flags->build.cpu, "instruction set, as in forge compile")
      ->envname("FORGE_CPU")
      ->capture_default_str();
  add_context(*command, flags->build.ctx, "tokens the context can hold");
  add_kv(*command, flags->build.kv);
  command->add_option("-o,--output", flags->output, "a file to write instead of standard output")
      ->check(not_empty());
  command->footer("example:\n  forge dump model.gguf --stage optimized");
  command->callback([flags] { dump(*flags); });
}

}  // namespace forge
