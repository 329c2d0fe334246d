// Any bytes as a GGUF file: an Error of one line, or a checkpoint whose tensors can all be decoded and whose
// metadata survives encoding.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "formats/checkpoint.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// The bytes under a name that read_gguf can open, without a disk.
std::string as_file(std::span<const uint8_t> bytes) {
  static const int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  require(fd >= 0 && ::ftruncate(fd, 0) == 0);
  require(::pwrite(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return fmt::format("/proc/self/fd/{}", fd);
}

void use(const forge::Checkpoint& checkpoint) {
  for (const forge::Tensor& tensor : checkpoint.tensors) {
    const forge::DTypeInfo& type = forge::info(tensor.type);
    const auto weights = static_cast<size_t>(tensor.rows() * tensor.cols());
    require(tensor.data.size() == forge::row_bytes(tensor.type, weights));
    std::vector<float> decoded(weights);
    type.decode(tensor.data.data(), decoded.data(), weights);
  }
  // Once, since reading makes signalling NaNs quiet.
  const std::vector<uint8_t> encoded = forge::encode_metadata(checkpoint.meta);
  require(forge::encode_metadata(forge::decode_metadata(encoded)) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    use(forge::read_gguf(as_file({data, size})));
  } catch (const forge::Error& error) {
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
