#include "quant/packed.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace forge {
namespace {

class Packed : public testing::TestWithParam<DTypeInfo> {};
INSTANTIATE_TEST_SUITE_P(, Packed, testing::ValuesIn([] {
                           std::vector<DTypeInfo> out;
                           for (const DTypeInfo& t : all_dtypes())
                             if (t.block_weights == 1 || block_codec(t.type) != nullptr) out.push_back(t);
                           return out;
                         }()),
                         [](const auto& p) { return std::string(p.param.name); });

std::vector<uint8_t> random_bytes(size_t n) {
  std::mt19937 random(static_cast<uint32_t>(n));
  std::vector<uint8_t> out(n);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random());
  return out;
}

std::vector<uint8_t> packed(DType type, Layout layout, uint64_t rows, uint64_t cols,
                            const std::vector<uint8_t>& source) {
  std::vector<uint8_t> out(packed_bytes(type, layout, rows, cols), 0xAA);
  pack(type, layout, rows, cols, source, out);
  return out;
}

// Random bytes: scales that are NaN, levels at both ends, every bit pattern there is.
TEST_P(Packed, UnpackingGivesTheSourceBack) {
  const DTypeInfo& type = GetParam();
  std::vector<uint64_t> columns = {type.block_weights * 1U, type.block_weights * 3U};
  if (type.block_weights == 1) columns = {1, 7, 40, 256};
  if (type.block_weights == 32) columns.push_back(512);
  for (const uint64_t rows : {1U, 15U, 16U, 17U, 33U})
    for (const uint64_t cols : columns) {
      const std::vector<uint8_t> source = random_bytes(rows * row_bytes(type.type, cols));
      const std::vector<uint8_t> tiles = packed(type.type, Layout::tiles16, rows, cols, source);
      std::vector<uint8_t> back(source.size(), 0xAA);
      unpack(type.type, Layout::tiles16, rows, cols, tiles, back);
      EXPECT_EQ(back, source) << rows << " x " << cols;
    }
}

// Each byte of the source changes the packed form: nothing of a block is left out.
TEST_P(Packed, EveryBitOfABlockCounts) {
  const DTypeInfo& type = GetParam();
  const uint64_t cols = type.block_weights;
  std::vector<uint8_t> source(row_bytes(type.type, cols), 0);
  const std::vector<uint8_t> zero = packed(type.type, Layout::tiles16, 1, cols, source);
  for (size_t bit = 0; bit < source.size() * 8; ++bit) {
    source[bit / 8] = static_cast<uint8_t>(1U << bit % 8);
    EXPECT_NE(packed(type.type, Layout::tiles16, 1, cols, source), zero) << "bit " << bit;
    source[bit / 8] = 0;
  }
}

TEST_P(Packed, PaddingRowsDecodeToZero) {
  const DTypeInfo& type = GetParam();
  const uint64_t cols = type.block_weights;
  const std::vector<uint8_t> source = random_bytes(3 * row_bytes(type.type, cols));
  const std::vector<uint8_t> tiles = packed(type.type, Layout::tiles16, 3, cols, source);
  ASSERT_EQ(tiles.size(), packed_bytes(type.type, Layout::tiles16, 16, cols));
  std::vector<uint8_t> all(16 * row_bytes(type.type, cols));
  unpack(type.type, Layout::tiles16, 16, cols, tiles, all);
  std::vector<float> padding(13 * cols);
  type.decode(all.data() + source.size(), padding.data(), padding.size());
  for (const float w : padding) ASSERT_EQ(w, 0.0F);
}

TEST_P(Packed, BytesOfTheTiles) {
  const DTypeInfo& type = GetParam();
  // 16 rows of a block: as many bits as the source's quants, and the scale record widened to whole bytes.
  const auto group = [](DType t) -> uint64_t {
    switch (t) {
      case DType::f32: return 64;  // one column
      case DType::f16:
      case DType::bf16: return 64;  // one column, padded
      case DType::q4_0: return 64 + 256;
      case DType::q4_1: return 64 + 256;
      case DType::q5_0: return 64 + 320;
      case DType::q5_1: return 64 + 320;
      case DType::q8_0: return 64 + 512;
      case DType::q4_k: return 320 + 2048;
      case DType::q5_k: return 320 + 2560;
      case DType::q6_k: return 320 + 3072;
      case DType::q2_k: return 320 + 1024;
      case DType::q3_k: return 320 + 1536;
      case DType::tq1_0: return 64 + 832;
      case DType::tq2_0: return 64 + 1024;
      case DType::q1_0: return 64 + 256;
      case DType::q2_0: return 64 + 256;
      case DType::iq4_nl: return 64 + 256;
      case DType::iq4_xs: return 192 + 2048;
      case DType::mxfp4: return 64 + 256;
      case DType::nvfp4: return 64 + 512;
      case DType::iq1_s:
      case DType::iq1_m:
      case DType::iq2_xxs:
      case DType::iq2_xs:
      case DType::iq2_s: return 192 + 1536;  // three bits a weight, whatever its point takes in the source
      case DType::iq3_xxs:
      case DType::iq3_s: return 192 + 2048;
      default: return 0;
    }
  };
  const uint64_t one = group(type.type), cols = type.block_weights;
  EXPECT_EQ(packed_bytes(type.type, Layout::tiles16, 1, cols), one);
  EXPECT_EQ(packed_bytes(type.type, Layout::tiles16, 16, cols), one);
  EXPECT_EQ(packed_bytes(type.type, Layout::tiles16, 17, cols), 2 * one);
  for (const uint64_t n : {2U, 3U, 5U})
    EXPECT_EQ(packed_bytes(type.type, Layout::tiles16, 16, n * cols) % 64, 0U);
}

TEST(PackedRow, IsTheSourcePaddedWithZeros) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16})
    for (const uint64_t n : {1U, 15U, 16U, 17U, 40U}) {
      const std::vector<uint8_t> source = random_bytes(row_bytes(type, n));
      const std::vector<uint8_t> row = packed(type, Layout::row, 1, n, source);
      ASSERT_EQ(row.size(), (n + 15) / 16 * 16 * info(type).block_bytes);
      EXPECT_EQ(std::memcmp(row.data(), source.data(), source.size()), 0);
      for (size_t i = source.size(); i < row.size(); ++i) ASSERT_EQ(row[i], 0);
      std::vector<uint8_t> back(source.size());
      unpack(type, Layout::row, 1, n, row, back);
      EXPECT_EQ(back, source);
    }
}

// The tile's picture in weights.h, for the simplest type: byte 4 r + j of tile t is row r, k = 4 t + j.
TEST(PackedTiles, LieAsTheirPictureSays) {
  constexpr uint64_t kRows = 16, kCols = 32, kRow = 34;
  const std::vector<uint8_t> source = random_bytes(kRows * kRow);
  const std::vector<uint8_t> tiles = packed(DType::q8_0, Layout::tiles16, kRows, kCols, source);
  for (uint64_t r = 0; r < kRows; ++r) {
    EXPECT_EQ(std::memcmp(&tiles[2 * r], &source[r * kRow], 2), 0) << "scale of row " << r;
    for (uint64_t k = 0; k < kCols; ++k)
      ASSERT_EQ(tiles[64 + 64 * (k / 4) + 4 * r + k % 4], source[r * kRow + 2 + k] ^ 0x80);
  }
}

// What the codec says of a block, put together, is the reference decoding bit for bit (NaNs are NaNs: which
// one a product of two gives is the processor's choice).
TEST_P(Packed, CodecDecodesAsTheReference) {
  const DTypeInfo& type = GetParam();
  const BlockCodec* codec = block_codec(type.type);
  if (type.block_weights == 1) {
    EXPECT_EQ(codec, nullptr);
    return;
  }
  ASSERT_NE(codec, nullptr);
  EXPECT_EQ(codec->type, type.type);
  EXPECT_LE(2 * codec->halves + codec->bytes, kMaxRecord);
  EXPECT_LE(type.block_weights, kMaxBlock);
  constexpr uint32_t kBlocks = 300;
  const std::vector<uint8_t> source = random_bytes(kBlocks * type.block_bytes);
  std::vector<float> expected(type.block_weights);
  for (uint32_t b = 0; b < kBlocks; ++b) {
    const uint8_t* block = source.data() + b * type.block_bytes;
    type.decode(block, expected.data(), expected.size());
    std::array<uint8_t, kMaxRecord> record{};
    std::array<uint8_t, kMaxBlock> codes{};
    std::array<int8_t, kMaxBlock> levels{};
    codec->split(block, record.data(), codes.data());
    for (uint32_t i = 0; i < codec->codes; ++i) ASSERT_LT(codes[i], 1U << codec->bits);
    codec->levels(codes.data(), levels.data());
    for (uint32_t k = 0; k < type.block_weights; ++k) {
      const uint32_t run = k / codec->run;
      const float scaled = codec->scale(record.data(), run) * static_cast<float>(levels[k]);
      const float w = codec->minimum != nullptr ? scaled + codec->minimum(record.data(), run) : scaled;
      if (std::isnan(expected[k]))
        ASSERT_TRUE(std::isnan(w)) << "block " << b << ", weight " << k;
      else
        ASSERT_EQ(std::bit_cast<uint32_t>(w), std::bit_cast<uint32_t>(expected[k]))
            << "block " << b << ", weight " << k << ": " << w << " and " << expected[k];
    }
  }
}

}  // namespace
}  // namespace forge
