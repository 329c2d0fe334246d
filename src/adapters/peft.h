// Adapters in PEFT's form: a directory of adapter_config.json and adapter_model.safetensors.
#pragma once

#include <string>
#include <vector>

#include "adapters/lora.h"

namespace forge {

// The updates of an adapter for a model of `base`'s architecture, whose names and order of rows they take over.
std::vector<LoraUpdate> read_peft(const std::string& directory, const Checkpoint& base);

inline constexpr const char* kPeftFiles[] = {"adapter_config.json", "adapter_model.safetensors"};

}  // namespace forge
