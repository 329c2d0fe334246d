// Encoders that search for the least error. quant/dtype.h's encoders are the fast and exact reference; these are what
// `forge quantize` writes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.h"

namespace forge {

// Whether there is an encoder: for all types but those of codebook grids (iq1_*, iq2_*, iq3_*) and q8_k, which is no
// type of weights.
bool can_encode(DType type);

// Encodes n weights (a multiple of the type's block; all finite and at most kMaxWeight in magnitude) so that
// sum_i importances_i * (x_i - decoded_i)^2 is small: scales, minimums and levels are chosen together, for the scales
// as they are stored. importances: n of them, none negative; null: all alike. The same bytes on every machine.
void encode_least_error(DType type, const float* x, const float* importances, size_t n, uint8_t* out);

// What every type's float16 scales can express.
inline constexpr float kMaxWeight = 65504.0f;

}  // namespace forge
