// What the tests of the kernels share: the levels, and weights and activations with what scalar loops make of them.
//
// The kernels are tested by direct instantiation (kernel_table.h), at every level that the machine has and with no instruction set
// at all, against scalar loops that add in the same order: bit for bit, so the levels agree with each other too.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/packed.h"
#include "tests/codegen/kernel_table.h"

namespace forge::test {

struct Level {
  std::string name;
  std::string_view cpu_level;  // whose features it needs; empty: none
  const LinearKernels& linear;
  const RowKernels& rows;
  const MixedKernels& mixed;
};
// At each of the levels; skipped where the machine lacks it.
class Kernels : public testing::TestWithParam<size_t> {
 protected:
  Kernels();
  const Level& level_;

  void SetUp() override;
};

inline const float kNaN = std::numeric_limits<float>::quiet_NaN();

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

std::vector<float> normal(size_t n, uint32_t seed, float deviation = 1);

// The same n floats, bit for bit; `what` is told with the first that differs.
void expect_bits(const float* actual, const float* expected, size_t n, const std::string& what);

// Every bit pattern of quants and integer scales; float16 scales of either sign and moderate size, so that
// no NaN comes up, whose payload each processor chooses. fill below 0: random quants, else this byte.
std::vector<uint8_t> blocks(DType type, uint64_t rows, uint64_t cols, uint32_t seed, int fill = -1);
// The same with scales of any size, NaN and infinity among them.
std::vector<uint8_t> blocks_of_any_scales(DType type, uint64_t rows, uint64_t cols, uint32_t seed);
// The same with one scale, of either sign, in all places of a float16.
std::vector<uint8_t> blocks_of_scale(DType type, uint64_t rows, uint64_t cols, uint32_t seed, float scale);

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

// A row in int8, blocks of 32.
struct Quantized {
  std::vector<int8_t> q;
  std::vector<float> d;
};
Quantized quantize(const float* x, uint32_t n);

// One output as linear.h describes it: floats in order of k; of block types the integers of a scale, then one
// fused step with scale_w * scale_x, then the minimum with the sum of the block's activation.
float dot(const Weights& w, uint32_t row, const float* x, const Quantized& q);

}  // namespace forge::test
