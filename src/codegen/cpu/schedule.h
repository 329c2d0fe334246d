// How linears pass over their weights: speed alone, no bit of a result depends on it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace forge {

// 0: what the kernels do by themselves.
struct Schedule {
  uint32_t prefetch = 0;  // bytes ahead at which few rows ask for weights (kPrefetch)
  // Groups of sixteen outputs that share a pass over a prompt's rows; with bf16 tiles an even number.
  uint32_t prompt_groups = 0;

  bool operator==(const Schedule&) const = default;
};

// By the columns of the weights.
using Schedules = std::map<uint32_t, Schedule>;

// "576: prefetch 8192 prompt_groups 0, 1536: ..."; "" for none.
std::string schedules_text(const Schedules& schedules);
// What schedules_text wrote; nullopt for anything else.
std::optional<Schedules> parse_schedules(std::string_view text);

}  // namespace forge
