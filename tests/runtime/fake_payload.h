// The payload that goes with the fake model.
#pragma once

#include <string>

#include "toolchain/artifact.h"

namespace forge::rt {

// To be changed before it is built. Weights: 3 tensors of some bytes, which the fake model does not read. start_name: of
// the token kFakeStart; gpt-oss' "<|start|>" is an ordinary token, other names are control tokens.
PayloadInput fake_payload_input(const std::string& start_name = "<|start|>");

// The chat template in it: "<|start|>role\ncontent<|end|>\n" for each message.
extern const char* const kFakeTemplate;

}  // namespace forge::rt
