// The kernels of one instruction-set level behind plain functions, so that one test program holds every level
// and calls those that the machine has. kernel_table_*.cpp are compiled once a level; like generated code they
// must leave no symbol that portable code could end up using, hence nothing of the C++ library here.
#pragma once

#include <stdint.h>

#include "runtime/core/step.h"

namespace forge::test {

template <class T>
struct Table {
  const T* data;
  uint32_t size;
  const T* begin() const { return data; }
  const T* end() const { return data + size; }
};

// out[row][n] of the groups [group_begin, group_end) of 16 outputs. x: [n_rows, x_stride]; q8: n_rows
// quantized rows, null for float types.
struct LinearCall {
  uint32_t group_begin, group_end, n_rows;
  const uint8_t* weight;  // packed; for the gated product that of the gate
  const uint8_t* up;      // of the gated product
  const void* q8;
  const float* x;
  uint32_t x_stride;
  float* out;
  uint32_t out_stride;
  const uint8_t* bias;
  const float* addend;
};
struct LinearKernel {
  uint32_t type, up_type, bias_type;  // ggml's numbers; up_type: of the gated product
  uint32_t cols;
  void (*run)(const LinearCall& call);
};

// Rows in the form of their class, and linears of both.
struct MixedCall {
  LinearCall linear;
  const void* bf16;  // as Bf16Kernel::put_row made it
  const rt::RowClass* classes;
  // Of a gated product: where prompts' rows go in tiles of kGatedColumns, if not null, and whether they go to out as well.
  void* prompts = nullptr;
  bool with_floats = true;
};
inline constexpr uint32_t kGatedColumns = 416;
struct MixedKernel {
  uint32_t type, up_type;  // up_type: of the gated product
  uint32_t cols;
  bool gated;
  void (*run)(const MixedCall& call);
};
struct Bf16Kernel {
  uint32_t cols;
  uint64_t row_bytes;
  // Row r of args' class to its place in one of the two.
  void (*put_row)(const rt::StepArgs& args, uint32_t r, const float* x, void* q8, void* bf16);
};

// Weights of a group as tiles of bfloat16.
struct WeightTileKernel {
  uint32_t type, cols;
  // Tile number k: [16 pairs of k][16 outputs][2].
  void (*make)(const uint8_t* group, uint32_t k, uint16_t* tile);
};

struct QuantizeKernel {
  uint32_t cols;
  uint64_t row_bytes;
  void (*run)(const float* x, void* row);
  void (*read)(const void* row, int8_t* q, float* d);  // what run wrote
};

struct NormKernel {
  uint32_t cols, gain_type;
  void (*run)(const float* x, const uint8_t* gain, float eps, float* y, void* q8_row);
};

struct LayerNormKernel {
  uint32_t cols, gain_type, bias_type;
  void (*run)(const float* x, const uint8_t* gain, const uint8_t* bias, float eps, float* y, void* q8_row);
};

struct HeadNormKernel {
  uint32_t head_dim, gain_type;
  void (*run)(const float* x, uint32_t begin, uint32_t end, const uint8_t* gain, float eps, float* y);
};

struct EmbedKernel {
  uint32_t type, cols;
  void (*run)(uint32_t begin, uint32_t end, const int32_t* index, const uint8_t* table, float scale,
              float* x);
};

struct AttentionCall {
  const rt::StepArgs& args;
  uint32_t worker, head_begin, head_end;  // kv heads
  uint64_t page_bytes, layer_offset;
  const float* angles;
  const float *q, *k, *v;
  uint32_t q_stride, kv_stride;
  float scale, softcap;
  uint32_t window;
  float* out;
  float* scores;
  float* head_scores;  // [n_rows][n_heads][kAttentionContext]
};
inline constexpr uint32_t kAttentionContext = 192;
struct AttentionKernel {
  uint32_t n_heads, n_kv_heads, head_dim, n_rot;
  bool neox, kv_q8;
  uint64_t layer_bytes, score_floats;
  void (*rope_kv)(const AttentionCall& call);       // all rows, the call's heads
  void (*heads)(const AttentionCall& call);         // all rows, the call's heads
  void (*blocks)(const AttentionCall& call);        // the worker's share
  void (*mixed_blocks)(const AttentionCall& call);  // likewise, with prompts in bf16
  // Likewise, of a deep step: the second when all workers have done the first.
  void (*deep_scores)(const AttentionCall& call);
  void (*deep_values)(const AttentionCall& call);
};

struct MixedKernels {
  Table<MixedKernel> linear;
  Table<Bf16Kernel> rows;
  Table<WeightTileKernel> weights;
};

struct LinearKernels {
  Table<LinearKernel> linear, gated;
  Table<QuantizeKernel> quantize;
};

inline constexpr uint32_t kRowColumns = 40;  // of the kernels below that take whole rows
struct RowKernels {
  Table<NormKernel> norm;
  Table<LayerNormKernel> layer_norm;
  Table<HeadNormKernel> head_norm;
  Table<EmbedKernel> embed;
  Table<AttentionKernel> attention;
  void (*fma)(const float* a, const float* b, const float* c, float* y, uint32_t n);  // n: a multiple of 16
  void (*half_to_float)(const uint16_t* x, float* y, uint32_t n);
  void (*exp)(const float* x, float* y, uint32_t n);
  void (*exp2_of_negative)(const float* x, float* y, uint32_t n);  // positive ones: as zero
  void (*silu)(const float* x, float* y, uint32_t n);
  void (*gelu)(const float* x, float* y, uint32_t n);
  void (*silu_of_prompt)(const float* x, float* y, uint32_t n);
  void (*gelu_of_prompt)(const float* x, float* y, uint32_t n);
  void (*tanh)(const float* x, float* y, uint32_t n);
  void (*rope_angles)(const rt::StepArgs& args, uint32_t begin, uint32_t end, const double* frequency,
                      uint32_t n, float magnitude, float* table, uint32_t stride);
  void (*select_rows)(const rt::StepArgs& args, uint32_t begin, uint32_t end, const float* x, float* out);
  void (*output_hidden)(const rt::StepArgs& args, uint32_t begin, uint32_t end, const float* x);
  void (*multiply)(uint32_t begin, uint32_t end, const float* a, const float* b, float* out);
};

// clang-format off
namespace generic { extern const LinearKernels kLinear; extern const RowKernels kRows; extern const MixedKernels kMixed; }
namespace avx2 { extern const LinearKernels kLinear; extern const RowKernels kRows; extern const MixedKernels kMixed; }
namespace avxvnni { extern const LinearKernels kLinear; extern const RowKernels kRows; extern const MixedKernels kMixed; }
namespace avx512 { extern const LinearKernels kLinear; extern const RowKernels kRows; extern const MixedKernels kMixed; }
namespace amx { extern const LinearKernels kLinear; extern const RowKernels kRows; extern const MixedKernels kMixed; }
namespace avx512vnni { extern const LinearKernels kLinear; extern const RowKernels kRows; extern const MixedKernels kMixed; }
// clang-format on

}  // namespace forge::test
