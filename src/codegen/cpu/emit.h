// Plan to C++ source for the CPU.
#pragma once

#include <string>

#include "ir/graph.h"
#include "plan/plan.h"
#include "toolchain/cpu_level.h"

namespace forge {

// The text of model.cpp: readable C++ that calls the kernel templates with constant dimensions and defines
// `forge_model_code`.
std::string emit_cpu(const Graph& graph, const Plan& plan, const CpuLevel& level);

}  // namespace forge
