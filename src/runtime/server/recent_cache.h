// Things that requests ask for by a key and that take long to make: the ones asked for lately are kept.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "runtime/core/result.h"

namespace forge::rt {

template <class T>
class RecentCache {
 public:
  // `make` makes what is not known.
  Result<std::shared_ptr<T>> get(const std::string& key,
                                 const std::function<Result<std::shared_ptr<T>>()>& make) {
    for (auto at = known_.begin(); at != known_.end(); ++at) {
      if (at->first != key) continue;
      known_.splice(known_.begin(), known_, at);
      return known_.front().second;
    }
    auto made = make();
    if (!made) return made.error();
    known_.emplace_front(key, std::move(*made));
    if (known_.size() > kMaxKnown) known_.pop_back();
    return known_.front().second;
  }

 private:
  static constexpr size_t kMaxKnown = 16;
  std::list<std::pair<std::string, std::shared_ptr<T>>> known_;  // the last used one first
};

}  // namespace forge::rt
