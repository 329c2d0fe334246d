#include "cli/commands.h"

namespace forge {

void add_model(CLI::App& command, ModelSource& model, const std::string& argument) {
  command
      .add_option(argument, model.path,
                  "a GGUF file (the first one, if split), a Hugging Face directory or a compiled program")
      ->required();
  command
      .add_option("--override", model.overrides,
                  "KEY=VALUE: the value of a metadata key in place of the file's; repeatable")
      ->allow_extra_args(false);
}

}  // namespace forge
