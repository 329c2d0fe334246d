#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "core/error.h"
#include "core/output_file.h"
#include "formats/artifact_checkpoint.h"

namespace forge {

void add_export_weights(CLI::App& forge) {
  struct Flags {
    std::string program, output;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      forge.add_subcommand("export-weights", "turn a compiled program into a GGUF file again");
  command->add_option("PROGRAM", flags->program, "a program that forge compile made")->required();
  command->add_option("-o,--output", flags->output, "the GGUF file to write")->required()->check(not_empty());
  command->footer("example:\n  forge export-weights ./story -o story.gguf");
  command->callback([flags] {
    if (!is_artifact(flags->program)) fail("{}: not a compiled program", flags->program);
    for (const std::string& file : artifact_files(flags->program)) {
      std::error_code error;
      if (std::filesystem::equivalent(file, flags->output, error))
        fail_usage("{}: the output would replace the program", flags->output);
    }
    expect_writable(flags->output);
    write_gguf(read_artifact(flags->program), flags->output);
  });
}

}  // namespace forge
