// linear, the gated product and quantize at the level KERNEL_LEVEL (see kernel_table.h).
#include "codegen/cpu/kernels/linear.h"

#include "tests/codegen/kernel_table.h"

namespace forge::test::KERNEL_LEVEL {
namespace {

using namespace kernels;

template <class F, uint32_t K>
Activation<K> activation(const LinearCall& c) {
  return {c.q8, c.x, c.x_stride};
}

template <class F, uint32_t K, class Bias>
void run_linear(const LinearCall& c) {
  linear<F, K, Bias>({c.group_begin, c.group_end}, {0, c.n_rows}, c.weight, activation<F, K>(c),
                     {c.out, c.out_stride}, c.bias, c.addend);
}

template <class Gate, class Up, uint32_t K>
void run_gated(const LinearCall& c) {
  linear_gated<Gate, Up, K>({c.group_begin, c.group_end}, {0, c.n_rows}, c.weight, c.up,
                            activation<Gate, K>(c), {c.out, c.out_stride}, Silu{});
}

template <uint32_t K>
void run_quantize(const float* x, void* row) {
  put_row<K>(x, nullptr, row);
}
template <uint32_t K>
void read_quantized(const void* row, int8_t* q, float* d) {
  const Q8Row<K>& from = *(const Q8Row<K>*)row;
  __builtin_memcpy(q, from.q, K);
  __builtin_memcpy(d, from.d, K / 32 * sizeof(float));
}

// clang-format off
template <class F> constexpr uint32_t kNumber = 0;
template <> constexpr uint32_t kNumber<F32> = 0;
template <> constexpr uint32_t kNumber<F16> = 1;
template <> constexpr uint32_t kNumber<Q4_0> = 2;
template <> constexpr uint32_t kNumber<Q4_1> = 3;
template <> constexpr uint32_t kNumber<Q5_0> = 6;
template <> constexpr uint32_t kNumber<Q5_1> = 7;
template <> constexpr uint32_t kNumber<Q8_0> = 8;
template <> constexpr uint32_t kNumber<Q4_K> = 12;
template <> constexpr uint32_t kNumber<Q5_K> = 13;
template <> constexpr uint32_t kNumber<Q6_K> = 14;
template <> constexpr uint32_t kNumber<BF16> = 30;
template <> constexpr uint32_t kNumber<Q2_K> = 10;
template <> constexpr uint32_t kNumber<Q3_K> = 11;
template <> constexpr uint32_t kNumber<IQ2_XXS> = 16;
template <> constexpr uint32_t kNumber<IQ2_XS> = 17;
template <> constexpr uint32_t kNumber<IQ3_XXS> = 18;
template <> constexpr uint32_t kNumber<IQ1_S> = 19;
template <> constexpr uint32_t kNumber<IQ4_NL> = 20;
template <> constexpr uint32_t kNumber<IQ3_S> = 21;
template <> constexpr uint32_t kNumber<IQ2_S> = 22;
template <> constexpr uint32_t kNumber<IQ4_XS> = 23;
template <> constexpr uint32_t kNumber<IQ1_M> = 29;
template <> constexpr uint32_t kNumber<TQ1_0> = 34;
template <> constexpr uint32_t kNumber<TQ2_0> = 35;
template <> constexpr uint32_t kNumber<MXFP4> = 39;
template <> constexpr uint32_t kNumber<NVFP4> = 40;
template <> constexpr uint32_t kNumber<Q1_0> = 41;
template <> constexpr uint32_t kNumber<Q2_0> = 42;
// clang-format on

template <class F, uint32_t K, class Bias = F32>
constexpr LinearKernel kOf = {kNumber<F>, 0, kNumber<Bias>, K, run_linear<F, K, Bias>};
template <class Gate, class Up, uint32_t K>
constexpr LinearKernel kGatedOf = {kNumber<Gate>, kNumber<Up>, 0, K, run_gated<Gate, Up, K>};
template <uint32_t K>
constexpr QuantizeKernel kQuantizeOf = {K, sizeof(Q8Row<K>), run_quantize<K>, read_quantized<K>};

constexpr LinearKernel kLinearKernels[] = {
    kOf<Q4_0, 32>,     kOf<Q4_0, 96>,      kOf<Q4_0, 256>,      kOf<Q4_0, 512>,     kOf<Q4_1, 32>,
    kOf<Q4_1, 96>,     kOf<Q4_1, 256>,     kOf<Q4_1, 512>,      kOf<Q5_0, 32>,      kOf<Q5_0, 96>,
    kOf<Q5_0, 256>,    kOf<Q5_0, 512>,     kOf<Q5_1, 32>,       kOf<Q5_1, 96>,      kOf<Q5_1, 256>,
    kOf<Q5_1, 512>,    kOf<Q8_0, 32>,      kOf<Q8_0, 96>,       kOf<Q8_0, 256>,     kOf<Q8_0, 512>,
    kOf<Q4_K, 256>,    kOf<Q4_K, 512>,     kOf<Q5_K, 256>,      kOf<Q5_K, 512>,     kOf<Q6_K, 256>,
    kOf<Q6_K, 512>,    kOf<F32, 32>,       kOf<F32, 40>,        kOf<F32, 256>,      kOf<F16, 32>,
    kOf<F16, 40>,      kOf<F16, 256>,      kOf<BF16, 32>,       kOf<BF16, 40>,      kOf<BF16, 256>,
    kOf<Q2_K, 256>,    kOf<Q2_K, 512>,     kOf<Q3_K, 256>,      kOf<Q3_K, 512>,     kOf<IQ2_XXS, 256>,
    kOf<IQ2_XXS, 512>, kOf<IQ2_XS, 256>,   kOf<IQ2_XS, 512>,    kOf<IQ3_XXS, 256>,  kOf<IQ3_XXS, 512>,
    kOf<IQ1_S, 256>,   kOf<IQ1_S, 512>,    kOf<IQ4_NL, 32>,     kOf<IQ4_NL, 96>,    kOf<IQ4_NL, 512>,
    kOf<IQ3_S, 256>,   kOf<IQ3_S, 512>,    kOf<IQ2_S, 256>,     kOf<IQ2_S, 512>,    kOf<IQ4_XS, 256>,
    kOf<IQ4_XS, 512>,  kOf<IQ1_M, 256>,    kOf<IQ1_M, 512>,     kOf<TQ1_0, 256>,    kOf<TQ1_0, 512>,
    kOf<TQ2_0, 256>,   kOf<TQ2_0, 512>,    kOf<MXFP4, 32>,      kOf<MXFP4, 96>,     kOf<MXFP4, 512>,
    kOf<NVFP4, 64>,    kOf<NVFP4, 512>,    kOf<Q1_0, 128>,      kOf<Q1_0, 512>,     kOf<Q2_0, 64>,
    kOf<Q2_0, 512>,    kOf<Q8_0, 32, F16>, kOf<Q8_0, 32, BF16>, kOf<F16, 40, BF16>,
};
constexpr LinearKernel kGatedKernels[] = {
    kGatedOf<Q4_0, Q4_0, 96>, kGatedOf<Q4_K, Q6_K, 256>, kGatedOf<IQ4_XS, Q2_K, 256>,
    kGatedOf<F16, Q8_0, 32>,  kGatedOf<F32, F32, 40>,
};
constexpr QuantizeKernel kQuantizeKernels[] = {kQuantizeOf<32>,  kQuantizeOf<64>,  kQuantizeOf<96>,
                                               kQuantizeOf<128>, kQuantizeOf<256>, kQuantizeOf<512>,
                                               kQuantizeOf<2304>};

template <class T, uint32_t n>
constexpr Table<T> table(const T (&data)[n]) {
  return {data, n};
}

}  // namespace

const LinearKernels kLinear = {table(kLinearKernels), table(kGatedKernels), table(kQuantizeKernels)};

}  // namespace forge::test::KERNEL_LEVEL
