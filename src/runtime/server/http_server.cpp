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
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <unordered_set>

#include "runtime/server/tls.h"

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

constexpr size_t kMaxTargetBytes = 4096;
// Of input that the parser has not taken: a header, what a client puts between chunks (it counts for neither the
// header's limit nor the body's), and what is read ahead of the answer before, to see that a client has left.
constexpr size_t kMaxInputBytes = 32u << 10;
// What a client may leave unread of a stream before it is given up.
constexpr size_t kMaxUnsentBytes = 8u << 20;

// A body as a string that grows with what has come, however much the header says there will be.
struct ReceivedBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool is_request, class Fields>
    reader(http::header<is_request, Fields>& /*header*/, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>& /*length*/, error_code& error) { error = {}; }
    template <class Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      const size_t before = body_.size();
      for (const asio::const_buffer part : beast::buffers_range_ref(buffers))
        body_.append(static_cast<const char*>(part.data()), part.size());
      return body_.size() - before;
    }
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};
using Parser = http::request_parser<ReceivedBody>;

// How long input is still read behind an answer that ends the connection, and how long the client may send nothing then.
constexpr int64_t kLingerSeconds = 30, kLingerIdleSeconds = 2;

class Connection;

// What all connections share.
struct Shared {
  std::unordered_set<Connection*> connections;  // outlives `io`, whose handlers own them
  asio::io_context io{1};
  HttpOptions options;
  HttpServer::Handler handler;
  bool draining = false;
  uint64_t bodies_bytes = 0;  // held by all of them
  std::array<char, kMaxInputBytes> received;
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

std::string path_of(const Parser& parser) {
  const auto target = parser.get().target();
  return {target.data(), std::min(target.find('?'), target.size())};
}

std::string query_of(const Parser& parser) {
  const auto target = parser.get().target();
  const size_t mark = target.find('?');
  return mark == target.npos ? std::string()
                             : std::string(target.data() + mark + 1, target.size() - mark - 1);
}

class ConnectionExchange;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Shared& shared, Socket socket) : shared_(shared), socket_(std::move(socket)), timer_(shared.io) {
    shared_.connections.insert(this);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { shared_.connections.erase(this); }

  void start();
  bool idle() const { return state_ == State::idle; }
  bool answering() const { return state_ == State::answering || state_ == State::lingering; }
  void gone();  // closes; an answer under way learns of it

 private:
  friend class ConnectionExchange;
  enum class State : uint8_t { idle, header, body, answering, lingering, closed };

  void become_idle();
  void await_input();
  void readable(const error_code& error);
  bool receive(std::string_view wire);
  void begin_request();
  void read_request();
  bool parse();
  bool begin_exchange();
  bool hold(uint64_t bytes);
  void refuse(int status, std::string_view message);
  void handle();
  void write(std::string bytes);
  void write_wire(std::string bytes);
  void write_next();
  void end_answer(std::string bytes);
  void answer_ended();
  void linger();
  void linger_on();
  void expect_within(uint32_t n_seconds);
  void expect_nothing();
  void too_late();
  void close();

  Shared& shared_;
  Socket socket_;
  asio::steady_timer timer_;         // the one deadline that counts at the time
  std::unique_ptr<TlsSession> tls_;  // from the first byte on, where TLS is spoken
  std::string input_;                // that the parser has not taken
  std::optional<Parser> parser_;
  std::shared_ptr<ConnectionExchange> exchange_;
  HttpServer::BodyHandler on_body_;
  std::deque<std::string> unsent_;
  size_t n_unsent_ = 0;
  size_t n_discarded_ = 0;  // while it lingers
  std::chrono::steady_clock::time_point linger_until_;
  uint64_t held_bytes_ = 0;  // of the body: its part of Shared::bodies_bytes
  State state_ = State::idle;
  unsigned version_ = 11;
  bool keep_alive_ = false, head_only_ = false, chunked_ = false;
  bool waits_ = false;            // await_input() is under way
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
  state_ = State::closed;
  timer_.cancel();
  error_code ignored;
  ignored = socket_.close(ignored);
  parser_.reset();
  hold(0);
  on_body_ = nullptr;
}

void Connection::expect_within(uint32_t n_seconds) {
  timer_.expires_after(seconds(n_seconds));
  timer_.async_wait([me = shared_from_this()](const error_code& error) {
    // A later deadline may have been set when this one had passed already.
    if (!error && me->timer_.expiry() <= std::chrono::steady_clock::now()) me->too_late();
  });
}

// Nor does one count that has passed and whose handler is still to run.
void Connection::expect_nothing() { timer_.expires_at(std::chrono::steady_clock::time_point::max()); }

void Connection::too_late() {
  switch (state_) {
    case State::header:
      // A client that has connected ahead of its requests, say, and shaken hands.
      if (!parser_->got_some()) return gone();
      return refuse(408, "the header took too long");
    case State::body: return refuse(408, "the body took too long");
    default: gone();
  }
}

void Connection::start() {
  // Whoever comes while the server drains is not to hold up its end.
  expect_within(shared_.draining ? shared_.options.header_s : shared_.options.idle_s);
  await_input();
}

void Connection::become_idle() {
  if (shared_.draining) return close();
  state_ = State::idle;
  if (!input_.empty()) return begin_request();
  std::string().swap(input_);
  expect_within(shared_.options.idle_s);
  await_input();
}

// A wait without a buffer, so that thousands of idle connections cost little.
void Connection::await_input() {
  if (waits_ || input_.size() >= kMaxInputBytes) return;
  waits_ = true;
  socket_.async_wait(Socket::wait_read,
                     [me = shared_from_this()](const error_code& error) { me->readable(error); });
}

void Connection::readable(const error_code& error) {
  waits_ = false;
  if (state_ == State::closed) return;
  if (error) return gone();
  const ssize_t n =
      ::recv(socket_.native_handle(), shared_.received.data(), kMaxInputBytes - input_.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return await_input();
  if (n <= 0) return gone();
  if (state_ == State::lingering) {
    n_discarded_ += static_cast<size_t>(n);
    if (n_discarded_ > shared_.options.max_body_bytes) return gone();
    linger_on();
    return await_input();
  }
  if (!receive({shared_.received.data(), static_cast<size_t>(n)})) return;
  if (state_ == State::idle) return begin_request();
  if (state_ == State::answering) return await_input();
  read_request();
}

// Adds what came to the input. False where that was the end of the connection.
bool Connection::receive(std::string_view wire) {
  if (shared_.options.tls == nullptr) {
    input_ += wire;
    return true;
  }
  if (tls_ == nullptr) tls_ = shared_.options.tls->accept();
  if (tls_ == nullptr) return gone(), false;
  std::string reply;
  const bool goes_on = tls_->receive(wire, input_, reply);
  if (!reply.empty()) write_wire(std::move(reply));
  if (goes_on) return true;
  if (state_ == State::answering) return gone(), false;
  parser_.reset();
  return linger(), false;  // so that an alert reaches the client
}

void Connection::begin_request() {
  state_ = State::header;
  parser_.emplace();
  parser_->header_limit(shared_.options.max_header_bytes);
  parser_->body_limit(shared_.options.max_body_bytes);
  expect_within(shared_.options.header_s);
  read_request();
}

// As far as the input goes: the header, the body, the answer.
void Connection::read_request() {
  if (!parse()) return;
  if (state_ == State::header) {
    if (!parser_->is_header_done()) return await_input();
    parser_->eager(true);
    if (!parse() || !begin_exchange()) return;
  }
  const std::string& body = parser_->get().body();
  if (!hold(body.empty() ? 0 : body.capacity())) return;
  if (!parser_->is_done()) return await_input();
  handle();
}

// Gives the parser what has come. False where that was refused.
bool Connection::parse() {
  if (input_.empty() || parser_->is_done()) return true;
  error_code error;
  input_.erase(0, parser_->put(asio::buffer(input_), error));
  if (!error || (error == http::error::need_more && input_.size() < kMaxInputBytes)) return true;
  if (error == http::error::header_limit) {
    refuse(431, "the header is too large");
  } else if (error == http::error::body_limit) {
    refuse(413, "the body is too large");
  } else if (error == http::error::need_more) {
    refuse(400, "not an HTTP request: too much that is no body");
  } else {
    refuse(400, text("not an HTTP request: ", error.message()));
  }
  return false;
}

// The header is there: whether the rest is read. What the handler refuses costs no more memory than the input's.
bool Connection::begin_exchange() {
  const auto& message = parser_->get();
  version_ = message.version();
  if (version_ != 10 && version_ != 11) return refuse(505, "expected HTTP/1.1"), false;
  if (message.target().size() > kMaxTargetBytes) return refuse(414, "the URL is too long"), false;
  const auto field = [&](auto name) {
    const auto value = message[name];
    return std::string(value.data(), value.size());
  };
  exchange_ = std::make_shared<ConnectionExchange>(shared_from_this());
  head_only_ = message.method() == http::verb::head;
  HttpRequest& request = exchange_->request;
  const auto method = message.method_string();
  request.method = head_only_ ? "GET" : std::string(method.data(), method.size());
  request.path = path_of(*parser_);
  request.query = query_of(*parser_);
  request.authorization = field(http::field::authorization);
  request.api_key = field("X-Api-Key");
  request.host = field(http::field::host);
  request.origin = field(http::field::origin);
  request.requested_headers = field(http::field::access_control_request_headers);

  const bool body_is_there = parser_->is_done();
  // With a body on its way it is not known when the next request would begin.
  keep_alive_ = message.keep_alive() && !shared_.draining && body_is_there;
  state_ = State::answering;
  on_body_ = shared_.handler(*exchange_);
  if (on_body_ == nullptr) {
    parser_.reset();
    await_input();
    return false;
  }
  state_ = State::body;
  if (body_is_there) return true;
  expect_within(shared_.options.body_s);
  // What will be too much in the end is not waited for.
  if (const auto length = parser_->content_length(); length && !hold(*length)) return false;
  if (version_ == 11 && beast::iequals(message[http::field::expect], "100-continue"))
    write("HTTP/1.1 100 Continue\r\n\r\n");
  return true;
}

// Takes so much of the memory for bodies. False where there is not enough, which was answered.
bool Connection::hold(uint64_t bytes) {
  shared_.bodies_bytes += bytes - held_bytes_;
  held_bytes_ = bytes;
  if (bytes == 0 || shared_.bodies_bytes <= shared_.options.max_bodies_bytes) return true;
  refuse(503, "the server is busy: it holds too many large requests; try again later");
  return false;
}

// Answers what is not served, and ends the connection: where the next request would begin is not known.
void Connection::refuse(int status, std::string_view message) {
  state_ = State::answering;
  const std::string path = path_of(*parser_);
  parser_.reset();
  hold(0);
  on_body_ = nullptr;
  if (exchange_ == nullptr) exchange_ = std::make_shared<ConnectionExchange>(shared_from_this());
  keep_alive_ = head_only_ = false;
  const auto exchange = exchange_;
  exchange->respond(shared_.options.error_response(status, message, path));
  await_input();
}

void Connection::handle() {
  state_ = State::answering;
  expect_nothing();
  if (!unsent_.empty()) expect_within(shared_.options.write_s);
  keep_alive_ = parser_->get().keep_alive() && !shared_.draining;
  const auto exchange = exchange_;
  exchange->request.body = std::move(parser_->get().body());
  parser_.reset();
  await_input();
  std::exchange(on_body_, nullptr)(exchange);
  std::string().swap(exchange->request.body);
  hold(0);
}

void Connection::write(std::string bytes) {
  if (state_ == State::closed || bytes.empty()) return;
  if (tls_ == nullptr) return write_wire(std::move(bytes));
  std::string wire;
  tls_->send(bytes, wire);
  write_wire(std::move(wire));
}

void Connection::write_wire(std::string bytes) {
  if (bytes.empty()) return;
  n_unsent_ += bytes.size();
  unsent_.push_back(std::move(bytes));
  if (unsent_.size() == 1) return write_next();
  if (n_unsent_ > kMaxUnsentBytes && !answer_complete_) gone();
}

void Connection::write_next() {
  if (state_ == State::answering && !answer_complete_) expect_within(shared_.options.write_s);
  asio::async_write(socket_, asio::buffer(unsent_.front()),
                    [me = shared_from_this()](const error_code& error, size_t) {
                      if (me->state_ == State::closed) return;
                      if (error) return me->gone();
                      me->n_unsent_ -= me->unsent_.front().size();
                      me->unsent_.pop_front();
                      if (!me->unsent_.empty()) return me->write_next();
                      if (me->answer_complete_) return me->answer_ended();
                      if (me->state_ == State::answering) me->expect_nothing();
                    });
}

// With these last bytes the answer is whole; from here on one deadline counts for all that is unsent.
void Connection::end_answer(std::string bytes) {
  answer_complete_ = true;
  write(std::move(bytes));
  if (tls_ != nullptr && !keep_alive_) {
    std::string wire;
    tls_->close(wire);
    write_wire(std::move(wire));
  }
  expect_within(shared_.options.write_s);
  if (unsent_.empty()) answer_ended();
}

void Connection::answer_ended() {
  answer_complete_ = false;
  exchange_.reset();
  if (keep_alive_) return become_idle();
  linger();
}

// Closing at once with input unread would take the answer from the client (RFC 9112, 9.6).
void Connection::linger() {
  state_ = State::lingering;
  error_code ignored;
  ignored = socket_.shutdown(Socket::shutdown_send, ignored);
  linger_until_ = std::chrono::steady_clock::now() + seconds(kLingerSeconds);
  linger_on();
  input_.clear();
  await_input();
}

// As long as something comes, for a while: clients that send a whole body before they read get the answer, too.
void Connection::linger_on() {
  const auto left = std::chrono::ceil<seconds>(linger_until_ - std::chrono::steady_clock::now()).count();
  const int64_t idle = shared_.draining ? 1 : kLingerIdleSeconds;
  expect_within(static_cast<uint32_t>(std::clamp<int64_t>(left, 0, idle)));
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
  c->end_answer(std::move(bytes));
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
  c->end_answer(c->chunked_ && !c->head_only_ ? "0\r\n\r\n" : "");
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
    while (!ended_ || !shared_.connections.empty()) shared_.io.run_one();
  }
  void drain() override {
    shared_.draining = true;
    close_those([](const Connection& c) { return c.idle(); });
  }
  void work_ended() override {
    ended_ = true;
    stop_accepting();
    close_those([](const Connection& c) { return !c.answering(); });
  }
  void break_off() override {
    stop_accepting();
    end_.expires_after(seconds(1));
    end_.async_wait([this](const error_code& error) {
      if (!error) close_those([](const Connection&) { return true; });
    });
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
    address_ = text(shared_.options.tls == nullptr ? "http://" : "https://", shown, ":", port);
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

  void stop_accepting() {
    error_code ignored;
    ignored = acceptor_->close(ignored);
  }
  template <class Condition>
  void close_those(const Condition& condition) {
    std::vector<std::shared_ptr<Connection>> chosen;
    for (Connection* c : shared_.connections)
      if (condition(*c)) chosen.push_back(c->shared_from_this());
    for (const auto& c : chosen) c->gone();
  }

  void accept() {
    if (!acceptor_->is_open()) return;
    acceptor_->async_accept([this](const error_code& error, Socket socket) {
      if (!acceptor_->is_open()) return;
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
      await_signal();
    });
  }

  Shared shared_;
  std::optional<Acceptor> acceptor_;
  asio::steady_timer retry_{shared_.io}, end_{shared_.io};
  asio::signal_set signals_;
  asio::executor_work_guard<Executor> work_{shared_.io.get_executor()};  // run_one() waits
  bool ended_ = false;
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
