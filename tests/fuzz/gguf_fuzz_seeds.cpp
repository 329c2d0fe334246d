// gguf_fuzz_seeds DIRECTORY: small GGUF files for gguf_fuzz to start from.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/formats/gguf_bytes.h"

namespace {

std::vector<forge::GgufSpec> seeds() {
  using forge::GgufSpec;
  std::vector<GgufSpec> out = {GgufSpec{}, forge::sample_gguf()};
  GgufSpec version_2 = forge::sample_gguf();
  version_2.version = 2;
  out.push_back(version_2);
  GgufSpec aligned = forge::sample_gguf();
  aligned.alignment = 64;
  aligned.meta.set("general.alignment", forge::meta_u32(64));
  out.push_back(aligned);
  for (const forge::DTypeInfo& type : forge::all_dtypes()) {
    GgufSpec one;
    one.tensors = {{"t", {type.block_weights, 2}, static_cast<uint32_t>(type.type), 0}};
    one.data_bytes = 2u * type.block_bytes;
    out.push_back(one);
  }
  const forge::Metadata meta = forge::sample_gguf().meta;
  for (const auto& [key, value] : meta.entries()) {
    GgufSpec one;
    one.meta.set(key, value);
    out.push_back(one);
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: gguf_fuzz_seeds DIRECTORY\n", stderr);
    return 2;
  }
  std::filesystem::create_directories(argv[1]);
  int n = 0;
  for (const forge::GgufSpec& spec : seeds()) {
    const std::vector<uint8_t> bytes = forge::gguf_bytes(spec);
    std::ofstream out(std::filesystem::path(argv[1]) / fmt::format("seed-{}.gguf", n++), std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) {
      std::perror(argv[1]);
      return 1;
    }
  }
  return 0;
}
