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

class EveryEncoder : public EveryDType {};
INSTANTIATE_TEST_SUITE_P(, EveryEncoder, testing::ValuesIn([] {
                           std::vector<DTypeInfo> out;
                           for (const DTypeInfo& t : all_dtypes())
                             if (t.encode != nullptr) out.push_back(t);
                           return out;
                         }()),
                         name_of);

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

// Files of tests/goldens/make_quant_goldens.py, which decodes in numpy.
class GoldenFile : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(, GoldenFile,
                         testing::Values(DType::f32, DType::f16, DType::bf16, DType::q4_0, DType::q4_1,
                                         DType::q5_0, DType::q5_1, DType::q8_0, DType::q4_k, DType::q5_k,
                                         DType::q6_k),
                         [](const auto& p) { return std::string(forge::info(p.param).name); });

TEST_P(GoldenFile, DecodesAsItSays) {
  const DTypeInfo& type = info(GetParam());
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

// FNV-1a of what ggml (llama.cpp d32676d77, no fused multiply-adds) decodes sample_blocks(24) to and of what its
// reference encoders make of sample_weights(24 * 256); 0 where we have no encoder.
struct GgmlHash {
  DType type;
  uint64_t decoded, encoded;
};
constexpr GgmlHash kGgmlHashes[] = {
    {DType::f32, 0xe5127da4cd3fc855u, 0x7c83bc5b2202f328u},
    {DType::f16, 0x33661b6cbcc4672du, 0xb2bf2c8f53529834u},
    {DType::q4_0, 0xfe0ead6b77623576u, 0x71d10dc67e1653ffu},
    {DType::q4_1, 0x4635cd6b0c8a985cu, 0xd949492f136714a0u},
    {DType::q5_0, 0xd351cf003fd6adb3u, 0x201058d389af1065u},
    {DType::q5_1, 0x5f7d7260fb4707cbu, 0x994728992062ee53u},
    {DType::q8_0, 0x9199335f7f02290du, 0xffe76e24c89187d4u},
    {DType::q2_k, 0xba9fc59c6177a8e6u, 0x17ec3975407f9f8cu},
    {DType::q3_k, 0x0c592e13275f54bau, 0x677e62e4a6e24a39u},
    {DType::q4_k, 0x90ca5cc35e131382u, 0xf59a41f5409424fdu},
    {DType::q5_k, 0xd4120fdfea10e918u, 0x03cd54bbfd6919b2u},
    {DType::q6_k, 0x1a0b7e184d93a2dcu, 0x525d65e0c8aa180bu},
    {DType::q8_k, 0xfc7589cb2d2867a1u, 0x1db072bf81d20af1u},
    {DType::iq2_xxs, 0x132925a40202d274u, 0},
    {DType::iq2_xs, 0x9437815ef87cca4cu, 0},
    {DType::iq3_xxs, 0x8969eb71907d1eddu, 0},
    {DType::iq1_s, 0xd68be7b4806073b9u, 0},
    {DType::iq4_nl, 0xb2abe42070057212u, 0x484228d3c720310du},
    {DType::iq3_s, 0x9d7fe9b23a323447u, 0},
    {DType::iq2_s, 0xcea21b4626009bebu, 0},
    {DType::iq4_xs, 0xaa9ea83efeb61cafu, 0x8f54bd5f90180a60u},
    {DType::iq1_m, 0xc8b7659fcfe397b8u, 0},
    {DType::bf16, 0xc0c9404b4457be64u, 0x5257b92330f97ef5u},
    {DType::tq1_0, 0x93497504d3e36ca6u, 0x047b005e8e4ef356u},
    {DType::tq2_0, 0xdd3751802884c94eu, 0xd03a234b748da4c5u},
    {DType::mxfp4, 0x0f593865893f0ff2u, 0xe3d7166c78932f48u},
    {DType::nvfp4, 0x9bb31e5f8b3b626eu, 0x4df43d13cb8f31abu},
    {DType::q1_0, 0xc8eae538fe1faea5u, 0x66afd369ea5ab075u},
    {DType::q2_0, 0xd9f176473912149cu, 0x30ad4dd4264375bdu},
};
GgmlHash ggml_hash(DType type) {
  const auto* const it = std::ranges::find(kGgmlHashes, type, &GgmlHash::type);
  return it == std::end(kGgmlHashes) ? GgmlHash{} : *it;
}

TEST_P(EveryDType, DecodesAsGgmlDoes) {
  const DTypeInfo& type = GetParam();
  const std::vector<float> weights = decode(
      type, sample_blocks(24, type.block_bytes, type.block_weights, [&](const uint8_t* block, float* w) {
        type.decode(block, w, type.block_weights);
      }));
  const uint64_t hash = fnv1a(weights.data(), weights.size() * sizeof(float));
  EXPECT_EQ(hash, ggml_hash(type.type).decoded) << std::hex << hash;
}

TEST_P(EveryEncoder, EncodesAsTheReferenceDoes) {
  const std::vector<uint8_t> blocks = encode(GetParam(), sample_weights(24 * 256));
  const uint64_t hash = fnv1a(blocks.data(), blocks.size());
  EXPECT_EQ(hash, ggml_hash(GetParam().type).encoded) << std::hex << hash;
}

// The largest error that a type may make of one weight, in steps of its block's range. Levels lie on both
// sides of zero up to the farthest weight, or from the lowest weight (from zero at most for K types) to the
// highest.
struct Accuracy {
  enum Range { kItself, kFarthest, kSpan } range;
  float steps;            // in the range
  float error;            // in steps; where opposite the farthest weight one level is missing, a whole step
  float absolute = 0.0f;  // beside that, where the scale's own range ends
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
    // A step, and scales and minimums in sixteenths: half of one fifteenth of three steps, twice.
    case DType::q2_k: return {Accuracy::kSpan, 3, 1.2f};
    case DType::q3_k: return {Accuracy::kFarthest, 4, 1.0f};
    case DType::q8_k: return {Accuracy::kFarthest, 127, 0.5f};
    case DType::tq1_0:
    case DType::tq2_0:
    case DType::q2_0: return {Accuracy::kFarthest, 1, 0.5f};
    case DType::q1_0:
      return {Accuracy::kFarthest, 1, 1.0f};  // the mean magnitude stands for all
    // Levels up to 24 apart; the scale is fitted to all weights, which may move a weight by half a gap.
    case DType::iq4_nl:
    case DType::iq4_xs: return {Accuracy::kFarthest, 127, 24.0f};
    // The farthest weight is below 8 in units in which the highest level is 6.
    case DType::mxfp4: return {Accuracy::kFarthest, 8, 2.0f};
    // The highest levels are 4 and 6; a scale of three bits after the leading one is off by up to 1/16, of 6. Below
    // 2^-6 its steps are 2^-9.
    case DType::nvfp4: return {Accuracy::kFarthest, 6, 1.0f + 6.0f / 16.0f, 6 * 0x1p-10f};
    default: return {};
  }
}

TEST_P(EveryEncoder, EncodesWithinItsSteps) {
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
      ASSERT_LE(error, range / expected.steps * expected.error + rounding + expected.absolute + 0x1p-24f)
          << "weight " << at + i;
      worst = std::fmax(worst, error);
    }
  }
  if (type.type != DType::f32) EXPECT_GT(worst, 0.0f);
}

TEST_P(EveryEncoder, ZerosStayZero) {
  const DTypeInfo& type = GetParam();
  for (const float weight : decode(type, encode(type, std::vector<float>(512)))) ASSERT_EQ(weight, 0.0f);
}

// No weight makes the encoder leave its block or run into undefined behaviour (the sanitizers' build sees to
// it).
TEST_P(EveryEncoder, SurvivesAnyFloat) {
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
  EXPECT_EQ(all_dtypes().size(), 29u);
  EXPECT_EQ(dtype_from_id(9), std::nullopt);
  EXPECT_EQ(dtype_from_id(4), std::nullopt);
  EXPECT_EQ(dtype_from_name("q8_1"), std::nullopt);
  EXPECT_EQ(ggml_type_name(9), "q8_1");
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
