#include "quantize/recipe.h"

#include <gtest/gtest.h>

#include <cctype>
#include <set>

#include "tests/core/expect_error.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

using test::make_checkpoint;
using test::TinyModel;

TinyModel model_of(uint32_t n_layers, uint32_t n_hidden = 256) {
  TinyModel model;
  model.n_layers = n_layers;
  model.n_hidden = n_hidden;
  model.n_vocab = 32;
  model.type = [](const std::string&) { return DType::f16; };
  return model;
}

struct Chosen {
  Checkpoint checkpoint;
  std::vector<DType> types;
  std::vector<std::string> notes;

  Chosen(const TinyModel& model, std::string_view recipe, const std::vector<TensorType>& overrides = {})
      : checkpoint(make_checkpoint(model)) {
    types = choose_types(checkpoint, find_recipe(recipe), overrides,
                         [this](std::string_view line) { notes.emplace_back(line); });
  }
  std::string_view type(std::string_view name) const {
    for (size_t i = 0; i < types.size(); ++i)
      if (checkpoint.tensors[i].name == name) return info(types[i]).name;
    return "no such tensor";
  }
};

TEST(Recipe, NamesAreUniqueAndFound) {
  std::set<std::string_view> names;
  std::set<uint32_t> numbers;
  for (const Recipe& recipe : all_recipes()) {
    EXPECT_TRUE(names.insert(recipe.name).second) << recipe.name;
    EXPECT_TRUE(numbers.insert(recipe.file_type).second) << recipe.name;
    EXPECT_EQ(&find_recipe(recipe.name), &recipe);
    std::string capitals(recipe.name);
    for (char& c : capitals) c = static_cast<char>(std::toupper(c));
    EXPECT_EQ(&find_recipe(capitals), &recipe);
  }
  expect_error([] { find_recipe("q9_z"); }, {"no quantization 'q9_z'; there are f32, "}, 2);
}

TEST(Recipe, MixturesGiveSomeLayersMoreBits) {
  const Chosen c(model_of(16), "q4_k_m");
  EXPECT_EQ(c.type("token_embd.weight"), "q6_k");  // it is the output matrix as well
  // The first and the last eighth of 16 layers, and every third between.
  const std::set<int> more = {0, 1, 4, 7, 10, 13, 14, 15};
  for (int layer = 0; layer < 16; ++layer) {
    const std::string prefix = fmt::format("blk.{}.", layer);
    EXPECT_EQ(c.type(prefix + "attn_v.weight"), more.contains(layer) ? "q6_k" : "q4_k") << layer;
    EXPECT_EQ(c.type(prefix + "ffn_down.weight"), more.contains(layer) ? "q6_k" : "q4_k") << layer;
    EXPECT_EQ(c.type(prefix + "attn_q.weight"), "q4_k");
    EXPECT_EQ(c.type(prefix + "attn_norm.weight"), "f32");
  }
  EXPECT_TRUE(c.notes.empty());
}

TEST(Recipe, AnUntiedEmbeddingIsNoHead) {
  TinyModel model = model_of(2);
  model.tied = false;
  const Chosen c(model, "q4_k_m");
  EXPECT_EQ(c.type("token_embd.weight"), "q4_k");
  EXPECT_EQ(c.type("output.weight"), "q6_k");
}

TEST(Recipe, TheFirstPatternThatMatchesDecides) {
  const Chosen c(model_of(2), "q4_0",
                 {parse_tensor_type("blk.1.attn_q=f16"), parse_tensor_type("attn_[qk]=q8_0")});
  EXPECT_EQ(c.type("blk.0.attn_q.weight"), "q8_0");
  EXPECT_EQ(c.type("blk.1.attn_q.weight"), "f16");
  EXPECT_EQ(c.type("blk.1.attn_k.weight"), "q8_0");
  EXPECT_EQ(c.type("blk.1.attn_v.weight"), "q4_0");
}

TEST(Recipe, RefusesWhatMatchesNothing) {
  expect_error([] { Chosen(model_of(1), "q4_0", {{"attn_z", DType::f16}}); },
               {"no matrix matches the pattern 'attn_z'"}, 2);
  expect_error([] { parse_tensor_type("attn_q"); }, {"tensor type attn_q: expected PATTERN=TYPE"}, 2);
  expect_error([] { parse_tensor_type("attn[=q8_0"); },
               {"tensor type attn[=q8_0: the pattern has a [ without"}, 2);
  expect_error([] { parse_tensor_type("=f16"); }, {"expected PATTERN=TYPE"}, 2);
  expect_error([] { parse_tensor_type("attn_q=q9"); }, {"no type 'q9'; there are f32, "}, 2);
}

TEST(Recipe, RowsThatDoNotFitTakeALargerType) {
  const Chosen c(model_of(1, 96), "q4_k_s");
  EXPECT_EQ(c.type("blk.0.attn_q.weight"), "q5_0");
  EXPECT_EQ(c.type("token_embd.weight"), "q8_0");
  EXPECT_EQ(c.type("blk.0.ffn_down.weight"), "q4_k");
  ASSERT_FALSE(c.notes.empty());
  EXPECT_EQ(c.notes[0], "attn_k: rows of 96 weights are no multiple of q4_k's 256: q5_0");
  EXPECT_EQ(fitting_type(DType::q5_k, 96), DType::q5_1);
  EXPECT_EQ(fitting_type(DType::q8_0, 33), DType::f16);
  EXPECT_EQ(fitting_type(DType::f32, 33), DType::f32);
}

TEST(Recipe, WhatIsSmallAlreadyStays) {
  TinyModel model = model_of(1);
  model.type = [](const std::string&) { return DType::q4_0; };
  const Chosen c(model, "q8_0");
  EXPECT_EQ(c.type("blk.0.attn_q.weight"), "q4_0");
  EXPECT_EQ(c.notes.size(), 8u);  // a class each
  EXPECT_EQ(c.notes[0], "attn_k: stays q4_0, q8_0 would be no better");
  EXPECT_EQ(Chosen(model, "q4_0").notes.size(), 1u);  // the head alone, of which the recipe wants q6_k
}

TEST(Recipe, TakesNamesApart) {
  EXPECT_EQ(tensor_class("blk.3.attn_q.weight"), "attn_q");
  EXPECT_EQ(tensor_class("output.weight"), "output");
  EXPECT_EQ(tensor_layer("blk.12.ffn_up.weight"), 12);
  for (const char* name : {"blk..x", "blk.1", "blk.-1.x", "blk.99999999999999999999.x", "output.weight"})
    EXPECT_EQ(tensor_layer(name), std::nullopt) << name;
}

}  // namespace
}  // namespace forge
