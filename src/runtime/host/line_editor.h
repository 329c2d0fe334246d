// Line editing on a terminal by plain escape sequences: no terminfo, so it works in an empty root. One line
// that scrolls sideways; history; line ends stay in it that Alt+Enter, Ctrl+J or a bracketed paste brings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace forge::rt {

// Columns that a code point takes: 0 (combining), 1, or 2 (East Asian wide, emoji).
uint32_t column_width(uint32_t code_point);

// The line, and what keys do to it; no terminal in it.
class LineBuffer {
 public:
  enum class Event : uint8_t { none, changed, line, interrupt, end_of_input, clear_screen };

  // Takes one byte of input. After `line` the text is in line(); start the next one with clear().
  Event feed(uint8_t byte);
  const std::string& line() const { return text_; }
  void clear();
  // Puts `line` there, as if it had been typed.
  void fill(std::string_view line);
  // Remembers a line for the arrow keys; a repetition of the last one is not kept.
  void remember(std::string_view line);
  // What a terminal of `columns` must get to show `prompt` and the line, cursor in place.
  std::string render(std::string_view prompt, uint32_t columns) const;

 private:
  Event key(uint8_t control);
  Event escape_done(uint8_t final_byte);
  Event insert(std::string_view bytes);
  Event erase(size_t from, size_t to);
  Event recall(size_t index);
  size_t before(size_t at) const;  // where the character in front of `at` begins
  size_t after(size_t at) const;
  size_t word_start() const;

  enum class Mode : uint8_t { text, escape, sequence, single_shift };
  static constexpr size_t kMaxBytes = 1 << 20;  // of a line
  std::string text_;
  size_t cursor_ = 0;  // byte offset
  Mode mode_ = Mode::text;
  std::string parameters_;  // of an escape sequence
  std::string partial_;     // bytes of a character that is not complete
  bool pasting_ = false;
  std::vector<std::string> history_;
  size_t recalled_ = 0;     // history_.size(): the line being written
  std::string unfinished_;  // that line, while another one is shown
};

enum class ReadLine : uint8_t { line, interrupt, end_of_input };

// Reads lines from standard input: with editing when it and standard output are terminals, else plainly.
// A terminal is the editor's as long as it lives: what is typed between two reads is not echoed and waits for
// the next read.
class LineEditor {
 public:
  // With `colours` what is typed stands out.
  explicit LineEditor(bool colours);
  ~LineEditor();
  bool interactive() const { return terminal_ != nullptr; }
  // The line without its end, which begins as `initial` where it can be edited. `interrupt`: Ctrl-C on an empty line (which only clears a line that has text),
  // or SIGINT.
  ReadLine read(std::string_view prompt, std::string& line, std::string_view initial = {});
  // Whether Ctrl-C, Ctrl-\ and Ctrl-Z are signals (and Ctrl-S, Ctrl-Q stop and continue the output), or keys,
  // as read() wants them and the editor begins.
  void let_keys_signal(bool on);

 private:
  class Terminal;

  ReadLine read_edited(std::string_view prompt, std::string& line, std::string_view initial);
  ReadLine read_plain(std::string& line);

  std::unique_ptr<Terminal> terminal_;  // none: a pipe or a file
  bool colours_;
  LineBuffer buffer_;
  std::string pending_;  // bytes read and not used
};

}  // namespace forge::rt
