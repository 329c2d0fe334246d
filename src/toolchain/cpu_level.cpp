#include "toolchain/cpu_level.h"

#include <algorithm>

#include "core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace forge {
namespace {

constexpr std::string_view kNative = "native", kPortable = "portable";

// XCR0 state components: SSE and AVX; opmask, upper halves of ZMM0-15, ZMM16-31; AMX configuration and data.
constexpr uint64_t kYmm = 0x6;
constexpr uint64_t kZmm = kYmm | 0xe0;
constexpr uint64_t kTile = 0x60000;

// Intel SDM, volume 2A, CPUID.
constexpr CpuFeature kV3[] = {
    {"sse3", 1, 0, 'c', 0, 0},    {"ssse3", 1, 0, 'c', 9, 0},
    {"fma", 1, 0, 'c', 12, kYmm}, {"cx16", 1, 0, 'c', 13, 0},
    {"sse4.1", 1, 0, 'c', 19, 0}, {"sse4.2", 1, 0, 'c', 20, 0},
    {"movbe", 1, 0, 'c', 22, 0},  {"popcnt", 1, 0, 'c', 23, 0},
    {"avx", 1, 0, 'c', 28, kYmm}, {"f16c", 1, 0, 'c', 29, kYmm},
    {"bmi", 7, 0, 'b', 3, 0},     {"avx2", 7, 0, 'b', 5, kYmm},
    {"bmi2", 7, 0, 'b', 8, 0},    {"lzcnt", 0x80000001, 0, 'c', 5, 0},
};
constexpr CpuFeature kAvxVnni = {"avxvnni", 7, 1, 'a', 4, kYmm};
constexpr CpuFeature kV4[] = {
    {"avx512f", 7, 0, 'b', 16, kZmm},  {"avx512dq", 7, 0, 'b', 17, kZmm}, {"avx512cd", 7, 0, 'b', 28, kZmm},
    {"avx512bw", 7, 0, 'b', 30, kZmm}, {"avx512vl", 7, 0, 'b', 31, kZmm},
};
constexpr CpuFeature kVnni = {"avx512vnni", 7, 0, 'c', 11, kZmm};
constexpr CpuFeature kAmx[] = {
    {"amx-tile", 7, 0, 'd', 24, kTile},  {"amx-int8", 7, 0, 'd', 25, kTile},
    {"amx-bf16", 7, 0, 'd', 22, kTile},  {"avx512bf16", 7, 1, 'a', 5, kZmm},
    {"avx512fp16", 7, 0, 'd', 23, kZmm},
};

// Linux, arch/arm64/include/uapi/asm/hwcap.h.
constexpr uint32_t kHwcap = 16, kHwcap2 = 26;
constexpr CpuFeature kDotprod = {"dotprod", kHwcap, 0, 0, 20, 0};
constexpr CpuFeature kI8mm = {"i8mm", kHwcap2, 0, 0, 13, 0};

std::vector<CpuFeature> join(std::span<const CpuFeature> below, std::span<const CpuFeature> more) {
  std::vector<CpuFeature> all(below.begin(), below.end());
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<CpuLevel> make_levels() {
  const std::vector<CpuFeature> v3 = join({}, kV3);
  const std::vector<CpuFeature> v4 = join(v3, kV4);
  const std::vector<CpuFeature> v4_vnni = join(v4, {&kVnni, 1});
  return {
      {"x86-64", "generic", kX86Triple, {}},
      {"x86-64-v3", "avx2", kX86Triple, v3},
      {"x86-64-v3+avxvnni", "avxvnni", kX86Triple, join(v3, {&kAvxVnni, 1})},
      {"x86-64-v4", "avx512", kX86Triple, v4},
      {"x86-64-v4+vnni", "avx512vnni", kX86Triple, v4_vnni},
      {"sapphirerapids", "amx", kX86Triple, join(v4_vnni, kAmx)},
      {"armv8-a", "neon", kArmTriple, {}},
      {"armv8.2-a+dotprod", "dotprod", kArmTriple, {kDotprod}},
      {"apple-m1", "dotprod", kArmTriple, {kDotprod}},
      {"armv8.6-a+i8mm", "i8mm", kArmTriple, {kDotprod, kI8mm}},
  };
}

#if defined(__x86_64__)
uint64_t read_xcr0() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  constexpr uint32_t kOsxsave = 1u << 27;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsxsave) == 0) return 0;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux lends a process the eight kilobytes of tile registers only if it asks (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  static const bool may =
      (read_xcr0() & kTile) == kTile && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return may;
}

bool has(const CpuFeature& feature) {
  static const uint64_t xcr0 = read_xcr0();
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(feature.leaf, feature.subleaf, &a, &b, &c, &d) == 0) return false;
  if (feature.xcr0 == kTile && !may_use_tiles()) return false;
  const uint32_t word = feature.reg == 'a' ? a : feature.reg == 'b' ? b : feature.reg == 'c' ? c : d;
  return ((word >> feature.bit) & 1) != 0 && (xcr0 & feature.xcr0) == feature.xcr0;
}
#elif defined(__aarch64__)
bool has(const CpuFeature& feature) { return (getauxval(feature.leaf) >> feature.bit & 1) != 0; }
#else
bool has(const CpuFeature&) { return false; }
#endif

std::string known_names() {
  std::string known = fmt::format("native, {}", kPortable);
  for (const CpuLevel& level : cpu_levels()) known += fmt::format(", {}", level.name);
  return known;
}

}  // namespace

std::vector<std::string> CpuLevel::flags() const {
  if (triple == kArmTriple) {
    const bool is_processor = !name.starts_with("armv");
    return {fmt::format("--target={}", triple), fmt::format("-m{}={}", is_processor ? "cpu" : "arch", name)};
  }
  std::vector<std::string> out;
  out.reserve(features.size());
  for (const CpuFeature& feature : features) out.push_back(fmt::format("-m{}", feature.name));
  return out;
}

std::span<const CpuLevel> cpu_levels() {
  static const std::vector<CpuLevel> levels = make_levels();
  return levels;
}

std::string_view missing_feature(const CpuLevel& level) {
  if (level.triple != kHostTriple) return level.name;
  for (const CpuFeature& feature : level.features) {
    if (!has(feature)) return feature.name;
  }
  return {};
}

const CpuLevel& native_cpu_level() {
  const auto levels = cpu_levels();
  for (size_t i = levels.size(); i-- > 0;) {
    if (missing_feature(levels[i]).empty()) return levels[i];
  }
  fail("--cpu native: no level is known for this machine");  // each triple has one that needs nothing
}

const CpuLevel& cpu_level(std::string_view name) {
  if (name == kNative) return native_cpu_level();
  for (const CpuLevel& level : cpu_levels())
    if (level.name == name) return level;
  fail_usage("--cpu {}: no such level; known are {}", name, known_names());
}

std::string CpuTarget::source(size_t i) const {
  return i == 0 ? "model.cpp" : fmt::format("model.{}.cpp", levels[i]->name);
}

CpuTarget cpu_target(const CpuLevel& level) { return {std::string(level.name), {&level}}; }

CpuTarget cpu_target(std::string_view name, std::string_view triple) {
  if (!triple.empty() && std::ranges::find(cpu_levels(), triple, &CpuLevel::triple) == cpu_levels().end())
    fail_usage("--triple {}: not known; there are {} and {}", triple, kX86Triple, kArmTriple);
  const bool foreign = !triple.empty() && triple != kHostTriple;
  if (name != kPortable && (name != kNative || !foreign)) {
    CpuTarget target = cpu_target(cpu_level(name));
    if (!triple.empty() && triple != target.triple())
      fail_usage("--cpu {}: a level of {}, not of {}", name, target.triple(), triple);
    return target;
  }
  CpuTarget target = {std::string(kPortable), {}};
  for (const CpuLevel& level : cpu_levels()) {
    if (level.triple != (triple.empty() ? kHostTriple : triple)) continue;
    const bool known = std::ranges::any_of(
        target.levels, [&](const CpuLevel* below) { return below->kernel_level == level.kernel_level; });
    if (!known) target.levels.insert(target.levels.begin(), &level);
  }
  return target;
}

}  // namespace forge
