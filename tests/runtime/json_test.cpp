#include "runtime/host/json.h"

#include <gtest/gtest.h>

#include <limits>

namespace forge::rt {
namespace {

TEST(Json, Strings) {
  EXPECT_EQ(json_string("a\"b\\c\n\t\x01"), "\"a\\\"b\\\\c\\n\\u0009\\u0001\"");
  EXPECT_EQ(json_string("h\xc3\xa9 \xff"), "\"h\xc3\xa9 \xef\xbf\xbd\"");
}

TEST(Json, Object) {
  JsonObject o;
  EXPECT_EQ(o.finish(), "{\n}\n");
  o.add("a", int64_t{-5});
  o.add("b", 0.1);
  o.add("b", 0.8F);
  o.add("c", std::numeric_limits<double>::infinity());
  o.add("d", std::vector<double>{1, 2.5});
  o.add("e", std::string_view("x"));
  o.add_null("f");
  EXPECT_EQ(o.finish(),
            "{\n  \"a\": -5,\n  \"b\": 0.1,\n  \"b\": 0.8,\n  \"c\": null,\n  \"d\": [1, 2.5],\n  \"e\": "
            "\"x\",\n  \"f\": "
            "null\n}\n");
}

}  // namespace
}  // namespace forge::rt
