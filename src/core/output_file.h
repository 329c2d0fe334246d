// Files that appear under their final name only when they are whole.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace forge {

// Throws Error where no file can be written as PATH: it is a directory or a device, or its folder is missing or not to
// be written in. For saying so before long work; OutputFile does it for itself.
void expect_writable(const std::string& path);

// In the names of files that an OutputFile writes, or wrote until its process was killed.
inline constexpr std::string_view kTemporaryInfix = ".tmp-";

// Writes PATH.tmp-<pid>-<n> beside PATH and renames it to PATH by commit(); what exists at PATH stays
// untouched until then. Every error is an Error that names PATH and the cause; the temporary file is gone
// then.
class OutputFile {
 public:
  // Refuses what expect_writable refuses.
  explicit OutputFile(std::string path);
  // Removes the temporary file when commit() has not succeeded.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Appends. Unbuffered: callers gather small pieces.
  void write(std::span<const uint8_t> bytes);
  // Appends n zero bytes.
  void write_zeros(uint64_t n);
  // Replaces bytes written before, all below size(): for headers that depend on what follows them.
  void overwrite(uint64_t offset, std::span<const uint8_t> bytes);
  // Bytes written so far.
  uint64_t size() const { return size_; }
  // fsyncs, sets the permission bits (0644, 0755; what the umask takes away stays away) and renames. Once
  // only.
  void commit(mode_t mode);
  // Where the bytes are until commit().
  const std::string& temporary_path() const { return temporary_; }

 private:
  // Closes and removes the temporary file.
  void discard() noexcept;
  // Discards and throws, with errno's text as the cause.
  [[noreturn]] void fail_with_errno(const char* action);

  std::string path_, temporary_;
  int fd_ = -1;
  int slot_ = -1;  // in the list of files to remove on a signal
  mode_t allowed_ = 0;
  uint64_t size_ = 0;
};

// From here on SIGINT, SIGTERM and SIGHUP remove the temporary files of all OutputFiles before they end the
// process as they would have; a signal that is ignored stays ignored. For main(): the library never calls it.
void install_interrupt_cleanup();
// Called by that cleanup as well, in the signal handler: async-signal-safe functions only. One hook; null
// removes it.
void set_interrupt_hook(void (*hook)());

}  // namespace forge
