// The small models of tests/goldens, one or more an architecture (make_architecture_goldens.py).
#pragma once

#include <string>

#include "formats/checkpoint.h"

namespace forge::test {

struct GoldenModel {
  const char* name;
  uint32_t ctx;  // to build it for: long rope takes its factors by it; 0: the model's own
};
inline constexpr GoldenModel kGoldenModels[] = {
    {"gemma", 0}, {"gemma2", 0},     {"gemma3", 0},       {"gpt2", 0},       {"granite", 0},
    {"llama", 0}, {"llama-bias", 0}, {"llama-linear", 0}, {"llama-yarn", 0}, {"mistral", 0},
    {"olmo2", 0}, {"phi3", 0},       {"phi3-short", 0},   {"phi3-long", 64}, {"phi4-mini", 64},
    {"qwen2", 0}, {"qwen3", 0},      {"smollm3", 0},      {"stablelm", 0},   {"stablelm-parallel", 0},
};

inline std::string golden_path(std::string_view name) {
  return std::string(FORGE_SOURCE_DIR "/tests/goldens/") + std::string(name);
}

// Through llama.cpp's converter. It drops Mistral's window, which --override would put back.
inline Checkpoint read_golden_gguf(std::string_view name) {
  Checkpoint c = read_gguf(golden_path(name) + ".gguf");
  if (name == "mistral") c.meta.set("llama.attention.sliding_window", {MetaType::u32, {}, int64_t{7}});
  return c;
}

}  // namespace forge::test
