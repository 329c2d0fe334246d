// What a command line names as its model, made one Checkpoint: a GGUF file, a Hugging Face directory or a
// compiled program, with what the options ask to change about it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/quantization.h"
#include "formats/checkpoint.h"

namespace forge {

struct ModelSource {
  std::string path;  // a GGUF file (the first of several), a Hugging Face directory, or a compiled program
  std::string name = {};               // what it is called where that is not what its path says
  bool offline = false;                // a model to download must be in the cache (cli/fetch_model.h)
  std::vector<std::string> adapters;   // "PATH" or "PATH:SCALE", see adapters/lora.h; merged in this order
  std::vector<std::string> overrides;  // "KEY=VALUE", see override_metadata; applied in this order
  Quantization quantization;           // of the model as the other options left it
};

// Told, a line each, what the user should know of what is done to the model; may be null.
using Note = std::function<void(std::string_view line)>;

// The model with all that the options ask for. Throws Error.
Checkpoint read_model(const ModelSource& source, const Note& note,
                      const QuantizationProgress& quantizing = {});

// The files that shape what read_model gives.
std::vector<std::string> source_files(const ModelSource& source);

// What shapes it besides their contents, a string each.
std::vector<std::string> source_settings(const ModelSource& source);

// What the model is called: "story-q8_0" for "models/story-q8_0.gguf", the repository for what came from one.
std::string model_name(const ModelSource& source);

}  // namespace forge
