// The checkpoint inside a compiled program: what of the source file the payload keeps, and the way back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/checkpoint.h"

namespace forge {

// The payload's source.kv: the metadata, and the source file's tensor names in their order.
std::vector<uint8_t> encode_source_metadata(const Checkpoint& checkpoint);

// Whether a file begins as an executable or a payload (a program's .weights file) does, so that it is no
// model file; a directory does not. Throws Error when it can't be read.
bool is_artifact(const std::string& path);

// The program, and PATH.weights where its payload lies there. Throws Error for what carries no payload.
std::vector<std::string> artifact_files(const std::string& path);

// The checkpoint inside a program, in the .weights file beside it, or in a payload file: metadata from
// source.kv, tensors unpacked from their layouts to the bytes they had in the source file. `checkpoint.path`
// is path.
Checkpoint read_artifact(const std::string& path);

}  // namespace forge
