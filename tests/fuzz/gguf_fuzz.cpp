// Any bytes as a GGUF file: an Error of one line, or a checkpoint whose tensors can all be decoded and whose
// metadata survives encoding.
#include <vector>

#include "formats/checkpoint.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

using forge::fuzz::require;

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
  forge::fuzz::expect_error_or_success([&] { use(forge::read_gguf(forge::fuzz::as_file({data, size}))); });
  return 0;
}
