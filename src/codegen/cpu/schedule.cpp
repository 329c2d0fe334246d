#include "codegen/cpu/schedule.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

namespace forge {
namespace {

// Takes `word` from the front of `text`, or a number.
bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}
bool take(std::string_view& text, uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

}  // namespace

std::string schedules_text(const Schedules& schedules) {
  std::string out;
  for (const auto& [columns, s] : schedules)
    fmt::format_to(std::back_inserter(out), "{}{}: prefetch {} prompt_groups {}", out.empty() ? "" : ", ",
                   columns, s.prefetch, s.prompt_groups);
  return out;
}

std::optional<Schedules> parse_schedules(std::string_view text) {
  Schedules out;
  while (!text.empty()) {
    uint32_t columns = 0;
    Schedule s;
    if (!out.empty() && !take(text, ", ")) return std::nullopt;
    if (!take(text, columns) || !take(text, ": prefetch ") || !take(text, s.prefetch) ||
        !take(text, " prompt_groups ") || !take(text, s.prompt_groups) || !out.emplace(columns, s).second)
      return std::nullopt;
  }
  return out;
}

}  // namespace forge
