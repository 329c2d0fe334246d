// Finds stop strings in streamed text, also where they begin in one token and end in another.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace forge::rt {

class StopMatcher {
 public:
  // Empty strings among `stops` are ignored.
  explicit StopMatcher(std::vector<std::string> stops);
  StopMatcher(StopMatcher&&) = default;
  StopMatcher& operator=(StopMatcher&&) = default;

  // Takes the next piece of text and returns what can be shown: all but a suffix that may turn out to be the
  // start of a stop string. Once one has matched, the text before it is returned and everything behind it is
  // dropped.
  std::string push(std::string_view text);
  // The text held back, at the end of the stream.
  std::string finish();
  bool matched() const { return matched_ != nullptr; }
  // The stop string that matched; there must be one.
  const std::string& matched_stop() const { return *matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  const std::string* matched_ = nullptr;  // into stops_
};

}  // namespace forge::rt
