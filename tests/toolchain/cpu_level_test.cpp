#include "toolchain/cpu_level.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "core/error.h"

namespace forge {
namespace {

TEST(CpuLevel, NamesThatTheCommandLineTakes) {
  std::vector<std::string_view> names;
  for (const CpuLevel& level : cpu_levels()) {
    names.push_back(level.name);
    EXPECT_EQ(&cpu_level(level.name), &level);
  }
  EXPECT_EQ(names, (std::vector<std::string_view>{"x86-64", "x86-64-v3", "x86-64-v3+avxvnni", "x86-64-v4",
                                                  "x86-64-v4+vnni", "sapphirerapids", "armv8-a",
                                                  "armv8.2-a+dotprod", "apple-m1", "armv8.6-a+i8mm"}));
}

TEST(CpuLevel, UnknownNameListsTheKnownOnes) {
  try {
    (void)cpu_level("pentium");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.status, 2);
    EXPECT_EQ(std::string(e.what()),
              "--cpu pentium: no such level; known are native, portable, x86-64, x86-64-v3, "
              "x86-64-v3+avxvnni, x86-64-v4, "
              "x86-64-v4+vnni, sapphirerapids, armv8-a, armv8.2-a+dotprod, apple-m1, armv8.6-a+i8mm");
  }
}

TEST(CpuLevel, PortableHasALevelForEachOfTheKernels) {
  const CpuTarget target = cpu_target("portable");
  std::vector<std::string_view> levels, kernels;
  for (const CpuLevel* level : target.levels) {
    levels.push_back(level->name);
    kernels.push_back(level->kernel_level);
  }
  EXPECT_EQ(levels, (std::vector<std::string_view>{"sapphirerapids", "x86-64-v4+vnni", "x86-64-v4",
                                                   "x86-64-v3+avxvnni", "x86-64-v3", "x86-64"}));
  for (const CpuLevel& level : cpu_levels())
    EXPECT_EQ(std::ranges::count(kernels, level.kernel_level), level.triple == kHostTriple ? 1 : 0)
        << level.name;
  EXPECT_EQ(target.source(0), "model.cpp");
  EXPECT_EQ(target.source(4), "model.x86-64-v3.cpp");
  EXPECT_EQ(cpu_target("x86-64-v4").levels, std::vector<const CpuLevel*>{&cpu_level("x86-64-v4")});
}

TEST(CpuLevel, ATripleIsTheLevelsOrChoosesAmongAll) {
  EXPECT_EQ(cpu_target("armv8-a").triple(), kArmTriple);
  EXPECT_EQ(cpu_target("portable", kArmTriple).levels,
            (std::vector<const CpuLevel*>{&cpu_level("armv8.6-a+i8mm"), &cpu_level("armv8.2-a+dotprod"),
                                          &cpu_level("armv8-a")}));
  const std::string_view foreign = kHostTriple == kArmTriple ? kX86Triple : kArmTriple;
  EXPECT_EQ(cpu_target("native", foreign).name, "portable");
  const auto message = [](std::string_view name, std::string_view triple) {
    try {
      (void)cpu_target(name, triple);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message("x86-64-v3", kArmTriple),
            "--cpu x86-64-v3: a level of x86_64-linux-gnu, not of aarch64-linux-gnu");
  EXPECT_EQ(message("native", "riscv64-linux-gnu"),
            "--triple riscv64-linux-gnu: not known; there are x86_64-linux-gnu and aarch64-linux-gnu");
}

TEST(CpuLevel, FlagsAreExplicitAndOneAFeature) {
  EXPECT_EQ(cpu_level("armv8.2-a+dotprod").flags(),
            (std::vector<std::string>{"--target=aarch64-linux-gnu", "-march=armv8.2-a+dotprod"}));
  EXPECT_EQ(cpu_level("apple-m1").flags(),
            (std::vector<std::string>{"--target=aarch64-linux-gnu", "-mcpu=apple-m1"}));
  for (const CpuLevel& level : cpu_levels()) {
    if (level.triple != kX86Triple) continue;
    const std::vector<std::string> flags = level.flags();
    EXPECT_EQ(flags.size(), level.features.size());
    EXPECT_EQ(std::set(flags.begin(), flags.end()).size(), flags.size());
    for (const std::string& flag : flags) EXPECT_EQ(flag.find("-march"), std::string::npos);
  }
  const std::vector<std::string> vnni = cpu_level("x86-64-v4+vnni").flags();
  for (const char* flag : {"-mavx2", "-mfma", "-mf16c", "-mbmi2", "-mlzcnt", "-mavx512vl", "-mavx512vnni"}) {
    EXPECT_EQ(std::count(vnni.begin(), vnni.end(), flag), 1) << flag;
  }
}

// The kernel reports the features that it also enabled the register state for; spellings differ for some.
TEST(CpuLevel, ProbeAgreesWithTheKernel) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::set<std::string> kernel;
  for (std::string line; std::getline(cpuinfo, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) kernel.insert(word);
    break;
  }
  if (kernel.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo to compare with";
  const auto kernel_name = [](std::string_view name) -> std::string {
    if (name == "sse3") return "pni";
    if (name == "sse4.1") return "sse4_1";
    if (name == "sse4.2") return "sse4_2";
    if (name == "bmi") return "bmi1";
    if (name == "lzcnt") return "abm";
    if (name == "avxvnni") return "avx_vnni";
    if (name == "avx512vnni") return "avx512_vnni";
    if (name == "avx512bf16") return "avx512_bf16";
    if (name == "avx512fp16") return "avx512_fp16";
    if (name.starts_with("amx-")) return "amx_" + std::string(name.substr(4));
    return std::string(name);
  };
  for (const CpuLevel& level : cpu_levels()) {
    if (level.triple != kHostTriple) continue;
    const auto missing = std::find_if(level.features.begin(), level.features.end(), [&](const CpuFeature& f) {
      return !kernel.contains(kernel_name(f.name));
    });
    EXPECT_EQ(missing_feature(level), missing == level.features.end() ? "" : missing->name) << level.name;
  }
}

TEST(CpuLevel, NativeIsTheHighestThatRuns) {
  const CpuLevel& native = cpu_level("native");
  EXPECT_EQ(missing_feature(native), "");
  for (const CpuLevel* higher = &native + 1; higher != cpu_levels().data() + cpu_levels().size(); ++higher) {
    EXPECT_NE(missing_feature(*higher), "") << higher->name;
  }
}

}  // namespace
}  // namespace forge
