#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "runtime/host/program.h"

namespace forge {
namespace {

// Where each phase begins on the bar, as it goes for a model of a few hundred megabytes.
struct PhaseSpan {
  std::string_view name;
  double begin, end;
};
constexpr PhaseSpan kPhases[] = {
    {"download", 0, 1},  // bars of their own: they can take longer than all the rest
    {"calibrate", 0, 1},
    {"fit", 0, 1},
    {"quantize", 0, 1},
    {"compare", 0, 1},
    {"tune", 0, 1},
    {"parse", 0, 0.1},
    {"optimize", 0.1, 0.12},
    {"generate", 0.12, 0.15},
    {"system prompt", 0.15, 0.15},
    {"compile", 0.15, 0.7},
    {"pack", 0.7, 1}};
constexpr int kBarWidth = 30;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(::isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() { end(); }

void ProgressBar::begin(std::string_view phase) {
  if (!phase_.empty()) times_.emplace_back(phase_, now() - began_);
  phase_ = phase;
  began_ = now();
  first_done_ = UINT64_MAX;
  draw(0, "");
}

void ProgressBar::bytes(uint64_t done, uint64_t total) {
  // Ten times a second is smooth enough; the last one is always shown.
  first_done_ = std::min(first_done_, done);
  if (done < total && now() - last_drawn_ < 0.1) return;
  // A rate that is worth reading, of this run's bytes: a resumed download does not begin at 0.
  const double seconds = now() - began_;
  const double rate = static_cast<double>(done - first_done_) / seconds;
  draw(total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total),
       fmt::format("{} of {}{}", rt::human_bytes(done), rt::human_bytes(total),
                   seconds < 1 ? "" : fmt::format(", {}/s", rt::human_bytes(static_cast<uint64_t>(rate)))));
}

void ProgressBar::count(uint64_t done, uint64_t total, std::string_view what) {
  draw(total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total),
       fmt::format("{} of {} {}", done, total, what));
}

void ProgressBar::end() {
  if (!phase_.empty()) times_.emplace_back(std::exchange(phase_, ""), now() - began_);
  erase();
}

void ProgressBar::erase() {
  if (std::exchange(drawn_, false)) std::fputs("\r\033[K", stderr);
}

void ProgressBar::draw(double fraction, std::string_view detail) {
  if (!terminal_) return;
  last_drawn_ = now();
  for (const PhaseSpan& span : kPhases) {
    if (span.name != phase_) continue;
    const int filled = static_cast<int>((span.begin + fraction * (span.end - span.begin)) * kBarWidth);
    print_to_stderr("\r\033[K[{:#>{}}{: >{}}] {} {}", "", filled, "", kBarWidth - filled, phase_, detail);
    std::fflush(stderr);
    drawn_ = true;
  }
}

}  // namespace forge
