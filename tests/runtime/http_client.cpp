#include "tests/runtime/http_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace forge::rt {

HttpClient::HttpClient(uint16_t port, int receive_bytes)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_bytes != 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) close();
}

HttpClient::HttpClient(const std::string& unix_path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, unix_path.c_str(), sizeof address.sun_path - 1);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) close();
}

HttpClient::~HttpClient() { close(); }

void HttpClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void HttpClient::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

size_t HttpClient::read_some(size_t max_bytes) {
  pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
  if (fd_ < 0 || poll(&ready, 1, 20000) != 1) return 0;
  const size_t before = pending_.size();
  pending_.resize(before + max_bytes);
  const ssize_t n = recv(fd_, pending_.data() + before, max_bytes, 0);
  pending_.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
  return pending_.size() - before;
}

bool HttpClient::more() { return read_some(65536) != 0; }

std::string HttpClient::read_until(std::string_view part) {
  size_t at = pending_.find(part);
  while (at == std::string::npos && more()) at = pending_.find(part);
  const size_t end = at == std::string::npos ? pending_.size() : at + part.size();
  std::string out = pending_.substr(0, end);
  pending_.erase(0, end);
  return out;
}

HttpAnswer HttpClient::answer() {
  HttpAnswer out;
  const std::string head = read_until("\r\n\r\n");
  if (!head.ends_with("\r\n\r\n") || !head.starts_with("HTTP/1.")) return out;
  out.status = std::atoi(head.c_str() + 9);  // NOLINT(cert-err34-c)
  for (size_t line = head.find("\r\n") + 2; line + 2 < head.size();) {
    const size_t end = head.find("\r\n", line);
    const size_t colon = head.find(": ", line);
    if (colon < end) {
      std::string name = head.substr(line, colon - line);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
      out.headers[name] = head.substr(colon + 2, end - colon - 2);
    }
    line = end + 2;
  }
  if (out.status < 200) return out;  // the answer itself comes behind it
  if (const auto length = out.headers.find("content-length"); length != out.headers.end()) {
    const size_t n = std::strtoul(length->second.c_str(), nullptr, 10);
    while (pending_.size() < n && more()) {
    }
    out.body = pending_.substr(0, n);
    pending_.erase(0, n);
  } else if (out.headers["transfer-encoding"] == "chunked") {
    for (;;) {
      const size_t n = std::strtoul(read_until("\r\n").c_str(), nullptr, 16);
      while (pending_.size() < n + 2 && more()) {
      }
      out.body += pending_.substr(0, n);
      pending_.erase(0, n + 2);
      if (n == 0) break;
    }
  } else {
    while (more()) {
    }
    out.body.swap(pending_);
  }
  return out;
}

std::string http_request(std::string_view method, std::string_view target, std::string_view body,
                         std::string_view headers) {
  std::string out;
  for (const std::string_view part :
       {method, std::string_view(" "), target, std::string_view(" HTTP/1.1\r\nHost: localhost\r\n"), headers})
    out += part;
  if (!body.empty())
    out += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  out += "\r\n";
  return out += body;
}

}  // namespace forge::rt
