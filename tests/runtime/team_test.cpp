#include "runtime/host/team.h"

#include <gtest/gtest.h>

#include <sched.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/core/temporary_directory.h"

namespace forge::rt {
namespace {

struct Rounds {
  Barrier* barrier;
  uint32_t n_workers;
  uint32_t n_rounds;
  std::vector<uint32_t> counters;  // one a worker
  std::atomic<uint32_t> errors{0};
};

// Each round every worker writes its counter and, behind the barrier, sees everyone else's.
void run_rounds(void* arg, uint32_t worker) {
  auto& r = *static_cast<Rounds*>(arg);
  for (uint32_t i = 1; i <= r.n_rounds; ++i) {
    r.counters[worker] = i;
    barrier_wait(*r.barrier);
    for (const uint32_t c : r.counters) r.errors += c != i;
    barrier_wait(*r.barrier);
  }
}

void check_team(uint32_t n_workers, uint32_t n_jobs, uint32_t n_rounds, const CpuBudget& budget) {
  auto threads = ThreadTeam::start(n_workers, budget);
  ASSERT_TRUE(threads) << threads.error().message;
  Team& team = (*threads)->team();
  EXPECT_EQ(team.n_workers, n_workers);
  for (uint32_t job = 0; job < n_jobs; ++job) {
    Rounds rounds{.barrier = team.barrier, .n_workers = n_workers, .n_rounds = n_rounds};
    rounds.counters.resize(n_workers);
    run_team(team, run_rounds, &rounds);
    EXPECT_EQ(rounds.errors, 0U);
    for (const uint32_t c : rounds.counters) EXPECT_EQ(c, n_rounds);
  }
}

TEST(ThreadTeam, BarriersHoldForEveryCount) {
  for (const uint32_t n : {1U, 2U, 3U, 5U, 16U}) check_team(n, 200, 5, cpu_budget());
}

TEST(ThreadTeam, SleepsBetweenJobs) {
  auto threads = ThreadTeam::start(3, cpu_budget());
  ASSERT_TRUE(threads);
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    Rounds rounds{.barrier = (*threads)->team().barrier, .n_workers = 3, .n_rounds = 3};
    rounds.counters.resize(3);
    run_team((*threads)->team(), run_rounds, &rounds);
    EXPECT_EQ(rounds.errors, 0U);
  }
  // Idle workers use no processor time: all of them slept through most of the pauses.
  const clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.15);
}

// More threads than processors: a worker that spins keeps the one from running that it waits for. Spinning
// through whole time slices would take minutes here.
TEST(ThreadTeam, OversubscriptionDoesNotCollapse) {
  cpu_set_t saved;
  ASSERT_EQ(sched_getaffinity(0, sizeof saved, &saved), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &saved)) {
      CPU_SET(cpu, &one);
      break;
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const CpuBudget budget = cpu_budget();
  EXPECT_EQ(budget.allowed, 1U);
  const auto start = std::chrono::steady_clock::now();
  check_team(4, 20, 100, budget);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  sched_setaffinity(0, sizeof saved, &saved);
  EXPECT_LT(seconds.count(), 20) << "4000 barriers of 4 threads on 1 processor";
}

TEST(CpuQuota, ParsesCpuMax) {
  EXPECT_EQ(parse_cpu_max("max 100000\n"), 0U);
  EXPECT_EQ(parse_cpu_max("150000 100000\n"), 2U);
  EXPECT_EQ(parse_cpu_max("100000 100000"), 1U);
  EXPECT_EQ(parse_cpu_max("1 100000"), 1U);
  EXPECT_EQ(parse_cpu_max(""), 0U);
  EXPECT_EQ(parse_cpu_max("12"), 0U);
  EXPECT_EQ(parse_cpu_max("-1 100000"), 0U);
  EXPECT_EQ(parse_cpu_max("100 0"), 0U);
  EXPECT_EQ(parse_cpu_max("99999999999999999999 100000"), 0U);
}

// A file system root with some files of /proc and /sys.
struct FakeRoot {
  TemporaryDirectory directory;
  void file(const std::string& path, const std::string& content) const {
    const std::filesystem::path full = directory.path() + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << content;
  }
  CpuBudget budget() const { return cpu_budget(directory.path()); }
};

TEST(CpuQuota, NothingReadable) {
  const FakeRoot root;
  const CpuBudget budget = root.budget();
  EXPECT_EQ(budget.quota, 0U);
  EXPECT_EQ(budget.physical_cores, budget.allowed);
  EXPECT_GE(budget.n_workers(), 1U);
  EXPECT_EQ(CpuBudget{}.n_workers(), 1U);
}

TEST(CpuQuota, TightestGroupOfVersion2) {
  const FakeRoot root;
  root.file("/proc/self/cgroup", "0::/a/b\n");
  root.file("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  root.file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(root.budget().quota, 3U);
  root.file("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(root.budget().quota, 1U);
  EXPECT_EQ(root.budget().n_workers(), 1U);
}

TEST(CpuQuota, ContainerSeesItsGroupAsTheRoot) {
  const FakeRoot root;
  root.file("/proc/self/cgroup", "0::/docker/of/the/host\n");
  root.file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(root.budget().quota, 2U);
}

TEST(CpuQuota, Version1) {
  const FakeRoot root;
  root.file("/proc/self/cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/job\n1:name=systemd:/\n");
  root.file("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "120000\n");
  root.file("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  root.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  root.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(root.budget().quota, 2U);
}

TEST(CpuBudget, CoresRatherThanHyperthreads) {
  const FakeRoot root;
  const uint32_t allowed = cpu_budget().allowed;
  if (allowed < 2) GTEST_SKIP() << "SKIPPED: needs two processors in the affinity mask";
  for (uint32_t cpu = 0; cpu < 256; ++cpu) {
    root.file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/core_cpus_list", "0-255\n");
  }
  EXPECT_EQ(root.budget().physical_cores, 1U);
  EXPECT_EQ(root.budget().n_workers(), 1U);
}

}  // namespace
}  // namespace forge::rt
