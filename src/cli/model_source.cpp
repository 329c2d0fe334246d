#include "cli/model_source.h"

#include <filesystem>

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

Checkpoint read_model(const ModelSource& source, const Note&) {
  Checkpoint checkpoint = read_file(source.path);
  for (const std::string& assignment : source.overrides) override_metadata(checkpoint.meta, assignment);
  checkpoint.alignment = data_alignment(source.path, checkpoint.meta);
  return checkpoint;
}

std::vector<std::string> source_files(const ModelSource& source) {
  return is_directory(source.path) ? huggingface_files(source.path) : model_files(source.path);
}

std::vector<std::string> source_settings(const ModelSource& source) {
  std::vector<std::string> settings;
  for (const std::string& assignment : source.overrides) settings.push_back("override " + assignment);
  return settings;
}

std::string model_name(const ModelSource& source) {
  if (!is_directory(source.path)) return std::filesystem::path(source.path).stem();
  // A directory's name may have dots, and a slash behind it.
  const auto path = std::filesystem::absolute(source.path).lexically_normal();
  return path.has_filename() ? path.filename() : path.parent_path().filename();
}

}  // namespace forge
