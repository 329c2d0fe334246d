// Where the time of a run goes: what the workers log of their stages, summed up as a table and drawn as a trace.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/result.h"
#include "runtime/core/step.h"
#include "runtime/host/json.h"

namespace forge::rt {

// The rows of one step: consecutive ones of a lone sequence, of which the last n_out_rows are wanted.
struct StepShape {
  uint32_t first_position = 0, n_rows = 0, n_out_rows = 0;
};

// A run of steps as its workers logged it. Of each worker the spans follow one another without a gap from `begin` to
// `end`, so they add up to the run's time.
struct StageRun {
  std::vector<std::vector<StageEvent>> workers;
  std::vector<StepShape> steps;
  uint64_t begin = 0, end = 0;  // ticks
  double seconds = 0;           // from begin to end
};

// The logs of runs of up to n_steps steps. Its memory is taken, and touched, once: a step allocates nothing.
class StageRecorder {
 public:
  StageRecorder(const ModelCode& code, uint32_t n_workers, uint32_t n_steps);
  // For Engine::set_stage_logs.
  StageLog* logs() { return logs_.data(); }
  void begin();
  // What was logged since begin(); `steps` are the steps that ran.
  StageRun finish(std::vector<StepShape> steps) const;

 private:
  size_t capacity_;
  std::vector<std::vector<StageEvent>> events_;
  std::vector<StageLog> logs_;
  uint64_t begin_ = 0;
  double begin_seconds_ = 0;
};

// Calls that are alike: one kernel on the same matrices of the same types, of all layers.
struct ProfileRow {
  std::string kernel, weights, types;  // "linear", "ffn_gate, ffn_up", "q4_k"
  uint64_t n_calls = 0;
  double seconds = 0;  // a worker's mean
  double bytes = 0;    // of weights and KV cache, as StageInfo counts them
  double operations = 0;
};

struct Profile {
  std::vector<ProfileRow> rows;  // in the order of the step
  double waiting_seconds = 0;    // at barriers, a worker's mean
  double outside_seconds = 0;    // between steps: the engine, and waiting for the last worker
  double seconds = 0;            // the sum of all of these
};

Profile sum_up(const StageRun& run, std::span<const StageInfo> stages);

// The profile as lines of text, everything divided by `per` (tokens, to have numbers of one). bandwidth: bytes a second
// that the same workers can read, 0 where unknown.
std::string profile_table(const Profile& profile, double per, double bandwidth);
JsonObject profile_json(const Profile& profile, double bandwidth);

struct NamedRun {
  std::string name;
  const StageRun* run;
};
// Writes runs, one behind another, as a trace that chrome://tracing and Perfetto load: a process a run, a thread a
// worker, a span a stage.
Status write_chrome_trace(const std::string& path, std::span<const NamedRun> runs,
                          std::span<const StageInfo> stages);

}  // namespace forge::rt
