// The commands that run a model: compile it (or take the program from the cache), then become that program.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "cli/build.h"
#include "cli/commands.h"
#include "cli/fetch_model.h"
#include "cli/program_cache.h"
#include "core/error.h"
#include "formats/tokenizer_tables.h"
#include "interp/interpreter.h"
#include "runtime/host/mapping.h"
#include "runtime/host/program.h"

namespace forge {
namespace {

// What forge itself takes from the command line of such a command; `rest` is the program's.
struct RunArguments {
  BuildOptions build;
  std::vector<std::string> rest;
  bool help = false;
  // The graph that the interpreter runs instead of a compiled program: "optimized" or "graph"; empty: none.
  std::string interpret;
};

constexpr std::string_view kOwnHelp =
    "usage: forge {0} [forge's options] MODEL [the program's options]\n\n"
    "Compiles MODEL (a GGUF file or a Hugging Face directory), or takes the program from the cache, and runs "
    "it. MODEL may be a program, too, which\nruns as it is, or is compiled anew where one of forge's options "
    "asks for something else;\n"
    "hf:ORG/NAME[:TYPE or FILE] or a URL is downloaded into the Hugging Face cache.\n\n"
    "forge's options, here or behind MODEL:\n"
    "  --cpu LEVEL           instruction set, as in forge compile (FORGE_CPU; default native)\n"
    "  --kv TYPE             the KV cache: f16 or q8_0 (FORGE_KV; default f16)\n"
    "  --chat-template FILE  a file to take instead of the model's template (FORGE_CHAT_TEMPLATE)\n"
    "  --lora PATH[:SCALE]   an adapter to merge into the model, a PEFT directory or a GGUF file; "
    "repeatable\n"
    "  --override KEY=VALUE  the value of a metadata key in place of the file's; repeatable\n"
    "  --quantize TYPE       as in forge compile, with --fit, --tensor-type, --imatrix and\n"
    "                        --calibration-file\n"
    "  --interpret[=graph]   run the reference interpreter: the optimized graph, whose bits the program's "
    "are, or the\n"
    "                        source graph in float32\n"
    "  --offline             download nothing: take MODEL from the Hugging Face cache\n"
    "  --verbose, -v         show what is run\n\n"
    "example:\n  forge {0} model.gguf{1}\n\nThe program's options:\n\n";

uint32_t parse_context(std::string_view text) {
  uint32_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n == 0) {
    fail_usage("--ctx {}: expected a number of tokens", text);
  }
  return n;
}

// The program's options are not known here, so a word is forge's only when it is one of forge's options, and
// MODEL is the first word that is none.
RunArguments split_arguments(std::string_view command, const std::vector<std::string>& words) {
  RunArguments out;
  const auto from_environment = [](const char* name, std::string& value) {
    if (const char* set = std::getenv(name); set != nullptr && *set != '\0') value = set;
  };
  from_environment("FORGE_CPU", out.build.cpu);
  from_environment("FORGE_KV", out.build.kv);
  from_environment("FORGE_CHAT_TEMPLATE", out.build.chat_template_file);
  std::string context;
  from_environment("FORGE_CTX", context);
  std::string certificate;
  from_environment("FORGE_CERT", certificate);
  bool only_program = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value_of = [&](std::string_view option, std::string& value) {
      if (word.starts_with(option) && word.size() > option.size() && word[option.size()] == '=') {
        value = word.substr(option.size() + 1);
      } else if (word == option) {
        if (i + 1 == words.size()) fail_usage("{}: {} needs a value", command, option);
        value = words[++i];
      } else {
        return false;
      }
      if (value.empty()) fail_usage("{}: {}: expected a value, this one is empty", command, option);
      return true;
    };
    if (only_program) {
      out.rest.push_back(word);
    } else if (value_of("--cpu", out.build.cpu) || value_of("--kv", out.build.kv) ||
               value_of("--chat-template", out.build.chat_template_file)) {
      out.build.anew = true;
    } else if (std::string value; value_of("--override", value)) {
      out.build.model.overrides.push_back(value);
    } else if (value_of("--lora", value)) {
      out.build.model.adapters.push_back(value);
    } else if (Quantization& quantization = out.build.model.quantization;
               value_of("--quantize", quantization.type) || value_of("--fit", quantization.fit) ||
               value_of("--imatrix", quantization.imatrix) ||
               value_of("--calibration-file", quantization.calibration_file)) {
    } else if (value_of("--tensor-type", value)) {
      quantization.tensor_types.push_back(value);
    } else if (word == "--interpret" || word == "--interpret=optimized") {
      out.interpret = "optimized";
    } else if (word == "--interpret=graph") {
      out.interpret = "graph";
    } else if (word.starts_with("--interpret=")) {
      fail_usage("{}: {}: expected --interpret or --interpret=graph", command, word);
    } else if (word == "--offline") {
      out.build.model.offline = true;
    } else if (word == "--verbose" || word == "-v") {
      out.build.verbose = true;
    } else if (word == "--help" || word == "-h") {
      out.help = true;
    } else if (out.build.model.path.empty()) {
      if (word.empty()) fail_usage("{}: MODEL: expected a value, this one is empty", command);
      if (word.starts_with("-")) fail_usage("{}: MODEL comes before the program's option {}", command, word);
      out.build.model.path = word;
    } else {
      only_program = word == "--";
      // The program's option too: it has to be compiled for a context of that size.
      const size_t at = i;
      if (word.size() > 2 && word.starts_with("-c") && word[2] >= '0' && word[2] <= '9') {
        context = word.substr(2);
      } else if ((value_of("--ctx", context) || value_of("-c", context)) && i != at) {
        out.rest.push_back(words[at]);
      }
      out.rest.push_back(words[i]);
    }
  }
  const auto names_certificate = [](const std::string& word) {
    return word == "--cert" || word.starts_with("--cert=");
  };
  out.build.tls =
      command == "serve" && (!certificate.empty() || std::ranges::any_of(out.rest, names_certificate));
  if (out.build.model.path.empty() && !out.help)
    fail_usage("{}: no MODEL given (see forge {} --help)", command, command);
  if (!context.empty()) out.build.ctx = parse_context(context);
  return out;
}

// The program looks after its own files and those it reads; the model's, which it was made from, it does not know.
void refuse_outputs_that_replace_model(const ModelSource& model, const std::vector<std::string>& rest) {
  static constexpr std::string_view kOutputs[] = {"-o", "--output", "--save-state", "--logits", "--trace"};
  for (size_t i = 0; i < rest.size() && rest[i] != "--"; ++i)
    for (const std::string_view name : kOutputs) {
      const std::string& word = rest[i];
      if (word == name && i + 1 < rest.size())
        refuse_to_replace_input(model, rest[i + 1]);
      else if (word.starts_with(std::string(name) + "="))
        refuse_to_replace_input(model, word.substr(name.size() + 1));
      else if (name == "-o" && word.starts_with(name))
        refuse_to_replace_input(model, word.substr(name.size()));
    }
}

// Does not return: this process becomes the program.
[[noreturn]] void become(const std::string& path, std::string_view command,
                         const std::vector<std::string>& rest) {
  std::vector<std::string> words = {"forge", std::string(command)};
  words.insert(words.end(), rest.begin(), rest.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  ::execv(file.c_str(), argv.data());
  if (errno == ENOEXEC) fail("{}: is for another kind of processor; forge info {} tells which", path, path);
  fail("{}: can't be run: {}", path, std::strerror(errno));
}

// Runs the command's own code in this process, on a payload without weights; `code` may be null where the command
// needs none.
[[noreturn]] void run_here(const rt::Payload& payload, const rt::ModelCode* code, std::string_view command,
                           std::vector<std::string> rest) {
  rt::Program program;
  program.name = "forge";
  program.payload = &payload;
  program.code = code;
  rest.insert(rest.begin(), std::string(command));
  std::exit(rt::run_program(program, std::move(rest)));
}

[[noreturn]] void show_help(std::string_view command, std::string_view example) {
  fmt::print(fmt::runtime(kOwnHelp), command, example);
  std::fflush(stdout);
  run_here({}, nullptr, command, {"--help"});
}

struct ProgramCommand {
  const char* name;
  const char* summary;
  const char* example;
  bool needs_tokenizer_only;
};
constexpr ProgramCommand kCommands[] = {
    {"generate", "continue a text", " \"Once upon a time\" -n 200 --temp 0.8", false},
    {"chat", "talk with the model", "", false},
    {"serve", "answer over HTTP", " --port 8080", false},
    {"batch", "answer a file of requests", " requests.jsonl -o answers.jsonl", false},
    {"bench", "measure speed and memory", " -p 512 -n 128", false},
    {"perplexity", "score a text file", " book.txt", false},
    {"logits", "write the logits of given tokens", " --tokens 1,5,9 -o logits.f32", false},
    {"tokenize", "text to tokens (the model may be a vocabulary alone)", " --ids \"Hello world\"", true},
    {"detokenize", "tokens to text", " 9906 1917", true},
};

[[noreturn]] void run_tokenizer(const ProgramCommand& command, RunArguments arguments) {
  // What does not change tokens is checked all the same: a mistake is one in each command.
  compile_options(arguments.build, "");
  source_files(arguments.build.model);
  ModelSource model = arguments.build.model;
  model.adapters.clear();
  const Checkpoint checkpoint = read_model(model, print_note);
  PayloadInput input;
  input.tokenizer = build_tokenizer_tables(checkpoint.meta);
  input.source_kv = encode_metadata(checkpoint.meta);
  const std::vector<uint8_t> bytes = build_payload(input, false);
  const auto payload = rt::open_payload(bytes);
  if (!payload) fail("{}: {}", arguments.build.model.path, payload.error().message);
  run_here(*payload, nullptr, command.name, std::move(arguments.rest));
}

[[noreturn]] void run_interpreted(const ProgramCommand& command, RunArguments arguments) {
  const Checkpoint checkpoint = read_model(arguments.build.model, print_note);
  const CompiledModel model = compile_model(checkpoint, compile_options(arguments.build, "none"), nullptr);
  const std::vector<uint8_t> bytes = build_payload(model.payload, false);
  const auto payload = rt::open_payload(bytes);
  if (!payload) fail("{}: {}", arguments.build.model.path, payload.error().message);
  const Interpreter interpreter(arguments.interpret == "graph" ? model.source : model.optimized, checkpoint,
                                model.payload.plan_hash);
  run_here(*payload, &interpreter.model_code(), command.name, std::move(arguments.rest));
}

void run_command(const ProgramCommand& command, const std::vector<std::string>& words) {
  RunArguments arguments = split_arguments(command.name, words);
  if (arguments.help) show_help(command.name, command.example);
  fetch_model(arguments.build.model);
  refuse_outputs_that_replace_model(arguments.build.model, arguments.rest);
  if (command.needs_tokenizer_only) run_tokenizer(command, std::move(arguments));
  if (!arguments.interpret.empty()) run_interpreted(command, std::move(arguments));
  become(program_of(arguments.build), command.name, arguments.rest);
}

}  // namespace

void add_program_commands(CLI::App& forge) {
  for (const ProgramCommand& entry : kCommands) {
    CLI::App* command = forge.add_subcommand(entry.name, entry.summary);
    command->set_help_flag();
    command->prefix_command();
    command->callback([&entry, command] { run_command(entry, command->remaining()); });
  }
}

}  // namespace forge
