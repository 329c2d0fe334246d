#include "tests/support/compiled_model.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "toolchain/compiler.h"

namespace forge::test {

LoadedModel::LoadedModel(const Checkpoint& checkpoint, std::string_view level, uint32_t ctx, KvType kv)
    : LoadedModel(checkpoint, cpu_level(level), ctx, kv) {}

LoadedModel::LoadedModel(const Checkpoint& checkpoint, const CpuLevel& level, uint32_t ctx, KvType kv,
                         const Schedules& schedules) {
  setenv("FORGE_HOME", FORGE_BUILD_DIR, 0);
  CompileOptions options;
  options.target = cpu_target(level);
  options.ctx = ctx;
  options.kv = kv;
  options.compiler = "test";
  model_ = compile_model(checkpoint, options, nullptr);
  if (!schedules.empty()) model_.sources = sources_with(schedules, model_, options.target);
  std::string directory = (std::filesystem::temp_directory_path() / "forge-test-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) fail("{}: can't be made", directory);
  const std::string path = directory + "/model.so";
  build_shared_library(find_compiler(), find_forge_files(), model_.sources, *options.target.levels[0], path);
  library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::filesystem::remove_all(directory);
  if (library_ == nullptr) fail("the compiled model can't be loaded: {}", dlerror());
  code_ = static_cast<const rt::ModelCode*>(dlsym(library_, "forge_model_code"));
  if (code_ == nullptr) fail("the compiled model has no forge_model_code");

  storage_.resize(model_.payload.weights_bytes + 256);
  uint8_t* base = storage_.data() + (256 - reinterpret_cast<uintptr_t>(storage_.data()) % 256) % 256;
  for (const PackedTensor& t : model_.payload.tensors) t.pack({base + t.offset, t.bytes});
  weights_ = base;
}

LoadedModel::~LoadedModel() {
  if (library_ != nullptr) dlclose(library_);
}

}  // namespace forge::test
