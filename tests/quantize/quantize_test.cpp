#include "quantize/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/core/expect_error.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

Checkpoint float_model() {
  test::TinyModel model;
  model.n_vocab = 64;
  model.type = [](const std::string&) { return DType::f32; };
  return test::make_checkpoint(model);
}

TEST(Quantize, GivesTheSameBytesOnAnyNumberOfThreads) {
  const Checkpoint model = float_model();
  const std::vector<DType> types = choose_types(model, find_recipe("q4_k_m"), {}, nullptr);
  QuantizeReport one_report, many_report;
  const Checkpoint one = quantize(model, types, {.n_threads = 1}, one_report);
  const Checkpoint many = quantize(model, types, {.n_threads = 5}, many_report);
  ASSERT_EQ(one.tensors.size(), model.tensors.size());
  for (size_t i = 0; i < one.tensors.size(); ++i) {
    EXPECT_EQ(one.tensors[i].type, types[i]);
    EXPECT_EQ(one.tensors[i].data.size(),
              static_cast<size_t>(model.tensors[i].rows()) *
                  row_bytes(types[i], static_cast<size_t>(model.tensors[i].cols())));
    EXPECT_TRUE(std::ranges::equal(one.tensors[i].data, many.tensors[i].data)) << one.tensors[i].name;
  }
  EXPECT_EQ(describe(one_report), describe(many_report));
}

TEST(Quantize, ReportsTheErrorThatDecodingShows) {
  const Checkpoint model = float_model();
  const std::vector<DType> types = choose_types(model, find_recipe("q4_0"), {}, nullptr);
  QuantizeReport report;
  uint64_t last = 0, total = 0;
  const Checkpoint out = quantize(model, types,
                                  {.progress =
                                       [&](uint64_t done, uint64_t all) {
                                         EXPECT_GE(done, last);
                                         last = done;
                                         total = all;
                                       }},
                                  report);
  EXPECT_EQ(last, total);
  double error = 0, square = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    if (tensor_class(model.tensors[i].name) != "ffn_up") continue;
    std::vector<float> x(static_cast<size_t>(model.tensors[i].rows() * model.tensors[i].cols())), y(x.size());
    info(DType::f32).decode(model.tensors[i].data.data(), x.data(), x.size());
    info(types[i]).decode(out.tensors[i].data.data(), y.data(), y.size());
    for (size_t k = 0; k < x.size(); ++k) {
      error += std::pow(double{x[k]} - double{y[k]}, 2);
      square += double{x[k]} * double{x[k]};
    }
  }
  const QuantizedClass& up = report.classes.at("ffn_up");
  EXPECT_NEAR(up.relative_rms(), std::sqrt(error / square), 1e-9);
  EXPECT_DOUBLE_EQ(up.bits_per_weight(), 4.5);
  EXPECT_EQ(up.types.at("q4_0"), 2u);
  EXPECT_FALSE(report.classes.contains("attn_norm"));
}

TEST(Quantize, ErrsLessInTheColumnsThatMatter) {
  const Checkpoint model = float_model();
  const std::vector<DType> types = choose_types(model, find_recipe("q4_0"), {}, nullptr);
  Importances importances;
  std::vector<float>& of_up = importances.of_tensor["blk.0.ffn_up.weight"];
  of_up.assign(256, 1.0f);
  for (size_t i = 0; i < of_up.size(); i += 8) of_up[i] = 1000.0f;
  const auto error_there = [&](const Importances* known) {
    QuantizeReport report;
    const Checkpoint out = quantize(model, types, {.importances = known}, report);
    EXPECT_EQ(report.without_importances, known == nullptr ? 0 : 14u);  // 7 a layer and the head, but one
    const Tensor *from = model.find("blk.0.ffn_up.weight"), *to = out.find("blk.0.ffn_up.weight");
    std::vector<float> x(256), y(256);
    info(DType::f32).decode(from->data.data(), x.data(), x.size());
    info(DType::q4_0).decode(to->data.data(), y.data(), y.size());
    double error = 0;
    for (size_t i = 0; i < x.size(); i += 8) error += std::pow(double{x[i]} - double{y[i]}, 2);
    return error;
  };
  EXPECT_LT(error_there(&importances), 0.5 * error_there(nullptr));
}

TEST(Quantize, RefusesWeightsThatNoScaleExpresses) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), 1e6f}) {
    Checkpoint model = float_model();
    std::vector<uint8_t> altered;
    for (Tensor& tensor : model.tensors) {
      if (tensor.name != "blk.1.attn_k.weight") continue;
      altered.assign(tensor.data.begin(), tensor.data.end());
      std::memcpy(altered.data() + 3 * 256 * sizeof(float), &bad, sizeof bad);
      tensor.data = altered;
    }
    const std::vector<DType> types = choose_types(model, find_recipe("q8_0"), {}, nullptr);
    QuantizeReport report;
    expect_error([&] { quantize(model, types, {.n_threads = 3}, report); },
                 {"in row 3, expected 65504 at most"});
  }
}

TEST(Quantize, SamplesTheErrorOfSomeRows) {
  const Checkpoint model = float_model();
  const Tensor& tensor = *model.find("blk.0.ffn_gate.weight");
  const double all = sample_error(model, tensor, DType::q4_0, 1u << 20, nullptr).relative_rms();
  EXPECT_NEAR(sample_error(model, tensor, DType::q4_0, 32, nullptr).relative_rms(), all, 0.1 * all);
  EXPECT_LT(sample_error(model, tensor, DType::q8_0, 32, nullptr).relative_rms(), 0.1 * all);
}

}  // namespace
}  // namespace forge
