#include "cli/model_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "adapters/lora.h"
#include "formats/artifact_checkpoint.h"
#include "formats/gguf_encoding.h"
#include "formats/overrides.h"
#include "models/huggingface.h"

namespace forge {
namespace {

bool is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

Checkpoint read_file(const std::string& path) {
  if (is_directory(path)) return read_huggingface(path);
  return is_artifact(path) ? read_artifact(path) : read_gguf(path);
}

}  // namespace

Checkpoint read_model(const ModelSource& source, const Note& note, const QuantizationProgress& quantizing) {
  Checkpoint checkpoint = read_file(source.path);
  for (const std::string& assignment : source.overrides) {
    const std::string key = assignment.substr(0, assignment.find('='));
    const bool is_known = checkpoint.meta.find(key) != nullptr;
    override_metadata(checkpoint.meta, assignment);
    // Most likely a slip of the pen, and nothing would read it; but a model may lack a key that it needs.
    if (note && !is_known) note(fmt::format("--override {}: the model has no such key, it is added", key));
  }
  checkpoint.alignment = data_alignment(source.path, checkpoint.meta);
  // Merged weights that are going to be quantized are rounded once.
  const MergedType merged = source.quantization.wanted() ? MergedType::f32 : MergedType::own;
  for (const std::string& text : source.adapters) {
    const AdapterArgument argument = parse_adapter_argument(text);
    merge_adapter(checkpoint, read_adapter(argument.path, checkpoint), argument.scale, merged, note);
  }
  return source.quantization.wanted() ? quantize_model(checkpoint, source.quantization, note, quantizing)
                                      : checkpoint;
}

std::vector<std::string> source_files(const ModelSource& source) {
  std::vector<std::string> files = is_directory(source.path)  ? huggingface_files(source.path)
                                   : is_artifact(source.path) ? artifact_files(source.path)
                                                              : model_files(source.path);
  if (!source.quantization.imatrix.empty()) files.push_back(source.quantization.imatrix);
  if (!source.quantization.calibration_file.empty()) files.push_back(source.quantization.calibration_file);
  for (const std::string& text : source.adapters)
    std::ranges::move(adapter_files(parse_adapter_argument(text).path), std::back_inserter(files));
  return files;
}

std::vector<std::string> source_settings(const ModelSource& source) {
  std::vector<std::string> settings;
  settings.reserve(source.adapters.size() + source.overrides.size());
  for (const std::string& text : source.adapters)
    settings.push_back(fmt::format("adapter {}", parse_adapter_argument(text).scale));
  for (const std::string& assignment : source.overrides) settings.push_back("override " + assignment);
  for (const std::string& setting : quantization_settings(source.quantization)) settings.push_back(setting);
  return settings;
}

std::string model_name(const ModelSource& source) {
  if (!source.name.empty()) return source.name;
  if (!is_directory(source.path)) return std::filesystem::path(source.path).stem();
  // A directory's name may have dots, and a slash behind it.
  const auto path = std::filesystem::absolute(source.path).lexically_normal();
  return path.has_filename() ? path.filename() : path.parent_path().filename();
}

}  // namespace forge
