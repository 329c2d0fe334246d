// What a file is, and for a model file what a program of it would be.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>

#include "cli/build.h"
#include "cli/commands.h"
#include "cli/fetch_model.h"
#include "core/error.h"
#include "formats/artifact_checkpoint.h"
#include "runtime/host/mapping.h"
#include "runtime/host/program.h"

namespace forge {
namespace {

struct Flags {
  BuildOptions build;
  bool verify = false, tensors = false;
};

void line(std::string_view key, std::string_view value) { fmt::print("{:<14}{}\n", key, value); }

// The runtime of a program, of which the generated code is the smaller part.
constexpr uint64_t kRuntimeBytes = 1'500'000;

std::string text_of(const MetaValue& value) {
  if (const auto* text = std::get_if<std::string>(&value.value)) return *text;
  if (const auto* integer = std::get_if<int64_t>(&value.value)) return fmt::format("{}", *integer);
  if (const auto* number = std::get_if<double>(&value.value)) return fmt::format("{:g}", *number);
  return "(an array)";
}

void show_hyperparameters(const Metadata& meta, const std::string& architecture) {
  const std::string prefix = architecture + ".";
  std::string text;
  for (const auto& [key, value] : meta.entries()) {
    if (!key.starts_with(prefix)) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", std::string_view(key).substr(prefix.size()),
                        text_of(value));
  }
  line("shape", text);
}

void show_tensors(const Checkpoint& checkpoint, bool each) {
  if (checkpoint.tensors.empty()) {
    line("tensors", "none: a vocabulary alone");
    return;
  }
  struct Count {
    size_t tensors = 0;
    uint64_t weights = 0, bytes = 0;
  };
  std::map<std::string_view, Count> types;
  uint64_t weights = 0;
  for (const Tensor& tensor : checkpoint.tensors) {
    Count& count = types[info(tensor.type).name];
    ++count.tensors;
    count.bytes += tensor.data.size();
    weights += static_cast<uint64_t>(tensor.rows() * tensor.cols());
  }
  std::string text;
  for (const auto& [type, count] : types) {
    text += fmt::format("{}{} x {} ({})", text.empty() ? "" : ", ", type, count.tensors,
                        rt::human_bytes(count.bytes));
  }
  line("tensors", fmt::format("{}: {}", checkpoint.tensors.size(), text));
  line("parameters", fmt::format("{:.1f} million", static_cast<double>(weights) * 1e-6));
  if (!each) return;
  for (const Tensor& tensor : checkpoint.tensors) {
    fmt::print("{}\t{}\t{}\n", tensor.name, info(tensor.type).name, fmt::join(tensor.shape, " x "));
  }
}

void show_forecast(const Checkpoint& checkpoint, const CompileOptions& options) {
  try {
    const CompiledModel model = compile_model(checkpoint, options, nullptr);
    const Plan& plan = model.plan;
    const uint64_t tables = model.payload.tokenizer.size() + model.payload.source_kv.size();
    const uint64_t kv_token = plan.kv_page_bytes / rt::kPagePositions;
    const uint64_t kv =
        plan.kv_page_bytes * ((model.optimized.ctx_max + rt::kPagePositions - 1) / rt::kPagePositions);
    line("program", fmt::format("about {}: weights {}, tables {}, code {}",
                                rt::human_bytes(plan.weights_bytes + tables + kRuntimeBytes),
                                rt::human_bytes(plan.weights_bytes), rt::human_bytes(tables),
                                rt::human_bytes(kRuntimeBytes)));
    line("memory", fmt::format("about {} and {} a token: {} with a full context of {}",
                               rt::human_bytes(plan.weights_bytes + tables + plan.arena_bytes),
                               rt::human_bytes(kv_token),
                               rt::human_bytes(plan.weights_bytes + tables + plan.arena_bytes + kv),
                               model.optimized.ctx_max));
    line("per token", fmt::format("{} of weights are read", rt::human_bytes(plan.weight_bytes_per_token)));
  } catch (const Error& e) {
    line("program", fmt::format("can't be compiled: {}", e.what()));
  }
}

void show_model(const Flags& flags) {
  const CompileOptions options = compile_options(flags.build, "");
  const Checkpoint checkpoint = read_model(flags.build.model, print_note);
  const Metadata& meta = checkpoint.meta;
  const std::vector<std::string> files = source_files(flags.build.model);
  uint64_t bytes = 0;
  for (const std::string& file : files) bytes += std::filesystem::file_size(file);
  const std::string architecture = meta.string("general.architecture").value_or("none named");
  const std::string format = std::filesystem::is_directory(flags.build.model.path)
                                 ? "Hugging Face directory"
                                 : fmt::format("GGUF version {}", checkpoint.gguf_version);
  line("file", fmt::format("{}, {}{}", format, rt::human_bytes(bytes),
                           files.size() == 1 ? "" : fmt::format(" in {} files", files.size())));
  line("model", meta.string("general.name").value_or("without a name"));
  line("architecture", architecture);
  show_hyperparameters(meta, architecture);
  const auto* vocabulary = meta.strings("tokenizer.ggml.tokens");
  line("tokenizer",
       fmt::format(
           "{}{}, {} tokens", meta.string("tokenizer.ggml.model").value_or("none"),
           meta.find("tokenizer.ggml.pre") == nullptr ? "" : " (" + *meta.string("tokenizer.ggml.pre") + ")",
           vocabulary == nullptr ? 0 : vocabulary->size()));
  line("chat template", meta.find("tokenizer.chat_template") == nullptr ? "none" : "yes");
  if (const auto quantization = meta.string(kQuantizationKey)) line("quantization", *quantization);
  show_tensors(checkpoint, flags.tensors);
  if (!checkpoint.tensors.empty()) show_forecast(checkpoint, options);
}

// A program's own `info`, without running the program: it may be for another machine, or not to be trusted.
[[noreturn]] void show_artifact(const Flags& flags) {
  const auto carried = rt::open_carried_payload(flags.build.model.path);
  if (!carried) fail("{}: {}", flags.build.model.path, carried.error().message);
  rt::Program program;
  program.name = "forge";
  program.payload = &carried->payload;
  std::vector<std::string> words = {"info"};
  if (flags.verify) words.emplace_back("--verify");
  if (flags.tensors) words.emplace_back("--tensors");
  std::exit(rt::run_program(program, words));
}

}  // namespace

void add_info(CLI::App& forge) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = forge.add_subcommand(
      "info", "what a model file or a program holds; for a model, the program's size and memory");
  add_model(*command, flags->build.model, "FILE");
  add_context(*command, flags->build.ctx, "tokens of context to forecast for");
  command->add_option("--cpu", flags->build.cpu, "instruction set to forecast for, as in forge compile")
      ->envname("FORGE_CPU")
      ->capture_default_str();
  command->add_flag("--verify", flags->verify, "hash all weights of a program");
  command->add_flag("--tensors", flags->tensors, "list every tensor");
  command->footer("example:\n  forge info model.gguf");
  command->callback([flags] {
    fetch_model(flags->build.model);
    const ModelSource& model = flags->build.model;
    if (is_artifact(model.path)) {
      if (!source_settings(model).empty())
        fail_usage("info: {} is a compiled program; only a model can be changed", model.path);
      show_artifact(*flags);
    }
    if (flags->verify) fail_usage("info: --verify is for compiled programs; {} is none", model.path);
    show_model(*flags);
  });
}

}  // namespace forge
