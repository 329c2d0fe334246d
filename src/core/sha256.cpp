#include "core/sha256.h"

#include <openssl/evp.h>

#include "core/error.h"

namespace forge {
namespace {

EVP_MD_CTX* evp(void* context) { return static_cast<EVP_MD_CTX*>(context); }

void check(bool good) {
  if (!good) fail("libcrypto's SHA-256 failed");
}

}  // namespace

void Sha256::Free::operator()(void* context) const { EVP_MD_CTX_free(evp(context)); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  check(context_ != nullptr && EVP_DigestInit_ex(evp(context_.get()), EVP_sha256(), nullptr) == 1);
}

void Sha256::add(const void* data, size_t bytes) {
  check(EVP_DigestUpdate(evp(context_.get()), data, bytes) == 1);
}

Sha256::Digest Sha256::digest() {
  Digest out = {};
  check(EVP_DigestFinal_ex(evp(context_.get()), out.data(), nullptr) == 1);
  return out;
}

std::string to_hex(const Sha256::Digest& digest) {
  std::string hex;
  for (const uint8_t byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace forge
