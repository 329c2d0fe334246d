// Files and streams by plain system calls: no iostreams, no locale.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/core/result.h"

namespace forge::rt {

// "PATH: WHAT (No such file or directory)" for the current errno.
Error system_error(std::string_view path, std::string_view what);

// Up to 64 KiB of a file such as those in /proc and /sys; empty where it can't be read.
std::string small_file(const std::string& path);
// A whole file, or standard input for "-"; an Error for more than 1 GiB. Its file is no longer an output, as by keep_input.
Result<std::string> read_file(const std::string& path);
// From here on FileWriter refuses to replace that file, under whatever name: it is what the command works with.
void keep_input(const std::string& path);
// Whether FileWriter could create the file, before work is spent on what it shall hold.
Status check_output(const std::string& path);

// A buffered output stream over a descriptor that it does not own. After the first failed write it drops
// everything; status() tells. A reader that went away (EPIPE) is `closed`, which is no error.
class OutputStream {
 public:
  explicit OutputStream(int fd) : fd_(fd) {}
  void write(std::string_view text);
  void flush();
  bool closed() const { return closed_; }
  bool is_terminal() const;
  bool usable() const { return !closed_ && error_ == 0; }
  Status status() const;  // Error of the first failed write

 private:
  int fd_;
  std::string buffer_;
  bool closed_ = false;
  int error_ = 0;
};

// Writes a file that appears under its name only when it is whole: commit() renames it into place. Destroyed
// before that, it leaves nothing behind. What is no regular file (a pipe), and standard output for "-", is written
// directly.
class FileWriter {
 public:
  static Result<FileWriter> create(const std::string& path);
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();
  Status write(std::span<const uint8_t> bytes);
  Status commit();

 private:
  FileWriter(std::string path, std::string temporary, int fd);
  std::string path_, temporary_;
  int fd_;
};

// Writes all bytes, going on after short writes and interrupts; false with errno set on failure.
bool write_all(int fd, std::span<const uint8_t> bytes);

inline std::span<const uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace forge::rt
