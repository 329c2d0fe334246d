#include "quantize/importances.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/mapped_file.h"
#include "formats/checkpoint.h"
#include "formats/gguf_encoding.h"

namespace forge {
namespace {

constexpr size_t kMaxName = 1024;
constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

// Adds an entry of sums over `count` rows.
void add(Importances& to, const std::string& path, std::string name, std::vector<float> sums, double count) {
  for (float& value : sums) {
    value = static_cast<float>(static_cast<double>(value) / count);
    if (!(value >= 0 && std::isfinite(value)))
      fail("{}: entry {} holds {}, expected finite sums of squares of one row at least", path, quote(name),
           value);
  }
  if (!to.of_tensor.try_emplace(std::move(name), std::move(sums)).second)
    fail("{}: an entry stands twice, expected each once", path);
}

std::vector<float> floats(const std::string& path, const Tensor& tensor) {
  if (tensor.type != DType::f32) fail("{}: tensor {} is no f32", path, quote(tensor.name));
  std::vector<float> out(tensor.data.size() / sizeof(float));
  info(DType::f32).decode(tensor.data.data(), out.data(), out.size());
  return out;
}

void read_gguf_entries(const std::string& path, Importances& out) {
  const Checkpoint file = read_gguf(path);
  if (file.meta.string("general.type").value_or("") != "imatrix")
    fail("{}: a GGUF file of type {}, expected an importance matrix ('imatrix')", path,
         quote(file.meta.string("general.type").value_or("none")));
  std::unordered_map<std::string_view, const Tensor*> by_name;
  for (const Tensor& tensor : file.tensors) by_name[tensor.name] = &tensor;
  for (const Tensor& tensor : file.tensors) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    const auto counts = by_name.find(name + std::string(kCounts));
    if (counts == by_name.end()) fail("{}: tensor {}{} is missing", path, quote(name), kCounts);
    const std::vector<float> count = floats(path, *counts->second);
    // An entry of several counts is of experts, which are not supported; a count of 0 says nothing.
    if (count.size() == 1 && count[0] > 0)
      add(out, path, name, floats(path, tensor), static_cast<double>(count[0]));
  }
}

// Entries of (length, name, calls, number of values, values), all integers 32-bit; then calls and the text's name.
void read_binary_entries(const std::string& path, std::span<const uint8_t> bytes, Importances& out) {
  GgufCursor cursor(path, bytes);
  cursor.enter("what should be the number of an importance matrix's entries");
  const auto count = [&cursor](uint64_t limit) {
    const int32_t n = cursor.number<int32_t>();
    if (n < 1 || static_cast<uint64_t>(n) > limit)
      cursor.refuse(fmt::format("count {}", n), fmt::format("1 to {}", limit));
    return static_cast<size_t>(n);
  };
  const size_t entries = count(cursor.left());
  for (size_t i = 0; i < entries; ++i) {
    cursor.enter(fmt::format("entry {}", i));
    const auto name = cursor.take(count(std::min<uint64_t>(cursor.left(), kMaxName)));
    const size_t calls = count(INT32_MAX);
    std::vector<float> sums(count(cursor.left() / sizeof(float)));
    for (float& value : sums) value = cursor.number<float>();
    add(out, path, {name.begin(), name.end()}, std::move(sums), static_cast<double>(calls));
  }
}

}  // namespace

std::span<const float> Importances::find(const std::string& tensor, size_t cols) const {
  const auto it = of_tensor.find(tensor);
  if (it == of_tensor.end()) return {};
  if (it->second.size() != cols)
    fail("{}: {} importances for tensor {}, which has {} columns; it is of another model", origin,
         it->second.size(), quote(tensor), cols);
  return it->second;
}

Importances read_imatrix(const std::string& path) {
  const MappedFile file(path);
  const std::span<const uint8_t> bytes = file.bytes();
  Importances out;
  out.origin = "imatrix " + path;
  if (bytes.size() >= kGgufMagic.size() && std::equal(kGgufMagic.begin(), kGgufMagic.end(), bytes.begin()))
    read_gguf_entries(path, out);
  else
    read_binary_entries(path, bytes, out);
  if (out.of_tensor.empty()) fail("{}: no entry with importances", path);
  return out;
}

std::vector<float> encoder_weights(std::span<const float> importances) {
  double total = 0;
  for (const float w : importances) total += static_cast<double>(w);
  // A column that a text happened not to excite is still read by others.
  constexpr double kLeast = 1e-4;
  const double mean = total / static_cast<double>(importances.size());
  std::vector<float> out(importances.size(), 1.0f);
  if (!(mean > 0)) return out;
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(std::max(static_cast<double>(importances[i]) / mean, kLeast));
  return out;
}

}  // namespace forge
