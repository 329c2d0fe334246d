// The HTTP server by itself, in this process: what it does with time, memory and clients that leave.
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "tests/runtime/http_server_rig.h"

namespace forge::rt {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string post_head(size_t length, std::string_view more = {}) {
  return "POST /x HTTP/1.1\r\nContent-Length: " + std::to_string(length) + "\r\n" + std::string(more) +
         "\r\n";
}

TEST_F(HttpServerTest, SlowClientsAreToldThatTheyAre) {
  options_.header_s = options_.body_s = 1;
  start();
  HttpClient header(port_);
  HttpClient body(port_);
  header.send("GET /x HTT");
  body.send(post_head(10) + "abc");
  const HttpAnswer late_body = body.answer();
  EXPECT_EQ(late_body.status, 408);
  EXPECT_EQ(late_body.body, "/x: the body took too long");
  EXPECT_EQ(late_body.headers.at("connection"), "close");
  EXPECT_EQ(header.answer().status, 408);
  EXPECT_EQ(ask("POST", "/x", "abc").body, "3");
}

TEST_F(HttpServerTest, WhatIsRefusedByItsHeaderIsNotRead) {
  start();
  HttpClient client(port_);
  client.send("POST /refused HTTP/1.1\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
  const HttpAnswer answer = client.answer();
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.headers.at("connection"), "close");
  EXPECT_EQ(client.read_until("x"), "");
  // With nothing left to read the connection goes on.
  HttpClient other(port_);
  for (int i = 0; i < 2; ++i) {
    other.send(http_request("POST", "/refused", "abc"));
    EXPECT_EQ(other.answer().status, 401);
  }
  other.send(http_request("POST", "/x", "abc"));
  EXPECT_EQ(other.answer().body, "3");
}

TEST_F(HttpServerTest, BodiesTogetherAreBounded) {
  options_.max_bodies_bytes = 400000;
  start();
  const std::string large(150000, 'x');
  HttpClient first(port_);
  first.send(post_head(large.size() + 1) + large);
  // The bound counts what is held, and not what a header says.
  std::this_thread::sleep_for(milliseconds(200));
  HttpAnswer second;
  for (int i = 0; i < 500 && second.status != 503; ++i) second = ask("POST", "/x", large);
  EXPECT_EQ(second.status, 503);
  EXPECT_EQ(ask("POST", "/x").status, 200);
  HttpClient chunked(port_);
  chunked.send("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n30000\r\n" + std::string(0x30000, 'y'));
  EXPECT_EQ(chunked.answer().status, 503);
  first.send("x");
  EXPECT_EQ(first.answer().body, "150001");
  EXPECT_EQ(ask("POST", "/x", large).body, "150000");
}

TEST_F(HttpServerTest, BodiesAreDroppedOnceTheyWereTaken) {
  std::shared_ptr<Exchange> kept;
  handler_ = [&](Exchange&) {
    return [&](const std::shared_ptr<Exchange>& exchange) {
      kept = exchange;
      exchange->begin_stream({});
      exchange->send(std::to_string(exchange->request.body.size()));
    };
  };
  start();
  HttpClient client(port_);
  client.send(http_request("POST", "/x", std::string(100000, 'x')));
  EXPECT_TRUE(client.read_until("100000").ends_with("100000"));
  on_server([&] {
    EXPECT_EQ(kept->request.body.capacity(), std::string().capacity());
    std::exchange(kept, nullptr)->end_stream();
  });
}

TEST_F(HttpServerTest, ClientsThatLeaveAreNoticedBehindWhatTheySent) {
  Kept kept;
  keep_exchange(kept);
  start();
  {
    HttpClient client(port_);
    client.send(http_request("GET", "/x", {}) + "\r\nGET");
  }
  expect_gone(kept);
}

TEST_F(HttpServerTest, RequestsInARowAreAnsweredInTheirOrder) {
  start();
  HttpClient client(port_);
  std::string requests;
  for (size_t i = 1; i <= 300; ++i) requests += http_request("POST", "/x", std::string(i, 'x'));
  client.send(requests);
  for (size_t i = 1; i <= 300; ++i) ASSERT_EQ(client.answer().body, std::to_string(i));
}

TEST_F(HttpServerTest, OnlyHttp11IsToldToContinue) {
  start();
  HttpClient client(port_);
  client.send(post_head(3, "Expect: 100-continue\r\n"));
  EXPECT_EQ(client.answer().status, 100);
  client.send("abc");
  EXPECT_EQ(client.answer().body, "3");
  HttpClient old(port_);
  old.send("POST /x HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  std::this_thread::sleep_for(milliseconds(50));
  old.send("abc");
  EXPECT_EQ(old.answer().body, "3");
}

// More than what lies in the sockets' buffers.
constexpr size_t kLargeAnswer = 64U << 20;

TEST_F(HttpServerTest, OneDeadlineCountsForAllOfAWholeAnswer) {
  options_.write_s = 1;
  handler_ = [&](Exchange&) {
    return [&](const std::shared_ptr<Exchange>& e) {
      e->begin_stream({});
      for (int i = 0; i < 7; ++i) e->send(std::string(1U << 20, 'x'));
      e->end_stream();
    };
  };
  start();
  HttpClient client(port_, /*receive_bytes=*/65536);
  client.send(http_request("GET", "/x", {}));
  // At this rate every single piece would come in time, and all of them after 7 s.
  size_t n_read = 0;
  for (int i = 0; i < 10; ++i, std::this_thread::sleep_for(milliseconds(200)))
    n_read += client.read_some(200000);
  while (const size_t n = client.read_some(1U << 20)) n_read += n;
  EXPECT_LT(n_read, size_t{7} << 20);
}

TEST_F(HttpServerTest, BreakingOffDoesNotWaitForClients) {
  handler_ = [&](Exchange&) {
    return [&](const std::shared_ptr<Exchange>& e) { e->respond({.body = std::string(kLargeAnswer, 'x')}); };
  };
  start();
  HttpClient client(port_);
  client.send(http_request("GET", "/x", {}));
  client.read_until("xxx");
  const auto begin = steady_clock::now();
  on_server([&] {
    server_->drain();
    server_->work_ended();
    server_->break_off();
  });
  thread_.join();
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(HttpServerTest, AnswersWhileItDrains) {
  std::shared_ptr<Exchange> kept;
  handler_ = [&](Exchange& e) -> HttpServer::BodyHandler {
    if (e.request.path == "/now") return [](const auto& exchange) { exchange->respond({.body = "now"}); };
    return [&](const auto& exchange) {
      exchange->begin_stream({});
      exchange->send("begun");
      kept = exchange;
    };
  };
  start();
  HttpClient client(port_);
  client.send(http_request("GET", "/later", {}));
  EXPECT_TRUE(client.read_until("begun").ends_with("begun"));
  on_server([&] { server_->drain(); });
  const HttpAnswer answer = ask("GET", "/now");
  EXPECT_EQ(answer.body, "now");
  EXPECT_EQ(answer.headers.at("connection"), "close");
  HttpClient silent(port_);
  EXPECT_TRUE(silent.connected());
  on_server([&] {
    server_->work_ended();
    std::exchange(kept, nullptr)->end_stream();
  });
  EXPECT_TRUE(client.read_until("0\r\n\r\n").ends_with("0\r\n\r\n"));
  thread_.join();
  EXPECT_FALSE(HttpClient(port_).connected());
}

}  // namespace
}  // namespace forge::rt
