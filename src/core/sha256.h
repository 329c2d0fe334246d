// SHA-256, by libcrypto.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace forge {

class Sha256 {
 public:
  using Digest = std::array<uint8_t, 32>;

  // Throws Error when libcrypto has no SHA-256, as the other functions do when it fails.
  Sha256();
  void add(const void* data, size_t bytes);
  // Of all that was added; once only.
  Digest digest();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

// In lower-case hex.
std::string to_hex(const Sha256::Digest& digest);

}  // namespace forge
