// Unicode's normalization forms, as data (Unicode Standard Annex 15; Hangul is computed).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace forge {

struct Decomposition {
  uint32_t character;
  std::string text;  // UTF-8, decomposed as far as it goes
};
// The characters that normalization decomposes; with `compatibility` as NFKC and NFKD do.
std::vector<Decomposition> decompositions(bool compatibility);

struct CombiningClass {
  uint32_t character;
  uint32_t combining_class;  // 1 to 254
};
std::vector<CombiningClass> combining_classes();

struct Composite {
  uint32_t first, second, composite;
};
std::vector<Composite> composites();

}  // namespace forge
