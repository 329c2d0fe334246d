// The HTTP server by itself, in the test's process, on a thread of its own.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "runtime/server/http_server.h"
#include "tests/runtime/http_client.h"

namespace forge::rt {

class HttpServerTest : public testing::Test {
 protected:
  HttpOptions options_{.port = 0};
  // /refused is refused by its header; else the answer is the size of the body.
  HttpServer::Handler handler_ = [](Exchange& exchange) -> HttpServer::BodyHandler {
    if (exchange.request.path == "/refused") {
      exchange.respond({.status = 401, .body = "no"});
      return nullptr;
    }
    return [](const std::shared_ptr<Exchange>& e) {
      e->respond({.body = std::to_string(e->request.body.size())});
    };
  };
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  uint16_t port_ = 0;

  void start() {
    options_.error_response = [](int status, std::string_view message, std::string_view path) {
      return HttpResponse{.status = status, .body = std::string(path) + ": " + std::string(message)};
    };
    auto opened = HttpServer::open(options_, handler_);
    ASSERT_TRUE(opened) << opened.error().message;
    server_ = std::move(*opened);
    port_ = static_cast<uint16_t>(std::stoi(server_->address().substr(server_->address().rfind(':') + 1)));
    thread_ = std::thread([this] { server_->run(); });
  }
  // Handles the next request by keeping its exchange, after `then`: whether its client goes away is seen then.
  struct Kept {
    std::promise<void> gone;
    std::shared_ptr<Exchange> exchange;
  };
  void keep_exchange(Kept& kept, const std::function<void(Exchange&)>& then = [](Exchange&) {}) {
    handler_ = [&kept, then](Exchange&) {
      return [&kept, then](const std::shared_ptr<Exchange>& exchange) {
        kept.exchange = exchange;
        exchange->on_gone = [&kept] { kept.gone.set_value(); };
        then(*exchange);
      };
    };
  }
  void expect_gone(Kept& kept) {
    EXPECT_EQ(kept.gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
    on_server([&] { kept.exchange = nullptr; });
  }
  void on_server(std::function<void()> fn) {
    std::promise<void> done;
    server_->post([&] {
      fn();
      done.set_value();
    });
    done.get_future().wait();
  }
  void stop() {
    server_->post([this] {
      server_->drain();
      server_->work_ended();
    });
    thread_.join();
  }
  void TearDown() override {
    if (thread_.joinable()) stop();
  }
  HttpAnswer ask(std::string_view method, std::string_view target, std::string_view body = {}) const {
    HttpClient client(port_);
    client.send(http_request(method, target, body));
    return client.answer();
  }
};

}  // namespace forge::rt
