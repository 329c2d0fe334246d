#include "runtime/host/mapping.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "runtime/host/files.h"

namespace forge::rt {

Result<Mapping> Mapping::file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe is none of ours
  if (fd < 0) return system_error(path, "can't be opened");
  struct stat info{};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) {
    close(fd);
    return Error{text(path, ": not a regular file with something in it")};
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  const int saved = errno;
  close(fd);
  errno = saved;
  if (address == MAP_FAILED) return system_error(path, "can't be mapped");
  return Mapping({static_cast<uint8_t*>(address), size});
}

Result<Mapping> Mapping::reserve(uint64_t n) {
  if (n == 0) n = 1;
  void* address = n > SIZE_MAX / 2 ? MAP_FAILED
                                   : mmap(nullptr, n, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED)
    return Error{text("memory: ", n, " bytes could not be reserved; try a smaller --ctx")};
  madvise(address, n, MADV_HUGEPAGE);
  return Mapping({static_cast<uint8_t*>(address), n});
}

void Mapping::let_go(std::span<const uint8_t> part) const {
  if (part.empty()) return;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<size_t>(part.data() - bytes_.data());
  const size_t begin = (offset + page - 1) / page * page, end = (offset + part.size()) / page * page;
  if (begin < end) madvise(bytes_.data() + begin, end - begin, MADV_DONTNEED);
}

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

namespace {

// The payload's place: the whole file where that begins as one, or as the trailer says; an empty span when
// there is neither.
Result<std::span<const uint8_t>> payload_within(const std::string& path, std::span<const uint8_t> file) {
  if (file.size() >= sizeof kPayloadMagic &&
      std::memcmp(file.data(), kPayloadMagic, sizeof kPayloadMagic) == 0)
    return file;
  PayloadTrailer trailer;
  if (file.size() < sizeof trailer) return std::span<const uint8_t>{};
  const uint64_t end = file.size() - sizeof trailer;
  std::memcpy(&trailer, file.data() + end, sizeof trailer);
  if (std::memcmp(trailer.magic, kTrailerMagic, sizeof kTrailerMagic) != 0) return std::span<const uint8_t>{};
  if (trailer.payload_offset % kPageAlignment != 0 || trailer.payload_offset > end ||
      trailer.payload_bytes > end - trailer.payload_offset) {
    return Error{text(path, ": its trailer places the payload at ", trailer.payload_offset, " with ",
                      trailer.payload_bytes, " bytes, the file has ", file.size())};
  }
  return file.subspan(trailer.payload_offset, trailer.payload_bytes);
}

}  // namespace

bool map_over(std::span<uint8_t> to, int fd, uint64_t offset) {
  const auto aligned = [](uint64_t n) { return n % kPageAlignment == 0; };
  if (!aligned(offset) || !aligned(to.size()) || !aligned(reinterpret_cast<uintptr_t>(to.data())))
    return false;
  return mmap(to.data(), to.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd,
              static_cast<off_t>(offset)) != MAP_FAILED;
}

Result<CarriedPayload> open_carried_payload(const std::string& path) {
  CarriedPayload out;
  auto file = Mapping::file(path);
  if (!file) return file.error();
  auto bytes = payload_within(path, file->bytes());
  if (!bytes) return bytes.error();
  out.path = path;
  if (bytes->empty()) {
    // /proc/self/exe names no directory: the file beside the program stands beside what it links to.
    char target[PATH_MAX];
    const ssize_t n = readlink(path.c_str(), target, sizeof target);
    const bool resolved = n > 0 && static_cast<size_t>(n) < sizeof target && target[0] == '/';
    out.path = (resolved ? std::string(target, static_cast<size_t>(n)) : path) + ".weights";
    file = Mapping::file(out.path);
    if (!file) {
      return Error{text(
          "no program of forge's, or one that is cut off: it carries no payload; one that was compiled with "
          "--weights separate needs ",
          file.error().message)};
    }
    *bytes = file->bytes();
  }
  auto payload = open_payload(*bytes);
  if (!payload) return Error{text(out.path, ": ", payload.error().message)};
  keep_input(path);
  keep_input(out.path);
  out.payload = std::move(*payload);
  out.file = std::move(*file);
  return out;
}

std::string own_path() {
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    return "/proc/self/exe";
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's way to hand over a string
  const auto* started_by = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  return started_by != nullptr && access(started_by, R_OK) == 0 ? started_by : "";
}

}  // namespace forge::rt
