// A model compiled for a level and loaded into the test's own process.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "codegen/compile.h"
#include "runtime/core/payload.h"
#include "runtime/core/step.h"

namespace forge::test {

class LoadedModel {
 public:
  LoadedModel(const Checkpoint& checkpoint, std::string_view level, uint32_t ctx = 0,
              KvType kv = KvType::f16);
  LoadedModel(const Checkpoint& checkpoint, const CpuLevel& level, uint32_t ctx = 0, KvType kv = KvType::f16,
              const Schedules& schedules = {});
  ~LoadedModel();
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const rt::ModelCode& code() const { return *code_; }
  const uint8_t* weights() const { return weights_; }
  const CompiledModel& model() const { return model_; }

 private:
  CompiledModel model_;
  void* library_ = nullptr;
  const rt::ModelCode* code_ = nullptr;
  std::vector<uint8_t> storage_;
  const uint8_t* weights_ = nullptr;
};

}  // namespace forge::test
