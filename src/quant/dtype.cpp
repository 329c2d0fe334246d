#include "quant/dtype.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <vector>

#include "quant/families.h"

namespace forge {
namespace {

static_assert(std::endian::native == std::endian::little, "blocks are little-endian and read as they lie");

std::vector<DTypeInfo> join_families() {
  std::vector<DTypeInfo> types;
  const auto append = [&types](const auto& family) {
    types.insert(types.end(), family.begin(), family.end());
  };
  append(float_types());
  append(legacy_types());
  append(k_quant_types());
  append(low_bit_types());
  append(nonlinear_types());
  append(grid_types());
  std::ranges::sort(types, {}, &DTypeInfo::type);
  return types;
}

}  // namespace

std::span<const DTypeInfo> all_dtypes() {
  static const std::vector<DTypeInfo> types = join_families();
  return types;
}

const DTypeInfo& info(DType type) {
  for (const DTypeInfo& t : all_dtypes()) {
    if (t.type == type) return t;
  }
  std::abort();  // not a value of the enumeration
}

std::optional<DType> dtype_from_id(uint32_t id) {
  for (const DTypeInfo& t : all_dtypes()) {
    if (static_cast<uint32_t>(t.type) == id) return t.type;
  }
  return std::nullopt;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeInfo& t : all_dtypes()) {
    if (t.name == name) return t.type;
  }
  return std::nullopt;
}

std::string_view ggml_type_name(uint32_t id) {
  static constexpr std::string_view kNames[] = {
      "f32",      "f16",      "q4_0",    "q4_1",  "q4_2",       "q4_3",       "q5_0",       "q5_1",
      "q8_0",     "q8_1",     "q2_k",    "q3_k",  "q4_k",       "q5_k",       "q6_k",       "q8_k",
      "iq2_xxs",  "iq2_xs",   "iq3_xxs", "iq1_s", "iq4_nl",     "iq3_s",      "iq2_s",      "iq4_xs",
      "i8",       "i16",      "i32",     "i64",   "f64",        "iq1_m",      "bf16",       "q4_0_4_4",
      "q4_0_4_8", "q4_0_8_8", "tq1_0",   "tq2_0", "iq4_nl_4_4", "iq4_nl_4_8", "iq4_nl_8_8", "mxfp4",
      "nvfp4",    "q1_0",     "q2_0"};
  return id < std::size(kNames) ? kNames[id] : "unknown";
}

}  // namespace forge
