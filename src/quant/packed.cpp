#include "quant/packed.h"

#include <array>
#include <cstring>

#include "quant/half.h"

namespace forge {
namespace {

constexpr uint32_t kGroup = 16;

float half_field(const uint8_t* record, uint32_t i) {
  uint16_t h;
  std::memcpy(&h, record + 2 * i, 2);
  return half_to_float(h);
}

// --- legacy blocks of 32: d [m] [qh] qs
// ---------------------------------------------------------------------------

template <bool has_minimum, bool has_high_bit>
struct Nibbles32 {
  static constexpr uint32_t kHead = has_minimum ? 4 : 2;
  static void split(const uint8_t* block, uint8_t* record, uint8_t* quants) {
    std::memcpy(record, block, kHead);
    uint32_t high = 0;
    if (has_high_bit) std::memcpy(&high, block + kHead, 4);
    const uint8_t* qs = block + kHead + (has_high_bit ? 4 : 0);
    for (uint32_t i = 0; i < 16; ++i) {
      quants[i] = static_cast<uint8_t>((qs[i] & 15) | (high >> i & 1) << 4);
      quants[i + 16] = static_cast<uint8_t>(qs[i] >> 4 | (high >> (i + 16) & 1) << 4);
    }
  }
  static void join(const uint8_t* record, const uint8_t* quants, uint8_t* block) {
    std::memcpy(block, record, kHead);
    uint32_t high = 0;
    uint8_t* qs = block + kHead + (has_high_bit ? 4 : 0);
    for (uint32_t i = 0; i < 16; ++i) {
      qs[i] = static_cast<uint8_t>((quants[i] & 15) | (quants[i + 16] & 15) << 4);
      high |= static_cast<uint32_t>(quants[i] >> 4) << i | static_cast<uint32_t>(quants[i + 16] >> 4)
                                                               << (i + 16);
    }
    if (has_high_bit) std::memcpy(block + kHead, &high, 4);
  }
};

void split_q8_0(const uint8_t* block, uint8_t* record, uint8_t* quants) {
  std::memcpy(record, block, 2);
  for (uint32_t i = 0; i < 32; ++i) quants[i] = block[2 + i] ^ 0x80;  // two's complement + 128
}
void join_q8_0(const uint8_t* record, const uint8_t* quants, uint8_t* block) {
  std::memcpy(block, record, 2);
  for (uint32_t i = 0; i < 32; ++i) block[2 + i] = quants[i] ^ 0x80;
}

float scale_legacy(const uint8_t* record, uint32_t) { return half_field(record, 0); }
float minimum_legacy(const uint8_t* record, uint32_t) { return half_field(record, 1); }
float no_minimum(const uint8_t*, uint32_t) { return 0; }

// --- Q4_K, Q5_K: d dmin scales[12] [qh[32]] qs[128]; record: d dmin sc[8] mn[8]
// -----------------------------------

template <bool has_high_bit>
struct KWithMinimum {
  static void split(const uint8_t* block, uint8_t* record, uint8_t* quants) {
    std::memcpy(record, block, 4);
    const uint8_t* s = block + 4;
    uint8_t *sc = record + 4, *mn = record + 12;
    for (uint32_t j = 0; j < 4; ++j) {  // eight pairs of 6 bits in 12 bytes
      sc[j] = s[j] & 63;
      mn[j] = s[j + 4] & 63;
      sc[j + 4] = static_cast<uint8_t>((s[j + 8] & 15) | s[j] >> 6 << 4);
      mn[j + 4] = static_cast<uint8_t>(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
    }
    const uint8_t* qh = block + 16;
    const uint8_t* qs = block + (has_high_bit ? 48 : 16);
    for (uint32_t chunk = 0; chunk < 4; ++chunk)
      for (uint32_t i = 0; i < 32; ++i) {
        const uint8_t q = qs[32 * chunk + i], h = has_high_bit ? qh[i] : 0;
        quants[64 * chunk + i] = static_cast<uint8_t>((q & 15) | (h >> (2 * chunk) & 1) << 4);
        quants[64 * chunk + 32 + i] = static_cast<uint8_t>(q >> 4 | (h >> (2 * chunk + 1) & 1) << 4);
      }
  }
  static void join(const uint8_t* record, const uint8_t* quants, uint8_t* block) {
    std::memcpy(block, record, 4);
    uint8_t* s = block + 4;
    const uint8_t *sc = record + 4, *mn = record + 12;
    for (uint32_t j = 0; j < 4; ++j) {
      s[j] = static_cast<uint8_t>(sc[j] | sc[j + 4] >> 4 << 6);
      s[j + 4] = static_cast<uint8_t>(mn[j] | mn[j + 4] >> 4 << 6);
      s[j + 8] = static_cast<uint8_t>((sc[j + 4] & 15) | (mn[j + 4] & 15) << 4);
    }
    uint8_t* qh = block + 16;
    uint8_t* qs = block + (has_high_bit ? 48 : 16);
    if (has_high_bit) std::memset(qh, 0, 32);
    for (uint32_t chunk = 0; chunk < 4; ++chunk)
      for (uint32_t i = 0; i < 32; ++i) {
        const uint8_t low = quants[64 * chunk + i], high = quants[64 * chunk + 32 + i];
        qs[32 * chunk + i] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
        if (has_high_bit)
          qh[i] = static_cast<uint8_t>(qh[i] | low >> 4 << (2 * chunk) | high >> 4 << (2 * chunk + 1));
      }
  }
};

float scale_k(const uint8_t* record, uint32_t sub16) {
  const uint8_t scale = record[4 + sub16 / 2];
  return half_field(record, 0) * static_cast<float>(scale);
}
float minimum_k(const uint8_t* record, uint32_t sub32) {
  return -(half_field(record, 1) * static_cast<float>(record[12 + sub32]));
}

// --- Q6_K: ql[128] qh[64] scales[16] d; record: d sc[16]
// ----------------------------------------------------------

void split_q6_k(const uint8_t* block, uint8_t* record, uint8_t* quants) {
  std::memcpy(record, block + 208, 2);
  std::memcpy(record + 2, block + 192, 16);
  for (uint32_t half = 0; half < 2; ++half) {
    const uint8_t *ql = block + 64 * half, *qh = block + 128 + 32 * half;
    uint8_t* q = quants + 128 * half;
    for (uint32_t i = 0; i < 32; ++i) {
      q[i] = static_cast<uint8_t>((ql[i] & 15) | (qh[i] & 3) << 4);
      q[i + 32] = static_cast<uint8_t>((ql[i + 32] & 15) | (qh[i] >> 2 & 3) << 4);
      q[i + 64] = static_cast<uint8_t>(ql[i] >> 4 | (qh[i] >> 4 & 3) << 4);
      q[i + 96] = static_cast<uint8_t>(ql[i + 32] >> 4 | (qh[i] >> 6 & 3) << 4);
    }
  }
}
void join_q6_k(const uint8_t* record, const uint8_t* quants, uint8_t* block) {
  std::memcpy(block + 208, record, 2);
  std::memcpy(block + 192, record + 2, 16);
  for (uint32_t half = 0; half < 2; ++half) {
    uint8_t *ql = block + 64 * half, *qh = block + 128 + 32 * half;
    const uint8_t* q = quants + 128 * half;
    for (uint32_t i = 0; i < 32; ++i) {
      ql[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 64] & 15) << 4);
      ql[i + 32] = static_cast<uint8_t>((q[i + 32] & 15) | (q[i + 96] & 15) << 4);
      qh[i] =
          static_cast<uint8_t>(q[i] >> 4 | q[i + 32] >> 4 << 2 | q[i + 64] >> 4 << 4 | q[i + 96] >> 4 << 6);
    }
  }
}
float scale_q6_k(const uint8_t* record, uint32_t sub16) {
  return half_field(record, 0) * static_cast<float>(static_cast<int8_t>(record[2 + sub16]));
}

// clang-format off
constexpr std::array<BlockCodec, 8> kCodecs = {{
    {DType::q4_0, 4, 8,   false, 1, 0,  Nibbles32<false, false>::split, Nibbles32<false, false>::join, scale_legacy, no_minimum},
    {DType::q4_1, 4, 0,   true,  2, 0,  Nibbles32<true, false>::split,  Nibbles32<true, false>::join,  scale_legacy, minimum_legacy},
    {DType::q5_0, 5, 16,  false, 1, 0,  Nibbles32<false, true>::split,  Nibbles32<false, true>::join,  scale_legacy, no_minimum},
    {DType::q5_1, 5, 0,   true,  2, 0,  Nibbles32<true, true>::split,   Nibbles32<true, true>::join,   scale_legacy, minimum_legacy},
    {DType::q8_0, 8, 128, false, 1, 0,  split_q8_0,                     join_q8_0,                     scale_legacy, no_minimum},
    {DType::q4_k, 4, 0,   true,  2, 16, KWithMinimum<false>::split,     KWithMinimum<false>::join,     scale_k,      minimum_k},
    {DType::q5_k, 5, 0,   true,  2, 16, KWithMinimum<true>::split,      KWithMinimum<true>::join,      scale_k,      minimum_k},
    {DType::q6_k, 6, 32,  false, 1, 16, split_q6_k,                     join_q6_k,                     scale_q6_k,   no_minimum},
}};
// clang-format on

// --- tiles
// ---------------------------------------------------------------------------------------------------------

struct Shape {
  uint32_t block, n_blocks, record, scale_bytes,
      quant_bytes;  // bytes: one group, one block (scales), 32 k (quants)
  uint64_t scale_stream, group;
};

Shape shape_of(const BlockCodec& c, uint64_t cols) {
  Shape s;
  s.block = info(c.type).block_weights;
  s.n_blocks = static_cast<uint32_t>(cols / s.block);
  s.record = 2 * c.halves + c.bytes;
  s.scale_bytes = s.record * kGroup;
  s.quant_bytes = c.bits * 64;  // 16 rows * 32 k * bits / 8
  s.scale_stream = (uint64_t{s.n_blocks} * s.scale_bytes + 63) / 64 * 64;
  s.group = s.scale_stream + cols / 32 * s.quant_bytes;
  return s;
}

// Calls f(field's offset in the record, field's width) for every field.
template <class F>
void for_fields(const BlockCodec& c, F f) {
  for (uint32_t i = 0; i < c.halves; ++i) f(2 * i, 2U);
  for (uint32_t i = 0; i < c.bytes; ++i) f(2 * c.halves + i, 1U);
}

// Quant k (of 32) of a row to its place in the bit planes. out is zeroed before.
void put_quant(uint32_t bits, uint8_t* out, uint32_t row, uint32_t k, uint8_t q) {
  const uint32_t tile = k / 4, byte = 4 * row + k % 4;
  if (bits == 8) {
    out[64 * tile + byte] = q;
    return;
  }
  uint8_t& nibble = out[64 * (tile % 4) + byte];
  nibble = static_cast<uint8_t>(nibble | (q & 15) << (tile < 4 ? 0 : 4));
  if (bits == 5) {
    uint8_t& b = out[256 + byte];
    b = static_cast<uint8_t>(b | q >> 4 << tile);
  } else if (bits == 6) {
    uint8_t& b = out[256 + 64 * (tile / 4) + byte];
    b = static_cast<uint8_t>(b | q >> 4 << (2 * (tile % 4)));
  }
}
uint8_t get_quant(uint32_t bits, const uint8_t* in, uint32_t row, uint32_t k) {
  const uint32_t tile = k / 4, byte = 4 * row + k % 4;
  if (bits == 8) return in[64 * tile + byte];
  uint32_t q = in[64 * (tile % 4) + byte] >> (tile < 4 ? 0 : 4) & 15;
  if (bits == 5) q |= (in[256 + byte] >> tile & 1U) << 4;
  if (bits == 6) q |= (in[256 + 64 * (tile / 4) + byte] >> (2 * (tile % 4)) & 3U) << 4;
  return static_cast<uint8_t>(q);
}

}  // namespace

const BlockCodec* block_codec(DType type) {
  for (const BlockCodec& c : kCodecs)
    if (c.type == type) return &c;
  return nullptr;
}

std::string_view layout_name(Layout layout) { return layout == Layout::tiles16 ? "tiles16" : "row"; }

uint64_t packed_bytes(DType type, Layout layout, uint64_t rows, uint64_t cols) {
  if (layout == Layout::row) return (rows * cols + 15) / 16 * 16 * info(type).block_bytes;
  const uint64_t groups = (rows + kGroup - 1) / kGroup;
  if (const BlockCodec* c = block_codec(type)) return groups * shape_of(*c, cols).group;
  return groups * ((cols * kGroup * info(type).block_bytes + 63) / 64 * 64);
}

void pack(DType type, Layout layout, uint64_t rows, uint64_t cols, std::span<const uint8_t> source,
          std::span<uint8_t> out) {
  std::memset(out.data(), 0, out.size());
  if (layout == Layout::row) {
    std::memcpy(out.data(), source.data(), source.size());
    return;
  }
  const uint64_t source_row = row_bytes(type, cols);
  const BlockCodec* c = block_codec(type);
  if (c == nullptr) {
    const uint32_t size = info(type).block_bytes;
    const uint64_t group_bytes = (cols * kGroup * size + 63) / 64 * 64;
    for (uint64_t r = 0; r < rows; ++r)
      for (uint64_t k = 0; k < cols; ++k)
        std::memcpy(out.data() + r / kGroup * group_bytes + (k * kGroup + r % kGroup) * size,
                    source.data() + r * source_row + k * size, size);
    return;
  }
  const Shape s = shape_of(*c, cols);
  for (uint64_t r = 0; r < rows; ++r) {
    uint8_t* group = out.data() + r / kGroup * s.group;
    const uint32_t lane = r % kGroup;
    for (uint32_t b = 0; b < s.n_blocks; ++b) {
      std::array<uint8_t, kMaxRecord> record{};
      std::array<uint8_t, kMaxBlock> quants;
      c->split(source.data() + r * source_row + uint64_t{b} * info(type).block_bytes, record.data(),
               quants.data());
      uint8_t* scales = group + uint64_t{b} * s.scale_bytes;
      for_fields(*c, [&](uint32_t at, uint32_t width) {
        std::memcpy(scales + at * kGroup + lane * width, record.data() + at, width);
      });
      uint8_t* planes = group + s.scale_stream + uint64_t{b} * (s.block / 32) * s.quant_bytes;
      for (uint32_t k = 0; k < s.block; ++k)
        put_quant(c->bits, planes + k / 32 * s.quant_bytes, lane, k % 32, quants[k]);
    }
  }
  // A padding row's quants are zero, its scales too: it computes zero, whatever the zero point.
}

void unpack(DType type, Layout layout, uint64_t rows, uint64_t cols, std::span<const uint8_t> packed,
            std::span<uint8_t> out) {
  if (layout == Layout::row) {
    std::memcpy(out.data(), packed.data(), out.size());
    return;
  }
  const uint64_t out_row = row_bytes(type, cols);
  const BlockCodec* c = block_codec(type);
  if (c == nullptr) {
    const uint32_t size = info(type).block_bytes;
    const uint64_t group_bytes = (cols * kGroup * size + 63) / 64 * 64;
    for (uint64_t r = 0; r < rows; ++r)
      for (uint64_t k = 0; k < cols; ++k)
        std::memcpy(out.data() + r * out_row + k * size,
                    packed.data() + r / kGroup * group_bytes + (k * kGroup + r % kGroup) * size, size);
    return;
  }
  const Shape s = shape_of(*c, cols);
  for (uint64_t r = 0; r < rows; ++r) {
    const uint8_t* group = packed.data() + r / kGroup * s.group;
    const uint32_t lane = r % kGroup;
    for (uint32_t b = 0; b < s.n_blocks; ++b) {
      std::array<uint8_t, kMaxRecord> record{};
      std::array<uint8_t, kMaxBlock> quants;
      const uint8_t* scales = group + uint64_t{b} * s.scale_bytes;
      for_fields(*c, [&](uint32_t at, uint32_t width) {
        std::memcpy(record.data() + at, scales + at * kGroup + lane * width, width);
      });
      const uint8_t* planes = group + s.scale_stream + uint64_t{b} * (s.block / 32) * s.quant_bytes;
      for (uint32_t k = 0; k < s.block; ++k)
        quants[k] = get_quant(c->bits, planes + k / 32 * s.quant_bytes, lane, k % 32);
      c->join(record.data(), quants.data(), out.data() + r * out_row + uint64_t{b} * info(type).block_bytes);
    }
  }
}

}  // namespace forge
