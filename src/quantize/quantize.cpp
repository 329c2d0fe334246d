#include "quantize/quantize.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "quantize/encode.h"
#include "quantize/parallel.h"

namespace forge {
namespace {

// Weights that a worker encodes at a time, about.
constexpr size_t kChunkWeights = size_t{1} << 16;

struct RowError {
  double error = 0, square = 0;
};

// Rows of one tensor on their way from one type to another.
struct Rows {
  const Checkpoint& checkpoint;
  const Tensor& tensor;
  DType type;
  std::vector<float> importances;  // for the encoder; empty: all alike

  Rows(const Checkpoint& in, const Tensor& t, DType to, const Importances* known)
      : checkpoint(in), tensor(t), type(to) {
    if (known == nullptr) return;
    if (const auto found = known->find(t.name, cols()); !found.empty()) importances = encoder_weights(found);
  }

  size_t cols() const { return static_cast<size_t>(tensor.cols()); }
  size_t count() const { return static_cast<size_t>(tensor.rows()); }

  // Encodes row `row` into `out`; x and y are memory for cols() floats each.
  RowError encode(size_t row, std::vector<float>& x, std::vector<float>& y, uint8_t* out) const {
    x.resize(cols());
    y.resize(cols());
    info(tensor.type).decode(tensor.data.data() + row * row_bytes(tensor.type, cols()), x.data(), cols());
    for (const float value : x) {
      if (!(std::fabs(value) <= kMaxWeight))
        fail("{}: tensor {} holds {} in row {}, expected {} at most; --tensor-type {}={} leaves it as it is",
             checkpoint.path, quote(tensor.name), value, row, kMaxWeight, tensor_class(tensor.name),
             info(tensor.type).name);
    }
    encode_least_error(type, x.data(), importances.empty() ? nullptr : importances.data(), cols(), out);
    info(type).decode(out, y.data(), cols());
    RowError sums;
    for (size_t i = 0; i < cols(); ++i) {
      const double w = importances.empty() ? 1.0 : double{importances[i]},
                   difference = double{x[i]} - double{y[i]};
      sums.error += w * difference * difference;
      sums.square += w * double{x[i]} * double{x[i]};
    }
    return sums;
  }
};

}  // namespace

double QuantizedClass::relative_rms() const { return square > 0 ? std::sqrt(error / square) : 0.0; }

double QuantizedClass::bits_per_weight() const {
  return weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0.0;
}

void QuantizedClass::add(const QuantizedClass& other) {
  weights += other.weights;
  bytes += other.bytes;
  error += other.error;
  square += other.square;
  for (const auto& [type, n] : other.types) types[type] += n;
}

std::vector<std::string> describe(const QuantizeReport& report) {
  std::vector<std::string> lines = {fmt::format("{:<16}{:>10}{:>12}{:>14}  {}", "matrices", "weights",
                                                "bits/weight", "relative rms", "types")};
  const auto line = [&](std::string_view name, const QuantizedClass& c) {
    std::string types;
    for (const auto& [type, n] : c.types)
      types += fmt::format("{}{} x {}", types.empty() ? "" : ", ", type, n);
    lines.push_back(fmt::format("{:<16}{:>9.1f}M{:>12.2f}{:>13.3f}%  {}", name,
                                static_cast<double>(c.weights) / 1e6, c.bits_per_weight(),
                                100 * c.relative_rms(), types));
  };
  for (const auto& [name, c] : report.classes) line(name, c);
  line("all", report.total);
  if (report.without_importances > 0)
    lines.push_back(fmt::format("{} matrices have no importances: their columns count alike",
                                report.without_importances));
  return lines;
}

Checkpoint quantize(const Checkpoint& checkpoint, std::span<const DType> types, const QuantizeWork& work,
                    QuantizeReport& report) {
  Checkpoint out = checkpoint;
  uint64_t total = 0, done = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    const Tensor& from = checkpoint.tensors[i];
    if (types[i] != from.type) total += from.data.size();
  }
  for (size_t i = 0; i < types.size(); ++i) {
    const Tensor& from = checkpoint.tensors[i];
    if (!is_quantizable(from)) continue;
    QuantizedClass done_here;
    done_here.weights = static_cast<uint64_t>(from.rows() * from.cols());
    done_here.types[info(types[i]).name] = 1;
    done_here.bytes = from.data.size();
    if (types[i] != from.type) {
      const Rows rows(checkpoint, from, types[i], work.importances);
      if (work.importances != nullptr && rows.importances.empty()) ++report.without_importances;
      const size_t out_row = row_bytes(types[i], rows.cols());
      const auto encoded = std::make_shared<std::vector<uint8_t>>(rows.count() * out_row);
      const size_t chunk_rows = std::max<size_t>(1, kChunkWeights / rows.cols());
      const size_t chunks = (rows.count() + chunk_rows - 1) / chunk_rows;
      std::vector<RowError> errors(
          chunks);  // added up in order: the same sums however many threads there are
      std::atomic<uint64_t> rows_done = 0;
      in_parallel(chunks, work.n_threads, [&](size_t chunk, unsigned thread) {
        std::vector<float> x, y;
        const size_t end = std::min(rows.count(), (chunk + 1) * chunk_rows);
        for (size_t row = chunk * chunk_rows; row < end; ++row) {
          const RowError e = rows.encode(row, x, y, encoded->data() + row * out_row);
          errors[chunk].error += e.error;
          errors[chunk].square += e.square;
        }
        rows_done += end - chunk * chunk_rows;
        if (work.progress && thread == 0)
          work.progress(done + rows_done * row_bytes(from.type, rows.cols()), total);
      });
      for (const RowError& e : errors) {
        done_here.error += e.error;
        done_here.square += e.square;
      }
      done += from.data.size();
      done_here.bytes = encoded->size();
      Tensor& to = out.tensors[i];
      to.type = types[i];
      to.data = *encoded;
      out.storage.push_back(encoded);
    }
    report.classes[std::string(tensor_class(from.name))].add(done_here);
    report.total.add(done_here);
  }
  return out;
}

QuantizedClass sample_error(const Checkpoint& checkpoint, const Tensor& tensor, DType type, size_t rows,
                            const Importances* importances) {
  const Rows all(checkpoint, tensor, type, importances);
  const size_t n = std::min(rows, all.count());
  std::vector<uint8_t> out(row_bytes(type, all.cols()));
  std::vector<float> x, y;
  QuantizedClass sums;
  for (size_t i = 0; i < n; ++i) {
    const RowError e = all.encode(i * all.count() / n, x, y, out.data());
    sums.error += e.error;
    sums.square += e.square;
  }
  return sums;
}

}  // namespace forge
