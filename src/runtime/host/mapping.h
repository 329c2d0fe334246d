// Where a program finds its payload, and memory that is reserved but touched only as it is used.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/core/payload.h"
#include "runtime/core/result.h"

namespace forge::rt {

// Pages of virtual memory, unmapped at the end of its life. Page-aligned.
class Mapping {
 public:
  Mapping() = default;
  // A file, read-only and file-backed, so that processes share it.
  static Result<Mapping> file(const std::string& path);
  // n zero bytes that take memory only where they are touched.
  static Result<Mapping> reserve(uint64_t n);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();
  std::span<uint8_t> bytes() const { return bytes_; }
  // Of a file: whole pages of `part`, which lies in it, take no memory of this process until they are read again.
  void let_go(std::span<const uint8_t> part) const;

 private:
  explicit Mapping(std::span<uint8_t> bytes) : bytes_(bytes) {}
  std::span<uint8_t> bytes_;
};

// Makes `to`, memory of a Mapping::reserve, hold the bytes of the file from `offset` on, read where they are touched and
// copied where they are written; false where that can't be.
bool map_over(std::span<uint8_t> to, int fd, uint64_t offset);

// A payload and the mapped file that carries it.
struct CarriedPayload {
  Mapping file;
  std::string path;
  Payload payload;
};

// The payload that `path` is, the one at the tail of the executable `path`, or else the one in the file
// `path`.weights beside it. Error where none is whole.
Result<CarriedPayload> open_carried_payload(const std::string& path);
// The running program's own file: /proc/self/exe, or the path that it was started by where there is no /proc.
// Empty when neither opens.
std::string own_path();

}  // namespace forge::rt
