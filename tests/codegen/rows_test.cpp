// The rows of a step whose output is wanted, moved to the front as a step of their own.
#include "codegen/cpu/kernels/rows.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

namespace forge::kernels {
namespace {

TEST(WantedRows, AreAStepOfTheirOwn) {
  const std::vector<int32_t> tokens(20), positions = [] {
    std::vector<int32_t> p(20);
    for (int32_t i = 0; i < 20; ++i) p[static_cast<size_t>(i)] = 100 + i;
    return p;
  }();
  std::vector<uint32_t> sequences(20), out_rows = {0, 7, 8, 19};
  std::vector<rt::RowClass> classes(20, rt::RowClass::prompt);
  sequences[19] = 1;
  classes[19] = rt::RowClass::generated;
  rt::StepArgs args;
  args.n_rows = 20;
  args.tokens = tokens.data();
  args.positions = positions.data();
  args.row_sequence = sequences.data();
  args.row_class = classes.data();
  args.n_out_rows = 4;
  args.out_rows = out_rows.data();
  const WantedRows<16> wanted(Worker{args, 1});
  EXPECT_TRUE(wanted.are_fewer);
  EXPECT_EQ(wanted.worker.index, 1U);
  const rt::StepArgs& step = wanted.worker.args;
  ASSERT_EQ(step.n_rows, 4U);
  EXPECT_EQ(step.n_out_rows, 4U);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(step.positions[i], positions[out_rows[i]]);
    EXPECT_EQ(step.row_sequence[i], sequences[out_rows[i]]);
    EXPECT_EQ(step.row_class[i], classes[out_rows[i]]);
    EXPECT_EQ(step.out_rows[i], i);
  }

  args.trace = [](void*, const char*, int32_t, const float*, uint32_t, uint32_t, uint32_t) {};
  EXPECT_FALSE(WantedRows<16>(Worker{args, 0}).are_fewer);  // who traces sees all rows
  args.trace = nullptr;
  args.n_rows = 4;
  EXPECT_FALSE(WantedRows<16>(Worker{args, 0}).are_fewer);
}

// Rows that are apart, neighbours, of one tile and of others; what is behind them stays.
constexpr uint32_t kFrom[] = {1, 2, 5, 17, 40};
constexpr uint32_t kRows = 48, kCols = 96;

// The number in row r, column k.
uint8_t number(uint32_t r, uint32_t k) { return static_cast<uint8_t>(7 * r + k); }
uint32_t source_of(uint32_t row) { return row < std::size(kFrom) ? kFrom[row] : row; }

TEST(WantedRows, MoveAsFloats) {
  constexpr uint32_t kOdd = 90, kStride = pad16(kOdd);
  std::vector<float> x(size_t{kRows} * kStride);
  for (uint32_t r = 0; r < kRows; ++r)
    for (uint32_t k = 0; k < kStride; ++k) x[r * kStride + k] = number(r, k);
  for (uint32_t i = 0; i < std::size(kFrom); ++i) move_row<kOdd>(x.data(), kFrom[i], i);
  for (uint32_t r = 0; r < kRows; ++r)
    for (uint32_t k = 0; k < kStride; ++k) ASSERT_EQ(x[r * kStride + k], number(source_of(r), k)) << r;
}

TEST(WantedRows, MoveAsQ8) {
  const auto rows = std::make_unique<Q8Row<kCols>[]>(kRows);
  for (uint32_t r = 0; r < kRows; ++r) std::memset(&rows[r], number(r, 0), sizeof(rows[r]));
  for (uint32_t i = 0; i < std::size(kFrom); ++i) move_row(rows.get(), kFrom[i], i);
  for (uint32_t r = 0; r < kRows; ++r) {
    const Q8Row<kCols>& row = rows[r];
    const auto expected = static_cast<int8_t>(number(source_of(r), 0));
    for (uint32_t k = 0; k < kCols; ++k) ASSERT_EQ(row.q[k], expected) << r;
    ASSERT_EQ(std::memcmp(&row.nhalf, &row.q, sizeof(row.nhalf)), 0) << r;
  }
}

TEST(WantedRows, MoveAsBf16) {
  const auto rows = std::make_unique<Bf16Rows<kCols>[]>(kRows / kTileRows);
  const auto at = [&](uint32_t r, uint32_t k) -> uint16_t& {
    return rows[r / kTileRows].tile[k / 32][r % kTileRows][k % 32];
  };
  for (uint32_t r = 0; r < kRows; ++r)
    for (uint32_t k = 0; k < kCols; ++k) at(r, k) = number(r, k);
  for (uint32_t i = 0; i < std::size(kFrom); ++i) move_row(rows.get(), kFrom[i], i);
  for (uint32_t r = 0; r < kRows; ++r)
    for (uint32_t k = 0; k < kCols; ++k) ASSERT_EQ(at(r, k), number(source_of(r), k)) << r << ", " << k;
}

}  // namespace
}  // namespace forge::kernels
