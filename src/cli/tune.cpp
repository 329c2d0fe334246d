#include "cli/tune.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <span>

#include "core/error.h"
#include "core/output_file.h"
#include "formats/json.h"
#include "runtime/host/team.h"
#include "toolchain/artifact.h"
#include "toolchain/process.h"

namespace forge {
namespace {

constexpr size_t kRounds = 9;

// The kernels' own and three more: a step of one row decides about the prefetch, a prompt about the groups.
using Candidates = std::array<Schedule, 4>;
constexpr Candidates kVectorCandidates = {{{}, {1024, 2}, {2048, 8}, {8192, 16}}};
constexpr Candidates kTileCandidates = {
    {{}, {1024, 4}, {2048, 8}, {8192, 16}}};  // the tiles' own are up to 12

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

// Seconds of the linears of each number of columns, in a step of a row and in a prompt.
struct Measured {
  std::map<uint32_t, RoundSeconds> decode, prompt;
};

// Adds what a program's profile says of candidate c's round r.
void add(const Json& profile, const std::map<std::string, uint32_t>& columns, size_t c, size_t r,
         std::map<uint32_t, RoundSeconds>& to) {
  for (const Json& stage : profile.at("stages")) {
    const auto weights = stage.at("weights").get<std::string>();
    const auto at = columns.find(weights.substr(0, weights.find(',')));
    if (stage.at("kernel") == "embed" || at == columns.end()) continue;
    RoundSeconds& seconds = to[at->second];
    seconds.resize(std::tuple_size_v<Candidates>, std::vector<double>(kRounds));
    seconds[c][r] += stage.at("seconds").get<double>();
  }
}

Measured measure(const CompiledModel& model, const std::vector<LinkedProgram>& programs,
                 const std::map<std::string, uint32_t>& columns, const TuneMessages& messages) {
  const ScratchDirectory directory;
  const auto path = [&](size_t c) { return fmt::format("{}/{}", directory.path(), c); };
  // One file of weights for all.
  write_payload(path(0) + ".weights", model.payload, nullptr);
  for (size_t c = 0; c < programs.size(); ++c) {
    OutputFile file(path(c));
    file.write(programs[c].bytes);
    file.commit(0755);
    if (c != 0) std::filesystem::create_symlink(path(0) + ".weights", path(c) + ".weights");
  }
  const uint32_t n_decode = std::min(8U, model.optimized.ctx_max / 2),
                 n_prompt = std::min(128U, model.optimized.ctx_max - n_decode);
  Measured out;
  for (size_t r = 0; r < kRounds; ++r)
    for (size_t i = 0; i < programs.size(); ++i) {
      // Another one begins each round: the first finds caches and clocks as the round before left them.
      const size_t c = (r + i) % programs.size();
      const ProcessResult run = run_process({path(c), "bench", "-p", std::to_string(n_prompt), "-n",
                                             std::to_string(n_decode), "-r", "1", "--profile", "--json"},
                                            directory.path());
      if (run.status != 0) fail("--tune: {}", complaint(run));
      const Json json =
          parse_json("--tune", {reinterpret_cast<const uint8_t*>(run.output.data()), run.output.size()});
      if (const Json* profile = member(json, "decode_profile")) add(*profile, columns, c, r, out.decode);
      if (const Json* profile = member(json, "prefill_profile")) add(*profile, columns, c, r, out.prompt);
      messages.run(r * programs.size() + i + 1, kRounds * programs.size());
    }
  return out;
}

Schedules choose(const Measured& measured, const Candidates& candidates, const TuneMessages& messages) {
  Schedules out;
  const auto decide = [&](const std::map<uint32_t, RoundSeconds>& all, uint32_t Schedule::* knob,
                          std::string_view what) {
    for (const auto& [columns, seconds] : all) {
      for (size_t c = 1; messages.log && c < candidates.size(); ++c) {
        const Ratios ratios = compare(seconds[0], seconds[c]);
        messages.log(fmt::format("tune: {} columns, {} {}: {:.3f} times as fast, faster in {} of {} rounds",
                                 columns, what, candidates[c].*knob, ratios.median, ratios.n_faster,
                                 kRounds));
      }
      const Fastest best = fastest(seconds);
      if (best.candidate == 0) continue;
      out[columns].*knob = candidates[best.candidate].*knob;
      messages.note(fmt::format("tune: {} columns, {} {}: {:.2f} times as fast", columns, what,
                                candidates[best.candidate].*knob, best.speedup));
    }
  };
  decide(measured.decode, &Schedule::prefetch, "prefetch");
  decide(measured.prompt, &Schedule::prompt_groups, "prompt_groups");
  if (out.empty()) messages.note("tune: no schedule was faster than the kernels' own by more than the noise");
  return out;
}

}  // namespace

Fastest fastest(const RoundSeconds& seconds) {
  constexpr double kGain = 1.03;
  Fastest best = {.candidate = 0, .speedup = 1};
  for (size_t c = 1; c < seconds.size(); ++c) {
    const size_t n_rounds = seconds[c].size();
    const Ratios ratios = compare(seconds[0], seconds[c]);
    if (ratios.n_faster + n_rounds / 8 < n_rounds || ratios.median < std::max(kGain, best.speedup)) continue;
    best = {.candidate = c, .speedup = ratios.median};
  }
  return best;
}

void check_tunable(const CpuTarget& target) {
  if (target.levels.size() != 1)
    fail_usage("--tune: measures one level, and {} programs have several; --cpu native is this machine's",
               target.name);
  if (target.triple() != kHostTriple)
    fail_usage("--tune: programs for {} don't run on this machine to be measured", target.triple());
  if (const std::string_view missing = missing_feature(*target.levels[0]); !missing.empty())
    fail_usage("--tune: this machine lacks {}, so programs for {} can't be measured on it", missing,
               target.name);
}

Schedules tune(const Compiler& compiler, const ForgeFiles& files, const CompiledModel& model,
               const CpuTarget& target, const TuneMessages& messages) {
  constexpr std::string_view kKind = "schedules";
  const CpuLevel& level = *target.levels[0];
  const std::map<std::string, uint32_t> columns = linear_columns(model.optimized);
  const Candidates& candidates = level.has_bf16_tiles() ? kTileCandidates : kVectorCandidates;
  std::set<std::string> shapes;
  for (const PlacedWeight& placed : model.plan.weights) {
    const Weight& w = model.optimized.weights[placed.weight];
    if (columns.contains(w.name))
      shapes.insert(fmt::format("{} {} {}", info(placed.type).name, w.rows, w.cols));
  }
  std::string tried;
  for (const Schedule& s : candidates) tried += schedules_text({{0, s}}) + "\n";
  const std::string name =
      hash_parts({"forge schedules 1", compiler.identity, kernels_hash(files), level.name, processor_name(),
                  std::to_string(rt::cpu_budget().n_workers()), tried,
                  fmt::format("{}", fmt::join(shapes, "\n"))})
          .substr(0, 32);
  const Cache cache = Cache::standard();
  if (const auto known = cache.load(kKind, name))
    if (const auto schedules =
            parse_schedules({reinterpret_cast<const char*>(known->data()), known->size()})) {
      if (messages.log)
        messages.log(fmt::format("tune: measured before: {}",
                                 schedules->empty() ? "the kernels' own" : schedules_text(*schedules)));
      return *schedules;
    }

  std::vector<LinkedProgram> programs;
  for (const Schedule& candidate : candidates)
    programs.push_back(build_program(compiler, files, sources_with(all_of(columns, candidate), model, target),
                                     target, cache, messages.log));
  const Schedules out = choose(measure(model, programs, columns, messages), candidates, messages);
  const std::string text = schedules_text(out);
  cache.store(kKind, name, {text.begin(), text.end()});
  return out;
}

}  // namespace forge
