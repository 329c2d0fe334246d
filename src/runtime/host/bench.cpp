// bench: counts as llama-bench does. Prefill: p random tokens from an empty cache (behind d untimed ones),
// logits of the last row only. Decode: n single-token steps with logits and without sampling.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "runtime/core/generation.h"
#include "runtime/host/json.h"
#include "runtime/host/profile.h"
#include "runtime/host/program.h"

namespace forge::rt {
namespace {

// Median and spread (largest minus smallest) of some samples, in their unit.
struct Summary {
  std::vector<double> samples;
  double median() const {
    std::vector<double> sorted = samples;
    std::sort(sorted.begin(), sorted.end());
    const size_t n = sorted.size();
    return n == 0 ? 0 : 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
  }
  double spread() const {
    if (samples.empty()) return 0;
    return *std::max_element(samples.begin(), samples.end()) -
           *std::min_element(samples.begin(), samples.end());
  }
};

constexpr uint32_t kMaxParallel = 256;

struct BenchFlags {
  RunFlags run;
  uint32_t n_prompt = 512, n_decode = 128, depth = 0, parallel = 1, repeats = 5;
  bool json = false, profile = false;
  std::optional<std::string> trace;  // a file
};

// Random tokens, the same in every run.
class RandomTokens {
 public:
  explicit RandomTokens(uint32_t n_vocab) : n_vocab_(n_vocab) {}
  int32_t next() {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<int32_t>((state_ >> 33) % n_vocab_);
  }

 private:
  uint64_t state_ = 1;
  uint32_t n_vocab_;
};

// Runs n random tokens behind what the sequence holds, wanting the last one's logits when `logits`.
Status run_prompt(Engine& engine, Sequence& sequence, RandomTokens& random, int32_t first_token, uint32_t n,
                  bool logits) {
  std::vector<Row> rows(n);
  for (uint32_t i = 0; i < n; ++i) {
    rows[i].token = random.next();
    rows[i].position = static_cast<int32_t>(sequence.n_past + i);
  }
  if (rows.empty()) return Ok{};
  if (sequence.n_past == 0 && first_token >= 0) rows[0].token = first_token;
  if (logits) rows.back().want = Want::logits;
  const BatchSequence sequences[] = {{.kv = &sequence}};
  const auto out = engine.step({.rows = rows, .sequences = sequences});
  if (!out) return out.error();
  return Ok{};
}

// n steps, each a token for every sequence.
Status run_decode(Engine& engine, std::span<Sequence> sequences, RandomTokens& random, uint32_t n) {
  std::vector<Row> rows(sequences.size());
  std::vector<BatchSequence> batch(sequences.size());
  for (size_t s = 0; s < sequences.size(); ++s) batch[s].kv = &sequences[s];
  for (uint32_t i = 0; i < n; ++i) {
    for (uint32_t s = 0; s < sequences.size(); ++s)
      rows[s] = {.sequence = s,
                 .token = random.next(),
                 .position = static_cast<int32_t>(sequences[s].n_past),
                 .row_class = RowClass::generated,
                 .want = Want::logits};
    const auto out = engine.step({.rows = rows, .sequences = batch});
    if (!out) return out.error();
  }
  return Ok{};
}

uint64_t peak_rss_bytes() {
  // VmHWM starts anew with the program; ru_maxrss can be inherited from the process that started this one.
  const std::string status = small_file("/proc/self/status");
  const size_t at = status.find("VmHWM:");
  if (at != std::string::npos) {
    const size_t digits = status.find_first_of("0123456789", at);
    const auto kib =
        parse_unsigned(std::string_view(status).substr(digits, status.find(' ', digits) - digits));
    if (kib) return *kib * 1024;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

constexpr uint64_t kSweepBytes = 256000000;  // beyond any cache

struct Sweep {
  std::span<uint8_t> bytes;
  uint32_t n_workers;
  std::span<uint64_t> sums;  // [n_workers * 8], a cache line each
  std::span<uint8_t> slice(uint32_t worker) const {
    const size_t n = bytes.size() / n_workers / 64 * 64;
    return bytes.subspan(worker * n, n);
  }
};

void fill_worker(void* arg, uint32_t worker) {
  const auto slice = static_cast<Sweep*>(arg)->slice(worker);
  std::memset(slice.data(), 1, slice.size());
}

void read_worker(void* arg, uint32_t worker) {
  const auto& sweep = *static_cast<const Sweep*>(arg);
  const auto slice = sweep.slice(worker);
  // A cache line at a time in registers, whatever the optimization level.
  using Line = uint64_t __attribute__((vector_size(64)));
  Line sums{};
  for (size_t i = 0; i + sizeof(Line) <= slice.size(); i += sizeof(Line)) {
    Line line;
    std::memcpy(&line, slice.data() + i, sizeof line);
    sums += line;
  }
  uint64_t sum = 0;
  for (size_t k = 0; k < 8; ++k) sum += sums[k];
  sweep.sums[worker * 8] = sum;
}

// Bytes a second that the team reads from memory, the best of several sweeps: over the weights where they are
// larger than any cache, else over a buffer. 0 where there is no memory for that.
double read_bandwidth(Team& team, std::span<const uint8_t> weights) {
  std::vector<uint64_t> sums(team.n_workers * 8);
  Sweep sweep{.bytes = {const_cast<uint8_t*>(weights.data()), weights.size()},
              .n_workers = team.n_workers,
              .sums = sums};
  Mapping buffer;
  if (weights.size() < kSweepBytes) {
    auto reserved = Mapping::reserve(kSweepBytes);
    if (!reserved) return 0;
    buffer = std::move(*reserved);
    sweep.bytes = buffer.bytes();
    run_team(team, fill_worker, &sweep);
  }
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const double start = seconds_now();
    run_team(team, read_worker, &sweep);
    const double bytes = static_cast<double>(sweep.slice(0).size()) * team.n_workers;
    best = std::max(best, bytes / (seconds_now() - start));
  }
  return best;
}

// Starts the program anew to generate one token from a prompt of one token; the seconds from before the start
// until its first byte of text (its end where the token has none).
std::optional<double> start_to_first_token(const Program& program, int32_t prompt, uint32_t n_threads) {
  int out[2];
  int err[2];
  if (program.own_path.empty() || pipe2(out, O_CLOEXEC) != 0) return std::nullopt;
  if (pipe2(err, O_CLOEXEC) != 0) {
    close(out[0]);
    close(out[1]);
    return std::nullopt;
  }
  std::vector<std::string> words = {
      program.name, "generate",     "--ids",     std::to_string(prompt),   "--tokens", "1", "--temp",
      "0",          "--ignore-eos", "--threads", std::to_string(n_threads)};
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  pid_t child = 0;
  const double start = seconds_now();
  const int spawned = posix_spawn(&child, program.own_path.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  std::optional<double> seconds;
  if (spawned == 0) {
    char byte = 0;
    ssize_t n = 0;
    do {
      n = read(out[0], &byte, 1);
    } while (n < 0 && errno == EINTR);
    seconds = seconds_now() - start;
    while (n > 0 || (n < 0 && errno == EINTR)) n = read(out[0], &byte, 1);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) seconds.reset();
  }
  close(out[0]);
  close(err[0]);
  return seconds;
}

struct BenchResult {
  Summary prefill, decode, start;
  uint64_t peak_rss = 0;
  double bandwidth = 0;
  StageRun prefill_stages, decode_stages;  // of the run whose time is the median; empty where not recorded
};

// Runs whose stages are recorded at most, as all of them are in memory until the median is known.
constexpr uint32_t kMaxRecorded = 5;

// The stages of `repeats` runs of f.n_prompt tokens (or f.n_decode, one by one): the run whose time is the median.
// restart() makes the sequence what a run begins with.
template <class Restart>
Result<StageRun> record_stages(Engine& engine, Sequence& sequence, RandomTokens& random, int32_t first_token,
                               const BenchFlags& f, bool decode, const Restart& restart) {
  const uint32_t n = decode ? f.n_decode : f.n_prompt;
  const uint32_t rows_a_step = decode ? 1 : engine.code().max_rows;  // as the engine cuts a prompt
  StageRecorder recorder(engine.code(), engine.team().n_workers, (n + rows_a_step - 1) / rows_a_step);
  std::vector<StageRun> runs;
  for (uint32_t r = 0; r < std::min(f.repeats, kMaxRecorded); ++r) {
    if (Status s = restart({&sequence, 1}); !s) return s.error();
    std::vector<StepShape> steps;
    Status status = Ok{};
    engine.set_stage_logs(recorder.logs());
    recorder.begin();
    for (uint32_t at = 0; at < n && status; at += rows_a_step) {
      const uint32_t n_rows = std::min(rows_a_step, n - at);
      const bool wanted = decode || at + n_rows == n;
      steps.push_back({.first_position = sequence.n_past, .n_rows = n_rows, .n_out_rows = wanted ? 1U : 0U});
      status = decode ? run_decode(engine, {&sequence, 1}, random, 1)
                      : run_prompt(engine, sequence, random, first_token, n_rows, wanted);
    }
    runs.push_back(recorder.finish(std::move(steps)));
    engine.set_stage_logs(nullptr);
    if (!status) return status.error();
  }
  const auto middle = runs.begin() + static_cast<ptrdiff_t>(runs.size() / 2);
  std::nth_element(runs.begin(), middle, runs.end(),
                   [](const StageRun& a, const StageRun& b) { return a.seconds < b.seconds; });
  return std::move(*middle);
}

Status measure(const Program& program, Session& session, const BenchFlags& f, BenchResult& result) {
  Engine& engine = session.engine;
  const int32_t bos = session.tokenizer.adds_bos() ? session.tokenizer.bos() : -1;
  RandomTokens random(program.code->n_vocab);
  std::vector<Sequence> sequences(f.parallel);
  const auto restart = [&](std::span<Sequence> some) -> Status {
    for (Sequence& sequence : sequences) engine.pool().truncate(sequence, 0);
    for (Sequence& sequence : some) {
      if (Status s = run_prompt(engine, sequence, random, bos, f.depth, false); !s) return s;
    }
    return Ok{};
  };
  if (f.n_prompt != 0) {
    Sequence& sequence = sequences[0];
    if (Status s = run_prompt(engine, sequence, random, bos, f.n_prompt, true); !s) return s;  // warm-up
    for (uint32_t r = 0; r < f.repeats; ++r) {
      if (Status s = restart({&sequence, 1}); !s) return s;
      const double start = seconds_now();
      if (Status s = run_prompt(engine, sequence, random, bos, f.n_prompt, true); !s) return s;
      result.prefill.samples.push_back(f.n_prompt / (seconds_now() - start));
    }
  }
  if (f.n_decode != 0) {
    engine.pool().truncate(sequences[0], 0);
    if (Status s = run_decode(engine, sequences, random, 1); !s) return s;  // warm-up
    for (uint32_t r = 0; r < f.repeats; ++r) {
      if (Status s = restart(sequences); !s) return s;
      const double start = seconds_now();
      if (Status s = run_decode(engine, sequences, random, f.n_decode); !s) return s;
      result.decode.samples.push_back(f.parallel * f.n_decode / (seconds_now() - start));
    }
  }
  // Before the buffers of the measurements that follow.
  result.peak_rss = peak_rss_bytes();
  result.bandwidth = read_bandwidth(engine.team(), program.payload->weights);
  const int32_t prompt = bos >= 0 ? bos : 0;
  for (uint32_t r = 0; r < f.repeats; ++r) {
    const auto seconds = start_to_first_token(program, prompt, engine.team().n_workers);
    if (!seconds) break;
    result.start.samples.push_back(*seconds);
  }
  if (!f.profile && !f.trace) return Ok{};
  for (const bool decode : {false, true}) {
    if ((decode ? f.n_decode : f.n_prompt) == 0) continue;
    auto run = record_stages(engine, sequences[0], random, bos, f, decode, restart);
    if (!run) return run.error();
    (decode ? result.decode_stages : result.prefill_stages) = std::move(*run);
  }
  return Ok{};
}

// Weights that decoding reads: a step reads them once for as many sequences as it has outputs for (Engine::step).
double bytes_read_a_second(const Program& program, const BenchFlags& f, const BenchResult& r) {
  const uint32_t most = std::min(program.code->max_rows, program.code->max_out_rows),
                 n_passes = (f.parallel + most - 1) / most;
  return r.decode.median() / f.parallel * n_passes *
         static_cast<double>(program.code->weight_bytes_per_token);
}

void print_json(Program& program, const BenchFlags& f, const BenchResult& r, uint32_t n_threads) {
  JsonObject o;
  const auto add = [&o](std::string_view key, const Summary& s) {
    if (s.samples.empty()) {
      o.add_null(key);
      return;
    }
    o.add(key, s.median());
    o.add(text(key, "_spread"), s.spread());
    o.add(text(key, "_samples"), s.samples);
  };
  add("prefill_tok_s", r.prefill);
  add("decode_tok_s", r.decode);
  add("start_to_first_token_s", r.start);
  o.add("peak_rss_bytes", static_cast<int64_t>(r.peak_rss));
  o.add("weight_bytes_per_token", static_cast<int64_t>(program.code->weight_bytes_per_token));
  o.add("weights_bytes", static_cast<int64_t>(program.code->weights_bytes));
  o.add("kv_page_bytes", static_cast<int64_t>(program.code->kv_page_bytes));
  o.add("read_bandwidth", r.bandwidth);
  const double read = bytes_read_a_second(program, f, r);
  if (r.decode.samples.empty() || r.bandwidth == 0) {
    o.add_null("decode_bandwidth_share");
  } else {
    o.add("decode_bandwidth_share", read / r.bandwidth);
  }
  o.add("n_prompt", int64_t{f.n_prompt});
  o.add("n_decode", int64_t{f.n_decode});
  o.add("depth", int64_t{f.depth});
  o.add("parallel", int64_t{f.parallel});
  o.add("repeats", int64_t{f.repeats});
  o.add("threads", int64_t{n_threads});
  o.add("level", std::string_view(program.code->level));
  if (f.profile) {
    for (const auto& [key, run] :
         {std::pair{"prefill_profile", &r.prefill_stages}, {"decode_profile", &r.decode_stages}}) {
      if (run->steps.empty()) {
        o.add_null(key);
      } else {
        o.add(key, profile_json(sum_up(*run, {program.code->stages, program.code->n_stages}), r.bandwidth));
      }
    }
  }
  program.out.write(o.finish());
}

void print_table(Program& program, const BenchFlags& f, const BenchResult& r, uint32_t n_threads) {
  const auto line = [&](const std::string& name, const Summary& s, int decimals, std::string_view unit) {
    if (s.samples.empty()) return;
    program.out.write(text(name, std::string(24 - std::min<size_t>(name.size(), 23), ' '),
                           fixed(s.median(), decimals), " ", unit, "  (spread ",
                           fixed(100 * s.spread() / s.median(), 0), "%)\n"));
  };
  const std::string depth = f.depth == 0 ? std::string{} : text(" behind ", f.depth);
  const std::string parallel = f.parallel == 1 ? std::string{} : text(" of ", f.parallel);
  line(text("prefill ", f.n_prompt, depth), r.prefill, 1, "tok/s");
  line(text("decode ", f.n_decode, parallel, depth), r.decode, 1, "tok/s");
  line("start to first token", r.start, 3, "s");
  if (r.start.samples.empty())
    program.out.write("start to first token    not measured: the program could not be started anew\n");
  program.out.write(text("peak memory             ", human_bytes(r.peak_rss), "\n"));
  if (!r.decode.samples.empty() && program.code->weight_bytes_per_token != 0) {
    const double read = bytes_read_a_second(program, f, r);
    program.out.write(text(
        "weights read a token    ", human_bytes(program.code->weight_bytes_per_token), ", decode reads ",
        fixed(read / 1e9, 2),
        r.bandwidth > 0
            ? text(" of ", fixed(r.bandwidth / 1e9, 2), " GB/s (", fixed(100 * read / r.bandwidth, 0), "%)\n")
            : std::string(" GB/s; the memory's own bandwidth could not be measured\n")));
  }
  program.out.write(text("threads                 ", n_threads, ", ", program.code->level, ", ", f.repeats,
                         f.repeats == 1 ? " run\n" : " runs\n"));
  if (!f.profile) return;
  const std::span stages(program.code->stages, program.code->n_stages);
  const std::string limit =
      r.bandwidth > 0 ? text("; the limit is ", fixed(r.bandwidth / 1e9, 1), " GB/s") : std::string{};
  if (f.n_prompt != 0)
    program.out.write(text("\nprefill ", f.n_prompt, depth, ", the whole prompt", limit, "\n",
                           profile_table(sum_up(r.prefill_stages, stages), 1, r.bandwidth)));
  if (f.n_decode != 0)
    program.out.write(text("\ndecode ", f.n_decode, depth, ", a token", limit, "\n",
                           profile_table(sum_up(r.decode_stages, stages), f.n_decode, r.bandwidth)));
}

Status write_trace(const Program& program, const BenchFlags& f, const BenchResult& r) {
  std::vector<NamedRun> runs;
  if (f.n_prompt != 0) runs.push_back({text("prefill ", f.n_prompt), &r.prefill_stages});
  if (f.n_decode != 0) runs.push_back({text("decode ", f.n_decode), &r.decode_stages});
  return write_chrome_trace(*f.trace, runs, {program.code->stages, program.code->n_stages});
}

}  // namespace

int bench_command(Program& program, std::span<const std::string> args) {
  BenchFlags f;
  if (program.code != nullptr) {  // null: for the help
    f.n_prompt = std::min(f.n_prompt, program.code->ctx_max);
    f.n_decode = std::min(f.n_decode, program.code->ctx_max);
  }
  std::vector<Option> options = {
      {.name = "--prompt",
       .letter = 'p',
       .value = "N",
       .help = "prefill: tokens (default 512; 0: skip)",
       .set = into(f.n_prompt, 0)},
      {.name = "--tokens",
       .letter = 'n',
       .value = "N",
       .help = "decode: steps (default 128; 0: skip)",
       .set = into(f.n_decode, 0)},
      {.name = "--depth",
       .letter = 'd',
       .value = "N",
       .help = "untimed tokens in front of both (default 0)",
       .set = into(f.depth, 0)},
      {.name = "--parallel",
       .value = "N",
       .help = "sequences that decode at once; tokens of all count (default 1)",
       .set = into(f.parallel, 1, kMaxParallel)},
      {.name = "--repeats",
       .letter = 'r',
       .value = "N",
       .help = "runs; the median counts (default 5)",
       .set = into(f.repeats, 1, 1000)},
      {.name = "--json", .help = "one JSON object on standard output", .set = into(f.json)},
      {.name = "--profile",
       .help = "where the time goes: each kind of stage beside the memory's read bandwidth, which weights "
               "that stay in a cache exceed (up to 5 more runs, behind the others)",
       .set = into(f.profile)},
      {.name = "--trace",
       .value = "FILE",
       .help = "also write workers and stages over time as JSON for chrome://tracing or ui.perfetto.dev",
       .set = [&f](std::string_view v) -> Status {
         f.trace = v;
         return Ok{};
       }},
  };
  add_run_options(options, f.run);
  std::erase_if(options, [](const Option& o) { return o.name == "--ctx"; });
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "bench",
           .positionals = "",
           .summary = "Measures prefill and decode as llama-bench counts them, start-up, memory, and the "
                      "share of the memory's read bandwidth that decoding uses.",
           .example = "bench -p 512 -n 128 -r 5 --json"},
          options, args, 0, parsed, status)) {
    return status;
  }
  const uint64_t ctx = uint64_t{f.depth} + std::max({f.n_prompt, f.n_decode, 1U});
  if (ctx > program.code->ctx_max) {
    return fail(program,
                Error{text("bench: -p ", f.n_prompt, ", -n ", f.n_decode, " and -d ", f.depth,
                           " need a context of ", ctx, " tokens, the program was compiled for ",
                           program.code->ctx_max, "; take fewer, or forge compile --ctx ", ctx)},
                kMisuse);
  }
  const bool records = f.profile || f.trace;
  if (records && program.code->n_stages == 0) {
    return fail(
        program,
        Error{"bench: --profile and --trace show the stages of a compiled program, the interpreter has "
              "none; leave out --interpret"},
        kMisuse);
  }
  if (records && f.n_prompt == 0 && f.n_decode == 0)
    return fail(program, Error{"bench: --profile and --trace have nothing to show with -p 0 and -n 0"},
                kMisuse);
  if (f.trace && f.trace->empty())
    return fail(program, Error{"bench: --trace: the value is empty, expected a file"}, kMisuse);
  if (records && f.parallel > 1)
    return fail(program, Error{"bench: --profile and --trace are of one sequence; leave out --parallel"},
                kMisuse);
  if (f.trace == "-")
    return fail(program, Error{"bench: --trace -: standard output has the figures; expected a file"},
                kMisuse);
  f.run.ctx = static_cast<uint32_t>(ctx);
  f.run.n_sequences = f.parallel;
  const auto session = open_session(program, f.run, status, f.trace.value_or(""));
  if (session == nullptr) return status;
  BenchResult result;
  if (const Status measured = measure(program, *session, f, result); !measured) {
    return fail(program, Error{text("bench: ", measured.error().message)});
  }
  const uint32_t n_threads = session->engine.team().n_workers;
  if (f.json) {
    print_json(program, f, result, n_threads);
  } else {
    print_table(program, f, result, n_threads);
  }
  if (f.trace) {
    if (const Status written = write_trace(program, f, result); !written)
      return fail(program, written.error());
  }
  return 0;
}

}  // namespace forge::rt
