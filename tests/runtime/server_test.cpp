// The server's endpoints: what they answer.
#include "tests/runtime/server_rig.h"

namespace forge::rt {
namespace {

std::string text_of_nothing(const std::string& content) {
  return R"({"max_tokens": 1, "messages": [{"role": "user", "content": )" + content + "}]}";
}

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

}  // namespace
}  // namespace forge::rt
