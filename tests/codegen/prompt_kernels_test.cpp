// Linears of prompts in bf16 beside generated rows.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "interp/scalar_math.h"
#include "quant/half.h"
#include "tests/codegen/kernels_test.h"

namespace forge::test {
namespace {

// A row as bf16_weights.h describes it.
std::vector<float> bf16_row(const Weights& w, uint32_t row) {
  std::vector<float> rounded(w.cols);
  const uint32_t level_bits = block_codec(w.type)->level_bits;
  for_each_run(w, row,
               [&](uint32_t k, std::span<const int8_t> levels, float scale, std::optional<float> minimum) {
                 for (uint32_t i = 0; i < levels.size(); ++i)
                   rounded[k + i] = bf16_weight(levels[i], scale, minimum, level_bits);
               });
  return rounded;
}

TEST_P(Kernels, WeightTilesOfAnyScales) {
  constexpr uint32_t kRows = 64;
  for (const WeightTileKernel& kernel : level_.mixed.weights) {
    const auto type = static_cast<DType>(kernel.type);
    const std::string what = level_.name + ", " + std::string(info(type).name);
    const uint64_t group_bytes = packed_bytes(type, Layout::tiles16, 16, kernel.cols);
    const uint32_t level_bits = block_codec(type)->level_bits;
    uint32_t n_nan = 0, n_zero = 0, n_finite = 0, n_common_tiles = 0, n_tiles = 0;
    // Scales of all sizes, those of models, and the first and the last common one of a type without others, with what is beyond.
    std::vector<std::vector<uint8_t>> all = {blocks_of_any_scales(type, kRows, kernel.cols, 21),
                                             blocks(type, kRows, kernel.cols, 22)};
    for (const float end : {0x1p-14F, std::ldexp(1.0F, -static_cast<int>(level_bits))})
      for (const float scale : {end, half_to_float(static_cast<uint16_t>(float_to_half(end) - 1))})
        all.push_back(blocks_of_scale(type, kRows, kernel.cols, 23, scale));
    for (const std::vector<uint8_t>& data : all) {
      const Weights w(type, kRows, kernel.cols, data);
      for (uint32_t group = 0; group < kRows / 16; ++group) {
        std::vector<bool> is_common(kernel.cols / 32, true);
        for (uint32_t row = 16 * group; row < 16 * group + 16; ++row) {
          for_each_run(w, row,
                       [&](uint32_t k, std::span<const int8_t>, float scale, std::optional<float> minimum) {
                         if (!have_common_scale(scale, minimum, level_bits)) is_common[k / 32] = false;
                       });
          const std::vector<float> expected = bf16_row(w, row);
          for (uint32_t k = 0; k < kernel.cols; k += 32) {
            Aligned<uint16_t> tile(512);
            kernel.make(w.packed.data + group * group_bytes, k / 32, tile.data);
            for (uint32_t i = 0; i < 32; ++i) {
              float got = bfloat16_to_float(tile.data[i / 2 * 32 + row % 16 * 2 + i % 2]);
              // What the unit does when it reads them; the loops for other levels have done it.
              if (level_.name == "amx") got = round_to_bf16(got);
              const float want = expected[k + i];
              ++(std::isnan(want) ? n_nan : want == 0 ? n_zero : n_finite);
              if (std::isnan(want))
                ASSERT_TRUE(std::isnan(got)) << what << ", row " << row << ", k " << k + i;
              else
                expect_bits(&got, &want, 1, what + ", row " + std::to_string(row));
            }
          }
        }
        n_tiles += static_cast<uint32_t>(is_common.size());
        n_common_tiles += static_cast<uint32_t>(std::ranges::count(is_common, true));
      }
    }
    EXPECT_GT(n_finite, 0U);
    if (type != DType::mxfp4) EXPECT_GT(n_nan, 0U);   // which has no NaN
    if (type == DType::mxfp4) EXPECT_GT(n_zero, 0U);  // scales below 2^-112
    EXPECT_GT(n_common_tiles, 0U) << what;
    EXPECT_GT(n_tiles, n_common_tiles) << what;
  }
}

// One output as bf16.h describes it.
float bf16_dot(const std::vector<float>& rounded, const float* x) {
  return bf16_sum(0, rounded.size(), [&](size_t k) { return std::pair(round_to_bf16(x[k]), rounded[k]); });
}

// Twenty-four groups and a half: a first block, blocks of as many and of fewer pairs than are multiplied with together.
constexpr uint32_t kMixedOutputs = 392;

// What rows of either class give with the weights of a kernel: the same for all levels.
class MixedReference {
 public:
  explicit MixedReference(const MixedKernel& kernel) : gated_(kernel.gated) {
    const auto type = static_cast<DType>(kernel.type), up_type = static_cast<DType>(kernel.up_type);
    w_.emplace_back(type, kMixedOutputs, kernel.cols, blocks(type, kMixedOutputs, kernel.cols, 11));
    if (gated_)
      w_.emplace_back(up_type, kMixedOutputs, kernel.cols, blocks(up_type, kMixedOutputs, kernel.cols, 12));
    for (const Weights& w : w_) {
      auto& rows = rounded_.emplace_back();
      for (uint32_t n = 0; n < kMixedOutputs; ++n) rows.push_back(bf16_row(w, n));
    }
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
      return of == rt::RowClass::prompt ? bf16_dot(rounded_[i][n], from) : dot(w_[i], n, from, q);
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
  std::vector<std::vector<std::vector<float>>> rounded_;  // of each weight and output
  std::map<std::pair<uint32_t, rt::RowClass>, std::vector<float>> outputs_;
};

MixedReference& mixed_reference(size_t index) {
  static std::array<std::unique_ptr<MixedReference>, 16> references;
  auto& r = references.at(index);
  if (!r) r = std::make_unique<MixedReference>(generic::kMixed.linear.data[index]);
  return *r;
}

// Runs of both classes that begin and end anywhere in tiles of 16 rows. Weights pass by where up to four tiles have prompt rows; of 67
// rows panels pass by two pairs of tiles and a rest, 514 more than pass by at a time; sums of wide rows are kept from one piece of the columns to the next.
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
  // The rows that are generated: none, all, a few here and there, all but a tile, a tile and a pair of
  // tiles between others.
  const auto patterns = {+[](uint32_t) { return false; },
                         +[](uint32_t) { return true; },
                         +[](uint32_t r) { return r == 0 || (r >= 14 && r < 19) || r == 66 || r == 513; },
                         +[](uint32_t r) { return r < 32 || r >= 48; },
                         +[](uint32_t r) { return r / 16 == 1; },
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
      for (const uint32_t n_rows : {1U, 16U, 17U, 31U, 32U, 33U, 48U, 64U, 65U, 67U, 514U}) {
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
          if (with_floats || classes[r] != prompt) {
            if (added == 0) expected.resize(kStride);  // padding stays zero
            expect_bits(out.data + size_t{r} * kStride, expected.data(), expected.size(), what);
          } else
            EXPECT_TRUE(std::isnan(out.data[size_t{r} * kStride]))
                << what << ": floats that nobody asked for";
        }
        EXPECT_TRUE(std::isnan(out.data[size_t{n_rows} * kStride]))
            << level_.name << ": wrote beyond its rows";
      }
    }
  }
}

}  // namespace
}  // namespace forge::test
