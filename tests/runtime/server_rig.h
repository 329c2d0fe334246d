// A program around the fake model, served in a process of its own, for tests that ask it as clients do. Whoever includes this
// is compiled with FAKE_PROGRAM, its path, and FAKE_SANITIZED.
#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "core/base64.h"
#include "core/mapped_file.h"
#include "runtime/core/answer_format.h"
#include "runtime/host/files.h"
#include "tests/core/temporary_directory.h"
#include "tests/runtime/fake_model.h"
#include "tests/runtime/fake_payload.h"
#include "tests/runtime/http_client.h"

namespace forge::rt {
using Json = nlohmann::json;
using Strings = std::vector<std::string>;

inline const char* const kHello = R"("messages": [{"role": "user", "content": "Hello"}], "temperature": 0)";

class ServerTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  std::string program_ = directory_.file("story");
  std::string log_ = directory_.file("log");
  pid_t child_ = 0;
  uint16_t port_ = 0;

  void SetUp() override {
    write_executable(program_, forge::read_file(FAKE_PROGRAM), fake_payload_input(), nullptr);
  }
  void TearDown() override {
    if (child_ != 0) EXPECT_EQ(stop(), 0);
  }

  std::string log() const {
    const auto bytes = forge::read_file(log_);
    return {bytes.begin(), bytes.end()};
  }

  // Starts the server and waits until it listens.
  void start(const Strings& args = {}, Strings environment = {}) {
    Strings words = {program_, "serve", "--port", "0"};
    words.insert(words.end(), args.begin(), args.end());
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    std::vector<char*> envp;
    for (std::string& e : environment) envp.push_back(e.data());
    envp.push_back(nullptr);
    std::filesystem::remove(log_);
    child_ = fork();
    if (child_ == 0) {
      const int fd = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(fd, 2);
      for (int other = 3; other < 100; ++other) close(other);
      execve(argv[0], argv.data(), envp.data());
      _exit(98);
    }
    for (int i = 0; i < 1000; ++i) {
      const std::string said = std::filesystem::exists(log_) ? log() : "";
      if (const size_t at = said.find("http://127.0.0.1:"); at != std::string::npos && said.ends_with('\n')) {
        port_ = static_cast<uint16_t>(std::stoi(said.substr(at + 17)));
        return;
      }
      if (said.find("unix:") != std::string::npos) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "the server does not listen: " << log();
  }

  // Asks it to end; its exit status, or 128 + signal.
  int stop() {
    kill(child_, SIGTERM);
    return wait();
  }
  int wait() {
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  HttpAnswer ask(std::string_view method, std::string_view target, std::string_view body = {},
                 std::string_view headers = {}) const {
    HttpClient client(port_);
    client.send(http_request(method, target, body, headers));
    return client.answer();
  }
  // The JSON of an answer with status 200.
  Json post(std::string_view target, const std::string& body) const {
    const HttpAnswer answer = ask("POST", target, body);
    EXPECT_EQ(answer.status, 200) << body << answer.body;
    return Json::parse(answer.body, nullptr, false);
  }
  // The JSON of a stream's events; "[DONE]" as a string.
  std::vector<Json> stream(std::string_view target, const std::string& body) const {
    const HttpAnswer answer = ask("POST", target, body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.headers.at("content-type"), "text/event-stream");
    std::vector<Json> out;
    for (size_t at = 0; (at = answer.body.find("data: ", at)) != std::string::npos;) {
      const size_t end = answer.body.find("\n\n", at);
      const std::string data = answer.body.substr(at + 6, end - at - 6);
      out.push_back(data == "[DONE]" ? Json(data) : Json::parse(data));
      at = end;
    }
    return out;
  }
  double metric(const std::string& name) const {
    const std::string all = ask("GET", "/metrics").body;
    const size_t at = all.find("\nforge_" + name + " ");
    EXPECT_NE(at, std::string::npos) << name;
    return std::stod(all.substr(at + 8 + name.size()));
  }
  template <class Condition>
  static bool eventually(const Condition& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
};

inline std::string body_of(const std::string& rest) { return "{" + rest + "}"; }
inline std::string hello(const std::string& rest) { return body_of(std::string(kHello) + ", " + rest); }

}  // namespace forge::rt
