// What `forge compile` shows while it works: a bar on a terminal, nothing in a pipe.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forge {

// Formatted text on stderr. Nobody is left to tell that stderr can't be written, so that is no error.
template <class... Args>
void print_to_stderr(fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), stderr);
}

class ProgressBar {
 public:
  // Draws on stderr when that is a terminal.
  ProgressBar();
  // Removes the bar.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // "download", "calibrate", "fit", "quantize", "compare", "parse", "optimize", "generate", "tune", "system prompt",
  // "compile" or "pack" begins.
  void begin(std::string_view phase);
  // Within the current phase.
  void bytes(uint64_t done, uint64_t total);
  void count(uint64_t done, uint64_t total, std::string_view what);  // "3 of 8 chunks"
  void end();
  // Removes the bar until it is drawn again: for text that goes between.
  void erase();

  // Phases with the seconds they took, in the order they began.
  const std::vector<std::pair<std::string, double>>& times() const { return times_; }

 private:
  void draw(double fraction, std::string_view detail);

  bool drawn_ = false;
  bool terminal_ = false;
  double began_ = 0, last_drawn_ = 0;
  uint64_t first_done_ = 0;  // of the phase
  std::string phase_;
  std::vector<std::pair<std::string, double>> times_;
};

}  // namespace forge
