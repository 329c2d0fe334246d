// The lines that a person types, or a pipe gives, as messages to the model and commands.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace forge::rt {

struct ChatMessageInput {
  std::string text;
  bool is_command = false;  // `text` then lacks the slash
};

// A message is a line. One that ends in a backslash goes on in the next; from """ to the next """ at a line's end
// everything is taken as it stands. A line that begins with / is a command, and one with // a message that begins
// with /.
class ChatInput {
 public:
  // Takes the next line; gives the message that it completes.
  std::optional<ChatMessageInput> add(std::string_view line);
  // Gives what there is of a message that is not complete, at the end of the input.
  std::optional<ChatMessageInput> finish();
  // Forgets it.
  void drop();
  bool is_open() const { return mode_ != Mode::closed; }

 private:
  enum class Mode : uint8_t { closed, backslash, block };
  ChatMessageInput take();

  Mode mode_ = Mode::closed;
  bool verbatim_ = false;  // from a block
  std::string text_;
};

}  // namespace forge::rt
