#include <memory>

#include "cli/build.h"
#include "cli/commands.h"
#include "cli/fetch_model.h"
#include "core/error.h"
#include "runtime/host/program.h"

namespace forge {
namespace {

struct Flags {
  ModelSource model;
  std::string output;
};

uint64_t tensor_bytes(const Checkpoint& checkpoint) {
  uint64_t bytes = 0;
  for (const Tensor& tensor : checkpoint.tensors) bytes += tensor.data.size();
  return bytes;
}

void quantize(Flags& flags) {
  if (!flags.model.quantization.wanted())
    fail_usage("quantize: no --type and no --fit given (see forge quantize --help)");
  fetch_model(flags.model);
  check_output(flags.model, flags.output);
  ProgressBar progress;
  const Checkpoint checkpoint =
      read_model(flags.model, [](std::string_view line) { fmt::print("{}\n", line); }, progress);
  progress.begin("pack");
  write_gguf(checkpoint, flags.output);
  progress.end();
  double seconds = 0;
  for (const auto& [phase, took] : progress.times()) seconds += took;
  fmt::print("{}: {} of tensors; {:.2f} s\n", flags.output, rt::human_bytes(tensor_bytes(checkpoint)),
             seconds);
}

}  // namespace

void add_quantize(CLI::App& forge) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      forge.add_subcommand("quantize", "store a model's weights in fewer bits, as a GGUF file");
  add_model(*command, flags->model, "IN");
  command->add_option("OUT", flags->output, "the GGUF file to write")->required()->check(not_empty());
  add_quantization(*command, flags->model.quantization, "--type");
  command->footer("example:\n  forge quantize model-f16.gguf model-q4_k_m.gguf --type q4_k_m");
  command->callback([flags] { quantize(*flags); });
}

}  // namespace forge
