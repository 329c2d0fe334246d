#include "runtime/host/team.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "runtime/host/files.h"

namespace forge::rt {
namespace {

// Kernels of wide models keep up to a megabyte on the stack, and what the system gives a thread (ulimit -s) may be 2 or less. Worker 0
// is the caller's thread: its stack is the caller's.
struct WorkerAttributes {
  static constexpr size_t kStackBytes = size_t{8} << 20;
  WorkerAttributes() {
    pthread_attr_init(&value);
    size_t bytes = 0;
    if (pthread_attr_getstacksize(&value, &bytes) == 0 && bytes < kStackBytes)
      pthread_attr_setstacksize(&value, kStackBytes);
  }
  ~WorkerAttributes() { pthread_attr_destroy(&value); }
  WorkerAttributes(const WorkerAttributes&) = delete;
  WorkerAttributes& operator=(const WorkerAttributes&) = delete;
  pthread_attr_t value;
};

void futex_wait(const uint32_t* address, uint32_t value) {
  syscall(SYS_futex, address, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futex_wake_all(const uint32_t* address) {
  syscall(SYS_futex, address, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void sleep_in_barrier(Barrier* barrier, uint32_t generation) { futex_wait(&barrier->generation, generation); }
void wake_barrier(Barrier* barrier) { futex_wake_all(&barrier->generation); }

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// About 0.1 ms on a core of one's own: longer than a stage waits, shorter than a token. Without a core for
// each worker the one that is waited for may need this very core: then hardly at all.
constexpr uint32_t kSpins = 4000;
constexpr uint32_t kSpinsOversubscribed = 20;

// The processors of the affinity mask.
std::vector<uint32_t> allowed_processors() {
  std::vector<uint32_t> out;
  for (int n = 1024; n <= 1 << 16; n *= 2) {
    std::vector<unsigned long> words(static_cast<size_t>(n) / (8 * sizeof(unsigned long)));
    const long bytes = syscall(SYS_sched_getaffinity, 0, words.size() * sizeof(unsigned long), words.data());
    if (bytes < 0) continue;
    for (uint32_t cpu = 0; cpu < static_cast<uint32_t>(n); ++cpu) {
      const size_t bits = 8 * sizeof(unsigned long);
      if ((words[cpu / bits] >> (cpu % bits) & 1) != 0) out.push_back(cpu);
    }
    break;
  }
  return out;
}

int64_t parse_integer(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.size() > 15) return 0;
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return 0;
    value = value * 10 + (c - '0');
  }
  return negative ? -value : value;
}

uint32_t quota_processors(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<uint32_t>(std::min<int64_t>((quota + period - 1) / period, UINT32_MAX));
}

uint32_t smaller_limit(uint32_t a, uint32_t b) { return a == 0 || (b != 0 && b < a) ? b : a; }

// The tightest quota from the cgroup `path` up to the root of the hierarchy mounted at `mount`.
template <class ReadQuota>
uint32_t quota_along(const std::string& mount, std::string path, const ReadQuota& read_quota) {
  uint32_t quota = 0;
  for (;;) {
    quota = smaller_limit(quota, read_quota(mount + path));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return quota;
    path.resize(slash);
  }
}

uint32_t cgroup_quota(const std::string& root) {
  // Lines "hierarchy:controllers:path"; hierarchy 0 with no controllers is v2. In a container the path is
  // often that of the host and absent here: then the mount's root, which quota_along looks at last, holds the
  // limit.
  const std::string membership = small_file(root + "/proc/self/cgroup");
  std::string path_v2;
  std::string path_v1;
  std::string_view rest = membership;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string controllers = "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
    std::string path(line.substr(second + 1));
    if (path == "/") path.clear();
    if (controllers == ",,") path_v2 = path;
    if (controllers.find(",cpu,") != std::string::npos) path_v1 = path;
  }
  const auto quota_v2 = [](const std::string& group) {
    return parse_cpu_max(small_file(group + "/cpu.max"));
  };
  const auto quota_v1 = [](const std::string& group) {
    return quota_processors(parse_integer(small_file(group + "/cpu.cfs_quota_us")),
                            parse_integer(small_file(group + "/cpu.cfs_period_us")));
  };
  uint32_t quota = quota_along(root + "/sys/fs/cgroup", path_v2, quota_v2);
  quota = smaller_limit(quota, quota_along(root + "/sys/fs/cgroup/unified", path_v2, quota_v2));
  for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
    quota = smaller_limit(quota, quota_along(root + mount, path_v1, quota_v1));
  }
  return quota;
}

}  // namespace

uint32_t parse_cpu_max(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos || text.starts_with("max")) return 0;
  return quota_processors(parse_integer(text.substr(0, space)), parse_integer(text.substr(space + 1)));
}

uint32_t CpuBudget::n_workers() const {
  return std::max(1U, smaller_limit(smaller_limit(allowed, physical_cores), quota));
}

CpuBudget cpu_budget(const std::string& root) {
  CpuBudget budget;
  const std::vector<uint32_t> processors = allowed_processors();
  budget.allowed = static_cast<uint32_t>(processors.size());
  std::set<std::string> cores;
  for (const uint32_t cpu : processors) {
    const std::string topology = text(root, "/sys/devices/system/cpu/cpu", cpu, "/topology/");
    std::string siblings = small_file(topology + "core_cpus_list");
    if (siblings.empty()) siblings = small_file(topology + "thread_siblings_list");
    // A processor that says nothing of its siblings counts as a core of its own.
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  budget.physical_cores = static_cast<uint32_t>(cores.size());
  budget.quota = cgroup_quota(root);
  return budget;
}

struct ThreadTeam::Worker {
  ThreadTeam* team;
  uint32_t index;
  pthread_t thread;
};

ThreadTeam::ThreadTeam(uint32_t n_workers) : workers_(new Worker[n_workers]) {
  barrier_.n_workers = n_workers;
  barrier_.sleep = sleep_in_barrier;
  barrier_.wake = wake_barrier;
  team_ = Team{.n_workers = n_workers, .barrier = &barrier_, .run = run, .context = this};
}

Result<std::unique_ptr<ThreadTeam>> ThreadTeam::start(uint32_t n_workers, const CpuBudget& budget) {
  std::unique_ptr<ThreadTeam> out(new ThreadTeam(n_workers));
  const WorkerAttributes attributes;
  const uint32_t processors = smaller_limit(budget.allowed, budget.quota);
  out->barrier_.spins = processors != 0 && n_workers > processors ? kSpinsOversubscribed : kSpins;
  for (uint32_t i = 1; i < n_workers; ++i) {
    Worker& worker = out->workers_[i];
    worker.team = out.get();
    worker.index = i;
    const int status = pthread_create(&worker.thread, &attributes.value, worker_main, &worker);
    if (status != 0) {
      return Error{text("worker thread ", i, " of ", n_workers, " could not be started (error ", status,
                        "); try fewer with --threads")};
    }
    ++out->n_started_;
  }
  return out;
}

ThreadTeam::~ThreadTeam() {
  stop_ = true;
  __atomic_add_fetch(&job_, 1, __ATOMIC_SEQ_CST);
  futex_wake_all(&job_);
  for (uint32_t i = 1; i <= n_started_; ++i) pthread_join(workers_[i].thread, nullptr);
}

void* ThreadTeam::worker_main(void* argument) {
  auto* worker = static_cast<Worker*>(argument);
  ThreadTeam& t = *worker->team;
  for (uint32_t seen = 0;;) {
    uint32_t job = __atomic_load_n(&t.job_, __ATOMIC_ACQUIRE);
    const uint32_t spins = spin_budget(t.barrier_, seen);
    for (uint32_t i = 0; job == seen && i < spins; ++i) {
      pause_cpu();
      job = __atomic_load_n(&t.job_, __ATOMIC_ACQUIRE);
    }
    if (job == seen) {
      __atomic_add_fetch(&t.job_sleepers_, 1, __ATOMIC_SEQ_CST);
      while ((job = __atomic_load_n(&t.job_, __ATOMIC_SEQ_CST)) == seen) futex_wait(&t.job_, seen);
      __atomic_sub_fetch(&t.job_sleepers_, 1, __ATOMIC_SEQ_CST);
    }
    seen = job;
    if (t.stop_) return nullptr;
    t.fn_(t.arg_, worker->index);
    if (__atomic_sub_fetch(&t.running_, 1, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&t.main_sleeps_, __ATOMIC_SEQ_CST) != 0) {
      futex_wake_all(&t.running_);
    }
  }
}

void ThreadTeam::run(Team* team, void (*fn)(void* arg, uint32_t worker), void* arg) {
  auto& t = *static_cast<ThreadTeam*>(team->context);
  if (team->n_workers > 1) {
    t.fn_ = fn;
    t.arg_ = arg;
    __atomic_store_n(&t.running_, team->n_workers - 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&t.job_, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&t.job_sleepers_, __ATOMIC_SEQ_CST) != 0) futex_wake_all(&t.job_);
  }
  fn(arg, 0);
  if (team->n_workers == 1) return;
  uint32_t running = __atomic_load_n(&t.running_, __ATOMIC_ACQUIRE);
  const uint32_t spins = spin_budget(t.barrier_, t.job_);
  for (uint32_t i = 0; running != 0 && i < spins; ++i) {
    pause_cpu();
    running = __atomic_load_n(&t.running_, __ATOMIC_ACQUIRE);
  }
  if (running == 0) return;
  __atomic_store_n(&t.main_sleeps_, 1, __ATOMIC_SEQ_CST);
  while ((running = __atomic_load_n(&t.running_, __ATOMIC_SEQ_CST)) != 0) futex_wait(&t.running_, running);
  __atomic_store_n(&t.main_sleeps_, 0, __ATOMIC_SEQ_CST);
}

}  // namespace forge::rt
