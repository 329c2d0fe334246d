// Instruction-set levels that a program can be compiled for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace forge {

// One feature bit. x86-64: of CPUID, with the register state that the operating system must have enabled for it.
// aarch64: of the auxiliary vector that Linux gives a process. Generated programs check the same table at their start.
struct CpuFeature {
  std::string_view name;           // as clang spells it: "avx512bw", "dotprod"
  uint32_t leaf = 0, subleaf = 0;  // CPUID's; aarch64: leaf is AT_HWCAP (16) or AT_HWCAP2 (26)
  char reg = 'a';                  // 'a', 'b', 'c' or 'd': the CPUID register that holds the bit
  uint32_t bit = 0;
  uint64_t xcr0 = 0;  // XCR0 bits that must all be set
};

inline constexpr std::string_view kX86Triple = "x86_64-linux-gnu", kArmTriple = "aarch64-linux-gnu";
// The triple that this forge runs on, whose programs run here.
#if defined(__aarch64__)
inline constexpr std::string_view kHostTriple = kArmTriple;
#else
inline constexpr std::string_view kHostTriple = kX86Triple;
#endif

struct CpuLevel {
  std::string_view name;          // "x86-64-v4+vnni", as --cpu takes it
  std::string_view kernel_level;  // which kernels it runs: "generic", "avx2", …, "neon", "dotprod", "i8mm"
  std::string_view triple;
  std::vector<CpuFeature> features;

  // Whether its matrix unit multiplies bfloat16.
  bool has_bf16_tiles() const { return kernel_level == "amx"; }
  // Compiler flags: "-mavx2" and so on, one a feature, or "-march=armv8.2-a+dotprod"; nothing that depends on the machine
  // forge runs on.
  std::vector<std::string> flags() const;
};

// What a program is compiled for: one level, or several of which it takes the highest that the processor has.
struct CpuTarget {
  std::string name;                     // of the level, or "portable"
  std::vector<const CpuLevel*> levels;  // from the highest to the lowest, at least one

  std::string_view triple() const { return levels[0]->triple; }
  // The file of generated source that is compiled for levels[i]: "model.cpp", "model.x86-64-v3.cpp".
  std::string source(size_t i) const;
};

// Of all triples; those of one from the lowest to the highest.
std::span<const CpuLevel> cpu_levels();
// The level of that name, or native_cpu_level() for "native". Throws a usage Error that lists the known
// names.
const CpuLevel& cpu_level(std::string_view name);
// That level alone; for "portable" the lowest level of each kernel level of the triple. An empty triple is that of the level,
// for "native" and "portable" this machine's; for another machine's triple "native" is "portable". Throws a usage Error
// for a triple that is not known, or not the level's.
CpuTarget cpu_target(std::string_view name, std::string_view triple = {});
CpuTarget cpu_target(const CpuLevel& level);
// The highest level that this processor and this operating system support, by our own CPUID and XGETBV probe.
// Throws Error naming the missing feature when even the lowest is out of reach.
const CpuLevel& native_cpu_level();
// The first feature of the level that this machine lacks, or an empty name.
std::string_view missing_feature(const CpuLevel& level);

}  // namespace forge
