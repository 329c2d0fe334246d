// Any bytes as a safetensors file, and as an index: an Error of one line, or tensors whose bytes all lie in the file.
#include "formats/safetensors.h"

#include "core/error.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

void use(const forge::SafeTensors& file) {
  for (const forge::SafeTensor& t : file.tensors) {
    size_t bytes = 1;
    for (const int64_t n : t.shape) bytes *= static_cast<size_t>(n);
    if (t.type) forge::fuzz::require(t.data.size() == bytes * forge::info(*t.type).block_bytes);
    size_t sum = 0;
    for (const uint8_t byte : t.data) sum += byte;
    forge::fuzz::require(sum <= t.data.size() * 255);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string path = forge::fuzz::as_file({data, size});
  forge::fuzz::expect_error_or_success([&] { use(forge::read_safetensors(path)); });
  forge::fuzz::expect_error_or_success([&] { use(forge::read_safetensors_index(path)); });
  return 0;
}
