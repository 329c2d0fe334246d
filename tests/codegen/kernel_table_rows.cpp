// Norms, embedding, attention and what else goes row by row, at the level KERNEL_LEVEL (see kernel_table.h).
#include "codegen/cpu/kernels/attention_blocks.h"
#include "codegen/cpu/kernels/rows.h"
#include "tests/codegen/kernel_table.h"

namespace forge::test::KERNEL_LEVEL {
namespace {

using namespace kernels;

template <uint32_t N, class Gain>
void run_norm(const float* x, const uint8_t* gain, float eps, float* y, void* q8_row) {
  rms_norm_row<N, Gain>(x, gain, eps, y, q8_row);
}

template <uint32_t N, class Gain, class Bias>
void run_layer_norm(const float* x, const uint8_t* gain, const uint8_t* bias, float eps, float* y,
                    void* q8_row) {
  layer_norm_row<N, Gain, Bias>(x, gain, bias, eps, y, q8_row);
}

template <uint32_t N, class Gain>
void run_head_norm(const float* x, uint32_t begin, uint32_t end, const uint8_t* gain, float eps, float* y) {
  head_norm_row<N, Gain>(x, {begin, end}, gain, eps, y);
}

template <class F, uint32_t K>
void run_embed(uint32_t begin, uint32_t end, const int32_t* index, const uint8_t* table, float scale,
               float* x) {
  embed<F, K>({begin, end}, index, table, scale, x);
}

template <uint32_t heads, uint32_t kv_heads, uint32_t dim, uint32_t rot, bool is_neox, bool q8 = false>
struct Shape {
  static constexpr uint32_t n_heads = heads, n_kv_heads = kv_heads, head_dim = dim, n_rot = rot;
  static constexpr bool neox = is_neox, kv_q8 = q8, bf16_prompts = false;
};
template <class S>
struct WithBf16Prompts : S {
  static constexpr bool bf16_prompts = true;
};

template <class S>
void run_rope_kv(const AttentionCall& c) {
  rope_kv<S, S::n_rot>(Worker{c.args, c.worker}, {0, c.args.n_rows}, {c.head_begin, c.head_end}, c.page_bytes,
                       c.layer_offset, c.angles, S::n_rot, c.q, c.k, c.v, c.q_stride, c.kv_stride, c.out);
}
template <class S>
void run_heads(const AttentionCall& c) {
  attention_heads<S, kAttentionContext>(Worker{c.args, c.worker}, {c.head_begin, c.head_end}, c.page_bytes,
                                        c.layer_offset, {c.scale, c.softcap, c.window}, c.q, c.out,
                                        c.q_stride, c.scores);
}
template <class S>
void run_blocks(const AttentionCall& c) {
  attention_blocks<S, kAttentionContext>(Worker{c.args, c.worker}, 0, c.page_bytes, c.layer_offset,
                                         {c.scale, c.softcap, c.window}, c.q, c.out, c.q_stride, c.scores);
}

template <class S>
void run_deep_scores(const AttentionCall& c) {
  attention_scores<S, kAttentionContext>(Worker{c.args, c.worker}, c.page_bytes, c.layer_offset,
                                         {c.scale, c.softcap, c.window}, c.q, c.out, c.q_stride,
                                         c.head_scores);
}
template <class S>
void run_deep_values(const AttentionCall& c) {
  attention_values<S, kAttentionContext>(Worker{c.args, c.worker}, c.page_bytes, c.layer_offset,
                                         {c.scale, c.softcap, c.window}, c.q, c.out, c.q_stride,
                                         c.head_scores, c.scores);
}

template <class S>
constexpr AttentionKernel kAttentionOf = {S::n_heads,
                                          S::n_kv_heads,
                                          S::head_dim,
                                          S::n_rot,
                                          S::neox,
                                          S::kv_q8,
                                          KvLayout<S>::kLayerBytes,
                                          kScoreFloats<kAttentionContext>,
                                          run_rope_kv<S>,
                                          run_heads<S>,
                                          run_blocks<S>,
                                          run_blocks<WithBf16Prompts<S>>,
                                          run_deep_scores<S>,
                                          run_deep_values<S>};

constexpr NormKernel kNormKernels[] = {
    {16, 0, run_norm<16, F32>},   {40, 0, run_norm<40, F32>},   {64, 0, run_norm<64, F32>},
    {100, 0, run_norm<100, F32>}, {256, 0, run_norm<256, F32>}, {1, 0, run_norm<1, F32>},
    {40, 1, run_norm<40, F16>},   {96, 1, run_norm<96, F16>},   {96, 30, run_norm<96, BF16>},
};
constexpr LayerNormKernel kLayerNormKernels[] = {
    {16, 0, 0, run_layer_norm<16, F32, F32>},   {40, 0, 0, run_layer_norm<40, F32, F32>},
    {1, 0, 0, run_layer_norm<1, F32, F32>},     {100, 0, 30, run_layer_norm<100, F32, BF16>},
    {256, 0, 0, run_layer_norm<256, F32, F32>}, {96, 1, 0, run_layer_norm<96, F16, F32>},
};
constexpr HeadNormKernel kHeadNormKernels[] = {
    {8, 0, run_head_norm<8, F32>},
    {64, 0, run_head_norm<64, F32>},
    {20, 1, run_head_norm<20, F16>},
};
constexpr EmbedKernel kEmbedKernels[] = {
    {0, 40, run_embed<F32, 40>},        {1, 40, run_embed<F16, 40>},        {30, 40, run_embed<BF16, 40>},
    {2, 96, run_embed<Q4_0, 96>},       {3, 96, run_embed<Q4_1, 96>},       {6, 96, run_embed<Q5_0, 96>},
    {7, 96, run_embed<Q5_1, 96>},       {8, 96, run_embed<Q8_0, 96>},       {12, 512, run_embed<Q4_K, 512>},
    {13, 512, run_embed<Q5_K, 512>},    {14, 512, run_embed<Q6_K, 512>},    {10, 512, run_embed<Q2_K, 512>},
    {11, 512, run_embed<Q3_K, 512>},    {16, 512, run_embed<IQ2_XXS, 512>}, {17, 512, run_embed<IQ2_XS, 512>},
    {18, 512, run_embed<IQ3_XXS, 512>}, {19, 512, run_embed<IQ1_S, 512>},   {20, 512, run_embed<IQ4_NL, 512>},
    {21, 512, run_embed<IQ3_S, 512>},   {22, 512, run_embed<IQ2_S, 512>},   {23, 512, run_embed<IQ4_XS, 512>},
    {29, 512, run_embed<IQ1_M, 512>},   {34, 512, run_embed<TQ1_0, 512>},   {35, 512, run_embed<TQ2_0, 512>},
    {39, 512, run_embed<MXFP4, 512>},   {40, 512, run_embed<NVFP4, 512>},   {41, 512, run_embed<Q1_0, 512>},
    {42, 512, run_embed<Q2_0, 512>},
};
constexpr AttentionKernel kAttentionKernels[] = {
    kAttentionOf<Shape<4, 2, 64, 64, false>>,        // pairs of queries
    kAttentionOf<Shape<3, 1, 40, 40, true>>,         // three queries, a head that ends within a vector
    kAttentionOf<Shape<2, 2, 16, 8, false>>,         // half of the head is rotated
    kAttentionOf<Shape<2, 2, 12, 0, false>>,         // nothing is rotated
    kAttentionOf<Shape<4, 2, 64, 64, false, true>>,  // q8_0, two blocks
    kAttentionOf<Shape<3, 1, 40, 40, true, true>>,   // q8_0, a block of 32 and one of 8
    kAttentionOf<Shape<9, 1, 96, 96, true>>,     // more queries than a block, a head of a chunk and a half
    kAttentionOf<Shape<4, 2, 128, 128, false>>,  // shares of values begin at even and odd pieces of 32
    kAttentionOf<Shape<2, 2, 112, 112, true, true>>,  // the same of q8_0, the last piece half
};

void run_fma(const float* a, const float* b, const float* c, float* y, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 16)
    store(y + i, fma(load<f32x16>(a + i), load<f32x16>(b + i), load<f32x16>(c + i)));
}
void run_half_to_float(const uint16_t* x, float* y, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 16) store(y + i, to_f32(load<f16x16>(x + i)));
}
template <auto f>
void run_each(const float* x, float* y, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 16) store(y + i, f(load<f32x16>(x + i)));
}
void run_rope_angles(const StepArgs& args, uint32_t begin, uint32_t end, const double* frequency, uint32_t n,
                     float magnitude, float* angles, uint32_t stride) {
  rope_angles(Worker{args, 0}, {begin, end}, frequency, n, magnitude, angles, stride);
}
void run_select_rows(const StepArgs& args, uint32_t begin, uint32_t end, const float* x, float* out) {
  select_rows<kRowColumns>(Worker{args, 0}, {begin, end}, x, out);
}
void run_output_hidden(const StepArgs& args, uint32_t begin, uint32_t end, const float* x) {
  output_hidden<kRowColumns>(Worker{args, 0}, {begin, end}, x);
}
void run_multiply(uint32_t begin, uint32_t end, const float* a, const float* b, float* out) {
  elementwise<kRowColumns>({begin, end}, a, b, out, [](f32x16 x, f32x16 y) { return x * y; });
}

f32x16 exp2_of_at_most_zero(f32x16 x) { return exp2_of_negative(x > 0.0F ? splat(0.0F) : x); }

template <class Activate>
f32x16 of_prompt(f32x16 x) {
  return Activate{}.template of_prompt<1>(x);
}

template <class T, uint32_t n>
constexpr Table<T> table(const T (&data)[n]) {
  return {data, n};
}

}  // namespace

const RowKernels kRows = {table(kNormKernels),
                          table(kLayerNormKernels),
                          table(kHeadNormKernels),
                          table(kEmbedKernels),
                          table(kAttentionKernels),
                          run_fma,
                          run_half_to_float,
                          run_each<exp>,
                          run_each<exp2_of_at_most_zero>,
                          run_each<silu>,
                          run_each<gelu>,
                          run_each<of_prompt<Silu>>,
                          run_each<of_prompt<Gelu>>,
                          run_each<tanh>,
                          run_rope_angles,
                          run_select_rows,
                          run_output_hidden,
                          run_multiply};

}  // namespace forge::test::KERNEL_LEVEL
