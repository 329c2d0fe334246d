// Linears of prompt rows in bf16 beside generated rows in q8, at the level KERNEL_LEVEL (see kernel_table.h).
#include "codegen/cpu/kernels/linear.h"
#include "tests/codegen/kernel_table.h"

namespace forge::test::KERNEL_LEVEL {
namespace {

using namespace kernels;

template <uint32_t K>
Activation<K, true> activation(const MixedCall& c) {
  return {c.linear.q8, nullptr, 0, (const Bf16Rows<K>*)c.bf16, c.classes};
}

template <class F, uint32_t K>
void run_linear(const MixedCall& c) {
  const LinearCall& l = c.linear;
  linear<F, K, F32>({l.group_begin, l.group_end}, {0, l.n_rows}, l.weight, activation<K>(c),
                    {l.out, l.out_stride}, l.bias, l.addend);
}

template <class Gate, class Up, uint32_t K>
void run_gated(const MixedCall& c) {
  const LinearCall& l = c.linear;
  const auto run = [&](auto prompts) {
    linear_gated<Gate, Up, K>({l.group_begin, l.group_end}, {0, l.n_rows}, l.weight, l.up, activation<K>(c),
                              {l.out, l.out_stride}, Silu{}, prompts);
  };
  if (c.prompts == nullptr)
    run(nullptr);
  else
    run(PromptOutput<kGatedColumns>{(Bf16Rows<kGatedColumns>*)c.prompts, c.with_floats});
}

template <uint32_t K>
void put_row_of_class(const rt::StepArgs& args, uint32_t r, const float* x, void* q8, void* bf16) {
  const Worker w{args, 0};
  put_row<K>(x, nullptr, generated_row(w, (Q8Row<K>*)q8, r), prompt_row(w, (Bf16Rows<K>*)bf16, r));
}

template <class F, uint32_t K>
void make_tile(const uint8_t* group, uint32_t k, uint16_t* tile) {
  fill<F, K>(*(WeightTile*)tile, group, k);
}

// Zero points and none, minimums, scales of halves, levels of a table; columns in more than one piece (kPieceTiles).
constexpr MixedKernel kLinears[] = {
    {8, 0, 96, false, run_linear<Q8_0, 96>},         {2, 0, 512, false, run_linear<Q4_0, 512>},
    {12, 0, 256, false, run_linear<Q4_K, 256>},      {14, 0, 256, false, run_linear<Q6_K, 256>},
    {10, 0, 512, false, run_linear<Q2_K, 512>},      {39, 0, 32, false, run_linear<MXFP4, 32>},
    {12, 14, 256, true, run_gated<Q4_K, Q6_K, 256>}, {8, 3, 96, true, run_gated<Q8_0, Q4_1, 96>},
    {12, 0, 2304, false, run_linear<Q4_K, 2304>},    {14, 12, 2304, true, run_gated<Q6_K, Q4_K, 2304>},
};
constexpr Bf16Kernel kRowsOf[] = {
    {32, sizeof(Bf16Rows<32>) / kTileRows, put_row_of_class<32>},
    {96, sizeof(Bf16Rows<96>) / kTileRows, put_row_of_class<96>},
    {256, sizeof(Bf16Rows<256>) / kTileRows, put_row_of_class<256>},
    {512, sizeof(Bf16Rows<512>) / kTileRows, put_row_of_class<512>},
    {2304, sizeof(Bf16Rows<2304>) / kTileRows, put_row_of_class<2304>},
};
constexpr WeightTileKernel kWeights[] = {
    {8, 512, make_tile<Q8_0, 512>},  {3, 512, make_tile<Q4_1, 512>},  {12, 512, make_tile<Q4_K, 512>},
    {14, 512, make_tile<Q6_K, 512>}, {10, 512, make_tile<Q2_K, 512>}, {39, 512, make_tile<MXFP4, 512>},
};

}  // namespace

const MixedKernels kMixed = {{kLinears, sizeof(kLinears) / sizeof(kLinears[0])},
                             {kRowsOf, sizeof(kRowsOf) / sizeof(kRowsOf[0])},
                             {kWeights, sizeof(kWeights) / sizeof(kWeights[0])}};

}  // namespace forge::test::KERNEL_LEVEL
