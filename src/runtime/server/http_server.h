// HTTP/1.1 over TCP or a Unix socket: Boost.Beast behind an interface without Boost. One thread runs everything; only
// post() may be called from another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/core/result.h"

namespace forge::rt {

class TlsServer;

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // "/v1/models", without the query, as it came
  std::string query;   // what is behind its '?'
  // Of the header; empty where absent. requested_headers: Access-Control-Request-Headers.
  std::string authorization, api_key, host, origin, requested_headers;
  std::string body;  // dropped once the BodyHandler has returned
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // beside those of the connection
};

// One request and its answer: respond(), or begin_stream(), send() …, end_stream(). After the client has gone all of
// these do nothing.
class Exchange {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  virtual ~Exchange() = default;

  virtual void respond(const HttpResponse& response) = 0;
  // The answer comes in pieces, each sent as soon as it is there. `response` has no body.
  virtual void begin_stream(const HttpResponse& response) = 0;
  virtual void send(std::string_view piece) = 0;
  virtual void end_stream() = 0;

  HttpRequest request;
  std::vector<std::pair<std::string, std::string>> response_headers;  // of whatever the answer will be
  std::function<void()> on_gone;  // called once if the client goes away before the answer is whole
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;      // 0: any that is free
  std::string unix_path;     // instead of host and port
  TlsServer* tls = nullptr;  // outlives the server; null: clients speak plain HTTP
  uint32_t max_connections = 4096;
  uint64_t max_body_bytes = 16u << 20;
  uint64_t max_bodies_bytes = 256u << 20;  // of all connections together; beyond it the answer is 503
  uint32_t max_header_bytes = 16384;
  // Seconds: for the first byte of a request, its header behind that (with TLS's handshake), its body; for the client to take a piece of a
  // stream, or all that is left once the answer is whole.
  uint32_t idle_s = 300, header_s = 15, body_s = 60, write_s = 30;
  // The answer to what is no HTTP, or too much of it; the path is empty where it is not known.
  std::function<HttpResponse(int status, std::string_view message, std::string_view path)> error_response;
};

class HttpServer {
 public:
  // Called with a request whose body has come.
  using BodyHandler = std::function<void(const std::shared_ptr<Exchange>&)>;
  // Called once the header of a request has come: it says who goes on with the request, or it has responded and gives
  // null; then the body is not read.
  using Handler = std::function<BodyHandler(Exchange&)>;
  // Binds and listens. Error where the address can't be had.
  static Result<std::unique_ptr<HttpServer>> open(const HttpOptions& options, Handler handler);
  virtual ~HttpServer() = default;

  // "http://127.0.0.1:8080", "https://…" or "unix:PATH".
  virtual std::string address() const = 0;
  virtual uint32_t n_connections() const = 0;
  // Calls fn on SIGINT and SIGTERM from within run().
  virtual void on_signal(std::function<void()> fn) = 0;
  // Serves until work_ended() was called and the last connection has ended.
  virtual void run() = 0;
  // Idle connections are closed, and others once their answer is whole; new ones have one request each.
  virtual void drain() = 0;
  // Nobody will post() any more: no new connections, and those where no answer is under way are closed.
  virtual void work_ended() = 0;
  // In a second all connections are closed, whatever they are doing.
  virtual void break_off() = 0;
  // Has fn called within run(), in the order of posting. Any thread.
  virtual void post(std::function<void()> fn) = 0;
};

}  // namespace forge::rt
