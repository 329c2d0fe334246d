#include "quantize/encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "quantize/search.h"
#include "tests/quant/sample_weights.h"

namespace forge {
namespace {

std::vector<float> decoded(const DTypeInfo& type, const std::vector<uint8_t>& blocks, size_t n) {
  std::vector<float> out(n);
  type.decode(blocks.data(), out.data(), n);
  return out;
}

std::vector<float> by_search(const DTypeInfo& type, const std::vector<float>& x, const float* importances) {
  std::vector<uint8_t> blocks(row_bytes(type.type, x.size()), 0xaa);
  encode_least_error(type.type, x.data(), importances, x.size(), blocks.data());
  return decoded(type, blocks, x.size());
}

std::vector<float> by_reference(const DTypeInfo& type, const std::vector<float>& x) {
  std::vector<uint8_t> blocks(row_bytes(type.type, x.size()));
  type.encode(x.data(), blocks.data(), x.size());
  return decoded(type, blocks, x.size());
}

double error(const std::vector<float>& x, const std::vector<float>& y, const std::vector<float>& w,
             size_t from, size_t n) {
  double total = 0;
  for (size_t i = from; i < from + n; ++i)
    total += double{w[i]} * (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
  return total;
}

// As activations are: most columns matter about as much as the median, some much more.
std::vector<float> skewed_importances(size_t n) {
  std::mt19937 random(2);
  std::vector<float> out(n);
  for (float& w : out) {
    const float u = static_cast<float>(random() >> 8) * 0x1p-24f;
    w = std::exp(4.0f * u * u);
  }
  return out;
}

class EveryDType : public testing::TestWithParam<DTypeInfo> {};
std::vector<DTypeInfo> encodable() {
  std::vector<DTypeInfo> out;
  std::ranges::copy_if(all_dtypes(), std::back_inserter(out), can_encode, &DTypeInfo::type);
  return out;
}
INSTANTIATE_TEST_SUITE_P(, EveryDType, testing::ValuesIn(encodable()),
                         [](const auto& p) { return std::string(p.param.name); });

// Each of the six kinds of weights, many blocks of each: a search that loses to the plain encoder is broken.
TEST_P(EveryDType, ErrsNoMoreThanTheReferenceEncoder) {
  const std::vector<float> x = sample_weights(120 * 256);
  const std::vector<float> alike(x.size(), 1.0f);
  const std::vector<float> ours = by_search(GetParam(), x, nullptr), reference = by_reference(GetParam(), x);
  for (size_t kind = 0; kind < 6; ++kind) {
    double a = 0, b = 0;
    for (size_t i = kind * 256; i < x.size(); i += 6 * 256) {
      a += error(x, ours, alike, i, 256);
      b += error(x, reference, alike, i, 256);
    }
    EXPECT_LE(a, b * (1 + 1e-6)) << "kind " << kind;
  }
}

TEST_P(EveryDType, ErrsLessWhereItMatters) {
  const std::vector<float> x = sample_weights(6 * 256);
  const std::vector<float> w = skewed_importances(x.size());
  const double with = error(x, by_search(GetParam(), x, w.data()), w, 0, x.size());
  const double without = error(x, by_search(GetParam(), x, nullptr), w, 0, x.size());
  if (GetParam().block_weights == 1)
    EXPECT_EQ(with, without);
  else if (GetParam().type == DType::mxfp4)
    EXPECT_LT(with, without);  // powers of two as scales leave little choice
  else
    EXPECT_LT(with, 0.99 * without);
}

// What a block can express exactly is found again: nearly all of the error would be the search's own.
TEST_P(EveryDType, FindsWhatItWroteAgain) {
  const std::vector<float> x = by_search(GetParam(), sample_weights(6 * 256), nullptr);
  const std::vector<float> again = by_search(GetParam(), x, nullptr);
  const std::vector<float> alike(x.size(), 1.0f), zero(x.size(), 0.0f);
  const double first = error(sample_weights(6 * 256), x, alike, 0, x.size());
  EXPECT_LE(error(x, again, alike, 0, x.size()), 0.35 * first);
  EXPECT_EQ(by_search(GetParam(), zero, nullptr), zero);
}

TEST_P(EveryDType, StaysFiniteAtTheEnds) {
  for (const float top : {kMaxWeight, 1e-4f, 1e-20f, 1e-38f}) {
    std::vector<float> x(512);
    for (size_t i = 0; i < x.size(); ++i) x[i] = (i % 3 == 0 ? -top : top) * static_cast<float>(i % 7) / 6.0f;
    std::vector<float> w(x.size(), 0.0f);
    for (const float* importances :
         {static_cast<const float*>(nullptr), static_cast<const float*>(w.data())}) {
      for (const float y : by_search(GetParam(), x, importances)) {
        EXPECT_TRUE(std::isfinite(y));
        EXPECT_LE(std::fabs(y), 1.5f * top + 1e-6f);
      }
    }
  }
}

// One group against a scan of scales so fine that no better one can hide.
TEST(Search, FindsNearlyTheBestScale) {
  using Levels = UniformLevels<-8, 7>;
  const std::vector<float> x = sample_weights(60 * 256), w = skewed_importances(x.size());
  double found = 0, best = 0;
  for (size_t at = 0; at < x.size(); at += 32) {
    const Group<32> g(&x[at], &w[at]);
    found += level_sums<Levels>(g, {search_scale<Levels>(g), 0}).error;
    const float top = std::max(g.high, -g.low);
    float least = level_sums<Levels>(g, {0, 0}).error;
    for (int i = -4000; i <= 4000; ++i) {
      if (i != 0)
        least = std::min(least, level_sums<Levels>(g, {top / 8 * static_cast<float>(i) / 2500, 0}).error);
    }
    best += least;
  }
  EXPECT_LE(found, 1.03 * best);
}

TEST(Search, FindsNearlyTheBestScaleAndOffset) {
  using Levels = UniformLevels<0, 3>;
  const std::vector<float> x = sample_weights(12 * 256), w = skewed_importances(x.size());
  double found = 0, best = 0;
  for (size_t at = 0; at < x.size(); at += 16) {
    const Group<16> g(&x[at], &w[at]);
    constexpr float kNoLimit = std::numeric_limits<float>::infinity();
    found += level_sums<Levels>(g, search_affine<Levels>(g, kNoLimit)).error;
    float least = std::numeric_limits<float>::infinity();
    for (int i = 0; i <= 120; ++i) {
      for (int j = 1; j <= 120; ++j) {
        const float range = g.high - g.low, offset = g.low + range * static_cast<float>(i) / 120;
        least =
            std::min(least, level_sums<Levels>(g, {range / 3 * static_cast<float>(j) / 120, offset}).error);
      }
    }
    best += least;
  }
  EXPECT_LE(found, 1.03 * best);
}

}  // namespace
}  // namespace forge
