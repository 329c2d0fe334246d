#include "runtime/host/team.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

// Threads of this process that run or want to, without the calling one.
uint32_t n_awake_besides_this() {
  uint32_t n = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    const std::string stat((std::istreambuf_iterator<char>(file)), {});
    const size_t name_end = stat.rfind(')');
    if (task.path().filename() == std::to_string(gettid()) || name_end == std::string::npos) continue;
    n += stat.substr(name_end + 2, 1) == "S" ? 0 : 1;
  }
  return n;
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
  // Idle workers sleep, however long a loaded machine takes to let them: a spinning one would never.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (n_awake_besides_this() != 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(n_awake_besides_this(), 0U);
}

// More threads than processors: a worker that spins keeps the one from running that it waits for. So each
// barrier must see at least one worker give up the processor of its own will, and not at its time slice's end.
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
  const auto n_voluntary_switches = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
  };
  const long before = n_voluntary_switches();
  check_team(4, 20, 100, budget);
  EXPECT_GE(n_voluntary_switches() - before, 4000) << "4000 barriers of 4 threads on 1 processor";
  sched_setaffinity(0, sizeof saved, &saved);
  // And they give it up sooner than workers with a processor each.
  const auto crowded = ThreadTeam::start(2, {.allowed = 1});
  const auto roomy = ThreadTeam::start(2, {.allowed = 2});
  const auto limited = ThreadTeam::start(2, {.allowed = 2, .quota = 1});
  ASSERT_TRUE(crowded && roomy && limited);
  EXPECT_LT((*crowded)->team().barrier->spins, (*roomy)->team().barrier->spins);
  EXPECT_EQ((*limited)->team().barrier->spins, (*crowded)->team().barrier->spins);
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

// A cgroup of this test's own with a CPU quota; gone with the object.
class QuotaGroup {
 public:
  // Of `percent` of one processor, inside the group that this process is in.
  explicit QuotaGroup(int percent) {
    std::ifstream file("/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
      const size_t controllers = line.find(':') + 1;
      const size_t path = line.find(':', controllers) + 1;
      const std::string list = "," + line.substr(controllers, path - 1 - controllers) + ",";
      const std::string group = line.substr(path) + "/forge-team-test-" + std::to_string(getpid());
      const std::string quota = std::to_string(percent * 1000);
      if (list == ",,") {
        // The group above must hand the controller down; where it holds processes it can't.
        write(text("/sys/fs/cgroup", line.substr(path), "/cgroup.subtree_control"), "+cpu");
        take("/sys/fs/cgroup" + group, {{"cpu.max", quota + " 100000"}});
      } else if (list.find(",cpu,") != std::string::npos) {
        for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"})
          take(mount + group, {{"cpu.cfs_period_us", "100000"}, {"cpu.cfs_quota_us", quota}});
      }
    }
  }
  ~QuotaGroup() {
    if (!path_.empty()) rmdir(path_.c_str());
  }
  QuotaGroup(const QuotaGroup&) = delete;
  QuotaGroup& operator=(const QuotaGroup&) = delete;

  bool exists() const { return !path_.empty(); }
  // What a process in the group finds: its quota in the low bits and its number of workers above them.
  int budget_inside() const {
    const pid_t child = fork();
    if (child == 0) {
      if (!write(path_ + "/cgroup.procs", std::to_string(getpid()))) _exit(255);
      const CpuBudget budget = cpu_budget();
      _exit(static_cast<int>(std::min(budget.quota, 15U) | std::min(budget.n_workers(), 14U) << 4));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  static bool write(const std::string& path, const std::string& value) {
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    const bool written =
        fd >= 0 && ::write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
    if (fd >= 0) close(fd);
    return written;
  }
  // Makes the group, unless there is one already or it can't have a quota.
  void take(const std::string& path, const std::vector<std::pair<std::string, std::string>>& settings) {
    if (exists() || mkdir(path.c_str(), 0755) != 0) return;
    bool limited = true;
    for (const auto& [name, value] : settings) limited = limited && write(text(path, "/", name), value);
    if (limited) {
      path_ = path;
    } else {
      rmdir(path.c_str());
    }
  }
  std::string path_;
};

TEST(CpuQuota, OfARealGroup) {
  const CpuBudget outside = cpu_budget();
  for (const int percent : {100, 150, 50}) {
    const QuotaGroup group(percent);
    if (!group.exists())
      GTEST_SKIP()
          << "SKIPPED: no cgroup with a CPU quota can be made here (needs root and the cpu controller)";
    const int budget = group.budget_inside();
    ASSERT_TRUE(budget >= 0 && budget != 255) << budget;
    uint32_t expected = percent > 100 ? 2 : 1;
    if (outside.quota != 0) expected = std::min(expected, outside.quota);
    EXPECT_EQ(static_cast<uint32_t>(budget & 15), expected) << percent;
    EXPECT_EQ(static_cast<uint32_t>(budget >> 4), std::min(outside.n_workers(), expected)) << percent;
  }
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
