// Codecs of the types whose levels don't come from a grid: where a block's fields lie, and what scales mean.
#include "quant/codecs.h"

#include "quant/families.h"

namespace forge {
namespace {

template <class T>
void split(const uint8_t* block, uint8_t* record, uint8_t* codes) {
  std::memset(record, 0, T::kRecord);
  std::memset(codes, 0, T::kCodes);
  read_fields<T>(block, record, codes);
}
template <class T>
void join(const uint8_t* record, const uint8_t* codes, uint8_t* block) {
  write_fields<T>(block, record, codes);
}

// n bytes from byte `at` of the block on.
template <class Value, class F>
void bytes(Value* values, size_t n, size_t at, F field) {
  for (size_t i = 0; i < n; ++i) field(values[i], {8 * (at + i), 8});
}
// n values of a nibble; the low nibbles are the first half of them.
template <class Value, class F>
void nibbles(Value* values, size_t n, size_t at, F field) {
  for (size_t i = 0; i < n; ++i) field(values[i], {8 * (at + i % (n / 2)) + i / (n / 2) * 4, 4});
}
// 256 values of two bits: each half has 32 bytes, in which run r of 32 values has bits 2r.
template <class Value, class F>
void pairs(Value* values, size_t at, size_t shift, F field) {
  for (size_t i = 0; i < 256; ++i)
    field(values[i], {8 * (at + i / 128 * 32 + i % 32) + i % 128 / 32 * 2, 2, shift});
}

// --- fields: a block's bytes, and those of the record where they differ

// d [m] [fifth bits] nibbles
template <bool has_minimum, bool has_high_bit>
struct Nibbles32 {
  static constexpr size_t kRecord = has_minimum ? 4 : 2, kCodes = 32;
  static constexpr size_t kLow = kRecord + (has_high_bit ? 4 : 0), kBytes = kLow + 16;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, kRecord, 0, field);
    nibbles(codes, 32, kLow, field);
    for (size_t i = 0; i < 32 && has_high_bit; ++i) field(codes[i], {8 * kRecord + i, 1, 4});
  }
};

// q4_k, q5_k: d dmin, 12 bytes of scales and minimums, [fifth bits] nibbles; record: d dmin scale[8] minimum[8]
template <bool has_high_bit>
struct KWithMinimum {
  static constexpr size_t kRecord = 20, kCodes = 256;
  static constexpr size_t kLow = 16 + (has_high_bit ? 32 : 0), kBytes = kLow + 128;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 4, 0, field);
    for (size_t i = 0; i < 4; ++i) {  // of 6 bits: the first four whole, the others as 4 and 2
      field(record[4 + i], {8 * (4 + i), 6});
      field(record[12 + i], {8 * (8 + i), 6});
      field(record[8 + i], {8 * (12 + i), 4});
      field(record[16 + i], {8 * (12 + i) + 4, 4});
      field(record[8 + i], {8 * (4 + i) + 6, 2, 4});
      field(record[16 + i], {8 * (8 + i) + 6, 2, 4});
    }
    for (size_t i = 0; i < 4; ++i) nibbles(codes + 64 * i, 64, kLow + 32 * i, field);
    for (size_t i = 0; i < 256 && has_high_bit; ++i) field(codes[i], {8 * (16 + i % 32) + i / 32, 1, 4});
  }
};

// (scale, minimum)[16] pairs d dmin; record: d dmin (scale, minimum)[16]
struct Q2K {
  static constexpr size_t kRecord = 20, kCodes = 256, kBytes = 84;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 4, 80, field);
    bytes(record + 4, 16, 0, field);
    pairs(codes, 16, 0, field);
  }
};

// third bits, pairs, 12 bytes of scales, d; record: d scale[16]
struct Q3K {
  static constexpr size_t kRecord = 18, kCodes = 256, kBytes = 110;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 2, 108, field);
    nibbles(record + 2, 16, 96, field);
    for (size_t i = 0; i < 16; ++i) field(record[2 + i], {8 * (104 + i % 4) + i / 4 * 2, 2, 4});
    pairs(codes, 32, 0, field);
    for (size_t i = 0; i < 256; ++i) field(codes[i], {8 * (i % 32) + i / 32, 1, 2});
  }
};

// nibbles, upper pairs, scale[16], d; record: d scale[16]
struct Q6K {
  static constexpr size_t kRecord = 18, kCodes = 256, kBytes = 210;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 2, 208, field);
    bytes(record + 2, 16, 192, field);
    for (size_t half = 0; half < 2; ++half) nibbles(codes + 128 * half, 128, 64 * half, field);
    pairs(codes, 128, 4, field);
  }
};

struct Q8_0 {  // codes: q + 128, so that they are unsigned
  static void split(const uint8_t* block, uint8_t* record, uint8_t* codes) {
    std::memcpy(record, block, 2);
    for (uint32_t i = 0; i < 32; ++i) codes[i] = block[2 + i] ^ 0x80;
  }
  static void join(const uint8_t* record, const uint8_t* codes, uint8_t* block) {
    std::memcpy(block, record, 2);
    for (uint32_t i = 0; i < 32; ++i) block[2 + i] = codes[i] ^ 0x80;
  }
};

struct Tq1_0 {  // bytes of trits, d
  static constexpr size_t kRecord = 2, kCodes = 52, kBytes = 54;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 2, 52, field);
    bytes(codes, 52, 0, field);
  }
};

struct Tq2_0 {  // pairs, d
  static constexpr size_t kRecord = 2, kCodes = 256, kBytes = 66;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 2, 64, field);
    pairs(codes, 0, 0, field);
  }
};

// d, bits of the weights in a row: q1_0, q2_0
template <size_t kBits, size_t kWeights>
struct InARow {
  static constexpr size_t kRecord = 2, kCodes = kWeights, kBytes = 2 + kBits * kWeights / 8;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 2, 0, field);
    for (size_t i = 0; i < kWeights; ++i) field(codes[i], {16 + kBits * i, kBits});
  }
};

// d, 16 bits of upper pairs of the scales, their nibbles, nibbles; record: d scale[8]
struct Iq4Xs {
  static constexpr size_t kRecord = 10, kCodes = 256, kBytes = 136;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, 2, 0, field);
    for (size_t i = 0; i < 8; ++i) {
      field(record[2 + i], {32 + 4 * i, 4});
      field(record[2 + i], {16 + 2 * i, 2, 4});
      nibbles(codes + 32 * i, 32, 8 + 16 * i, field);
    }
  }
};

// kScales bytes of scales, kScales runs of nibbles: mxfp4, nvfp4
template <size_t kScales, size_t kRun>
struct Fp4 {
  static constexpr size_t kRecord = kScales, kCodes = kScales * kRun, kBytes = kScales + kCodes / 2;
  template <class Value, class F>
  static void fields(Value* record, Value* codes, F field) {
    bytes(record, kScales, 0, field);
    for (size_t i = 0; i < kScales; ++i) nibbles(codes + kRun * i, kRun, kScales + kRun / 2 * i, field);
  }
};

// --- levels and scales

// Levels of codes that are integers, zero at `zero`.
template <size_t n, int zero>
void integer_levels(const uint8_t* codes, int8_t* levels) {
  for (size_t i = 0; i < n; ++i) levels[i] = static_cast<int8_t>(codes[i] - zero);
}

// Bits that say plus or minus one.
void sign_levels(const uint8_t* codes, int8_t* levels) {
  for (size_t i = 0; i < 128; ++i) levels[i] = static_cast<int8_t>(2 * codes[i] - 1);
}

// Five trits a byte, as low_bit.cpp has them; the last four bytes have four.
void trit_levels(const uint8_t* codes, int8_t* levels) {
  for (size_t byte = 0; byte < 52; ++byte) {
    const size_t stride = byte < 32 ? 32 : byte < 48 ? 16 : 4;
    const size_t first = byte < 32 ? byte : byte < 48 ? 160 + byte - 32 : 240 + byte - 48;
    uint8_t rest = codes[byte];
    for (size_t i = first; i < 256 && i < first + 5 * stride; i += stride) {
      levels[i] = static_cast<int8_t>((rest * 3 >> 8) - 1);
      rest = static_cast<uint8_t>(rest * 3);
    }
  }
}

float half_field(const uint8_t* record, uint32_t i) { return load_half(record + 2 * i); }

// A lone d, and m.
float scale_alone(const uint8_t* record, uint32_t) { return half_field(record, 0); }
float minimum_alone(const uint8_t* record, uint32_t) { return half_field(record, 1); }

float scale_k(const uint8_t* record, uint32_t r) {
  return half_field(record, 0) * static_cast<float>(record[4 + r]);
}
float minimum_k(const uint8_t* record, uint32_t r) {
  return -(half_field(record, 1) * static_cast<float>(record[12 + r]));
}

float scale_q2_k(const uint8_t* record, uint32_t r) {
  return half_field(record, 0) * static_cast<float>(record[4 + r] & 15);
}
float minimum_q2_k(const uint8_t* record, uint32_t r) {
  return -(half_field(record, 1) * static_cast<float>(record[4 + r] >> 4));
}

// Six bits with zero at 32: q3_k, iq4_xs.
float scale_6_bits(const uint8_t* record, uint32_t r) {
  return half_field(record, 0) * static_cast<float>(record[2 + r] - 32);
}
float scale_q6_k(const uint8_t* record, uint32_t r) {
  return half_field(record, 0) * static_cast<float>(static_cast<int8_t>(record[2 + r]));
}

float scale_mxfp4(const uint8_t* record, uint32_t) { return e8m0_half(record[0]); }
float scale_nvfp4(const uint8_t* record, uint32_t r) { return e4m3_half(record[r]); }

}  // namespace

// clang-format off
std::span<const BlockCodec> integer_codecs() {
  using Q4_0 = Nibbles32<false, false>;
  using Q4_1 = Nibbles32<true, false>;
  using Q5_0 = Nibbles32<false, true>;
  using Q5_1 = Nibbles32<true, true>;
  using Q4K = KWithMinimum<false>;
  using Q5K = KWithMinimum<true>;
  using Q1_0 = InARow<1, 128>;
  using Q2_0 = InARow<2, 64>;
  // type, bits, codes, run, halves, bytes
  static constexpr std::array<BlockCodec, 14> kCodecs = {{
      {DType::q4_0,  4, 32,  32, 1, 0,  split<Q4_0>,  join<Q4_0>,  integer_levels<32, 8>,    scale_alone, nullptr},
      {DType::q4_1,  4, 32,  32, 2, 0,  split<Q4_1>,  join<Q4_1>,  integer_levels<32, 0>,    scale_alone, minimum_alone},
      {DType::q5_0,  5, 32,  32, 1, 0,  split<Q5_0>,  join<Q5_0>,  integer_levels<32, 16>,   scale_alone, nullptr},
      {DType::q5_1,  5, 32,  32, 2, 0,  split<Q5_1>,  join<Q5_1>,  integer_levels<32, 0>,    scale_alone, minimum_alone},
      {DType::q8_0,  8, 32,  32, 1, 0,  Q8_0::split,  Q8_0::join,  integer_levels<32, 128>,  scale_alone, nullptr},
      {DType::q2_k,  2, 256, 16, 2, 16, split<Q2K>,   join<Q2K>,   integer_levels<256, 0>,   scale_q2_k,  minimum_q2_k},
      {DType::q3_k,  3, 256, 16, 1, 16, split<Q3K>,   join<Q3K>,   integer_levels<256, 4>,   scale_6_bits, nullptr},
      {DType::q4_k,  4, 256, 32, 2, 16, split<Q4K>,   join<Q4K>,   integer_levels<256, 0>,   scale_k,     minimum_k},
      {DType::q5_k,  5, 256, 32, 2, 16, split<Q5K>,   join<Q5K>,   integer_levels<256, 0>,   scale_k,     minimum_k},
      {DType::q6_k,  6, 256, 16, 1, 16, split<Q6K>,   join<Q6K>,   integer_levels<256, 32>,  scale_q6_k,  nullptr},
      {DType::tq1_0, 8, 52,  32, 1, 0,  split<Tq1_0>, join<Tq1_0>, trit_levels,              scale_alone, nullptr},
      {DType::tq2_0, 2, 256, 32, 1, 0,  split<Tq2_0>, join<Tq2_0>, integer_levels<256, 1>,   scale_alone, nullptr},
      {DType::q1_0,  1, 128, 32, 1, 0,  split<Q1_0>,  join<Q1_0>,  sign_levels,              scale_alone, nullptr},
      {DType::q2_0,  2, 64,  32, 1, 0,  split<Q2_0>,  join<Q2_0>,  integer_levels<64, 1>,    scale_alone, nullptr},
  }};
  return kCodecs;
}

std::span<const BlockCodec> table_codecs() {
  using Iq4Nl = Nibbles32<false, false>;
  using Mxfp4 = Fp4<1, 32>;
  using Nvfp4 = Fp4<4, 16>;
  static constexpr std::array<BlockCodec, 4> kCodecs = {{
      {DType::iq4_nl, 4, 32,  32, 1, 0, split<Iq4Nl>, join<Iq4Nl>, table_levels<32, kIq4Levels>,  scale_alone,  nullptr},
      {DType::iq4_xs, 4, 256, 32, 1, 8, split<Iq4Xs>, join<Iq4Xs>, table_levels<256, kIq4Levels>, scale_6_bits, nullptr},
      {DType::mxfp4,  4, 32,  32, 0, 1, split<Mxfp4>, join<Mxfp4>, table_levels<32, kFp4Levels>,  scale_mxfp4,  nullptr},
      {DType::nvfp4,  4, 64,  16, 0, 4, split<Nvfp4>, join<Nvfp4>, table_levels<64, kFp4Levels>,  scale_nvfp4,  nullptr},
  }};
  return kCodecs;
}
// clang-format on

}  // namespace forge
