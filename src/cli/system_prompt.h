// forge compile --system-prompt: the KV of a conversation's beginning, computed when the program is compiled.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model_source.h"
#include "codegen/compile.h"

namespace forge {

// The text of the file. Throws Error where it can't be read, or is not UTF-8 text of at least one character.
std::string read_system_prompt(const std::string& path);

// A KvImage (runtime/core/kv_image.h) of the tokens that every conversation of the compiled model begins with whose
// instructions are options.system_prompt. It is computed by the program itself, or by one for this machine where that
// can't run here. Throws Error where the template takes no instructions, or the context has no room for them; `note` is
// told where a part of them changes from day to day.
std::vector<uint8_t> system_prompt_image(const Checkpoint& checkpoint, const CompileOptions& options,
                                         const CompiledModel& model, const Note& note);

}  // namespace forge
