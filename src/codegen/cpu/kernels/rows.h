// What is done row by row beside norms: embedding, gathering, copying, elementwise operations of two buffers.
#pragma once

#include "codegen/cpu/kernels/norm.h"
#include "codegen/cpu/kernels/step.h"
#include "codegen/cpu/kernels/weights.h"

namespace forge::kernels {
namespace {

// x[r] = row index[r] of the table times scale, padded with zeros. index: the rows' tokens or positions.
template <class F, uint32_t K>
FORGE_INLINE void embed(Range rows, const int32_t* index, const uint8_t* table, float scale, float* x) {
  for (uint32_t r = rows.begin; r < rows.end; ++r) {
    float* out = x + (uint64_t)r * pad16(K);
    decode_row<F, K>(table, (uint32_t)index[r], out);
    for (uint32_t k = 0; k < K; ++k) out[k] *= scale;
    for (uint32_t k = K; k < pad16(K); ++k) out[k] = 0;
  }
}

FORGE_INLINE void copy_row(const float* from, float* to, uint32_t n) {
  __builtin_memcpy(to, from, (uint64_t)n * sizeof(float));
}

// The rows whose output is wanted, one behind the other.
template <uint32_t K>
FORGE_INLINE void select_rows(const Worker& w, Range rows, const float* x, float* out) {
  for (uint32_t i = rows.begin; i < rows.end; ++i)
    copy_row(x + (uint64_t)w.args.out_rows[i] * pad16(K), out + (uint64_t)i * pad16(K), pad16(K));
}

template <uint32_t K>
FORGE_INLINE void output_hidden(const Worker& w, Range rows, const float* x) {
  if (w.args.hidden == nullptr) return;
  for (uint32_t i = rows.begin; i < rows.end; ++i)
    copy_row(x + (uint64_t)i * pad16(K), w.args.hidden + (uint64_t)i * K, K);
}

// out[i] = f(a[i], b[i]) for whole rows of pad16(K) columns.
template <uint32_t K, class F>
FORGE_INLINE void elementwise(Range rows, const float* a, const float* b, float* out, F f) {
  for (uint64_t i = (uint64_t)rows.begin * pad16(K); i < (uint64_t)rows.end * pad16(K); i += 16)
    store(out + i, f(load<f32x16>(a + i), load<f32x16>(b + i)));
}

}  // namespace
}  // namespace forge::kernels
