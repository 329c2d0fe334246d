// What the commands run on: an artifact, or forge itself with an interpreter. No command assumes to be an
// artifact.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/engine.h"
#include "runtime/core/jinja_eval.h"
#include "runtime/core/kv_image.h"
#include "runtime/core/payload.h"
#include "runtime/core/sampler.h"
#include "runtime/core/step.h"
#include "runtime/core/token_masks.h"
#include "runtime/core/tokenizer.h"
#include "runtime/host/files.h"
#include "runtime/host/mapping.h"
#include "runtime/host/options.h"
#include "runtime/host/team.h"

namespace forge::rt {

struct Program {
  std::string name;  // as the user calls it, for help and messages
  const ModelCode* code = nullptr;
  const Payload* payload = nullptr;  // its weights may be absent where the code needs none
  const uint8_t* weights = nullptr;
  const CarriedPayload* carrier = nullptr;  // the file that the payload lies in, where it does
  std::string
      own_path;  // the executable that runs these very commands, for bench to start anew; may be empty
  OutputStream out{1};
  OutputStream err{2};
};

// Runs `args` (the command's name first; the manifest's default_args when there are none) and returns the
// exit status: 2 for misuse, 1 for a failure.
int run_program(Program& program, std::vector<std::string> args);
// Whether a program has a command of that name.
bool is_command(std::string_view name);

// A command as the table of program.cpp lists it: args without the command's name.
using CommandFn = int (*)(Program& program, std::span<const std::string> args);
int generate_command(Program& program, std::span<const std::string> args);
int chat_command(Program& program, std::span<const std::string> args);
int serve_command(Program& program, std::span<const std::string> args);
int batch_command(Program& program, std::span<const std::string> args);
int bench_command(Program& program, std::span<const std::string> args);
int perplexity_command(Program& program, std::span<const std::string> args);
int tokenize_command(Program& program, std::span<const std::string> args);
int detokenize_command(Program& program, std::span<const std::string> args);
int logits_command(Program& program, std::span<const std::string> args);
int activations_command(Program& program, std::span<const std::string> args);
int info_command(Program& program, std::span<const std::string> args);

inline constexpr int kMisuse = 2;

// Writes "PROGRAM: MESSAGE" to standard error (behind what standard output holds) and returns `status`.
int fail(Program& program, const Error& error, int status = 1);
// Parses; where the command is over (--help, misuse) returns false with the exit status in `status`.
bool parse_command(Program& program, const Usage& usage, std::span<const Option> options,
                   std::span<const std::string> args, size_t max_positionals, Arguments& out, int& status);

// What the flags of every command that runs the model say; 0: the default.
struct RunFlags {
  uint32_t threads = 0;
  uint32_t ctx = 0;
  uint32_t n_sequences = 1;  // that the KV cache has room for at once
};
void add_run_options(std::vector<Option>& options, RunFlags& flags);

// Sampling parameters as the model file recommends them, else sensible ones, with flags on top. The seed is
// random unless given. A recommendation that makes no sense is left out, with a note on standard error.
struct SamplingFlags {
  SamplingParams params;  // but for dry_breakers, which need a tokenizer: sampling_params()
  std::vector<std::string> dry_breakers;
  bool default_breakers = true;  // until --dry-sequence-breaker says others
};
SamplingFlags default_sampling(Program& program);
void add_sampling_options(std::vector<Option>& options, SamplingFlags& flags);
// What the flags say, with DRY's breakers as tokens where DRY is on. Error: too many breakers.
Result<SamplingParams> sampling_params(const SamplingFlags& flags, const Tokenizer& tokenizer);

// A program ready to run its model: threads, memory, tokenizer, engine.
struct Session {
  Tokenizer tokenizer;
  std::unique_ptr<ThreadTeam> threads;
  Mapping kv, arena, scratch;
  Engine engine;
  std::optional<KvImage> prompt;  // the KV of a conversation's beginning, where the program carries one
};
// Null where it can't be had (a context beyond the compiled one, no memory, no threads), or where `output`, the file that
// its results are for, can't be written: reported, and `status` set.
std::unique_ptr<Session> open_session(Program& program, const RunFlags& flags, int& status,
                                      const std::string& output = {});
Result<Tokenizer> open_tokenizer(const Program& program);
// What answers match where nothing else is asked for; null: any text. Error where the payload's grammar is damaged.
Result<std::shared_ptr<TokenMasks>> compiled_in_masks(const Program& program, const Tokenizer& tokenizer);

// Set by Ctrl-C (SIGINT) once catch_interrupts() was called. With `second_exits` a second one ends the
// program. SIGTERM does the same with `and_termination`.
std::atomic<bool>& interrupt_flag();
void catch_interrupts(bool second_exits, bool and_termination = false);

double seconds_now();  // monotonic
jinja::BrokenDownTime utc_now();
// Fixed notation with `decimals` digits behind the point.
std::string fixed(double value, int decimals);
// "1.5 GB", "512 KB", "12 bytes"; powers of 1000.
std::string human_bytes(uint64_t bytes);

}  // namespace forge::rt
