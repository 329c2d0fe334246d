// The compiler from checkpoint to everything that the toolchain turns into an artifact.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/cpu/schedule.h"
#include "formats/checkpoint.h"
#include "ir/graph.h"
#include "passes/passes.h"
#include "plan/plan.h"
#include "toolchain/artifact.h"
#include "toolchain/cpu_level.h"

namespace forge {

struct CompileOptions {
  CpuTarget target;                // toolchain/cpu_level.h
  uint32_t ctx = 0;                // positions; 0: the smaller of the model's and 8192
  KvType kv = KvType::f16;         // passes/passes.h
  std::string default_args;        // what the program does when started with nothing
  std::string chat_template;       // the template's text; empty: the checkpoint's own
  bool has_chat_template = false;  // --chat-template was given (an empty text switches the template off)
  std::string chat_template_file;  // where it is from, for messages
  std::string system_prompt;       // of conversations that bring none
  std::string json_schema;         // that answers match, as text; empty: any text
  std::string json_schema_file;    // where it is from, for messages
  std::string compiler;            // the C++ compiler's identity, for `info`
};

struct CompiledModel {
  Graph source;     // as built
  Graph optimized;  // after all passes, for the lowest level; so is the plan
  Plan plan;
  std::map<std::string, std::string> sources;  // file name -> generated text, one a level (CpuTarget::source)
  PayloadInput payload;  // its pack functions read the checkpoint, which must outlive them
};

// All of them. `phase` is told "parse", "optimize", "generate" as they begin; may be null. Throws Error.
CompiledModel compile_model(const Checkpoint& checkpoint, const CompileOptions& options,
                            const std::function<void(std::string_view phase)>& phase);

// CompiledModel::sources of a target of one level, but with these schedules.
std::map<std::string, std::string> sources_with(const Schedules& schedules, const CompiledModel& model,
                                                const CpuTarget& target);

}  // namespace forge
