#include "core/error.h"

#include <gtest/gtest.h>

namespace forge {
namespace {

TEST(Error, CarriesMessageAndExitStatus) {
  try {
    fail("{}: {} tensors", "a.gguf", 3);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a.gguf: 3 tensors");
    EXPECT_EQ(error.status, 1);
  }
  try {
    fail_usage("no such option {}", "--x");
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "no such option --x");
    EXPECT_EQ(error.status, 2);
  }
}

TEST(Error, IsThrown) {
  EXPECT_THROW(fail("x"), Error);
  EXPECT_THROW(fail_usage("x"), Error);
}

}  // namespace
}  // namespace forge
