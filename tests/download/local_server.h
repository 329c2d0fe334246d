// An HTTP server in the test's own process, with all the faults that a test asks for.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace forge::test {

struct ServerRequest {
  std::string method, path;                    // with its query
  std::map<std::string, std::string> headers;  // by lower-case name
};

struct ServerAnswer {
  int status = 200;
  std::map<std::string, std::string> headers = {};
  std::string body = {};
  size_t cut_after =
      SIZE_MAX;  // the connection ends behind so many bytes of the body, whatever Content-Length says
  std::function<void()> before_cut = {};  // called then
  bool chunked = false;                   // instead of a Content-Length
};

// Listens on 127.0.0.1 until it is destroyed. The handler is called in the server's thread, one request at a time a
// connection; every request is also kept.
class LocalServer {
 public:
  using Handler = std::function<ServerAnswer(const ServerRequest&)>;
  explicit LocalServer(Handler handler);
  ~LocalServer();
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  std::string url(const std::string& path = "") const;  // http://127.0.0.1:PORT/path
  int port() const { return port_; }
  std::vector<ServerRequest> requests();
  // How many requests had that method, and a path that holds `part`.
  size_t count(const std::string& method, const std::string& part);

 private:
  void serve(int connection);

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::mutex mutex_;
  std::vector<ServerRequest> requests_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

// A file as servers give it: HEAD, Range and If-Range are honoured; `etag` with its quotes, or empty.
ServerAnswer file_answer(const ServerRequest& request, const std::string& content, const std::string& etag);

}  // namespace forge::test
