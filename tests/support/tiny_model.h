// Small random models, made in memory: every shape and mixture of types that a test wants.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "formats/checkpoint.h"

namespace forge::test {

struct TinyModel {
  std::string architecture = "llama";
  uint32_t n_layers = 2, n_hidden = 256, n_heads = 4, n_kv_heads = 2, head_dim = 64, n_ff = 512,
           n_vocab = 300;
  uint32_t ctx = 256;
  bool tied = true, qkv_bias = false, rope_factors = false;
  uint64_t seed = 1;
  // The type of a matrix, by the tensor's name; vectors are F32.
  std::function<DType(const std::string& tensor)> type = [](const std::string&) { return DType::q8_0; };
};

// As small as a model with several heads in a group can be, for tests of structure.
TinyModel small_model();
// Columns that are no multiple of 32 (floats allow it), one head, one layer, an odd vocabulary.
TinyModel odd_model();
// Every weight type that there is: one for each matrix of four layers.
TinyModel every_type_model();

// Weights are normal with a scale that keeps activations and logits near one.
Checkpoint make_checkpoint(const TinyModel& model);

}  // namespace forge::test
