// The workers of a program: a few threads that spin briefly and then sleep, between steps and inside a step's
// barriers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/core/engine.h"

namespace forge::rt {

// What the process may use of the machine. 0 where it can't be found out (no /proc or /sys).
struct CpuBudget {
  uint32_t allowed = 0;         // logical processors in the affinity mask
  uint32_t physical_cores = 0;  // cores that those belong to
  uint32_t quota = 0;           // the cgroup's CPU quota in processors, rounded up; 0: none

  // Cores rather than hyperthreads, within the quota; at least 1.
  uint32_t n_workers() const;
};

// `root` stands before /proc and /sys (for tests; normally empty).
CpuBudget cpu_budget(const std::string& root = {});
// "max 100000" or "150000 100000" of cgroup v2's cpu.max; 0 for no limit or nonsense.
uint32_t parse_cpu_max(std::string_view text);

// A team of n_workers, this thread being worker 0. Lives until the end of the program or its destruction.
class ThreadTeam {
 public:
  // Error where a thread can't be started.
  static Result<std::unique_ptr<ThreadTeam>> start(uint32_t n_workers, const CpuBudget& budget);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  Team& team() { return team_; }

 private:
  struct Worker;
  explicit ThreadTeam(uint32_t n_workers);
  static void run(Team* team, void (*fn)(void* arg, uint32_t worker), void* arg);
  static void* worker_main(void* worker);

  Team team_;
  Barrier barrier_;
  // One job: workers see `job_` change, run fn_, and count themselves out of `running_`.
  alignas(64) uint32_t job_ = 0;
  uint32_t job_sleepers_ = 0;
  bool stop_ = false;
  void (*fn_)(void*, uint32_t) = nullptr;
  void* arg_ = nullptr;
  alignas(64) uint32_t running_ = 0;
  uint32_t main_sleeps_ = 0;
  uint32_t n_started_ = 0;
  std::unique_ptr<Worker[]> workers_;
};

}  // namespace forge::rt
