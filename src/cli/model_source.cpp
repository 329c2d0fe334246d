#include "cli/model_source.h"

#include <filesystem>

#include "formats/artifact_checkpoint.h"
#include "formats/gguf_encoding.h"
#include "formats/overrides.h"

namespace forge {

Checkpoint read_model(const ModelSource& source, const Note&) {
  Checkpoint checkpoint = is_artifact(source.path) ? read_artifact(source.path) : read_gguf(source.path);
  for (const std::string& assignment : source.overrides) override_metadata(checkpoint.meta, assignment);
  checkpoint.alignment = data_alignment(source.path, checkpoint.meta);
  return checkpoint;
}

std::vector<std::string> source_files(const ModelSource& source) { return model_files(source.path); }

std::vector<std::string> source_settings(const ModelSource& source) {
  std::vector<std::string> settings;
  for (const std::string& assignment : source.overrides) settings.push_back("override " + assignment);
  return settings;
}

std::string model_name(const ModelSource& source) { return std::filesystem::path(source.path).stem(); }

}  // namespace forge
