#include "ir/weight_tensor.h"

#include "core/error.h"

namespace forge {

Tensor weight_tensor(const Checkpoint& checkpoint, const Weight& weight, uint32_t layer) {
  const std::string name = weight.tensor_name(layer);
  const Tensor* whole = checkpoint.find(name);
  if (whole == nullptr) fail("{}: tensor {} is missing", checkpoint.path, name);
  const bool is_vector = weight.rows == 1;
  const uint64_t n = is_vector ? weight.cols : weight.rows;
  const uint64_t n_whole = static_cast<uint64_t>(is_vector ? whole->cols() : whole->rows());
  if (weight.first + n > n_whole)
    fail("{}: tensor {} has {} rows, expected {} from {}", checkpoint.path, name, n_whole, n, weight.first);
  Tensor out = *whole;
  out.shape = is_vector ? std::vector<int64_t>{weight.cols} : std::vector<int64_t>{weight.rows, weight.cols};
  const size_t one = is_vector ? row_bytes(whole->type, 1) : row_bytes(whole->type, weight.cols);
  out.data = whole->data.subspan(weight.first * one, n * one);
  return out;
}

}  // namespace forge
