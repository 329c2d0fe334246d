// Two models on one text: their programs run in lockstep, and of the logits only a row of each is ever held.
#include <fcntl.h>
#include <fmt/format.h>

#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/build.h"
#include "cli/commands.h"
#include "cli/divergence.h"
#include "cli/fetch_model.h"
#include "cli/program_cache.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "runtime/host/logits_file.h"
#include "runtime/host/team.h"

namespace forge {
namespace {

struct Flags {
  BuildOptions build;  // what both are compiled with
  std::string a, b, text;
  bool interpret = false, json = false;
};

// A `perplexity --logits` in a process of its own, read as it goes.
class LogitsStream {
 public:
  // argv: the command without --logits and its text. `name` is the model's, for messages.
  LogitsStream(std::string name, std::vector<std::string> argv, const std::string& text)
      : name_(std::move(name)) {
    constexpr int kLogits = 3;  // the child's descriptor
    // The program has a name of the cache's, which means nothing to the user: it is to call itself forge, whose name is
    // then taken off what it says.
    const std::string file = std::exchange(argv[0], "forge");
    argv.insert(argv.end(), {"--logits", fmt::format("/dev/fd/{}", kLogits), "--", text});
    std::vector<char*> words;
    words.reserve(argv.size() + 1);
    for (std::string& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    int ends[2];
    messages_ = ::memfd_create("messages", MFD_CLOEXEC);
    if (messages_ < 0 || ::pipe2(ends, O_CLOEXEC) != 0)
      fail("{}: can't be started: {}", name_, std::strerror(errno));
    pipe_ = ends[0];
    ::fcntl(pipe_, F_SETPIPE_SZ, 1 << 20);  // fewer switches; what is not granted does not matter
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, messages_, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], kLogits);
    const int error = ::posix_spawn(&child_, file.c_str(), &actions, nullptr, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0) {
      child_ = 0;
      fail("{}: can't be started: {}", name_, std::strerror(error));
    }
  }
  ~LogitsStream() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(pipe_);
    ::close(messages_);
  }
  LogitsStream(const LogitsStream&) = delete;
  LogitsStream& operator=(const LogitsStream&) = delete;

  const std::string& name() const { return name_; }

  // Fills `out`; throws Error with what the program said where it ended before.
  template <class T>
  void read(std::span<T> out) {
    auto* at = reinterpret_cast<uint8_t*>(out.data());
    for (size_t left = out.size_bytes(); left > 0;) {
      const ssize_t n = ::read(pipe_, at, left);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail_as_child();
      at += n;
      left -= static_cast<size_t>(n);
    }
  }

 private:
  [[noreturn]] void fail_as_child() {
    int status = 0;
    ::waitpid(std::exchange(child_, 0), &status, 0);
    std::string said(4096, '\0');
    const off_t end = ::lseek(messages_, 0, SEEK_END);
    const ssize_t n = ::pread(messages_, said.data(), said.size(),
                              std::max<off_t>(0, end - static_cast<off_t>(said.size())));
    said.resize(n > 0 ? static_cast<size_t>(n) : 0);
    while (said.ends_with('\n')) said.pop_back();
    said.erase(0, said.rfind('\n') + 1);  // npos + 1 is 0
    if (constexpr std::string_view kName = "forge: "; said.starts_with(kName)) said.erase(0, kName.size());
    if (said.empty())
      said = WIFSIGNALED(status) ? fmt::format("ended by signal {}", WTERMSIG(status)) : "ended early";
    throw Error(fmt::format("{}: {}", name_, said), WIFEXITED(status) && WEXITSTATUS(status) == 2 ? 2 : 1);
  }

  std::string name_;
  pid_t child_ = 0;
  int pipe_ = -1, messages_ = -1;
};

// One of the two.
struct Side {
  std::unique_ptr<LogitsStream> stream;
  rt::LogitsHeader header;
  int32_t token = 0;
  std::vector<float> logits;

  void read_header() {
    stream->read(std::span(&header, 1));
    if (std::memcmp(header.magic, rt::LogitsHeader().magic, sizeof header.magic) != 0)
      fail("{}: not logits of a program of this forge", stream->name());
    logits.resize(header.n_vocab);
  }
  void read_row() {
    stream->read(std::span(&token, 1));
    stream->read(std::span(logits));
  }
};

Side start(const Flags& flags, const std::string& model, bool interpret) {
  BuildOptions build = flags.build;
  build.model.path = model;
  fetch_model(build.model);
  std::vector<std::string> argv;
  if (interpret) {
    argv = {"/proc/self/exe", "perplexity", "--interpret=graph", build.model.path};
  } else {
    const std::string program = program_of(build);
    argv = {program.find('/') == std::string::npos ? "./" + program : program, "perplexity"};
  }
  if (flags.build.ctx != 0) argv.insert(argv.end(), {"--ctx", fmt::format("{}", flags.build.ctx)});
  // Both share the processors.
  if (const char* threads = std::getenv("FORGE_THREADS"); threads == nullptr || *threads == '\0')
    argv.insert(argv.end(), {"--threads", fmt::format("{}", std::max(1U, rt::cpu_budget().n_workers() / 2))});
  Side side;
  side.stream = std::make_unique<LogitsStream>(model, std::move(argv), flags.text);
  return side;
}

// The two must have cut the same text into the same tokens, of the same vocabulary.
void require_same_vocabulary(const Side& a, const Side& b) {
  const rt::LogitsHeader &x = a.header, &y = b.header;
  constexpr const char* kWayOut = "only models with the same vocabulary can be compared";
  if (x.n_vocab != y.n_vocab)
    fail("{} has a vocabulary of {} tokens, {} one of {}: {}", a.stream->name(), x.n_vocab, b.stream->name(),
         y.n_vocab, kWayOut);
  if (x.ctx != y.ctx)
    fail("{} has chunks of {} tokens, {} of {}: give both the same with --ctx", a.stream->name(), x.ctx,
         b.stream->name(), y.ctx);
  if (x.n_chunks != y.n_chunks)
    fail("{} cuts the text into {} chunks, {} into {}: {}", a.stream->name(), x.n_chunks, b.stream->name(),
         y.n_chunks, kWayOut);
}

Divergence run(Side& a, Side& b) {
  a.read_header();
  b.read_header();
  require_same_vocabulary(a, b);
  ProgressBar progress;
  progress.begin("compare");
  Divergence out;
  for (uint32_t chunk = 0; chunk < a.header.n_chunks; ++chunk) {
    for (uint32_t row = 0; row < a.header.chunk_rows; ++row) {
      a.read_row();
      b.read_row();
      if (a.token != b.token || a.token < 0 || static_cast<uint32_t>(a.token) >= a.header.n_vocab)
        fail("{} has token {} where {} has token {}: only models with the same vocabulary can be compared",
             a.stream->name(), a.token, b.stream->name(), b.token);
      out.add(a.logits, b.logits, static_cast<uint32_t>(a.token));
    }
    progress.count(chunk + 1, a.header.n_chunks, "chunks");
  }
  return out;
}

struct Quantile {
  const char* name;
  double fraction;
};
constexpr Quantile kQuantiles[] = {{"min", 0},       {"1%", 0.01}, {"5%", 0.05},  {"10%", 0.1},
                                   {"median", 0.5},  {"90%", 0.9}, {"95%", 0.95}, {"99%", 0.99},
                                   {"99.9%", 0.999}, {"max", 1}};

void compare(const Flags& flags) {
  const MappedFile text(flags.text);  // that it can be read is not for one of the programs to say
  Side a = start(flags, flags.a, flags.interpret);
  Side b = start(flags, flags.b, false);
  const Divergence divergence = run(a, b);
  const DivergenceReport report = divergence.report();
  std::vector<float> sorted = divergence.divergences();
  std::ranges::sort(sorted);
  if (flags.json) {
    using nlohmann::ordered_json;
    const auto json = [](const Estimate& e) { return ordered_json{{"value", e.value}, {"error", e.error}}; };
    ordered_json quantiles;
    for (const Quantile& q : kQuantiles) quantiles[q.name] = quantile(sorted, q.fraction);
    const ordered_json out = {{"a", flags.a},
                              {"b", flags.b},
                              {"perplexity_a", json(report.perplexity_a)},
                              {"perplexity_b", json(report.perplexity_b)},
                              {"log_ratio", json(report.log_ratio)},
                              {"kl_divergence", json(report.divergence)},
                              {"kl_divergence_quantiles", quantiles},
                              {"same_first_token", json(report.same_first)},
                              {"probability_rms_difference", json(report.rms_p)},
                              {"probability_mean_difference", json(report.mean_p)},
                              {"probability_max_difference", report.max_p},
                              {"tokens", report.n_tokens},
                              {"chunks", a.header.n_chunks},
                              {"ctx", a.header.ctx}};
    fmt::print("{}\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace));
    return;
  }
  const auto line = [](const char* what, const Estimate& e, int digits, double scale, const char* unit) {
    fmt::print("{:<26}{:.{}f}{} +/- {:.{}f}\n", what, scale * e.value, digits, unit, scale * e.error, digits);
  };
  line("perplexity of A", report.perplexity_a, 4, 1, "");
  line("perplexity of B", report.perplexity_b, 4, 1, "");
  line("ln(B / A)", report.log_ratio, 6, 1, "");
  line("KL divergence, mean", report.divergence, 6, 1, "");
  for (const Quantile& q : kQuantiles)
    fmt::print("{:<26}{:.6f}\n", fmt::format("  {}", q.name), quantile(sorted, q.fraction));
  line("same first token", report.same_first, 3, 100, "%");
  line("probability, rms change", report.rms_p, 3, 100, "%");
  line("  mean change", report.mean_p, 3, 100, "%");
  fmt::print("{:<26}{:.3f}%\n", "  largest change", 100 * report.max_p);
  fmt::print("{} tokens scored in {} chunks of {}\n", report.n_tokens, a.header.n_chunks, a.header.ctx);
}

}  // namespace

void add_compare(CLI::App& forge) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = forge.add_subcommand("compare", "how far one model's predictions are from another's");
  command->add_option("A", flags->a, "the reference: anything that forge compile takes, or a program")
      ->required();
  command->add_option("B", flags->b, "what is held against it; its vocabulary must be the same")->required();
  command->add_option("--file", flags->text, "the text")->required();
  command
      ->add_option("--ctx", flags->build.ctx,
                   "tokens of a chunk, of which the second half is scored (default 512)")
      ->check(CLI::Range(4u, 1u << 20));
  command->add_option("--cpu", flags->build.cpu, "instruction set, as in forge compile")
      ->envname("FORGE_CPU")
      ->capture_default_str();
  command->add_flag("--interpret", flags->interpret,
                    "A in float32 by the reference interpreter: what quantized activations cost, too (slow)");
  command->add_flag("--offline", flags->build.model.offline, "download nothing");
  command->add_flag("--json", flags->json, "one JSON object on standard output");
  command->footer(
      "Chunks, errors and shares are counted as llama-perplexity --kl-divergence counts them; KL divergences "
      "in nats.\n"
      "example:\n  forge compare model-f16.gguf model-q4_k_m.gguf --file wiki.test.raw");
  command->callback([flags] { compare(*flags); });
}

}  // namespace forge
