// JSON files of checkpoints, parsed with limits: nothing in them is trusted.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace forge {

using Json = nlohmann::json;

// The document that `bytes` are. Throws Error, in the name of `file`, when they are no JSON (with the offset),
// nest deeper than 64, or hold the same key of an object twice.
Json parse_json(std::string_view file, std::span<const uint8_t> bytes);

// The member of an object; null if there is none, it is null, or `object` is no object.
const Json* member(const Json& object, const char* name);

}  // namespace forge
