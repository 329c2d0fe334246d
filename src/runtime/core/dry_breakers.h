// DRY's sequence breakers as tokens.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "runtime/core/dry.h"
#include "runtime/core/result.h"
#include "runtime/core/tokenizer.h"

namespace forge::rt {

// llama.cpp's.
inline constexpr std::string_view kDefaultDryBreakers[] = {"\n", ":", "\"", "*"};
inline constexpr size_t kMaxDryBreakers = 32;

// Every token that contains one of the strings, and every token that ends with the beginning of one, followed by
// the tokens of its rest. As in llama.cpp at most 40 bytes of a string and 20 tokens of a rest count, and empty
// strings are nothing. Takes time in proportion to the vocabulary: once for a run or a request, not a token.
// Error: more than kMaxDryBreakers strings.
Result<DryBreakers> dry_breakers(const Tokenizer& tokenizer, std::span<const std::string> strings);

}  // namespace forge::rt
