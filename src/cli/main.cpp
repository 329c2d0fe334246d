// The forge command.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>
#include <system_error>

#include "cli/commands.h"
#include "cli/progress.h"
#include "core/error.h"
#include "core/output_file.h"

namespace forge {
namespace {

constexpr int kFailure = 1, kMisuse = 2;

int report(std::string_view message, int status) {
  print_to_stderr("forge: {}\n", message);
  return status;
}

// What commands and CLI11 printed is written, or that is the failure.
int end_output(int status) {
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout)
    return report("standard output can't be written", kFailure);
  return status;
}

int run(int argc, char** argv) {
  CLI::App app("forge makes a language model one self-contained program.", "forge");
  app.set_version_flag("--version", "forge " + forge_version());
  app.require_subcommand(1);
  app.footer(
      "`forge COMMAND --help` tells a command's options.\n\nexample:\n  forge compile model.gguf -o story\n"
      "  ./story generate \"Once upon a time\"");
  add_compile(app);
  add_program_commands(app);
  add_quantize(app);
  add_info(app);
  add_dump(app);
  add_cache(app);
  add_compare(app);
  add_models(app);
  add_export_weights(app);
  for (CLI::App* command : app.get_subcommands({}))
    for (CLI::Option* option : command->get_options())
      if (option->get_items_expected_max() == 0) option->disable_flag_override();  // --tune=5
  if (argc == 1) {
    print_to_stderr("{}", app.help());
    return kMisuse;
  }
  const std::string first = argv[1];
  const auto is_first = [&](const CLI::App* command) { return command->get_name() == first; };
  if (!first.starts_with("-") && app.get_subcommands(is_first).empty()) {
    return report(fmt::format("no command '{}' (see forge --help)", first), kMisuse);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return end_output(app.exit(e));  // --help and --version
    std::string_view what = e.what();
    constexpr std::string_view kFlag = " was given a disallowed flag override";
    const std::string flag =
        what.ends_with(kFlag) ? fmt::format("--{} takes no value", what.substr(0, what.size() - kFlag.size()))
                              : "";
    return report(fmt::format("{}: {} (see forge {} --help)", first, flag.empty() ? what : flag, first),
                  kMisuse);
  } catch (const Error& e) {
    return report(e.what(), e.status);
  } catch (const std::system_error& e) {
    // fmt throws it where a stream can't be written.
    return report(std::ferror(stdout) != 0 ? "standard output can't be written" : e.what(), kFailure);
  } catch (const std::bad_alloc&) {
    return report("out of memory", kFailure);
  } catch (const std::exception& e) {
    return report(e.what(), kFailure);
  }
  return end_output(0);
}

}  // namespace

std::string forge_version() { return FORGE_VERSION; }

}  // namespace forge

int main(int argc, char** argv) {
  forge::install_interrupt_cleanup();
  return forge::run(argc, argv);
}
