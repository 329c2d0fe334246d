#include "runtime/core/kv_pages.h"

#include <gtest/gtest.h>

#include <cstring>

namespace forge::rt {
namespace {

struct Pool {
  std::vector<uint8_t> memory;
  KvPool pool;
  explicit Pool(uint32_t n_pages) : memory(n_pages * 64), pool(memory, 64) {}
  void advance(Sequence& s, uint32_t n) {
    ASSERT_TRUE(pool.reserve(s, n));
    s.n_past += n;
  }
};

TEST(KvPool, LoneSequenceHasTheIdentityTable) {
  Pool p(4);
  Sequence s;
  for (int i = 0; i < 250; ++i) p.advance(s, 1);
  EXPECT_EQ(s.pages, (std::vector<uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(p.pool.n_free(), 0U);
  p.pool.truncate(s, 64);
  EXPECT_EQ(s.pages.size(), 1U);
  EXPECT_EQ(s.n_past, 64U);
  EXPECT_EQ(p.pool.n_free(), 3U);
  p.pool.truncate(s, 1000);
  EXPECT_EQ(s.n_past, 64U);
}

TEST(KvPool, SharedPartialPageIsCopiedWhenWritten) {
  Pool p(6);
  Sequence a;
  p.advance(a, 100);
  std::memset(p.pool.page(a.pages[1]).data(), 7, 64);
  Sequence b = p.pool.share(a, 80);
  EXPECT_EQ(b.pages, a.pages);
  EXPECT_EQ(p.pool.references(a.pages[1]), 2U);
  p.advance(b, 1);
  EXPECT_EQ(b.pages[0], a.pages[0]);
  EXPECT_NE(b.pages[1], a.pages[1]);
  EXPECT_EQ(std::memcmp(p.pool.page(b.pages[1]).data(), p.pool.page(a.pages[1]).data(), 64), 0);
  EXPECT_EQ(p.pool.references(a.pages[1]), 1U);
  EXPECT_EQ(p.pool.references(a.pages[0]), 2U);
  p.pool.truncate(a, 0);
  EXPECT_EQ(p.pool.references(b.pages[0]), 1U);
  p.pool.truncate(b, 0);
  EXPECT_EQ(p.pool.n_free(), 6U);
}

TEST(KvPool, SharingOnAPageBoundaryCopiesNothing) {
  Pool p(3);
  Sequence a;
  p.advance(a, 64);
  Sequence b = p.pool.share(a, 64);
  p.advance(b, 64);
  EXPECT_EQ(b.pages[0], a.pages[0]);
  EXPECT_EQ(p.pool.n_free(), 1U);
}

TEST(KvPool, ExhaustionLeavesTheSequence) {
  Pool p(2);
  Sequence a;
  p.advance(a, 65);
  EXPECT_FALSE(p.pool.reserve(a, 64));
  EXPECT_EQ(a.pages.size(), 2U);
  Sequence b = p.pool.share(a, 65);
  EXPECT_FALSE(p.pool.reserve(b, 1));  // its copy has no page
  EXPECT_EQ(b.pages, a.pages);
  EXPECT_FALSE(p.pool.reserve(a, UINT32_MAX));
}

}  // namespace
}  // namespace forge::rt
