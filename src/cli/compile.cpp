#include <map>
#include <memory>

#include "cli/build.h"
#include "cli/commands.h"
#include "cli/fetch_model.h"
#include "core/error.h"
#include "runtime/host/options.h"
#include "runtime/host/program.h"
#include "toolchain/cpu_level.h"

namespace forge {
namespace {

struct Flags {
  BuildOptions build;
  std::string output, emit = "exe", weights = "embed";
};

// What the program can't do is said now and not to whoever starts it.
void check_default_args(const std::string& line) {
  if (line.empty()) return;
  const auto words = rt::split_command_line(line);
  if (!words) fail_usage("--default-args: {}", words.error().message);
  const std::string command = words->empty() ? "" : words->front();
  if (!rt::is_command(command))
    fail_usage("--default-args: '{}' is no command of a program (generate, chat, ...)", command);
}

void compile(Flags& flags) {
  check_default_args(flags.build.default_args);
  if (flags.emit == "source" && flags.weights == "separate")
    fail_usage(
        "compile: --weights separate is for programs: a source folder has its weights in a file anyway");
  fetch_model(flags.build.model);
  const std::string path = flags.output.empty() ? model_name(flags.build.model) : flags.output;
  const Output output = flags.emit == "source"        ? Output::source
                        : flags.weights == "separate" ? Output::separate_weights
                                                      : Output::executable;
  ProgressBar progress;
  const BuildReport report = build_artifact(flags.build, output, path, progress);
  progress.end();
  print_to_stderr("{}\n", build_summary(report, path, progress));
}

}  // namespace

void add_compile(CLI::App& forge) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = forge.add_subcommand("compile", "make a model file one self-contained program");
  add_model(*command, flags->build.model);
  add_quantization(*command, flags->build.model.quantization);
  command->add_option("-o,--output", flags->output, "the program to write (default: the model's name)")
      ->check(not_empty());
  add_context(*command, flags->build.ctx, "tokens the context can hold (default: the model's, at most 8192)");
  CLI::Option* cpu = command->add_option(
      "--cpu", flags->build.cpu,
      "instruction set: native, x86-64, x86-64-v3, x86-64-v3+avxvnni, x86-64-v4, x86-64-v4+vnni, "
      "sapphirerapids; armv8-a, armv8.2-a+dotprod, apple-m1, armv8.6-a+i8mm; portable: several, of which "
      "the program takes the best at its start");
  cpu->envname("FORGE_CPU")->capture_default_str();
  command->add_option(
      "--triple", flags->build.triple,
      "x86_64-linux-gnu or aarch64-linux-gnu: what the program runs on (default: what --cpu says, or "
      "this machine's)");
  command->add_flag(
      "--tune", flags->build.tune,
      "try a few schedules of the linears on this machine, for a minute or more, and take for each "
      "number of columns the one that is faster beyond the noise; what was found stays in the cache");
  add_kv(*command, flags->build.kv);
  command
      ->add_option("--emit", flags->emit,
                   "exe, or source: a folder with the code and a script that builds it")
      ->check(CLI::IsMember({"exe", "source"}))
      ->capture_default_str();
  command
      ->add_option("--weights", flags->weights, "embed them in the program, or separate: in PROGRAM.weights")
      ->check(CLI::IsMember({"embed", "separate"}))
      ->capture_default_str();
  command
      ->add_option("--default-args", flags->build.default_args,
                   "what the program does when started with nothing")
      ->envname("FORGE_DEFAULT_ARGS");
  command
      ->add_option("--chat-template", flags->build.chat_template_file,
                   "a file to take instead of the model's; an empty one leaves the program without `chat`")
      ->envname("FORGE_CHAT_TEMPLATE")
      ->check(not_empty());
  command
      ->add_option(
          "--system-prompt", flags->build.system_prompt_file,
          "a file with what conversations begin with; its KV is computed now and lies in the program")
      ->check(not_empty());
  command
      ->add_option("--json-schema", flags->build.json_schema_file,
                   "answers are JSON that the schema in this file allows; its automaton and token masks lie "
                   "in the program")
      ->check(not_empty());
  command->add_flag("--tls", flags->build.tls, "let `serve` speak TLS (--cert, --key); about 600 KB more");
  command->add_flag("-v,--verbose", flags->build.verbose, "show what is run");
  command->footer("example:\n  forge compile model.gguf -o story --default-args \"chat --temp 0.7\"");
  command->callback([flags, cpu] {
    const std::string& triple = flags->build.triple;
    if (cpu->count() > 0 && flags->build.cpu == "native" && !triple.empty() && triple != kHostTriple)
      fail_usage(
          "--cpu native: is this machine's, and --triple {} is another's; leave out --cpu for portable, or "
          "name a level",
          triple);
    compile(*flags);
  });
}

}  // namespace forge
