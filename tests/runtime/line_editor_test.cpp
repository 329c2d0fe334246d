#include "runtime/host/line_editor.h"

#include <gtest/gtest.h>

namespace forge::rt {
namespace {

using Event = LineBuffer::Event;

Event type(LineBuffer& buffer, std::string_view bytes) {
  Event event = Event::none;
  for (const char c : bytes) event = buffer.feed(static_cast<uint8_t>(c));
  return event;
}

std::string line_after(std::string_view bytes) {
  LineBuffer buffer;
  type(buffer, bytes);
  return buffer.line();
}

TEST(LineBuffer, Keys) {
  EXPECT_EQ(line_after("hello"), "hello");
  EXPECT_EQ(line_after("hello\x01x"), "xhello");                  // Ctrl-A
  EXPECT_EQ(line_after("hello\x01\x05x"), "hellox");              // Ctrl-E
  EXPECT_EQ(line_after("hello\x1b[D\x1b[Dx"), "helxlo");          // left
  EXPECT_EQ(line_after("hello\x1b[H\x1b[Cx\x1b[Fy"), "hxelloy");  // home, right, end
  EXPECT_EQ(line_after("hello\x1b[1~x\x1b[4~y"), "xhelloy");
  EXPECT_EQ(line_after("hello\x1bOHx"), "xhello");
  EXPECT_EQ(line_after("hello\x7f\x08"), "hel");
  EXPECT_EQ(line_after("hello\x1b[D\x1b[3~"), "hell");
  EXPECT_EQ(line_after("hello\x01\x04"), "ello");                // Ctrl-D in a line deletes
  EXPECT_EQ(line_after("hello\x1b[D\x1b[D\x0b"), "hel");         // Ctrl-K
  EXPECT_EQ(line_after("hello\x1b[D\x1b[D\x15"), "lo");          // Ctrl-U
  EXPECT_EQ(line_after("one two  three  \x17x"), "one two  x");  // Ctrl-W
  EXPECT_EQ(line_after("a\x1b[1;5Cb\x1b[99;99;99;99;99;99;99;99zc"), "abc");
  EXPECT_EQ(line_after("\x1b[D\x7f\x17\x15\x0b\x1b[3~"), "");
}

TEST(LineBuffer, Events) {
  LineBuffer b;
  EXPECT_EQ(type(b, "\x04"), Event::end_of_input);
  EXPECT_EQ(type(b, "a\x03"), Event::interrupt);
  EXPECT_EQ(type(b, "\x0c"), Event::clear_screen);
  EXPECT_EQ(type(b, "\r"), Event::line);
  EXPECT_EQ(b.line(), "a");
  b.clear();
  EXPECT_EQ(b.line(), "");
}

TEST(LineBuffer, CharactersStayWhole) {
  // U+00E9, U+4E2D, U+1F600, then e with a combining acute.
  const std::string text = "\u00e9\u4e2d\U0001f600e\u0301";
  EXPECT_EQ(line_after(text), text);
  EXPECT_EQ(line_after(text + "\x7f"), "\u00e9\u4e2d\U0001f600");
  EXPECT_EQ(line_after(text + "\x7f\x7f"), "\u00e9\u4e2d");
  EXPECT_EQ(line_after(text + "\x1b[D\x1b[Dx"), "\u00e9\u4e2dx\U0001f600e\u0301");
  EXPECT_EQ(line_after(text + "\x01\x1b[3~"), "\u4e2d\U0001f600e\u0301");
  // What is not UTF-8 is not taken.
  EXPECT_EQ(line_after("a\xff\x80\xc3"
                       "b\xf5\x80\x80\x80"
                       "c"),
            "ac");
}

TEST(LineBuffer, History) {
  LineBuffer b;
  for (const char* line : {"first", "second", "second"}) {
    b.clear();
    type(b, line);
    b.remember(b.line());
  }
  b.clear();
  type(b, "new");
  EXPECT_EQ(type(b, "\x1b[A"), Event::changed);
  EXPECT_EQ(b.line(), "second");
  type(b, "\x1b[A");
  EXPECT_EQ(b.line(), "first");
  EXPECT_EQ(type(b, "\x1b[A"), Event::none);
  type(b, "!\x1b[B");
  EXPECT_EQ(b.line(), "second");
  type(b, "\x1b[B");
  EXPECT_EQ(b.line(), "new");
  EXPECT_EQ(type(b, "\x1b[B"), Event::none);
  type(b, "\x10\x10\x0e");  // Ctrl-P, Ctrl-P, Ctrl-N
  EXPECT_EQ(b.line(), "second");
}

TEST(LineBuffer, PasteKeepsItsLineEnds) {
  LineBuffer b;
  EXPECT_EQ(type(b, "a \x1b[200~one\rtwo\t\x03three\x1b[201~"), Event::none);
  EXPECT_EQ(b.line(), "a one\ntwo three");
  EXPECT_EQ(type(b, "\r"), Event::line);
}

TEST(LineBuffer, KeysForLineEnds) {
  LineBuffer b;
  EXPECT_EQ(type(b, "one\x1b\r"), Event::changed);  // Alt+Enter
  EXPECT_EQ(type(b, "two\x0a"), Event::changed);    // Ctrl+J
  EXPECT_EQ(type(b, "three\x1b\n"), Event::changed);
  EXPECT_EQ(b.line(), "one\ntwo\nthree\n");
  EXPECT_EQ(type(b, "four\r"), Event::line);
  EXPECT_EQ(b.line(), "one\ntwo\nthree\nfour");
}

TEST(LineBuffer, BeginsWithWhatItIsGiven) {
  LineBuffer b;
  type(b, "old");
  b.fill("a\nb");
  EXPECT_EQ(b.line(), "a\nb");
  type(b, "c\x01x");
  EXPECT_EQ(b.line(), "xa\nbc");
}

TEST(LineBuffer, RendersTheCursorsNeighbourhood) {
  LineBuffer b;
  type(b, "hello");
  EXPECT_EQ(b.render("> ", 80), "\r> hello\x1b[K\r\x1b[7C");
  type(b, "\x01");
  EXPECT_EQ(b.render("> ", 80), "\r> hello\x1b[K\r\x1b[2C");
  // 10 columns: 2 for the prompt and one free leave 7.
  b.clear();
  type(b, "0123456789");
  EXPECT_EQ(b.render("> ", 10), "\r> 3456789\x1b[K\r\x1b[9C");
  type(b, "\x01");
  EXPECT_EQ(b.render("> ", 10), "\r> 0123456\x1b[K\r\x1b[2C");
  b.clear();
  type(b, "\u4e2d\u6587\u4e2d\u6587");  // 8 columns
  EXPECT_EQ(b.render("> ", 10), "\r> \u6587\u4e2d\u6587\x1b[K\r\x1b[8C");
  b.clear();
  type(b, "\x1b[200~a\nb\x1b[201~");
  EXPECT_EQ(b.render("", 80),
            "\ra\u21b5"
            "b\x1b[K\r\x1b[3C");
}

TEST(ColumnWidth, SomeCharacters) {
  EXPECT_EQ(column_width('a'), 1U);
  EXPECT_EQ(column_width(0xe9), 1U);
  EXPECT_EQ(column_width(0x301), 0U);
  EXPECT_EQ(column_width(0x200d), 0U);
  EXPECT_EQ(column_width(0x4e2d), 2U);
  EXPECT_EQ(column_width(0xac00), 2U);
  EXPECT_EQ(column_width(0x1f600), 2U);
  EXPECT_EQ(column_width(0x20ac), 1U);
}

}  // namespace
}  // namespace forge::rt
