#include "quant/packed.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "quant/codecs.h"

namespace forge {
namespace {

constexpr uint32_t kGroup = 16;

// Calls f(offset in the record, width) for every field of a record.
template <class F>
void for_fields(const BlockCodec& c, F f) {
  for (uint32_t i = 0; i < c.halves; ++i) f(2 * i, 2U);
  for (uint32_t i = 0; i < c.bytes; ++i) f(2 * c.halves + i, 1U);
}

// A run of a code's bits in the planes: bits [shift, shift + log2(mask + 1)) of byte `at` + 4 * row are the
// code's bits from code_shift on.
struct Piece {
  uint32_t at;
  uint8_t shift, mask, code_shift;
};

// Where codes of 8, or of up to 6 bits, lie: planes of 4, 2 and 1 bits as the code has them, the lowest bits
// first. A plane of p bits is p vectors; vector v has tiles v, v + p, v + 2p ... of the eight.
struct Planes {
  uint32_t n = 0;  // pieces of a code
  std::array<std::array<Piece, 3>, 32> pieces = {};

  explicit Planes(uint32_t bits) {
    uint32_t start = 0, below = 0;
    for (const uint32_t p : {8U, 4U, 2U, 1U}) {
      if ((bits & p) == 0) continue;
      for (uint32_t k = 0; k < 32; ++k) {
        const uint32_t tile = k / 4;
        pieces[k][n] = {start + 64 * (tile % p) + k % 4, static_cast<uint8_t>(tile / p * p),
                        static_cast<uint8_t>((1U << p) - 1), static_cast<uint8_t>(below)};
      }
      ++n;
      start += 64 * p;
      below += p;
    }
  }
};

// How a matrix of blocks lies: bytes of a block's scales and codes (16 rows), of the scale stream, of a group.
struct Shape {
  const BlockCodec& codec;
  Planes planes;
  uint64_t n_blocks, scale_bytes, code_bytes, scale_stream, group;

  Shape(const BlockCodec& c, uint64_t cols)
      : codec(c),
        planes(c.bits),
        n_blocks(cols / info(c.type).block_weights),
        scale_bytes((2 * c.halves + c.bytes) * kGroup),
        code_bytes(uint64_t{c.codes} * c.bits * kGroup / 8),
        scale_stream((n_blocks * scale_bytes + 63) / 64 * 64),
        group(scale_stream + n_blocks * code_bytes) {}

  // Calls f(block's number in the matrix, its scales, its codes: offsets in the packed bytes) for all blocks;
  // both offsets are those of the row's first field and code.
  template <class F>
  void for_blocks(uint64_t rows, F f) const {
    for (uint64_t r = 0; r < rows; ++r)
      for (uint64_t b = 0; b < n_blocks; ++b)
        f(r * n_blocks + b, r / kGroup * group + b * scale_bytes,
          r / kGroup * group + scale_stream + b * code_bytes, r % kGroup);
  }

  // Calls f(code's number, offset from the row's first code, its piece) for all codes of a block.
  template <class F>
  void for_pieces(F f) const {
    for (uint32_t k = 0; k < codec.codes; ++k)
      for (uint32_t p = 0; p < planes.n; ++p) {
        const Piece& piece = planes.pieces[k % 32][p];
        f(k, k / 32 * (64 * codec.bits) + piece.at, piece);
      }
  }
};

// Float types: 16 rows x 1 column side by side. Calls f(offset in the source, offset in the packed bytes).
template <class F>
void for_elements(uint64_t rows, uint64_t cols, uint32_t size, F f) {
  const uint64_t group_bytes = (cols * kGroup * size + 63) / 64 * 64;
  for (uint64_t r = 0; r < rows; ++r)
    for (uint64_t k = 0; k < cols; ++k)
      f((r * cols + k) * size, r / kGroup * group_bytes + (k * kGroup + r % kGroup) * size);
}

uint32_t bits_of_levels(const BlockCodec& codec) {
  std::array<uint8_t, kMaxBlock> codes{};
  std::array<int8_t, kMaxBlock> levels{};
  int most = 0;
  for (uint32_t code = 0; code < 1U << codec.bits; ++code) {
    codes.fill(static_cast<uint8_t>(code));
    codec.levels(codes.data(), levels.data());
    for (uint32_t i = 0; i < info(codec.type).block_weights; ++i) most = std::max(most, std::abs(levels[i]));
  }
  return most <= 1 ? 0 : static_cast<uint32_t>(std::bit_width(static_cast<uint32_t>(most) - 1));
}

std::vector<BlockCodec> join_codecs() {
  std::vector<BlockCodec> all;
  for (const auto& family : {integer_codecs(), table_codecs(), grid_codecs()})
    all.insert(all.end(), family.begin(), family.end());
  for (BlockCodec& codec : all) codec.level_bits = bits_of_levels(codec);
  return all;
}

}  // namespace

const BlockCodec* block_codec(DType type) {
  static const std::vector<BlockCodec> codecs = join_codecs();
  const auto it = std::ranges::find(codecs, type, &BlockCodec::type);
  return it == codecs.end() ? nullptr : &*it;
}

std::string_view layout_name(Layout layout) { return layout == Layout::tiles16 ? "tiles16" : "row"; }

uint64_t packed_bytes(DType type, Layout layout, uint64_t rows, uint64_t cols) {
  if (layout == Layout::row) return (rows * cols + 15) / 16 * 16 * info(type).block_bytes;
  const uint64_t groups = (rows + kGroup - 1) / kGroup;
  if (const BlockCodec* c = block_codec(type)) return groups * Shape(*c, cols).group;
  return groups * ((cols * kGroup * info(type).block_bytes + 63) / 64 * 64);
}

void pack(DType type, Layout layout, uint64_t rows, uint64_t cols, std::span<const uint8_t> source,
          std::span<uint8_t> out) {
  std::memset(out.data(), 0, out.size());
  const BlockCodec* c = block_codec(type);
  const uint32_t size = info(type).block_bytes;
  if (layout == Layout::row) {
    std::memcpy(out.data(), source.data(), source.size());
  } else if (c == nullptr) {
    for_elements(rows, cols, size, [&](uint64_t from, uint64_t to) {
      std::memcpy(out.data() + to, source.data() + from, size);
    });
  } else {
    // A padding row's codes are zero, its scales too: it computes zero, whatever the zero point.
    const Shape shape(*c, cols);
    shape.for_blocks(rows, [&](uint64_t block, uint64_t scales, uint64_t planes, uint64_t lane) {
      std::array<uint8_t, kMaxRecord> record;
      std::array<uint8_t, kMaxBlock> codes;
      c->split(source.data() + block * size, record.data(), codes.data());
      for_fields(*c, [&](uint32_t at, uint32_t width) {
        std::memcpy(out.data() + scales + at * kGroup + lane * width, record.data() + at, width);
      });
      uint8_t* const row = out.data() + planes + 4 * lane;
      shape.for_pieces([&](uint32_t k, uint64_t at, const Piece& p) {
        row[at] = static_cast<uint8_t>(row[at] | (codes[k] >> p.code_shift & p.mask) << p.shift);
      });
    });
  }
}

void unpack(DType type, Layout layout, uint64_t rows, uint64_t cols, std::span<const uint8_t> packed,
            std::span<uint8_t> out) {
  const BlockCodec* c = block_codec(type);
  const uint32_t size = info(type).block_bytes;
  if (layout == Layout::row) {
    std::memcpy(out.data(), packed.data(), out.size());
  } else if (c == nullptr) {
    for_elements(rows, cols, size, [&](uint64_t to, uint64_t from) {
      std::memcpy(out.data() + to, packed.data() + from, size);
    });
  } else {
    const Shape shape(*c, cols);
    shape.for_blocks(rows, [&](uint64_t block, uint64_t scales, uint64_t planes, uint64_t lane) {
      std::array<uint8_t, kMaxRecord> record;
      std::array<uint8_t, kMaxBlock> codes{};
      for_fields(*c, [&](uint32_t at, uint32_t width) {
        std::memcpy(record.data() + at, packed.data() + scales + at * kGroup + lane * width, width);
      });
      const uint8_t* const row = packed.data() + planes + 4 * lane;
      shape.for_pieces([&](uint32_t k, uint64_t at, const Piece& p) {
        codes[k] = static_cast<uint8_t>(codes[k] | (row[at] >> p.shift & p.mask) << p.code_shift);
      });
      c->join(record.data(), codes.data(), out.data() + block * size);
    });
  }
}

}  // namespace forge
