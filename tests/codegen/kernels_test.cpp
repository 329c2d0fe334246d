#include "tests/codegen/kernels_test.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "quant/half.h"
#include "toolchain/cpu_level.h"

namespace forge::test {
namespace {

const std::array<Level, 6> kLevels = {{
    {"generic", "", generic::kLinear, generic::kRows, generic::kMixed},
    {"avx2", "x86-64-v3", avx2::kLinear, avx2::kRows, avx2::kMixed},
    {"avxvnni", "x86-64-v3+avxvnni", avxvnni::kLinear, avxvnni::kRows, avxvnni::kMixed},
    {"avx512", "x86-64-v4", avx512::kLinear, avx512::kRows, avx512::kMixed},
    {"avx512vnni", "x86-64-v4+vnni", avx512vnni::kLinear, avx512vnni::kRows, avx512vnni::kMixed},
    {"amx", "sapphirerapids", amx::kLinear, amx::kRows, amx::kMixed},
}};

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

}  // namespace

INSTANTIATE_TEST_SUITE_P(, Kernels, testing::Range<size_t>(0, kLevels.size()),
                         [](const auto& p) { return kLevels[p.param].name; });

Kernels::Kernels() : level_(kLevels[GetParam()]) {}

void Kernels::SetUp() {
  if (level_.cpu_level.empty()) return;
  const std::string_view missing = missing_feature(cpu_level(level_.cpu_level));
  if (!missing.empty())
    GTEST_SKIP() << "NOT TESTED: kernels of " << level_.name << ", this machine lacks " << missing;
}

std::vector<float> normal(size_t n, uint32_t seed, float deviation) {
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

std::vector<uint8_t> blocks(DType type, uint64_t rows, uint64_t cols, uint32_t seed, int fill) {
  std::mt19937 random(seed);
  const DTypeInfo& t = info(type);
  std::vector<uint8_t> out(rows * row_bytes(type, cols));
  for (uint8_t& b : out) b = static_cast<uint8_t>(fill < 0 ? static_cast<int>(random() & 255) : fill);
  // Every second sixteen rows have scales as a model's, common ones of bf16_weights.h.
  const auto is_common = [&](size_t at) { return at / row_bytes(type, cols) / 16 % 2 == 0; };
  const auto set_half = [&](size_t at) {
    const float unit = type == DType::q6_k ? 0x1p-24F : 0x1p-21F;  // parts of a block have up to 128 times it
    const float size = is_common(at) ? static_cast<float>(200 + random() % 800) * unit
                                     : static_cast<float>(1 + random() % 1000) * 0x1p-13F;
    const uint16_t h = float_to_half(random() % 2 ? size : -size);
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
      case DType::mxfp4:
        out[at] = static_cast<uint8_t>(is_common(at) ? 116 + random() % 4 : 96 + random() % 48);
        break;
      case DType::nvfp4: break;
      default:
        for (const size_t half : halves_of(type)) set_half(at + half);
    }
  }
  return out;
}

std::vector<uint8_t> blocks_of_any_scales(DType type, uint64_t rows, uint64_t cols, uint32_t seed) {
  std::vector<uint8_t> out = blocks(type, rows, cols, seed);
  std::mt19937 random(seed);
  for (size_t at = 0; at < out.size(); at += info(type).block_bytes) {
    if (type == DType::mxfp4) {
      out[at] = static_cast<uint8_t>(random());
      continue;
    }
    for (const size_t half : halves_of(type)) {
      const auto bits = static_cast<uint16_t>(random());
      std::memcpy(&out[at + half], &bits, 2);
    }
  }
  return out;
}

std::vector<uint8_t> blocks_of_scale(DType type, uint64_t rows, uint64_t cols, uint32_t seed, float scale) {
  std::vector<uint8_t> out = blocks(type, rows, cols, seed);
  std::mt19937 random(seed);
  for (size_t at = 0; at < out.size(); at += info(type).block_bytes)
    for (const size_t half : halves_of(type)) {
      const uint16_t bits = float_to_half(random() % 2 ? scale : -scale);
      std::memcpy(&out[at + half], &bits, 2);
    }
  return out;
}

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

}  // namespace forge::test
