#include <openssl/evp.h>

#include <memory>

#include "core/error.h"
#include "formats/checkpoint.h"

namespace forge {

std::string source_sha256(const Checkpoint& checkpoint) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  bool good = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  for (const auto file : checkpoint.files) {
    good = good && EVP_DigestUpdate(context.get(), file.data(), file.size()) == 1;
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  good = good && EVP_DigestFinal_ex(context.get(), digest, &length) == 1;
  if (!good) fail("{}: can't be hashed: libcrypto's SHA-256 failed", checkpoint.path);
  std::string hex;
  for (unsigned i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace forge
