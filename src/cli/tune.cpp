#include "cli/tune.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "core/error.h"
#include "core/output_file.h"
#include "formats/json.h"
#include "runtime/host/team.h"
#include "toolchain/artifact.h"
#include "toolchain/process.h"

namespace forge {
namespace {

constexpr size_t kRounds = 9;
constexpr uint32_t kPrompt = 128, kDecode = 8;  // tokens of a run
// With bf16 tiles, whose panels are shared by the rows of a step.
constexpr uint32_t kTilePrompt = 512;

// The kernels' own and three more: a step of one row decides about the prefetch, a prompt about the groups. None is any level's own,
// which is 2048 or 4096 (kPrefetch).
using Candidates = std::array<Schedule, 4>;
constexpr Candidates kVectorCandidates = {{{}, {1024, 2}, {3072, 8}, {8192, 16}}};
constexpr Candidates kTileCandidates = {
    {{}, {1024, 4}, {3072, 12}, {8192, 16}}};  // the tiles' own are 8 or 16

// What /proc/cpuinfo calls this processor: a name, or the numbers that aarch64 has instead.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string out;
  for (std::string line; std::getline(file, line) && !line.empty();)  // of the first core
    for (const std::string_view key :
         {"vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU part"})
      if (line.starts_with(key)) out += line + "\n";
  return out;
}

// Columns of the weights that linears multiply with, by the names that a profile has.
std::map<std::string, uint32_t> linear_columns(const Graph& g) {
  std::map<std::string, uint32_t> out;
  for (const std::vector<Node>* nodes : {&g.body, &g.epilogue})
    for (const Node& n : *nodes)
      if (n.op == Op::linear)
        for (const Segment& segment : n.segments)
          out[g.weights[segment.weight].name] = g.weights[segment.weight].cols;
  return out;
}

Schedules all_of(const std::map<std::string, uint32_t>& columns, const Schedule& schedule) {
  Schedules out;
  for (const auto& [name, n] : columns) out[n] = schedule;
  return out;
}

// The median of the rounds' ratios, and how many of them are above 1.
struct Ratios {
  double median = 0;
  size_t n_faster = 0;
};
Ratios compare(const std::vector<double>& first, const std::vector<double>& second) {
  std::vector<double> ratios;
  Ratios out;
  for (size_t r = 0; r < first.size(); ++r) {
    ratios.push_back(second[r] > 0 ? first[r] / second[r] : 1);
    out.n_faster += ratios.back() > 1 ? 1 : 0;
  }
  std::ranges::nth_element(ratios, ratios.begin() + static_cast<ptrdiff_t>(ratios.size() / 2));
  out.median = ratios[ratios.size() / 2];
  return out;
}

// Seconds of the linears of each number of columns, in steps of a row and in a prompt.
struct Measured {
  std::map<uint32_t, RoundSeconds> decode, prompt;
};

// Adds what a profile says of program p's round r. A prompt's head is one row: it tells nothing of many.
void add(const Json& profile, const std::map<std::string, uint32_t>& columns, bool with_head, size_t p,
         size_t r, std::map<uint32_t, RoundSeconds>& to) {
  for (const Json& stage : profile.at("stages")) {
    const auto weights = stage.at("weights").get<std::string>();
    const auto at = columns.find(weights.substr(0, weights.find(',')));
    const Json& kernel = stage.at("kernel");
    if (at == columns.end() || (kernel != "linear" && !(kernel == "head" && with_head))) continue;
    to[at->second][p][r] += stage.at("seconds").get<double>();
  }
}

// All programs in turns, kRounds times.
Measured measure(const CompiledModel& model, const std::vector<LinkedProgram>& programs,
                 const std::map<std::string, uint32_t>& columns, uint32_t n_prompt, uint32_t n_workers,
                 const TuneMessages& messages) {
  const ScratchDirectory directory;
  const auto path = [&](size_t p) { return fmt::format("{}/{}", directory.path(), p); };
  // One file of weights for all.
  write_payload(path(0) + ".weights", model.payload, nullptr);
  for (size_t p = 0; p < programs.size(); ++p) {
    OutputFile file(path(p));
    file.write(programs[p].bytes);
    file.commit(0755);
    if (p != 0) std::filesystem::create_symlink(path(0) + ".weights", path(p) + ".weights");
  }
  Measured out;
  for (const auto& [name, n] : columns)
    out.decode[n] = out.prompt[n] = RoundSeconds(programs.size(), std::vector<double>(kRounds));
  for (size_t r = 0; r < kRounds; ++r)
    for (size_t i = 0; i < programs.size(); ++i) {
      messages.run(r * programs.size() + i, kRounds * programs.size());
      // Another one begins each round: the first finds caches and clocks as the round before left them.
      const size_t p = (r + i) % programs.size();
      const ProcessResult run =
          run_process({path(p), "bench", "-p", std::to_string(n_prompt), "-n", std::to_string(kDecode), "-r",
                       "1", "-t", std::to_string(n_workers), "--profile", "--json"},
                      directory.path());
      if (run.status != 0)
        fail("--tune: a program that was measured ended with exit status {}: {}", run.status,
             run.output.empty() ? "no message" : complaint(run));
      const Json json =
          parse_json("--tune", {reinterpret_cast<const uint8_t*>(run.output.data()), run.output.size()});
      add(json.at("decode_profile"), columns, true, p, r, out.decode);
      add(json.at("prefill_profile"), columns, false, p, r, out.prompt);
    }
  return out;
}

struct Knob {
  std::string_view name;
  uint32_t Schedule::* value;
  std::map<uint32_t, RoundSeconds> Measured::* seconds;  // that decide about it
};
constexpr Knob kKnobs[] = {{"prefetch", &Schedule::prefetch, &Measured::decode},
                           {"prompt_groups", &Schedule::prompt_groups, &Measured::prompt}};

// For each number of columns what was fastest there.
Schedules choose(const Measured& measured, const Candidates& candidates, const Log& log) {
  Schedules out;
  for (const Knob& knob : kKnobs)
    for (const auto& [columns, seconds] : measured.*knob.seconds) {
      for (size_t c = 1; log && c < candidates.size(); ++c) {
        const Ratios ratios = compare(seconds[0], seconds[c]);
        log(fmt::format("tune: {} columns, {} {}: {:.3f} times as fast, faster in {} of {} rounds", columns,
                        knob.name, candidates[c].*knob.value, ratios.median, ratios.n_faster, kRounds));
      }
      if (const size_t best = fastest(seconds); best != 0)
        out[columns].*knob.value = candidates[best].*knob.value;
    }
  return out;
}

// What is left of `chosen` when program 1 of `measured` has all of it and program 0 the kernels' own: the candidates had
// theirs at all columns, and one may have won by chance. A knob's choices stay where all linears together won.
Schedules confirmed(const Schedules& chosen, const Measured& measured, const TuneMessages& messages) {
  Schedules out;
  for (const Knob& knob : kKnobs) {
    RoundSeconds all(2, std::vector<double>(kRounds));
    for (const auto& [columns, seconds] : measured.*knob.seconds)
      for (size_t p = 0; p < all.size(); ++p)
        for (size_t r = 0; r < kRounds; ++r) all[p][r] += seconds[p][r];
    std::string values;
    for (const auto& [columns, schedule] : chosen)
      if (schedule.*knob.value != 0)
        values += fmt::format("{}{} {} at {} columns", values.empty() ? "" : ", ", knob.name,
                              schedule.*knob.value, columns);
    if (values.empty()) continue;
    const Ratios ratios = compare(all[0], all[1]);
    const bool is_taken = fastest(all) == 1;
    messages.note(fmt::format("tune: {}: {:.2f} times as fast, faster in {} of {} rounds: {}", values,
                              ratios.median, ratios.n_faster, kRounds, is_taken ? "taken" : "not taken"));
    if (!is_taken) continue;
    for (const auto& [columns, schedule] : chosen)
      if (schedule.*knob.value != 0) out[columns].*knob.value = schedule.*knob.value;
  }
  return out;
}

// Held while programs run: two forges that tune at once would measure each other, and the cache would keep it.
class OnlyTuner {
 public:
  OnlyTuner(const std::string& directory, const TuneMessages& messages) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    fd_ = ::open((directory + "/tune.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0 || ::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    messages.note("tune: waits until another forge has measured");
    while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~OnlyTuner() {
    if (fd_ >= 0) ::close(fd_);
  }
  OnlyTuner(const OnlyTuner&) = delete;
  OnlyTuner& operator=(const OnlyTuner&) = delete;

 private:
  int fd_ = -1;
};

// Whether every value is one that was tried here.
bool is_of(const Schedules& schedules, const Candidates& candidates,
           const std::map<std::string, uint32_t>& columns) {
  std::set<uint32_t> widths;
  for (const auto& [name, n] : columns) widths.insert(n);
  for (const auto& [n, schedule] : schedules) {
    if (!widths.contains(n)) return false;
    for (const Knob& knob : kKnobs) {
      const uint32_t value = schedule.*knob.value;
      if (std::ranges::none_of(candidates, [&](const Schedule& c) { return c.*knob.value == value; }))
        return false;
    }
  }
  return true;
}

}  // namespace

size_t fastest(const RoundSeconds& seconds) {
  size_t best = 0;
  double gain = 1.03;  // that is asked for
  for (size_t c = 1; c < seconds.size(); ++c) {
    const size_t n_rounds = seconds[c].size();
    const Ratios ratios = compare(seconds[0], seconds[c]);
    if (ratios.n_faster + n_rounds / 8 < n_rounds || ratios.median < gain) continue;
    best = c;
    gain = ratios.median;
  }
  return best;
}

void check_tunable(const CpuTarget& target) {
  if (target.triple() != kHostTriple)
    fail_usage("--tune: programs for {} don't run on this machine to be measured; leave out --tune",
               target.triple());
  if (target.levels.size() != 1)
    fail_usage("--tune: measures one level, and {} programs have several; --cpu native is this machine's",
               target.name);
  if (const std::string_view missing = missing_feature(*target.levels[0]); !missing.empty())
    fail_usage("--tune: this machine lacks {}, so programs for {} can't be measured on it; leave out --tune",
               missing, target.name);
}

Schedules tune(const Compiler& compiler, const ForgeFiles& files, const CompiledModel& model,
               const CpuTarget& target, const TuneMessages& messages) {
  constexpr std::string_view kKind = "schedules";
  if (model.optimized.ctx_max < kPrompt)
    fail_usage(
        "--tune: measures prompts of {} tokens, and the context has {}; leave out --tune, or see --ctx",
        kPrompt, model.optimized.ctx_max);
  const CpuLevel& level = *target.levels[0];
  const uint32_t n_workers = rt::cpu_budget().n_workers();
  const std::map<std::string, uint32_t> columns = linear_columns(model.optimized);
  const Candidates& candidates = level.has_bf16_tiles() ? kTileCandidates : kVectorCandidates;
  const uint32_t n_prompt = level.has_bf16_tiles() ? std::min(kTilePrompt, model.optimized.ctx_max) : kPrompt;
  std::set<std::string> shapes;
  for (const PlacedWeight& placed : model.plan.weights) {
    const Weight& w = model.optimized.weights[placed.weight];
    if (columns.contains(w.name))
      shapes.insert(fmt::format("{} {} {}", info(placed.type).name, w.rows, w.cols));
  }
  std::string tried;
  for (const Schedule& s : candidates) tried += schedules_text({{0, s}}) + "\n";
  const std::string name =
      hash_parts({"forge schedules 2", compiler.identity, kernels_hash(files), level.name, processor_name(),
                  std::to_string(n_workers), std::to_string(n_prompt), tried,
                  fmt::format("{}", fmt::join(shapes, "\n"))})
          .substr(0, 32);
  const Cache cache = Cache::standard();
  const auto measured_before = [&]() -> std::optional<Schedules> {
    const auto known = cache.load(kKind, name);
    if (!known) return std::nullopt;
    auto schedules = parse_schedules({reinterpret_cast<const char*>(known->data()), known->size()});
    if (!schedules || !is_of(*schedules, candidates, columns)) return std::nullopt;
    messages.note(fmt::format("tune: measured before: {}",
                              schedules->empty() ? "the kernels' own" : schedules_text(*schedules)));
    return schedules;
  };
  if (const auto known = measured_before()) return *known;
  const OnlyTuner alone(cache.directory(), messages);
  if (const auto known = measured_before()) return *known;

  const auto program = [&](const Schedules& schedules) {
    return build_program(compiler, files, sources_with(schedules, model, target), target, cache,
                         messages.log);
  };
  std::vector<LinkedProgram> programs;
  for (const Schedule& candidate : candidates) programs.push_back(program(all_of(columns, candidate)));
  Schedules out =
      choose(measure(model, programs, columns, n_prompt, n_workers, messages), candidates, messages.log);
  if (!out.empty()) {
    programs.resize(1);
    programs.push_back(program(out));
    out = confirmed(out, measure(model, programs, columns, n_prompt, n_workers, messages), messages);
  }
  if (out.empty()) messages.note("tune: no schedule was faster than the kernels' own by more than the noise");
  const std::string text = schedules_text(out);
  cache.store(kKind, name, {text.begin(), text.end()});
  return out;
}

}  // namespace forge
