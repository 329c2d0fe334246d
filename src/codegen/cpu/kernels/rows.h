// What is done row by row beside norms: embedding, gathering, copying, elementwise operations of two buffers.
#pragma once

#include "codegen/cpu/kernels/bf16.h"
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

// The rest of the last layer, and what comes behind it, as a step of the rows alone whose output is wanted, where these are not all; their values must be moved to
// the front for it (move_row). A sequence's positions ascend in it, but not one by one as in other steps: attention needs no more. Who traces sees all rows.
template <uint32_t max_out_rows>
struct WantedRows {
  const bool are_fewer;
  StepArgs args;
  int32_t positions[max_out_rows];
  uint32_t row_sequence[max_out_rows], out_rows[max_out_rows];
  rt::RowClass row_class[max_out_rows];
  const Worker worker;

  explicit WantedRows(const Worker& w)
      : are_fewer(w.args.n_out_rows < w.args.n_rows && w.args.trace == nullptr),
        args(w.args),
        worker{args, w.index} {
    for (uint32_t i = 0; i < args.n_out_rows; ++i) {
      const uint32_t r = w.args.out_rows[i];
      positions[i] = w.args.positions[r];
      row_sequence[i] = w.args.row_sequence[r];
      row_class[i] = w.args.row_class[r];
      out_rows[i] = i;
    }
    args.n_rows = args.n_out_rows;
    args.tokens = nullptr;
    args.positions = positions;
    args.row_sequence = row_sequence;
    args.row_class = row_class;
    args.out_rows = out_rows;
  }
  WantedRows(const WantedRows&) = delete;  // args point into it
};

// Row `from` becomes row `to`, in each form of a value. Rows are moved in ascending order, to <= from.
template <uint32_t K>
FORGE_INLINE void move_row(float* x, uint32_t from, uint32_t to) {
  if (from != to) copy_row(x + (uint64_t)from * pad16(K), x + (uint64_t)to * pad16(K), pad16(K));
}
template <uint32_t K>
FORGE_INLINE void move_row(Q8Row<K>* x, uint32_t from, uint32_t to) {
  if (from != to) __builtin_memcpy(x + to, x + from, sizeof(Q8Row<K>));
}
template <uint32_t K>
FORGE_INLINE void move_row(Bf16Rows<K>* x, uint32_t from, uint32_t to) {
  if (from == to) return;
  for (uint32_t k = 0; k < K / 32; ++k)
    __builtin_memcpy(x[to / kTileRows].tile[k][to % kTileRows], x[from / kTileRows].tile[k][from % kTileRows],
                     sizeof(x->tile[k][0]));
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
