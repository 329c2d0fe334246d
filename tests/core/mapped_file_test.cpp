#include "core/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"

namespace forge {
namespace {

TEST(MappedFile, HoldsTheFilesBytes) {
  const TemporaryDirectory directory;
  const std::vector<uint8_t> bytes = {1, 2, 3, 0, 255};
  write_file(directory.file("a"), bytes);
  const MappedFile file(directory.file("a"));
  EXPECT_TRUE(std::ranges::equal(file.bytes(), bytes));
  EXPECT_EQ(file.path(), directory.file("a"));
}

TEST(MappedFile, Moves) {
  const TemporaryDirectory directory;
  write_file(directory.file("a"), std::vector<uint8_t>{1, 2, 3});
  write_file(directory.file("b"), std::vector<uint8_t>{9});
  MappedFile a(directory.file("a"));
  MappedFile b(std::move(a));
  EXPECT_EQ(b.bytes().size(), 3u);
  b = MappedFile(directory.file("b"));
  EXPECT_EQ(b.bytes()[0], 9);
  EXPECT_EQ(b.path(), directory.file("b"));
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const TemporaryDirectory directory;
  const std::string absent = directory.file("absent"), empty = directory.file("empty"),
                    pipe = directory.file("pipe");
  expect_error([&] { const MappedFile file(absent); }, {absent + ": can't be opened", "No such file"});
  write_file(empty, {});
  expect_error([&] { const MappedFile file(empty); }, {empty + ": the file is empty"});
  expect_error([&] { const MappedFile file(directory.file("")); }, {"is a directory"});
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_error([&] { const MappedFile file(pipe); },
               {pipe, "is a device or pipe"});  // and does not wait for a writer
}

}  // namespace
}  // namespace forge
