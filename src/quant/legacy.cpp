// q4_0, q4_1, q5_0, q5_1, q8_0: blocks of 32 weights with one half-precision scale d.
//
//   q4_0  d, nibbles                     w = (q - 8) * d
//   q4_1  d, m, nibbles                  w = q * d + m
//   q5_0  d, fifth bits, nibbles         w = (q - 16) * d
//   q5_1  d, m, fifth bits, nibbles      w = q * d + m
//   q8_0  d, 32 signed bytes             w = q * d
//
// The low nibble of byte j is weight j, the high one weight j + 16; bit i of the 32 fifth bits belongs to
// weight i.
#include <cfloat>
#include <cmath>

#include "quant/families.h"

namespace forge {
namespace {

constexpr size_t kWeights = 32;

// The formats with 4 or 5 bits a weight, with a minimum m or centred on zero.
template <int kBits, bool kHasMin>
struct Nibbles {
  static constexpr size_t kHighBits = kHasMin ? 4 : 2;
  static constexpr size_t kLowBits = kHighBits + (kBits == 5 ? 4 : 0);
  static constexpr size_t kBytes = kLowBits + kWeights / 2;
  static constexpr int kMax = (1 << kBits) - 1;
  static constexpr int kZero = kHasMin ? 0 : 1 << (kBits - 1);

  static void decode(const uint8_t* src, float* dst, size_t n) {
    for (; n >= kWeights; n -= kWeights, src += kBytes, dst += kWeights) {
      const float d = load_half(src);
      const float m = kHasMin ? load_half(src + 2) : 0.0f;
      const uint32_t high = kBits == 5 ? load<uint32_t>(src + kHighBits) : 0;
      for (size_t i = 0; i < kWeights; ++i) {
        const uint8_t pair = src[kLowBits + i % 16];
        const int q = (i < 16 ? pair & 15 : pair >> 4) | static_cast<int>((high >> i & 1) << 4);
        const float scaled = static_cast<float>(q - kZero) * d;
        dst[i] = kHasMin ? scaled + m : scaled;
      }
    }
  }

  static void encode(const float* src, uint8_t* dst, size_t n) {
    for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kBytes) {
      // The weights are shifted by `offset` before and by `rounding` after they are divided by d.
      float d, offset = 0.0f;
      if constexpr (kHasMin) {
        float low = FLT_MAX, high = -FLT_MAX;
        for (size_t i = 0; i < kWeights; ++i) {
          if (src[i] < low) low = src[i];
          if (src[i] > high) high = src[i];
        }
        d = (high - low) / static_cast<float>(kMax);
        offset = low;
        store_half(dst + 2, low);
      } else {
        // The weight farthest from zero becomes the most negative level exactly.
        d = farthest_from_zero(src, kWeights) / static_cast<float>(-kZero);
      }
      store_half(dst, d);
      const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
      constexpr float kRounding = static_cast<float>(kZero) + 0.5f;
      uint32_t high_bits = 0;
      std::memset(dst + kLowBits, 0, kWeights / 2);
      for (size_t i = 0; i < kWeights; ++i) {
        const int q = truncate_within((src[i] - offset) * inverse + kRounding, 0, kMax);
        dst[kLowBits + i % 16] |= static_cast<uint8_t>((q & 15) << (i < 16 ? 0 : 4));
        high_bits |= static_cast<uint32_t>(q >> 4) << i;
      }
      if constexpr (kBits == 5) store(dst + kHighBits, high_bits);
    }
  }

  static constexpr DTypeInfo info(DType type, std::string_view name) {
    return {type, name, kWeights, kBytes, decode, encode};
  }
};

constexpr size_t kQ8Bytes = 2 + kWeights;

void decode_q8_0(const uint8_t* src, float* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kQ8Bytes, dst += kWeights) {
    const float d = load_half(src);
    for (size_t i = 0; i < kWeights; ++i) dst[i] = static_cast<float>(static_cast<int8_t>(src[2 + i])) * d;
  }
}

void encode_q8_0(const float* src, uint8_t* dst, size_t n) {
  for (; n >= kWeights; n -= kWeights, src += kWeights, dst += kQ8Bytes) {
    const float d = std::fabs(farthest_from_zero(src, kWeights)) / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    store_half(dst, d);
    for (size_t i = 0; i < kWeights; ++i) {
      dst[2 + i] = static_cast<uint8_t>(truncate_within(std::round(src[i] * inverse), -127, 127));
    }
  }
}

}  // namespace

std::array<DTypeInfo, 5> legacy_types() {
  return {{Nibbles<4, false>::info(DType::q4_0, "q4_0"),
           Nibbles<4, true>::info(DType::q4_1, "q4_1"),
           Nibbles<5, false>::info(DType::q5_0, "q5_0"),
           Nibbles<5, true>::info(DType::q5_1, "q5_1"),
           {DType::q8_0, "q8_0", kWeights, kQ8Bytes, decode_q8_0, encode_q8_0}}};
}

}  // namespace forge
