#include "runtime/host/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <iterator>
#include <vector>

#include "runtime/host/files.h"

namespace forge::rt {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

// What sockets, timers, threads that run already and memory need.
constexpr uint32_t kAllowed[] = {
    __NR_read,           __NR_write,        __NR_readv,           __NR_writev,
    __NR_recvfrom,       __NR_recvmsg,      __NR_sendto,          __NR_sendmsg,
    __NR_accept,         __NR_accept4,      __NR_shutdown,        __NR_close,
    __NR_getsockopt,     __NR_setsockopt,   __NR_getsockname,     __NR_getpeername,
    __NR_epoll_ctl,      __NR_epoll_pwait,  __NR_eventfd2,        __NR_ppoll,
    __NR_fcntl,          __NR_ioctl,        __NR_timerfd_create,  __NR_timerfd_settime,
    __NR_futex,          __NR_mmap,         __NR_munmap,          __NR_mremap,
    __NR_madvise,        __NR_brk,          __NR_mprotect,        __NR_getrandom,
    __NR_clock_gettime,  __NR_gettimeofday, __NR_nanosleep,       __NR_clock_nanosleep,
    __NR_sched_yield,    __NR_getpid,       __NR_gettid,          __NR_rt_sigaction,
    __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_restart_syscall, __NR_exit,
    __NR_exit_group,     __NR_tgkill,       __NR_set_robust_list, __NR_rseq,
#if defined(__x86_64__)
    __NR_epoll_wait,     __NR_poll,
#endif
};

// And what files in folders need.
constexpr uint32_t kAllowedForFiles[] = {
    __NR_openat,    __NR_newfstatat, __NR_fstat,     __NR_unlinkat,
    __NR_renameat2, __NR_renameat,   __NR_utimensat, __NR_lseek,
#if defined(__x86_64__)
    __NR_open,      __NR_stat,       __NR_unlink,    __NR_rename,
#endif
};

constexpr bool sanitized() {
#if defined(__has_feature)
  return __has_feature(address_sanitizer);  // its own work at the end needs more
#else
  return false;
#endif
}

// Without it neither of the two below can be had.
bool no_new_privileges() { return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0; }

}  // namespace

// Everything else fails with EPERM. An mmap or mprotect of executable memory fails, too.
Status filter_system_calls(const FileNeeds& needs) {
  if (sanitized() || !no_new_privileges()) return Ok{};
  std::vector<sock_filter> f;
  const auto add = [&](uint16_t code, uint32_t k, uint8_t if_true = 0, uint8_t if_false = 0) {
    f.push_back({.code = code, .jt = if_true, .jf = if_false, .k = k});
  };
  constexpr uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS;
  constexpr uint16_t kEqual = BPF_JMP | BPF_JEQ | BPF_K;
  constexpr uint16_t kReturn = BPF_RET | BPF_K;
  constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;
  constexpr uint32_t kProtExec = 4;
  add(kLoad, offsetof(seccomp_data, arch));
  add(kEqual, kArchitecture, 1, 0);
  add(kReturn, SECCOMP_RET_KILL_PROCESS);
  add(kLoad, offsetof(seccomp_data, nr));
  std::vector<uint32_t> allowed(std::begin(kAllowed), std::end(kAllowed));
  if (needs.removes_socket) {
    allowed.push_back(__NR_unlinkat);
#if defined(__x86_64__)
    allowed.push_back(__NR_unlink);
#endif
  }
  if (!needs.folders.empty())
    allowed.insert(allowed.end(), std::begin(kAllowedForFiles), std::end(kAllowedForFiles));
  for (const uint32_t call : allowed) {
    if (call == __NR_mmap || call == __NR_mprotect) {
      add(kEqual, call, 0, 4);
      add(kLoad, offsetof(seccomp_data, args) +
                     2 * sizeof(uint64_t));  // the low half, little-endian: the protection
      add(BPF_JMP | BPF_JSET | BPF_K, kProtExec, 0, 1);
      add(kReturn, kRefuse);
      add(kReturn, SECCOMP_RET_ALLOW);
    } else {
      add(kEqual, call, 0, 1);
      add(kReturn, SECCOMP_RET_ALLOW);
    }
  }
  add(kReturn, kRefuse);
  const sock_fprog program = {.len = static_cast<unsigned short>(f.size()), .filter = f.data()};
  errno = 0;
  const long refused = ::syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  // Above 0: a thread that could not take it. A kernel without it says so.
  if (refused > 0 || (refused < 0 && errno != ENOSYS && errno != EINVAL))
    return Error{text("seccomp: the filter was refused (error ", errno, ")")};
  return Ok{};
}

Status close_file_system(const FileNeeds& needs, Team& team) {
  if (sanitized() || !no_new_privileges()) return Ok{};
  uint64_t handled = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // all of the first version
  if (needs.removes_socket) handled &= ~uint64_t{LANDLOCK_ACCESS_FS_REMOVE_FILE};
  const landlock_ruleset_attr attributes = {.handled_access_fs = handled};
  const auto ruleset =
      static_cast<int>(::syscall(__NR_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  if (ruleset < 0) return Ok{};  // a kernel without it
  Status status = Ok{};
  for (const std::string& folder : needs.folders) {
    landlock_path_beneath_attr beneath = {
        .allowed_access = handled & (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE),
        .parent_fd = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (beneath.parent_fd < 0) status = system_error(folder, "can't be opened");
    ::syscall(__NR_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    ::close(beneath.parent_fd);
  }
  const auto restrict_worker = [](void* arg, uint32_t) {
    if (no_new_privileges()) ::syscall(__NR_landlock_restrict_self, *static_cast<const int*>(arg), 0);
  };
  int shared = ruleset;
  if (status) run_team(team, restrict_worker, &shared);
  ::close(ruleset);
  return status;
}

}  // namespace forge::rt
