// "METHOD PATH" on a line and behind it the body: what a client may ask of the server, over the fake model. Each request
// is answered once, by well-formed JSON, text or a stream of events, and is never the server's fault.
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "runtime/core/jinja_json.h"
#include "runtime/host/program.h"
#include "runtime/server/api.h"
#include "runtime/server/inbox.h"
#include "tests/fuzz/fuzz_file.h"
#include "tests/runtime/fake_model.h"
#include "tests/runtime/fake_payload.h"

namespace {

using namespace forge::rt;
using forge::fuzz::require;

struct Server {
  FakeModel fake;
  std::vector<uint8_t> bytes = forge::build_payload(fake_payload_input(), false);
  Payload payload;
  Program program;
  std::unique_ptr<Session> session;
  ModelInfo model;
  Inbox inbox;
  std::optional<Service> service;
  std::optional<Api> api;

  Server() {
    init_fake_model(fake);
    auto opened = open_payload(bytes);
    require(static_cast<bool>(opened));
    payload = std::move(*opened);
    program.name = "fuzz";
    program.code = &fake.code;
    program.payload = &payload;
    int status = 0;
    session = open_session(program, {.threads = 1, .ctx = 128, .n_sequences = 4}, status);
    require(session != nullptr);
    require(static_cast<bool>(fill_model_info(program, *session, model)));
    service.emplace(*session, SchedulerOptions{.n_parallel = 4, .n_queued = 64},
                    [this](std::function<void()> fn) { inbox.post(std::move(fn)); });
    require(static_cast<bool>(service->start()));
    api.emplace(*service, model, ApiOptions{});
  }
};

bool is_json(std::string_view text) { return static_cast<bool>(jinja::parse_json(text)); }

class CheckedExchange final : public Exchange {
 public:
  bool answered() const { return ended_; }
  void respond(const HttpResponse& response) override {
    require(!begun_ && !ended_);
    ended_ = true;
    check(response);
    if (response.content_type == "application/json") require(is_json(response.body));
  }
  void begin_stream(const HttpResponse& response) override {
    require(!begun_ && !ended_);
    begun_ = true;
    check(response);
    require(response.content_type == "text/event-stream" && response.status == 200);
  }
  // Whole events: "event: NAME\n" where there is a name, and "data: JSON\n\n".
  void send(std::string_view piece) override {
    require(begun_ && !ended_);
    while (!piece.empty()) {
      if (piece.starts_with("event: ")) piece.remove_prefix(piece.find('\n') + 1);
      const size_t end = piece.find("\n\n");
      require(piece.starts_with("data: ") && end != std::string_view::npos);
      const std::string_view data = piece.substr(6, end - 6);
      require(data == "[DONE]" || is_json(data));
      piece.remove_prefix(end + 2);
    }
  }
  void end_stream() override {
    require(begun_ && !ended_);
    ended_ = true;
  }

 private:
  void check(const HttpResponse& response) const {
    require(response.status >= 200 && response.status < 500);
    for (const auto* headers : {&response_headers, &response.headers})
      for (const auto& [name, value] : *headers)
        require(name.find_first_of("\r\n") == std::string::npos &&
                value.find_first_of("\r\n") == std::string::npos);
  }
  bool begun_ = false, ended_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto& server = *new Server;  // its thread runs to the end
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view line = text.substr(0, text.find('\n'));
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.size() == size) return 0;
  const auto exchange = std::make_shared<CheckedExchange>();
  exchange->request.method = line.substr(0, space);
  exchange->request.path = line.substr(space + 1);
  exchange->request.host = "localhost";
  const auto on_body = server.api->admit(*exchange);
  require((on_body == nullptr) == exchange->answered());
  if (on_body != nullptr) {
    exchange->request.body = text.substr(line.size() + 1);
    on_body(exchange);
  }
  while (!exchange->answered()) server.inbox.run_some();
  return 0;
}
