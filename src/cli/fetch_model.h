// MODEL on the command line, where it is to be downloaded first.
#pragma once

#include "cli/model_source.h"

namespace forge {

// Downloads source.path where it is remote (download/model_source.h), with a progress bar on a terminal, and makes it
// the path in the cache; source.name is what the model is called. Throws Error.
void fetch_model(ModelSource& source);

}  // namespace forge
