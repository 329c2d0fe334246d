#include "runtime/host/files.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

namespace forge::rt {
namespace {

// Reads until the end or `limit` bytes; false with errno set on failure.
bool read_all(int fd, size_t limit, std::string& out) {
  char buffer[16384];
  while (out.size() < limit) {
    const ssize_t n = read(fd, buffer, std::min(sizeof buffer, limit - out.size()));
    if (n == 0) return true;
    if (n < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    out.append(buffer, static_cast<size_t>(n));
  }
  return true;
}

// Far more than any context holds; a device that never ends is told from a text by it.
constexpr size_t kMaxText = size_t{1} << 30;

struct FileIdentity {
  dev_t device;
  ino_t inode;
  bool operator==(const FileIdentity&) const = default;
};
std::vector<FileIdentity> g_inputs;  // of keep_input; commands read their files in one thread

}  // namespace

void keep_input(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode)) g_inputs.push_back({info.st_dev, info.st_ino});
}

Status check_output(const std::string& path) {
  struct stat info{};
  const bool exists = path != "-" && stat(path.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    return system_error(path, "can't be written");
  }
  if (path == "-" || (exists && !S_ISREG(info.st_mode))) return Ok{};
  auto file = FileWriter::create(path);
  if (!file) return file.error();
  return Ok{};
}

Error system_error(std::string_view path, std::string_view what) {
  const char* reason = strerrordesc_np(errno);
  return Error{text(path, ": ", what, " (", reason != nullptr ? reason : "unknown error", ")")};
}

std::string small_file(const std::string& path) {
  std::string out;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return out;
  if (!read_all(fd, 65536, out)) out.clear();
  close(fd);
  return out;
}

Result<std::string> read_file(const std::string& path) {
  const bool standard_input = path == "-";
  const int fd = standard_input ? 0 : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_error(path, "can't be opened");
  const std::string name = standard_input ? "standard input" : path;
  std::string out;
  const bool good = read_all(fd, kMaxText + 1, out);
  Error error;
  if (!good) error = system_error(name, "can't be read");
  if (!standard_input) close(fd);
  if (!good) return error;
  if (out.size() > kMaxText)
    return Error{text(name, ": more than ", kMaxText >> 20, " MiB, expected a text")};
  if (!standard_input) keep_input(path);
  return out;
}

bool write_all(int fd, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

void OutputStream::write(std::string_view text) {
  if (!usable()) return;
  buffer_ += text;
  if (buffer_.size() >= 16384) flush();
}

void OutputStream::flush() {
  if (usable() && !write_all(fd_, as_bytes(buffer_))) {
    if (errno == EPIPE) {
      closed_ = true;
    } else {
      error_ = errno;
    }
  }
  buffer_.clear();
}

bool OutputStream::is_terminal() const { return isatty(fd_) != 0; }

Status OutputStream::status() const {
  if (error_ == 0) return Ok{};
  errno = error_;
  return system_error(fd_ == 1 ? "standard output" : "output", "can't be written");
}

FileWriter::FileWriter(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)) {}

FileWriter::~FileWriter() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

namespace {

// In containers every program is process 1.
uint32_t random_number() {
  uint32_t out = 0;
  return getrandom(&out, sizeof out, GRND_NONBLOCK) == sizeof out ? out : 0;
}

}  // namespace

Result<FileWriter> FileWriter::create(const std::string& path) {
  if (path == "-") {
    const int copy = fcntl(1, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return system_error("standard output", "can't be written");
    return FileWriter("standard output", {}, copy);
  }
  struct stat info{};
  const bool exists = stat(path.c_str(), &info) == 0, direct = exists && !S_ISREG(info.st_mode);
  if (exists && std::ranges::find(g_inputs, FileIdentity{info.st_dev, info.st_ino}) != g_inputs.end())
    return Error{text(path, ": is what this command reads; give its output another name")};
  std::string temporary = direct ? std::string{} : text(path, ".", getpid(), "-", random_number(), ".part");
  const int fd = direct ? open(path.c_str(), O_WRONLY | O_CLOEXEC)
                        : open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return system_error(path, "can't be written");
  return FileWriter(path, std::move(temporary), fd);
}

Status FileWriter::write(std::span<const uint8_t> bytes) {
  if (!write_all(fd_, bytes)) return system_error(path_, "can't be written");
  return Ok{};
}

Status FileWriter::commit() {
  const bool closed = close(std::exchange(fd_, -1)) == 0;
  if (!closed || (!temporary_.empty() && rename(temporary_.c_str(), path_.c_str()) != 0)) {
    return system_error(path_, "can't be written");
  }
  temporary_.clear();
  return Ok{};
}

}  // namespace forge::rt
