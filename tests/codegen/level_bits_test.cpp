// What the kernels and the codecs say of a type's largest level is the same: common scales (bf16_weights.h) depend on it.
#include <gtest/gtest.h>

#include <map>

#include "codegen/cpu/kernels/bf16_weights.h"
#include "quant/packed.h"

namespace forge {
namespace {

TEST(LevelBits, AreTheCodecs) {
  using namespace kernels;
  const std::map<DType, uint32_t> of_kernels = {
      {DType::q4_0, kLevelBits<Q4_0>},       {DType::q4_1, kLevelBits<Q4_1>},
      {DType::q5_0, kLevelBits<Q5_0>},       {DType::q5_1, kLevelBits<Q5_1>},
      {DType::q8_0, kLevelBits<Q8_0>},       {DType::q2_k, kLevelBits<Q2_K>},
      {DType::q3_k, kLevelBits<Q3_K>},       {DType::q4_k, kLevelBits<Q4_K>},
      {DType::q5_k, kLevelBits<Q5_K>},       {DType::q6_k, kLevelBits<Q6_K>},
      {DType::tq1_0, kLevelBits<TQ1_0>},     {DType::tq2_0, kLevelBits<TQ2_0>},
      {DType::q1_0, kLevelBits<Q1_0>},       {DType::q2_0, kLevelBits<Q2_0>},
      {DType::iq4_nl, kLevelBits<IQ4_NL>},   {DType::iq4_xs, kLevelBits<IQ4_XS>},
      {DType::mxfp4, kLevelBits<MXFP4>},     {DType::nvfp4, kLevelBits<NVFP4>},
      {DType::iq1_s, kLevelBits<IQ1_S>},     {DType::iq1_m, kLevelBits<IQ1_M>},
      {DType::iq2_xxs, kLevelBits<IQ2_XXS>}, {DType::iq2_xs, kLevelBits<IQ2_XS>},
      {DType::iq2_s, kLevelBits<IQ2_S>},     {DType::iq3_xxs, kLevelBits<IQ3_XXS>},
      {DType::iq3_s, kLevelBits<IQ3_S>}};
  for (const DTypeInfo& t : all_dtypes()) {
    const BlockCodec* codec = block_codec(t.type);
    ASSERT_EQ(codec != nullptr, of_kernels.contains(t.type)) << t.name;
    if (codec != nullptr) EXPECT_EQ(codec->level_bits, of_kernels.at(t.type)) << t.name;
  }
}

}  // namespace
}  // namespace forge
