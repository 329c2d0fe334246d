// The server of a program: the fake model behind HTTP, asked as clients ask.
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
namespace {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

const char* const kHello = R"("messages": [{"role": "user", "content": "Hello"}], "temperature": 0)";

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

std::string text_of_nothing(const std::string& content) {
  return R"({"max_tokens": 1, "messages": [{"role": "user", "content": )" + content + "}]}";
}
std::string body_of(const std::string& rest) { return "{" + rest + "}"; }
std::string hello(const std::string& rest) { return body_of(std::string(kHello) + ", " + rest); }

TEST_F(ServerTest, EveryApiGivesTheSameText) {
  start();
  const Json chat = post("/v1/chat/completions", hello(R"("max_tokens": 20)"));
  const std::string text = chat["choices"][0]["message"]["content"];
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(chat["object"], "chat.completion");
  EXPECT_EQ(chat["model"], "fake");
  EXPECT_EQ(chat["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(chat["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(chat["usage"]["completion_tokens"], 20);
  const int n_prompt = chat["usage"]["prompt_tokens"];
  EXPECT_EQ(chat["usage"]["total_tokens"], n_prompt + 20);

  std::string streamed;
  auto events = stream(
      "/v1/chat/completions",
      hello(R"("max_completion_tokens": 20, "stream": true, "stream_options": {"include_usage": true})"));
  ASSERT_GT(events.size(), 4U);
  EXPECT_EQ(events.front()["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(events.back(), "[DONE]");
  events.pop_back();
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], 20);
  EXPECT_GT(events.back()["timings"]["predicted_per_second"], 0);
  events.pop_back();
  EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "length");
  for (const Json& event : events) streamed += event["choices"][0]["delta"].value("content", "");
  EXPECT_EQ(streamed, text);

  const std::string prompt = post("/apply-template", hello(R"("n": 1)"))["prompt"];
  EXPECT_EQ(prompt, "<|start|>user\nHello<|end|>\n<|start|>assistant\n");
  const Json tokens = post("/tokenize", Json{{"content", prompt}}.dump())["tokens"];
  EXPECT_EQ(tokens.size(), n_prompt);
  EXPECT_EQ(post("/detokenize", Json{{"tokens", tokens}}.dump())["content"], prompt);
  const Json completion =
      post("/v1/completions", Json{{"prompt", prompt}, {"temperature", 0}, {"max_tokens", 20}}.dump());
  EXPECT_EQ(completion["choices"][0]["text"], text);
  EXPECT_EQ(
      post("/completions", Json{{"prompt", tokens}, {"temperature", 0}, {"max_tokens", 20}, {"echo", true}}
                               .dump())["choices"][0]["text"],
      prompt + text);
  streamed.clear();
  for (const Json& event :
       stream("/v1/completions",
              Json{{"prompt", prompt}, {"temperature", 0}, {"max_tokens", 20}, {"stream", true}}.dump()))
    if (event.is_object()) streamed += event["choices"][0]["text"];
  EXPECT_EQ(streamed, text);

  const Json message = post("/v1/messages", hello(R"("max_tokens": 20)"));
  EXPECT_EQ(message["content"][0]["text"], text);
  EXPECT_EQ(message["stop_reason"], "max_tokens");
  EXPECT_EQ(post("/v1/messages/count_tokens", body_of(kHello))["input_tokens"], n_prompt);
  streamed.clear();
  std::string types;
  for (const Json& event : stream("/v1/messages", hello(R"("max_tokens": 20, "stream": true)"))) {
    const std::string type = event["type"];
    if (types.find(type) == std::string::npos) types += type + " ";
    if (type == "content_block_delta") streamed += event["delta"]["text"];
  }
  EXPECT_EQ(streamed, text);
  EXPECT_EQ(
      types,
      "message_start content_block_start content_block_delta content_block_stop message_delta message_stop ");

  const Json response =
      post("/v1/responses", R"({"input": "Hello", "temperature": 0, "max_output_tokens": 20})");
  EXPECT_EQ(response["output"][0]["content"][0]["text"], text);
  EXPECT_EQ(response["status"], "incomplete");
  streamed.clear();
  int64_t number = 0;
  for (
      const Json& event : stream(
          "/v1/responses",
          R"({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}], "temperature": 0, "max_output_tokens": 20, "stream": true})")) {
    EXPECT_EQ(event["sequence_number"], number++);
    if (event["type"] == "response.output_text.delta") streamed += event["delta"];
  }
  EXPECT_EQ(streamed, text);
}

TEST_F(ServerTest, SeedsStopsChoicesAndLogprobs) {
  start();
  const auto text_of = [&](const std::string& rest, size_t choice = 0) {
    return post("/v1/chat/completions",
                R"({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 30, )" + rest +
                    "}")["choices"][choice]["message"]["content"]
        .get<std::string>();
  };
  EXPECT_EQ(text_of(R"("seed": 5)"), text_of(R"("seed": 5)"));
  EXPECT_NE(text_of(R"("seed": 5)"), text_of(R"("seed": 6)"));
  EXPECT_NE(text_of(R"("n": 1)"), text_of(R"("n": 1)"));  // no seed: another one each time
  EXPECT_EQ(text_of(R"("seed": 5, "n": 3)", 1), text_of(R"("seed": 6)"));
  // A bias of 100 is as good as an order.
  const std::string forced = text_of(R"("logit_bias": {"65": 100}, "temperature": 0)");
  EXPECT_EQ(forced, std::string(30, 'A'));
  EXPECT_EQ(text_of(R"("logit_bias": {"65": 100}, "temperature": 0, "stop": ["AAA"])"), "");
  EXPECT_EQ(text_of(R"("logit_bias": [[65, 100]], "temperature": 0, "stop": "B")"), forced);

  const Json with =
      post("/v1/chat/completions", hello(R"("max_tokens": 3, "logprobs": true, "top_logprobs": 2)"));
  const Json content = with["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 3U);
  for (const Json& token : content) {
    EXPECT_LE(token["logprob"], 0);
    ASSERT_EQ(token["top_logprobs"].size(), 2U);
    EXPECT_EQ(token["top_logprobs"][0]["logprob"], token["logprob"]);  // greedy
    EXPECT_GE(token["top_logprobs"][0]["logprob"], token["top_logprobs"][1]["logprob"]);
  }
  const Json echoed =
      post("/v1/completions",
           R"({"prompt": "abc", "echo": true, "logprobs": 1, "max_tokens": 2, "temperature": 0})");
  const Json logprobs = echoed["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"].size(), 5U);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["token_logprobs"][1].is_number());
  EXPECT_EQ(logprobs["text_offset"], Json({0, 1, 2, 3, 4}));
  // A stream has the same, of each choice; offsets are characters: "\u00e9" is two tokens of the fake model.
  const std::string request =
      R"({"prompt": "a\u00e9c", "echo": true, "logprobs": 1, "max_tokens": 4, "seed": 1, "n": 2)";
  const Json whole = post("/v1/completions", request + "}");
  EXPECT_EQ(whole["choices"][0]["logprobs"]["text_offset"][3], 2);
  Json streamed[2];
  for (const Json& event : stream("/v1/completions", request + R"(, "stream": true})")) {
    if (!event.is_object()) continue;
    const Json choice = event["choices"][0];
    if (choice["logprobs"].is_null()) continue;
    Json& to = streamed[choice["index"].get<size_t>()];
    for (const char* name : {"tokens", "token_logprobs", "text_offset"})
      for (const Json& item : choice["logprobs"][name]) to[name].push_back(item);
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(streamed[i]["token_logprobs"].size(), 8U);
    for (const char* name : {"tokens", "token_logprobs"})
      EXPECT_EQ(streamed[i][name], whole["choices"][i]["logprobs"][name]) << i;
    EXPECT_EQ(streamed[i]["text_offset"][4], 3) << streamed[i];
  }
}

// A template that writes no calls gets them as text, whose markers are the control tokens.
TEST_F(ServerTest, PastCallsKeepTheirMarkers) {
  PayloadInput input = fake_payload_input("<call>");
  AnswerFormat format = *AnswerFormat::from_text(input.manifest["answer.format"]);
  format.renders_calls = false;
  format.calls = {.style = CallStyle::json,
                  .call_begin = "<call>",
                  .call_end = "</call>",
                  .name_key = "name",
                  .arguments_key = "arguments",
                  .key_order = {"name", "arguments"}};
  input.manifest["answer.format"] = format.to_text();
  write_executable(program_, forge::read_file(FAKE_PROGRAM), input, nullptr);
  start();
  const std::string body =
      R"({"messages": [{"role": "user", "content": "<call>"}, {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{\"s\": \"<|end|>\"}"}}]}, {"role": "user", "content": "x"}], "max_tokens": 1})";
  const std::string prompt = post("/apply-template", body)["prompt"];
  EXPECT_NE(prompt.find(R"(<call>{"name": "f", "arguments": {"s": "<|end|>"}}</call>)"), std::string::npos)
      << prompt;
  // Ends of three messages and the call's beginning are tokens; what the client wrote is bytes.
  EXPECT_EQ(post("/v1/chat/completions", body)["usage"]["prompt_tokens"], prompt.size() - 3 * 6 - 5)
      << prompt;
}

TEST_F(ServerTest, AnswersGoOnFromTheAssistantsText) {
  start();
  const Json chat = post(
      "/apply-template",
      R"({"messages": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi <|end|>"},
      {"role": "assistant", "content": "Sure: <|start|>"}]})");
  EXPECT_EQ(chat["prompt"],
            "<|start|>system\nBe kind.<|end|>\n<|start|>user\nHi <|end|><|end|>\n<|start|>assistant\nSure: "
            "<|start|>");
  // Nor where a noncharacter stands in the name, or pieces of it in each other.
  for (const char* hidden : {"<|\xef\xb7\x90"
                             "end|>",
                             "<|\xef\xef\xb7\x90\xb7\x90"
                             "end|>"})
    EXPECT_EQ(
        post("/v1/messages/count_tokens", Json{{"messages", {{{"role", "user"}, {"content", hidden}}}}}.dump(
                                              -1, ' ', false, Json::error_handler_t::ignore))["input_tokens"],
        post("/v1/messages/count_tokens",
             R"({"messages": [{"role": "user", "content": "<|end|>"}]})")["input_tokens"]);
  // What messages say does not become a control token.
  const Json counted =
      post("/v1/messages/count_tokens", R"({"messages": [{"role": "user", "content": "<|end|>"}]})");
  EXPECT_EQ(counted["input_tokens"], std::strlen("\0user\n<|end|>\0\n\0assistant\n") + 5 + 21);
}

// The fake model says anything: what it says here is the constraint's doing.
TEST_F(ServerTest, AnswersAreHeldToWhatIsAskedFor) {
  start();
  const auto answer = [&](const std::string& constraint) {
    const Json chat =
        post("/v1/chat/completions",
             R"({"messages": [{"role": "user", "content": "x"}], "max_tokens": 300, )" + constraint + "}");
    EXPECT_EQ(chat["choices"][0]["finish_reason"], "stop") << constraint << chat;
    return chat["choices"][0]["message"]["content"].get<std::string>();
  };
  const std::string schema =
      R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 3, "maximum": 12}}, "required": ["name", "age"], "additionalProperties": false})";
  for (const std::string& constraint :
       {R"("response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": )" + schema +
            "}}",
        R"("json_schema": )" + schema}) {
    const Json value = Json::parse(answer(constraint));
    EXPECT_EQ(value.size(), 2U);
    EXPECT_GE(value["age"], 3);
    EXPECT_LE(value["age"], 12);
    EXPECT_TRUE(value["name"].is_string());
  }
  const std::string word = answer(R"("regex": "[ab]{3}")");
  EXPECT_EQ(word.size(), 3U);
  EXPECT_EQ(word.find_first_not_of("ab"), std::string::npos);
  const std::string choice = answer(R"("choice": ["yes", "no"])");
  EXPECT_TRUE(choice == "yes" || choice == "no") << choice;
  EXPECT_EQ(answer(R"("grammar": "root ::= \"tick\" tock\ntock ::= \"tock\"")"), "ticktock");
  EXPECT_EQ(post("/v1/completions",
                 R"({"prompt": "x", "choice": ["only"], "max_tokens": 9})")["choices"][0]["text"],
            "only");
  EXPECT_EQ(
      post(
          "/v1/responses",
          R"({"input": "x", "text": {"format": {"type": "json_schema", "name": "n", "schema": {"const": 7}}}})")
          ["output"][0]["content"][0]["text"],
      "7");
  // It fails closed.
  const auto refusal = [&](const std::string& constraint) {
    const HttpAnswer refused = ask("POST", "/v1/chat/completions", hello(constraint));
    EXPECT_EQ(refused.status, 400);
    return Json::parse(refused.body)["error"]["message"].get<std::string>();
  };
  EXPECT_NE(
      refusal(R"("json_schema": {"properties": {"a": {"multipleOf": 3}}})").find("#/properties/a/multipleOf"),
      std::string::npos);
  EXPECT_NE(refusal(R"("regex": "(?=a)b")").find("regex"), std::string::npos);
  EXPECT_NE(refusal(R"("grammar": "root ::= root")").find("left recursive"), std::string::npos);
  EXPECT_NE(refusal(R"("response_format": {"type": "xml"})").find("json_schema"), std::string::npos);
  EXPECT_NE(refusal(R"("regex": "a", "choice": ["b"])").find("one of"), std::string::npos);
}

// What a request asks for is its own mistake, also where that shows only as the text is made.
TEST_F(ServerTest, WhatAllowsNoTokenIsTheRequestsMistake) {
  start();
  const std::string body = R"({"prompt": "x", "max_tokens": 9, "regex": "aaa", "logit_bias": {"97": -100})";
  const HttpAnswer answer = ask("POST", "/v1/completions", body + "}");
  EXPECT_EQ(answer.status, 400) << answer.body;
  EXPECT_EQ(Json::parse(answer.body)["error"]["type"], "invalid_request_error");
  const HttpAnswer streamed = ask("POST", "/v1/completions", body + R"(, "stream": true})");
  EXPECT_NE(streamed.body.find("no allowed token"), std::string::npos) << streamed.body;
}

TEST_F(ServerTest, ToolsAreCalled) {
  start();
  const std::string tools =
      R"("tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}, {"type": "function", "function": {"name": "other"}}], "max_tokens": 400)";
  const Json chat = post(
      "/v1/chat/completions",
      hello(
          tools +
          R"(, "tool_choice": {"type": "function", "function": {"name": "look_up"}}, "parallel_tool_calls": false)"));
  const Json choice = chat["choices"][0];
  ASSERT_EQ(choice["finish_reason"], "tool_calls") << chat;
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1U);
  const Json call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["function"]["name"], "look_up");
  EXPECT_TRUE(Json::parse(call["function"]["arguments"].get<std::string>()).is_object());
  std::string name;
  std::string arguments;
  for (const Json& event : stream(
           "/v1/chat/completions",
           hello(tools + R"(, "tool_choice": "required", "parallel_tool_calls": false, "stream": true)"))) {
    if (!event.is_object() || !event["choices"][0]["delta"].contains("tool_calls")) continue;
    const Json delta = event["choices"][0]["delta"]["tool_calls"][0];
    EXPECT_EQ(delta["index"], 0);
    name += delta["function"].value("name", "");
    arguments += delta["function"].value("arguments", "");
  }
  EXPECT_TRUE(name == "look_up" || name == "other") << name;
  EXPECT_TRUE(Json::parse(arguments).is_object());
  const Json message = post(
      "/v1/messages",
      hello(
          R"("max_tokens": 400, "tools": [{"name": "look_up", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any", "disable_parallel_tool_use": true})"));
  EXPECT_EQ(message["stop_reason"], "tool_use");
  EXPECT_EQ(message["content"][0]["type"], "tool_use") << message;
  EXPECT_EQ(message["content"][0]["name"], "look_up");
  EXPECT_TRUE(message["content"][0]["input"].is_object());
  for (const char* wrong : {R"("tools": 1)", R"("tools": [{}])", R"("tool_choice": "required")",
                            R"("tools": [{"name": "a"}], "tool_choice": "never")"})
    EXPECT_EQ(ask("POST", "/v1/chat/completions", hello(wrong)).status, 400) << wrong;
}

// A template that opens thoughts and whose calls begin with a control token.
const char* const kThinkingTemplate =
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}[{{ m.role }}]"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content or "
    "'' }}"
    "{% for c in m.tool_calls or [] %}<call>{\"name\": \"{{ c.function.name }}\", \"arguments\": "
    "{{ c.function.arguments | tojson }}}</call>{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}";

class ThinkingServerTest : public ServerTest {
 protected:
  void SetUp() override {
    PayloadInput input = fake_payload_input("<call>");
    input.chat_template = kThinkingTemplate;
    const auto parsed = ChatTemplate::parse(kThinkingTemplate);
    ASSERT_TRUE(parsed);
    input.manifest["answer.format"] = derive_answer_format(*parsed).to_text();
    write_executable(program_, forge::read_file(FAKE_PROGRAM), input, nullptr);
  }
};

constexpr std::string_view kTool =
    R"({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 5}, "s": {"enum": ["x", "y"]}}, "required": ["n", "s"]}}})";

TEST_F(ThinkingServerTest, ThoughtsAreCutOffAndTheGrammarComesBehind) {
  start();
  const std::string constraint = R"("max_tokens": 60, "regex": "[ab]{4}", )";
  for (const char* budget :
       {R"("thinking_budget_tokens": 7)", R"("thinking_budget": 7)", R"("thinking_token_budget": 7)",
        R"("chat_template_kwargs": {"thinking_budget": 7})",
        R"("reasoning_effort": "high", "reasoning_budget": 7)"}) {
    const Json chat = post("/v1/chat/completions", hello(constraint + budget));
    // Thoughts, the eight bytes of their end, two line ends, the answer.
    EXPECT_EQ(chat["usage"]["completion_tokens_details"]["reasoning_tokens"], 15) << budget << chat;
    EXPECT_EQ(chat["usage"]["completion_tokens"], 21);
    const Json message = chat["choices"][0]["message"];
    EXPECT_NE(message["reasoning_content"], "");
    const std::string said = message["content"];
    EXPECT_EQ(said.size(), 4U);
    EXPECT_EQ(said.find_first_not_of("ab"), std::string::npos);
  }
  const Json off = post("/v1/chat/completions", hello(constraint + R"("reasoning_effort": "none")"));
  EXPECT_EQ(off["usage"]["completion_tokens_details"]["reasoning_tokens"], 8) << off;
  EXPECT_FALSE(off["choices"][0]["message"].contains("reasoning_content"));
  const Json response =
      post("/v1/responses",
           R"({"input": "x", "max_output_tokens": 60, "regex": "[ab]{4}", "reasoning": {"effort": "none"}})");
  EXPECT_EQ(response["usage"]["output_tokens_details"]["reasoning_tokens"], 8) << response;
  const std::string anthropic = R"("max_tokens": 60, "regex": "[ab]{4}")";
  const Json message =
      post("/v1/messages", hello(anthropic + R"(, "thinking": {"type": "enabled", "budget_tokens": 5})"));
  EXPECT_EQ(message["usage"]["output_tokens"], 19);
  EXPECT_EQ(message["content"][0]["type"], "thinking") << message;
  EXPECT_EQ(post("/v1/messages", hello(anthropic))["content"][0]["type"], "text");
  for (const char* wrong : {R"({"type": "enabled", "budget_tokens": 60})",
                            R"({"type": "enabled", "budget_tokens": 0})", R"({"type": "x"})"})
    EXPECT_EQ(ask("POST", "/v1/messages", hello(anthropic + R"(, "thinking": )" + wrong)).status, 400)
        << wrong;
  EXPECT_EQ(ask("POST", "/v1/chat/completions", hello(R"("reasoning_effort": "some")")).status, 400);
}

TEST_F(ThinkingServerTest, ForcedCallsKeepToTheSchemaBehindThoughts) {
  start();
  const std::string request =
      R"("max_tokens": 300, "thinking_budget": 3, "parallel_tool_calls": false, "tools": [)" +
      std::string(kTool) + "]";
  for (const char* choice : {R"("required")", R"({"type": "function", "function": {"name": "f"}})"}) {
    const Json chat = post("/v1/chat/completions", hello(request + R"(, "tool_choice": )" + choice));
    const Json message = chat["choices"][0]["message"];
    ASSERT_EQ(chat["choices"][0]["finish_reason"], "tool_calls") << chat;
    ASSERT_EQ(message["tool_calls"].size(), 1U);
    const Json arguments = Json::parse(message["tool_calls"][0]["function"]["arguments"].get<std::string>());
    EXPECT_EQ(arguments.size(), 2U);
    EXPECT_GE(arguments["n"], 3);
    EXPECT_LE(arguments["n"], 5);
    EXPECT_TRUE(message["content"].is_null()) << message;
  }
  const HttpAnswer refused = ask(
      "POST", "/v1/chat/completions",
      hello(
          R"("tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"multipleOf": 2}}}}}], "tool_choice": "required")"));
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.body.find("'f'"), std::string::npos) << refused.body;
  EXPECT_NE(refused.body.find("#/properties/a/multipleOf"), std::string::npos) << refused.body;
}

TEST_F(ThinkingServerTest, ResponsesCallFunctions) {
  start();
  const std::string tools =
      R"("max_output_tokens": 300, "parallel_tool_calls": false, "thinking_budget": 0, "seed": 3, "tool_choice": "required", "tools": [{"type": "function", "name": "f", "strict": true, "parameters": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 5}}, "required": ["n"]}}])";
  const Json response = post("/v1/responses", R"({"input": "x", )" + tools + "}");
  ASSERT_EQ(response["output"].size(), 1U) << response;
  const Json item = response["output"][0];
  EXPECT_EQ(item["type"], "function_call");
  EXPECT_EQ(item["name"], "f");
  EXPECT_EQ(item["status"], "completed");
  EXPECT_EQ(response["tool_choice"], "required");
  EXPECT_EQ(response["parallel_tool_calls"], false);
  EXPECT_GE(Json::parse(item["arguments"].get<std::string>())["n"], 3);
  std::vector<std::string> types;
  std::string arguments;
  int64_t sequence = 0;
  Json last;
  for (const Json& event : stream("/v1/responses", R"({"input": "x", "stream": true, )" + tools + "}")) {
    types.push_back(event["type"]);
    EXPECT_EQ(event["sequence_number"], sequence++);
    if (event["type"] == "response.function_call_arguments.delta") arguments += event["delta"];
    if (event["type"] == "response.function_call_arguments.done")
      EXPECT_EQ(event["arguments"], Json(arguments));
    if (event["type"] == "response.output_item.done") EXPECT_EQ(event["item"]["arguments"], Json(arguments));
    if (event.contains("output_index")) EXPECT_EQ(event["output_index"], 0);
    last = event;
  }
  EXPECT_EQ(types, (Strings{"response.created", "response.in_progress", "response.output_item.added",
                            "response.function_call_arguments.delta", "response.function_call_arguments.done",
                            "response.output_item.done", "response.completed"}));
  EXPECT_EQ(Json(arguments), item["arguments"]);
  EXPECT_EQ(last["response"]["output"][0]["arguments"], Json(arguments));
  // And back: the call and its output are what chat's messages make of them.
  const auto count = [&](std::string_view path, const std::string& body) {
    const Json answer = post(path, body);
    return answer["usage"].contains("input_tokens") ? answer["usage"]["input_tokens"]
                                                    : answer["usage"]["prompt_tokens"];
  };
  EXPECT_EQ(
      count(
          "/v1/responses",
          R"({"max_output_tokens": 1, "input": [{"role": "user", "content": "x"}, {"type": "reasoning", "summary": []}, {"role": "assistant", "content": "so"}, {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"n\": 3}"}, {"type": "function_call_output", "call_id": "c1", "output": "four"}]})"),
      count(
          "/v1/chat/completions",
          R"({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "so", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"n\": 3}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "four"}]})"));
  for (const char* wrong :
       {R"([{"type": "function_call", "name": "f"}])",
        R"([{"type": "function_call_output", "call_id": "c"}])", R"([{"type": "item_reference", "id": "x"}])",
        R"([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}])", "[]", "[3]"})
    EXPECT_EQ(ask("POST", "/v1/responses", R"({"input": )" + std::string(wrong) + "}").status, 400) << wrong;
}

TEST_F(ServerTest, Batch) {
  const std::string requests = directory_.file("requests.jsonl");
  const std::string answers = directory_.file("answers.jsonl");
  std::string lines;
  for (int i = 0; i < 12; ++i)
    lines += Json{{"custom_id", "r" + std::to_string(i)},
                  {"method", "POST"},
                  {"url", i == 3 ? "/v1/nothing" : "/v1/chat/completions"},
                  {"body",
                   {{"messages", {{{"role", "user"}, {"content", std::to_string(i)}}}},
                    {"temperature", 0},
                    {"max_tokens", i == 4 ? -7 : 9}}}}
                 .dump() +
             "\n";
  forge::write_file(requests, as_bytes(lines));
  const auto run = [&](const std::string& environment) {
    const std::string command =
        environment + " " + program_ + " batch " + requests + " -o " + answers + " --parallel 2 2>" + log_;
    return WEXITSTATUS(std::system(command.c_str()));  // NOLINT(cert-env33-c)
  };
  const auto read = [](const std::string& path) {
    std::map<std::string, Json> out;
    const auto bytes = forge::read_file(path);
    std::istringstream in(std::string(bytes.begin(), bytes.end()));
    for (std::string line; std::getline(in, line);) {
      const Json value = Json::parse(line);
      out[value["custom_id"]] = value;
    }
    return out;
  };
  ASSERT_EQ(run(""), 0) << log();
  const auto whole = read(answers);
  ASSERT_EQ(whole.size(), 12U);
  EXPECT_EQ(whole.at("r3")["response"]["status_code"], 404);
  EXPECT_EQ(whole.at("r4")["response"]["status_code"], 400);
  EXPECT_EQ(whole.at("r5")["response"]["status_code"], 200);
  EXPECT_FALSE(std::filesystem::exists(answers + ".partial"));
  // Broken off, with half a line at the end: the same command answers the rest.
  std::string part = whole.at("r5").dump() + "\n" + whole.at("r6").dump() + "\n";
  part += whole.at("r7").dump().substr(0, 50);
  forge::write_file(answers + ".partial", as_bytes(part));
  ASSERT_EQ(run(""), 0) << log();
  EXPECT_NE(log().find("2 of 12 are there"), std::string::npos) << log();
  const auto resumed = read(answers);
  ASSERT_EQ(resumed.size(), 12U);
  EXPECT_EQ(resumed.at("r5"), whole.at("r5"));
  EXPECT_EQ(resumed.at("r8")["response"]["body"]["choices"], whole.at("r8")["response"]["body"]["choices"]);
  // Another request of the same name, and one that is not asked for any more: neither's answer is taken for this one's.
  Json other = whole.at("r5");
  other["id"] = "batch_req_0000000000000000";
  Json gone = whole.at("r6");
  gone["custom_id"] = "gone";
  forge::write_file(answers + ".partial",
                    as_bytes(other.dump() + "\n" + gone.dump() + "\n" + whole.at("r7").dump() + "\n"));
  ASSERT_EQ(run(""), 0) << log();
  EXPECT_NE(log().find("1 of 12 are there"), std::string::npos) << log();
  const auto anew = read(answers);
  EXPECT_EQ(anew.size(), 12U);
  EXPECT_EQ(anew.at("r5")["id"], whole.at("r5")["id"]);
  lines += "{\"custom_id\": \"r5\", \"url\": \"/\", \"body\": {}}\n";
  forge::write_file(requests, as_bytes(lines));
  EXPECT_EQ(run(""), 1);
  EXPECT_NE(log().find("line 13: custom_id r5 stands in an earlier line"), std::string::npos) << log();
}

TEST_F(ServerTest, Embeddings) {
  start();
  const Json plain = post("/v1/embeddings", R"({"input": ["one", "two", "one"]})");
  ASSERT_EQ(plain["data"].size(), 3U);
  EXPECT_EQ(plain["usage"]["prompt_tokens"], 9);
  const auto first = plain["data"][0]["embedding"].get<std::vector<double>>();
  double squares = 0;
  for (const double x : first) squares += x * x;
  EXPECT_NEAR(squares, 1, 1e-5);
  EXPECT_EQ(plain["data"][2]["embedding"], plain["data"][0]["embedding"]);
  EXPECT_NE(plain["data"][1]["embedding"], plain["data"][0]["embedding"]);
  const Json coded = post("/v1/embeddings", R"({"input": "one", "encoding_format": "base64"})");
  const auto bytes = decode_base64(coded["data"][0]["embedding"].get<std::string>());
  ASSERT_TRUE(bytes);
  ASSERT_EQ(bytes->size(), first.size() * sizeof(float));
  for (size_t i = 0; i < first.size(); ++i) {
    float x = 0;
    std::memcpy(&x, bytes->data() + i * sizeof x, sizeof x);
    EXPECT_NEAR(static_cast<double>(x), first[i], 1e-7);
  }
}

TEST_F(ServerTest, MistakesAreToldAsOpenAiTellsThem) {
  start();
  const struct {
    const char *method, *target, *body;
    int status;
    const char *param, *part;
  } cases[] = {
      {"POST", "/v1/chat/completions", "{", 400, nullptr, "JSON, byte 1"},
      {"POST", "/v1/chat/completions", "[]", 400, nullptr, "the body: expected a JSON object"},
      {"POST", "/v1/chat/completions", "{}", 400, "messages", "missing field: messages"},
      {"POST", "/v1/chat/completions", R"({"messages": []})", 400, "messages", "1 to 4096"},
      {"POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\xfe\"}]}",
       400, nullptr, "the body: not UTF-8"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "a b"}}]})",
       400, "tools.0.function.name", "letters, digits"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "a"}}, {"type": "function", "function": {"name": "a"}}]})",
       400, "tools.1.function.name", "an earlier tool"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [], "tool_choice": "required"})", 400,
       "tool_choice", "there are no tools"},
      {"POST", "/v1/chat/completions", R"({"messages": [{"role": "king", "content": ""}]})", 400,
       "messages.0.role", "assistant"},
      {"POST", "/v1/chat/completions", R"({"messages": [{"role": "user"}]})", 400, "messages.0.content",
       "missing"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", 400,
       "messages.0.content.0.type", "text alone"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "temperature": "hot"})", 400, "temperature",
       "a number from 0"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "temperature": 1e999})", 400, nullptr, "number"},
      {"POST", "/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "n": 1000})", 400,
       "n", "1 to 16"},
      {"POST", "/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "stop": [""]})",
       400, "stop", "1 to 1000 bytes"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "logit_bias": {"9999": 1}})", 400, "logit_bias",
       "token ids"},
      {"POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2})", 400, "top_logprobs",
       "logprobs: true"},
      {"POST", "/v1/completions", R"({"prompt": ["a", "b"]})", 400, "prompt", "one text"},
      {"POST", "/v1/completions", R"({"prompt": [9999]})", 400, "prompt", "below 258"},
      {"POST", "/v1/completions", R"({"prompt": ""})", 400, nullptr, "no tokens"},
      {"POST", "/v1/responses", R"({"input": "x", "previous_response_id": "y"})", 400, "previous_response_id",
       "no conversations"},
      {"POST", "/infill", R"({"input_prefix": "x"})", 400, nullptr, "fill-in-the-middle"},
      {"POST", "/v1/chat/completions", R"({"messages": [{"role": "assistant", "content": "x"}]})", 400,
       "messages", "user"},
      {"GET", "/v1/nothing", "", 404, nullptr, "there is no GET /v1/nothing"},
      {"GET", "/v1/chat/completions", "", 405, nullptr, "takes POST"},
      {"POST", "/health", "{}", 405, nullptr, "takes GET"},
  };
  for (const auto& c : cases) {
    const HttpAnswer answer = ask(c.method, c.target, c.body);
    EXPECT_EQ(answer.status, c.status) << c.target << c.body;
    const Json error = Json::parse(answer.body)["error"];
    EXPECT_NE(error["message"].get<std::string>().find(c.part), std::string::npos) << error;
    if (c.param != nullptr) EXPECT_EQ(error["param"], c.param) << error;
    EXPECT_EQ(error["type"], "invalid_request_error");
  }
  EXPECT_EQ(ask("GET", "/v1/chat/completions").headers.at("allow"), "POST");
  for (const char* path : {"/v1/models", "/models"}) {
    EXPECT_EQ(ask("GET", std::string(path) + "/fake").status, 200);
    EXPECT_EQ(ask("GET", std::string(path) + "/other").status, 404);
  }
  for (const char* path : {"/v1/messages", "/messages", "/messages/count_tokens?x"}) {
    HttpClient client(port_);
    client.send("POST " + std::string(path) + " HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n");
    const HttpAnswer answer = client.answer();
    EXPECT_EQ(answer.status, 413);
    EXPECT_EQ(Json::parse(answer.body)["error"]["type"], "request_too_large") << path;
    EXPECT_EQ(Json::parse(ask("POST", path, "{}").body)["type"], "error");
  }
  const HttpAnswer too_long = ask("POST", "/v1/completions", Json{{"prompt", std::string(600, 'x')}}.dump());
  EXPECT_EQ(too_long.status, 400);
  EXPECT_EQ(Json::parse(too_long.body)["error"]["code"], "context_length_exceeded");
  // Longer than any tokens could make it: told without looking for them.
  const std::string long_text(512 * 9 + 10, 'x');
  for (const auto& [target, body] : std::map<std::string, Json>{
           {"/v1/completions", {{"prompt", long_text}}},
           {"/v1/embeddings", {{"input", long_text}}},
           {"/apply-template", {{"messages", {{{"role", "user"}, {"content", long_text}}}}}},
           {"/v1/chat/completions", {{"messages", {{{"role", "user"}, {"content", long_text}}}}}}}) {
    const HttpAnswer refused = ask("POST", target, body.dump());
    EXPECT_EQ(refused.status, 400) << target;
    EXPECT_NE(refused.body.find("bytes is more than"), std::string::npos) << refused.body;
    EXPECT_EQ(Json::parse(refused.body)["error"]["code"], "context_length_exceeded");
  }
  EXPECT_EQ(ask("POST", "/tokenize", Json{{"content", std::string((1 << 20) + 1, 'x')}}.dump()).status, 400);
  const HttpAnswer anthropic = ask("POST", "/v1/messages", "{}");
  EXPECT_EQ(anthropic.status, 400);
  EXPECT_EQ(Json::parse(anthropic.body)["type"], "error");
  for (const char* content :
       {"[]", R"([{"type": "text", "text": ""}])", R"([{"type": "redacted_thinking"}])"})
    for (const char* target : {"/v1/messages", "/v1/messages/count_tokens"})
      EXPECT_EQ(ask("POST", target, text_of_nothing(content)).status, 400) << content;
  EXPECT_EQ(Json::parse(anthropic.body)["error"]["type"], "invalid_request_error");
}

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

TEST_F(ServerTest, SlotsAreSavedAndRestored) {
  const std::string folder = directory_.file("slots");
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  start({"--parallel", "2", "--slot-save-path", folder});
  const std::string body =
      R"({"prompt": "Once upon a time there was a slot that held a text", "max_tokens": 9,
                               "temperature": 0, "id_slot": 1})";
  const std::string said = post("/v1/completions", body)["choices"][0]["text"];
  const Json slots = Json::parse(ask("GET", "/slots").body);
  ASSERT_EQ(slots.size(), 2U);
  EXPECT_EQ(slots[0]["n_past"], 0);
  const int n = slots[1]["n_past"];
  EXPECT_GT(n, 50);
  const Json saved = post("/slots/1?action=save", R"({"filename": "one.kv"})");
  EXPECT_EQ(saved["n_saved"], n);
  EXPECT_EQ(saved["n_written"], std::filesystem::file_size(folder + "/one.kv"));
  EXPECT_EQ(post("/slots/1?action=erase", "")["n_erased"], n);
  EXPECT_EQ(post("/slots/1?action=erase", "")["n_erased"], 0);
  EXPECT_EQ(ask("POST", "/slots/1?action=save", R"({"filename": "one.kv"})").status, 404);
  Json answer = post("/v1/completions", body);
  EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  post("/slots/1?action=erase", "");
  EXPECT_EQ(post("/slots/0?action=restore", R"({"filename": "one.kv"})")["n_restored"], n);
  answer = post("/v1/completions", body);
  EXPECT_GT(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 40);
  EXPECT_EQ(answer["choices"][0]["text"], said);
  // Another start of the program reads it.
  EXPECT_EQ(stop(), 0);
  start({"--slot-save-path", folder});
  EXPECT_EQ(post("/slots/3?action=restore", R"({"filename": "one.kv"})")["n_restored"], n);

  // Nothing but plain names of that folder.
  for (const char* name : {"", ".", "..", "../log", "/etc/passwd", ".hidden", "a/b", "a\\u0000b", "ä"})
    for (const char* action : {"save", "restore"}) {
      const HttpAnswer refused = ask("POST", std::string("/slots/0?action=") + action,
                                     std::string(R"({"filename": ")") + name + "\"}");
      EXPECT_EQ(refused.status, 400) << name << refused.body;
    }
  EXPECT_EQ(ask("POST", "/slots/0?action=restore", R"({"filename": "none.kv"})").status, 400);
  EXPECT_EQ(ask("POST", "/slots/0?action=restore", "{}").status, 400);
  EXPECT_EQ(ask("POST", "/slots/0?action=restore", "{").status, 400);
  EXPECT_EQ(ask("POST", "/slots/0?action=other", "{}").status, 400);
  EXPECT_EQ(ask("POST", "/slots/0", "{}").status, 400);
  EXPECT_EQ(ask("POST", "/slots/4?action=erase", "").status, 404);
  EXPECT_EQ(ask("POST", "/slots/x?action=erase", "").status, 404);
  EXPECT_EQ(ask("GET", "/slots/0?action=erase", "").status, 405);
  EXPECT_EQ(stop(), 0);
  start();
  EXPECT_EQ(ask("POST", "/slots/0?action=save", R"({"filename": "one.kv"})").status, 501);
}

// A text that lost its place in memory, or was run by a server that ended, is read from the folder.
TEST_F(ServerTest, KeptTextsOutliveTheirServer) {
  const std::string folder = directory_.file("kept");
  const Strings args = {"--parallel", "1", "--ctx", "256", "--prefix-cache", folder};
  const auto body = [](int i) {
    return R"({"max_tokens": 5, "temperature": 0, "prompt": ")" + std::to_string(i) + std::string(150, 'x') +
           "\"}";
  };
  const auto n_cached = [](const Json& answer) {
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  start(args);
  std::vector<std::string> texts;
  texts.reserve(4);
  for (int i = 0; i < 4; ++i) texts.push_back(post("/v1/completions", body(i))["choices"][0]["text"]);
  // Memory holds one of them.
  EXPECT_LE(metric("cached_texts"), 2);
  for (int i = 0; i < 4; ++i) {
    const Json answer = post("/v1/completions", body(i));
    EXPECT_GT(n_cached(answer), 140) << i;
    EXPECT_EQ(answer["choices"][0]["text"], texts[static_cast<size_t>(i)]);
  }
  EXPECT_EQ(stop(), 0);
  start(args);
  for (int i = 0; i < 4; ++i) {
    const Json answer = post("/v1/completions", body(i));
    EXPECT_GT(n_cached(answer), 140) << i;
    EXPECT_EQ(answer["choices"][0]["text"], texts[static_cast<size_t>(i)]);
  }
  EXPECT_EQ(log().find("can't"), std::string::npos) << log();
}

TEST_F(ServerTest, InstructionsThatWereCompiledIn) {
  auto input = fake_payload_input();
  input.manifest["system_prompt"] = "Be brief.";
  write_executable(program_, forge::read_file(FAKE_PROGRAM), input, nullptr);
  start();
  const auto prompt = [&](const std::string& messages) {
    return post("/apply-template", R"({"messages": [)" + messages + "]}")["prompt"].get<std::string>();
  };
  const std::string user = R"({"role": "user", "content": "Hello"})";
  const std::string system = R"({"role": "system", "content": "Be brief."},)";
  EXPECT_EQ(prompt(user), prompt(system + user));
  EXPECT_NE(prompt(user), prompt(R"({"role": "system", "content": "Be long."},)" + user));
  EXPECT_EQ(prompt(R"({"role": "developer", "content": "Be brief."},)" + user), prompt(user));
  // Anthropic's and OpenAI's other API have them elsewhere.
  const auto n_tokens = [&](const std::string& more) {
    return post("/v1/messages/count_tokens",
                R"({"model": "m", "messages": [)" + user + "]" + more + "}")["input_tokens"]
        .get<int>();
  };
  EXPECT_EQ(n_tokens(""), n_tokens(R"(, "system": "Be brief.")"));
  EXPECT_LT(n_tokens(""), n_tokens(R"(, "system": "Be very, very brief.")"));
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
