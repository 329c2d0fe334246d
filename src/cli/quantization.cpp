#include "cli/quantization.h"

#include <algorithm>
#include <map>

#include "cli/calibration.h"
#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "quantize/fit.h"
#include "quantize/quantize.h"
#include "runtime/host/team.h"

namespace forge {
namespace {

// Of the block types, all of which are ggml's second version.
constexpr int64_t kQuantizationVersion = 2;

// One line for `info`.
std::string describe(const Quantization& quantization) {
  std::string text = quantization.fit.empty() ? quantization.type : "fit " + quantization.fit;
  for (const std::string& choice : quantization.tensor_types) text += ", " + choice;
  if (!quantization.imatrix.empty()) text += ", weighted by an importance matrix";
  if (!quantization.calibration_file.empty()) text += ", weighted by activations";
  return text;
}

// A tensor's entry in a GGUF header and the padding behind its data, about.
constexpr uint64_t kHeaderBytesPerTensor = 128;

// The first recipe that is mostly of the type that most weights have.
const Recipe& recipe_of_most(const Checkpoint& model, const std::vector<DType>& types) {
  std::map<DType, int64_t> weights;
  for (size_t i = 0; i < types.size(); ++i)
    weights[types[i]] += model.tensors[i].rows() * model.tensors[i].cols();
  const DType most = std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; })->first;
  const auto it = std::ranges::find(all_recipes(), most, &Recipe::type);
  return it == all_recipes().end() ? find_recipe("f32") : *it;
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

bool Quantization::wanted() const {
  if (!type.empty() || !fit.empty()) return true;
  const std::string_view alone = !tensor_types.empty()       ? "--tensor-type"
                                 : !imatrix.empty()          ? "--imatrix"
                                 : !calibration_file.empty() ? "--calibration-file"
                                                             : "";
  if (!alone.empty())
    fail_usage("{}: says how to quantize, but not to what; add a type, or --fit SIZE", alone);
  return false;
}

std::vector<std::string> quantization_settings(const Quantization& quantization) {
  if (!quantization.wanted()) return {};
  std::vector<std::string> settings = {"quantize " + quantization.type, "fit " + quantization.fit};
  for (const std::string& choice : quantization.tensor_types) settings.push_back("tensor type " + choice);
  if (!quantization.imatrix.empty()) settings.emplace_back("imatrix");
  if (!quantization.calibration_file.empty()) settings.emplace_back("calibration");
  return settings;
}

Checkpoint quantize_model(const Checkpoint& model, const Quantization& quantization,
                          const std::function<void(std::string_view line)>& note,
                          const QuantizationProgress& progress) {
  if (!quantization.type.empty() && !quantization.fit.empty())
    fail_usage("--fit {}: chooses the types itself, there can be no type {} as well", quantization.fit,
               quantization.type);
  const Recipe* recipe = quantization.fit.empty() ? &find_recipe(quantization.type) : nullptr;
  const uint64_t size = quantization.fit.empty() ? 0 : parse_size(quantization.fit);
  std::vector<TensorType> overrides;
  overrides.reserve(quantization.tensor_types.size());
  for (const std::string& choice : quantization.tensor_types) overrides.push_back(parse_tensor_type(choice));
  if (!quantization.imatrix.empty() && !quantization.calibration_file.empty())
    fail_usage("--imatrix and --calibration-file: one of them says what matters, not both");
  Importances importances;
  if (!quantization.imatrix.empty()) importances = read_imatrix(quantization.imatrix);
  const auto begin = [&](std::string_view phase) {
    if (progress.begin) progress.begin(phase);
  };
  if (!quantization.calibration_file.empty()) {
    begin("calibrate");
    importances = calibrate(model, quantization.calibration_file);
  }

  const Importances* known = importances.of_tensor.empty() ? nullptr : &importances;
  const unsigned n_threads = rt::cpu_budget().n_workers();
  std::vector<DType> types;
  if (recipe != nullptr) {
    types = choose_types(model, *recipe, overrides, note);
  } else {
    begin("fit");
    const uint64_t header = encode_metadata(model.meta).size() + kHeaderBytesPerTensor * model.tensors.size();
    if (size <= header)
      fail_usage("--fit {}: the metadata alone, with the tokenizer, takes {:.1f} MB", quantization.fit,
                 static_cast<double>(header) / 1e6);
    const Fit fit = fit_types(model, size - header, overrides, known, n_threads);
    types = fit.types;
    recipe = &recipe_of_most(model, types);
    for (const std::string& line : fit.plan) {
      if (note) note(line);
    }
  }
  begin("quantize");
  QuantizeReport report;
  Checkpoint out = quantize(
      model, types, {.importances = known, .n_threads = n_threads, .progress = progress.bytes}, report);
  out.meta = quantized_metadata(model, quantization, recipe->file_type);
  if (note) {
    for (const std::string& line : describe(report)) note(line);
  }
  return out;
}

}  // namespace forge
