#include "runtime/host/line_editor.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "runtime/core/result.h"
#include "runtime/core/unicode.h"
#include "runtime/host/files.h"

namespace forge::rt {
namespace {

constexpr uint8_t control_key(char letter) { return static_cast<uint8_t>(letter - '@'); }
constexpr uint8_t kEscape = 27;
constexpr uint8_t kDelete = 127;

// How a character is shown: a line end or a control character as one visible column.
std::string shown(std::string_view text, size_t at, uint32_t value, uint32_t bytes) {
  if (value == '\n') return "\u21b5";
  if (value < 0x20 || value == 0x7f) return "?";
  return std::string(text.substr(at, bytes));
}

uint32_t shown_width(uint32_t value) { return value < 0x20 || value == 0x7f ? 1 : column_width(value); }

uint32_t text_width(std::string_view text) {
  uint32_t width = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text, at);
    width += shown_width(c.value);
    at += c.bytes;
  }
  return width;
}

void write_terminal(std::string_view text) { write_all(STDOUT_FILENO, as_bytes(text)); }

// While it lives the terminal tells what is pasted from what is typed.
struct BracketedPaste {
  BracketedPaste() { write_terminal("\x1b[?2004h"); }
  ~BracketedPaste() { write_terminal("\x1b[?2004l"); }
  BracketedPaste(const BracketedPaste&) = delete;
  BracketedPaste& operator=(const BracketedPaste&) = delete;
};

// What the terminal echoes while it lives is bold.
struct TypedStyle {
  explicit TypedStyle(bool on) : on_(on) {
    if (on_) write_terminal("\x1b[1m");
  }
  ~TypedStyle() {
    if (on_) write_terminal("\x1b[0m");
  }
  TypedStyle(const TypedStyle&) = delete;
  TypedStyle& operator=(const TypedStyle&) = delete;

 private:
  bool on_;
};

uint32_t terminal_columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 8 ? size.ws_col : 80;
}

// What ends the program must not leave the terminal as the editor had it.
constexpr std::array<int, 3> kEndingSignals = {SIGTERM, SIGHUP, SIGQUIT};
termios original_terminal{};

// Async-signal-safe. SA_RESETHAND has put the default action back: it ends the program once this returns.
void restore_and_end(int signal) {
  constexpr std::string_view kAsBefore = "\x1b[0m\x1b[?2004l";
  [[maybe_unused]] const ssize_t n = ::write(STDOUT_FILENO, kAsBefore.data(), kAsBefore.size());
  tcsetattr(STDIN_FILENO, TCSANOW, &original_terminal);
  raise(signal);
}

}  // namespace

uint32_t column_width(uint32_t c) {
  if (c < 0x300) return 1;
  if ((char_class(c) & (bit(Category::Mn) | bit(Category::Me) | bit(Category::Cf))) != 0) return 0;
  struct Range {
    uint32_t first, last;
  };
  constexpr Range kWide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0x4dbf},   {0x4e00, 0xa4cf},
                             {0xa960, 0xa97c},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
                             {0xff01, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18cff}, {0x1b000, 0x1b2ff},
                             {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
  for (const Range& r : kWide) {
    if (c >= r.first && c <= r.last) return 2;
  }
  return 1;
}

void LineBuffer::clear() {
  text_.clear();
  partial_.clear();
  unfinished_.clear();
  cursor_ = 0;
  mode_ = Mode::text;
  pasting_ = false;
  recalled_ = history_.size();
}

void LineBuffer::fill(std::string_view line) {
  clear();
  insert(line);
}

void LineBuffer::remember(std::string_view line) {
  if (!line.empty() && (history_.empty() || history_.back() != line)) history_.emplace_back(line);
  recalled_ = history_.size();
}

size_t LineBuffer::before(size_t at) const {
  // Back over combining characters to one that takes a column.
  while (at > 0) {
    do {
      --at;
    } while (at > 0 && (static_cast<uint8_t>(text_[at]) & 0xc0) == 0x80);
    if (shown_width(decode_utf8(text_, at).value) != 0) break;
  }
  return at;
}

size_t LineBuffer::after(size_t at) const {
  if (at < text_.size()) at += decode_utf8(text_, at).bytes;
  while (at < text_.size() && shown_width(decode_utf8(text_, at).value) == 0)
    at += decode_utf8(text_, at).bytes;
  return at;
}

size_t LineBuffer::word_start() const {
  size_t at = cursor_;
  while (at > 0 && text_[at - 1] == ' ') --at;
  while (at > 0 && text_[at - 1] != ' ') --at;
  return at;
}

LineBuffer::Event LineBuffer::insert(std::string_view bytes) {
  if (text_.size() + bytes.size() > kMaxBytes) return Event::none;
  text_.insert(cursor_, bytes);
  cursor_ += bytes.size();
  return Event::changed;
}

LineBuffer::Event LineBuffer::erase(size_t from, size_t to) {
  text_.erase(from, to - from);
  cursor_ = from;
  return Event::changed;
}

LineBuffer::Event LineBuffer::recall(size_t index) {
  if (index > history_.size()) return Event::none;
  if (recalled_ == history_.size()) unfinished_ = text_;
  recalled_ = index;
  text_ = index == history_.size() ? unfinished_ : history_[index];
  cursor_ = text_.size();
  return Event::changed;
}

LineBuffer::Event LineBuffer::feed(uint8_t byte) {
  switch (mode_) {
    case Mode::escape:
      if (byte == '\r' || byte == '\n') {  // Alt+Enter
        mode_ = Mode::text;
        return insert("\n");
      }
      mode_ = byte == '[' ? Mode::sequence : byte == 'O' ? Mode::single_shift : Mode::text;
      parameters_.clear();
      return Event::none;
    case Mode::single_shift: mode_ = Mode::text; return escape_done(byte);
    case Mode::sequence:
      if (byte >= 0x40 && byte <= 0x7e) {
        mode_ = Mode::text;
        return escape_done(byte);
      }
      if (parameters_.size() < 16) parameters_ += static_cast<char>(byte);
      return Event::none;
    case Mode::text: break;
  }
  if (byte == kEscape) {
    mode_ = Mode::escape;
    return Event::none;
  }
  if (byte < 0x20 || byte == kDelete) {
    partial_.clear();
    if (!pasting_) return key(byte);
    if (byte == '\r' || byte == '\n') return insert("\n");
    return byte == '\t' ? insert(" ") : Event::none;
  }
  partial_ += static_cast<char>(byte);
  const auto lead = static_cast<uint8_t>(partial_[0]);
  const size_t wanted = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (partial_.size() < wanted) return Event::none;
  const std::string character = std::exchange(partial_, {});
  if (lead >= 0x80 && decode_utf8(character, 0).bytes != character.size()) return Event::none;
  return lead >= 0x80 && wanted == 1 ? Event::none : insert(character);
}

LineBuffer::Event LineBuffer::key(uint8_t control) {
  switch (control) {
    case control_key('A'): cursor_ = 0; return Event::changed;
    case control_key('B'): cursor_ = before(cursor_); return Event::changed;
    case control_key('C'): return Event::interrupt;
    case control_key('D'):
      if (text_.empty()) return Event::end_of_input;
      return erase(cursor_, after(cursor_));
    case control_key('E'): cursor_ = text_.size(); return Event::changed;
    case control_key('F'): cursor_ = after(cursor_); return Event::changed;
    case control_key('H'):
    case kDelete: return erase(before(cursor_), cursor_);
    case control_key('J'): return insert("\n");
    case control_key('M'): return Event::line;
    case control_key('K'): text_.resize(cursor_); return Event::changed;
    case control_key('L'): return Event::clear_screen;
    case control_key('N'): return recall(recalled_ + 1);
    case control_key('P'): return recalled_ == 0 ? Event::none : recall(recalled_ - 1);
    case control_key('U'): return erase(0, cursor_);
    case control_key('W'): return erase(word_start(), cursor_);
    default: return Event::none;
  }
}

LineBuffer::Event LineBuffer::escape_done(uint8_t final_byte) {
  switch (final_byte) {
    case 'A': return key(control_key('P'));
    case 'B': return key(control_key('N'));
    case 'C': return key(control_key('F'));
    case 'D': return key(control_key('B'));
    case 'H': return key(control_key('A'));
    case 'F': return key(control_key('E'));
    case '~': break;
    default: return Event::none;
  }
  if (parameters_ == "1" || parameters_ == "7") return key(control_key('A'));
  if (parameters_ == "4" || parameters_ == "8") return key(control_key('E'));
  if (parameters_ == "3") return erase(cursor_, after(cursor_));
  if (parameters_ == "200" || parameters_ == "201") pasting_ = parameters_ == "200";
  return Event::none;
}

std::string LineBuffer::render(std::string_view prompt, uint32_t columns) const {
  const uint32_t prompt_width = text_width(prompt);
  // One column stays free, so that the terminal does not wrap.
  const uint32_t room = columns > prompt_width + 2 ? columns - prompt_width - 1 : 1;
  // The window begins at a character such that the cursor is inside of it.
  size_t first = 0;
  uint32_t cursor_column = text_width(std::string_view(text_).substr(0, cursor_));
  while (cursor_column > room) {
    const CodePoint c = decode_utf8(text_, first);
    cursor_column -= shown_width(c.value);
    first += c.bytes;
  }
  std::string out = "\r";
  out += prompt;
  uint32_t used = 0;
  for (size_t at = first; at < text_.size();) {
    const CodePoint c = decode_utf8(text_, at);
    used += shown_width(c.value);
    if (used > room) break;
    out += shown(text_, at, c.value, c.bytes);
    at += c.bytes;
  }
  out += "\x1b[K\r";
  if (prompt_width + cursor_column != 0) out += text("\x1b[", prompt_width + cursor_column, "C");
  return out;
}

// One mode for as long as the editor lives, but for ISIG: a change of ICANON would spoil what was typed meanwhile
// (the kernel turns Ctrl-D into a NUL).
class LineEditor::Terminal {
 public:
  Terminal() {
    tcgetattr(STDIN_FILENO, &original_terminal);
    struct sigaction action{};
    action.sa_handler = restore_and_end;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (size_t i = 0; i < kEndingSignals.size(); ++i) {
      sigaction(kEndingSignals[i], nullptr, &previous_[i]);
      if (previous_[i].sa_handler != SIG_IGN) sigaction(kEndingSignals[i], &action, nullptr);
    }
    set(/*keys_signal=*/false);
  }
  ~Terminal() {
    tcsetattr(STDIN_FILENO, TCSADRAIN, &original_terminal);
    for (size_t i = 0; i < kEndingSignals.size(); ++i) sigaction(kEndingSignals[i], &previous_[i], nullptr);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void set(bool keys_signal) {
    termios mode = original_terminal;
    mode.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP);
    mode.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN);
    if (!keys_signal) {
      mode.c_iflag &= ~static_cast<tcflag_t>(IXON);
      mode.c_lflag &= ~static_cast<tcflag_t>(ISIG);
    }
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
  }

 private:
  std::array<struct sigaction, kEndingSignals.size()> previous_{};
};

LineEditor::LineEditor(bool colours) : colours_(colours) {
  if (isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0) terminal_ = std::make_unique<Terminal>();
}
LineEditor::~LineEditor() = default;

void LineEditor::let_keys_signal(bool on) {
  if (terminal_ != nullptr) terminal_->set(on);
}

ReadLine LineEditor::read(std::string_view prompt, std::string& line, std::string_view initial) {
  return interactive() ? read_edited(prompt, line, initial) : read_plain(line);
}

ReadLine LineEditor::read_plain(std::string& line) {
  for (size_t searched = 0;;) {
    const size_t end = pending_.find('\n', searched);
    if (end != std::string::npos) {
      line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return ReadLine::line;
    }
    char bytes[4096];
    const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) return ReadLine::interrupt;
    if (n <= 0) {
      line = std::exchange(pending_, {});
      return line.empty() ? ReadLine::end_of_input : ReadLine::line;
    }
    searched = pending_.size();
    pending_.append(bytes, static_cast<size_t>(n));
  }
}

ReadLine LineEditor::read_edited(std::string_view prompt, std::string& line, std::string_view initial) {
  const BracketedPaste paste;
  const TypedStyle style(colours_);
  buffer_.fill(initial);
  write_terminal(buffer_.render(prompt, terminal_columns()));
  for (;;) {
    if (pending_.empty()) {
      char bytes[4096];
      const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return ReadLine::end_of_input;
      pending_.assign(bytes, static_cast<size_t>(n));
    }
    size_t used = 0;
    LineBuffer::Event event = LineBuffer::Event::none;
    bool changed = false;
    while (used < pending_.size() &&
           (event == LineBuffer::Event::none || event == LineBuffer::Event::changed)) {
      event = buffer_.feed(static_cast<uint8_t>(pending_[used++]));
      changed |= event == LineBuffer::Event::changed;
    }
    pending_.erase(0, used);
    switch (event) {
      case LineBuffer::Event::line:
        line = buffer_.line();
        buffer_.remember(line);
        write_terminal(buffer_.render(prompt, terminal_columns()) + "\r\n");
        return ReadLine::line;
      case LineBuffer::Event::end_of_input: write_terminal("\r\n"); return ReadLine::end_of_input;
      case LineBuffer::Event::interrupt:
        write_terminal("^C\r\n");
        if (buffer_.line().empty()) return ReadLine::interrupt;
        buffer_.clear();
        changed = true;
        break;
      case LineBuffer::Event::clear_screen:
        write_terminal("\x1b[H\x1b[2J");
        changed = true;
        break;
      case LineBuffer::Event::none:
      case LineBuffer::Event::changed: break;
    }
    if (changed) write_terminal(buffer_.render(prompt, terminal_columns()));
  }
}

}  // namespace forge::rt
