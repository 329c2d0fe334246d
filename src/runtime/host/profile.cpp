#include "runtime/host/profile.h"

#include <algorithm>
#include <utility>

#include "runtime/host/program.h"

namespace forge::rt {
namespace {

// "linear ffn_gate, ffn_up", "attention": of a StageInfo or a ProfileRow.
std::string label(const auto& stage) {
  const std::string_view weights = stage.weights;
  return weights.empty() ? std::string(stage.kernel) : text(stage.kernel, " ", weights);
}

// A call's rows: the last n of the step.
uint32_t rows_of_call(const StageInfo& s, int32_t layer, const StepShape& step) {
  return layer >= s.wanted_from_layer ? step.n_out_rows : step.n_rows;
}

double bytes_of_call(const StageInfo& s, int32_t layer, const StepShape& step) {
  const uint32_t rows = rows_of_call(s, layer, step), first = step.first_position + step.n_rows - rows,
                 before = s.window == 0 ? first : std::min(first, s.window - 1);
  return static_cast<double>(s.weight_bytes + rows * s.weight_bytes_per_row +
                             (uint64_t{before} + rows) * s.kv_bytes_per_position);
}

double operations_of_call(const StageInfo& s, int32_t layer, const StepShape& step) {
  const uint32_t rows = rows_of_call(s, layer, step);
  uint64_t positions = 0;  // that the rows see, all rows together
  for (uint32_t r = step.n_rows - rows; s.operations_per_position != 0 && r < step.n_rows; ++r) {
    const uint32_t seen = step.first_position + r + 1;
    positions += s.window == 0 ? seen : std::min(seen, s.window);
  }
  return static_cast<double>(rows * s.operations_per_row + positions * s.operations_per_position);
}

// Calls fn(event, begin, step) for each span of a worker; step counts from 0 and is -1 before the first.
template <class Fn>
void for_each_span(const StageRun& run, size_t worker, const Fn& fn) {
  uint64_t begin = run.begin;
  int64_t step = -1;
  for (const StageEvent& e : run.workers[worker]) {
    fn(e, begin, step);
    if (e.stage == kOutsideStep) ++step;
    begin = e.end;
  }
}

std::string left(std::string_view s, size_t width) {
  return text(s, std::string(width - std::min(width, s.size()), ' '));
}
std::string right(std::string_view s, size_t width) {
  return text(std::string(width - std::min(width, s.size()), ' '), s);
}

std::string percent(double share) { return fixed(100 * share, 1) + "%"; }

// Nanoseconds as the microseconds that traces count in.
std::string microseconds(uint64_t ns) {
  const std::string fraction = std::to_string(ns % 1000);
  return text(ns / 1000, ".", std::string(3 - fraction.size(), '0'), fraction);
}

}  // namespace

StageRecorder::StageRecorder(const ModelCode& code, uint32_t n_workers, uint32_t n_steps)
    : capacity_(size_t{code.max_stage_events} * n_steps),
      events_(n_workers, std::vector<StageEvent>(capacity_)),
      logs_(n_workers) {}

void StageRecorder::begin() {
  for (size_t w = 0; w < logs_.size(); ++w)
    logs_[w] = {.next = events_[w].data(), .end = events_[w].data() + capacity_};
  begin_seconds_ = seconds_now();
  begin_ = ticks_now();
}

StageRun StageRecorder::finish(std::vector<StepShape> steps) const {
  StageRun run;
  run.end = ticks_now();
  run.seconds = seconds_now() - begin_seconds_;
  run.begin = begin_;
  run.steps = std::move(steps);
  for (const StageLog& log : logs_) {
    const std::vector<StageEvent>& logged = events_[run.workers.size()];
    const ptrdiff_t n = log.next - logged.data();
    std::vector<StageEvent>& events = run.workers.emplace_back(logged.begin(), logged.begin() + n);
    // Counters of two cores may differ by less than handing over a job takes; spans must not run backwards.
    uint64_t last = run.begin;
    for (StageEvent& e : events) last = e.end = std::clamp(e.end, last, run.end);
    events.push_back({run.end, kOutsideStep, -1});
  }
  return run;
}

Profile sum_up(const StageRun& run, std::span<const StageInfo> stages) {
  Profile out;
  if (run.end == run.begin) return out;
  const double scale =
      run.seconds / static_cast<double>(run.end - run.begin) / static_cast<double>(run.workers.size());
  std::vector<size_t> row_of(stages.size(), SIZE_MAX);
  const auto row = [&](uint32_t stage) -> ProfileRow& {
    size_t& at = row_of[stage];
    if (at == SIZE_MAX) {
      const StageInfo& info = stages[stage];
      const auto known = std::find_if(out.rows.begin(), out.rows.end(), [&](const ProfileRow& r) {
        return r.kernel == info.kernel && r.weights == info.weights && r.types == info.types;
      });
      at = static_cast<size_t>(known - out.rows.begin());
      if (known == out.rows.end())
        out.rows.push_back({.kernel = info.kernel, .weights = info.weights, .types = info.types});
    }
    return out.rows[at];
  };
  for (size_t w = 0; w < run.workers.size(); ++w)
    for_each_span(run, w, [&](const StageEvent& e, uint64_t begin, int64_t step) {
      const double seconds = static_cast<double>(e.end - begin) * scale;
      out.seconds += seconds;
      if (e.stage == kWaiting) {
        out.waiting_seconds += seconds;
      } else if (e.stage == kOutsideStep) {
        out.outside_seconds += seconds;
      } else {
        ProfileRow& r = row(e.stage);
        r.seconds += seconds;
        if (w != 0) return;  // every worker has a share of each call
        ++r.n_calls;
        const StepShape& shape = run.steps[static_cast<size_t>(step)];
        r.bytes += bytes_of_call(stages[e.stage], e.layer, shape);
        r.operations += operations_of_call(stages[e.stage], e.layer, shape);
      }
    });
  return out;
}

std::string profile_table(const Profile& profile, double per, double bandwidth) {
  size_t name_width = 5, types_width = 4;
  for (const ProfileRow& r : profile.rows) {
    name_width = std::max(name_width, label(r).size());
    types_width = std::max(types_width, r.types.size());
  }
  std::string out;
  const auto line = [&](std::string_view name, std::string_view types, std::string_view calls,
                        std::string_view time, std::string_view share, std::string_view read,
                        std::string_view rate, std::string_view of_limit, std::string_view operations) {
    std::string s =
        text("  ", left(name, name_width), "  ", left(types, types_width), right(calls, 8), right(time, 12),
             right(share, 8), right(read, 12), right(rate, 8), right(of_limit, 10), right(operations, 9));
    s.resize(s.find_last_not_of(' ') + 1);
    out += s + "\n";
  };
  const auto time = [&](double seconds) { return fixed(1e3 * seconds / per, 3) + " ms"; };
  const auto share = [&](double seconds) {
    return profile.seconds > 0 ? percent(seconds / profile.seconds) : std::string{};
  };
  line("stage", "type", "calls", "time", "share", "reads", "GB/s", "of limit", "Gop/s");
  double bytes = 0, operations = 0;
  const auto totals = [&](std::string_view name, std::string_view types, std::string_view calls,
                          double seconds, double n_bytes, double n_operations) {
    const bool reads = n_bytes > 0 && seconds > 0;
    line(name, types, calls, time(seconds), share(seconds),
         n_bytes > 0 ? human_bytes(static_cast<uint64_t>(n_bytes / per)) : "",
         reads ? fixed(n_bytes / seconds / 1e9, 1) : "",
         reads && bandwidth > 0 ? percent(n_bytes / seconds / bandwidth) : "",
         n_operations > 0 && seconds > 0 ? fixed(n_operations / seconds / 1e9, 1) : "");
  };
  for (const ProfileRow& r : profile.rows) {
    const double calls = static_cast<double>(r.n_calls) / per;
    const bool whole = calls == static_cast<double>(static_cast<uint64_t>(calls));
    totals(label(r), r.types, fixed(calls, whole ? 0 : 1), r.seconds, r.bytes, r.operations);
    bytes += r.bytes;
    operations += r.operations;
  }
  totals("waiting at barriers", "", "", profile.waiting_seconds, 0, 0);
  totals("between steps", "", "", profile.outside_seconds, 0, 0);
  totals("all", "", "", profile.seconds, bytes, operations);
  return out;
}

JsonObject profile_json(const Profile& profile, double bandwidth) {
  std::vector<JsonObject> rows;
  for (const ProfileRow& r : profile.rows) {
    JsonObject& o = rows.emplace_back();
    o.add("stage", label(r));
    o.add("kernel", r.kernel);
    o.add("weights", r.weights);
    o.add("types", std::string_view(r.types));
    o.add("calls", static_cast<int64_t>(r.n_calls));
    o.add("seconds", r.seconds);
    o.add("bytes", r.bytes);
    o.add("operations", r.operations);
    if (bandwidth > 0 && r.seconds > 0) o.add("bandwidth_share", r.bytes / r.seconds / bandwidth);
  }
  JsonObject out;
  out.add("seconds", profile.seconds);
  out.add("waiting_seconds", profile.waiting_seconds);
  out.add("outside_seconds", profile.outside_seconds);
  out.add("stages", rows);
  return out;
}

Status write_chrome_trace(const std::string& path, std::span<const NamedRun> runs,
                          std::span<const StageInfo> stages) {
  auto file = FileWriter::create(path);
  if (!file) return file.error();
  std::string buffer = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [";
  Status written = Ok{};
  bool first = true;
  const auto put = [&](const std::string& event) {
    buffer += text(first ? "\n" : ",\n", event);
    first = false;
    if (buffer.size() < 1 << 16 || !written) return;
    written = file->write(as_bytes(buffer));
    buffer.clear();
  };
  uint64_t run_begin = 0;  // nanoseconds
  for (size_t i = 0; i < runs.size(); ++i) {
    const StageRun& run = *runs[i].run;
    const double scale =
        run.end == run.begin ? 0 : 1e9 * run.seconds / static_cast<double>(run.end - run.begin);
    const auto nanoseconds = [&](uint64_t ticks) {
      return run_begin + static_cast<uint64_t>(static_cast<double>(ticks - run.begin) * scale);
    };
    put(text(R"({"ph": "M", "name": "process_name", "pid": )", i + 1, R"(, "args": {"name": )",
             json_string(runs[i].name), "}}"));
    for (size_t w = 0; w < run.workers.size(); ++w) {
      put(text(R"({"ph": "M", "name": "thread_name", "pid": )", i + 1, R"(, "tid": )", w,
               R"(, "args": {"name": "worker )", w, R"("}})"));
      for_each_span(run, w, [&](const StageEvent& e, uint64_t begin, int64_t step) {
        if (e.stage == kOutsideStep) return;
        const bool waits = e.stage == kWaiting;
        std::string args = text(R"({"step": )", step);
        if (e.layer >= 0) args += text(R"(, "layer": )", e.layer);
        if (!waits)
          args += text(R"(, "output": )", json_string(stages[e.stage].output), R"(, "types": )",
                       json_string(stages[e.stage].types));
        const uint64_t from = nanoseconds(begin);
        put(text(R"({"ph": "X", "name": )", json_string(waits ? "waiting" : label(stages[e.stage])),
                 R"(, "cat": )", json_string(waits ? "barrier" : stages[e.stage].kernel), R"(, "pid": )",
                 i + 1, R"(, "tid": )", w, R"(, "ts": )", microseconds(from), R"(, "dur": )",
                 microseconds(nanoseconds(e.end) - from), R"(, "args": )", args, "}}"));
      });
    }
    run_begin = nanoseconds(run.end);
  }
  buffer += "\n]}\n";
  if (written) written = file->write(as_bytes(buffer));
  if (!written) return written;
  return file->commit();
}

}  // namespace forge::rt
