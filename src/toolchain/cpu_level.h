// Instruction-set levels that a program can be compiled for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace forge {

// One CPUID feature bit, with the register state that the operating system must have enabled for it.
// Generated programs check the same table at their start.
struct CpuFeature {
  std::string_view name;  // as clang spells it: "avx512bw"
  uint32_t leaf = 0, subleaf = 0;
  char reg = 'a';  // 'a', 'b', 'c' or 'd': the CPUID register that holds the bit
  uint32_t bit = 0;
  uint64_t xcr0 = 0;  // XCR0 bits that must all be set
};

struct CpuLevel {
  std::string_view name;          // "x86-64-v4+vnni", as --cpu takes it
  std::string_view kernel_level;  // which kernels it runs: "avx2", "avxvnni", "avx512" or "avx512vnni"
  std::vector<CpuFeature> features;

  // Compiler flags: "-mavx2" and so on, one a feature; nothing that depends on the machine forge runs on.
  std::vector<std::string> flags() const;
};

// What a program is compiled for: one level, or several of which it takes the highest that the processor has.
struct CpuTarget {
  std::string name;                     // of the level, or "portable"
  std::vector<const CpuLevel*> levels;  // from the highest to the lowest, at least one

  // The file of generated source that is compiled for levels[i]: "model.cpp", "model.x86-64-v3.cpp".
  std::string source(size_t i) const;
};

// From the lowest to the highest.
std::span<const CpuLevel> cpu_levels();
// The level of that name, or native_cpu_level() for "native". Throws a usage Error that lists the known
// names.
const CpuLevel& cpu_level(std::string_view name);
// That level alone; for "portable" the lowest level of each kernel level.
CpuTarget cpu_target(std::string_view name);
CpuTarget cpu_target(const CpuLevel& level);
// The highest level that this processor and this operating system support, by our own CPUID and XGETBV probe.
// Throws Error naming the missing feature when even the lowest is out of reach.
const CpuLevel& native_cpu_level();
// The first feature of the level that this machine lacks, or an empty name.
std::string_view missing_feature(const CpuLevel& level);

}  // namespace forge
