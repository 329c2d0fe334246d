#include "tests/download/local_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>
#include <utility>

namespace forge::test {
namespace {

void send_all(int connection, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::send(connection, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return;
    at += static_cast<size_t>(n);
  }
}

std::string read_head(int connection) {
  std::string head;
  char c = 0;
  while (!head.ends_with("\r\n\r\n") && ::recv(connection, &c, 1, 0) == 1) head += c;
  return head;
}

ServerRequest parse(const std::string& head) {
  ServerRequest out;
  const size_t space = head.find(' '), second = head.find(' ', space + 1);
  out.method = head.substr(0, space);
  out.path = head.substr(space + 1, second - space - 1);
  for (size_t at = head.find("\r\n") + 2; at < head.size();) {
    const size_t end = head.find("\r\n", at), colon = head.find(": ", at);
    if (colon == std::string::npos || colon > end) break;
    std::string name = head.substr(at, colon - at);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    out.headers[name] = head.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  return out;
}

}  // namespace

LocalServer::LocalServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no local server");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] {
    for (int c = 0; (c = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;)
      connections_.emplace_back([this, c] { serve(c); });
  });
}

LocalServer::~LocalServer() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  for (std::thread& t : connections_) t.join();
  ::close(listener_);
}

std::string LocalServer::url(const std::string& path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + path;
}

std::vector<ServerRequest> LocalServer::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

size_t LocalServer::count(const std::string& method, const std::string& part) {
  const auto all = requests();
  return static_cast<size_t>(std::ranges::count_if(all, [&](const ServerRequest& r) {
    return r.method == method && r.path.find(part) != std::string::npos;
  }));
}

void LocalServer::serve(int connection) {
  const std::string head = read_head(connection);
  if (!head.empty()) {
    const ServerRequest request = parse(head);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    ServerAnswer answer = handler_(request);
    std::string out = "HTTP/1.1 " + std::to_string(answer.status) + " x\r\nConnection: close\r\n";
    if (answer.chunked) {
      answer.headers["Transfer-Encoding"] = "chunked";
    } else {
      answer.headers.emplace("Content-Length", std::to_string(answer.body.size()));
    }
    for (const auto& [name, value] : answer.headers)
      out.append(name).append(": ").append(value).append("\r\n");
    out += "\r\n";
    send_all(connection, out);
    if (request.method != "HEAD") {
      if (answer.chunked) {
        char size[32];
        std::snprintf(size, sizeof size, "%zx\r\n", answer.body.size());
        answer.body = size + answer.body + "\r\n0\r\n\r\n";
      }
      send_all(connection, answer.body.substr(0, answer.cut_after));
      if (answer.before_cut) answer.before_cut();
    }
  }
  ::shutdown(connection, SHUT_RDWR);
  ::close(connection);
}

ServerAnswer file_answer(const ServerRequest& request, const std::string& content, const std::string& etag) {
  ServerAnswer out{.headers = {{"Accept-Ranges", "bytes"}}, .body = content};
  if (!etag.empty()) out.headers["ETag"] = etag;
  const auto range = request.headers.find("range");
  const auto condition = request.headers.find("if-range");
  if (range == request.headers.end() || (condition != request.headers.end() && condition->second != etag))
    return out;
  const size_t first = std::stoul(range->second.substr(6));
  const std::string total = std::to_string(content.size());
  if (first >= content.size()) return {.status = 416, .headers = {{"Content-Range", "bytes */" + total}}};
  out.status = 206;
  out.headers["Content-Range"] =
      "bytes " + std::to_string(first) + "-" + std::to_string(content.size() - 1) + "/" + total;
  out.body = content.substr(first);
  return out;
}

}  // namespace forge::test
