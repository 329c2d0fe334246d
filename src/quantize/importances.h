// How much the columns of each matrix matter: the mean square of the activations that they are multiplied with.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace forge {

// A weight's error of d in a column of importance w adds w * d^2 to the expected squared error of its output, as far as
// activations are uncorrelated.
struct Importances {
  std::unordered_map<std::string, std::vector<float>> of_tensor;  // by the tensor's name; one a column
  std::string origin;                                             // "imatrix FILE", for messages and `info`

  // Empty where nothing is known of the tensor. Throws Error unless there is one a column.
  std::span<const float> find(const std::string& tensor, size_t cols) const;
};

// Reads a llama.cpp importance matrix: GGUF with tensors NAME.in_sum2 and NAME.counts, or the older binary format.
// Throws Error naming the file and the entry.
Importances read_imatrix(const std::string& path);

// For an encoder: mean 1, and none so small that its column would be given up.
std::vector<float> encoder_weights(std::span<const float> importances);

}  // namespace forge
