// Who may ask a server, how much, and how it ends.
#include "tests/runtime/server_rig.h"

namespace forge::rt {
namespace {

TEST_F(ServerTest, AskForKeys) {
  const std::string file = directory_.file("keys");
  constexpr std::string_view kKeys = "# of everybody\ntwo\n\n  three \r\n";
  forge::write_file(file, as_bytes(kKeys));
  start({"--api-key", "one", "--api-key-file", file});
  EXPECT_EQ(ask("GET", "/health").status, 200);
  EXPECT_EQ(ask("GET", "/").status, 200);
  for (const char* header :
       {"", "Authorization: Bearer on\r\n", "Authorization: Bearer onee\r\n", "Authorization: one\r\n",
        "X-Api-Key: \r\n", "Authorization: Bearer two\\n\r\n", "Authorization: Bearer # of everybody\r\n"}) {
    const HttpAnswer answer = ask("GET", "/v1/models", {}, header);
    EXPECT_EQ(answer.status, 401) << header;
    EXPECT_EQ(Json::parse(answer.body)["error"]["code"], "invalid_api_key");
    EXPECT_EQ(ask("GET", "/metrics", {}, header).status, 401);
    EXPECT_EQ(ask("GET", "/nothing", {}, header).status, 401);
  }
  for (const char* header :
       {"Authorization: Bearer one\r\n", "authorization: bearer one\r\n", "X-Api-Key: two\r\n",
        "X-Api-Key: three\r\n", "X-Api-Key: wrong\r\nAuthorization: Bearer one\r\n",
        "X-Api-Key: one\r\nAuthorization: Bearer wrong\r\n"})
    EXPECT_EQ(ask("GET", "/v1/models", {}, header).status, 200) << header;
  // Who has none is told so before he has sent a body.
  HttpClient without(port_);
  without.send("POST /v1/messages HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
  const HttpAnswer refused = without.answer();
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(Json::parse(refused.body)["error"]["type"], "authentication_error");
  EXPECT_EQ(log().find("one\n"), std::string::npos);
}

TEST_F(ServerTest, PagesOfOthersMayNotAsk) {
  start({"--cors", "https://friend.example"});
  EXPECT_EQ(ask("GET", "/v1/models", {}, "Origin: https://evil.example\r\n").status, 403);
  EXPECT_EQ(ask("GET", "/v1/models", {}, "Origin: null\r\n").status, 403);
  EXPECT_EQ(ask("GET", "/v1/models", {}, "Origin: http://localhost\r\n").status, 200);
  const HttpAnswer friendly = ask("GET", "/v1/models", {}, "Origin: https://friend.example\r\n");
  EXPECT_EQ(friendly.status, 200);
  EXPECT_EQ(friendly.headers.at("access-control-allow-origin"), "https://friend.example");
  const auto preflight = [&](const std::string& headers) {
    const HttpAnswer answer =
        ask("OPTIONS", "/v1/models", {},
            "Origin: https://friend.example\r\nAccess-Control-Request-Headers: " + headers + "\r\n");
    EXPECT_EQ(answer.status, 204);
    return answer.headers.at("access-control-allow-headers");
  };
  EXPECT_EQ(preflight("x-stainless-os,anthropic-dangerous-direct-browser-access"),
            "x-stainless-os,anthropic-dangerous-direct-browser-access");
  for (const std::string& odd : {std::string("a;b"), std::string("\"a\""), std::string(2000, 'a')})
    EXPECT_EQ(preflight(odd), "authorization, content-type, x-api-key, anthropic-version");
  EXPECT_EQ(Json::parse(ask("POST", "/messages", "{}", "Origin: null\r\n").body)["error"]["type"],
            "permission_error");
}

// A foreign name that leads here: its page is of the same host, as the browser sees it.
TEST_F(ServerTest, IsNotAskedUnderForeignNames) {
  const auto status = [&](const std::string& host) {
    HttpClient client(port_);
    client.send("GET /v1/models HTTP/1.1\r\n" + host + "\r\n");
    return client.answer().status;
  };
  start({"--cors", "https://friend.example"});
  EXPECT_EQ(status("Host: evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: evil.example:80\r\nOrigin: http://evil.example:80\r\n"), 403);
  EXPECT_EQ(status("Host: 127.0.0.1.evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: localhost.evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: [::1].evil.example\r\n"), 403);
  EXPECT_EQ(status(""), 200);
  for (const char* host : {"localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:1234", "[::1]:80", "[::1]",
                           "friend.example", "friend.example:443"})
    EXPECT_EQ(status("Host: " + std::string(host) + "\r\n"), 200) << host;
  EXPECT_EQ(stop(), 0);
  std::filesystem::remove(log_);
  start({"--api-key", "k"});  // a page that does not know the key gets nothing anyway
  EXPECT_EQ(status("Host: public.example\r\nAuthorization: Bearer k\r\n"), 200);
}

TEST_F(ServerTest, QueueIsBounded) {
  start({"--parallel", "1", "--queue", "1"}, {"FAKE_STEP_MS=20"});
  HttpClient first(port_);
  HttpClient second(port_);
  first.send(http_request("POST", "/v1/chat/completions", hello(R"("max_tokens": 100, "stream": true)")));
  first.read_until("data: ");
  second.send(http_request("POST", "/v1/chat/completions", hello(R"("max_tokens": 1)")));
  EXPECT_TRUE(eventually([&] { return metric("texts_waiting") == 1; }));
  const HttpAnswer third = ask("POST", "/v1/chat/completions", hello(R"("max_tokens": 1)"));
  EXPECT_EQ(third.status, 429);
  EXPECT_EQ(Json::parse(third.body)["error"]["code"], "rate_limit_exceeded");
  EXPECT_EQ(third.headers.at("retry-after"), "1");
  EXPECT_EQ(Json::parse(ask("POST", "/v1/messages", hello(R"("max_tokens": 1)")).body)["error"]["type"],
            "rate_limit_error");
  const HttpAnswer never = ask("POST", "/v1/chat/completions", hello(R"("max_tokens": 1, "n": 3)"));
  EXPECT_EQ(never.status, 400);
  EXPECT_EQ(Json::parse(never.body)["error"]["param"], "n");
  first.close();  // makes room
  EXPECT_EQ(second.answer().status, 200);
}

TEST_F(ServerTest, ClientsThatGoAwayFreeTheirPages) {
  start({"--parallel", "4"}, {"FAKE_STEP_MS=5"});
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same each time
  for (int i = 0; i < 60; ++i) {
    HttpClient client(port_);
    client.send(http_request(
        "POST", "/v1/chat/completions",
        hello(random() % 2 == 0 ? R"("max_tokens": 400, "stream": true)" : R"("max_tokens": 400)")));
    if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 20));
  }
  EXPECT_TRUE(eventually([&] { return metric("texts_running") + metric("texts_waiting") == 0; }));
  EXPECT_EQ(metric("kv_pages_running"), 0);
}

TEST_F(ServerTest, DrainsAtTheEnd) {
  start({}, {"FAKE_STEP_MS=10"});
  HttpClient stream(port_);
  HttpClient idle(port_);
  idle.send(http_request("GET", "/health", {}));
  EXPECT_EQ(idle.answer().status, 200);
  stream.send(http_request("POST", "/v1/chat/completions", hello(R"("max_tokens": 100, "stream": true)")));
  stream.read_until("data: ");
  kill(child_, SIGTERM);
  EXPECT_TRUE(eventually([&] { return log().find("finishing") != std::string::npos; }));
  const HttpAnswer health = ask("GET", "/health");
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(Json::parse(health.body)["status"], "draining");
  const HttpAnswer late = ask("POST", "/v1/completions", R"({"prompt": "x"})");
  EXPECT_EQ(late.status, 503);
  EXPECT_EQ(late.headers.at("retry-after"), "1");
  EXPECT_TRUE(stream.read_until("[DONE]").ends_with("[DONE]"));
  EXPECT_EQ(idle.read_until("x"), "");  // closed
  EXPECT_EQ(wait(), 0);
  EXPECT_FALSE(HttpClient(port_).connected());
}

TEST_F(ServerTest, SecondSignalBreaksOff) {
  start({}, {"FAKE_STEP_MS=50"});
  HttpClient stream(port_);
  stream.send(http_request("POST", "/v1/chat/completions", hello(R"("max_tokens": 400, "stream": true)")));
  stream.read_until("data: ");
  HttpClient response(port_);
  response.send(http_request("POST", "/v1/responses", R"({"input": "x", "stream": true})"));
  response.read_until("data: ");
  kill(child_, SIGTERM);
  EXPECT_TRUE(eventually([&] { return log().find("finishing") != std::string::npos; }));
  kill(child_, SIGTERM);
  const std::string failed = response.read_until("\r\n0\r\n");
  EXPECT_NE(failed.find("event: error\ndata: {\"type\": \"error\""), std::string::npos) << failed;
  EXPECT_NE(failed.find("event: response.failed\n"), std::string::npos) << failed;
  EXPECT_NE(stream.read_until("\r\n0\r\n").find("shutting down"), std::string::npos);
  EXPECT_EQ(wait(), 0);
}

// The fake model runs 16 rows at once.
TEST_F(ServerTest, TellsHowManyRunAtOnce) {
  start({"--parallel", "100"});
  EXPECT_EQ(Json::parse(ask("GET", "/slots").body).size(), 16U);
  EXPECT_EQ(Json::parse(ask("GET", "/props").body)["total_slots"], 16);
}

TEST_F(ServerTest, UnixSocket) {
  const std::string path = directory_.file("socket");
  start({"--unix", path});
  {
    HttpClient client(path);
    ASSERT_TRUE(client.connected());
    client.send("GET /health HTTP/1.1\r\nHost: public.example\r\n\r\n");  // from a proxy
    EXPECT_EQ(client.answer().status, 200);
    client.send(http_request("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 3})"));
    EXPECT_EQ(client.answer().status, 200);  // the same connection
  }
  EXPECT_EQ(stop(), 0);
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  // What a killed server leaves behind does not stand in the way.
  start({"--unix", path});
  kill(child_, SIGKILL);
  EXPECT_EQ(wait(), 128 + SIGKILL);
  std::filesystem::remove(log_);
  start({"--unix", path});
  EXPECT_TRUE(HttpClient(path).connected());
}

TEST_F(ServerTest, HoldsIdleConnectionsAndStreams) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < 1200) GTEST_SKIP() << "SKIPPED: only " << files.rlim_cur << " files may be open";
  start({"--parallel", "64"});
  std::vector<std::unique_ptr<HttpClient>> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(std::make_unique<HttpClient>(port_));
    ASSERT_TRUE(idle.back()->connected()) << i;
  }
  std::vector<std::unique_ptr<HttpClient>> streams;
  for (int i = 0; i < 64; ++i) {
    streams.push_back(std::make_unique<HttpClient>(port_));
    streams.back()->send(
        http_request("POST", "/v1/chat/completions", hello(R"("max_tokens": 100, "stream": true)")));
  }
  for (auto& s : streams) EXPECT_TRUE(s->read_until("[DONE]").ends_with("[DONE]"));
  for (size_t i = 0; i < idle.size(); i += 99) {
    idle[i]->send(http_request("GET", "/health", {}));
    EXPECT_EQ(idle[i]->answer().status, 200);
  }
}

TEST_F(ServerTest, WhatIsNoHttpGetsNothingButAnError) {
  start();
  const auto raw = [&](const std::string& bytes) {
    HttpClient client(port_);
    client.send(bytes);
    return client.answer().status;
  };
  EXPECT_EQ(raw("GARBAGE\r\n\r\n"), 400);
  EXPECT_EQ(raw("GET / HTTP/9.9\r\n\r\n"), 400);
  EXPECT_EQ(raw("GET /" + std::string(5000, 'x') + " HTTP/1.1\r\n\r\n"), 414);
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nX: " + std::string(40000, 'x') + "\r\n\r\n"), 431);
  EXPECT_EQ(raw("POST /tokenize HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n"), 413);
  EXPECT_EQ(raw("POST /tokenize HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(raw("POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 400);
  // Endless extensions of a chunk, endless trailers.
  EXPECT_EQ(
      raw("POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(1 << 20, 'a')),
      400);
  EXPECT_EQ(
      raw("POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + std::string(1 << 20, 'a')),
      400);
  EXPECT_EQ(ask("POST", "/tokenize", std::string(100000, '[')).status, 400);
  HttpClient asked(port_);
  asked.send("POST /tokenize HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 16\r\n\r\n");
  EXPECT_EQ(asked.answer().status, 100);
  asked.send(R"({"content": "x"})");
  EXPECT_EQ(asked.answer().status, 200);
  HttpClient old(port_);
  old.send(
      "POST /v1/completions HTTP/1.0\r\nContent-Length: 45\r\n\r\n"
      R"({"prompt": "x", "max_tokens":3,"stream":true})");
  const HttpAnswer answer = old.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.body.ends_with("[DONE]\n\n")) << answer.body;
  EXPECT_EQ(ask("GET", "/health").status, 200);
}

// Bodies near to good ones: each gets an answer, a 4xx where it is none, and the server lives on.
TEST_F(ServerTest, MalformedRequestsNeverGetMoreThan4xx) {
  start({"--ctx", "256"});
  const std::pair<const char*, std::string> seeds[] = {
      {"/v1/chat/completions",
       hello(
           R"("max_tokens": 2, "stop": ["a", "b"], "logit_bias": {"65": 1.5}, "logprobs": true, "top_logprobs": 3, "seed": 7, "n": 2)")},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "assistant", "content": [{"type": "text", "text": "x"}], "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "y"}, {"role": "user", "content": "z"}], "max_tokens": 1, "chat_template_kwargs": {"a": [1]}})"},
      {"/v1/completions",
       R"({"prompt": [65, 66, 67], "max_tokens": 2, "echo": true, "logprobs": 2, "dry_multiplier": 0.5, "xtc_probability": 0.5})"},
      {"/v1/embeddings", R"({"input": [[65, 66], "text"], "encoding_format": "base64"})"},
      {"/v1/messages",
       R"({"max_tokens": 2, "system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}, {"type": "text", "text": "u"}]}], "thinking": {"type": "enabled"}})"},
      {"/v1/responses",
       R"({"input": [{"type": "message", "role": "user", "content": "x"}], "instructions": "i", "max_output_tokens": 2})"},
      {"/tokenize", R"({"content": "x y", "with_pieces": true})"},
      {"/detokenize", R"({"tokens": [1, 2, 3]})"},
      {"/apply-template", R"({"messages": [{"role": "user", "content": "x"}]})"},
      {"/infill", R"({"input_prefix": "a", "input_suffix": "b"})"},
  };
  const std::string pieces[] = {"null", "[]",   "{}",      "-1", "1e400", "\"\"", "99999999999999999999",
                                "true", "\xff", "\\ud800", "{",  "}",     ",",    "\"",
                                "0.5",  "[[[[", "\"x\": "};
  std::mt19937 random(11);  // NOLINT(cert-msc51-cpp): the same each time
  auto client = std::make_unique<HttpClient>(port_);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto& [target, seed] = seeds[random() % std::size(seeds)];
    std::string body = seed;
    for (size_t n = 1 + random() % 3; n != 0; --n) {
      const size_t at = random() % body.size();
      const std::string& piece = pieces[random() % std::size(pieces)];
      switch (random() % 4) {
        case 0: body.insert(at, piece); break;
        case 1: body.erase(at, 1 + random() % 8); break;
        case 2: body.replace(at, 1 + random() % 12, piece); break;
        default: body[at] = static_cast<char>(random());
      }
      if (body.empty()) body = "x";
    }
    client->send(http_request("POST", target, body));
    const HttpAnswer answer = client->answer();
    ASSERT_TRUE(answer.status == 200 || (answer.status >= 400 && answer.status < 500))
        << answer.status << " " << target << " " << body << "\n"
        << answer.body;
    refused += answer.status != 200;
    if (answer.headers.contains("connection")) client = std::make_unique<HttpClient>(port_);
  }
  EXPECT_GT(refused, 1000);
  EXPECT_EQ(ask("GET", "/health").status, 200);
}

TEST_F(ServerTest, KeepsNothingItDoesNotNeed) {
  if (std::string_view(FAKE_PROGRAM).empty() || FAKE_SANITIZED)
    GTEST_SKIP() << "SKIPPED: sanitizers need what the filter forbids";
  for (const Strings& args : {Strings{}, Strings{"--prefix-cache", directory_.file("kept")}}) {
    start(args);
    const std::string tasks = "/proc/" + std::to_string(child_) + "/task";
    int n_tasks = 0;
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      const auto bytes = forge::read_file(task.path() / "status");
      const std::string status(bytes.begin(), bytes.end());
      if (status.find("Seccomp:") == std::string::npos) GTEST_SKIP() << "SKIPPED: this kernel has no seccomp";
      EXPECT_NE(status.find("Seccomp:\t2"), std::string::npos) << status;
      EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos) << status;
      ++n_tasks;
    }
    EXPECT_GE(n_tasks, 2);
    EXPECT_EQ(stop(), 0);
  }
}

TEST_F(ServerTest, AddressInUse) {
  start();
  Strings words = {program_, "serve", "--port", std::to_string(port_)};
  const std::string command =
      program_ + " serve --port " + std::to_string(port_) + " 2>" + directory_.file("second");
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);  // NOLINT(cert-env33-c)
  const auto bytes = forge::read_file(directory_.file("second"));
  const std::string said(bytes.begin(), bytes.end());
  EXPECT_NE(said.find("can't listen on 127.0.0.1:" + std::to_string(port_) + ": Address already in use"),
            std::string::npos)
      << said;
}

}  // namespace
}  // namespace forge::rt
