// What a server keeps of texts, and what was compiled into it.
#include "tests/runtime/server_rig.h"

namespace forge::rt {
namespace {

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

}  // namespace
}  // namespace forge::rt
