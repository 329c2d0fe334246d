// Rows of a prompt shared out by the workers' speed.
#include "codegen/cpu/kernels/shares.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <thread>
#include <vector>

namespace forge::kernels {
namespace {

struct Prompt {
  std::vector<int32_t> positions;
  rt::Barrier barrier;
  rt::StepArgs args;

  Prompt(uint32_t n_rows, uint32_t n_workers, int32_t first = 0) : positions(n_rows) {
    std::iota(positions.begin(), positions.end(), first);
    barrier.n_workers = n_workers;
    args.n_rows = n_rows;
    args.n_workers = n_workers;
    args.positions = positions.data();
    args.barrier = &barrier;
  }
};

// Meets so often, as if each worker had taken seconds_of_work(rows) / speed[worker] for its rows; all workers' rows afterwards.
template <class Work>
std::vector<Range> after_meeting(uint32_t times, Prompt& prompt, RowWork of_row,
                                 const std::vector<float>& speed, Work work) {
  std::vector<Range> rows(speed.size());
  std::vector<std::jthread> workers;
  workers.reserve(speed.size());
  for (uint32_t i = 0; i < speed.size(); ++i)
    workers.emplace_back([&, i] {
      const Worker w{prompt.args, i};
      RowShares shares(w, of_row);
      for (uint32_t t = 0; t < times; ++t) {
        shares.since = rt::ticks_now() - static_cast<uint64_t>(1e10F * work(shares.mine()) / speed[i]);
        shares.meet();
      }
      rows[i] = shares.mine();
    });
  workers.clear();
  return rows;
}

void expect_shares(const std::vector<Range>& rows, uint32_t n_rows) {
  uint32_t next = 0;
  for (const Range r : rows) {
    EXPECT_EQ(r.begin, next);
    EXPECT_EQ(r.begin % kTileRows, 0U);
    EXPECT_LE(r.begin + kTileRows, r.end);
    next = r.end;
  }
  EXPECT_EQ(next, n_rows);
}

float count(Range rows) { return static_cast<float>(rows.end - rows.begin); }

TEST(RowShares, GiveEachRowToOneWorker) {
  for (const uint32_t n_rows : {192U, 200U, 389U, 511U, 512U})
    for (const uint32_t n_workers : {1U, 2U, 3U, 4U})
      for (const uint32_t times : {0U, 1U, 2U, 5U}) {
        SCOPED_TRACE(std::to_string(n_rows) + " rows, " + std::to_string(n_workers) + " workers");
        std::vector<float> speed(n_workers, 1);
        speed.back() = 100;  // more than it can be given
        Prompt prompt(n_rows, n_workers);
        expect_shares(after_meeting(times, prompt, {1, 0}, speed, count), n_rows);
      }
}

TEST(RowShares, FollowTheSpeed) {
  Prompt prompt(512, 2);
  const auto of_first = [&](uint32_t times, const std::vector<float>& speed) {
    return after_meeting(times, prompt, {1, 0}, speed, count)[0].end;
  };
  EXPECT_EQ(of_first(0, {1, 3}), 256U);
  EXPECT_EQ(of_first(1, {1, 3}), 256U);  // nothing is known of attention yet
  EXPECT_EQ(of_first(2, {1, 3}), 128U);
  EXPECT_EQ(of_first(6, {1, 3}), 128U);
  EXPECT_EQ(of_first(2, {3, 1}), 384U);
}

// Later rows see more positions: the first worker of two equal ones gets more rows from the start, and keeps them.
TEST(RowShares, WeighWhatRowsSee) {
  const float linears = 1e6F, position = 1e3F;
  const auto work = [&](Range rows) {
    float sum = 0;
    for (uint32_t r = rows.begin; r < rows.end; ++r)
      sum += linears + RowShares::kAttention * position * static_cast<float>(r + 1);
    return sum / (512 * linears);
  };
  for (const uint32_t times : {0U, 2U, 5U}) {
    Prompt prompt(512, 2);
    const uint32_t end = after_meeting(times, prompt, {linears, position}, {1, 1}, work)[0].end;
    // A tile more or less would be worse.
    const auto gap = [&](uint32_t at) { return std::abs(work({0, at}) - work({at, 512})); };
    EXPECT_GT(end, 256U);
    EXPECT_LE(gap(end), gap(end - kTileRows));
    EXPECT_LE(gap(end), gap(end + kTileRows));
  }
}

TEST(RowShares, AreForPromptsOfManyRowsForEach) {
  const auto has = [](uint32_t n_rows, uint32_t n_workers, bool with_generated) {
    Prompt prompt(n_rows, n_workers);
    std::vector<rt::RowClass> classes(n_rows, rt::RowClass::prompt);
    if (with_generated) classes[n_rows / 2] = rt::RowClass::generated;
    prompt.args.row_class = classes.data();
    return has_shares(Worker{prompt.args, 0});
  };
  EXPECT_TRUE(has(kShareRows, 1, false));
  EXPECT_FALSE(has(kShareRows - 1, 1, false));
  EXPECT_TRUE(has(2 * kShareRows, 2, false));
  EXPECT_FALSE(has(2 * kShareRows, 2, true));
  EXPECT_FALSE(has(2 * kShareRows, 3, false));
}

// What is left of a prompt in the last layer.
TEST(RowShares, FewerTilesThanWorkersAreTheLastOnes) {
  for (const uint32_t n_rows : {0U, 1U, 16U, 47U}) {
    Prompt prompt(n_rows, 3);
    for (uint32_t i = 0; i < 3; ++i) {
      const Worker w{prompt.args, i};
      const RowShares shares(w, {1, 1});
      EXPECT_EQ(shares.mine().begin, 0U);
      EXPECT_EQ(shares.mine().end, i == 2 ? n_rows : 0);
    }
  }
}

}  // namespace
}  // namespace forge::kernels
