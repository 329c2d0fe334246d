#include "quantize/fit.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/core/expect_error.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

Checkpoint float_model(uint32_t n_layers = 2) {
  test::TinyModel model;
  model.n_layers = n_layers;
  model.n_vocab = 64;
  model.type = [](const std::string&) { return DType::f16; };
  return test::make_checkpoint(model);
}

uint64_t bytes_of(const Checkpoint& model, const std::vector<DType>& types) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < types.size(); ++i)
    bytes += static_cast<uint64_t>(model.tensors[i].rows()) *
             row_bytes(types[i], static_cast<size_t>(model.tensors[i].cols()));
  return bytes;
}

TEST(Fit, KeepsToTheSizeAndUsesIt) {
  const Checkpoint model = float_model();
  const uint64_t all = bytes_of(model, choose_types(model, find_recipe("q8_0"), {}, nullptr));
  uint64_t last = 0;
  for (const uint64_t budget : {all / 2, all * 5 / 8, all * 3 / 4, all}) {
    const Fit fit = fit_types(model, budget, {}, nullptr, 2);
    EXPECT_EQ(fit.bytes, bytes_of(model, fit.types));
    EXPECT_LE(fit.bytes, budget);
    EXPECT_GE(fit.bytes, budget * 9 / 10);
    EXPECT_GT(fit.bytes, last);
    last = fit.bytes;
  }
  EXPECT_EQ(last, all);  // with room for it everything gets the largest candidate
  expect_error([&] { fit_types(model, all / 8, {}, nullptr, 1); },
               {"too large for that size: the tensors take"}, 2);
}

TEST(Fit, GivesBitsToWhatErrsMost) {
  // Values are more sensitive than queries, of equal shape here but for the heads.
  const Checkpoint model = float_model();
  const uint64_t all = bytes_of(model, choose_types(model, find_recipe("q8_0"), {}, nullptr));
  const Fit fit = fit_types(model, all * 5 / 8, {}, nullptr, 1);
  std::map<std::string, DType> types;
  for (size_t i = 0; i < fit.types.size(); ++i) types[model.tensors[i].name] = fit.types[i];
  const auto bytes = [&](const std::string& name) { return row_bytes(types.at(name), 256); };
  EXPECT_GT(bytes("blk.0.attn_v.weight"), bytes("blk.0.attn_q.weight"));
  EXPECT_EQ(types.at("blk.0.attn_q.weight"), types.at("blk.1.attn_q.weight"));
  EXPECT_EQ(types.at("blk.0.attn_norm.weight"), DType::f32);
}

TEST(Fit, TellsTheOuterLayersApart) {
  const Checkpoint model = float_model(8);
  const Fit fit = fit_types(model, uint64_t{1} << 40, {}, nullptr, 2);
  size_t outer = 0;
  for (const std::string& line : fit.plan)
    if (line.starts_with("attn_q, outer layers")) {
      EXPECT_NE(line.find("2 tensors"), std::string::npos) << line;
      ++outer;
    }
  EXPECT_EQ(outer, 1u);
  // A line a unit, and one for a size that is more than anything takes.
  EXPECT_EQ(fit.plan.size(), 16u);
  EXPECT_EQ(fit.plan.back().find("all in the best types"), 0u) << fit.plan.back();
}

TEST(Fit, KeepsToOverridesAndToWhatIsSmallAlready) {
  const Checkpoint model = float_model();
  const Fit fit =
      fit_types(model, uint64_t{1} << 40, std::vector<TensorType>{{"attn_v", DType::q4_0}}, nullptr, 1);
  EXPECT_EQ(fit.types[static_cast<size_t>(model.find("blk.0.attn_v.weight") - model.tensors.data())],
            DType::q4_0);

  const Checkpoint small = test::make_checkpoint({.type = [](const std::string&) { return DType::q4_k; }});
  const Fit same = fit_types(small, uint64_t{1} << 40, {}, nullptr, 1);
  for (size_t i = 0; i < same.types.size(); ++i) EXPECT_EQ(same.types[i], small.tensors[i].type);
}

TEST(Size, IsReadWithItsUnit) {
  EXPECT_EQ(parse_size("700000"), 700000u);
  EXPECT_EQ(parse_size("600MB"), 600000000u);
  EXPECT_EQ(parse_size("1.5GiB"), 1610612736u);
  EXPECT_EQ(parse_size("2K"), 2000u);
  for (const char* text : {"", "MB", "-1MB", "1TB", "1 MB", "1e9", "nan", "0", "1e99GB", "0x10"})
    expect_error([&] { parse_size(text); }, {"expected a number with KB, MB"}, 2);
}

}  // namespace
}  // namespace forge
