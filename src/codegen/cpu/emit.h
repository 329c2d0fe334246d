// Plan to C++ source for the CPU.
#pragma once

#include <map>
#include <string>

#include "ir/graph.h"
#include "plan/plan.h"
#include "toolchain/cpu_level.h"

namespace forge {

// Readable C++ that calls the kernel templates with constant dimensions, one file a level of the target: "model.cpp" for
// the highest, which defines `forge_model_code`, and "model.LEVEL.cpp" for the others, which it leads to by its `next`.
std::map<std::string, std::string> emit_cpu(const Graph& graph, const Plan& plan, const CpuTarget& target);

}  // namespace forge
