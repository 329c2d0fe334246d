// The fake model as a program's generated code; FAKE_… variables set what it does.
#include <cstdlib>
#include <ctime>

#include "tests/runtime/fake_model.h"

namespace {

using forge::rt::FakeModel;
using forge::rt::ModelCode;
using forge::rt::StepArgs;

int32_t variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::atoi(value) : -1;  // NOLINT(bugprone-unchecked-string-to-number-conversion)
}

FakeModel model;
decltype(ModelCode::step) fast_step;

// Takes FAKE_STEP_MS a step, so that a test can interrupt it.
void slow_step(const ModelCode* self, const StepArgs* args, uint32_t worker) {
  static const int32_t milliseconds = variable("FAKE_STEP_MS");
  if (worker == 0 && milliseconds > 0) {
    const timespec time{.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    nanosleep(&time, nullptr);
  }
  fast_step(self, args, worker);
}

ModelCode make_code() {
  forge::rt::init_fake_model(model);
  model.ends_at = variable("FAKE_ENDS_AT");
  model.says_the_end_at = variable("FAKE_SAYS_THE_END_AT");
  if (variable("FAKE_LACKS_FEATURE") > 0) model.code.missing_cpu_feature = [] { return "AVX-1024"; };
  fast_step = model.code.step;
  model.code.step = slow_step;
  return model.code;
}

}  // namespace

extern "C" const ModelCode forge_model_code;
const ModelCode forge_model_code = make_code();
