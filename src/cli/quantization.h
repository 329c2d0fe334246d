// Quantizing a model before anything else is done with it: what `forge quantize` and --quantize share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"

namespace forge {

struct Quantization {
  std::string type;  // a recipe's name
  std::string fit;   // or a size that all tensors and the metadata fit in; neither: the model stays as it is
  std::vector<std::string> tensor_types;  // "PATTERN=TYPE", see parse_tensor_type
  // Where importances come from, one of the two or neither: a file of them, or a text to run the model over.
  std::string imatrix, calibration_file;

  // Whether anything is asked for. Throws a usage Error for options that say how to quantize where none says to what.
  bool wanted() const;
};

// What shapes the quantized model besides the files it is made from, a string each.
std::vector<std::string> quantization_settings(const Quantization& quantization);

// Told how far quantizing is; either may be null.
struct QuantizationProgress {
  std::function<void(std::string_view phase)> begin;         // "calibrate", "fit" or "quantize" begins
  std::function<void(uint64_t done, uint64_t total)> bytes;  // of "quantize"
};

// The model quantized. Its metadata says so: general.file_type, general.quantization_version, and forge.quantization,
// which `info` shows. `note` (may be null) is told the errors by class of tensor. Throws Error.
Checkpoint quantize_model(const Checkpoint& model, const Quantization& quantization,
                          const std::function<void(std::string_view line)>& note,
                          const QuantizationProgress& progress);

}  // namespace forge
