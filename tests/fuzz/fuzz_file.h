// What the fuzz targets of file readers share.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"

namespace forge::fuzz {

inline void require(bool condition) {
  if (!condition) std::abort();
}

// The bytes under a name that a reader can open, without a disk.
inline std::string as_file(std::span<const uint8_t> bytes) {
  static const int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  require(fd >= 0 && ::ftruncate(fd, 0) == 0);
  require(::pwrite(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return fmt::format("/proc/self/fd/{}", fd);
}

// Runs f, which may refuse its input with an Error of one line and fail in no other way.
template <class F>
void expect_error_or_success(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
}

}  // namespace forge::fuzz
