// Plan to C++ source for the CPU.
#pragma once

#include <cstdint>
#include <string>

#include "codegen/cpu/schedule.h"
#include "ir/graph.h"
#include "plan/plan.h"
#include "toolchain/cpu_level.h"

namespace forge {

// Readable C++ that calls the kernel templates with constant dimensions, for target.levels[level]: the text of the file
// CpuTarget::source(level). The first defines `forge_model_code` and leads to those below it by its `next`. hash: the
// payload's, the same for all levels.
std::string emit_cpu(const Graph& graph, const Plan& plan, uint64_t hash, const CpuTarget& target,
                     size_t level, const Schedules& schedules = {});

}  // namespace forge
