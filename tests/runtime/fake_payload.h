// The payload that goes with the fake model.
#pragma once

#include "toolchain/artifact.h"

namespace forge::rt {

// To be changed before it is built. Weights: 3 tensors of some bytes, which the fake model does not read.
PayloadInput fake_payload_input();

// The chat template in it: "<|start|>role\ncontent<|end|>\n" for each message.
extern const char* const kFakeTemplate;

}  // namespace forge::rt
