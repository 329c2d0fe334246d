// What is done row by row: quantizing, norms, functions, embedding, rotation.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "interp/scalar_math.h"
#include "quant/half.h"
#include "tests/codegen/kernels_test.h"

namespace forge::test {
namespace {

std::vector<float> awkward_floats(uint32_t n, uint32_t kind) {
  std::vector<float> x = normal(n, 20 + kind);
  for (uint32_t i = 0; i < n; ++i) {
    switch (kind) {
      case 1: x[i] = 0; break;
      case 2: x[i] = i % 32 == 5 ? -1e20F : x[i]; break;
      case 3: x[i] *= 1e-32F; break;  // below what is quantized
      case 4: x[i] = std::numeric_limits<float>::denorm_min(); break;
      case 5: x[i] = static_cast<float>(static_cast<int>(i % 32) - 15) * 0.5F; break;  // ties
      case 6: x[i] = std::copysign(3.0e38F, x[i]); break;
      case 7: x[i] = i % 32 == 0 ? 127.0F : static_cast<float>(i % 9) + 0.5F; break;  // d = 1: exact ties
      default: break;
    }
  }
  return x;
}

TEST_P(Kernels, Quantize) {
  for (const QuantizeKernel& kernel : level_.linear.quantize)
    for (uint32_t kind = 0; kind < 8; ++kind) {
      const std::vector<float> x = awkward_floats(kernel.cols, kind);
      Aligned<uint8_t> row(kernel.row_bytes);
      kernel.run(x.data(), row.data);
      Quantized actual{std::vector<int8_t>(kernel.cols), std::vector<float>(kernel.cols / 32)};
      kernel.read(row.data, actual.q.data(), actual.d.data());
      const Quantized expected = quantize(x.data(), kernel.cols);
      EXPECT_EQ(actual.q, expected.q) << level_.name << ", " << kernel.cols << " columns, kind " << kind;
      expect_bits(actual.d.data(), expected.d.data(), expected.d.size(), level_.name);
    }
}

// A gain or a bias as it lies in the payload, and what it holds.
struct RowWeight {
  std::vector<uint8_t> packed;
  std::vector<float> values;

  RowWeight(uint32_t type_number, uint32_t n, uint32_t seed) : values(n) {
    const auto type = static_cast<DType>(type_number);
    const std::vector<uint8_t> source = blocks(type, 1, n, seed);
    packed.resize(packed_bytes(type, Layout::row, 1, n));
    pack(type, Layout::row, 1, n, source, packed);
    info(type).decode(source.data(), values.data(), n);
  }
};

float inverse_norm(const float* x, uint32_t n, float eps) {
  LaneSum squares;
  for (uint32_t i = 0; i < n; ++i) squares.lane[i % 16] = std::fmaf(x[i], x[i], squares.lane[i % 16]);
  return 1.0F / std::sqrt(squares.total() / static_cast<float>(n) + eps);
}

// What run(y, q8_row) writes against the expected n values: floats with their padding, and their quantized form, together
// and alone.
template <class Run>
void check_norm(const Level& level, uint32_t n, const std::vector<float>& expected, const Run& run) {
  Aligned<float> y(pad16(n) + 16);
  const auto quantizer = std::ranges::find(level.linear.quantize, n, &QuantizeKernel::cols);
  const bool quantized = quantizer != level.linear.quantize.end();
  Aligned<uint8_t> row(quantized ? quantizer->row_bytes : 1);
  run(y.data, quantized ? row.data : nullptr);
  expect_bits(y.data, expected.data(), pad16(n), level.name + ", " + std::to_string(n) + " columns");
  EXPECT_TRUE(std::isnan(y.data[pad16(n)])) << "wrote beyond its row";
  if (!quantized) return;
  const Quantized rounded = quantize(expected.data(), n);
  for (const bool alone : {false, true}) {
    if (alone) {
      row = Aligned<uint8_t>(quantizer->row_bytes);
      run(nullptr, row.data);
    }
    Quantized actual{std::vector<int8_t>(n), std::vector<float>(n / 32)};
    quantizer->read(row.data, actual.q.data(), actual.d.data());
    EXPECT_EQ(actual.q, rounded.q);
    expect_bits(actual.d.data(), rounded.d.data(), rounded.d.size(), level.name);
  }
}

TEST_P(Kernels, RmsNorm) {
  for (const NormKernel& kernel : level_.rows.norm) {
    const uint32_t n = kernel.cols;
    const RowWeight gain(kernel.gain_type, n, 30);
    std::vector<float> x = normal(pad16(n), 31), expected(pad16(n));
    std::fill(x.begin() + n, x.end(), 0.0F);
    const float inverse = inverse_norm(x.data(), n, 1e-5F);
    for (uint32_t i = 0; i < n; ++i) expected[i] = x[i] * inverse * gain.values[i];
    check_norm(level_, n, expected,
               [&](float* y, uint8_t* q) { kernel.run(x.data(), gain.packed.data(), 1e-5F, y, q); });
  }
}

TEST_P(Kernels, LayerNorm) {
  for (const LayerNormKernel& kernel : level_.rows.layer_norm)
    for (const bool has_bias : {true, false}) {
      const uint32_t n = kernel.cols;
      const RowWeight gain(kernel.gain_type, n, 33), bias(kernel.bias_type, n, 34);
      std::vector<float> x = normal(pad16(n), 35), expected(pad16(n)), centred(n);
      for (uint32_t i = 0; i < pad16(n); ++i) x[i] = i < n ? x[i] + 3.0F : 0.0F;
      LaneSum sum;
      for (uint32_t i = 0; i < n; ++i) sum.lane[i % 16] += x[i];
      const float mean = sum.total() / static_cast<float>(n);
      for (uint32_t i = 0; i < n; ++i) centred[i] = x[i] - mean;
      const float inverse = inverse_norm(centred.data(), n, 1e-5F);
      for (uint32_t i = 0; i < n; ++i) {
        expected[i] = centred[i] * inverse * gain.values[i];
        if (has_bias) expected[i] += bias.values[i];
      }
      check_norm(level_, n, expected, [&](float* y, uint8_t* q) {
        kernel.run(x.data(), gain.packed.data(), has_bias ? bias.packed.data() : nullptr, 1e-5F, y, q);
      });
    }
}

TEST_P(Kernels, HeadNorm) {
  for (const HeadNormKernel& kernel : level_.rows.head_norm) {
    constexpr uint32_t kHeads = 5;
    const uint32_t dim = kernel.head_dim;
    const RowWeight gain(kernel.gain_type, dim, 36);
    const std::vector<float> x = normal(kHeads * dim, 37, 2);
    Aligned<float> y(kHeads * dim);
    kernel.run(x.data(), 1, 4, gain.packed.data(), 1e-6F, y.data);
    EXPECT_TRUE(std::isnan(y.data[dim - 1]) && std::isnan(y.data[4 * dim])) << "wrote another worker's head";
    kernel.run(x.data(), 0, 1, gain.packed.data(), 1e-6F, y.data);
    kernel.run(x.data(), 4, 5, gain.packed.data(), 1e-6F, y.data);
    std::vector<float> expected(kHeads * dim);
    for (uint32_t h = 0; h < kHeads; ++h) {
      const float inverse = inverse_norm(&x[h * dim], dim, 1e-6F);
      for (uint32_t i = 0; i < dim; ++i) expected[h * dim + i] = x[h * dim + i] * inverse * gain.values[i];
    }
    expect_bits(y.data, expected.data(), expected.size(), level_.name + ", heads of " + std::to_string(dim));
  }
}

TEST_P(Kernels, FunctionsAreTheInterpreters) {
  std::vector<float> x = {0.0F,
                          -0.0F,
                          1.0F,
                          -1.0F,
                          87.0F,
                          -87.0F,
                          88.0F,
                          -88.0F,
                          87.5F,
                          89.0F,
                          1000.F,
                          -1000.F,
                          1e-40F,
                          -1e-40F,
                          3.4e38F,
                          -3.4e38F,
                          0.34657359F,
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(),
                          kNaN};
  const std::vector<float> more = normal(5000, 40, 30);
  x.insert(x.end(), more.begin(), more.end());
  x.resize(x.size() / 16 * 16);
  std::vector<float> y(x.size()), expected(x.size());
  const auto compare = [&](const char* what, const auto& vectors, const auto& one) {
    vectors(x.data(), y.data(), static_cast<uint32_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) expected[i] = one(x[i]);
    for (size_t i = 0; i < x.size(); ++i)
      if (std::isnan(expected[i]))
        ASSERT_TRUE(std::isnan(y[i])) << what << " of " << x[i] << ": " << y[i];
      else
        expect_bits(&y[i], &expected[i], 1, std::string(what) + " of " + std::to_string(x[i]));
  };
  compare("exp", level_.rows.exp, kernel_exp);
  compare("exp2_of_negative", level_.rows.exp2_of_negative,
          [](float v) { return kernel_exp2_of_negative(std::min(v, 0.0F)); });
  compare("silu", level_.rows.silu, kernel_silu);
  compare("gelu", level_.rows.gelu, kernel_gelu);
  compare("silu of prompts", level_.rows.silu_of_prompt, kernel_silu_of_prompt);
  compare("gelu of prompts", level_.rows.gelu_of_prompt, kernel_gelu_of_prompt);
  compare("tanh", level_.rows.tanh, kernel_tanh);
}

// Levels without the instructions compute these in several steps.
TEST_P(Kernels, HalfToFloatIsExact) {
  Aligned<uint16_t> half(65536);
  Aligned<float> y(65536), expected(65536);
  for (uint32_t i = 0; i < 65536; ++i) {
    half.data[i] = static_cast<uint16_t>(i);
    expected.data[i] = half_to_float(half.data[i]);
  }
  level_.rows.half_to_float(half.data, y.data, 65536);
  expect_bits(y.data, expected.data, 65536, "halves");
}

TEST_P(Kernels, FmaRoundsOnce) {
  constexpr uint32_t kCases = 1u << 20;
  Aligned<float> a(kCases), b(kCases), c(kCases), y(kCases);
  std::mt19937 random(7);
  const auto any = [&] { return std::bit_cast<float>(static_cast<uint32_t>(random())); };
  for (uint32_t i = 0; i < kCases; ++i) {
    a.data[i] = any();
    b.data[i] = any();
    c.data[i] = any();
    if (i % 4 == 0) continue;
    // Factors of 12 bits beside 24, so that products lie on, or a last bit beside, what floats and halves between them
    // are, moved by what a double can't hold beside them; near cancellation; subnormal results.
    const float x = static_cast<float>(random() % 4096 + 1),
                z = static_cast<float>(random() % (1u << 13) + 4096);
    const float tiny =
        std::ldexp(static_cast<float>(static_cast<int>(random() % 5) - 2), -static_cast<int>(random() % 100));
    const float scale = i % 4 == 3 ? 0x1p-80F : 1.0F;
    a.data[i] = x * scale;
    b.data[i] = (i % 8 < 4 ? -z : z) * scale;
    c.data[i] = i % 4 == 1 ? tiny : i % 4 == 2 ? -(a.data[i] * b.data[i]) + tiny : tiny * 0x1p-130F;
  }
  level_.rows.fma(a.data, b.data, c.data, y.data, kCases);
  for (uint32_t i = 0; i < kCases; ++i) {
    const float expected = std::fma(a.data[i], b.data[i], c.data[i]);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(y.data[i])) << a.data[i] << " * " << b.data[i] << " + " << c.data[i];
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(y.data[i]), std::bit_cast<uint32_t>(expected))
        << std::hexfloat << a.data[i] << " * " << b.data[i] << " + " << c.data[i] << " = " << expected
        << ", not " << y.data[i];
  }
}

TEST_P(Kernels, EmbedDecodesEveryTypeExactly) {
  for (const EmbedKernel& kernel : level_.rows.embed) {
    const auto type = static_cast<DType>(kernel.type);
    constexpr uint32_t kTokens = 37;
    const Weights table(type, kTokens, kernel.cols, blocks(type, kTokens, kernel.cols, 50));
    std::vector<int32_t> tokens(kTokens);
    for (int32_t i = 0; i < static_cast<int32_t>(kTokens); ++i) tokens[i] = i * 17 % kTokens;
    const uint32_t stride = pad16(kernel.cols);
    Aligned<float> x(kTokens * stride);
    kernel.run(3, kTokens, tokens.data(), table.packed.data, 1.0F, x.data);
    EXPECT_TRUE(std::isnan(x.data[3 * stride - 1])) << "wrote a row of another worker";
    kernel.run(0, 3, tokens.data(), table.packed.data, 1.0F, x.data);
    std::vector<float> expected(stride);
    for (uint32_t r = 0; r < kTokens; ++r) {
      info(type).decode(table.row(static_cast<uint32_t>(tokens[r])), expected.data(), kernel.cols);
      expect_bits(x.data + r * stride, expected.data(), stride,
                  level_.name + ", " + std::string(info(type).name));
    }
    kernel.run(0, 1, tokens.data(), table.packed.data, 0.3F, x.data);
    info(type).decode(table.row(0), expected.data(), kernel.cols);
    for (float& e : expected) e *= 0.3F;
    expect_bits(x.data, expected.data(), stride, level_.name + ", scaled");
  }
}

TEST_P(Kernels, WholeRows) {
  constexpr uint32_t kStride = 48;
  const std::vector<float> a = normal(6 * kStride, 60), b = normal(6 * kStride, 61);
  const std::vector<uint32_t> wanted = {1, 2, 5};
  std::vector<float> hidden(3 * kRowColumns, kNaN);
  rt::StepArgs args;
  args.n_rows = 6;
  args.n_out_rows = 3;
  args.out_rows = wanted.data();
  Aligned<float> selected(4 * kStride);
  level_.rows.select_rows(args, 0, 2, a.data(), selected.data);
  level_.rows.select_rows(args, 2, 3, a.data(), selected.data);
  for (uint32_t i = 0; i < 3; ++i)
    expect_bits(selected.data + i * kStride, &a[wanted[i] * kStride], kStride, "select_rows");
  EXPECT_TRUE(std::isnan(selected.data[3 * kStride]));

  level_.rows.output_hidden(args, 0, 3, a.data());  // nobody asked
  args.hidden = hidden.data();
  level_.rows.output_hidden(args, 1, 3, a.data());
  EXPECT_TRUE(std::isnan(hidden[0]));
  for (uint32_t i = 1; i < 3; ++i)
    expect_bits(&hidden[i * kRowColumns], &a[i * kStride], kRowColumns, "output_hidden");

  Aligned<float> product(6 * kStride);
  level_.rows.multiply(1, 5, a.data(), b.data(), product.data);
  EXPECT_TRUE(std::isnan(product.data[0]));
  EXPECT_TRUE(std::isnan(product.data[5 * kStride]));
  for (uint32_t i = kStride; i < 5 * kStride; ++i) ASSERT_EQ(product.data[i], a[i] * b[i]);
}

TEST_P(Kernels, RopeAngles) {
  const std::vector<int32_t> positions = {0, 1, 63, 64, 1000, 131071};
  const std::vector<double> frequency = {1.0, 0.31622776601683794, 0.01, 1.5e-5};
  rt::StepArgs args;
  args.n_rows = 6;
  args.positions = positions.data();
  constexpr uint32_t kRow = 12;  // another rotation's angles follow in each row
  std::vector<float> table(6 * kRow, kNaN);
  level_.rows.rope_angles(args, 1, 6, frequency.data(), 4, 1.25F, table.data(), kRow);
  EXPECT_TRUE(std::isnan(table[7]));
  for (uint32_t r = 1; r < 6; ++r) {
    for (uint32_t i = 0; i < 4; ++i) {
      EXPECT_EQ(table[r * kRow + i], static_cast<float>(std::cos(positions[r] * frequency[i])) * 1.25F);
      EXPECT_EQ(table[r * kRow + 4 + i], static_cast<float>(std::sin(positions[r] * frequency[i])) * 1.25F);
    }
    EXPECT_TRUE(std::isnan(table[r * kRow + 8]));
  }
}

}  // namespace
}  // namespace forge::test
