// Where a Graph's weights lie in a checkpoint.
#pragma once

#include <cstdint>

#include "formats/checkpoint.h"
#include "ir/graph.h"

namespace forge {

// The weight of a layer as a tensor: the checkpoint's, or the rows (elements of a vector) of it that the weight is.
// Its data are the checkpoint's. Throws Error where the tensor is missing or too small.
Tensor weight_tensor(const Checkpoint& checkpoint, const Weight& weight, uint32_t layer);

}  // namespace forge
