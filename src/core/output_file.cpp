#include "core/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace forge {
namespace {

// The temporary files that a signal removes. The handler may run at any instruction and in any thread, so the
// paths lie in static memory and `state` alone says whether one may be read.
struct Slot {
  enum State : int { kFree, kClaimed, kSet };
  std::atomic<int> state{kFree};
  char path[PATH_MAX];
};
std::array<Slot, 16> g_slots;
std::atomic<void (*)()> g_hook{nullptr};

// -1 when all slots are taken or the path is too long: that file is then left behind by a signal.
int register_temporary(const std::string& path) {
  if (path.size() >= sizeof(Slot::path)) return -1;
  for (size_t i = 0; i < g_slots.size(); ++i) {
    int expected = Slot::kFree;
    if (!g_slots[i].state.compare_exchange_strong(expected, Slot::kClaimed)) continue;
    std::memcpy(g_slots[i].path, path.c_str(), path.size() + 1);
    g_slots[i].state.store(Slot::kSet);
    return static_cast<int>(i);
  }
  return -1;
}

void release_temporary(int slot) {
  if (slot >= 0) g_slots[static_cast<size_t>(slot)].state.store(Slot::kFree);
}

// Async-signal-safe: unlink, the hook and raise only. SA_RESETHAND has restored the default action.
void remove_temporaries(int signal) {
  for (const Slot& slot : g_slots) {
    if (slot.state.load() == Slot::kSet) ::unlink(slot.path);
  }
  if (auto* hook = g_hook.load(); hook != nullptr) hook();
  ::raise(signal);
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string cause(int error) { return std::generic_category().message(error); }

}  // namespace

void set_interrupt_hook(void (*hook)()) { g_hook.store(hook); }

void install_interrupt_cleanup() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old{};
    if (::sigaction(signal, nullptr, &old) != 0 || old.sa_handler == SIG_IGN) continue;
    struct sigaction action{};
    action.sa_handler = remove_temporaries;
    action.sa_flags = SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
  }
}

void expect_writable(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
    fail("{}: can't be written: is {}, expected a file name", path,
         S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
  const std::string directory = directory_of(path);
  if (::access(directory.c_str(), W_OK | X_OK) == 0) return;
  if (errno == ENOENT) fail("{}: can't be written: there is no folder {}", path, directory);
  fail("{}: can't be written: {}: {}", path, directory, cause(errno));
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  expect_writable(path_);
  static std::atomic<unsigned> counter{0};
  for (;;) {
    temporary_ = fmt::format("{}{}{}-{}", path_, kTemporaryInfix, ::getpid(), counter++);
    slot_ = register_temporary(temporary_);
    // 0777 less the umask is what commit() may grant.
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0777);
    if (fd_ >= 0) break;
    const int error = errno;
    release_temporary(std::exchange(slot_, -1));
    if (error != EEXIST) fail("{}: can't be written: {}", path_, cause(error));
  }
  struct stat st{};
  if (::fstat(fd_, &st) != 0) fail_with_errno("written");
  allowed_ = st.st_mode & 0777;
}

OutputFile::~OutputFile() { discard(); }

void OutputFile::discard() noexcept {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  ::unlink(temporary_.c_str());
  release_temporary(std::exchange(slot_, -1));
}

void OutputFile::fail_with_errno(const char* action) {
  const int error = errno;
  discard();
  fail("{}: can't be {}: {}", path_, action, cause(error));
}

void OutputFile::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_with_errno("written");
    size_ += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void OutputFile::write_zeros(uint64_t n) {
  static constexpr std::array<uint8_t, 4096> kZeros{};
  for (; n > 0; n -= std::min<uint64_t>(n, kZeros.size())) {
    write(std::span(kZeros).first(std::min<uint64_t>(n, kZeros.size())));
  }
}

void OutputFile::overwrite(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset > size_ || bytes.size() > size_ - offset) {
    fail("{}: bytes {} to {} are not written yet, only {} are", path_, offset, offset + bytes.size(), size_);
  }
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_with_errno("written");
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void OutputFile::commit(mode_t mode) {
  if (::fchmod(fd_, mode & allowed_) != 0) fail_with_errno("given its permissions");
  if (::fsync(fd_) != 0) fail_with_errno("written");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_with_errno("renamed to");
  ::close(std::exchange(fd_, -1));
  release_temporary(std::exchange(slot_, -1));
  // The name itself survives a power cut only when the directory is synced; file systems that can't are let
  // be.
  const int directory = ::open(directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
}

}  // namespace forge
