#include "cli/quantization.h"

#include "cli/calibration.h"
#include "core/error.h"
#include "quantize/quantize.h"
#include "runtime/host/team.h"

namespace forge {
namespace {

// Of the block types, all of which are ggml's second version.
constexpr int64_t kQuantizationVersion = 2;

// One line for `info`.
std::string describe(const Quantization& quantization) {
  std::string text = quantization.type;
  for (const std::string& choice : quantization.tensor_types) text += ", " + choice;
  if (!quantization.imatrix.empty()) text += ", weighted by an importance matrix";
  if (!quantization.calibration_file.empty()) text += ", weighted by activations";
  return text;
}

Metadata quantized_metadata(const Checkpoint& model, const Quantization& quantization, uint32_t file_type) {
  Metadata meta;
  for (const auto& [key, value] : model.meta.entries())
    if (!key.starts_with("split.")) meta.set(key, value);  // all shards become one file
  meta.set("general.file_type", {MetaType::u32, MetaType::u32, int64_t{file_type}});
  meta.set("general.quantization_version", {MetaType::u32, MetaType::u32, kQuantizationVersion});
  meta.set(std::string(kQuantizationKey), {MetaType::string, MetaType::u32, describe(quantization)});
  return meta;
}

}  // namespace

std::vector<std::string> quantization_settings(const Quantization& quantization) {
  if (!quantization.wanted()) return {};
  std::vector<std::string> settings = {"quantize " + quantization.type};
  for (const std::string& choice : quantization.tensor_types) settings.push_back("tensor type " + choice);
  if (!quantization.imatrix.empty()) settings.emplace_back("imatrix");
  if (!quantization.calibration_file.empty()) settings.emplace_back("calibration");
  return settings;
}

Checkpoint quantize_model(const Checkpoint& model, const Quantization& quantization,
                          const std::function<void(std::string_view line)>& note,
                          const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const Recipe& recipe = find_recipe(quantization.type);
  std::vector<TensorType> overrides;
  for (const std::string& choice : quantization.tensor_types) overrides.push_back(parse_tensor_type(choice));
  if (!quantization.imatrix.empty() && !quantization.calibration_file.empty())
    fail_usage("--imatrix and --calibration-file: one of them says what matters, not both");
  Importances importances;
  if (!quantization.imatrix.empty()) importances = read_imatrix(quantization.imatrix);
  if (!quantization.calibration_file.empty()) importances = calibrate(model, quantization.calibration_file);

  const std::vector<DType> types = choose_types(model, recipe, overrides, note);
  QuantizeReport report;
  Checkpoint out = quantize(model, types,
                            {.importances = importances.of_tensor.empty() ? nullptr : &importances,
                             .n_threads = rt::cpu_budget().n_workers(),
                             .progress = progress},
                            report);
  out.meta = quantized_metadata(model, quantization, recipe.file_type);
  if (note) {
    for (const std::string& line : describe(report)) note(line);
  }
  return out;
}

}  // namespace forge
