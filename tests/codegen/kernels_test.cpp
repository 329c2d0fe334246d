// The kernels by direct instantiation, at every level that the machine has and with no instruction set at all,
// against scalar loops that add in the same order: bit for bit, so the levels agree with each other too.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "interp/scalar_math.h"
#include "quant/half.h"
#include "quant/packed.h"
#include "tests/codegen/kernel_table.h"
#include "toolchain/cpu_level.h"

namespace forge::test {
namespace {

struct Level {
  std::string name;
  std::string_view cpu_level;  // whose features it needs; empty: none
  const LinearKernels& linear;
  const RowKernels& rows;
  const MixedKernels& mixed;
};
const std::array<Level, 6> kLevels = {{
    {"generic", "", generic::kLinear, generic::kRows, generic::kMixed},
    {"avx2", "x86-64-v3", avx2::kLinear, avx2::kRows, avx2::kMixed},
    {"avxvnni", "x86-64-v3+avxvnni", avxvnni::kLinear, avxvnni::kRows, avxvnni::kMixed},
    {"avx512", "x86-64-v4", avx512::kLinear, avx512::kRows, avx512::kMixed},
    {"avx512vnni", "x86-64-v4+vnni", avx512vnni::kLinear, avx512vnni::kRows, avx512vnni::kMixed},
    {"amx", "sapphirerapids", amx::kLinear, amx::kRows, amx::kMixed},
}};

class Kernels : public testing::TestWithParam<size_t> {
 protected:
  const Level& level_ = kLevels[GetParam()];

  void SetUp() override {
    if (level_.cpu_level.empty()) return;
    const std::string_view missing = missing_feature(cpu_level(level_.cpu_level));
    if (!missing.empty())
      GTEST_SKIP() << "NOT TESTED: kernels of " << level_.name << ", this machine lacks " << missing;
  }
};
INSTANTIATE_TEST_SUITE_P(, Kernels, testing::Range<size_t>(0, kLevels.size()),
                         [](const auto& p) { return kLevels[p.param].name; });

const float kNaN = std::numeric_limits<float>::quiet_NaN();

constexpr uint32_t pad16(uint32_t n) { return (n + 15) / 16 * 16; }

// Memory at a multiple of 64 bytes, full of NaN patterns.
template <class T>
struct Aligned {
  explicit Aligned(size_t n) : bytes(n * sizeof(T) + 64, 0xFF) {
    data = reinterpret_cast<T*>(bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64);
  }
  std::vector<uint8_t> bytes;
  T* data;
};

std::vector<float> normal(size_t n, uint32_t seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> out(n);
  for (float& x : out) x = distribution(random);
  return out;
}

void expect_bits(const float* actual, const float* expected, size_t n, const std::string& what) {
  for (size_t i = 0; i < n; ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(actual[i]), std::bit_cast<uint32_t>(expected[i]))
        << what << ", at " << i << ": " << actual[i] << " and " << expected[i];
}

// --- weights

// Where the halves of a block lie.
std::vector<size_t> halves_of(DType type) {
  switch (type) {
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k: return {0, 2};
    case DType::q2_k: return {80, 82};
    case DType::q3_k: return {108};
    case DType::q6_k: return {208};
    case DType::tq1_0: return {52};
    case DType::tq2_0: return {64};
    default: return {0};
  }
}

// Every bit pattern of quants and integer scales; float16 scales of either sign and moderate size, so that
// no NaN comes up, whose payload each processor chooses. fill below 0: random quants, else this byte.
std::vector<uint8_t> blocks(DType type, uint64_t rows, uint64_t cols, uint32_t seed, int fill = -1) {
  std::mt19937 random(seed);
  const DTypeInfo& t = info(type);
  std::vector<uint8_t> out(rows * row_bytes(type, cols));
  for (uint8_t& b : out) b = static_cast<uint8_t>(fill < 0 ? static_cast<int>(random() & 255) : fill);
  const auto set_half = [&](size_t at) {
    const uint16_t h =
        float_to_half((random() % 2 ? 1.0F : -1.0F) * static_cast<float>(1 + random() % 1000) / 8192.0F);
    std::memcpy(&out[at], &h, 2);
  };
  for (size_t at = 0; at < out.size(); at += t.block_bytes) {
    switch (type) {
      case DType::f32: {
        const float w = std::normal_distribution<float>()(random);
        std::memcpy(&out[at], &w, 4);
        break;
      }
      case DType::bf16: {
        const uint16_t w = float_to_bfloat16(std::normal_distribution<float>()(random));
        std::memcpy(&out[at], &w, 2);
        break;
      }
      case DType::iq1_m:  // a nibble of d at the top of each of the last four pairs of bytes
        for (size_t i = 0; i < 4; ++i)
          out[at + 49 + 2 * i] = static_cast<uint8_t>((out[at + 49 + 2 * i] & 15) | (i == 3 ? 0x20 : i << 4));
        break;
      case DType::mxfp4: out[at] = static_cast<uint8_t>(96 + random() % 48); break;
      case DType::nvfp4: break;
      default:
        for (const size_t half : halves_of(type)) set_half(at + half);
    }
  }
  return out;
}

struct Weights {
  DType type;
  uint32_t rows, cols;
  std::vector<uint8_t> source;
  Aligned<uint8_t> packed;

  Weights(DType t, uint32_t n_rows, uint32_t n_cols, std::vector<uint8_t> from)
      : type(t),
        rows(n_rows),
        cols(n_cols),
        source(std::move(from)),
        packed(packed_bytes(t, Layout::tiles16, n_rows, n_cols)) {
    pack(type, Layout::tiles16, rows, cols, source,
         {packed.data, packed_bytes(type, Layout::tiles16, rows, cols)});
  }
  const uint8_t* row(uint32_t r) const { return source.data() + r * row_bytes(type, cols); }
};

// --- activations

struct Quantized {
  std::vector<int8_t> q;
  std::vector<float> d;
};
Quantized quantize(const float* x, uint32_t n) {
  Quantized out{std::vector<int8_t>(n), std::vector<float>(n / 32)};
  for (uint32_t b = 0; b < n / 32; ++b) {
    float top = 0;
    for (uint32_t i = 0; i < 32; ++i) top = std::max(top, std::fabs(x[32 * b + i]));
    if (top < 1e-30F) continue;
    out.d[b] = top / 127.0F;
    for (uint32_t i = 0; i < 32; ++i)
      out.q[32 * b + i] = static_cast<int8_t>(std::nearbyint(x[32 * b + i] * (127.0F / top)));
  }
  return out;
}

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

// Calls visit(k, levels, scale, minimum) for each run of a row's weights that share a scale: those from k on.
template <class Visit>
void for_each_run(const Weights& w, uint32_t row, const Visit& visit) {
  const BlockCodec* codec = block_codec(w.type);
  const uint32_t block = info(w.type).block_weights, run = codec->run;
  std::array<uint8_t, kMaxRecord> record{};
  std::array<uint8_t, kMaxBlock> codes{};
  std::array<int8_t, kMaxBlock> levels{};
  for (uint32_t k = 0; k < w.cols; k += run) {
    if (k % block == 0) {
      codec->split(w.row(row) + k / block * info(w.type).block_bytes, record.data(), codes.data());
      codec->levels(codes.data(), levels.data());
    }
    const uint32_t number = k % block / run;
    visit(k, std::span(levels).subspan(k % block, run), codec->scale(record.data(), number),
          codec->minimum_of(record.data(), number));
  }
}

// One output as linear.h describes it: floats in order of k; of block types the integers of a scale, then one
// fused step with scale_w * scale_x, then the minimum with the sum of the block's activation.
float dot(const Weights& w, uint32_t row, const float* x, const Quantized& q) {
  float sum = 0;
  if (block_codec(w.type) == nullptr) {
    std::vector<float> decoded(w.cols);
    info(w.type).decode(w.row(row), decoded.data(), w.cols);
    for (uint32_t k = 0; k < w.cols; ++k) sum = std::fmaf(decoded[k], x[k], sum);
    return sum;
  }
  for_each_run(w, row,
               [&](uint32_t k, std::span<const int8_t> levels, float scale, std::optional<float> minimum) {
                 int32_t product = 0, total = 0;
                 for (uint32_t i = 0; i < levels.size(); ++i) {
                   product += levels[i] * q.q[k + i];
                   total += q.q[k + i];
                 }
                 const float d = q.d[k / 32];
                 sum = std::fmaf(static_cast<float>(product), scale * d, sum);
                 if (minimum) sum = std::fmaf(*minimum, d * static_cast<float>(total), sum);
               });
  return sum;
}

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

// --- linear

TEST_P(Kernels, LinearOfEveryTypeAndNumberOfRows) {
  for (const LinearKernel& kernel : level_.linear.linear) {
    const auto type = static_cast<DType>(kernel.type);
    const uint32_t stride = pad16(kernel.cols) + 16;
    const Weights w(type, kOutputs, kernel.cols, blocks(type, kOutputs, kernel.cols, kernel.cols));
    const std::vector<float> x = normal(size_t{kMaxRows} * stride, 7);
    const Q8Rows q8(level_.linear, x, kMaxRows, stride, kernel.cols);
    const std::vector<float> expected = reference(w, x, stride);
    for (uint32_t n_rows = 1; n_rows <= kMaxRows; n_rows += n_rows < 9 ? 1 : 13) {
      Aligned<float> out((n_rows + 1) * 48);
      LinearCall call = {.group_begin = 0,
                         .group_end = 1,
                         .n_rows = n_rows,
                         .weight = w.packed.data,
                         .q8 = q8.rows.data,
                         .x = x.data(),
                         .x_stride = stride,
                         .out = out.data,
                         .out_stride = 48};
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
    const uint32_t stride = pad16(kernel.cols);
    const std::vector<float> x = normal(size_t{kMaxRows} * stride, 8);
    const Q8Rows q8(level_.linear, x, kMaxRows, stride, kernel.cols);
    const std::vector<uint8_t> bias_source = blocks(bias_type, 1, kOutputs, 4);
    std::vector<uint8_t> bias(packed_bytes(bias_type, Layout::row, 1, kOutputs));
    pack(bias_type, Layout::row, 1, kOutputs, bias_source, bias);
    std::vector<float> bias_values(48), addend = normal(kMaxRows * 48, 9);
    info(bias_type).decode(bias_source.data(), bias_values.data(), kOutputs);
    const std::vector<float> plain = reference(w, x, stride);
    for (const auto& [with_bias, with_addend] : {std::pair{true, false}, {false, true}, {true, true}}) {
      Aligned<float> out(kMaxRows * 48);
      kernel.run({.group_begin = 0,
                  .group_end = 3,
                  .n_rows = kMaxRows,
                  .weight = w.packed.data,
                  .q8 = q8.rows.data,
                  .x = x.data(),
                  .x_stride = stride,
                  .out = out.data,
                  .out_stride = 48,
                  .bias = with_bias ? bias.data() : nullptr,
                  .addend = with_addend ? addend.data() : nullptr});
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
    const Q8Rows q8(level_.linear, x, kMaxRows, kernel.cols, kernel.cols);
    ASSERT_EQ(quantize(x.data(), kernel.cols).q[0], 127);
    for (const int fill : {0x00, 0x7F, 0x80, 0x81, 0xFF}) {  // 0x80: -128 in q8_0
      const Weights w(type, kOutputs, kernel.cols, blocks(type, kOutputs, kernel.cols, 5, fill));
      Aligned<float> out(kMaxRows * 48);
      kernel.run({.group_begin = 0,
                  .group_end = 3,
                  .n_rows = kMaxRows,
                  .weight = w.packed.data,
                  .q8 = q8.rows.data,
                  .x = x.data(),
                  .x_stride = kernel.cols,
                  .out = out.data,
                  .out_stride = 48});
      const std::vector<float> expected = reference(w, x, kernel.cols);
      expect_bits(out.data, expected.data(), expected.size(),
                  level_.name + ", " + describe(kernel) + ", quants of " + std::to_string(fill));
    }
  }
}

TEST_P(Kernels, GatedProduct) {
  for (const LinearKernel& kernel : level_.linear.gated) {
    const auto gate_type = static_cast<DType>(kernel.type), up_type = static_cast<DType>(kernel.up_type);
    const uint32_t stride = pad16(kernel.cols);
    const Weights gate(gate_type, kOutputs, kernel.cols, blocks(gate_type, kOutputs, kernel.cols, 1)),
        up(up_type, kOutputs, kernel.cols, blocks(up_type, kOutputs, kernel.cols, 2));
    const std::vector<float> x = normal(size_t{kMaxRows} * stride, 10);
    const Q8Rows q8(level_.linear, x, kMaxRows, stride, kernel.cols);
    std::vector<float> expected = reference(gate, x, stride);
    const std::vector<float> other = reference(up, x, stride);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = kernel_silu(expected[i]) * other[i];
    for (const uint32_t n_rows : {1U, 2U, 5U, 9U}) {
      Aligned<float> out(n_rows * 48);
      kernel.run({.group_begin = 0,
                  .group_end = 3,
                  .n_rows = n_rows,
                  .weight = gate.packed.data,
                  .up = up.packed.data,
                  .q8 = q8.rows.data,
                  .x = x.data(),
                  .x_stride = stride,
                  .out = out.data,
                  .out_stride = 48});
      expect_bits(out.data, expected.data(), n_rows * 48, level_.name + ", gate " + describe(kernel));
    }
  }
}

// --- prompts in bf16

// One output as bf16.h describes it.
float bf16_dot(const Weights& w, uint32_t row, const float* x) {
  std::vector<float> rounded(w.cols);
  for_each_run(w, row,
               [&](uint32_t k, std::span<const int8_t> levels, float scale, std::optional<float> minimum) {
                 for (uint32_t i = 0; i < levels.size(); ++i)
                   rounded[k + i] = bf16_weight(levels[i], scale, minimum);
               });
  return bf16_sum(0, w.cols, [&](size_t k) { return std::pair(round_to_bf16(x[k]), rounded[k]); });
}

// Eighteen groups and a half: blocks of one, of as many and of fewer pairs than are multiplied with together.
constexpr uint32_t kMixedOutputs = 296;

// What rows of either class give with the weights of a kernel: the same for all levels.
class MixedReference {
 public:
  explicit MixedReference(const MixedKernel& kernel) : gated_(kernel.gated) {
    const auto type = static_cast<DType>(kernel.type), up_type = static_cast<DType>(kernel.up_type);
    w_.emplace_back(type, kMixedOutputs, kernel.cols, blocks(type, kMixedOutputs, kernel.cols, 11));
    if (gated_)
      w_.emplace_back(up_type, kMixedOutputs, kernel.cols, blocks(up_type, kMixedOutputs, kernel.cols, 12));
    x = normal(size_t{kMostRows} * kernel.cols, 13);
    x[3] = 1e-40F;  // read as zero
    x[kernel.cols] = 1e30F;
  }
  const std::vector<float>& outputs(uint32_t row, rt::RowClass of) {
    std::vector<float>& out = outputs_[{row, of}];
    if (!out.empty()) return out;
    const uint32_t cols = w_[0].cols;
    const float* from = x.data() + size_t{row} * cols;
    const Quantized q = quantize(from, cols);
    const auto sum = [&](size_t i, uint32_t n) {
      return of == rt::RowClass::prompt ? bf16_dot(w_[i], n, from) : dot(w_[i], n, from, q);
    };
    const auto silu = of == rt::RowClass::prompt ? kernel_silu_of_prompt : kernel_silu;
    for (uint32_t n = 0; n < kMixedOutputs; ++n)
      out.push_back(gated_ ? silu(sum(0, n)) * sum(1, n) : sum(0, n));
    return out;
  }
  const uint8_t* weight() const { return w_.front().packed.data; }
  const uint8_t* up() const { return w_.back().packed.data; }

  static constexpr uint32_t kMostRows = 514;
  std::vector<float> x;  // [kMostRows, cols]

 private:
  bool gated_;
  std::vector<Weights> w_;
  std::map<std::pair<uint32_t, rt::RowClass>, std::vector<float>> outputs_;
};

MixedReference& mixed_reference(size_t index) {
  static std::array<std::unique_ptr<MixedReference>, 16> references;
  auto& r = references.at(index);
  if (!r) r = std::make_unique<MixedReference>(generic::kMixed.linear.data[index]);
  return *r;
}

// Runs of both classes that begin and end anywhere in tiles of 16 rows. Up to 64 rows pass by weights; 67 are two pairs of
// tiles and a rest by panels, 514 more than pass by at a time; sums of wide rows are kept from one piece of the columns to the next.
TEST_P(Kernels, PromptRowsBesideGeneratedRows) {
  using enum rt::RowClass;
  constexpr uint32_t kStride = pad16(kMixedOutputs), kGroups = kStride / 16;
  const std::vector<float> bias = [] {
    std::vector<float> v = normal(kMixedOutputs, 14);
    v.resize(kStride);
    return v;
  }();
  const std::vector<float> other = normal(size_t{MixedReference::kMostRows} * kStride, 15);
  const std::set<uint32_t> checked = {0,  1,  13, 14, 15, 16, 18,  19,  30,  31, 32,
                                      33, 47, 48, 63, 64, 66, 510, 511, 512, 513};
  // The rows that are generated: none, all, a few here and there, all but a tile, a pair of tiles between others.
  const auto patterns = {+[](uint32_t) { return false; }, +[](uint32_t) { return true; },
                         +[](uint32_t r) { return r == 0 || (r >= 14 && r < 19) || r == 66 || r == 513; },
                         +[](uint32_t r) { return r < 32 || r >= 48; },
                         +[](uint32_t r) { return r / 32 == 1; }};
  for (size_t k = 0; k < level_.mixed.linear.size; ++k) {
    const MixedKernel& kernel = level_.mixed.linear.data[k];
    MixedReference& reference = mixed_reference(k);
    const uint32_t cols = kernel.cols;
    const auto rows = std::ranges::find(level_.mixed.rows, cols, &Bf16Kernel::cols);
    const auto q8_rows = std::ranges::find(level_.linear.quantize, cols, &QuantizeKernel::cols);
    ASSERT_NE(rows, level_.mixed.rows.end());
    ASSERT_NE(q8_rows, level_.linear.quantize.end());
    uint32_t turn = 0;
    for (const auto& is_generated : patterns) {
      for (const uint32_t n_rows : {1U, 16U, 17U, 31U, 32U, 33U, 48U, 63U, 67U, 514U}) {
        if (n_rows > 67 && (is_generated(1) || (cols != 96 && cols != 2304))) continue;
        std::vector<rt::RowClass> classes(n_rows);
        for (uint32_t r = 0; r < n_rows; ++r) classes[r] = is_generated(r) ? generated : prompt;
        rt::StepArgs args;
        args.n_rows = n_rows;
        args.row_class = classes.data();
        Aligned<uint8_t> bf16(rows->row_bytes * ((n_rows + 31) / 32 * 32)), q8(q8_rows->row_bytes * n_rows);
        for (uint32_t r = 0; r < n_rows; ++r)
          rows->put_row(args, r, reference.x.data() + size_t{r} * cols, q8.data, bf16.data);
        Aligned<float> out(size_t{n_rows + 1} * kStride);
        // Nothing, a bias and an addend, an addend in place.
        const uint32_t added = kernel.gated ? 0 : ++turn % 3;
        // Prompts' rows of a gated product as floats, in tiles, as both.
        Aligned<uint16_t> tiles(size_t{(n_rows + 31) / 32 * 32} * kGatedColumns);
        const uint32_t form = kernel.gated ? ++turn % 3 : 0;
        const bool with_floats = form != 1, in_tiles = form != 0;
        if (added == 2) std::copy_n(other.data(), size_t{n_rows} * kStride, out.data);
        const auto run = [&](uint32_t begin, uint32_t end) {
          kernel.run({.linear = {.group_begin = begin,
                                 .group_end = end,
                                 .n_rows = n_rows,
                                 .weight = reference.weight(),
                                 .up = reference.up(),
                                 .q8 = q8.data,
                                 .x = nullptr,
                                 .x_stride = 0,
                                 .out = out.data,
                                 .out_stride = kStride,
                                 .bias = added == 1 ? reinterpret_cast<const uint8_t*>(bias.data()) : nullptr,
                                 .addend = added == 1   ? other.data()
                                           : added == 2 ? out.data
                                                        : nullptr},
                      .bf16 = bf16.data,
                      .classes = classes.data(),
                      .prompts = in_tiles ? tiles.data : nullptr,
                      .with_floats = with_floats});
        };
        run(kGroups - 1, kGroups);  // a single group
        run(0, 3);                  // a pair and a single one
        if (added != 2)
          EXPECT_TRUE(std::isnan(out.data[3 * 16])) << level_.name << ": wrote beyond its groups";
        run(3, kGroups - 1);
        for (uint32_t r = 0; r < n_rows; ++r) {
          if (!checked.contains(r)) continue;
          std::vector<float> expected = reference.outputs(r, classes[r]);
          for (uint32_t n = 0; n < kMixedOutputs && added != 0; ++n)
            expected[n] = (added == 1 ? expected[n] + bias[n] : expected[n]) + other[size_t{r} * kStride + n];
          const std::string what =
              level_.name + ", " + std::string(info(static_cast<DType>(kernel.type)).name) + " x " +
              std::to_string(cols) + ", row " + std::to_string(r) + " of " + std::to_string(n_rows);
          if (in_tiles && classes[r] == prompt) {
            const uint16_t* row = tiles.data + r / 16 * 16 * kGatedColumns + r % 16 * 32;
            for (uint32_t n = 0; n < kMixedOutputs; ++n) {
              const float got = bfloat16_to_float(row[n / 32 * 512 + n % 32]),
                          rounded = round_to_bf16(expected[n]);
              expect_bits(&got, &rounded, 1, what + " in tiles, output " + std::to_string(n));
            }
          }
          if (with_floats || classes[r] != prompt)
            expect_bits(out.data + size_t{r} * kStride, expected.data(), kMixedOutputs, what);
          else
            EXPECT_TRUE(std::isnan(out.data[size_t{r} * kStride]))
                << what << ": floats that nobody asked for";
        }
        EXPECT_TRUE(std::isnan(out.data[size_t{n_rows} * kStride]))
            << level_.name << ": wrote beyond its rows";
      }
    }
  }
}

// --- rows

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

// --- attention

constexpr uint32_t kContext = 130;  // three pages

struct Rule {
  uint32_t window;  // 0: none
  float softcap;
};
constexpr Rule kRules[] = {{0, 0}, {7, 0}, {50, 3.0F}};

// Inputs of kContext rows of one sequence and what scalar loops make of them. A row's result depends on the
// rows before it alone, so one reference serves every cut of the rows into steps.
struct AttentionCase {
  const AttentionKernel& shape;
  Rule rule;
  uint32_t q_cols, kv_cols, q_stride, kv_stride;
  float scale;
  std::vector<float> q, k, v, angles, rotated, expected, in_bf16;

  AttentionCase(const AttentionKernel& s, const Rule& r)
      : shape(s),
        rule(r),
        q_cols(s.n_heads * s.head_dim),
        kv_cols(s.n_kv_heads * s.head_dim),
        q_stride(pad16(q_cols)),
        kv_stride(pad16(kv_cols)),
        scale(1.0F / std::sqrt(static_cast<float>(s.head_dim))),
        q(normal(size_t{kContext} * q_stride, 70, 2)),
        k(normal(size_t{kContext} * kv_stride, 71, 2)),
        v(normal(size_t{kContext} * kv_stride, 72)),
        angles(size_t{kContext} * std::max(1U, s.n_rot)),
        rotated(q.size()),
        expected(q.size()),
        in_bf16(q.size()) {
    // Beyond float16: held at its ends.
    k[33 * kv_stride + 1] = -1e6F;
    for (uint32_t i = 0; i < kv_cols; ++i) v[40 * kv_stride + i] = i % 2 ? 1e9F : -7e4F;
    const uint32_t dim = s.head_dim, half = s.n_rot / 2;
    std::vector<float> keys(size_t{kContext} * kv_cols), values(keys.size());
    for (uint32_t row = 0; row < kContext; ++row) {
      for (uint32_t i = 0; i < half; ++i) {
        const double angle = row * std::pow(10000.0, -2.0 * i / s.n_rot);
        angles[row * s.n_rot + i] = static_cast<float>(std::cos(angle));
        angles[row * s.n_rot + half + i] = static_cast<float>(std::sin(angle));
      }
      for (uint32_t h = 0; h < s.n_heads; ++h)
        rotate(&q[row * q_stride + h * dim], &angles[row * s.n_rot], &rotated[row * q_stride + h * dim]);
      std::vector<float> key(dim);
      for (uint32_t h = 0; h < s.n_kv_heads; ++h) {
        rotate(&k[row * kv_stride + h * dim], &angles[row * s.n_rot], key.data());
        to_cache(key.data(), &keys[row * kv_cols + h * dim]);
        to_cache(&v[row * kv_stride + h * dim], &values[row * kv_cols + h * dim]);
      }
      for (uint32_t h = 0; h < s.n_heads; ++h) {
        attend(row, h, keys, values);
        attend_in_bf16(row, h, keys, values);
      }
    }
  }

  static float as_cached(float x) { return half_to_float(float_to_half(std::clamp(x, -65504.0F, 65504.0F))); }

  // A head as the cache gives it back.
  void to_cache(const float* x, float* out) const {
    for (uint32_t begin = 0; begin < shape.head_dim; begin += 32) {
      const uint32_t end = std::min(begin + 32, shape.head_dim);
      float top = 0;
      for (uint32_t d = begin; d < end; ++d) top = std::max(top, std::fabs(x[d]));
      const float step = as_cached(top / 127);
      for (uint32_t d = begin; d < end; ++d)
        out[d] = shape.kv_q8 ? std::clamp(std::nearbyint(x[d] * (1 / step)), -127.0F, 127.0F) * step
                             : as_cached(x[d]);
    }
  }

  void rotate(const float* x, const float* row_angles, float* out) const {
    std::copy_n(x, shape.head_dim, out);
    const uint32_t half = shape.n_rot / 2;
    for (uint32_t i = 0; i < half; ++i) {
      const uint32_t a = shape.neox ? i : 2 * i, b = shape.neox ? i + half : 2 * i + 1;
      const float c = row_angles[i], s = row_angles[half + i];
      out[a] = std::fmaf(x[a], c, -(x[b] * s));
      out[b] = std::fmaf(x[a], s, x[b] * c);
    }
  }

  void attend(uint32_t r, uint32_t h, const std::vector<float>& keys, const std::vector<float>& values) {
    const uint32_t dim = shape.head_dim, kv = h / (shape.n_heads / shape.n_kv_heads) * dim;
    std::vector<float> p(r + 1);
    float top = -std::numeric_limits<float>::infinity();
    const uint32_t first = rule.window != 0 && r + 1 > rule.window ? r + 1 - rule.window : 0;
    for (uint32_t i = first; i <= r; ++i) {
      float s = 0;
      for (uint32_t d = 0; d < dim; ++d)
        s = std::fmaf(rotated[r * q_stride + h * dim + d], keys[i * kv_cols + kv + d], s);
      p[i] = rule.softcap != 0 ? kernel_softcap(s * scale, rule.softcap) : s * scale;
      top = std::max(top, p[i]);
    }
    LaneSum sum;
    for (uint32_t i = first; i <= r; ++i) {
      p[i] = kernel_exp(p[i] - top);
      sum.lane[i % 16] += p[i];
    }
    const float inverse = 1.0F / sum.total();
    for (uint32_t d = 0; d < dim; ++d) {
      float y = 0;
      for (uint32_t i = first; i <= r; ++i) y = std::fmaf(p[i], values[i * kv_cols + kv + d], y);
      expected[r * q_stride + h * dim + d] = y * inverse;
    }
  }

  // As attention_blocks.h describes it.
  void attend_in_bf16(uint32_t r, uint32_t h, const std::vector<float>& keys,
                      const std::vector<float>& values) {
    const uint32_t dim = shape.head_dim, kv = h / (shape.n_heads / shape.n_kv_heads) * dim;
    const uint32_t first = rule.window != 0 && r + 1 > rule.window ? r + 1 - rule.window : 0;
    const float* query = &rotated[r * q_stride + h * dim];
    float* out = &in_bf16[r * q_stride + h * dim];
    float top = -3e38F;
    LaneSum total;
    for (uint32_t page = first / 64 * 64; page <= r; page += 64) {
      const uint32_t begin = std::max(page, first), end = std::min(page + 64, r + 1);
      std::array<float, 64> p{};
      const float before = top;
      for (uint32_t i = begin; i < end; ++i) {
        const float q_scale = rule.softcap != 0 ? scale : scale * kLog2E;
        const float s = bf16_sum(0, dim, [&](size_t d) {
          return std::pair(round_to_bf16(query[d] * q_scale), round_to_bf16(keys[i * kv_cols + kv + d]));
        });
        p[i - page] = rule.softcap != 0 ? kernel_softcap(s, rule.softcap) * kLog2E : s;
        top = std::max(top, p[i - page]);
      }
      const float factor = kernel_exp2_of_negative(before - top);
      for (float& lane : total.lane) lane *= factor;
      for (uint32_t i = begin; i < end; ++i) {
        p[i - page] = kernel_exp2_of_negative(p[i - page] - top);
        total.lane[i % 16] += p[i - page];
      }
      for (uint32_t d = 0; d < dim; ++d)
        out[d] = bf16_sum(out[d] * factor, 64, [&](size_t i) {
          const bool seen = page + i >= begin && page + i < end;
          return std::pair(round_to_bf16(p[i]),
                           seen ? round_to_bf16(values[(page + i) * kv_cols + kv + d]) : 0.0F);
        });
    }
    const float inverse = 1.0F / total.total();
    for (uint32_t d = 0; d < dim; ++d) out[d] *= inverse;
  }
};

const AttentionCase& attention_case(uint32_t index, size_t rule) {
  static std::array<std::array<std::unique_ptr<AttentionCase>, std::size(kRules)>, 8> cases;
  auto& c = cases.at(index).at(rule);
  if (!c) c = std::make_unique<AttentionCase>(generic::kRows.attention.data[index], kRules[rule]);
  return *c;
}

void expect_columns(const float* actual, const float* expected, uint32_t n_rows, uint32_t cols,
                    uint32_t stride, const std::string& what) {
  for (uint32_t r = 0; r < n_rows; ++r)
    expect_bits(actual + r * stride, expected + r * stride, cols, what + ", row " + std::to_string(r));
}

TEST_P(Kernels, RopeKvAndAttention) {
  for (uint32_t k = 0; k < level_.rows.attention.size * std::size(kRules); ++k) {
    const uint32_t index = k / std::size(kRules);
    const AttentionCase& c = attention_case(index, k % std::size(kRules));
    const AttentionKernel& kernel = level_.rows.attention.data[index];
    // Two layers in a page, the second is used; pages out of order; nothing cleared.
    const uint64_t page_bytes = 2 * kernel.layer_bytes;
    Aligned<uint8_t> pool(5 * page_bytes);
    const std::vector<uint32_t> pages = {3, 0, 4};
    const uint32_t* const tables[] = {pages.data()};
    Aligned<float> scores(kernel.score_floats);
    // Steps that end at contexts around the tiles of 16 positions and the pages of 64.
    uint32_t begin = 0;
    for (const uint32_t end : {1U, 15U, 16U, 17U, 63U, 64U, 65U, 128U, 129U, kContext}) {
      const uint32_t n = end - begin;
      const std::string what = level_.name + ", " + std::to_string(c.shape.n_heads) + " heads of " +
                               std::to_string(c.shape.head_dim) + (c.shape.kv_q8 ? " in q8_0" : "") +
                               ", window " + std::to_string(c.rule.window) + ", positions " +
                               std::to_string(begin) + " to " + std::to_string(end);
      std::vector<int32_t> positions(n);
      for (uint32_t i = 0; i < n; ++i) positions[i] = static_cast<int32_t>(begin + i);
      const std::vector<uint32_t> sequence(n, 0);
      rt::StepArgs args;
      args.n_rows = n;
      args.positions = positions.data();
      args.row_sequence = sequence.data();
      args.page_tables = tables;
      args.kv_pool = pool.data;
      Aligned<float> rotated(n * c.q_stride), by_heads(n * c.q_stride), by_blocks(n * c.q_stride),
          mixed(n * c.q_stride), deep(n * c.q_stride),
          head_scores(uint64_t{n} * c.shape.n_heads * kAttentionContext);
      AttentionCall call = {.args = args,
                            .worker = 0,
                            .head_begin = 0,
                            .head_end = 1,
                            .page_bytes = page_bytes,
                            .layer_offset = kernel.layer_bytes,
                            .angles = &c.angles[begin * c.shape.n_rot],
                            .q = &c.q[begin * c.q_stride],
                            .k = &c.k[begin * c.kv_stride],
                            .v = &c.v[begin * c.kv_stride],
                            .q_stride = c.q_stride,
                            .kv_stride = c.kv_stride,
                            .scale = c.scale,
                            .softcap = c.rule.softcap,
                            .window = c.rule.window,
                            .out = rotated.data,
                            .scores = scores.data,
                            .head_scores = head_scores.data};
      kernel.rope_kv(call);
      call.head_begin = 1;
      call.head_end = c.shape.n_kv_heads;
      kernel.rope_kv(call);
      expect_columns(rotated.data, &c.rotated[begin * c.q_stride], n, c.q_cols, c.q_stride,
                     what + ", rotated");

      call.q = rotated.data;
      call.out = by_heads.data;
      kernel.heads(call);
      call.head_begin = 0;
      call.head_end = 1;
      kernel.heads(call);
      expect_columns(by_heads.data, &c.expected[begin * c.q_stride], n, c.q_cols, c.q_stride, what);
      call.out = by_blocks.data;
      args.n_workers = 3;
      rt::Barrier barrier;
      args.barrier = &barrier;
      const auto run_dealt = [&](void (*blocks)(const AttentionCall&)) {
        barrier.dealt[0] = 0;
        std::vector<std::jthread> workers;
        workers.reserve(args.n_workers);
        for (uint32_t worker = 0; worker < args.n_workers; ++worker)
          workers.emplace_back([&, worker, mine = call]() mutable {
            const Aligned<float> own_scores(kernel.score_floats);
            mine.worker = worker;
            mine.scores = own_scores.data;
            blocks(mine);
          });
      };
      run_dealt(kernel.blocks);
      expect_columns(by_blocks.data, &c.expected[begin * c.q_stride], n, c.q_cols, c.q_stride,
                     what + ", in blocks");
      // Prompts in bf16, and a generated row where one stood.
      std::vector<rt::RowClass> classes(n, rt::RowClass::prompt);
      for (uint32_t i = 0; i < n; ++i)
        if ((begin + i) % 29 == 5 || end == 64) classes[i] = rt::RowClass::generated;
      args.row_class = classes.data();
      call.out = mixed.data;
      run_dealt(kernel.mixed_blocks);
      for (uint32_t i = 0; i < n; ++i)
        expect_bits(mixed.data + i * c.q_stride,
                    &(classes[i] == rt::RowClass::prompt ? c.in_bf16 : c.expected)[(begin + i) * c.q_stride],
                    c.q_cols, what + ", in bf16, row " + std::to_string(i));
      call.out = deep.data;
      for (const auto run : {kernel.deep_scores, kernel.deep_values})
        for (const uint32_t worker : {2U, 0U, 1U}) {
          call.worker = worker;
          run(call);
        }
      expect_columns(deep.data, &c.expected[begin * c.q_stride], n, c.q_cols, c.q_stride, what + ", deep");
      if (testing::Test::HasFatalFailure()) return;
      begin = end;
    }
    // The other layer and the pages of nobody are untouched.
    for (uint32_t page = 0; page < 5; ++page) {
      const bool used = std::ranges::find(pages, page) != pages.end();
      const uint8_t* from = pool.data + page * page_bytes;
      const uint64_t bytes = used ? kernel.layer_bytes : page_bytes;
      EXPECT_TRUE(std::all_of(from, from + bytes, [](uint8_t b) { return b == 0xFF; })) << "page " << page;
    }
  }
}

// A NaN among the values, which int8 does not have, stays one in whatever form the cache keeps it.
TEST_P(Kernels, NanInTheCacheIsSeen) {
  for (const AttentionKernel& kernel : level_.rows.attention) {
    const uint32_t q_stride = pad16(kernel.n_heads * kernel.head_dim),
                   kv_stride = pad16(kernel.n_kv_heads * kernel.head_dim);
    const std::vector<float> q = normal(2 * q_stride, 73), angles(2 * std::max(1U, kernel.n_rot), 0.5F);
    const std::vector<float> k = normal(2 * kv_stride, 74);
    std::vector<float> v = normal(2 * kv_stride, 75);
    v[0] = kNaN;
    Aligned<uint8_t> pool(kernel.layer_bytes);
    Aligned<float> scores(kernel.score_floats), rotated(2 * q_stride), out(2 * q_stride);
    const uint32_t page = 0;
    const uint32_t* const table = &page;
    const std::vector<int32_t> positions = {0, 1};
    const std::vector<uint32_t> sequence = {0, 0};
    rt::StepArgs args;
    args.n_rows = 2;
    args.positions = positions.data();
    args.row_sequence = sequence.data();
    args.page_tables = &table;
    args.kv_pool = pool.data;
    AttentionCall call = {.args = args,
                          .worker = 0,
                          .head_begin = 0,
                          .head_end = kernel.n_kv_heads,
                          .page_bytes = kernel.layer_bytes,
                          .layer_offset = 0,
                          .angles = angles.data(),
                          .q = q.data(),
                          .k = k.data(),
                          .v = v.data(),
                          .q_stride = q_stride,
                          .kv_stride = kv_stride,
                          .scale = 1,
                          .softcap = 0,
                          .window = 0,
                          .out = rotated.data,
                          .scores = scores.data,
                          .head_scores = nullptr};
    kernel.rope_kv(call);
    call.q = rotated.data;
    call.out = out.data;
    kernel.heads(call);
    const std::string what =
        level_.name + ", heads of " + std::to_string(kernel.head_dim) + (kernel.kv_q8 ? " in q8_0" : "");
    EXPECT_TRUE(std::isnan(out.data[0]) && std::isnan(out.data[q_stride])) << what;

    // In the tile of a prompt only the row that sees it has it.
    v[0] = 1;
    v[kv_stride] = kNaN;
    call.q = q.data();
    call.out = rotated.data;
    kernel.rope_kv(call);
    const std::vector<rt::RowClass> classes(2, rt::RowClass::prompt);
    args.row_class = classes.data();
    call.q = rotated.data;
    call.out = out.data;
    kernel.mixed_blocks(call);
    EXPECT_TRUE(std::isfinite(out.data[0]) && std::isnan(out.data[q_stride])) << what;
  }
}

}  // namespace
}  // namespace forge::test
