#include "download/blob.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/sha256.h"

namespace forge {
namespace {

// PATH.incomplete, open for appending.
class Part {
 public:
  Part(std::string path, bool hashed) : path_(std::move(path)), hashed_(hashed) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    struct stat st = {};
    if (fd_ < 0 || ::fstat(fd_, &st) != 0) {
      const int error = errno;
      if (fd_ >= 0) ::close(fd_);
      fail("{}: can't be opened: {}", path_, std::strerror(error));
    }
    size_ = static_cast<uint64_t>(st.st_size);
    if (hashed_) hash_what_is_there();
  }
  ~Part() { ::close(fd_); }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  uint64_t size() const { return size_; }

  void append(std::span<const uint8_t> bytes) {
    if (hashed_) sha_.add(bytes.data(), bytes.size());
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        fail("{}: can't be written: {}; the part is kept: make room, or set HF_HUB_CACHE to a larger disk",
             path_, std::strerror(errno));
      size_ += static_cast<uint64_t>(n);
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
  }

  void clear() {
    if (::ftruncate(fd_, 0) != 0) fail("{}: can't be written: {}", path_, std::strerror(errno));
    size_ = 0;
    sha_ = Sha256();
  }

  // Once only.
  std::string sha256() { return to_hex(sha_.digest()); }

  void remove() const { ::unlink(path_.c_str()); }

  void commit(const std::string& final_path) {
    if (::fsync(fd_) != 0 || ::rename(path_.c_str(), final_path.c_str()) != 0)
      fail("{}: can't be written: {}", final_path, std::strerror(errno));
  }

 private:
  void hash_what_is_there() {
    std::vector<uint8_t> buffer(size_t{1} << 20);
    for (uint64_t at = 0; at < size_;) {
      const ssize_t n = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("{}: can't be read: {}", path_, n == 0 ? "it became shorter" : std::strerror(errno));
      sha_.add(buffer.data(), static_cast<size_t>(n));
      at += static_cast<uint64_t>(n);
    }
  }

  std::string path_;
  bool hashed_;
  int fd_ = -1;
  uint64_t size_ = 0;
  Sha256 sha_;
};

std::optional<uint64_t> number(std::string_view text) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

// Whether "Content-Range: bytes 5-99/100" begins where the part ends, in a file of the expected size.
bool continues(std::string_view range, uint64_t first, std::optional<uint64_t> size) {
  constexpr std::string_view kUnit = "bytes ";
  if (!range.starts_with(kUnit)) return false;
  range.remove_prefix(kUnit.size());
  const size_t dash = range.find('-'), slash = range.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos ||
      number(range.substr(0, dash)) != first)
    return false;
  const std::string_view total = range.substr(slash + 1);
  return total == "*" || !size || number(total) == size;
}

void require_space(const std::string& path, const RemoteFile& file, uint64_t have) {
  struct statvfs disk = {};
  const std::string directory = std::filesystem::path(path).parent_path();
  if (!file.size || ::statvfs(directory.c_str(), &disk) != 0) return;
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (*file.size > have && *file.size - have > free) {
    fail("{}: {} bytes are needed in {}, {} are free: make room, or set HF_HUB_CACHE to a larger disk",
         file.name, *file.size - have, directory, free);
  }
}

// One attempt: from where the part ends to the end of the file. Throws TransportError where another may succeed.
void transfer(HttpClient& http, const RemoteFile& file, Part& part, const DownloadReport& report,
              const std::function<Error(const HttpAnswer&)>& status_error, double& wait_s) {
  HttpRequest request{.url = file.url};
  if (part.size() > 0) {
    request.headers.push_back(fmt::format("Range: bytes={}-", part.size()));
    // What a SHA-256 is known of is checked as a whole, and its entity tag may be that of another server's copy.
    if (file.sha256.empty()) request.headers.push_back("If-Range: " + file.etag);
  }
  request.on_answer = [&](const HttpAnswer& answer) {
    if (answer.status == 206 && part.size() > 0) {
      if (continues(answer.header("content-range"), part.size(), file.size)) return;
      part.clear();
      throw TransportError(fmt::format("{}: the server sent another range than was asked for", file.name));
    }
    if (answer.status == 200) {
      part.clear();  // the whole file, whatever was asked for
      const auto length = number(answer.header("content-length"));
      if (file.size && length && *length != *file.size)
        fail("{}: the server sends {} bytes, {} were announced", file.name, *length, *file.size);
      return;
    }
    if (answer.status == 416) {  // the part is longer than the file: another file's
      part.clear();
      throw TransportError(fmt::format("{}: the server has no such range", file.name));
    }
    const Error error = status_error(answer);
    if (!is_temporary(answer.status)) throw error;
    wait_s = retry_after_s(answer);
    throw TransportError(error.what());
  };
  request.on_body = [&](std::span<const uint8_t> bytes) {
    if (file.size && bytes.size() > *file.size - part.size()) {
      part.remove();
      fail("{}: the server sends more than the {} bytes that were announced", file.name, *file.size);
    }
    part.append(bytes);
    if (report.progress) report.progress(file.name, part.size(), file.size.value_or(part.size()));
  };
  http.send(request);
  if (file.size && part.size() < *file.size)
    throw TransportError(fmt::format("{}: {} of {} bytes came", file.name, part.size(), *file.size));
}

}  // namespace

void download_blob(HttpClient& http, const RemoteFile& file, const std::string& path,
                   const RetryPolicy& policy, const DownloadReport& report,
                   const std::function<Error(const HttpAnswer&)>& status_error) {
  Part part(path + ".incomplete", !file.sha256.empty());
  // Nothing says that an old part is of the same file, or it is longer than that.
  if ((file.sha256.empty() && file.etag.empty()) || (file.size && part.size() > *file.size)) part.clear();
  require_space(path, file, part.size());
  Retry retry(policy.attempts, policy.first_wait_s);
  while (!file.size || part.size() < *file.size) {
    const uint64_t before = part.size();
    double wait_s = 0;
    try {
      transfer(http, file, part, report, status_error, wait_s);
      if (!file.size) break;  // the server's word is all there is
    } catch (const TransportError& error) {
      if (part.size() > before) retry.reset();
      if (report.note) report.note(fmt::format("{}; trying again", error.what()));
      if (file.sha256.empty() && file.etag.empty()) part.clear();
      if (!retry.again(wait_s))
        fail("{}{}", error.what(),
             part.size() > 0 ? "; what came is kept: where the server sends parts of files, the next run "
                               "goes on from there"
                             : "");
    }
  }
  if (!file.sha256.empty()) {
    if (const std::string found = part.sha256(); found != file.sha256) {
      part.remove();
      fail("{}: its SHA-256 is {}, expected {}; it was removed, try again", file.name, found, file.sha256);
    }
  }
  part.commit(path);
}

}  // namespace forge
