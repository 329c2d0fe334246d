// bench_tokenizer FILE TEXT: MB/s of one core with which FILE's tokenizer (GGUF or tokenizer.json) encodes and
// decodes TEXT, best of five by processor time; the text is repeated to at least 4 MB.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/tokenizer.h"

namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) forge::fail("{}: can't be opened", path);
  return {std::istreambuf_iterator<char>(in), {}};
}

forge::Metadata read_metadata(const std::string& path) {
  if (!path.ends_with(".json")) return forge::read_gguf(path).meta;
  const std::string text = read_file(path);
  forge::Metadata meta;
  forge::read_tokenizer_json(
      path, forge::parse_json(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}), meta);
  return meta;
}

template <class Work>
double best_seconds(Work work) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const std::clock_t start = std::clock();
    work();
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

void run(const std::string& file, const std::string& text_file) {
  const std::vector<uint8_t> tables = forge::build_tokenizer_tables(read_metadata(file));
  const auto tokenizer = forge::rt::Tokenizer::open(tables);
  if (!tokenizer) forge::fail("{}", tokenizer.error().message);
  const std::string once = read_file(text_file);
  if (once.empty()) forge::fail("{}: is empty", text_file);
  std::string text;
  constexpr size_t kLeastBytes = 4'000'000;
  while (text.size() < kLeastBytes) text += once;
  std::vector<int32_t> ids;
  std::string decoded;
  const double encode = best_seconds([&] { ids = tokenizer->encode(text); });
  const double decode = best_seconds([&] { decoded = tokenizer->decode(ids); });
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::printf("%s: encode %.1f MB/s, decode %.1f MB/s, %zu tokens of %zu bytes\n", file.c_str(),
              megabytes / encode, megabytes / decode, ids.size(), text.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_tokenizer FILE.gguf|tokenizer.json TEXT\n", stderr);
    return 2;
  }
  try {
    run(argv[1], argv[2]);
  } catch (const forge::Error& error) {
    std::fprintf(stderr, "bench_tokenizer: %s\n", error.what());
    return 1;
  }
  return 0;
}
