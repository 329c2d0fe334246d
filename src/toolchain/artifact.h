// Writes payloads and the artifacts that carry them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/payload.h"

namespace forge {

// One packed tensor of the payload. pack() writes exactly `bytes` bytes; it is called once, in order of
// offset, so that a payload is written without ever holding all of it in memory.
struct PackedTensor {
  std::string name, type, layout;
  uint64_t rows = 0, cols = 0;
  uint64_t offset = 0;  // in the weights section, a multiple of 256
  uint64_t bytes = 0;
  std::function<void(std::span<uint8_t> out)> pack;
};

struct PayloadInput {
  uint64_t plan_hash = 0;
  std::map<std::string, std::string, std::less<>> manifest;
  std::vector<uint8_t> tokenizer, source_kv;
  std::string chat_template;
  std::vector<uint8_t> prompt;   // a KvImage (runtime/core/kv_image.h), or empty
  std::vector<uint8_t> answers;  // a grammar's masks (runtime/core/mask_image.h), or empty
  uint64_t weights_bytes = 0;
  std::vector<PackedTensor> tensors;  // ascending offsets
};

// done, total in bytes; may be null.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

// Writes `exe_bytes` (a linked program), padding to a page, the payload and the trailer to `path`, mode 0755.
// Appears under its name only when whole (written beside it under a temporary name, fsynced, renamed; the
// temporary file is removed on every failure and on SIGINT/SIGTERM). Verifies what it wrote. Throws Error.
void write_executable(const std::string& path, std::span<const uint8_t> exe_bytes,
                      const PayloadInput& payload, const Progress& progress);
// The payload alone (--weights separate; the program then looks for it beside itself).
void write_payload(const std::string& path, const PayloadInput& payload, const Progress& progress);
// The payload in memory, without weights when with_weights is false: what `--interpret` and tests use.
std::vector<uint8_t> build_payload(const PayloadInput& payload, bool with_weights);

}  // namespace forge
