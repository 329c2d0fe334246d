#include "runtime/core/portable_math.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace forge::rt {
namespace {

// ln 2 in two parts: the first has enough zeros at its end that its product with an exponent is exact.
constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;

// 1 / 13!, 1 / 12!, … 1 / 0!.
constexpr std::array<double, 14> kTaylor = [] {
  std::array<double, 14> c{};
  double factorial = 1;
  for (size_t i = 0; i < c.size(); ++i) {
    c[c.size() - 1 - i] = 1 / factorial;
    factorial *= static_cast<double>(i + 1);
  }
  return c;
}();

}  // namespace

double portable_exp(double x) {
  if (!(x >= -700.0)) return 0.0;
  if (x > 0.0) x = 0.0;
  // x = k ln 2 + r with |r| <= ln 2 / 2.
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * kLn2High) - k * kLn2Low;
  // Taylor's series to degree 13: the remainder is below 2^-56 of the sum.
  double e = 0.0;
  for (const double c : kTaylor) e = e * r + c;
  return e * std::bit_cast<double>(static_cast<uint64_t>(1023 + static_cast<int64_t>(k)) << 52);
}

double portable_log(double x) {
  // x = 2^k m with m in [sqrt(1/2), sqrt(2)).
  constexpr uint64_t kMantissa = (uint64_t{1} << 52) - 1;
  const auto bits = std::bit_cast<uint64_t>(x);
  auto k = static_cast<int64_t>(bits >> 52 & 0x7ff) - 1023;
  auto m = std::bit_cast<double>((bits & kMantissa) | uint64_t{1023} << 52);
  if (m >= 1.4142135623730951) {
    m *= 0.5;
    ++k;
  }
  // ln m = 2 artanh s = 2 (s + s^3 / 3 + s^5 / 5 + …), |s| < 0.1716: behind s^21 / 21 less than 2^-60 of the sum
  // is left.
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  double series = 0;
  for (int n = 21; n >= 3; n -= 2) series = (series + 1.0 / n) * s2;
  const auto exponent = static_cast<double>(k);
  return exponent * kLn2High + (exponent * kLn2Low + 2 * (s + s * series));
}

}  // namespace forge::rt
