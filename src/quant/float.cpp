// f32, f16, bf16: one weight a block.
#include "quant/families.h"

namespace forge {
namespace {

void decode_f32(const uint8_t* src, float* dst, size_t n) { std::memcpy(dst, src, n * sizeof(float)); }
void encode_f32(const float* src, uint8_t* dst, size_t n) { std::memcpy(dst, src, n * sizeof(float)); }

template <float (*kToFloat)(uint16_t)>
void decode_16(const uint8_t* src, float* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) dst[i] = kToFloat(load<uint16_t>(src + 2 * i));
}

template <uint16_t (*kFromFloat)(float)>
void encode_16(const float* src, uint8_t* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) store(dst + 2 * i, kFromFloat(src[i]));
}

}  // namespace

std::array<DTypeInfo, 3> float_types() {
  return {{{DType::f32, "f32", 1, 4, decode_f32, encode_f32},
           {DType::f16, "f16", 1, 2, decode_16<half_to_float>, encode_16<float_to_half>},
           {DType::bf16, "bf16", 1, 2, decode_16<bfloat16_to_float>, encode_16<float_to_bfloat16>}}};
}

}  // namespace forge
