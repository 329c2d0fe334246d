// Activations as q8: blocks of 32 int8 with one scale, so that a dot product with block-quantized weights is
// integer arithmetic inside a block.
//
// A row of K values lies as streams:
//     int8   q[K]
//     float  d[K/32]         scale: x ~ d * q
//     float  dsum[K/32]      d * (sum of the block's q), for weights with a minimum
//     int32  nsum[K/32]      minus the sum of the block's q, for weights with a zero point
//     int32  nhalf[2][K/32]  the same of its first and its second 16 q
#pragma once

#include "codegen/cpu/kernels/simd.h"

namespace forge::kernels {
namespace {

template <uint32_t K>
struct Q8Row {
  static_assert(K % 32 == 0);
  alignas(64) int8_t q[K];
  float d[K / 32];
  float dsum[K / 32];
  int32_t nsum[K / 32];
  int32_t nhalf[2][K / 32];
};

// q = round to even(x * (127 / max|x|)). A block whose largest magnitude is below 1e-30 becomes zero: 127 /
// max|x| would overflow for denormals.
template <uint32_t K>
FORGE_INLINE void quantize_block(f32x16 x0, f32x16 x1, uint32_t block, Q8Row<K>& out) {
  const f32x16 a0 = (f32x16)((u32x16)x0 & 0x7FFFFFFFu), a1 = (f32x16)((u32x16)x1 & 0x7FFFFFFFu);
  const float top = reduce_max(max(a0, a1));
  const bool zero = !(top >= 1e-30F);
  const float d = zero ? 0.0F : top / 127.0F, inv = zero ? 0.0F : 127.0F / top;
  const i32x16 q0 = __builtin_convertvector(__builtin_elementwise_roundeven(x0 * inv), i32x16);
  const i32x16 q1 = __builtin_convertvector(__builtin_elementwise_roundeven(x1 * inv), i32x16);
  store(out.q + 32 * block, __builtin_convertvector(q0, i8x16));
  store(out.q + 32 * block + 16, __builtin_convertvector(q1, i8x16));
  const int32_t s0 = __builtin_reduce_add(q0), s1 = __builtin_reduce_add(q1);
  out.d[block] = d;
  out.dsum[block] = d * (float)(s0 + s1);
  out.nsum[block] = -(s0 + s1);
  out.nhalf[0][block] = -s0;
  out.nhalf[1][block] = -s1;
}

}  // namespace
}  // namespace forge::kernels
