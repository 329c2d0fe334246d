#include "quant/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "quant/half.h"
#include "tests/quant/sample_weights.h"

namespace forge {
namespace {

std::string name_of(const testing::TestParamInfo<DTypeInfo>& p) { return std::string(p.param.name); }

class EveryDType : public testing::TestWithParam<DTypeInfo> {};
INSTANTIATE_TEST_SUITE_P(, EveryDType, testing::ValuesIn(all_dtypes().begin(), all_dtypes().end()), name_of);

std::vector<uint8_t> encode(const DTypeInfo& type, const std::vector<float>& weights) {
  std::vector<uint8_t> out(row_bytes(type.type, weights.size()),
                           0xaa);  // what was there must not shine through
  type.encode(weights.data(), out.data(), weights.size());
  return out;
}

std::vector<float> decode(const DTypeInfo& type, const std::vector<uint8_t>& blocks) {
  std::vector<float> out(blocks.size() / type.block_bytes * type.block_weights);
  type.decode(blocks.data(), out.data(), out.size());
  return out;
}

// Files of tests/goldens/make_quant_goldens.py.
TEST_P(EveryDType, DecodesAsTheGoldenFileSays) {
  const DTypeInfo& type = GetParam();
  const std::string path =
      std::string(FORGE_SOURCE_DIR "/tests/goldens/quant/") + std::string(type.name) + ".bin";
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  ASSERT_GE(bytes.size(), 4u) << path;
  uint32_t n = 0;
  std::memcpy(&n, bytes.data(), 4);
  const size_t weights = size_t{n} * type.block_weights;
  ASSERT_GT(n, 0u);
  ASSERT_EQ(bytes.size(), 4 + size_t{n} * type.block_bytes + 4 * weights) << path;
  std::vector<uint32_t> expected(weights), actual(weights);
  std::memcpy(expected.data(), bytes.data() + 4 + size_t{n} * type.block_bytes, 4 * weights);
  const std::vector<float> decoded =
      decode(type, {bytes.begin() + 4, bytes.begin() + 4 + n * type.block_bytes});
  std::memcpy(actual.data(), decoded.data(), 4 * weights);
  for (size_t i = 0; i < weights; ++i) ASSERT_EQ(actual[i], expected[i]) << "weight " << i;
}

// What ggml's reference encoders (llama.cpp d32676d77, no fused multiply-adds) make of the same weights, as
// FNV-1a.
TEST_P(EveryDType, EncodesAsTheReferenceDoes) {
  const auto expected = [](DType type) -> uint64_t {
    switch (type) {
      case DType::f32: return 0x7c83bc5b2202f328u;
      case DType::f16: return 0xb2bf2c8f53529834u;
      case DType::q4_0: return 0x71d10dc67e1653ffu;
      case DType::q4_1: return 0xd949492f136714a0u;
      case DType::q5_0: return 0x201058d389af1065u;
      case DType::q5_1: return 0x994728992062ee53u;
      case DType::q8_0: return 0xffe76e24c89187d4u;
      case DType::q4_k: return 0xf59a41f5409424fdu;
      case DType::q5_k: return 0x03cd54bbfd6919b2u;
      case DType::q6_k: return 0x525d65e0c8aa180bu;
      case DType::bf16: return 0x5257b92330f97ef5u;
    }
    return 0;
  };
  uint64_t hash = 0xcbf29ce484222325u;
  for (const uint8_t byte : encode(GetParam(), sample_weights(24 * 256)))
    hash = (hash ^ byte) * 0x100000001b3u;
  EXPECT_EQ(hash, expected(GetParam().type)) << std::hex << hash;
}

// The largest error that a type may make of one weight, in steps of its block's range. Levels lie on both
// sides of zero up to the farthest weight, or from the lowest weight (from zero at most for K types) to the
// highest.
struct Accuracy {
  enum Range { kItself, kFarthest, kSpan } range;
  float steps;  // in the range
  float error;  // in steps; where opposite the farthest weight one level is missing, a whole step
};
Accuracy accuracy(DType type) {
  switch (type) {
    case DType::f32: return {Accuracy::kItself, 0x1p23f, 0.0f};
    case DType::f16: return {Accuracy::kItself, 0x1p10f, 0.5f};
    case DType::bf16: return {Accuracy::kItself, 0x1p7f, 0.5f};
    case DType::q4_0: return {Accuracy::kFarthest, 8, 1.0f};
    case DType::q5_0: return {Accuracy::kFarthest, 16, 1.0f};
    case DType::q8_0: return {Accuracy::kFarthest, 127, 0.5f};
    case DType::q4_1: return {Accuracy::kSpan, 15, 0.5f};
    case DType::q5_1: return {Accuracy::kSpan, 31, 0.5f};
    case DType::q4_k: return {Accuracy::kSpan, 15, 1.0f};
    case DType::q5_k: return {Accuracy::kSpan, 31, 1.0f};
    case DType::q6_k: return {Accuracy::kFarthest, 32, 1.0f};
  }
  return {};
}

TEST_P(EveryDType, EncodesWithinItsSteps) {
  const DTypeInfo& type = GetParam();
  const Accuracy expected = accuracy(type.type);
  const std::vector<float> weights = sample_weights(24 * 256);
  const std::vector<float> decoded = decode(type, encode(type, weights));
  float worst = 0;
  for (size_t at = 0; at < weights.size(); at += type.block_weights) {
    const auto block = std::span(weights).subspan(at, type.block_weights);
    float low = *std::ranges::min_element(block), high = *std::ranges::max_element(block);
    if (type.block_weights == 256) low = std::fmin(low, 0.0f);
    const float farthest = std::fmax(std::fabs(low), std::fabs(high));
    const float range = expected.range == Accuracy::kSpan ? high - low : farthest;
    // What rounding the scales to halves adds: half a unit of 11 bits of the scale and of the minimum.
    const float rounding = expected.range == Accuracy::kItself ? 0.0f : 2.0f * farthest * 0x1p-11f;
    for (size_t i = 0; i < block.size(); ++i) {
      const float error = std::fabs(decoded[at + i] - block[i]);
      ASSERT_LE(error, range / expected.steps * expected.error + rounding + 0x1p-24f) << "weight " << at + i;
      worst = std::fmax(worst, error);
    }
  }
  if (type.type != DType::f32) EXPECT_GT(worst, 0.0f);
}

TEST_P(EveryDType, ZerosStayZero) {
  const DTypeInfo& type = GetParam();
  for (const float weight : decode(type, encode(type, std::vector<float>(512)))) ASSERT_EQ(weight, 0.0f);
}

// No weight makes the encoder leave its block or run into undefined behaviour (the sanitizers' build sees to
// it).
TEST_P(EveryDType, SurvivesAnyFloat) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kMax = std::numeric_limits<float>::max(),
                  kInfinity = std::numeric_limits<float>::infinity(),
                  kTiny = std::numeric_limits<float>::denorm_min();
  for (const std::vector<float>& some : {std::vector{kNaN},
                                         {kInfinity},
                                         {-kInfinity, 1.0f},
                                         {kMax, -kMax},
                                         {kNaN, 1.0f, -2.0f},
                                         {kTiny, -kTiny, 0.0f},
                                         {1e30f, -3.0f},
                                         {1e-38f, 1e38f}}) {
    std::vector<float> weights(512);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = some[i % some.size()];
    EXPECT_EQ(decode(GetParam(), encode(GetParam(), weights)).size(), weights.size());
  }
}

TEST_P(EveryDType, IsFoundByNumberAndName) {
  const DTypeInfo& type = GetParam();
  EXPECT_EQ(dtype_from_id(static_cast<uint32_t>(type.type)), type.type);
  EXPECT_EQ(dtype_from_name(type.name), type.type);
  EXPECT_EQ(ggml_type_name(static_cast<uint32_t>(type.type)), type.name);
  EXPECT_EQ(&info(type.type), &*std::ranges::find(all_dtypes(), type.type, &DTypeInfo::type));
  EXPECT_EQ(row_bytes(type.type, 512), 512 / type.block_weights * type.block_bytes);
}

TEST(DType, NamesWhatItDoesNotSupport) {
  EXPECT_EQ(all_dtypes().size(), 11u);
  EXPECT_EQ(dtype_from_id(16), std::nullopt);
  EXPECT_EQ(dtype_from_id(4), std::nullopt);
  EXPECT_EQ(dtype_from_name("iq2_xxs"), std::nullopt);
  EXPECT_EQ(ggml_type_name(16), "iq2_xxs");
  EXPECT_EQ(ggml_type_name(10), "q2_k");
  EXPECT_EQ(ggml_type_name(29), "iq1_m");
  EXPECT_EQ(ggml_type_name(39), "mxfp4");
  EXPECT_EQ(ggml_type_name(42), "q2_0");
  EXPECT_EQ(ggml_type_name(43), "unknown");
  EXPECT_EQ(ggml_type_name(UINT32_MAX), "unknown");
}

}  // namespace
}  // namespace forge
