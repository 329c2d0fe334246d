// Work dealt to workers that come for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "codegen/cpu/kernels/step.h"

namespace forge::kernels {
namespace {

// What each worker gets of n items, twice with a barrier between, which makes them all there again.
std::vector<std::vector<Range>> deal_twice(uint32_t n, uint32_t n_workers, uint32_t number) {
  rt::Barrier barrier;
  barrier.n_workers = n_workers;
  rt::StepArgs args;
  args.n_workers = n_workers;
  args.barrier = &barrier;
  std::vector<std::vector<Range>> got(n_workers);
  {
    std::vector<std::jthread> workers;
    workers.reserve(n_workers);
    for (uint32_t i = 0; i < n_workers; ++i)
      workers.emplace_back([&, i] {
        const Worker w{args, i};
        for (int round = 0; round < 2; ++round) {
          for (Range next = {}; deal(w, number, n, next);) got[i].push_back(next);
          w.barrier();
        }
      });
  }
  return got;
}

TEST(Deal, GivesEachItemOnceAndPairsTogether) {
  for (const uint32_t n : {1U, 2U, 7U, 12U, 16U, 31U, 33U, 96U, 513U})
    for (const uint32_t n_workers : {1U, 2U, 3U, 8U}) {
      std::vector<int> seen(n);
      for (const auto& of_worker : deal_twice(n, n_workers, n % rt::Barrier::kDeals))
        for (const Range r : of_worker) {
          EXPECT_EQ(r.begin % 2, 0U);
          ASSERT_LT(r.begin, r.end);
          ASSERT_LE(r.end, n);
          for (uint32_t i = r.begin; i < r.end; ++i) ++seen[i];
        }
      EXPECT_TRUE(std::ranges::all_of(seen, [](int times) { return times == 2; })) << n << ", " << n_workers;
    }
}

// One worker alone: what it is given is a quarter of the rest for two workers, down to four.
TEST(Deal, PiecesGetSmaller) {
  rt::Barrier barrier;
  barrier.n_workers = 2;
  rt::StepArgs args;
  args.n_workers = 2;
  args.barrier = &barrier;
  const Worker w{args, 0};
  std::vector<uint32_t> sizes;
  for (Range next = {}; deal(w, 3, 96, next);) sizes.push_back(next.end - next.begin);
  EXPECT_EQ(sizes, (std::vector<uint32_t>{24, 18, 14, 10, 8, 6, 4, 4, 4, 4}));
  sizes.clear();
  for (Range next = {}; deal(w, 5, 36, next);) sizes.push_back(next.end - next.begin);
  EXPECT_EQ(sizes, (std::vector<uint32_t>{10, 6, 6, 4, 4, 4, 2}));
  sizes.clear();
  for (Range next = {}; deal(w, 6, 37, next);) sizes.push_back(next.end - next.begin);
  EXPECT_EQ(sizes, (std::vector<uint32_t>{10, 6, 6, 4, 4, 4, 3}));
  sizes.clear();
  for (Range next = {}; deal(w, 7, 38, next);) sizes.push_back(next.end - next.begin);
  EXPECT_EQ(sizes, (std::vector<uint32_t>{10, 8, 6, 4, 4, 4, 2}));
  sizes.clear();
  for (Range next = {}; deal(w, 4, 12, next);) sizes.push_back(next.end - next.begin);
  EXPECT_EQ(sizes, (std::vector<uint32_t>{6, 6}));
  sizes.clear();
  barrier.n_workers = args.n_workers = 8;
  for (Range next = {}; deal(w, 0, 31, next);) sizes.push_back(next.end - next.begin);
  EXPECT_EQ(sizes, (std::vector<uint32_t>{4, 4, 4, 4, 4, 4, 4, 3}));  // one each
}

TEST(Deal, OneByOne) {
  rt::Barrier barrier;
  rt::StepArgs args;
  args.barrier = &barrier;
  const Worker w{args, 0};
  EXPECT_EQ(deal_one(w, 0, ~0U), 0U);  // of one worker: the next one
  EXPECT_EQ(deal_one(w, 0, 0), 1U);
  EXPECT_EQ(barrier.dealt[0], 0U);
  args.n_workers = 2;
  EXPECT_EQ(deal_one(w, 0, ~0U), 0U);
  EXPECT_EQ(deal_one(w, 0, 0), 1U);
  EXPECT_EQ(barrier.dealt[0], 2U);
}

}  // namespace
}  // namespace forge::kernels
