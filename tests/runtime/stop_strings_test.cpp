#include "runtime/core/stop_strings.h"

#include <gtest/gtest.h>

namespace forge::rt {
namespace {

// Everything the matcher lets through when `text` comes in pieces of n bytes.
std::string through(const std::vector<std::string>& stops, std::string_view text, size_t n, bool& matched) {
  StopMatcher m(stops);
  std::string out;
  for (size_t i = 0; i < text.size(); i += n) out += m.push(text.substr(i, n));
  out += m.finish();
  matched = m.matched();
  return out;
}

TEST(StopMatcher, AcrossPieces) {
  const std::vector<std::string> stops = {"The end", "###", ""};
  for (size_t n = 1; n < 12; ++n) {
    bool matched = false;
    EXPECT_EQ(through(stops, "A story. The The end of it", n, matched), "A story. The ") << n;
    EXPECT_TRUE(matched);
    EXPECT_EQ(through(stops, "A story. The enx ## The en", n, matched), "A story. The enx ## The en") << n;
    EXPECT_FALSE(matched);
    EXPECT_EQ(through(stops, "x####", n, matched), "x") << n;
  }
}

TEST(StopMatcher, HoldsBackOnlyWhatMayMatch) {
  StopMatcher m({"abab", "bc"});
  EXPECT_EQ(m.push("xab"), "x");
  EXPECT_EQ(m.push("a"), "");
  EXPECT_EQ(m.push("d"), "abad");
  EXPECT_EQ(m.push("abac"), "abac");
  EXPECT_EQ(m.push("ab"), "");
  EXPECT_EQ(m.push("c"), "a");
  EXPECT_TRUE(m.matched());
  EXPECT_EQ(m.push("more"), "");
  EXPECT_EQ(m.finish(), "");
}

TEST(StopMatcher, EarliestOfSeveral) {
  StopMatcher m({"later", "soon"});
  EXPECT_EQ(m.push("it is soon or later"), "it is ");
}

}  // namespace
}  // namespace forge::rt
