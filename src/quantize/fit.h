// The best types within a size.
//
// What a type costs is estimated from what was measured: each matrix's relative squared error in that type, weighted by
// importances where there are some. That is the noise-to-signal power of what the matrix gives out, as far as
// activations are uncorrelated, and noise of independent sources adds up. How much the same noise hurts differs by
// class: see kSensitivity in fit.cpp.
//
// Matrices of a class get one type in the outer layers (the first and the last eighth), and one in the others: types that
// change from layer to layer would make the compiler emit code for every layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "quantize/importances.h"
#include "quantize/recipe.h"

namespace forge {

struct Fit {
  std::vector<DType> types;       // of every tensor
  std::vector<std::string> plan;  // what was chosen, a line each
  uint64_t bytes = 0;             // of all tensors
};

// Types for the least estimated damage with all tensors in `budget` bytes. `overrides` are kept to, and so is what
// is_quantizable() excludes. Throws a usage Error where nothing is that small, naming the least size.
Fit fit_types(const Checkpoint& checkpoint, uint64_t budget, std::span<const TensorType> overrides,
              const Importances* importances, unsigned n_threads);

// "600MB", "1.5GiB", "700000": bytes. Throws a usage Error for what is no size.
uint64_t parse_size(const std::string& text);

}  // namespace forge
