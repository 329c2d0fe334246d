#include "runtime/server/http_server.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <optional>
#include <unordered_set>

// What the libraries call in place of a throw: without exceptions there is nothing to go on with.
namespace boost {
BOOST_NORETURN void throw_exception(const std::exception&) { std::abort(); }
BOOST_NORETURN void throw_exception(const std::exception&, const boost::source_location&) { std::abort(); }
}  // namespace boost

namespace forge::rt {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using std::chrono::seconds;

using Executor = asio::io_context::executor_type;
using Protocol = asio::generic::stream_protocol;
using Socket = asio::basic_stream_socket<Protocol, Executor>;
using Stream = beast::basic_stream<Protocol, Executor>;

constexpr size_t kMaxTargetBytes = 4096;
constexpr size_t kMaxBufferBytes = 128u << 10;
// What a client may leave unread of a stream before it is given up.
constexpr size_t kMaxUnsentBytes = 8u << 20;

class Connection;

// What all connections share.
struct Shared {
  std::unordered_set<Connection*> connections;  // outlives `io`, whose handlers own them
  asio::io_context io{1};
  HttpOptions options;
  HttpServer::Handler handler;
  bool draining = false;
};

std::string head_of(const Exchange& exchange, const HttpResponse& response, unsigned version, bool keep_alive,
                    std::string_view framing) {
  std::string out = text(version == 10 ? "HTTP/1.0 " : "HTTP/1.1 ", response.status, " ");
  const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  out.append(reason.data(), reason.size());
  out += text("\r\nContent-Type: ", response.content_type, "\r\n", framing,
              keep_alive ? "" : "Connection: close\r\n", "X-Content-Type-Options: nosniff\r\n");
  for (const auto* headers : {&exchange.response_headers, &response.headers})
    for (const auto& [name, value] : *headers) out += text(name, ": ", value, "\r\n");
  return out + "\r\n";
}

std::string field(const http::request<http::string_body>& message, http::field name) {
  const auto value = message[name];
  return {value.data(), value.size()};
}

class ConnectionExchange;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Shared& shared, Socket socket) : shared_(shared), stream_(std::move(socket)), timer_(shared.io) {
    shared_.connections.insert(this);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { shared_.connections.erase(this); }

  void start() { become_idle(); }
  bool idle() const { return state_ == State::idle; }
  void close();

 private:
  friend class ConnectionExchange;
  enum class State : uint8_t { idle, reading, answering, closing };

  void become_idle();
  void await_readable();
  void readable(const error_code& error);
  void read_header();
  void read_body();
  void refuse(int status, std::string_view message);
  void handle();
  void write(std::string bytes);
  void write_next();
  void answer_ended();
  void linger();
  void gone();

  Shared& shared_;
  Stream stream_;
  asio::steady_timer timer_;  // of an idle connection
  // Bounded: what a client puts between chunks counts for neither the header's limit nor the body's.
  beast::flat_buffer buffer_{kMaxBufferBytes};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::shared_ptr<ConnectionExchange> exchange_;
  std::deque<std::string> unsent_;
  size_t n_unsent_ = 0;
  State state_ = State::idle;
  unsigned version_ = 11;
  bool keep_alive_ = false, head_only_ = false, chunked_ = false;
  bool waits_ = false;            // await_readable() is under way
  bool has_more_ = false;         // there is input behind the request that is being answered
  bool answer_complete_ = false;  // all of it is in unsent_
};

class ConnectionExchange final : public Exchange {
 public:
  explicit ConnectionExchange(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  void respond(const HttpResponse& response) override;
  void begin_stream(const HttpResponse& response) override;
  void send(std::string_view piece) override;
  void end_stream() override;

 private:
  friend class Connection;
  std::shared_ptr<Connection> connection_;  // null once the answer is whole, or the client gone
};

void Connection::close() {
  state_ = State::closing;
  timer_.cancel();
  stream_.close();
}

// Between requests: nothing but a wait for input, so that thousands of idle connections cost little.
void Connection::become_idle() {
  if (shared_.draining) return close();
  state_ = State::idle;
  timer_.expires_after(seconds(shared_.options.idle_s));
  timer_.async_wait([me = shared_from_this()](const error_code& error) {
    if (!error && me->idle()) me->close();
  });
  if (buffer_.size() != 0 || has_more_) return read_header();
  await_readable();
}

void Connection::await_readable() {
  if (waits_) return;
  waits_ = true;
  stream_.socket().async_wait(Socket::wait_read,
                              [me = shared_from_this()](const error_code& error) { me->readable(error); });
}

void Connection::readable(const error_code& error) {
  waits_ = false;
  if (state_ == State::closing) return;
  if (error) return gone();
  if (state_ == State::idle) return read_header();
  if (state_ == State::reading) return;  // of a wait that began before
  // While an answer is under way: is it the end of the connection, or the next request?
  char byte = 0;
  const ssize_t n = ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n > 0) {
    has_more_ = true;
  } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
    gone();
  } else {
    await_readable();
  }
}

void Connection::read_header() {
  state_ = State::reading;
  has_more_ = false;
  timer_.cancel();
  parser_.emplace();
  parser_->header_limit(shared_.options.max_header_bytes);
  parser_->body_limit(shared_.options.max_body_bytes);
  stream_.expires_after(seconds(shared_.options.header_s));
  http::async_read_header(
      stream_, buffer_, *parser_, [me = shared_from_this()](const error_code& error, size_t) {
        if (me->state_ == State::closing) return;
        if (error == http::error::header_limit) return me->refuse(431, "the header is too large");
        if (error == http::error::body_limit) return me->refuse(413, "the body is too large");
        if (error == beast::error::timeout) return me->refuse(408, "the header took too long");
        if (error == http::error::end_of_stream ||
            (error && error.category() != http::make_error_code(http::error::bad_method).category()))
          return me->close();
        if (error) return me->refuse(400, text("not an HTTP request: ", error.message()));
        me->read_body();
      });
}

void Connection::read_body() {
  const auto& message = parser_->get();
  version_ = message.version();
  if (version_ != 10 && version_ != 11) return refuse(505, "expected HTTP/1.1");
  if (message.target().size() > kMaxTargetBytes) return refuse(414, "the URL is too long");
  stream_.expires_after(seconds(shared_.options.body_s));
  if (beast::iequals(message[http::field::expect], "100-continue") && !parser_->is_done()) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue),
                      [me = shared_from_this()](const error_code& error, size_t) {
                        if (error) me->close();
                      });
  }
  http::async_read(stream_, buffer_, *parser_, [me = shared_from_this()](const error_code& error, size_t) {
    if (me->state_ == State::closing) return;
    if (error == http::error::body_limit) return me->refuse(413, "the body is too large");
    if (error == beast::error::timeout) return me->refuse(408, "the body took too long");
    if (error && error.category() != http::make_error_code(http::error::bad_method).category())
      return me->close();
    if (error) return me->refuse(400, text("not an HTTP request: ", error.message()));
    me->handle();
  });
}

// Answers what was not understood, and ends the connection: where the next request would begin is not known.
void Connection::refuse(int status, std::string_view message) {
  state_ = State::answering;
  const auto exchange = std::make_shared<ConnectionExchange>(shared_from_this());
  exchange_ = exchange;
  keep_alive_ = head_only_ = false;
  exchange->respond(shared_.options.error_response(status, message));
}

void Connection::handle() {
  state_ = State::answering;
  stream_.expires_never();
  auto message = parser_->release();
  parser_.reset();
  keep_alive_ = message.keep_alive() && !shared_.draining;
  head_only_ = message.method() == http::verb::head;
  const auto exchange = std::make_shared<ConnectionExchange>(shared_from_this());
  exchange_ = exchange;
  HttpRequest& request = exchange->request;
  const auto method = message.method_string();
  request.method = head_only_ ? "GET" : std::string(method.data(), method.size());
  const std::string_view target(message.target().data(), message.target().size());
  request.path = target.substr(0, target.find('?'));
  request.authorization = field(message, http::field::authorization);
  request.origin = field(message, http::field::origin);
  request.host = field(message, http::field::host);
  const auto key = message["X-Api-Key"];
  request.api_key.assign(key.data(), key.size());
  request.body = std::move(message.body());
  await_readable();
  shared_.handler(exchange);
}

void Connection::write(std::string bytes) {
  if (state_ == State::closing || bytes.empty()) return;
  n_unsent_ += bytes.size();
  unsent_.push_back(std::move(bytes));
  if (unsent_.size() == 1) return write_next();
  if (n_unsent_ > kMaxUnsentBytes && !answer_complete_) gone();
}

void Connection::write_next() {
  stream_.expires_after(seconds(shared_.options.write_s));
  asio::async_write(stream_, asio::buffer(unsent_.front()),
                    [me = shared_from_this()](const error_code& error, size_t) {
                      if (me->state_ == State::closing) return;
                      if (error) return me->gone();
                      me->n_unsent_ -= me->unsent_.front().size();
                      me->unsent_.pop_front();
                      if (!me->unsent_.empty()) return me->write_next();
                      me->stream_.expires_never();
                      if (me->answer_complete_) me->answer_ended();
                    });
}

void Connection::answer_ended() {
  answer_complete_ = false;
  exchange_.reset();
  if (keep_alive_) return become_idle();
  linger();
}

// Closing at once with input unread would take the answer from the client (RFC 9112, 9.6).
void Connection::linger() {
  state_ = State::closing;
  error_code ignored;
  ignored = stream_.socket().shutdown(Socket::shutdown_send, ignored);
  timer_.expires_after(seconds(1));
  timer_.async_wait([me = shared_from_this()](const error_code&) { me->stream_.close(); });
  struct Discard {
    static void next(const std::shared_ptr<Connection>& me) {
      me->buffer_.clear();
      me->stream_.async_read_some(me->buffer_.prepare(4096), [me](const error_code& error, size_t) {
        if (error) {
          me->timer_.cancel();
        } else {
          next(me);
        }
      });
    }
  };
  Discard::next(shared_from_this());
}

void Connection::gone() {
  const auto me = shared_from_this();
  const auto exchange = std::move(exchange_);
  close();
  if (exchange == nullptr) return;
  exchange->connection_ = nullptr;
  if (!answer_complete_ && exchange->on_gone) exchange->on_gone();
  exchange->on_gone = nullptr;
}

void ConnectionExchange::respond(const HttpResponse& response) {
  if (connection_ == nullptr) return;
  const auto c = std::move(connection_);
  std::string bytes = head_of(*this, response, c->version_, c->keep_alive_,
                              text("Content-Length: ", response.body.size(), "\r\n"));
  if (!c->head_only_) bytes += response.body;
  c->answer_complete_ = true;
  c->write(std::move(bytes));
}

void ConnectionExchange::begin_stream(const HttpResponse& response) {
  if (connection_ == nullptr) return;
  Connection& c = *connection_;
  c.chunked_ = c.version_ == 11;
  if (!c.chunked_) c.keep_alive_ = false;
  c.write(head_of(*this, response, c.version_, c.keep_alive_,
                  c.chunked_ ? "Transfer-Encoding: chunked\r\n" : ""));
}

void ConnectionExchange::send(std::string_view piece) {
  if (connection_ == nullptr || piece.empty() || connection_->head_only_) return;
  if (!connection_->chunked_) return connection_->write(std::string(piece));
  char size[24];
  const int n = std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
  std::string bytes(size, static_cast<size_t>(n));
  bytes += piece;
  bytes += "\r\n";
  connection_->write(std::move(bytes));
}

void ConnectionExchange::end_stream() {
  if (connection_ == nullptr) return;
  const auto c = std::move(connection_);
  c->answer_complete_ = true;
  if (c->chunked_ && !c->head_only_) return c->write("0\r\n\r\n");
  if (c->unsent_.empty()) c->answer_ended();
}

class BeastServer final : public HttpServer {
 public:
  BeastServer(const HttpOptions& options, Handler handler) : signals_(shared_.io) {
    shared_.options = options;
    shared_.handler = std::move(handler);
  }
  ~BeastServer() override {
    if (!shared_.options.unix_path.empty()) ::unlink(shared_.options.unix_path.c_str());
  }

  Status listen() {
    // As many descriptors as the process may have: connections need one each.
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
      files.rlim_cur = files.rlim_max;
      ::setrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur > 64 && files.rlim_cur - 64 < shared_.options.max_connections)
      shared_.options.max_connections = static_cast<uint32_t>(files.rlim_cur - 64);
    return shared_.options.unix_path.empty() ? listen_tcp() : listen_unix();
  }

  std::string address() const override { return address_; }
  uint32_t n_connections() const override { return static_cast<uint32_t>(shared_.connections.size()); }
  void on_signal(std::function<void()> fn) override {
    error_code ignored;
    ignored = signals_.add(SIGINT, ignored);
    ignored = signals_.add(SIGTERM, ignored);
    on_signal_ = std::move(fn);
    await_signal();
  }
  void run() override {
    accept();
    shared_.io.run();
  }
  void drain() override {
    shared_.draining = true;
    error_code ignored;
    ignored = acceptor_->close(ignored);
    std::vector<Connection*> idle;
    for (Connection* c : shared_.connections)
      if (c->idle()) idle.push_back(c);
    for (Connection* c : idle) c->close();
  }
  void work_ended() override {
    work_.reset();
    error_code ignored;
    ignored = signals_.cancel(ignored);
  }
  void post(std::function<void()> fn) override { asio::post(shared_.io, std::move(fn)); }

 private:
  // tcp and unix sockets alike from here on.
  using Acceptor = asio::basic_socket_acceptor<Protocol, Executor>;

  Status bound(const std::string& name, const Protocol::endpoint& endpoint) {
    error_code error;
    acceptor_.emplace(shared_.io);
    error = acceptor_->open(endpoint.protocol(), error);
    if (!error && shared_.options.unix_path.empty())
      error = acceptor_->set_option(asio::socket_base::reuse_address(true), error);
    if (!error) error = acceptor_->bind(endpoint, error);
    if (!error) error = acceptor_->listen(asio::socket_base::max_listen_connections, error);
    if (error) return Error{text("can't listen on ", name, ": ", error.message())};
    return Ok{};
  }
  Status listen_tcp() {
    const HttpOptions& o = shared_.options;
    error_code error;
    std::string host = o.host == "localhost" ? "127.0.0.1" : o.host;
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const auto ip = asio::ip::make_address(host, error);
    if (error)
      return Error{text("--host ", o.host, ": expected an IP address, like 127.0.0.1, 0.0.0.0 or ::1")};
    const asio::ip::tcp::endpoint endpoint(ip, o.port);
    const std::string shown = ip.is_v6() ? text("[", host, "]") : host;
    if (Status status = bound(text(shown, ":", o.port), endpoint); !status) return status;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    ::getsockname(acceptor_->native_handle(), reinterpret_cast<sockaddr*>(&own), &length);
    const uint16_t port = ntohs(ip.is_v6() ? reinterpret_cast<sockaddr_in6*>(&own)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&own)->sin_port);
    address_ = text("http://", shown, ":", port);
    return Ok{};
  }
  Status listen_unix() {
    const std::string& path = shared_.options.unix_path;
    if (path.size() >= sizeof(sockaddr_un::sun_path))
      return Error{text("--unix ", path, ": the path is too long")};
    // What a server that was killed left behind; anything but a socket stays.
    struct stat st{};
    if (::lstat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) {
      asio::local::stream_protocol::socket probe(shared_.io);
      error_code error;
      error = probe.connect(asio::local::stream_protocol::endpoint(path), error);
      if (!error) return Error{text("--unix ", path, ": another server listens there")};
      ::unlink(path.c_str());
    }
    if (Status status = bound(path, asio::local::stream_protocol::endpoint(path)); !status) {
      shared_.options.unix_path.clear();  // not ours to remove
      return status;
    }
    address_ = "unix:" + path;
    return Ok{};
  }

  void accept() {
    if (shared_.draining) return;
    acceptor_->async_accept([this](const error_code& error, Socket socket) {
      if (shared_.draining) return;
      if (error) {
        // Out of descriptors, say: not again at once.
        retry_.expires_after(std::chrono::milliseconds(50));
        retry_.async_wait([this](const error_code&) { accept(); });
        return;
      }
      if (shared_.connections.size() < shared_.options.max_connections) {
        if (shared_.options.unix_path.empty()) {
          error_code ignored;
          ignored = socket.set_option(asio::ip::tcp::no_delay(true), ignored);
        }
        std::make_shared<Connection>(shared_, std::move(socket))->start();
      }
      accept();
    });
  }
  void await_signal() {
    signals_.async_wait([this](const error_code& error, int) {
      if (error) return;
      on_signal_();
      if (work_.owns_work()) await_signal();
    });
  }

  Shared shared_;
  std::optional<Acceptor> acceptor_;
  asio::steady_timer retry_{shared_.io};
  asio::signal_set signals_;
  asio::executor_work_guard<Executor> work_{shared_.io.get_executor()};
  std::function<void()> on_signal_;
  std::string address_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::open(const HttpOptions& options, Handler handler) {
  auto server = std::make_unique<BeastServer>(options, std::move(handler));
  if (Status status = server->listen(); !status) return status.error();
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace forge::rt
