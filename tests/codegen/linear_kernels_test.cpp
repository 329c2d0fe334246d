// Linears of every type, and gated products.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "interp/scalar_math.h"
#include "tests/codegen/kernels_test.h"

namespace forge::test {
namespace {

// Rows of q8 as the level's kernels lay them out.
struct Q8Rows {
  Aligned<uint8_t> rows;
  Q8Rows(const LinearKernels& kernels, const std::vector<float>& x, uint32_t n_rows, uint32_t stride,
         uint32_t cols)
      : rows(1) {
    const auto kernel = std::ranges::find(kernels.quantize, cols, &QuantizeKernel::cols);
    if (kernel == kernels.quantize.end()) return;
    rows = Aligned<uint8_t>(n_rows * kernel->row_bytes);
    for (uint32_t r = 0; r < n_rows; ++r)
      kernel->run(x.data() + r * stride, rows.data + r * kernel->row_bytes);
  }
};

constexpr uint32_t kOutputs = 40, kMaxRows = 35;  // two groups and a half; more rows than two blocks of rows

// All outputs of all rows: [kMaxRows, 48], padding zero.
std::vector<float> reference(const Weights& w, const std::vector<float>& x, uint32_t stride) {
  std::vector<float> out(kMaxRows * pad16(w.rows));
  for (uint32_t r = 0; r < kMaxRows; ++r) {
    const float* row = x.data() + r * stride;
    const Quantized q = block_codec(w.type) != nullptr ? quantize(row, w.cols) : Quantized{};
    for (uint32_t n = 0; n < w.rows; ++n) out[r * pad16(w.rows) + n] = dot(w, n, row, q);
  }
  return out;
}

std::string describe(const LinearKernel& k) {
  return std::string(info(static_cast<DType>(k.type)).name) + " x " + std::to_string(k.cols);
}

// Activations as all tests of linears give them, and the call of all outputs for the first n_rows of them.
struct LinearInputs {
  uint32_t stride;
  std::vector<float> x;
  Q8Rows q8;

  LinearInputs(const LinearKernels& kernels, std::vector<float> values, uint32_t cols, uint32_t x_stride)
      : stride(x_stride), x(std::move(values)), q8(kernels, x, kMaxRows, stride, cols) {}
  LinearInputs(const LinearKernels& kernels, uint32_t cols, uint32_t x_stride, uint32_t seed)
      : LinearInputs(kernels, normal(size_t{kMaxRows} * x_stride, seed), cols, x_stride) {}

  LinearCall call(const Weights& w, uint32_t n_rows, float* out) const {
    return {.group_begin = 0,
            .group_end = 3,
            .n_rows = n_rows,
            .weight = w.packed.data,
            .q8 = q8.rows.data,
            .x = x.data(),
            .x_stride = stride,
            .out = out,
            .out_stride = 48};
  }
};

TEST_P(Kernels, LinearOfEveryTypeAndNumberOfRows) {
  for (const LinearKernel& kernel : level_.linear.linear) {
    const auto type = static_cast<DType>(kernel.type);
    const Weights w(type, kOutputs, kernel.cols, blocks(type, kOutputs, kernel.cols, kernel.cols));
    const LinearInputs in(level_.linear, kernel.cols, pad16(kernel.cols) + 16, 7);
    const std::vector<float> expected = reference(w, in.x, in.stride);
    for (uint32_t n_rows = 1; n_rows <= kMaxRows; n_rows += n_rows < 9 ? 1 : 13) {
      Aligned<float> out((n_rows + 1) * 48);
      LinearCall call = in.call(w, n_rows, out.data);
      call.group_end = 1;
      kernel.run(call);
      EXPECT_TRUE(std::isnan(out.data[16])) << describe(kernel) << ": wrote beyond its groups";
      call.group_begin = 1;
      call.group_end = 3;
      kernel.run(call);
      expect_bits(out.data, expected.data(), n_rows * 48,
                  level_.name + ", " + describe(kernel) + ", " + std::to_string(n_rows) + " rows");
      EXPECT_TRUE(std::isnan(out.data[n_rows * 48])) << describe(kernel) << ": wrote beyond its rows";
    }
  }
}

TEST_P(Kernels, LinearAddsBiasAndResidual) {
  for (const LinearKernel& kernel : level_.linear.linear) {
    if (kernel.cols > 40) continue;
    const auto type = static_cast<DType>(kernel.type), bias_type = static_cast<DType>(kernel.bias_type);
    const Weights w(type, kOutputs, kernel.cols, blocks(type, kOutputs, kernel.cols, 3));
    const LinearInputs in(level_.linear, kernel.cols, pad16(kernel.cols), 8);
    const std::vector<uint8_t> bias_source = blocks(bias_type, 1, kOutputs, 4);
    std::vector<uint8_t> bias(packed_bytes(bias_type, Layout::row, 1, kOutputs));
    pack(bias_type, Layout::row, 1, kOutputs, bias_source, bias);
    std::vector<float> bias_values(48), addend = normal(kMaxRows * 48, 9);
    info(bias_type).decode(bias_source.data(), bias_values.data(), kOutputs);
    const std::vector<float> plain = reference(w, in.x, in.stride);
    for (const auto& [with_bias, with_addend] : {std::pair{true, false}, {false, true}, {true, true}}) {
      Aligned<float> out(kMaxRows * 48);
      LinearCall call = in.call(w, kMaxRows, out.data);
      if (with_bias) call.bias = bias.data();
      if (with_addend) call.addend = addend.data();
      kernel.run(call);
      std::vector<float> expected = plain;
      for (size_t i = 0; i < expected.size(); ++i) {
        if (with_bias) expected[i] += bias_values[i % 48];
        if (with_addend) expected[i] += addend[i];
      }
      expect_bits(out.data, expected.data(), expected.size(), level_.name + ", " + describe(kernel));
    }
  }
}

// The largest sums there are: all quants at either end against activations at either end. Where a level adds
// pairs of products in 16 bits, they must not overflow.
TEST_P(Kernels, LinearOfExtremes) {
  for (const LinearKernel& kernel : level_.linear.linear) {
    const auto type = static_cast<DType>(kernel.type);
    if (block_codec(type) == nullptr) continue;
    std::vector<float> x(size_t{kMaxRows} * kernel.cols);
    for (size_t i = 0; i < x.size(); ++i) {
      constexpr std::array<float, 4> kSigns = {1, -1, 1, 0};
      const size_t row = i / kernel.cols, k = i % kernel.cols;
      x[i] = row == 0 ? 1.0F : row == 1 ? -1.0F : kSigns[(k * (row - 1) + row) % 4];
    }
    ASSERT_EQ(quantize(x.data(), kernel.cols).q[0], 127);
    const LinearInputs in(level_.linear, std::move(x), kernel.cols, kernel.cols);
    for (const int fill : {0x00, 0x7F, 0x80, 0x81, 0xFF}) {  // 0x80: -128 in q8_0
      const Weights w(type, kOutputs, kernel.cols, blocks(type, kOutputs, kernel.cols, 5, fill));
      Aligned<float> out(kMaxRows * 48);
      kernel.run(in.call(w, kMaxRows, out.data));
      const std::vector<float> expected = reference(w, in.x, in.stride);
      expect_bits(out.data, expected.data(), expected.size(),
                  level_.name + ", " + describe(kernel) + ", quants of " + std::to_string(fill));
    }
  }
}

TEST_P(Kernels, GatedProduct) {
  for (const LinearKernel& kernel : level_.linear.gated) {
    const auto gate_type = static_cast<DType>(kernel.type), up_type = static_cast<DType>(kernel.up_type);
    const Weights gate(gate_type, kOutputs, kernel.cols, blocks(gate_type, kOutputs, kernel.cols, 1)),
        up(up_type, kOutputs, kernel.cols, blocks(up_type, kOutputs, kernel.cols, 2));
    const LinearInputs in(level_.linear, kernel.cols, pad16(kernel.cols), 10);
    std::vector<float> expected = reference(gate, in.x, in.stride);
    const std::vector<float> other = reference(up, in.x, in.stride);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = kernel_silu(expected[i]) * other[i];
    for (const uint32_t n_rows : {1U, 2U, 5U, 9U}) {
      Aligned<float> out(n_rows * 48);
      LinearCall call = in.call(gate, n_rows, out.data);
      call.up = up.packed.data;
      kernel.run(call);
      expect_bits(out.data, expected.data(), n_rows * 48, level_.name + ", gate " + describe(kernel));
    }
  }
}

}  // namespace
}  // namespace forge::test
