// Errors are one line that says what and where.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/error.h"

namespace forge {

// What f() throws an Error with; "no error" where it does not.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

// Expects f() to throw an Error of one line with that exit status that holds every one of `parts`.
template <class F>
void expect_error(F&& f, std::initializer_list<std::string_view> parts, int status = 1) {
  try {
    f();
    ADD_FAILURE() << "no error, expected one with: " << *parts.begin();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(error.status, status);
    for (const std::string_view part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "expected \"" << part << "\" in: " << message;
    }
  }
}

}  // namespace forge
