// Types of at most two bits with no other scale than one half d a block.
//
//   tq1_0  256 weights: 48 bytes of five trits, 4 bytes of four trits, d      w = (trit - 1) * d
//   tq2_0  256 weights: 64 bytes of bit pairs, d                              w = (q - 1) * d
//   q1_0   128 weights: d, 16 bytes of bits                                   w = bit ? d : -d
//   q2_0   64 weights: d, 16 bytes of bit pairs                               w = (q - 1) * d
//
// Five trits are one number below 243, stored as a fraction of 256 (rounded up): times 3 it has the first trit
// above the byte, and what stays in the byte has the next ones.
#include <cmath>

#include "quant/families.h"

namespace forge {
namespace {

// Scale and level of x with levels -1 to `high`: d = max |x|.
float largest_magnitude(const float* x, size_t n) { return std::fabs(farthest_from_zero(x, n)); }
int level(float x, float inverse, int high) { return truncate_within(std::round(x * inverse), -1, high); }
float inverse_of(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

namespace tq1 {

constexpr size_t kWeights = 256;
constexpr size_t kTritBytes = 52;
constexpr size_t kBytes = kTritBytes + 2;

// Runs of bytes whose first trits are consecutive weights, then the second ones, and so on.
struct Run {
  size_t byte, bytes, weight, trits;
};
constexpr Run kRuns[] = {{0, 32, 0, 5}, {32, 16, 160, 5}, {48, 4, 240, 4}};

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src + kTritBytes);
    for (const Run& run : kRuns)
      for (size_t i = 0; i < run.bytes; ++i) {
        uint8_t rest = src[run.byte + i];
        for (size_t t = 0; t < run.trits; ++t) {
          const int thrice = rest * 3;
          dst[run.weight + t * run.bytes + i] = static_cast<float>((thrice >> 8) - 1) * d;
          rest = static_cast<uint8_t>(thrice);
        }
      }
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    const float d = largest_magnitude(src, kWeights), inverse = inverse_of(d);
    store_half(dst + kTritBytes, d);
    for (const Run& run : kRuns)
      for (size_t i = 0; i < run.bytes; ++i) {
        int number = 0;
        for (size_t t = 0; t < 5; ++t) {
          const bool there = t < run.trits;
          number = number * 3 + (there ? level(src[run.weight + t * run.bytes + i], inverse, 1) + 1 : 0);
        }
        dst[run.byte + i] = static_cast<uint8_t>((number * 256 + 242) / 243);
      }
  }
}

}  // namespace tq1

namespace tq2 {

constexpr size_t kWeights = 256;
constexpr size_t kBytes = kWeights / 4 + 2;

// Each half of the block has 32 bytes, in which run r of 32 weights has bits 2r.
size_t byte_of(size_t i) { return i / 128 * 32 + i % 32; }
int shift_of(size_t i) { return static_cast<int>(i % 128 / 32 * 2); }

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src + kWeights / 4);
    for (size_t i = 0; i < kWeights; ++i)
      dst[i] = static_cast<float>((src[byte_of(i)] >> shift_of(i) & 3) - 1) * d;
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    const float d = largest_magnitude(src, kWeights), inverse = inverse_of(d);
    std::memset(dst, 0, kBytes);
    store_half(dst + kWeights / 4, d);
    for (size_t i = 0; i < kWeights; ++i)
      dst[byte_of(i)] |= static_cast<uint8_t>((level(src[i], inverse, 1) + 1) << shift_of(i));
  }
}

}  // namespace tq2

namespace q1 {

constexpr size_t kWeights = 128;
constexpr size_t kBytes = 2 + kWeights / 8;

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src);
    for (size_t i = 0; i < kWeights; ++i) dst[i] = src[2 + i / 8] >> (i % 8) & 1 ? d : -d;
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    std::memset(dst, 0, kBytes);
    float sum = 0.0f;
    for (size_t i = 0; i < kWeights; ++i) {
      sum += std::fabs(src[i]);
      if (src[i] >= 0.0f) dst[2 + i / 8] |= static_cast<uint8_t>(1 << i % 8);
    }
    store_half(dst, sum / static_cast<float>(kWeights));
  }
}

}  // namespace q1

namespace q2 {

constexpr size_t kWeights = 64;
constexpr size_t kBytes = 2 + kWeights / 4;

void decode(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
    const float d = load_half(src);
    for (size_t i = 0; i < kWeights; ++i)
      dst[i] = static_cast<float>((src[2 + i / 4] >> (i % 4 * 2) & 3) - 1) * d;
  }
}

void encode(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
    const float d = largest_magnitude(src, kWeights), inverse = inverse_of(d);
    std::memset(dst, 0, kBytes);
    store_half(dst, d);
    for (size_t i = 0; i < kWeights; ++i)
      dst[2 + i / 4] |= static_cast<uint8_t>((level(src[i], inverse, 2) + 1) << (i % 4 * 2));
  }
}

}  // namespace q2
}  // namespace

std::array<DTypeInfo, 4> low_bit_types() {
  return {{{DType::tq1_0, "tq1_0", tq1::kWeights, tq1::kBytes, tq1::decode, tq1::encode},
           {DType::tq2_0, "tq2_0", tq2::kWeights, tq2::kBytes, tq2::decode, tq2::encode},
           {DType::q1_0, "q1_0", q1::kWeights, q1::kBytes, q1::decode, q1::encode},
           {DType::q2_0, "q2_0", q2::kWeights, q2::kBytes, q2::decode, q2::encode}}};
}

}  // namespace forge
