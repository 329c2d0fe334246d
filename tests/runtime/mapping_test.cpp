#include "runtime/host/mapping.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

namespace forge::rt {
namespace {

// Bytes in memory of the pages that this process has mapped at `address`.
uint64_t resident_bytes(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  bool found = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find('-') != std::string::npos && line.find(' ') > line.find('-'))
      found = std::strtoull(line.c_str(), nullptr, 16) == reinterpret_cast<uintptr_t>(address);
    else if (found && line.starts_with("Rss:"))
      return std::strtoull(line.c_str() + 4, nullptr, 10) * 1024;
  }
  return 0;
}

TEST(Mapping, LetsGoOfWholePagesThatAreThereWhenReadAgain) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::string name = testing::TempDir() + "mapping_XXXXXX";
  const int fd = mkstemp(name.data());
  ASSERT_GE(fd, 0);
  std::string content(64 * page, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i / page + i);
  ASSERT_EQ(write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
  close(fd);
  const auto file = Mapping::file(name);
  unlink(name.c_str());
  ASSERT_TRUE(file) << file.error().message;
  const auto bytes = file->bytes();
  const auto is_whole = [&] {
    return std::equal(bytes.begin(), bytes.end(), content.begin(), content.end(),
                      [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); });
  };
  ASSERT_TRUE(is_whole());
  EXPECT_EQ(resident_bytes(bytes.data()), 64 * page);
  // The pages at both ends are not the part's alone.
  file->let_go(bytes.subspan(page + 1, 40 * page));
  EXPECT_EQ(resident_bytes(bytes.data()), (64 - 39) * page);
  file->let_go(bytes.subspan(7, page - 8));
  file->let_go({});
  EXPECT_EQ(resident_bytes(bytes.data()), (64 - 39) * page);
  EXPECT_TRUE(is_whole());
}

}  // namespace
}  // namespace forge::rt
