// Where a service's functions wait for a thread that has no server of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace forge::rt {

class Inbox {
 public:
  // Any thread.
  void post(std::function<void()> fn) {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.push_back(std::move(fn));
    }
    wake_.notify_one();
  }
  // Runs what has come; waits for it, but not long: an interrupt wakes nobody.
  void run_some() {
    std::deque<std::function<void()>> taken;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::milliseconds(50), [this] { return !waiting_.empty(); });
      taken.swap(waiting_);
    }
    for (const auto& fn : taken) fn();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> waiting_;
};

}  // namespace forge::rt
