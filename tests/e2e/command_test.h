// Commands run as a user's shell runs them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include "tests/core/temporary_directory.h"
#include "toolchain/process.h"

namespace forge {

// Each test has an empty directory; all tests of a suite share a model and a code cache.
class CommandTest : public testing::Test {
 protected:
  // For SetUpTestSuite: a cache of its own, and no settings from outside.
  static void set_up_commands() {
    cache_ = std::make_unique<TemporaryDirectory>();
    ::setenv("FORGE_CACHE_DIR", cache_->file("cache").c_str(), 1);
    for (const char* name :
         {"FORGE_CTX", "FORGE_CPU", "FORGE_LEVEL", "FORGE_CLANG", "FORGE_HOME", "FORGE_CACHE_MAX"})
      ::unsetenv(name);
  }
  static void TearDownTestSuite() { cache_.reset(); }

  // A shell command in the test's directory, where $forge and $model are forge and the model.
  ProcessResult shell(const std::string& script) const {
    return run_process({"/bin/sh", "-c", "forge=" FORGE_BINARY " model=" + model_ + "\n" + script},
                       directory_.path());
  }
  // Its standard output; it must succeed.
  std::string output(const std::string& script) const {
    const ProcessResult result = shell("{ " + script + "; } 2>stderr.txt");
    EXPECT_EQ(result.status, 0) << script << "\n" << shell("cat stderr.txt").output;
    return result.output;
  }
  // It must fail with that status and one line.
  std::string error(const std::string& script, int status) const {
    const ProcessResult result = shell(script);
    EXPECT_EQ(result.status, status) << script << "\n" << result.output;
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1) << result.output;
    return result.output.substr(0, result.output.find('\n'));
  }
  std::string file(const std::string& name) const { return directory_.file(name); }

  inline static std::unique_ptr<TemporaryDirectory> cache_;
  inline static std::string model_;
  TemporaryDirectory directory_;
};

}  // namespace forge
