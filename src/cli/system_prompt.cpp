#include "cli/system_prompt.h"

#include "core/error.h"
#include "core/mapped_file.h"
#include "core/output_file.h"
#include "runtime/core/chat_prompt.h"
#include "runtime/core/prefix_cache.h"
#include "runtime/core/unicode.h"
#include "runtime/host/program.h"
#include "toolchain/compiler.h"
#include "toolchain/process.h"

namespace forge {
namespace {

using rt::jinja::BrokenDownTime;

// The tokens of a conversation that begins with `instructions`.
std::vector<int32_t> conversation(const rt::ChatPrompt& prompt, const std::string& instructions,
                                  std::string_view question, const BrokenDownTime& now) {
  const auto rendered = prompt.prompt(
      rt::jinja::Value::list({rt::chat_message("system", instructions), rt::chat_message("user", question)}),
      {.variables = {}, .now = now, .answer_begins = {}});
  if (!rendered) fail("--system-prompt: the chat template: {}", rendered.error().message);
  return rendered->tokens;
}

// What all conversations with these instructions have in common.
std::vector<int32_t> common_tokens(const PayloadInput& payload, const std::string& instructions,
                                   const Note& note) {
  const auto chat_template = rt::ChatTemplate::parse(payload.chat_template);
  const auto tokenizer = rt::Tokenizer::open(payload.tokenizer);
  if (payload.chat_template.empty() || !chat_template || !tokenizer)
    fail_usage("--system-prompt: the model has no chat template; give one with --chat-template FILE");
  const rt::ChatPrompt prompt(*chat_template, *tokenizer);
  const BrokenDownTime day = rt::utc_now(), other_day{.year = 2001, .month = 2, .day = 3};
  std::vector<int32_t> tokens = conversation(prompt, instructions, "a", day);
  const auto keep_common = [&](std::string_view question, const BrokenDownTime& now) {
    tokens.resize(rt::common_beginning(tokens, conversation(prompt, instructions, question, now)));
  };
  keep_common("1", day);
  const size_t n_today = tokens.size();
  if (rt::common_beginning(tokens, conversation(prompt, instructions, "1", other_day)) < n_today)
    note(
        "--system-prompt: the chat template writes today's date: what is behind it is computed anew from "
        "tomorrow on");
  const auto plain = conversation(prompt, "x", "1", day);
  if (n_today <= rt::common_beginning(tokens, plain))
    fail("--system-prompt: the chat template leaves instructions out");
  return tokens;
}

}  // namespace

std::string read_system_prompt(const std::string& path) {
  const MappedFile map(path);
  std::string text(reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size());
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  if (text.empty()) fail("{}: empty, expected a system prompt", path);
  if (!rt::is_utf8(text) || text.find('\0') != std::string::npos) fail("{}: not a text in UTF-8", path);
  return text;
}

std::vector<uint8_t> system_prompt_image(const Checkpoint& checkpoint, const CompileOptions& options,
                                         const CompiledModel& model, const Note& note) {
  const std::vector<int32_t> tokens = common_tokens(model.payload, options.system_prompt, note);
  if (tokens.size() >= model.source.ctx_max)
    fail("--system-prompt: has {} tokens, the context {}; see --ctx", tokens.size(), model.source.ctx_max);
  CompileOptions here = options;
  here.target = cpu_target(native_cpu_level());
  const bool runs_here =
      options.target.triple() == kHostTriple && missing_feature(*options.target.levels.back()).empty();
  const CompiledModel* runnable = &model;
  CompiledModel native;
  if (!runs_here) {
    native = compile_model(checkpoint, here, nullptr);
    runnable = &native;
  }
  const LinkedProgram program =
      build_program(find_compiler(), find_forge_files(), runnable->sources,
                    runs_here ? options.target : here.target, Cache::standard(), nullptr);
  const ScratchDirectory directory;
  const std::string path = directory.path() + "/program", ids = directory.path() + "/ids",
                    image = directory.path() + "/image";
  write_executable(path, program.bytes, runnable->payload, nullptr);
  {
    OutputFile file(ids);
    const std::string list = fmt::format("{}", fmt::join(tokens, " "));
    file.write({reinterpret_cast<const uint8_t*>(list.data()), list.size()});
    file.commit(0644);
  }
  const ProcessResult run = run_process({path, "generate", "--ids", "@" + ids, "--tokens", "0",
                                         "--save-state", image, "--ctx", std::to_string(tokens.size() + 1)},
                                        directory.path());
  if (run.status != 0) fail("--system-prompt: {}", complaint(run));
  const MappedFile map(image);
  return {map.bytes().begin(), map.bytes().end()};
}

}  // namespace forge
