// What compile_model puts beside the code, and what read_artifact refuses.
#include "codegen/compile.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "formats/artifact_checkpoint.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

using Manifest = std::map<std::string, std::string, std::less<>>;

CompiledModel compile(const Checkpoint& checkpoint, uint32_t ctx = 0) {
  CompileOptions options;
  options.target = cpu_target("x86-64-v3");
  options.ctx = ctx;
  return compile_model(checkpoint, options, nullptr);
}

Checkpoint small_checkpoint(uint32_t ctx = 256) {
  return test::make_checkpoint(
      {.n_layers = 1, .n_hidden = 64, .n_heads = 1, .n_kv_heads = 1, .head_dim = 64, .n_ff = 64, .ctx = ctx});
}

// The manifest's sampling defaults for a model that recommends general.sampling.KEY = value.
Manifest defaults_for(const std::vector<std::pair<std::string, double>>& recommended) {
  Checkpoint checkpoint = small_checkpoint();
  for (const auto& [key, value] : recommended)
    checkpoint.meta.set("general.sampling." + key, {MetaType::f64, MetaType::u32, value});
  Manifest out;
  for (const auto& [key, value] : compile(checkpoint).payload.manifest)
    if (key.starts_with("sampling.")) out[key.substr(sizeof "sampling." - 1)] = value;
  return out;
}

TEST(SamplingDefaults, AreWhatAProgramTakes) {
  EXPECT_EQ(defaults_for({}), Manifest{});
  EXPECT_EQ(defaults_for({{"temp", 0.6},
                          {"top_k", 20},
                          {"top_p", 0.9},
                          {"min_p", 0.1},
                          {"penalty_repeat", 1.25},
                          {"penalty_last_n", 32}}),
            (Manifest{{"temp", "0.6"},
                      {"top_k", "20"},
                      {"top_p", "0.9"},
                      {"min_p", "0.1"},
                      {"repeat_penalty", "1.25"},
                      {"repeat_last_n", "32"}}));
  // Below the range: off. penalty_last_n -1 is the whole context.
  EXPECT_EQ(defaults_for({{"temp", -1}, {"top_k", -1}, {"min_p", -0.5}, {"penalty_last_n", -1}}),
            (Manifest{{"temp", "0"}, {"top_k", "0"}, {"min_p", "0"}, {"repeat_last_n", "256"}}));
  EXPECT_EQ(defaults_for({{"top_p", 1.5}}), (Manifest{{"top_p", "1"}}));
  EXPECT_EQ(defaults_for({{"top_p", -1}, {"penalty_repeat", 0}}), Manifest{});
  for (const double value :
       {static_cast<double>(NAN), static_cast<double>(INFINITY), static_cast<double>(-INFINITY)}) {
    EXPECT_EQ(defaults_for({{"temp", value},
                            {"top_k", value},
                            {"top_p", value},
                            {"min_p", value},
                            {"penalty_repeat", value},
                            {"penalty_last_n", value}}),
              Manifest{})
        << value;
  }
  EXPECT_EQ(defaults_for({{"temp", 1e30},
                          {"top_k", 1e30},
                          {"min_p", 1e30},
                          {"penalty_repeat", 1e30},
                          {"penalty_last_n", 1e30}}),
            Manifest{});
}

TEST(DefaultContext, IsTheModelsUpTo8192AndWhatWasCompiled) {
  const auto of = [](uint32_t trained, uint32_t ctx) {
    return compile(small_checkpoint(trained), ctx).payload.manifest.at("ctx.default");
  };
  EXPECT_EQ(of(256, 0), "256");
  EXPECT_EQ(of(256, 100), "100");
  EXPECT_EQ(of(256, 512), "256");
  EXPECT_EQ(of(131072, 0), "8192");
  EXPECT_EQ(of(131072, 131072), "8192");
  EXPECT_EQ(of(131072, 4096), "4096");
}

// Its tensor table points at weights that are not there.
TEST(ReadArtifact, PayloadWithoutWeightsIsAnError) {
  const TemporaryDirectory directory;
  const Checkpoint checkpoint = small_checkpoint();
  const CompiledModel model = compile(checkpoint);
  const std::string path = directory.file("payload");
  write_file(path, build_payload(model.payload, true));
  EXPECT_EQ(read_artifact(path).tensors.size(), checkpoint.tensors.size());
  write_file(path, build_payload(model.payload, false));
  try {
    read_artifact(path);
    FAIL() << "read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("runs past the weights (0 bytes)"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace forge
