#include "runtime/host/chat_input.h"

#include <gtest/gtest.h>

#include <vector>

namespace forge::rt {
namespace {

// Messages as text, commands with "COMMAND " in front; what the end finds incomplete, too.
std::vector<std::string> messages_of(const std::vector<std::string>& lines) {
  ChatInput input;
  std::vector<std::string> out;
  const auto take = [&](const std::optional<ChatMessageInput>& message) {
    if (message) out.push_back((message->is_command ? "COMMAND " : "") + message->text);
  };
  for (const std::string& line : lines) take(input.add(line));
  take(input.finish());
  EXPECT_FALSE(input.is_open());
  return out;
}

TEST(ChatInput, LinesToMessages) {
  struct Case {
    const char* name;
    std::vector<std::string> lines, messages;
  };
  const Case cases[] = {
      {"a line is a message", {"one", "", "two \"\"\""}, {"one", "", "two \"\"\""}},
      {"a backslash goes on", {"one\\", "two\\", "", "three"}, {"one\ntwo\n", "three"}},
      {"until the end", {"one\\"}, {"one"}},
      {"a block", {"\"\"\"", "one\\", "", "/two", "\"\"\"", "three"}, {"one\\\n\n/two", "three"}},
      {"beginning and ending beside text", {"\"\"\"one", "two\"\"\"  "}, {"one\ntwo"}},
      {"on one line", {"\"\"\"/one\"\"\""}, {"/one"}},
      {"an empty one", {"\"\"\"\"\"\"", "x"}, {"", "x"}},
      {"quotes inside of a line", {"\"\"\"a\"\"\"b", "\"\"\""}, {"a\"\"\"b"}},
      {"a block that never ends", {"\"\"\"one", "two"}, {"one\ntwo"}},
      {"a block that was pasted", {"\"\"\"\none\n  two\n\"\"\""}, {"one\n  two"}},
      {"a pasted text", {"one\ntwo"}, {"one\ntwo"}},
      {"a command", {"/set temp 1"}, {"COMMAND set temp 1"}},
      {"of two lines", {"/system one\\", "two"}, {"COMMAND system one\ntwo"}},
      {"a slash alone", {"/"}, {"COMMAND "}},
      {"two slashes", {"//set temp 1", "///"}, {"/set temp 1", "//"}},
      {"a slash inside", {" /set", "a /b"}, {" /set", "a /b"}},
      {"a slash in a line that goes on", {"one\\", "/two"}, {"one\n/two"}},
      {"nothing", {}, {}},
  };
  for (const Case& c : cases) EXPECT_EQ(messages_of(c.lines), c.messages) << c.name;
}

TEST(ChatInput, DroppedLinesAreForgotten) {
  ChatInput input;
  EXPECT_FALSE(input.add("\"\"\"one"));
  EXPECT_TRUE(input.is_open());
  input.drop();
  EXPECT_FALSE(input.is_open());
  EXPECT_FALSE(input.finish());
  EXPECT_EQ(input.add("two")->text, "two");
}

}  // namespace
}  // namespace forge::rt
