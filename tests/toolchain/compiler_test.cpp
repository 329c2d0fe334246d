#include "toolchain/compiler.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/output_file.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/scoped_variable.h"
#include "toolchain/process.h"

namespace forge {
namespace {

const ForgeFiles kFiles = {.include_directory = TEST_INCLUDE, .runtime_archive = TEST_RUNTIME};

// A generated program in miniature.
Sources sources(const std::string& vocab) {
  return {{"shape.h", "inline constexpr unsigned kVocab = " + vocab + ";\n"},
          {"model.cpp", R"(#include "runtime/core/step.h"
#include "shape.h"
static const char* missing_cpu_feature() { return nullptr; }
static void step(const forge::rt::ModelCode*, const forge::rt::StepArgs* args, uint32_t) {
  for (uint32_t i = 0; i < args->n_rows; ++i) args->logits[i] = 0;
}
extern "C" const forge::rt::ModelCode forge_model_code = {
    .abi = forge::rt::kModelCodeAbi, .n_vocab = kVocab, .level = "the test's level",
    .missing_cpu_feature = missing_cpu_feature, .step = step};
)"}};
}

class CompilerTest : public testing::Test {
 protected:
  LinkedProgram build(const Sources& from) const {
    return build_program(compiler_, kFiles, from, cpu_target(cpu_levels()[0]), cache_);
  }

  TemporaryDirectory directory_;
  Cache cache_ = Cache(directory_.path(), 1'000'000'000);
  Compiler compiler_ = find_compiler();
};

TEST_F(CompilerTest, ProgramIsStaticSmallAndRuns) {
  const LinkedProgram program = build(sources("49152"));
  EXPECT_FALSE(program.cached);
  EXPECT_LT(program.bytes.size(), 3'000'000u);
  const std::string path = directory_.file("program");
  OutputFile file(path);
  file.write(program.bytes);
  file.commit(0755);
  EXPECT_EQ(run_process({path}, "/").output, "49152 tokens at the test's level\n");
  const std::string readelf = find_on_path("llvm-readelf-19");
  if (readelf.empty())
    GTEST_SKIP() << "llvm-readelf-19 is missing: static linking is not checked (package llvm-19)";
  const std::string headers = run_process({readelf, "--program-headers", path}, "/").output;
  EXPECT_NE(headers.find("LOAD"), std::string::npos);
  EXPECT_EQ(headers.find("INTERP"), std::string::npos) << headers;
}

TEST_F(CompilerTest, CacheIsAskedForAllThatShapesTheProgram) {
  const LinkedProgram first = build(sources("1"));
  const LinkedProgram again = build(sources("1"));
  EXPECT_TRUE(again.cached);
  EXPECT_EQ(first.bytes, again.bytes);
  EXPECT_FALSE(build(sources("2")).cached);
  EXPECT_FALSE(build_program(compiler_, kFiles, sources("1"), cpu_target(cpu_levels()[2]), cache_).cached);
  Compiler other = compiler_;
  other.identity += "x";
  EXPECT_FALSE(build_program(other, kFiles, sources("1"), cpu_target(cpu_levels()[0]), cache_).cached);
}

TEST_F(CompilerTest, ForgeFilesCountByTheirContent) {
  const auto copy = [&](const std::string& name) {
    const std::string to = directory_.file(name);
    std::filesystem::create_directories(to + "/runtime/core");
    std::filesystem::copy_file(TEST_INCLUDE "/runtime/core/step.h", to + "/runtime/core/step.h");
    std::filesystem::copy_file(TEST_RUNTIME, directory_.file(name + ".a"));
    return ForgeFiles{.include_directory = to, .runtime_archive = directory_.file(name + ".a")};
  };
  const ForgeFiles one = copy("one"), two = copy("two");
  EXPECT_EQ(forge_files_hash(one), forge_files_hash(two));
  std::ofstream(one.include_directory + "/runtime/core/step.h", std::ios::app) << "\n";
  EXPECT_NE(forge_files_hash(one), forge_files_hash(two));
  std::ofstream(two.include_directory + "/runtime/core/step.h", std::ios::app) << "\n";
  EXPECT_EQ(forge_files_hash(one), forge_files_hash(two));
  std::ofstream(two.runtime_archive, std::ios::app) << "\n";
  EXPECT_NE(forge_files_hash(one), forge_files_hash(two));
  ForgeFiles with_tls = one;
  with_tls.tls_archive = one.runtime_archive;
  EXPECT_NE(forge_files_hash(one), forge_files_hash(with_tls));
}

TEST_F(CompilerTest, SameInputsGiveTheSameBytes) {
  const Cache no_cache("", 0);
  const LinkedProgram one =
      build_program(compiler_, kFiles, sources("7"), cpu_target(cpu_levels()[0]), no_cache);
  const ScopedVariable elsewhere("TMPDIR", directory_.path());
  const LinkedProgram two =
      build_program(compiler_, kFiles, sources("7"), cpu_target(cpu_levels()[0]), no_cache);
  EXPECT_FALSE(two.cached);
  EXPECT_EQ(one.bytes, two.bytes);
}

TEST_F(CompilerTest, EveryLevelsFlagsAreKnownToTheCompiler) {
  for (const CpuLevel& level : cpu_levels()) {
    const std::string object = directory_.file("model.o");
    EXPECT_EQ(message_of([&] { compile_object(compiler_, kFiles, sources("1"), level, object); }), "no error")
        << level.name;
  }
}

TEST_F(CompilerTest, ErrorsOfTheCompilerAreOneLine) {
  const std::string message = message_of([&] { (void)build(sources("oops")); });
  EXPECT_EQ(
      message,
      "compiling the generated code failed: ./shape.h:1:36: error: use of undeclared identifier 'oops'");
  Sources no_code = sources("1");
  no_code["model.cpp"] = "";
  const std::string linking = message_of([&] { (void)build(no_code); });
  EXPECT_EQ(linking.substr(0, linking.find(':')), "linking the program failed");
  EXPECT_NE(linking.find("undefined symbol: forge_model_code"), std::string::npos) << linking;
  EXPECT_EQ(linking.find('\n'), std::string::npos);
}

TEST_F(CompilerTest, WithoutClangOneLineSaysWhatToInstall) {
  const ScopedVariable path("PATH", directory_.path());
  EXPECT_EQ(message_of([] { (void)find_compiler(); }),
            "no clang 19 found to compile with; install it: apt-get install clang-19 lld-19");
}

TEST_F(CompilerTest, ChosenClang) {
  const std::string fake = directory_.file("fake");
  std::ofstream(fake) << "#!/bin/sh\necho 'clang version 14.0.6'\n";
  std::filesystem::permissions(fake, std::filesystem::perms::owner_all);
  {
    const ScopedVariable chosen("FORGE_CLANG", fake);
    EXPECT_EQ(message_of([] { (void)find_compiler(); }), "FORGE_CLANG=" + fake + ": not a clang 19 or newer");
  }
  {
    const ScopedVariable chosen("FORGE_CLANG", "no-such-clang");
    EXPECT_EQ(message_of([] { (void)find_compiler(); }), "FORGE_CLANG=no-such-clang: no such program");
  }
  {
    const ScopedVariable chosen("FORGE_CLANG", compiler_.clang);
    EXPECT_EQ(find_compiler().identity, compiler_.identity);
  }
}

TEST_F(CompilerTest, ForgeFilesThatAreMissingAreNamed) {
  const ScopedVariable home("FORGE_HOME", directory_.path());
  EXPECT_EQ(message_of([] { (void)find_forge_files(); }),
            directory_.path() +
                "/share/forge/include: not found; forge's own files lie beside it as it was "
                "installed, or under FORGE_HOME");
}

}  // namespace
}  // namespace forge
