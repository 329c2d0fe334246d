#include "runtime/host/program.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <new>

#include "runtime/core/dry_breakers.h"
#include "runtime/core/mask_image.h"
#include "runtime/host/json.h"
#include "runtime/host/program_main.h"

namespace forge::rt {
namespace {

struct CommandEntry {
  std::string_view name;
  CommandFn run;
  std::string_view summary;
};

constexpr std::array<CommandEntry, 11> kCommands = {{
    {"generate", generate_command, "continue a text"},
    {"chat", chat_command, "talk with the model"},
    {"serve", serve_command, "answer over HTTP: OpenAI's API, and a page to chat on"},
    {"batch", batch_command, "answer a file of requests"},
    {"bench", bench_command, "measure speed and memory"},
    {"perplexity", perplexity_command, "score a text file"},
    {"tokenize", tokenize_command, "text to tokens"},
    {"detokenize", detokenize_command, "tokens to text"},
    {"logits", logits_command, "write the logits of given tokens"},
    {"activations", activations_command, "how large each stage's values are over a text"},
    {"info", info_command, "what was compiled; --verify checks the weights"},
}};

std::string program_help(std::string_view name) {
  std::string out = text("usage: ", name, " COMMAND [options]\n\ncommands:\n");
  for (const CommandEntry& c : kCommands) {
    out += text("  ", c.name, std::string(12 - c.name.size(), ' '), c.summary, "\n");
  }
  out += text("\n`", name, " COMMAND --help` lists a command's options.\n\nexample:\n  ", name,
              " generate \"Once upon a time\" -n 200\n");
  return out;
}

const CommandEntry* find_command(std::string_view name) {
  return std::find_if(kCommands.begin(), kCommands.end(),
                      [&](const CommandEntry& c) { return c.name == name; });
}

int dispatch(Program& program, std::span<const std::string> args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    program.out.write(program_help(program.name));
    return 0;
  }
  const auto* command = find_command(args[0]);
  if (command == kCommands.end()) {
    return fail(program, Error{text("unknown command '", args[0], "' (see --help)")}, kMisuse);
  }
  return command->run(program, args.subspan(1));
}

std::atomic<bool> g_interrupted{false};
volatile std::sig_atomic_t g_second_exits = 0;

void on_interrupt(int) {
  if (g_interrupted.exchange(true) && g_second_exits != 0) _exit(130);
}

[[noreturn]] void out_of_memory() {
  constexpr std::string_view kMessage = "out of memory\n";
  write_all(2, as_bytes(kMessage));
  _exit(1);
}

}  // namespace

bool is_command(std::string_view name) { return find_command(name) != kCommands.end(); }

int run_program(Program& program, std::vector<std::string> args) {
  std::set_new_handler(out_of_memory);
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(bugprone-signal-handler,cert-err33-c)
  if (args.empty()) {
    if (const auto defaults = program.payload->string("default_args")) {
      auto words = split_command_line(*defaults);
      if (!words) return fail(program, words.error());
      args = std::move(*words);
    }
  }
  int status = dispatch(program, args);
  program.out.flush();
  if (const Status written = program.out.status(); !written && status == 0)
    status = fail(program, written.error());
  program.err.flush();
  return status;
}

namespace {

// The code that is to run, of those that `best` leads to: the first that the processor has all features for, or the one
// that is wanted, if not null.
Result<const ModelCode*> choose_code(const ModelCode* best, const char* wanted) {
  std::string levels;
  const char* missing = nullptr;
  for (const ModelCode* code = best; code != nullptr; code = code->next) {
    levels += text(levels.empty() ? "" : ", ", code->level);
    if (wanted != nullptr && code->level != std::string_view(wanted)) continue;
    missing = code->missing_cpu_feature();
    if (missing == nullptr) return code;
    if (wanted != nullptr) break;
  }
  if (missing == nullptr)
    return Error{
        text("FORGE_LEVEL=", wanted, ": the program was not compiled for that level, but for ", levels)};
  if (wanted != nullptr && best->next != nullptr)
    return Error{text("FORGE_LEVEL=", wanted, ": this processor lacks ", missing,
                      ", which that level needs; unset FORGE_LEVEL, and the best level it has is taken")};
  return Error{text("this processor lacks ", missing, ", which the program was compiled for (", levels,
                    "); compile it for this machine with `forge compile --cpu native`")};
}

}  // namespace

int program_main(const ModelCode* code, int argc, char** argv) {
  Program program;
  program.name = argc > 0 && *argv[0] != '\0' ? argv[0] : "program";
  program.name.erase(0, program.name.rfind('/') + 1);  // npos + 1 is 0
  const char* wanted_level = std::getenv("FORGE_LEVEL");
  if (wanted_level != nullptr && *wanted_level == '\0') wanted_level = nullptr;
  const auto chosen = choose_code(code, wanted_level);
  if (!chosen) return fail(program, chosen.error(), wanted_level != nullptr ? kMisuse : 1);
  program.own_path = own_path();
  if (program.own_path.empty()) {
    return fail(program, Error{"the program can't open its own file; start it by its path, or mount /proc"});
  }
  const auto carried = open_carried_payload(program.own_path);
  if (!carried) return fail(program, carried.error());
  if (carried->payload.plan_hash != (*chosen)->plan_hash)
    return fail(program, Error{text(carried->path,
                                    ": holds the weights of another program; put back the file that was "
                                    "written with this one, or compile it anew")});
  program.code = *chosen;
  program.payload = &carried->payload;
  program.weights = carried->payload.weights.data();
  program.carrier = &*carried;
  return run_program(program, {argv + std::min(argc, 1), argv + argc});
}

int fail(Program& program, const Error& error, int status) {
  program.out.flush();
  program.err.write(text(program.name, ": ", error.message, "\n"));
  program.err.flush();
  return status;
}

bool parse_command(Program& program, const Usage& usage, std::span<const Option> options,
                   std::span<const std::string> args, size_t max_positionals, Arguments& out, int& status) {
  auto parsed = parse_options(options, args, max_positionals);
  if (!parsed) {
    status = fail(program, Error{text(usage.command, ": ", parsed.error().message)}, kMisuse);
    return false;
  }
  if (parsed->help) {
    program.out.write(help_text(program.name, usage, options));
    status = 0;
    return false;
  }
  out = std::move(*parsed);
  return true;
}

void add_run_options(std::vector<Option>& options, RunFlags& flags) {
  options.push_back({.name = "--threads",
                     .letter = 't',
                     .value = "N",
                     .help = "worker threads (default: the cores this process may use)",
                     .set = into(flags.threads, 1, 1024),
                     .variable = "FORGE_THREADS"});
  options.push_back({.name = "--ctx",
                     .letter = 'c',
                     .value = "N",
                     .help = "tokens the context holds, up to the compiled maximum",
                     .set = into(flags.ctx, 1),
                     .variable = "FORGE_CTX"});
}

SamplingFlags default_sampling(Program& program) {
  SamplingFlags flags;
  if (getrandom(&flags.params.seed, sizeof flags.params.seed, GRND_NONBLOCK) !=
      static_cast<ssize_t>(sizeof flags.params.seed)) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    flags.params.seed = static_cast<uint64_t>(now.tv_sec) * 1000000007 + static_cast<uint64_t>(now.tv_nsec);
  }
  flags.params.seed %= 1000000000;  // short enough to be typed again
  std::vector<Option> options;
  add_sampling_options(options, flags);
  for (const auto& [key, option] : {std::pair{"sampling.temp", "--temp"},
                                    {"sampling.top_k", "--top-k"},
                                    {"sampling.top_p", "--top-p"},
                                    {"sampling.min_p", "--min-p"},
                                    {"sampling.repeat_penalty", "--repeat-penalty"},
                                    {"sampling.repeat_last_n", "--repeat-last-n"}}) {
    const auto value = program.payload->string(key);
    if (!value) continue;
    for (const Option& o : options) {
      if (o.name != option) continue;
      if (const Status status = o.set(*value); !status) {
        program.err.write(text(program.name, ": the model's default ", key, " = ", *value,
                               " is left out: ", status.error().message, "\n"));
      }
    }
  }
  return flags;
}

namespace {

// DRY's breakers as a person would give them.
std::string quoted_breakers(const SamplingFlags& flags) {
  std::vector<std::string> strings = flags.dry_breakers;
  if (flags.default_breakers) strings.assign(std::begin(kDefaultDryBreakers), std::end(kDefaultDryBreakers));
  std::string out;
  for (const std::string& s : strings) {
    if (!out.empty()) out += ' ';
    out += json_string(s);
  }
  return out.empty() ? "none" : out;
}

}  // namespace

void add_sampling_options(std::vector<Option>& options, SamplingFlags& flags) {
  SamplingParams& p = flags.params;
  const auto number = [](float value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%g", static_cast<double>(value));
    return std::string(digits);
  };
  const std::vector<Option> added = {
      {.name = "--temp",
       .value = "T",
       .help = "temperature; 0 takes the most likely token",
       .initial = number(p.temperature),
       .set = into(p.temperature, 0, 100),
       .variable = "FORGE_TEMP"},
      {.name = "--top-k",
       .value = "K",
       .help = "only the K most likely tokens; 0: all",
       .initial = std::to_string(p.top_k),
       .set = [&p](std::string_view value) -> Status {
         uint32_t k = 0;
         Status status = into(k, 0, INT32_MAX)(value);
         if (status) p.top_k = static_cast<int32_t>(k);
         return status;
       },
       .variable = "FORGE_TOP_K"},
      {.name = "--top-p",
       .value = "P",
       .help = "only the most likely tokens that reach P together; 1: all",
       .initial = number(p.top_p),
       .set = into(p.top_p, 0, 1),
       .variable = "FORGE_TOP_P"},
      {.name = "--min-p",
       .value = "P",
       .help = "only tokens with P times the best one's probability; 0: all",
       .initial = number(p.min_p),
       .set = into(p.min_p, 0, 1),
       .variable = "FORGE_MIN_P"},
      {.name = "--repeat-penalty",
       .value = "R",
       .help = "makes the last tokens less likely; 1: off",
       .initial = number(p.repeat_penalty),
       .set = [&p](std::string_view value) -> Status {
         float penalty = 0;
         if (Status status = into(penalty, 0, 100)(value); !status) return status;
         if (!(penalty > 0)) return Error{"the penalty must be above 0"};
         p.repeat_penalty = penalty;
         return Ok{};
       },
       .variable = "FORGE_REPEAT_PENALTY"},
      {.name = "--repeat-last-n",
       .value = "N",
       .help = "how many tokens back the penalties look",
       .initial = std::to_string(p.repeat_last_n),
       .set = into(p.repeat_last_n, 0),
       .variable = "FORGE_REPEAT_LAST_N"},
      {.name = "--presence-penalty",
       .value = "A",
       .help = "taken off the logits of the last tokens; 0: off",
       .initial = number(p.presence_penalty),
       .set = into(p.presence_penalty, -100, 100),
       .variable = "FORGE_PRESENCE_PENALTY"},
      {.name = "--frequency-penalty",
       .value = "A",
       .help = "the same for each time that a token is among them; 0: off",
       .initial = number(p.frequency_penalty),
       .set = into(p.frequency_penalty, -100, 100),
       .variable = "FORGE_FREQUENCY_PENALTY"},
      {.name = "--dry-multiplier",
       .value = "M",
       .help = "DRY: M * base^(length - allowed length) off the logit of a token that would go on with a "
               "repetition; 0: off",
       .initial = number(p.dry_multiplier),
       .set = into(p.dry_multiplier, 0, 100),
       .variable = "FORGE_DRY_MULTIPLIER"},
      {.name = "--dry-base",
       .value = "B",
       .help = "the base in it",
       .initial = number(p.dry_base),
       .set = into(p.dry_base, 1, 100),
       .variable = "FORGE_DRY_BASE"},
      {.name = "--dry-allowed-length",
       .value = "N",
       .help = "DRY: shorter repetitions cost nothing",
       .initial = std::to_string(p.dry_allowed_length),
       .set = into(p.dry_allowed_length, 0),
       .variable = "FORGE_DRY_ALLOWED_LENGTH"},
      {.name = "--dry-penalty-last-n",
       .value = "N",
       .help = "how many tokens back DRY looks; 0: off",
       .initial = std::to_string(p.dry_penalty_last_n),
       .set = into(p.dry_penalty_last_n, 0),
       .variable = "FORGE_DRY_PENALTY_LAST_N"},
      {.name = "--dry-sequence-breaker",
       .value = "TEXT",
       .help = "DRY: no repetition reaches across this text; may be repeated; none: there are no such texts",
       .initial = quoted_breakers(flags),
       .set = [&flags](std::string_view value) -> Status {
         if (value.empty()) return Error{"the text is empty; 'none' stands for no breakers"};
         if (flags.dry_breakers.size() == kMaxDryBreakers)
           return Error{text("there are at most ", kMaxDryBreakers)};
         flags.default_breakers = false;
         if (value == "none") {
           flags.dry_breakers.clear();
         } else {
           flags.dry_breakers.emplace_back(value);
         }
         return Ok{};
       }},
      {.name = "--xtc-probability",
       .value = "P",
       .help = "XTC: how often all tokens above its threshold but the least likely are left out; 0: never",
       .initial = number(p.xtc_probability),
       .set = into(p.xtc_probability, 0, 1),
       .variable = "FORGE_XTC_PROBABILITY"},
      {.name = "--xtc-threshold",
       .value = "P",
       .help = "a probability; above 0.5 XTC is off",
       .initial = number(p.xtc_threshold),
       .set = into(p.xtc_threshold, 0, 1),
       .variable = "FORGE_XTC_THRESHOLD"},
      {.name = "--seed",
       .value = "N",
       .help = "of the random numbers: the same seed gives the same text (default: random, shown at the end)",
       .set = into(p.seed),
       .variable = "FORGE_SEED"},
  };
  options.insert(options.end(), added.begin(), added.end());
}

Result<SamplingParams> sampling_params(const SamplingFlags& flags, const Tokenizer& tokenizer) {
  SamplingParams params = flags.params;
  if (params.dry_multiplier == 0) return params;
  auto strings = flags.dry_breakers;
  if (flags.default_breakers) strings.assign(std::begin(kDefaultDryBreakers), std::end(kDefaultDryBreakers));
  auto breakers = dry_breakers(tokenizer, strings);
  if (!breakers) return breakers.error();
  params.dry_breakers = std::make_shared<const DryBreakers>(std::move(*breakers));
  return params;
}

Result<Tokenizer> open_tokenizer(const Program& program) {
  auto tokenizer = Tokenizer::open(program.payload->tokenizer);
  // That has read all of the tables, megabytes of a large vocabulary; a text needs little of them.
  if (program.carrier != nullptr) program.carrier->file.let_go(program.payload->tokenizer);
  return tokenizer;
}

Result<std::shared_ptr<TokenMasks>> compiled_in_masks(const Program& program, const Tokenizer& tokenizer) {
  const std::span<const uint8_t> bytes = program.payload->answers;
  if (bytes.empty()) return std::shared_ptr<TokenMasks>();
  return read_mask_image(bytes, static_cast<uint32_t>(tokenizer.n_vocab()));
}

namespace {

// Has `pages`, which lie in the carrier's file, mapped rather than read.
std::function<bool(std::span<uint8_t>, uint64_t)> mapper(const CarriedPayload& carrier,
                                                         std::span<const uint8_t> pages) {
  struct File {
    int fd;
    ~File() {
      if (fd >= 0) close(fd);
    }
  };
  const auto file = std::make_shared<File>(open(carrier.path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto first = static_cast<uint64_t>(pages.data() - carrier.file.bytes().data());
  return [file, first](std::span<uint8_t> to, uint64_t offset) {
    return map_over(to, file->fd, first + offset);
  };
}

Result<std::unique_ptr<Session>> make_session(const Program& program, const RunFlags& flags) {
  const ModelCode& code = *program.code;
  auto tokenizer = open_tokenizer(program);
  if (!tokenizer) return tokenizer.error();
  if (static_cast<uint32_t>(tokenizer->n_vocab()) > code.n_vocab) {
    return Error{
        text("payload: the tokenizer has ", tokenizer->n_vocab(), " tokens, the code ", code.n_vocab)};
  }
  uint32_t ctx = flags.ctx;
  if (ctx == 0) {
    const auto baked = program.payload->integer("ctx.default");
    ctx = std::min(code.ctx_max,
                   baked && *baked > 0 && *baked <= UINT32_MAX ? static_cast<uint32_t>(*baked) : 8192);
  }
  const CpuBudget budget = cpu_budget();
  auto threads = ThreadTeam::start(flags.threads != 0 ? flags.threads : budget.n_workers(), budget);
  if (!threads) return threads.error();
  Team& team = (*threads)->team();
  auto kv = Mapping::reserve(flags.n_sequences * pages_for(ctx) * code.kv_page_bytes);
  auto arena = Mapping::reserve(code.arena_bytes);
  auto scratch = Mapping::reserve(team.n_workers * code.scratch_bytes);
  if (!kv) return kv.error();
  if (!arena) return arena.error();
  if (!scratch) return scratch.error();
  auto engine =
      Engine::create(code, *program.payload, program.weights,
                     {.kv = kv->bytes(), .arena = arena->bytes(), .scratch = scratch->bytes()}, team, ctx);
  if (!engine) return engine.error();
  std::optional<KvImage> prompt;
  if (const std::span<const uint8_t> bytes = program.payload->prompt; !bytes.empty()) {
    auto image = read_kv_image(bytes, kv_identity(code, *program.payload), KvImageCheck::shape);
    if (!image) return Error{text("payload: the KV of the system prompt: ", image.error().message)};
    prompt = std::move(*image);
    if (program.carrier != nullptr) prompt->map = mapper(*program.carrier, prompt->pages);
  }
  return std::make_unique<Session>(Session{.tokenizer = *tokenizer,
                                           .threads = std::move(*threads),
                                           .kv = std::move(*kv),
                                           .arena = std::move(*arena),
                                           .scratch = std::move(*scratch),
                                           .engine = std::move(*engine),
                                           .prompt = std::move(prompt)});
}

}  // namespace

std::unique_ptr<Session> open_session(Program& program, const RunFlags& flags, int& status,
                                      const std::string& output) {
  const uint32_t ctx_max = program.code->ctx_max;
  if (flags.ctx > ctx_max) {
    status = fail(program,
                  Error{text("a context of ", flags.ctx,
                             " tokens (--ctx, FORGE_CTX): this program was compiled for at most ", ctx_max)},
                  kMisuse);
    return nullptr;
  }
  if (!output.empty()) {
    if (const Status writable = check_output(output); !writable) {
      status = fail(program, writable.error());
      return nullptr;
    }
  }
  auto session = make_session(program, flags);
  if (!session) {
    status = fail(program, session.error());
    return nullptr;
  }
  return std::move(*session);
}

std::atomic<bool>& interrupt_flag() { return g_interrupted; }

void catch_interrupts(bool second_exits, bool and_termination) {
  g_second_exits = second_exits ? 1 : 0;
  struct sigaction action{};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a read at a prompt must return
  sigaction(SIGINT, &action, nullptr);
  if (and_termination) sigaction(SIGTERM, &action, nullptr);
}

// By hand: the library's conversion brings its time zone files' reader with it.
jinja::BrokenDownTime utc_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const auto seconds = static_cast<int32_t>(now.tv_sec % 86400);
  auto days = static_cast<int32_t>(now.tv_sec / 86400);
  jinja::BrokenDownTime t{.hour = seconds / 3600, .minute = seconds / 60 % 60, .second = seconds % 60};
  const auto is_leap = [](int32_t y) { return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0); };
  for (; days >= 365 + is_leap(t.year); ++t.year) days -= 365 + is_leap(t.year);
  constexpr int32_t kMonthDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const auto month_days = [&](int32_t m) { return kMonthDays[m - 1] + (m == 2 && is_leap(t.year) ? 1 : 0); };
  for (; days >= month_days(t.month); ++t.month) days -= month_days(t.month);
  t.day = days + 1;
  return t;
}

double seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::string fixed(double value, int decimals) {
  char buffer[64];
  const int n = std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return {buffer, static_cast<size_t>(std::clamp(n, 0, static_cast<int>(sizeof buffer) - 1))};
}

std::string human_bytes(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= 1000000000) return fixed(value / 1e9, 2) + " GB";
  if (bytes >= 1000000) return fixed(value / 1e6, 1) + " MB";
  if (bytes >= 1000) return fixed(value / 1e3, 1) + " KB";
  return std::to_string(bytes) + " bytes";
}

}  // namespace forge::rt
