// What a Grammar promises: for those that make one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/grammar.h"

namespace forge::rt {

// Removes edges and calls from which no end can be reached; false where none can from the first rule's start.
// Indices must be in range.
bool remove_dead_ends(Grammar& grammar);

// Whether each state can reach an end of its rule without a byte. Indices must be in range.
std::vector<bool> nullable_states(const Grammar& grammar);

// A rule that may call itself before it has matched a byte, or -1. Indices must be in range.
int64_t find_left_recursion(const Grammar& grammar);

}  // namespace forge::rt
