// A small HTTP client for tests: blocking, one request a connection unless told otherwise.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace forge::rt {

struct HttpAnswer {
  int status = 0;                              // 0: no answer came
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
};

// A connection to a server on this machine; closed at the end of its life.
class HttpClient {
 public:
  // receive_bytes: of the socket's buffer; 0: what the system gives.
  explicit HttpClient(uint16_t port, int receive_bytes = 0);
  explicit HttpClient(const std::string& unix_path);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  bool connected() const { return fd_ >= 0; }
  void send(std::string_view bytes) const;
  // Reads one answer to its end; waits at most 20 s for each piece.
  HttpAnswer answer();
  // Whatever comes until `part` has come, or the end, or 20 s without anything.
  std::string read_until(std::string_view part);
  // Reads at most so many bytes, once; how many came, 0 at the end or after 20 s without any.
  size_t read_some(size_t max_bytes);
  void close();

 private:
  bool more();  // reads into pending_
  int fd_ = -1;
  std::string pending_;
};

// "METHOD target HTTP/1.1" with Host, Content-Type, Content-Length, `headers` ("Name: value\r\n" …) and the body.
std::string http_request(std::string_view method, std::string_view target, std::string_view body,
                         std::string_view headers = {});

}  // namespace forge::rt
