// Quantizing: from a checkpoint to one whose matrices are stored in fewer bits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "quantize/importances.h"
#include "quantize/recipe.h"

namespace forge {

// What quantizing did to the matrices of one class ("attn_q"), and to all.
struct QuantizedClass {
  uint64_t weights = 0, bytes = 0;
  double error = 0, square = 0;  // sum of w * (x - decoded)^2 and of w * x^2, w the importances (1 without)
  std::map<std::string_view, size_t> types;  // type's name -> tensors

  // Root of error over square.
  double relative_rms() const;
  double bits_per_weight() const;
  void add(const QuantizedClass& other);
};

struct QuantizeReport {
  std::map<std::string, QuantizedClass, std::less<>> classes;
  QuantizedClass total;            // of those
  size_t without_importances = 0;  // matrices that importances were given for others only
};

// The report as lines of a table.
std::vector<std::string> describe(const QuantizeReport& report);

struct QuantizeWork {
  const Importances* importances = nullptr;
  unsigned n_threads = 1;
  // Told how many bytes of the tensors to encode are done; may be null.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// The checkpoint with tensor i in types[i]: encoded anew, for the least error, where that is another type than its own.
// It shares the storage of the others. Throws Error for weights that are not finite or beyond float16's range.
Checkpoint quantize(const Checkpoint& checkpoint, std::span<const DType> types, const QuantizeWork& work,
                    QuantizeReport& report);

// quantize() of some rows of a tensor, spread evenly, to learn what it costs: the error alone.
QuantizedClass sample_error(const Checkpoint& checkpoint, const Tensor& tensor, DType type, size_t rows,
                            const Importances* importances);

}  // namespace forge
