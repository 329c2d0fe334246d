#include "runtime/core/stop_strings.h"

#include <algorithm>
#include <utility>

namespace forge::rt {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

std::string StopMatcher::push(std::string_view text) {
  if (matched()) return {};
  held_ += text;
  size_t match = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at >= match) continue;
    match = at;
    matched_ = &stop;
  }
  if (matched()) {
    held_.resize(match);
    return std::exchange(held_, {});
  }
  size_t n_held = 0;  // the longest suffix that begins a stop string
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > n_held; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) n_held = n;
    }
  }
  std::string out = held_.substr(0, held_.size() - n_held);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::finish() { return matched() ? std::string{} : std::exchange(held_, {}); }

}  // namespace forge::rt
