// A loop over chunks of work on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace forge {

// Calls work(chunk, thread) for 0 <= chunk < n on n_threads threads, this one being thread 0; an exception of one ends
// the others and is thrown again.
void in_parallel(size_t n, unsigned n_threads,
                 const std::function<void(size_t chunk, unsigned thread)>& work);

}  // namespace forge
