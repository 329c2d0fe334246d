// What `perplexity --logits` writes and `forge compare` reads.
#pragma once

#include <cstdint>

namespace forge::rt {

struct LogitsHeader {
  char magic[8] = {'F', 'O', 'R', 'G', 'E', 'L', 'G', 'T'};
  uint32_t n_vocab = 0;
  uint32_t n_chunks = 0;
  uint32_t ctx = 0;         // tokens of a chunk
  uint32_t chunk_rows = 0;  // of them scored, a row each: int32 token, float32 logits [n_vocab]
};
static_assert(sizeof(LogitsHeader) == 24);

}  // namespace forge::rt
