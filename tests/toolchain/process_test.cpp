#include "toolchain/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "core/output_file.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/scoped_variable.h"

namespace forge {
namespace {

ProcessResult shell(const std::string& script, const std::string& directory = "/") {
  return run_process({"/bin/sh", "-c", script}, directory);
}

TEST(Process, OutputAndStatus) {
  const ProcessResult result = shell("echo out; echo err >&2; exit 7");
  EXPECT_EQ(result.output, "out\nerr\n");
  EXPECT_EQ(result.status, 7);
  EXPECT_EQ(shell("kill -9 $$").status, 128 + 9);
}

TEST(Process, RunsInItsDirectoryWithAnEmptyStdin) {
  const TemporaryDirectory directory;
  EXPECT_EQ(shell("pwd; echo $TMPDIR; cat", directory.path()).output,
            directory.path() + "\n" + directory.path() + "\n");
}

TEST(Process, ArgumentsAreNotSplitOrExpanded) {
  EXPECT_EQ(run_process({"/bin/echo", "a b", "$HOME", "`id`"}, "/").output, "a b $HOME `id`\n");
}

TEST(Process, MuchOutput) { EXPECT_EQ(shell("yes | head -c 1000000").output.size(), 1'000'000u); }

TEST(Process, ProgramThatIsNotThere) {
  try {
    (void)run_process({"/no/such/program"}, "/");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "/no/such/program: can't be started: No such file or directory");
  }
}

TEST(ScratchDirectory, OfAKilledProcessIsRemovedByTheNext) {
  const TemporaryDirectory parent;
  const ScopedVariable temporary("TMPDIR", parent.path());
  const auto make = [&](const std::string& name, bool old) {
    std::filesystem::create_directory(parent.file(name));
    std::ofstream(parent.file(name + "/model.o")) << "x";
    if (name != "forge-models") std::ofstream(parent.file(name + "/.forge-scratch")) << "";
    if (old)
      std::filesystem::last_write_time(parent.file(name),
                                       std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  };
  make("forge-abc123", true);
  make("forge-young1", false);
  make("forge-locked", true);
  make("forge-of-others", true);
  make("forge-models", true);  // a user's
  std::filesystem::create_directory_symlink(parent.file("forge-of-others"), parent.file("forge-linked"));
  const int owner = ::open(parent.file("forge-locked").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::flock(owner, LOCK_SH), 0);
  std::string own;
  {
    const ScratchDirectory scratch;
    own = scratch.path();
    EXPECT_TRUE(std::filesystem::exists(own + "/.forge-scratch")) << "nobody would take it for forge's";
    const int other = ::open(own.c_str(), O_RDONLY | O_DIRECTORY);
    EXPECT_NE(::flock(other, LOCK_EX | LOCK_NB), 0) << "another process would take it for abandoned";
    ::close(other);
  }
  ::close(owner);
  EXPECT_FALSE(std::filesystem::exists(own));
  std::vector<std::string> left = parent.names();
  std::ranges::sort(left);
  EXPECT_EQ(left, (std::vector<std::string>{"forge-linked", "forge-locked", "forge-models", "forge-of-others",
                                            "forge-young1"}));
  EXPECT_TRUE(std::filesystem::exists(parent.file("forge-models/model.o")));
}

TEST(Process, FindOnPath) {
  const TemporaryDirectory directory;
  std::ofstream(directory.file("tool")) << "#!/bin/sh\n";
  std::ofstream(directory.file("data")) << "";
  std::filesystem::permissions(directory.file("tool"), std::filesystem::perms::owner_all);
  const ScopedVariable path("PATH", "/no/such:" + directory.path());
  EXPECT_EQ(find_on_path("tool"), directory.file("tool"));
  EXPECT_EQ(find_on_path("data"), "");
  EXPECT_EQ(find_on_path("absent"), "");
  EXPECT_EQ(find_on_path(directory.file("tool")), directory.file("tool"));
  EXPECT_EQ(find_on_path("./no/such"), "");
}

TEST(Process, ScratchDirectoryGoesWithItsFiles) {
  const TemporaryDirectory directory;
  const ScopedVariable parent("TMPDIR", directory.path());
  {
    const ScratchDirectory scratch;
    EXPECT_EQ(directory.names().size(), 1u);
    for (int i = 0; i < 500; ++i)
      std::ofstream(scratch.path() + "/a-file-with-a-long-name-" + std::to_string(i));
  }
  EXPECT_EQ(directory.names().size(), 0u);
}

// A signal to forge alone ends it, the compiler and what the compiler started, and removes their files.
TEST(Process, InterruptEndsChildrenAndRemovesFiles) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const TemporaryDirectory directory;
    const std::string pids = directory.file("pids");
    const pid_t forge = ::fork();
    if (forge == 0) {
      ::setenv("TMPDIR", directory.path().c_str(), 1);
      install_interrupt_cleanup();
      const ScratchDirectory scratch;
      (void)run_process({"/bin/sh", "-c", "touch a b; sleep 100 & echo $$ $! done > " + pids + "; wait"},
                        scratch.path());
      ::_exit(99);
    }
    pid_t compiler = 0, linker = 0;
    std::string done;
    for (int i = 0; i < 1000 && done.empty(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      std::ifstream(pids) >> compiler >> linker >> done;
    }
    ASSERT_EQ(done, "done");
    EXPECT_EQ(directory.names().size(), 2u);  // pids and the scratch directory
    ::kill(forge, signal);
    int status = 0;
    ASSERT_EQ(::waitpid(forge, &status, 0), forge);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    EXPECT_EQ(directory.names().size(), 1u);
    EXPECT_NE(::kill(compiler, 0), 0);
    // The grandchild is killed with its group, but who reaps it is not ours to say: a zombie counts as ended.
    std::string state;
    for (int i = 0; i < 1000; ++i) {
      std::string name;
      state.clear();
      std::ifstream("/proc/" + std::to_string(linker) + "/stat") >> name >> name >> state;
      if (state.empty() || state == "Z") break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(state.empty() || state == "Z") << state;
  }
}

}  // namespace
}  // namespace forge
