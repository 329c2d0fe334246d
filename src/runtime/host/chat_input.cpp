#include "runtime/host/chat_input.h"

#include <utility>

namespace forge::rt {
namespace {

constexpr std::string_view kBlock = "\"\"\"";

std::string_view without_spaces_behind(std::string_view line) {
  return line.substr(0, line.find_last_not_of(" \t\r") + 1);  // npos + 1 is 0
}

}  // namespace

std::optional<ChatMessageInput> ChatInput::add(std::string_view line) {
  if (mode_ == Mode::closed) {
    text_.clear();
    verbatim_ = line.starts_with(kBlock);
    if (verbatim_) {
      mode_ = Mode::block;
      line.remove_prefix(kBlock.size());
      if (without_spaces_behind(line).empty()) return std::nullopt;  // the text begins on the next line
      if (line.starts_with('\n')) line.remove_prefix(1);             // pasted
    }
  }
  if (mode_ == Mode::block) {
    const std::string_view body = without_spaces_behind(line);
    if (!body.ends_with(kBlock)) {
      text_.append(line) += '\n';
      return std::nullopt;
    }
    text_ += body.substr(0, body.size() - kBlock.size());
    // Quotes on a line of their own end the text in front of that line.
    if (text_.ends_with('\n')) text_.pop_back();
    return take();
  }
  if (line.ends_with('\\')) {
    mode_ = Mode::backslash;
    text_.append(line.substr(0, line.size() - 1)) += '\n';
    return std::nullopt;
  }
  text_ += line;
  return take();
}

std::optional<ChatMessageInput> ChatInput::finish() {
  if (!is_open()) return std::nullopt;
  if (text_.ends_with('\n')) text_.pop_back();
  return take();
}

void ChatInput::drop() {
  mode_ = Mode::closed;
  text_.clear();
}

ChatMessageInput ChatInput::take() {
  mode_ = Mode::closed;
  ChatMessageInput out{.text = std::exchange(text_, {})};
  if (!verbatim_ && out.text.starts_with('/')) {
    out.is_command = !out.text.starts_with("//");
    out.text.erase(0, 1);
  }
  return out;
}

}  // namespace forge::rt
