#include "quantize/parallel.h"

#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace forge {

void in_parallel(size_t n, unsigned n_threads,
                 const std::function<void(size_t chunk, unsigned thread)>& work) {
  std::atomic<size_t> next = 0;
  std::vector<std::exception_ptr> errors(n_threads);
  const auto run = [&](unsigned thread) {
    try {
      for (size_t chunk = next++; chunk < n; chunk = next++) work(chunk, thread);
    } catch (...) {
      errors[thread] = std::current_exception();
      next = n;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 1; t < n_threads; ++t) threads.emplace_back(run, t);
    run(0);
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace forge
