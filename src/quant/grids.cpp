// iq1_*, iq2_*, iq3_*: 256 weights in cells of eight, or of four (iq3), whose magnitudes are a point of a grid.
//
// A grid is a fixed set of the points that eight (four) weights of three (eight) magnitudes can form. A block
// has a half d, a small integer s for each 16 or 32 weights, and for each cell the number of its point and the
// weights' signs:
//
//   iq2_*    w = d * (2s + 1) / 8 * (+-8, +-25 or +-43)
//   iq3_xxs  w = d * (2s + 1) / 4 * (+-4, 12, 20, 28, 36, 44, 52 or 62)
//   iq3_s    w = d * (2s + 1) * (+-1, 3, 5, 7, 9, 11, 13 or 15)
//   iq1_*    w = d * (2s + 1) * ((-1, 0 or 1) +- 1/8), the last sign for 8 or 32 weights
//
// Here a weight is a code of three or four bits: the digit that its point has at its place and, above it, the
// sign. The grids are part of the formats; their points lie in ascending order and are written as the gaps
// between them.
#include <algorithm>
#include <span>

#include "quant/codecs.h"
#include "quant/families.h"

namespace forge {
namespace {

constexpr size_t kWeights = 256;

// Points, digit i in bits [w * i, w * i + w): w = 2 for eight weights of three magnitudes, 4 for four of eight.
template <size_t n>
using Grid = std::array<uint16_t, n>;

// gaps: for each point, seen as a number of `digits` digits to the base `base` with the last weight in front,
// how many numbers are left out before it, as a character from '#'; '[' stands for 56 more.
template <size_t n, uint32_t digits, uint32_t base>
consteval Grid<n> grid(std::string_view gaps) {
  Grid<n> points = {};
  uint32_t number = 0;
  size_t at = 0;
  for (const char c : gaps) {
    number += static_cast<uint32_t>(c - '#');
    if (c == '[') continue;
    uint32_t rest = number++;
    for (uint32_t i = 0; i < digits; ++i, rest /= base)
      points.at(at) = static_cast<uint16_t>(points.at(at) | rest % base << 16 / digits * i);
    ++at;
  }
  return points;
}

// clang-format off
constexpr auto kIq1Grid = grid<2048, 8, 3>(
    "#$$$$$%'$&$'($$*'$&$''$&$&#($$$#'(&$&$&$$$#)($$*'$&$''$&$'(('&$$&$$%%$$&$-$$*(((&&#1((($##*$$*$&&##$"
    "##$$$$$$$+%$$$$##$0&.$($$$%#&$(($&-$&$''$&$'(&*'$&$''$&$'($&'#(*#%($&.$$$('$&$''$&$'((%%'$$$$''$&$,#"
    "$&'#($(&$&$#%.$$'%($$$$$$$&$&(&######$$&**$($2$$*''$&$$$&$*($$*(&$'#$#%&'%##$$$##$&$$(&$%#$##$$#%&$&"
    "$$##$$$$$$$$##'####$#$$##$$$##$$##$##$##$$($##*##$$&&$##$$$%###%$#$##(%%$*&.&*($$$$&$$##$$$(($,0$$&$"
    "%)##$&$##$##&&*%#$$&&$+))$)$$$$$$&&$((&%,$&$''$$$$'((%%'$&$''$$$$'($&()#&($$$$##*''$(('$$%'$&$'(&$(("
    "'$$%'$&$'*$$(*##$&$$$(*($&%%.((($&$&$#%&$$,$%#$$$$$$('$'(((('#('$&*,$&$''$&$'($,'$&$,$&$*%$&(,$&$($$"
    "$(''$'#'$&$,$&$'(&$('$&$''$&$'(&*.&$$$$$$2&%&&#$$$&$##$$&$($$$$##$#'$$$$$&$$'##-($$*(,$&&&+',(.%+($$"
    "$$##'#$$$$&$$$$'#(%#$&$$##$$&&$$##$$#$####%$##$&##$&$##$#'$$$%%'#$$$$&$$$$%##$#$&$$&%&&#($$*(%&')'$&"
    "$&$$$(($$$((%#%#%#$&$$&&&$####$$$$#%($&$##&$$$22$$($$&&0,($##$&$&$$&$&$&$##$($*$($%#&$($##$$####$&##"
    "$$$##$$########$$##$&$($##$$&&$&($&$$*$&$$##$&$+'$$%#&+#($####%%$$$$##$###$#####$####$$($$$##$%$#&$#"
    "###$$#####$#$$##$$#######$##########$#####$$#%###$####%$##$$###$##%$#$#$#######%%#############$$#%&$"
    "####$%&%$###'##$$&$&)'$$$$####$$##)'$$$$&(%#$&$$##$(($##$$########$$##$%%%%$####(*%)&#&#$($#%%###&$$"
    "$$)%$##$$.*$$(*(&##$$$$$%/*($$$&$(#%$(%%%#$(#%&'%$(&$.&$-#&*##%/(&*1#$#%$&$$$$$$$$##$##$$*#%$$####$$"
    "$&($$$%#$0##$$#$##$%$##$)$#$%#$#%$##''(''##$&$$$$###$#&$%$$&&$##$%$%1$((,$&$((('*'$(&($$$$#%##&$##$$"
    "&&%#''($#%.&#/$&$&$$&#%))%$(&$&$,$&$''#$$$('$&$''$&$'($$$(($&$$$###'$$(%'$$('$&$''$&$-$&('$&$''$&$/&"
    ".$)%&$$&0&.(&$&($$#%$&$##$#'##$$$$$$$$$*0&$(($&##&%#$&%'()&($&$''$&$$%($&(%$$&$''$&$'#'$$*($$$$$$&$$"
    ",,$('$&$''$&$'($$/$&$''$&$'(&##((&$($$*#'($$$(($$$$&$$$$$$$&'#$##$&$*$($$&$$$(($&(*$$$$$$*$(*$-%$$&&"
    "$*&*$$####$##$*$(##$&($&$$##$##$%%%#$$##$$########$$##$%%$&####$##$$$$$$(&%$'$($#%#$#$($'#&#%##*$$(,"
    "$((&&$$#%&#+(&$(*$$$$$$$##$$&$$$$$$##$&$#%$$($$&$&*++*$$$&$&.($##/$&$''$&$'($$$-$&$''$&$'%%$$$#1$%%$"
    "$$$,'$%$/&$#)&&$'(&$('$&$''$&$3(($(%#$$$%###(>$$$$$*$&$($##$(&$$##$&$$2(&%$%*$%%$##%$.&&#$%$$&$&$,$&"
    "$-$$$-$&$''$&$'*&%%(*&&$&$-'/$&$,$&$-$$/$&$''$&$");

constexpr auto kIq2XxsGrid = grid<256, 8, 3>(
    "#$$$$$$($&$$$((&$($(.*$(&0@..$4F<$(,$($&.,$(.($&.06$,:$4@4(&$(.&$($8::Z,[0$(,*4.(&0(.4*,R,T(.&.6LBD0"
    "[.$(4><&[.PN$(82*$T*R$[:$(40J>6[J:.R[[0V$((&$((*&,$(44>*&:*:*,@(.F28,[&[<$(4&TL&,ZB4(&($F(:<P[0[:$:["
    "4HL,(B[&[&[8(4:@JZ@F&[@$P[[8[[[P$(6>>..[*[2$(&04FBD864H[<[B[4(.(P8J[$T6,[B[[[.N[[DD8@[4[J[[[[JR");

constexpr auto kIq2XsGrid = grid<512, 8, 3>(
    "#$$$$$$$$$$$$&$$$$$$$&$($$$&$&$,$$$$$$$$$$($$$&$((&$(4$$$&$(,$(&0*6$$$$$$$&$($$$&$$&,$(4$$$&$(,$(,*>"
    "$(0&$>:$$$$$$(&($((.4*$$(4>(64(N&,$$$$$$$&$($$$&$(*$$(4$$$&$(,$(4.$0$$&44F$$$&$(,$&$.(>$(4X.8R$($2.6"
    "8&P[.L$$$$$$$(,$(44,$(4(2B6D:&$(2$X>,B.2[&&($,860[$.:.H&$6$$$$$$$&$($$$$$$(&($(4$$$&$(,$(4&2*$($0$X$"
    "$$&$&$,$(4.2$(.(N,*8(P$(4&**D,6(2B[8$$$&$((&$(4>$(&0$V@T$$(,*4,4*(R(JB8*.2*D>,$[X:$(4.*.6$[P0@20[64&"
    "N[BVT[*D*D$$$&$(*$$(4$8$$$$&4,(H4F$2(&$($$0426@P6H>(28,$8*[JD(*,&$(402:6>[466&<(([*H$N[DJH[&BF$&$,*P"
    "P(D&$&6>4FJ[[B66,$&R((X$P$H2");

constexpr auto kIq2SGrid = grid<1024, 8, 3>(
    "#$$$$$$$$$$$$&$$$$$$$&$$$$$$$&$(&&$$$$$$$$&$($$$&$$$$&$&$($$($($$$&$(*$$$$$&0&&&**$$$$$$$&$$$$$$$$$$"
    "$$$$$($$$$&$&$($$$$$$$$$&$&$$$$$$$&$($$$&$(,$$$$&0&$&$(,$(4$$$&$$$$&&$$$$$$$$&$(&*0$$($$$&*&$&$(,*4,"
    "$*&$,D.$$$$$$$&$$&$$$&$$$$$$$&$$&&$&$($$$$$$$$$$$$&$$$$$$$&$($$$&$2$&$&($(&($2$(4$$$&$$$$&$&$$$$$$$&"
    "$($$$&$(,$$$$$$$&$($$$&$(,$(4&$&$(,$(4<$$$$$&$&*$$$&$(,$:$$$&$(,$(28,(40J$$$&$$$$&&$$($$*(*&0$$($$(*"
    "$$($(,$(4*.&$&(:$2&$$$$&$&$($$$&$(,$(4&$&$(,$(0&>$(42H&($2$(<4$$([$8.>.$6$$$$$$$$$$$&$$$$$$$$$$$($(&"
    "$&$($$$&$$$$$$($$$$$$$&$($$$&$(,$($$$((&$&$(,$:$$$$$$$$$$$$&$$$$$$$&$($$$&$(,$$$$$$$&$($$$&$(*$$(4$$"
    "$&$(,$(48($&$$$$&$($$$&$(.(4$$$&$(,$(400$(4X$$$&$$$$$$$&$$$$$$$&$($$$&$2$$$$$$$&$($$$&$(,$(4&$&$(,$("
    "2$>$$$$$$$&$($$$&$(,$(4$$$&$(,$(4>$(0&X$$$&$(,$(*,>$(4X2L6&$$&$$$&$(&$&$(.(4$$$&$(,$(420(40B*&$&$(,$"
    "(4>$(4*202[,2$(J6.<[>N*$$$&$&$&($($$$&*&($2$&$$$$&$($$$&$2$(2$&&$$2$(P$$$$$$$&*$$$&$(,$(4$$$&$(,$(4*"
    "6$(2$X&($2$(H*$:8V8$.4*$&$$$$(($$$&$(,$(4&($2$(*H$(4T&$$$&$(,$(400$(4L&*B2D$(0&V$D&[T4&&&*($$(H(>8D("
    ".&$@&$2&$(4D0(2[PV2TP6>$,$&F6");

constexpr auto kIq3XxsGrid = grid<256, 4, 8>(
    "#$$'$&#$)+;$&$'$)&%$)-.*$$')$)$&,(0&(#$-E56'-.$&(52U96&$702$'$)$'$$-#:$))$Q$'$))D($0+/2-&EJ&45.[70B$"
    ")$'$&%+A$$%$))=&#*$)(#$/#/6)&N&C0:6,=[/$-9>)$)$7/'($0+-$=$'/7214['15((.=A47J76-0$.&[761#2(3@AG-C07[7"
    "%$0T99*(29A0B*K?-&E*9[9N0T2$0?B@GF([0CGSJ0T$$#42N,L='8/07C2A$4[.");

constexpr auto kIq3SGrid = grid<512, 4, 8>(
    "###%$###$$$#&('$%$$$'$)%%###$&#&%%&$&)/&'(#&$#%%%&%&(%$$$/%*(&%$)$%(&$/$&%-&$%((%(1,$.$&'(&$1'-%$031"
    ")$$.$&'/&6##$&#$$$#$)%$0$%+(#$%$&')%()$0($,%$#&((%,%,)%%#%((#&'3(-$'$/$)&$&7)%()$1I&%/$=$'$).&3(*#$$"
    "$#$$$%$&#$)$$%$/#%$%$(%&%%&%():%%,$')$,&,%&$%&+$'$)(0-(+%)%&;%)'+/#-/*$',>&6&/$-'<)$$$%)$$'$%$,(*$$)"
    "'$/2,&$,(,$.;)&'$&#+$&(0*('&)3(&/)$-',,/55B$/$-E&((&%%))2,'$$)('((&6$''&,'1%(.'$'$)&E$4-#;.$,C;36:'-"
    "-(;(&(0&%%.('$$')+B(+,'(/9'#1/'.((%.,.F.5$YB$0Y$$.$722)?84(-'(*.'1W010%;67=K$W&%+$.$.(2)-1$>%&(%)3;:"
    "%08&(':L2B9I");
// clang-format on

// A block's fields, apart.
struct Cells {
  uint16_t d = 0;
  std::array<uint8_t, 8> scales = {};    // of 32 weights; or of 16 low and of the next 16 high
  std::array<uint16_t, 64> points = {};  // one a cell
  std::array<uint8_t, 32> signs = {};    // of eight weights, as many bits as are stored
};

// Each type says how many bytes a block has, how many weights a cell, how many signs of eight weights are
// stored, and where the fields lie.

struct Iq2Xxs {
  static constexpr size_t kBytes = 66, kCell = 8, kSignBits = 7;
  static constexpr std::span<const uint16_t> kGrid = kIq2XxsGrid;
  template <class F>
  static void fields(Cells& c, F field) {
    field(c.d, {0, 16});
    for (size_t g = 0; g < 8; ++g) {
      const size_t at = 16 + 64 * g;
      for (size_t i = 0; i < 4; ++i) {
        field(c.points[4 * g + i], {at + 8 * i, 8});
        field(c.signs[4 * g + i], {at + 32 + 7 * i, 7});
      }
      field(c.scales[g], {at + 60, 4});
    }
  }
};

struct Iq2Xs {
  static constexpr size_t kBytes = 74, kCell = 8, kSignBits = 7;
  static constexpr std::span<const uint16_t> kGrid = kIq2XsGrid;
  template <class F>
  static void fields(Cells& c, F field) {
    field(c.d, {0, 16});
    for (size_t i = 0; i < 32; ++i) {
      field(c.points[i], {16 + 16 * i, 9});
      field(c.signs[i], {16 + 16 * i + 9, 7});
    }
    for (size_t g = 0; g < 8; ++g) field(c.scales[g], {16 + 512 + 8 * g, 8});
  }
};

struct Iq2S {
  static constexpr size_t kBytes = 82, kCell = 8, kSignBits = 8;
  static constexpr std::span<const uint16_t> kGrid = kIq2SGrid;
  template <class F>
  static void fields(Cells& c, F field) {
    field(c.d, {0, 16});
    for (size_t i = 0; i < 32; ++i) {
      field(c.points[i], {16 + 8 * i, 8});
      field(c.signs[i], {16 + 256 + 8 * i, 8});
      field(c.points[i], {16 + 512 + 2 * i, 2, 8});
    }
    for (size_t g = 0; g < 8; ++g) field(c.scales[g], {16 + 576 + 8 * g, 8});
  }
};

struct Iq3Xxs {
  static constexpr size_t kBytes = 98, kCell = 4, kSignBits = 7;
  static constexpr std::span<const uint16_t> kGrid = kIq3XxsGrid;
  template <class F>
  static void fields(Cells& c, F field) {
    field(c.d, {0, 16});
    for (size_t i = 0; i < 64; ++i) field(c.points[i], {16 + 8 * i, 8});
    for (size_t g = 0; g < 8; ++g) {
      const size_t at = 16 + 512 + 32 * g;
      for (size_t i = 0; i < 4; ++i) field(c.signs[4 * g + i], {at + 7 * i, 7});
      field(c.scales[g], {at + 28, 4});
    }
  }
};

struct Iq3S {
  static constexpr size_t kBytes = 110, kCell = 4, kSignBits = 8;
  static constexpr std::span<const uint16_t> kGrid = kIq3SGrid;
  template <class F>
  static void fields(Cells& c, F field) {
    field(c.d, {0, 16});
    for (size_t i = 0; i < 64; ++i) {
      field(c.points[i], {16 + 8 * i, 8});
      field(c.points[i], {16 + 512 + i, 1, 8});
    }
    for (size_t i = 0; i < 32; ++i) field(c.signs[i], {16 + 576 + 8 * i, 8});
    for (size_t g = 0; g < 8; ++g) field(c.scales[g], {16 + 832 + 4 * g, 4});
  }
};

struct Iq1S {
  static constexpr size_t kBytes = 50, kCell = 8, kSignBits = 1;
  static constexpr std::span<const uint16_t> kGrid = kIq1Grid;
  template <class F>
  static void fields(Cells& c, F field) {
    field(c.d, {0, 16});
    for (size_t g = 0; g < 8; ++g) {
      const size_t high = 16 + 256 + 16 * g;
      for (size_t i = 0; i < 4; ++i) {
        field(c.points[4 * g + i], {16 + 32 * g + 8 * i, 8});
        field(c.points[4 * g + i], {high + 3 * i, 3, 8});
        field(c.signs[4 * g + i], {high + 15, 1});
      }
      field(c.scales[g], {high + 12, 3});
    }
  }
};

struct Iq1M {  // d's four nibbles are the upper ones of four times twelve bits of scales
  static constexpr size_t kBytes = 56, kCell = 8, kSignBits = 1;
  static constexpr std::span<const uint16_t> kGrid = kIq1Grid;
  template <class F>
  static void fields(Cells& c, F field) {
    for (size_t i = 0; i < 32; ++i) {
      field(c.points[i], {8 * i, 8});
      field(c.points[i], {256 + 4 * i, 3, 8});
      field(c.signs[i], {256 + 4 * i + 3, 1});
    }
    for (size_t i = 0; i < 4; ++i) {
      const size_t at = 384 + 16 * i;
      for (size_t j = 0; j < 4; ++j) field(c.scales[2 * i + j / 2], {at + 3 * j, 3, 4 * (j % 2)});
      field(c.d, {at + 12, 4, 4 * i});
    }
  }
};

// Of seven stored signs the eighth makes their number even; one sign is that of all eight.
template <size_t stored>
uint8_t all_signs(uint8_t signs) {
  if constexpr (stored == 7) return static_cast<uint8_t>(signs | (std::popcount(signs) & 1) << 7);
  if constexpr (stored == 1) return signs != 0 ? 0xff : 0;
  return signs;
}

template <class T>
struct Codec {
  static constexpr size_t kDigitBits = 16 / T::kCell, kCodeBits = T::kCell == 8 ? 3 : 4;
  static constexpr uint32_t kDigitMask = (1U << (kCodeBits - 1)) - 1;

  static void split(const uint8_t* block, uint8_t* record, uint8_t* codes) {
    Cells c;
    read_fields<T>(block, c);
    std::memcpy(record, &c.d, 2);
    std::ranges::copy(c.scales, record + 2);
    for (size_t i = 0; i < kWeights; ++i) {
      const uint32_t digit = T::kGrid[c.points[i / T::kCell]] >> kDigitBits * (i % T::kCell) & kDigitMask;
      const uint32_t sign = all_signs<T::kSignBits>(c.signs[i / 8]) >> i % 8 & 1;
      codes[i] = static_cast<uint8_t>(digit | sign << (kCodeBits - 1));
    }
  }

  // Codes that form no point of the grid (no block has them) give some point.
  static void join(const uint8_t* record, const uint8_t* codes, uint8_t* block) {
    Cells c;
    std::memcpy(&c.d, record, 2);
    std::copy_n(record + 2, c.scales.size(), c.scales.begin());
    for (size_t cell = 0; cell < kWeights / T::kCell; ++cell) {
      uint32_t point = 0;
      for (size_t i = 0; i < T::kCell; ++i)
        point |= (codes[cell * T::kCell + i] & kDigitMask) << kDigitBits * i;
      const auto at = std::ranges::lower_bound(T::kGrid, point);
      c.points[cell] = static_cast<uint16_t>(at == T::kGrid.end() ? 0 : at - T::kGrid.begin());
    }
    for (size_t i = 0; i < kWeights; ++i)
      c.signs[i / 8] = static_cast<uint8_t>(c.signs[i / 8] | codes[i] >> (kCodeBits - 1) << i % 8);
    write_fields<T>(block, c);
  }
};

// kDivisor: that of d * (2s + 1). kRun: weights that share a scale.
template <class T, const std::array<int8_t, 16>& kLevels, int kDivisor, uint32_t kRun>
struct GridType {
  static float scale(const uint8_t* record, uint32_t run) {
    const int s = kRun == 32 ? record[2 + run] : record[2 + run / 2] >> run % 2 * 4 & 15;
    return load_half(record) * static_cast<float>(2 * s + 1) * (1.0f / kDivisor);
  }
  static void decode(const uint8_t* src, float* dst, size_t n) {
    std::array<uint8_t, 10> record;
    std::array<uint8_t, kWeights> codes;
    for (; n >= kWeights; n -= kWeights, src += T::kBytes, dst += kWeights) {
      Codec<T>::split(src, record.data(), codes.data());
      for (uint32_t i = 0; i < kWeights; ++i)
        dst[i] = scale(record.data(), i / kRun) * static_cast<float>(kLevels[codes[i]]);
    }
  }
  static DTypeInfo info(DType type, std::string_view name) {
    return {type, name, kWeights, T::kBytes, decode, nullptr};
  }
  static constexpr BlockCodec codec(DType type) {
    return {.type = type,
            .bits = Codec<T>::kCodeBits,
            .codes = kWeights,
            .run = kRun,
            .halves = 1,
            .bytes = 8,
            .split = Codec<T>::split,
            .join = Codec<T>::join,
            .levels = table_levels<kWeights, kLevels>,
            .scale = scale,
            .minimum = nullptr};
  }
};

using Iq1SType = GridType<Iq1S, kIq1Levels, 8, 32>;
using Iq1MType = GridType<Iq1M, kIq1Levels, 8, 16>;
using Iq2XxsType = GridType<Iq2Xxs, kIq2Levels, 8, 32>;
using Iq2XsType = GridType<Iq2Xs, kIq2Levels, 8, 16>;
using Iq2SType = GridType<Iq2S, kIq2Levels, 8, 16>;
using Iq3XxsType = GridType<Iq3Xxs, kIq3XxsLevels, 4, 32>;
using Iq3SType = GridType<Iq3S, kIq3SLevels, 1, 32>;

}  // namespace

std::array<DTypeInfo, 7> grid_types() {
  return {Iq1SType::info(DType::iq1_s, "iq1_s"),       Iq1MType::info(DType::iq1_m, "iq1_m"),
          Iq2XxsType::info(DType::iq2_xxs, "iq2_xxs"), Iq2XsType::info(DType::iq2_xs, "iq2_xs"),
          Iq2SType::info(DType::iq2_s, "iq2_s"),       Iq3XxsType::info(DType::iq3_xxs, "iq3_xxs"),
          Iq3SType::info(DType::iq3_s, "iq3_s")};
}

std::span<const BlockCodec> grid_codecs() {
  static constexpr std::array<BlockCodec, 7> kCodecs = {
      Iq1SType::codec(DType::iq1_s),   Iq1MType::codec(DType::iq1_m), Iq2XxsType::codec(DType::iq2_xxs),
      Iq2XsType::codec(DType::iq2_xs), Iq2SType::codec(DType::iq2_s), Iq3XxsType::codec(DType::iq3_xxs),
      Iq3SType::codec(DType::iq3_s)};
  return kCodecs;
}

}  // namespace forge
