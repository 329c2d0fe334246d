#include "download/http.h"

#include <gtest/gtest.h>

#include "tests/core/expect_error.h"
#include "tests/download/local_server.h"

namespace forge {
namespace {
using test::LocalServer;
using test::ServerAnswer;
using test::ServerRequest;

TEST(Http, BodyStatusAndHeaders) {
  LocalServer server([](const ServerRequest&) {
    return ServerAnswer{.status = 404, .headers = {{"X-Thing", " a b "}}, .body = "text"};
  });
  HttpClient http("", server.url());
  std::string body;
  int told = 0;
  const HttpAnswer answer =
      http.send({.url = server.url("/x"),
                 .on_answer = [&](const HttpAnswer& a) { told = a.status; },
                 .on_body = [&](auto bytes) { body.append(bytes.begin(), bytes.end()); }});
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(told, 404);
  EXPECT_EQ(answer.header("x-thing"), "a b");
  EXPECT_EQ(answer.header("x-other"), "");
  EXPECT_EQ(body, "text");
}

TEST(Http, ATokenStaysWithItsOrigin) {
  LocalServer other([](const ServerRequest&) { return ServerAnswer{.body = "there"}; });
  LocalServer server([&](const ServerRequest& request) {
    if (request.path == "/here") return ServerAnswer{.body = "here"};
    return ServerAnswer{.status = 302,
                        .headers = {{"Location", request.path == "/far" ? other.url() : "/here"},
                                    {"X-Linked-Etag", "\"kept\""},
                                    {"ETag", "\"dropped\""}}};
  });
  HttpClient http("secret", server.url());
  EXPECT_EQ(http.send({.url = server.url("/near")}).status, 200);
  const HttpAnswer far = http.send({.url = server.url("/far")});
  EXPECT_EQ(far.header("x-linked-etag"), "\"kept\"");
  EXPECT_EQ(far.header("etag"), "");
  // Another name of the same machine is another origin.
  http.send({.url = "http://localhost:" + std::to_string(server.port()) + "/here"});
  const auto asked = server.requests();
  ASSERT_EQ(asked.size(), 4u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(asked[i].headers.at("authorization"), "Bearer secret");
  EXPECT_FALSE(asked[3].headers.contains("authorization"));
  ASSERT_EQ(other.requests().size(), 1u);
  EXPECT_FALSE(other.requests()[0].headers.contains("authorization"));
}

TEST(Http, RedirectsEndAndLeadOnlyToHttp) {
  LocalServer server([](const ServerRequest& request) {
    return ServerAnswer{.status = 302,
                        .headers = {{"Location", request.path == "/file" ? "file:///etc/passwd" : "/again"}}};
  });
  HttpClient http("", server.url());
  expect_error([&] { http.send({.url = server.url("/again")}); }, {"redirects"});
  EXPECT_EQ(server.requests().size(), 11u);
  expect_error([&] { http.send({.url = server.url("/file")}); }, {"file"});
  expect_error([&] { http.send({.url = "ftp://127.0.0.1/x"}); }, {"http"});
  expect_error([&] { http.send({.url = "http://"}); }, {"not a URL"});
}

TEST(Http, WhatTheConnectionDoesIsATransportError) {
  LocalServer server([](const ServerRequest&) { return ServerAnswer{.body = "0123456789", .cut_after = 4}; });
  HttpClient http("", server.url());
  std::string body;
  EXPECT_THROW(http.send({.url = server.url(), .on_body = [&](auto b) { body.append(b.begin(), b.end()); }}),
               TransportError);
  EXPECT_EQ(body, "0123");
  EXPECT_THROW(http.send({.url = "http://127.0.0.1:1/"}), TransportError);
}

TEST(Http, WhatACallbackThrowsEndsTheTransfer) {
  LocalServer server([](const ServerRequest&) { return ServerAnswer{.body = "text"}; });
  HttpClient http("", server.url());
  expect_error([&] { http.send({.url = server.url(), .on_body = [](auto) { fail("enough"); }}); },
               {"enough"});
}

TEST(Url, PartsAndEncoding) {
  EXPECT_EQ(url_origin("HTTPS://Example.com/a"), "https://example.com:443");
  EXPECT_EQ(url_origin("http://u:p@h:8080?q"), "http://h:8080");
  EXPECT_EQ(url_path("http://h/a%20b/c.gguf?x#y"), "/a%20b/c.gguf");
  EXPECT_EQ(encode_path("a b/ü?#%.gguf"), "a%20b/%C3%BC%3F%23%25.gguf");
  EXPECT_EQ(decode_path(encode_path("a b/ü?#%.gguf")), "a b/ü?#%.gguf");
  EXPECT_EQ(decode_path("100%"), "100%");
}

}  // namespace
}  // namespace forge
