// TLS as the server sees it: bytes in, bytes out, no sockets. Programs that are compiled with it have it from an archive
// of its own (src/runtime/tls), the others have nothing of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/core/result.h"

namespace forge::rt {

// One connection.
class TlsSession {
 public:
  TlsSession() = default;
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  virtual ~TlsSession() = default;

  // Takes what came from the wire, adds what the client says to `plain`, and to `wire_out` what has to be sent to it.
  // False: the connection is over, by the client's will or for a fault of it.
  virtual bool receive(std::string_view wire, std::string& plain, std::string& wire_out) = 0;
  // Adds what carries `plain` to `wire_out`; after the first receive() that gave something plain.
  virtual void send(std::string_view plain, std::string& wire_out) = 0;
  // Says that nothing more comes.
  virtual void close(std::string& wire_out) = 0;
};

class TlsServer {
 public:
  TlsServer() = default;
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  virtual ~TlsServer() = default;
  // Null without memory. Sessions must not outlive the server.
  virtual std::unique_ptr<TlsSession> accept() = 0;
};

// `certificate` (and those that lead to its root behind it) and `key` in PEM. Error: what is wrong with which.
using OpenTls = Result<std::unique_ptr<TlsServer>> (*)(const std::string& certificate,
                                                       const std::string& key);

// Null in programs without TLS: no_tls.cpp, in the runtime's archive, defines it so. The archive of TLS defines it, too,
// and stands in front of the runtime's where it is linked.
extern const OpenTls open_tls_server;

}  // namespace forge::rt
