// A hub like huggingface.co with one repository: the listing, files, and large files behind a redirect to another host.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/download/local_server.h"

namespace forge::test {

class FakeHub {
 public:
  explicit FakeHub(std::string repo = "org/name");

  std::map<std::string, std::string> files;  // path -> contents; .gguf and .safetensors are large files
  std::string commit = std::string(40, 'a');
  std::string token;  // what the repository wants; empty: nothing
  // Answers in place of the hub where it returns something; called for every request. Set before the first one.
  std::function<std::optional<ServerAnswer>(const ServerRequest&)> fault;

  LocalServer& server() { return server_; }

 private:
  ServerAnswer answer(const ServerRequest& request);
  std::string listing() const;

  std::string repo_;
  LocalServer server_;
};

std::string sha256_of(const std::string& content);

}  // namespace forge::test
