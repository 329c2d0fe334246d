#include "core/sha256.h"
#include "formats/checkpoint.h"

namespace forge {

std::string source_sha256(const Checkpoint& checkpoint) {
  Sha256 sha;
  for (const auto file : checkpoint.files) sha.add(file.data(), file.size());
  return to_hex(sha.digest());
}

}  // namespace forge
