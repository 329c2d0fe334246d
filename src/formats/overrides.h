// Mending wrong metadata from the command line.
#pragma once

#include <string_view>

#include "formats/checkpoint.h"

namespace forge {

// Sets a key as "KEY=VALUE" says. A key that is there keeps its type; a new one is a bool (true, false), an
// integer (u32 or i32 where it fits, else i64), a float (f32) or else a string, by its look. Throws Error of
// misuse naming the key when the text is no such assignment or the value doesn't fit the key's type.
void override_metadata(Metadata& meta, std::string_view assignment);

}  // namespace forge
