#include "core/output_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"

namespace forge {
namespace {

const std::vector<uint8_t> kBytes = {'s', 't', 'o', 'r', 'y'};

mode_t mode_of(const std::string& path) {
  struct stat st{};
  EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
  return st.st_mode & 0777;
}

TEST(OutputFile, AppearsWhenCommitted) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("out");
  {
    OutputFile file(path);
    file.write(kBytes);
    file.write_zeros(5000);
    EXPECT_EQ(file.size(), 5005u);
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_TRUE(file.temporary_path().starts_with(path + ".tmp-"));
    file.commit(0644);
  }
  std::vector<uint8_t> expected = kBytes;
  expected.resize(5005);
  EXPECT_EQ(read_file(path), expected);
  EXPECT_EQ(directory.names(), std::vector<std::string>{"out"});
}

TEST(OutputFile, LeavesNothingWhenNotCommitted) {
  const TemporaryDirectory directory;
  write_file(directory.file("out"), kBytes);
  {
    OutputFile file(directory.file("out"));
    file.write(std::vector<uint8_t>{1, 2});
    EXPECT_EQ(directory.names().size(), 2u);
  }
  EXPECT_EQ(directory.names(), std::vector<std::string>{"out"});
  EXPECT_EQ(read_file(directory.file("out")), kBytes);
}

TEST(OutputFile, ReplacesWhatWasThere) {
  const TemporaryDirectory directory;
  write_file(directory.file("out"), std::vector<uint8_t>(100, 7));
  OutputFile file(directory.file("out"));
  file.write(kBytes);
  file.commit(0644);
  EXPECT_EQ(read_file(directory.file("out")), kBytes);
}

TEST(OutputFile, TwoOfOneNameDontMeet) {
  const TemporaryDirectory directory;
  OutputFile a(directory.file("out")), b(directory.file("out"));
  EXPECT_NE(a.temporary_path(), b.temporary_path());
}

TEST(OutputFile, KeepsToTheUmask) {
  const TemporaryDirectory directory;
  const mode_t before = ::umask(027);
  OutputFile program(directory.file("program")), text(directory.file("text"));
  program.commit(0755);
  text.commit(0644);
  ::umask(before);
  EXPECT_EQ(mode_of(directory.file("program")), 0750u);
  EXPECT_EQ(mode_of(directory.file("text")), 0640u);
}

TEST(OutputFile, RefusesPathsThatCannotBeWritten) {
  const TemporaryDirectory directory;
  const std::string no_directory = directory.file("absent/out");
  expect_error([&] { const OutputFile file(no_directory); },
               {no_directory + ": can't be written: there is no folder"});
  expect_error([&] { const OutputFile file(directory.file("")); }, {"is a directory"});
  expect_error([] { const OutputFile file("/dev/full"); }, {"/dev/full: can't be written: is a device"});
  EXPECT_TRUE(directory.names().empty());
}

// A limit of the file's size stands in for a full disk: write() fails the same way, after some bytes went
// through.
[[noreturn]] void run_out_of_space(const std::string& path) {
  const rlimit limit{.rlim_cur = 10000, .rlim_max = 10000};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0 || ::signal(SIGXFSZ, SIG_IGN) == SIG_ERR) ::_exit(3);
  try {
    OutputFile file(path);
    file.write_zeros(8000);
    file.write_zeros(8000);
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    ::_exit(error.status);
  }
  ::_exit(4);
}

TEST(OutputFileDeathTest, FullDiskIsAnErrorThatLeavesNothing) {
  const TemporaryDirectory directory;
  EXPECT_EXIT(run_out_of_space(directory.file("out")), testing::ExitedWithCode(1),
              "out: can't be written: File too large");
  EXPECT_TRUE(directory.names().empty());
}

[[noreturn]] void be_interrupted(const std::string& path, int signal) {
  install_interrupt_cleanup();
  OutputFile done(path + "-done"), file(path);
  done.commit(0644);
  file.write(kBytes);
  if (!std::filesystem::exists(file.temporary_path())) ::_exit(3);
  ::raise(signal);
  ::_exit(4);
}

TEST(OutputFileDeathTest, SignalsRemoveTheTemporaryFile) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const TemporaryDirectory directory;
    EXPECT_EXIT(be_interrupted(directory.file("out"), signal), testing::KilledBySignal(signal), "");
    EXPECT_EQ(directory.names(), std::vector<std::string>{"out-done"}) << "signal " << signal;
  }
}

[[noreturn]] void ignore_hangup(const std::string& path) {
  ::signal(SIGHUP, SIG_IGN);
  install_interrupt_cleanup();
  OutputFile file(path);
  ::raise(SIGHUP);
  file.commit(0644);
  ::_exit(0);
}

TEST(OutputFileDeathTest, IgnoredSignalsStayIgnored) {
  const TemporaryDirectory directory;
  EXPECT_EXIT(ignore_hangup(directory.file("out")), testing::ExitedWithCode(0), "");
  EXPECT_EQ(directory.names(), std::vector<std::string>{"out"});
}

}  // namespace
}  // namespace forge
