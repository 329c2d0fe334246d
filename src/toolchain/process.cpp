#include "toolchain/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/output_file.h"

namespace forge {
namespace {

// What the signal handler ends: children (a process group of their own, by the number of the first, so that their
// children go with them) and a directory. Static memory, since the handler may run at any instruction.
std::atomic<pid_t> g_children{0};
std::atomic<bool> g_has_directory{false};
char g_directory[PATH_MAX];

// Removes a directory of plain files by system calls alone, so that a signal handler may do it.
void remove_directory(const char* path) {
  // struct linux_dirent64 of getdents64(2).
  struct Entry {
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[1];
  };
  const int fd = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  alignas(Entry) char buffer[8192];
  for (long n = 0; (n = ::syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;) {
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
      ::unlinkat(fd, buffer + at + offsetof(Entry, name), 0);
      at += entry->bytes;
    }
  }
  ::close(fd);
  ::rmdir(path);
}

void end_child_and_directory() {
  const pid_t group = g_children.load();
  if (group > 0) {
    ::kill(-group, SIGKILL);
    while (::waitpid(-group, nullptr, 0) > 0) {
    }
  }
  if (g_has_directory.load()) remove_directory(g_directory);
}

// Holds back the signals of install_interrupt_cleanup() while a child or a directory exists that the handler
// does not know of yet.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t held;
    sigemptyset(&held);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&held, signal);
    ::pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~SignalsHeld() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  const sigset_t& before() const { return before_; }

 private:
  sigset_t before_;
};

struct SpawnSettings {
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  posix_spawn_file_actions_t actions = {};
  posix_spawnattr_t attributes = {};
};

// The environment with TMPDIR replaced, and in English: messages are read by people who compare them.
std::vector<std::string> child_environment(const std::string& directory) {
  std::vector<std::string> out = {"TMPDIR=" + directory, "LC_ALL=C"};
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view entry = *e;
    if (!entry.starts_with("TMPDIR=") && !entry.starts_with("LC_ALL=")) out.emplace_back(entry);
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (std::string& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

std::string read_to_end(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n > 0) {
      text.append(buffer, static_cast<size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      return text;
    }
  }
}

constexpr std::string_view kScratchPrefix = "forge-";
constexpr std::string_view kScratchRandom = "XXXXXX";  // mkdtemp's
// A file in each: a user's own forge-models is named alike.
constexpr const char* kScratchMark = ".forge-scratch";

// Removes the scratch directories of this user that no living process has locked. A young one may belong to a process
// that is about to lock it.
void remove_abandoned(const std::string& parent) {
  constexpr std::time_t kYoungS = 60;
  std::error_code error;
  for (std::filesystem::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (!name.starts_with(kScratchPrefix) || name.size() != kScratchPrefix.size() + kScratchRandom.size())
      continue;
    const int fd = ::open(it->path().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) continue;
    struct stat st = {};
    if (::fstat(fd, &st) == 0 && st.st_uid == ::geteuid() && st.st_mtime + kYoungS < std::time(nullptr) &&
        ::faccessat(fd, kScratchMark, F_OK, 0) == 0 && ::flock(fd, LOCK_EX | LOCK_NB) == 0) {
      remove_directory(it->path().c_str());
    }
    ::close(fd);
  }
}

struct Child {
  pid_t pid = 0;
  int output = -1;  // the end to read of a pipe that is its stdout and stderr
};

// Starts a process in the group of that number, or as the first of a new one (0). Returns 0 or an errno.
int start(const std::vector<std::string>& argv, const std::string& directory, pid_t group, Child& child) {
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return errno;
  std::vector<std::string> arguments = argv;
  std::vector<std::string> environment = child_environment(directory);
  SpawnSettings spawn;
  posix_spawn_file_actions_addopen(&spawn.actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&spawn.actions, pipe_ends[1], 1);
  posix_spawn_file_actions_adddup2(&spawn.actions, pipe_ends[1], 2);
  posix_spawn_file_actions_addchdir_np(&spawn.actions, directory.c_str());
  int error = 0;
  {
    const SignalsHeld held;
    posix_spawnattr_setsigmask(&spawn.attributes, &held.before());
    posix_spawnattr_setpgroup(&spawn.attributes, group);
    posix_spawnattr_setflags(&spawn.attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    error = ::posix_spawn(&child.pid, argv[0].c_str(), &spawn.actions, &spawn.attributes,
                          pointers(arguments).data(), pointers(environment).data());
    if (error == 0 && group == 0) g_children.store(child.pid);
  }
  ::close(pipe_ends[1]);
  child.output = pipe_ends[0];
  if (error != 0) ::close(pipe_ends[0]);
  return error;
}

bool is_program(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

}  // namespace

ScratchDirectory::ScratchDirectory() {
  const char* parent = std::getenv("TMPDIR");
  const std::string folder = parent != nullptr && *parent != '\0' ? parent : "/tmp";
  remove_abandoned(folder);
  path_ = fmt::format("{}/{}{}", folder, kScratchPrefix, kScratchRandom);
  if (path_.size() >= sizeof g_directory) fail("TMPDIR: the path is too long");
  const SignalsHeld held;
  if (::mkdtemp(path_.data()) == nullptr) fail("{}: can't be created: {}", path_, std::strerror(errno));
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0) {
    ::flock(lock_, LOCK_SH | LOCK_NB);
    if (const int mark = ::openat(lock_, kScratchMark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); mark >= 0)
      ::close(mark);
  }
  std::memcpy(g_directory, path_.c_str(), path_.size() + 1);
  g_has_directory.store(true);
  set_interrupt_hook(end_child_and_directory);
}

ScratchDirectory::~ScratchDirectory() {
  const SignalsHeld held;
  remove_directory(path_.c_str());
  g_has_directory.store(false);
  if (lock_ >= 0) ::close(lock_);
}

std::vector<ProcessResult> run_processes(const std::vector<std::vector<std::string>>& commands,
                                         const std::string& directory) {
  std::vector<Child> children;
  std::string failure;
  for (const std::vector<std::string>& argv : commands) {
    const pid_t group = children.empty() ? 0 : children[0].pid;
    if (const int error = start(argv, directory, group, children.emplace_back()); error != 0) {
      failure = fmt::format("{}: can't be started: {}", argv[0], std::strerror(error));
      children.pop_back();
      if (!children.empty()) ::kill(-children[0].pid, SIGKILL);
      break;
    }
  }
  std::vector<ProcessResult> results(children.size());
  for (size_t i = 0; i < children.size(); ++i) {
    results[i].output = read_to_end(children[i].output);
    ::close(children[i].output);
  }
  // Children are reaped with the signals held: the handler must never kill a process group that took their number.
  for (const Child& child : children) {
    siginfo_t ended = {};
    while (::waitid(P_PID, static_cast<id_t>(child.pid), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
  }
  const SignalsHeld held;
  for (size_t i = 0; i < children.size(); ++i) {
    int status = 0;
    ::waitpid(children[i].pid, &status, 0);
    results[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  g_children.store(0);
  if (!failure.empty()) fail("{}", failure);
  return results;
}

ProcessResult run_process(const std::vector<std::string>& argv, const std::string& directory) {
  return run_processes({argv}, directory)[0];
}

std::string_view complaint(const ProcessResult& result) {
  const std::string_view line = std::string_view(result.output).substr(0, result.output.find('\n'));
  const size_t colon = line.find(": ");
  return colon == std::string_view::npos ? line : line.substr(colon + 2);
}

std::string find_on_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return is_program(name) ? name : "";
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    const std::string candidate = fmt::format("{}/{}", rest.substr(0, end), name);
    if (is_program(candidate)) return candidate;
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return "";
}

}  // namespace forge
