// Any bytes as an importance matrix: an Error of one line, or importances that an encoder can weigh errors by.
#include <algorithm>
#include <cmath>

#include "quantize/importances.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

using forge::fuzz::require;

void use(const forge::Importances& importances) {
  require(!importances.of_tensor.empty());
  for (const auto& [name, values] : importances.of_tensor) {
    require(importances.find(name, values.size()).size() == values.size());
    for (const float w : forge::encoder_weights(values)) require(std::isfinite(w) && w > 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  forge::fuzz::expect_error_or_success([&] { use(forge::read_imatrix(forge::fuzz::as_file({data, size}))); });
  return 0;
}
