// Any bytes as a hub's listing of a repository: an Error of one line, or files whose names stay below its folder.
#include <filesystem>

#include "download/hub_cache.h"
#include "download/hub_listing.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace forge;
  fuzz::expect_error_or_success([&] {
    const HubListing listing = parse_hub_listing({reinterpret_cast<const char*>(data), size}, "hf:org/name");
    for (const char* spec : {"", "Q8_0", "safetensors", "m.gguf"}) {
      fuzz::expect_error_or_success([&] {
        for (const HubFile& file : choose_model(listing, "hf:org/name", spec)) {
          const std::filesystem::path path = std::filesystem::path(file.path).lexically_normal();
          fuzz::require(is_safe_path(file.path) && path.is_relative() && *path.begin() != "..");
          fuzz::require(file.blob.empty() || is_safe_path(file.blob));
        }
      });
    }
  });
  return 0;
}
