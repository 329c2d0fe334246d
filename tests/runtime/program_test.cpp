// A whole program (the fake model, linked as artifacts are) at its command line.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <regex>

#include "runtime/core/payload.h"
#include "runtime/host/files.h"
#include "tests/core/temporary_directory.h"
#include "tests/runtime/fake_model.h"
#include "tests/runtime/fake_payload.h"

namespace forge::rt {
namespace {

using Strings = std::vector<std::string>;

struct Outcome {
  int status = -1;  // exit status, 128 + signal
  std::string out, err;
};

struct RunOptions {
  std::string input;
  Strings environment;    // NAME=value
  std::string chroot_to;  // the program's path is inside of it then
  bool terminal = false;  // its descriptors are a terminal, which is to control it
};

class ProgramTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  std::string program_ = directory_.file("story");

  void SetUp() override { write_program(fake_payload_input()); }

  void write_program(const PayloadInput& input) {
    write_executable(program_, forge::read_file(FAKE_PROGRAM), input, nullptr);
  }

  pid_t start(const Strings& args, const RunOptions& options, int in, int out, int err) const {
    const pid_t child = fork();
    if (child != 0) return child;
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    for (int fd = 3; fd < 100; ++fd) close(fd);
    if (options.terminal && (setsid() < 0 || ioctl(0, TIOCSCTTY, 0) != 0)) _exit(97);
    Strings words = args;
    words.insert(words.begin(), options.chroot_to.empty() ? program_ : "/story");
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    Strings environment = options.environment;
    std::vector<char*> envp;
    for (std::string& e : environment) envp.push_back(e.data());
    envp.push_back(nullptr);
    if (!options.chroot_to.empty() && (chroot(options.chroot_to.c_str()) != 0 || chdir("/") != 0)) _exit(99);
    execve(argv[0], argv.data(), envp.data());
    _exit(98);
  }

  Outcome run(const Strings& args, const RunOptions& options = {}) const {
    const std::string in = directory_.file("stdin"), out = directory_.file("stdout"),
                      err = directory_.file("stderr");
    forge::write_file(in, as_bytes(options.input));
    const int fds[] = {open(in.c_str(), O_RDONLY | O_CLOEXEC),
                       open(out.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
                       open(err.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    const pid_t child = start(args, options, fds[0], fds[1], fds[2]);
    int status = 0;
    waitpid(child, &status, 0);
    for (const int fd : fds) close(fd);
    const auto text_of = [](const std::string& path) {
      const auto bytes = forge::read_file(path);
      return std::string(bytes.begin(), bytes.end());
    };
    return {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .out = text_of(out),
            .err = text_of(err)};
  }

  // The output of a run that must succeed.
  std::string output(const Strings& args, const RunOptions& options = {}) const {
    const Outcome r = run(args, options);
    EXPECT_EQ(r.status, 0) << r.err;
    return r.out;
  }

  void expect_failure(const Strings& args, int status, const std::string& part,
                      const RunOptions& options = {}) const {
    const Outcome r = run(args, options);
    EXPECT_EQ(r.status, status) << r.out << r.err;
    EXPECT_NE(r.err.find(part), std::string::npos) << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(ProgramTest, Help) {
  EXPECT_TRUE(contains(output({}), "usage: story COMMAND"));
  EXPECT_TRUE(contains(output({"--help"}), "perplexity"));
  for (const char* command :
       {"generate", "chat", "bench", "perplexity", "tokenize", "detokenize", "logits", "info"}) {
    const std::string help = output({command, "--help"});
    EXPECT_TRUE(contains(help, std::string("usage: story ") + command)) << help;
    EXPECT_TRUE(contains(help, "example:\n  story " + std::string(command))) << help;
  }
}

TEST_F(ProgramTest, Misuse) {
  expect_failure({"nonsense"}, 2, "unknown command 'nonsense'");
  for (const char* command :
       {"generate", "chat", "bench", "perplexity", "tokenize", "detokenize", "logits", "info"}) {
    expect_failure({command, "--nonsense"}, 2, "unknown option '--nonsense'");
  }
  expect_failure({"generate", "x", "--ids", "1"}, 2, "once");
  expect_failure({"generate", "--ids", "1,258"}, 2, "258");
  expect_failure({"generate", "x", "--ctx", "513"}, 2, "compiled for at most 512");
  expect_failure({"generate", "x", "-n", "x"}, 2, "-n: 'x' is not a whole number");
  expect_failure({"generate", "x"}, 2, "FORGE_TEMP", {.environment = {"FORGE_TEMP=hot"}});
  expect_failure({"generate"}, 1, "the prompt is empty");
  expect_failure({"generate", "-f", "/nonexistent"}, 1, "/nonexistent: can't be opened (No such file");
  expect_failure({"tokenize"}, 2, "give a text");
  expect_failure({"detokenize", "258"}, 2, "258");
  expect_failure({"logits", "--tokens", "1"}, 2, "-o F");
  expect_failure({"logits", "--tokens", "1", "-o", "/nonexistent/f"}, 1, "/nonexistent/f: can't be written");
  expect_failure({"bench", "-p", "600"}, 2, "compiled for 512");
  expect_failure({"perplexity"}, 2, "TEXTFILE");
  expect_failure({"generate", std::string(600, 'x')}, 1, "the prompt has 600 tokens, the context holds 512");
}

TEST_F(ProgramTest, GenerateWritesTextAlone) {
  const Outcome r = run({"generate", "Once", "-n", "50", "--seed", "7"});
  EXPECT_EQ(r.status, 0);
  EXPECT_EQ(r.out.size(), 50U);
  EXPECT_TRUE(contains(r.err, "prompt 4 tokens")) << r.err;
  EXPECT_TRUE(contains(r.err, "seed 7; length reached")) << r.err;
  EXPECT_EQ(output({"generate", "Once", "-n", "50", "--seed", "7"}), r.out);
  EXPECT_EQ(output({"generate", "Once", "-n", "50", "--seed", "7", "-t", "3"}), r.out);
  EXPECT_NE(output({"generate", "Once", "-n", "50", "--seed", "8"}), r.out);
  EXPECT_EQ(output({"generate", "Once", "-n", "50"}, {.environment = {"FORGE_SEED=7"}}), r.out);
  // The prompt from elsewhere.
  EXPECT_EQ(output({"generate", "-n", "50", "--seed", "7"}, {.input = "Once"}), r.out);
  forge::write_file(directory_.file("prompt"), as_bytes("Once"));
  EXPECT_EQ(output({"generate", "-f", directory_.file("prompt"), "-n", "50", "--seed", "7"}), r.out);
  EXPECT_EQ(output({"generate", "--ids", "79,110,99,101", "-n", "50", "--seed", "7"}), r.out);
  EXPECT_EQ(output({"generate", "Once", "-n", "50", "--seed", "7", "--echo"}), "Once" + r.out);
  // The seed that is shown brings a random text back.
  const Outcome random = run({"generate", "Once", "-n", "50"});
  const size_t at = random.err.find("seed ") + 5;
  const std::string seed = random.err.substr(at, random.err.find(';', at) - at);
  EXPECT_EQ(output({"generate", "Once", "-n", "50", "--seed", seed}), random.out);
}

TEST_F(ProgramTest, GenerateWhatAGrammarAllows) {
  const auto with = [](Strings more) {
    Strings args = {"generate", "Once", "-n", "200", "--seed", "7"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  };
  const std::string schema = directory_.file("schema.json"), gbnf = directory_.file("list.gbnf");
  forge::write_file(
      schema,
      as_bytes(R"({"properties":{"age":{"type":"integer","minimum":10,"maximum":99}},"required":["age"]})"));
  forge::write_file(gbnf, as_bytes("root ::= \"- \" [a-z]{5} \"\\n\""));
  const Outcome json = run(with({"--json-schema", schema}));
  EXPECT_EQ(json.status, 0) << json.err;
  EXPECT_TRUE(std::regex_match(json.out, std::regex(R"(\{"age": ?[1-9][0-9]\})"))) << json.out;
  EXPECT_TRUE(contains(json.err, "the text ended")) << json.err;
  const std::regex list("- [a-z]{5}\n");
  EXPECT_TRUE(std::regex_match(output(with({"--grammar", gbnf})), list));
  // The end comes with the text's, whatever the model would like.
  EXPECT_TRUE(std::regex_match(output(with({"--grammar", gbnf, "--ignore-eos"})), list));
  EXPECT_TRUE(std::regex_match(output(with({"--regex", "[0-9]{3}|x"})), std::regex("[0-9]{3}|x")));
  const std::string choice = output(with({"--choice", "yes,no\\,never"}));
  EXPECT_TRUE(choice == "yes" || choice == "no,never") << choice;
  EXPECT_EQ(output(with({"--choice", "maybe", "-n", "3"})), "may");
  EXPECT_EQ(output(with({"--regex", "()"})), "");
  expect_failure(with({"--regex", "a", "--choice", "b"}), 2, "one of --json-schema, --regex");
  expect_failure(with({"--regex", "(a)\\1"}), 2, "--regex: regex, byte 4: backreferences");
  expect_failure(with({"--choice", "a,,b"}), 2, "--choice: choices: one is empty");
  expect_failure(with({"--grammar", schema}), 1, "--grammar: grammar, line 1");
  expect_failure(with({"--json-schema", gbnf}), 1, "--json-schema: JSON, byte 0");
  expect_failure(with({"--json-schema", "/nonexistent"}), 1, "/nonexistent");
}

TEST_F(ProgramTest, SamplingFlags) {
  const auto with = [](Strings more) {
    Strings args = {"generate", "Once", "-n", "300", "--seed", "7"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  };
  const std::string plain = output(with({}));
  const Strings changing[] = {{"--presence-penalty", "2"},
                              {"--presence-penalty", "-2"},
                              {"--frequency-penalty", "1"},
                              {"--dry-multiplier", "5", "--dry-allowed-length", "1"},
                              {"--dry-multiplier", "5", "--dry-allowed-length", "0", "--dry-base", "9"},
                              {"--xtc-probability", "0.5", "--xtc-threshold", "0.01"}};
  std::vector<std::string> texts = {plain};
  for (const Strings& flags : changing) {
    texts.push_back(output(with(flags)));
    EXPECT_EQ(output(with(flags)), texts.back()) << flags[0];
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::unique(texts.begin(), texts.end()), texts.end());
  const Strings unchanging[] = {
      {"--dry-base", "3", "--dry-allowed-length", "0", "--dry-penalty-last-n", "500"},
      {"--dry-multiplier", "5", "--dry-penalty-last-n", "0"},
      {"--dry-sequence-breaker", "x"},
      {"--xtc-probability", "1", "--xtc-threshold", "0.6"},
      {"--presence-penalty", "2", "--repeat-last-n", "0"}};
  for (const Strings& flags : unchanging) EXPECT_EQ(output(with(flags)), plain) << flags[0];
  // Breakers that are given take the place of the default ones.
  Strings dry = {"--dry-multiplier", "5", "--dry-allowed-length", "1"};
  const std::string with_dry = output(with(dry));
  for (const char* breaker : {"none", "a"}) {
    dry.insert(dry.end(), {"--dry-sequence-breaker", breaker});
    EXPECT_NE(output(with(dry)), with_dry) << breaker;
  }
  struct Case {
    Strings flags;
    const char* message;
  };
  const Case misuse[] = {{{"--presence-penalty", "nan"}, "--presence-penalty: 'nan' is not a number"},
                         {{"--frequency-penalty", "101"}, "101 is not in -100 .. 100"},
                         {{"--dry-multiplier", "-1"}, "--dry-multiplier: -1 is not in 0 .. 100"},
                         {{"--dry-base", "0.9"}, "--dry-base: 0.9 is not in 1 .. 100"},
                         {{"--dry-allowed-length", "-1"}, "'-1' is not a whole number"},
                         {{"--dry-penalty-last-n", "4294967296"}, "4294967296 is not in 0 .. 4294967295"},
                         {{"--dry-sequence-breaker", ""}, "'none' stands for no breakers"},
                         {{"--xtc-probability", "1.1"}, "--xtc-probability: 1.1 is not in 0 .. 1"},
                         {{"--xtc-threshold", "-0.1"}, "--xtc-threshold: -0.1 is not in 0 .. 1"}};
  for (const Case& c : misuse) expect_failure(with(c.flags), 2, c.message);
  Strings many;
  for (int i = 0; i < 33; ++i) many.insert(many.end(), {"--dry-sequence-breaker", "x"});
  expect_failure(with(many), 2, "--dry-sequence-breaker: there are at most 32");
}

TEST_F(ProgramTest, GenerateEnds) {
  const Outcome stop = run({"generate", "x", "--stop", "end.", "--stop", "zzzzz"},
                           {.environment = {"FAKE_SAYS_THE_END_AT=30"}});
  EXPECT_TRUE(stop.out.ends_with("The ")) << stop.out;
  EXPECT_TRUE(contains(stop.err, "stop string")) << stop.err;
  const Outcome eos = run({"generate", "x"}, {.environment = {"FAKE_ENDS_AT=20"}});
  EXPECT_EQ(eos.out.size(), 20U);
  EXPECT_TRUE(contains(eos.err, "the text ended")) << eos.err;
  const Outcome on = run({"generate", "x", "--ignore-eos", "-n", "40"}, {.environment = {"FAKE_ENDS_AT=20"}});
  EXPECT_EQ(on.out.size(), 40U);
  const Outcome full = run({"generate", "x", "--ctx", "32"});
  EXPECT_EQ(full.out.size(), 32U);
  EXPECT_TRUE(contains(full.err, "the context of 32 tokens is full (--ctx up to 512)")) << full.err;
}

TEST_F(ProgramTest, ControlTokensOnlyWhenAskedFor) {
  EXPECT_EQ(output({"tokenize", "--ids", "a<|end|>"}), "97 60 124 101 110 100 124 62\n");
  EXPECT_EQ(output({"tokenize", "--ids", "--special", "a<|end|>"}), "97 256\n");
  EXPECT_EQ(output({"tokenize", "a\nb"}), "97\ta\n10\t\\n\n98\tb\n");
  EXPECT_EQ(output({"tokenize", "--ids", "-f", "-"}, {.input = "hi\n"}), "104 105 10\n");
  EXPECT_EQ(output({"detokenize", "104", "105,10", "256"}), "hi\n");
  EXPECT_EQ(output({"detokenize", "--special", "256"}), "<|end|>");
}

TEST_F(ProgramTest, StateGoesOnWhereItWas) {
  const std::string state = directory_.file("state");
  const Strings greedy = {"--temp", "0"};
  const auto with = [&](Strings args) {
    args.insert(args.end(), greedy.begin(), greedy.end());
    return args;
  };
  const std::string whole = output(with({"generate", "Once upon", "-n", "200"}));
  const std::string first = output(with({"generate", "Once upon", "-n", "90", "--save-state", state}));
  const std::string rest = output(with({"generate", "--load-state", state, "-n", "110"}));
  EXPECT_EQ(first + rest, whole);
  // More text behind a kept context equals the whole of it as a prompt, where that is all prompt.
  output(with({"generate", "Once upon", "-n", "0", "--save-state", state}));
  EXPECT_EQ(output(with({"generate", "--load-state", state, " a time", "-n", "50"})),
            output(with({"generate", "Once upon a time", "-n", "50"})));
  EXPECT_EQ(output(with({"generate", "--load-state", state, "-n", "1"})).size(), 1U);

  const auto bytes = forge::read_file(state);
  for (size_t n = 0; n < bytes.size(); n += n < 200 ? 7 : 131) {
    forge::write_file(state, std::span(bytes).first(n));
    expect_failure({"generate", "--load-state", state, "-n", "1"}, 1, state);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 60; ++i) {
    auto altered = bytes;
    altered[i < 40 ? random() % 100 : random() % altered.size()] ^= static_cast<uint8_t>(1 + random() % 255);
    forge::write_file(state, altered);
    expect_failure({"generate", "--load-state", state, "-n", "1"}, 1, state);
  }
  forge::write_file(state, bytes);
  expect_failure({"generate", "--load-state", state, "--ctx", "4"}, 1, "see --ctx");
  expect_failure({"generate", "--load-state", directory_.file("none")}, 1, "can't be opened");
  // Another model's state.
  PayloadInput other = fake_payload_input();
  other.manifest["model.name"] = "other";
  write_program(other);
  expect_failure({"generate", "--load-state", state, "-n", "1"}, 1, "another model");
  expect_failure(
      {"generate", "x", "-n", "1", "--temp", "0", "--save-state", "/nonexistent/f", "--ctx", "1000"}, 2,
      "--ctx");
}

TEST_F(ProgramTest, StateOfAFullContext) {
  const std::string state = directory_.file("state");
  const Strings load = {"generate", "--load-state", state, "--temp", "0", "--ctx", "32"};
  const std::string whole = output({"generate", "x", "--temp", "0", "-n", "60"});
  const std::string first = output({"generate", "x", "--temp", "0", "--ctx", "32", "--save-state", state});
  EXPECT_EQ(first.size(), 32U);
  // No room: nothing comes, and that is said. The state can be kept again.
  Strings again = load;
  again.insert(again.end(), {"--save-state", state});
  const Outcome full = run(again);
  EXPECT_EQ(full.status, 0) << full.err;
  EXPECT_EQ(full.out, "");
  EXPECT_TRUE(contains(full.err, "the context of 32 tokens is full (--ctx up to 512)")) << full.err;
  Strings more = load;
  more.insert(more.begin() + 1, "more");
  expect_failure(more, 1, "the prompt has 37 tokens, the context holds 32 (see --ctx)");
  // With more room it goes on behind the last token.
  EXPECT_EQ(first + output({"generate", "--load-state", state, "--temp", "0", "-n", "28"}), whole);
}

// The penalty's window holds each token of a kept context once.
TEST_F(ProgramTest, PenaltyGoesOnWithTheState) {
  const std::string state = directory_.file("state");
  // Nearly all of the 95 characters that are likely: one more or less in the window changes the text.
  const Strings flags = {"--temp", "0", "--repeat-penalty", "50", "--repeat-last-n", "80"};
  const auto with = [&](Strings args) {
    args.insert(args.end(), flags.begin(), flags.end());
    return args;
  };
  const std::string whole = output(with({"generate", "Once", "-n", "300"}));
  // The text's end: all of its tokens were run, so the last one runs once more.
  const std::string first =
      output(with({"generate", "Once", "--save-state", state}), {.environment = {"FAKE_ENDS_AT=150"}});
  EXPECT_LT(first.size(), 150U);
  EXPECT_EQ(
      first + output(with({"generate", "--load-state", state, "-n", std::to_string(300 - first.size())})),
      whole);
}

TEST_F(ProgramTest, LogitsDoNotDependOnChunksAndTrace) {
  const std::string a = directory_.file("a"), b = directory_.file("b"), trace = directory_.file("trace");
  const std::string tokens = "1,5,9,200,7,7,7,42,3,99";
  output({"logits", "--tokens", tokens, "-o", a});
  const std::string written = output({"logits", "--tokens", tokens, "-o", "-"});
  EXPECT_EQ(std::vector<uint8_t>(written.begin(), written.end()), forge::read_file(a));
  const auto whole = forge::read_file(a);
  EXPECT_EQ(whole.size(), 10 * kFakeVocab * sizeof(float));
  for (const char* chunk : {"1", "3", "10"}) {
    output({"logits", "--tokens", tokens, "-o", b, "--chunk", chunk, "--threads", "3", "--trace-tensors",
            trace});
    EXPECT_EQ(forge::read_file(b), whole) << chunk;
    const auto index = forge::read_file(trace + "/index.txt");
    EXPECT_EQ(std::string(index.begin(), index.end()), "-.embed 10 1\n0.attn_out 10 2\n");
    const auto embed = forge::read_file(trace + "/-.embed.f32");
    ASSERT_EQ(embed.size(), 40U);
    float last = 0;
    std::memcpy(&last, embed.data() + 36, 4);
    EXPECT_EQ(last, 99);
    EXPECT_EQ(forge::read_file(trace + "/0.attn_out.f32").size(), 80U);
  }
  output({"logits", "--tokens", tokens, "-o", b, "--generated"});
  EXPECT_NE(forge::read_file(b), whole);  // another class of rows
}

TEST_F(ProgramTest, Info) {
  const std::string info = output({"info", "--verify", "--tensors"});
  EXPECT_TRUE(contains(info, "model.name     fake")) << info;
  EXPECT_TRUE(contains(info, "f32 x 3")) << info;
  EXPECT_TRUE(contains(info, "t1\tf32\t10 x 11\trows\t440")) << info;
  EXPECT_TRUE(contains(info, "verified: 3 tensors")) << info;
}

TEST_F(ProgramTest, PerplexityCountsAsLlamaCpp) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>('a' + i * i % 26);
  forge::write_file(directory_.file("text"), as_bytes(text + "\n"));
  const std::string json = output({"perplexity", directory_.file("text"), "--ctx", "64", "--json"});
  EXPECT_TRUE(contains(json, "\"chunks\": 4")) << json;
  EXPECT_TRUE(contains(json, "\"tokens\": 124")) << json;  // 4 chunks, each 64 - 32 - 1
  EXPECT_TRUE(contains(json, "\"text_tokens\": 300")) << json;
  const auto value = [&](const std::string& key) {
    return std::stod(json.substr(json.find("\"" + key + "\": ") + key.size() + 4));
  };
  // The same from the logits of each chunk.
  double nll = 0;
  for (int chunk = 0; chunk < 4; ++chunk) {
    std::string ids;
    for (int i = 0; i < 64; ++i)
      ids += std::to_string(text[static_cast<size_t>(chunk) * 64 + static_cast<size_t>(i)]) + ",";
    output({"logits", "--tokens", ids, "-o", directory_.file("l")});
    const auto bytes = forge::read_file(directory_.file("l"));
    std::vector<float> logits(bytes.size() / 4);
    std::memcpy(logits.data(), bytes.data(), bytes.size());
    for (size_t i = 32; i < 63; ++i) {
      const float* row = logits.data() + i * kFakeVocab;
      double sum = 0;
      for (size_t v = 0; v < kFakeVocab; ++v) sum += std::exp(static_cast<double>(row[v]));
      nll += std::log(sum) -
             static_cast<double>(row[static_cast<uint8_t>(text[static_cast<size_t>(chunk) * 64 + i + 1])]);
    }
  }
  EXPECT_NEAR(value("perplexity") / std::exp(nll / 124), 1, 1e-5);
  EXPECT_NEAR(value("bits_per_byte") / (nll / 124 / std::log(2.0)), 1, 1e-5);  // a byte a token
  EXPECT_GT(value("error"), 0);
  expect_failure({"perplexity", directory_.file("text"), "--ctx", "200"}, 1, "at least 400 are needed");
  EXPECT_TRUE(contains(output({"perplexity", directory_.file("text"), "--ctx", "64"}), "+/-"));
}

TEST_F(ProgramTest, Bench) {
  const std::string json = output({"bench", "-p", "100", "-n", "20", "-d", "30", "-r", "3", "--json"});
  for (const char* key : {"prefill_tok_s", "decode_tok_s", "start_to_first_token_s", "peak_rss_bytes",
                          "weight_bytes_per_token", "read_bandwidth", "decode_bandwidth_share"}) {
    const size_t at = json.find("\"" + std::string(key) + "\": ");
    ASSERT_NE(at, std::string::npos) << key << json;
    EXPECT_GT(std::strtod(json.c_str() + at + std::strlen(key) + 4, nullptr), 0) << key << json;
  }
  EXPECT_TRUE(contains(json, "\"weight_bytes_per_token\": 1000")) << json;
  EXPECT_TRUE(contains(json, "\"depth\": 30")) << json;
  EXPECT_TRUE(
      contains(output({"bench", "-p", "0", "-n", "5", "-r", "1", "--json"}), "\"prefill_tok_s\": null"));
  EXPECT_TRUE(contains(output({"bench", "-p", "8", "-n", "5", "-r", "1"}), "start to first token"));
  // The model of this program logs nothing, as the interpreter.
  expect_failure({"bench", "--profile"}, 2, "the interpreter has none");
  expect_failure({"bench", "--trace", directory_.file("trace.json")}, 2, "the interpreter has none");
}

TEST_F(ProgramTest, DefaultsOfTheModel) {
  PayloadInput input = fake_payload_input();
  input.manifest["default_args"] = "generate 'Once upon' -n 30";
  input.manifest["sampling.temp"] = "0";
  input.manifest["ctx.default"] = "64";
  write_program(input);
  const std::string text = output({});
  EXPECT_EQ(text.size(), 30U);
  EXPECT_EQ(output({}), text);  // greedy, by the model's own default
  EXPECT_EQ(output({"generate", "Once upon", "-n", "30", "--temp", "0"}), text);
  EXPECT_EQ(output({"generate", "x"}).size(), 64U);
  EXPECT_EQ(output({"generate", "x", "--ctx", "80"}).size(), 80U);
}

TEST_F(ProgramTest, SenselessDefaultsOfTheModelAreLeftOut) {
  const std::string text = output({"generate", "Once upon", "-n", "30", "--seed", "3"});
  PayloadInput input = fake_payload_input();
  const std::pair<const char*, const char*> defaults[] = {
      {"sampling.temp", "hot"},  {"sampling.top_k", "-1"},         {"sampling.top_p", "nan"},
      {"sampling.min_p", "1e9"}, {"sampling.repeat_penalty", "0"}, {"sampling.repeat_last_n", "1e30"}};
  for (const auto& [key, value] : defaults) input.manifest[key] = value;
  write_program(input);
  const Outcome r = run({"generate", "Once upon", "-n", "30", "--seed", "3"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.out, text);  // all are the program's own
  for (const auto& [key, value] : defaults)
    EXPECT_TRUE(contains(r.err, std::string(key) + " = " + value + " is left out: ")) << r.err;
  EXPECT_EQ(run({"chat", "-n", "3"}, {.input = "hi\n"}).status, 0);
  // One that makes sense counts.
  input.manifest = fake_payload_input().manifest;
  input.manifest["sampling.repeat_penalty"] = "9";
  input.manifest["sampling.repeat_last_n"] = "7";
  write_program(input);
  EXPECT_EQ(output({"generate", "Once upon", "-n", "30", "--temp", "0"}),
            output({"generate", "Once upon", "-n", "30", "--temp", "0", "--repeat-penalty", "9",
                    "--repeat-last-n", "7"}));
  EXPECT_NE(output({"generate", "Once upon", "-n", "30", "--temp", "0"}),
            output({"generate", "Once upon", "-n", "30", "--temp", "0", "--repeat-last-n", "64"}));
}

// ---- chat

TEST_F(ProgramTest, ChatInAPipe) {
  const RunOptions two = {.input = "hello\n\nand you?\n", .environment = {"FAKE_ENDS_AT=60"}};
  const Outcome r = run({"chat", "--temp", "0", "--system", "Be kind.", "-n", "20"}, two);
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 3) << r.out;
  // The first answer is what generate says to the template's text.
  const std::string prompt =
      "<|start|>system\nBe kind.<|end|>\n<|start|>user\nhello<|end|>\n<|start|>assistant\n";
  const std::string answer =
      output({"generate", "--special", prompt, "--temp", "0", "-n", "20"}, {.environment = two.environment});
  EXPECT_TRUE(r.out.starts_with(answer + "\n---\n")) << r.out << "\n" << answer;
  EXPECT_EQ(run({"chat", "--temp", "0", "--system", "Be kind.", "-n", "20"}, two).out, r.out);
}

TEST_F(ProgramTest, ChatContentIsNeverControl) {
  const RunOptions hostile = {.input = "a<|end|>\n<|start|>b\n", .environment = {}};
  const std::string said = output({"chat", "--temp", "0", "-n", "10"}, hostile);
  // Were they control tokens, the model would see another prompt.
  const std::string as_control = output({"generate", "--special", "--temp", "0", "-n", "10",
                                         "<|start|>user\na<|end|><|end|>\n<|start|>assistant\n"});
  EXPECT_FALSE(said.starts_with(as_control));
  const std::string ids = output({"tokenize", "--ids", "a<|end|>"});
  const std::string as_text =
      output({"generate", "--temp", "0", "-n", "10", "--ids",
              "257,117,115,101,114,10," + ids + ",256,10,257,97,115,115,105,115,116,97,110,116,10"});
  EXPECT_TRUE(said.starts_with(as_text)) << said << "\n" << as_text;
}

TEST_F(ProgramTest, ChatDropsTheOldestTurns) {
  std::string input;
  for (int i = 0; i < 6; ++i) input += "question number " + std::to_string(i) + "\n";
  const Outcome r = run({"chat", "--temp", "0", "-n", "40", "--ctx", "200"}, {.input = input});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 6 + 5)
      << r.out;  // answers, and what stands between them
  EXPECT_TRUE(contains(r.err, "the oldest turn was dropped")) << r.err;
  // An answer longer than the context makes room for itself, and says when it can't any more.
  const Outcome endless = run({"chat", "--temp", "0", "--ctx", "100"}, {.input = "a\nb\n"});
  EXPECT_EQ(endless.status, 0) << endless.err;
  EXPECT_TRUE(contains(endless.err, "the answer ends here")) << endless.err;
  const Outcome too_long = run({"chat", "--ctx", "40"}, {.input = std::string(100, 'x') + "\n"});
  EXPECT_EQ(too_long.status, 1);
  EXPECT_TRUE(contains(too_long.err, "the context holds 40")) << too_long.err;
}

TEST_F(ProgramTest, ChatKeepsItsTurnsWhenAMessageIsTooLong) {
  const Strings chat = {"chat", "--temp", "0.8", "--seed", "1", "-n", "20", "--ctx", "300"};
  const std::string turns = "hello\nhow are you?\n";
  const std::string too_long(400, 'x');
  const std::string without = output(chat, {.input = turns + "and now?\n"});
  const Outcome with = run(chat, {.input = turns + too_long + "\nand now?\n"});
  EXPECT_EQ(with.status, 1);
  EXPECT_TRUE(contains(with.err, "the context holds 300")) << with.err;
  EXPECT_FALSE(contains(with.err, "dropped")) << with.err;
  // But for the empty line of the turn that failed, it says what it would have said.
  const size_t last = without.rfind('\n', without.size() - 2) + 1;
  EXPECT_EQ(with.out, without.substr(0, last) + "\n---\n" + without.substr(last));
}

TEST_F(ProgramTest, ChatSystemTakesThePlaceOfTheKeptOne) {
  const std::string state = directory_.file("state");
  const auto chat = [&](const Strings& more, const std::string& input) {
    Strings args = {"chat", "--temp", "0", "-n", "15"};
    args.insert(args.end(), more.begin(), more.end());
    return output(args, {.input = input});
  };
  const auto transcript_has = [&](const std::string& part) {
    const auto bytes = forge::read_file(state);
    return contains(std::string(bytes.begin(), bytes.end()), part);
  };
  const std::string whole = chat({"--system", "Be kind."}, "one\ntwo\n");
  const std::string first = chat({"--system", "Be kind.", "--save-state", state}, "one\n");
  EXPECT_EQ(first + "---\n" + chat({"--load-state", state, "--system", "Be kind."}, "two\n"), whole);
  EXPECT_NE(first + "---\n" +
                chat({"--load-state", state, "--system", "Be brief.", "--save-state", state}, "two\n"),
            whole);
  EXPECT_TRUE(transcript_has("system 9\nBe brief.\nuser 3\none\n"));
  EXPECT_FALSE(transcript_has("Be kind."));
  // A conversation that had none.
  chat({"--save-state", state}, "one\n");
  chat({"--load-state", state, "--system", "Be kind.", "--save-state", state}, "two\n");
  EXPECT_TRUE(transcript_has("system 8\nBe kind.\nuser 3\none\n"));
}

TEST_F(ProgramTest, ChatTemplateVariables) {
  PayloadInput input = fake_payload_input();
  input.chat_template =
      "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}<|start|>assistant\n"
      "{% if not enable_thinking | default(true) %}<think></think>{% endif %}";
  write_program(input);
  const auto chat = [&](const Strings& more) {
    Strings args = {"chat", "--temp", "0", "-n", "15"};
    args.insert(args.end(), more.begin(), more.end());
    return output(args, {.input = "hello\n"});
  };
  const auto generate = [&](const std::string& end) {
    return output({"generate", "--special", "<|start|>user\nhello<|end|>\n<|start|>assistant\n" + end,
                   "--temp", "0", "-n", "15"}) +
           "\n";
  };
  EXPECT_EQ(chat({}), generate(""));
  EXPECT_EQ(chat({"--chat-template-kwargs", R"({"enable_thinking": true, "other": [1, {"a": null}]})"}),
            generate(""));
  EXPECT_EQ(chat({"--chat-template-kwargs", R"({"enable_thinking": false})"}), generate("<think></think>"));
  for (const char* json : {"", "{", "[1]", "true", "{enable_thinking: false}", R"({"a": 1} x)"})
    expect_failure({"chat", "--chat-template-kwargs", json}, 2, "--chat-template-kwargs");
  expect_failure({"chat", "--chat-template-kwargs", R"({"messages": []})"}, 2,
                 "messages is what chat itself says");
}

TEST_F(ProgramTest, ChatStateGoesOn) {
  const std::string state = directory_.file("state");
  const Strings flags = {"chat", "--temp", "0", "-n", "15"};
  const auto with = [&](const Strings& more) {
    Strings all = flags;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string whole = output(with({}), {.input = "one\ntwo\nthree\n"});
  const std::string first = output(with({"--save-state", state}), {.input = "one\ntwo\n"});
  const std::string rest = output(with({"--load-state", state}), {.input = "three\n"});
  EXPECT_EQ(first + "---\n" + rest, whole);
  // generate's state has no conversation in it.
  output({"generate", "x", "-n", "3", "--save-state", state});
  expect_failure(with({"--load-state", state}), 1, "not a state that chat saved");
  PayloadInput input = fake_payload_input();
  input.chat_template.clear();
  write_program(input);
  expect_failure({"chat"}, 1, "--chat-template");
}

TEST_F(ProgramTest, ChatMessagesOfManyLines) {
  const Strings chat = {"chat", "--temp", "0", "-n", "10"};
  const auto said_to = [&](const std::string& message) {
    return output({"generate", "--special", "<|start|>user\n" + message + "<|end|>\n<|start|>assistant\n",
                   "--temp", "0", "-n", "10"}) +
           "\n";
  };
  EXPECT_EQ(output(chat, {.input = "one\\\ntwo\n"}), said_to("one\ntwo"));
  EXPECT_EQ(output(chat, {.input = "\"\"\"\n/one\n\ntwo\\\n\"\"\"\n"}), said_to("/one\n\ntwo\\"));
  EXPECT_EQ(output(chat, {.input = "\"\"\"one\ntwo"}), said_to("one\ntwo"));  // the end of the input ends it
  EXPECT_EQ(output(chat, {.input = "//one\n"}), said_to("/one"));
}

TEST_F(ProgramTest, ChatCommands) {
  const Strings chat = {"chat", "--seed", "5", "-n", "12"};
  const auto talk = [&](const std::string& input, const Strings& more = {}) {
    Strings args = chat;
    args.insert(args.end(), more.begin(), more.end());
    return run(args, {.input = input});
  };
  const auto answers = [&](const std::string& input, const Strings& more = {}) {
    const Outcome r = talk(input, more);
    EXPECT_EQ(r.status, 0) << input << r.err;
    return r.out;
  };
  // What commands say is not what the model says.
  const Outcome help = talk("/help\n/stats\n/set\n/system\n");
  EXPECT_EQ(help.status, 0) << help.err;
  EXPECT_EQ(help.out, "");
  for (const char* part :
       {"/regen", "/save FILE", "//TEXT", "context: 0 of 512 tokens, 0 messages", "temp 0.8 ", "seed 5 ",
        "tokens 12 ", R"(dry-sequence-breaker "\n" ":" "\"" "*" )", "no instructions"})
    EXPECT_TRUE(contains(help.err, part)) << part << "\n" << help.err;
  EXPECT_FALSE(contains(help.err, "\x1b"));

  const std::string one = answers("one\n");
  // /system is --system.
  EXPECT_EQ(answers("/system Be kind.\none\n"), answers("one\n", {"--system", "Be kind."}));
  EXPECT_NE(answers("/system Be kind.\none\n"), one);
  EXPECT_EQ(answers("/system Be kind.\n/system none\none\n"), one);
  EXPECT_TRUE(contains(talk("/system Be\\\nkind.\n/system\n").err, "instructions: Be\nkind.\n"));
  // /set is a flag.
  EXPECT_EQ(answers("/set temp 0\none\n"), answers("one\n", {"--temp", "0"}));
  EXPECT_EQ(answers("/set presence-penalty 1.5\n/set tokens 40\none\n"),
            answers("one\n", {"-n", "40", "--presence-penalty", "1.5"}));
  EXPECT_TRUE(contains(talk("/set top-k 7\n/set top-k\n").err, "top-k 7\n  top-k 7  only"));
  // /edit is as if the first had never been; /regen has another seed.
  const std::string edited = answers("/set temp 0\nzero\none\n/edit two\n");
  EXPECT_TRUE(edited.ends_with(answers("/set temp 0\nzero\ntwo\n").substr(12)));
  EXPECT_EQ(std::count(edited.begin(), edited.end(), '-') / 3, 2);
  const std::string again = answers("one\n/regen\n");
  EXPECT_TRUE(again.starts_with(one + "---\n"));
  EXPECT_NE(again, one + "---\n" + one);
  const std::string greedy = answers("one\n", {"--temp", "0"});
  EXPECT_EQ(answers("one\n/regen\n/regen\n", {"--temp", "0"}), greedy + "---\n" + greedy + "---\n" + greedy);
  EXPECT_EQ(answers("one\n/regen\ntwo\n", {"--temp", "0"}),
            greedy + "---\n" + answers("one\ntwo\n", {"--temp", "0"}));
  EXPECT_EQ(answers("one\n/quit\ntwo\n"), one);
  const Outcome stats = talk("one\n/stats\n");
  EXPECT_TRUE(contains(stats.err, "last answer: prompt 22 tokens in ")) << stats.err;
  EXPECT_TRUE(contains(stats.err, "generated 12 in ")) << stats.err;
  EXPECT_TRUE(contains(stats.err, ", seed 5\n")) << stats.err;  // that brings this answer back
  EXPECT_TRUE(contains(stats.err, "context: 33 of 512 tokens, 2 messages")) << stats.err;

  struct Case {
    const char* input;
    const char* message;
  };
  const Case failing[] = {
      {"/nonsense", "there is no command '/nonsense', but /help /system /regen"},
      {"/", "there is no command '/', but /help"},
      {"/regen", "/regen: there is no answer yet"},
      {"/edit x", "/edit: there is no message yet"},
      {"/quit now", "/quit takes nothing behind it"},
      {"/set temp hot", "/set temp: 'hot' is not a number"},
      {"/set temp -1", "/set temp: -1 is not in 0 .. 100"},
      {"/set heat 1", "/set: there is no 'heat', but tokens, temp, top-k"},
      {"/set --temp 1", "/set: there is no '--temp'"},
      {"/save", "/save: give the name of a file"},
      {"/save -", "/save: give the name of a file"},
      {"/save /nonexistent/f", "/save: /nonexistent/f: can't be written"},
      {"/load", "/load: give the name of a file"},
      {"/load /nonexistent", "/load: /nonexistent: can't be opened"},
  };
  for (const Case& c : failing) {
    const Outcome r = talk(std::string(c.input) + "\n");
    EXPECT_EQ(r.status, 1) << c.input;
    EXPECT_TRUE(contains(r.err, std::string("story: chat: ") + c.message)) << c.input << "\n" << r.err;
    // And the conversation goes on.
    EXPECT_EQ(talk(std::string(c.input) + "\none\n").out, one) << c.input;
  }
  EXPECT_TRUE(contains(talk("one\n/edit\n").err, "/edit: give the new message behind it"));
}

TEST_F(ProgramTest, ChatSavesAndLoads) {
  const std::string state = directory_.file("state");
  const auto answers = [&](const std::string& input) {
    const Outcome r = run({"chat", "--temp", "0", "-n", "12"}, {.input = input});
    EXPECT_EQ(r.status, 0) << r.err;
    return r.out;
  };
  const std::string both = answers("/system Be kind.\none\ntwo\n");
  const std::string one = answers("/system Be kind.\none\n/save " + state + "\n");
  EXPECT_EQ(one + "---\n" + answers("/load " + state + "\ntwo\n"), both);
  // In the midst of another one, too; what was kept is as it was.
  const std::string other = answers("three\n/load " + state + "\ntwo\n/load " + state + "\ntwo\n");
  EXPECT_TRUE(other.ends_with(both.substr(one.size()) + both.substr(one.size()))) << other;
  // What can't be loaded leaves the conversation.
  forge::write_file(directory_.file("damaged"), as_bytes("no state"));
  output({"generate", "x", "-n", "3", "--save-state", directory_.file("text")});
  for (const char* name : {"damaged", "text"}) {
    const Outcome r = run({"chat", "--temp", "0", "-n", "12"},
                          {.input = "/system Be kind.\none\n/load " + directory_.file(name) + "\ntwo\n"});
    EXPECT_EQ(r.status, 1);
    EXPECT_EQ(r.out, both) << r.err;
  }
  // The program itself is no place for it.
  const auto before = forge::read_file(program_);
  const Outcome r = run({"chat", "-n", "3"}, {.input = "one\n/save " + program_ + "\n"});
  EXPECT_EQ(r.status, 1);
  EXPECT_TRUE(contains(r.err, "is what this command reads")) << r.err;
  EXPECT_EQ(forge::read_file(program_), before);
}

// A person at a terminal in front of a child. Nothing waits longer than 20 s, and the child ends with it.
struct TerminalSession {
  int terminal = -1;      // what is written here is typed
  int program_side = -1;  // kept open: tells the mode when the child is gone
  pid_t child = -1;
  std::string seen;

  TerminalSession() { EXPECT_EQ(openpty(&terminal, &program_side, nullptr, nullptr, nullptr), 0); }
  ~TerminalSession() {
    if (child > 0) kill(child, SIGKILL);
    if (child > 0) waitpid(child, nullptr, 0);
    close(program_side);
    close(terminal);
  }
  TerminalSession(const TerminalSession&) = delete;
  TerminalSession& operator=(const TerminalSession&) = delete;

  void type(std::string_view keys) const { EXPECT_TRUE(write_all(terminal, as_bytes(keys))); }
  bool is_raw() const {
    termios mode{};
    EXPECT_EQ(tcgetattr(program_side, &mode), 0);
    return (mode.c_lflag & (ICANON | ECHO)) == 0;
  }
  template <class Condition>
  bool read_until(const Condition& reached) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!reached()) {
      if (std::chrono::steady_clock::now() > end) return false;
      pollfd readable{terminal, POLLIN, 0};
      if (poll(&readable, 1, 20) <= 0) continue;
      char bytes[4096];
      const ssize_t n = read(terminal, bytes, sizeof bytes);
      if (n > 0) seen.append(bytes, static_cast<size_t>(n));
    }
    return true;
  }
  bool read_until(std::string_view part, size_t from) {
    return read_until([&] { return seen.find(part, from) != std::string::npos; });
  }
  // The status waitpid gave, or -1. What the child still writes is read, or it would wait.
  int end() {
    int status = -1;
    if (!read_until([&] { return waitpid(child, &status, WNOHANG) == child; })) return -1;
    child = -1;
    return status;
  }
};

TEST_F(ProgramTest, ChatOnATerminal) {
  TerminalSession session;
  session.child =
      start({"chat", "--temp", "0", "--ctx", "500"}, {.environment = {"FAKE_STEP_MS=20"}, .terminal = true},
            session.program_side, session.program_side, session.program_side);
  const std::string& seen = session.seen;
  size_t from = 0;
  const auto ask = [&](std::string_view keys, std::string_view shown) {
    ASSERT_TRUE(session.read_until("> ", from)) << seen;
    session.type(keys);
    ASSERT_TRUE(session.read_until(shown, from)) << seen;
    ASSERT_TRUE(session.read_until("[?2004l", from)) << seen;
    from = seen.size();
    ASSERT_TRUE(session.read_until([&] { return seen.size() >= from + 20; })) << seen;
  };
  ask("helo\x1b[Dl\r", "hello");
  // While it answers Ctrl-C is a signal, and the program goes on.
  session.type("\x03");
  ASSERT_TRUE(session.read_until("\x1b[?2004h", from)) << seen;
  EXPECT_LT(seen.size() - from, 300U) << "the answer went on to the context's end";
  ask("again\r", "again");
  // What is typed while it answers is not shown and waits for the prompt. (A Ctrl-C from the keyboard drops it.)
  session.type("typed ahead");
  kill(session.child, SIGINT);
  ASSERT_TRUE(session.read_until("\x1b[?2004h", from)) << seen;
  EXPECT_FALSE(contains(seen.substr(from, seen.find("\x1b[?2004h", from) - from), "typed")) << seen;
  ASSERT_TRUE(session.read_until("typed ahead", from)) << seen;
  session.type("\x03\x03");
  ASSERT_TRUE(session.read_until("once more", from)) << seen;
  from = seen.find("once more", from);
  ask("more\r", "> more");
  // Ctrl-D too: with the terminal in line mode it would become a NUL on the way.
  session.type("\x04");
  kill(session.child, SIGINT);
  const int status = session.end();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << seen;
  EXPECT_FALSE(session.is_raw());
}

TEST_F(ProgramTest, ChatCommandsOnATerminal) {
  for (const bool colours : {true, false}) {
    TerminalSession session;
    Strings environment;
    if (!colours) environment = {"NO_COLOR=1"};
    session.child = start({"chat", "--temp", "0", "-n", "5"}, {.environment = environment, .terminal = true},
                          session.program_side, session.program_side, session.program_side);
    size_t from = 0;
    // Types at a prompt and waits for what is to be seen behind it.
    const auto type = [&](std::string_view prompt, std::string_view keys, std::string_view shown) {
      ASSERT_TRUE(session.read_until(prompt, from)) << session.seen;
      session.type(keys);
      ASSERT_TRUE(session.read_until(shown, from)) << session.seen;
      from = session.seen.find(shown, from) + shown.size();
      ASSERT_TRUE(session.read_until("\x1b[?2004l", from)) << session.seen;
      from = session.seen.find("\x1b[?2004l", from);
    };
    type("> ", "one\x1b\rtwo\x0athree\r", "> one\u21b5two\u21b5three");
    type("> ", "four\\\r", "> four\\");
    type(". ", "five\r", ". five");
    type("> ", "/stats\r", "> /stats");
    ASSERT_TRUE(session.read_until("4 messages", from)) << session.seen;
    // The last message comes back to be edited.
    type("> ", "/edit\r", "> /edit");
    type("> ", "!\r",
         "> four\u21b5"
         "five!");
    type("> ", "/nonsense\r", "> /nonsense");
    ASSERT_TRUE(session.read_until("there is no command '/nonsense'", from)) << session.seen;
    type("> ", "/quit\r", "> /quit");
    const int status = session.end();
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << session.seen;
    EXPECT_EQ(contains(session.seen, "\x1b[1m"), colours) << session.seen;
    EXPECT_EQ(contains(session.seen, "\x1b[2m"), colours) << session.seen;
    EXPECT_FALSE(session.is_raw());
  }
}

TEST_F(ProgramTest, SignalsAtThePromptLeaveTheTerminalAsItWas) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    TerminalSession session;
    EXPECT_FALSE(session.is_raw());
    session.child =
        start({"chat"}, {.terminal = true}, session.program_side, session.program_side, session.program_side);
    ASSERT_TRUE(session.read_until("> ", 0)) << session.seen;
    EXPECT_TRUE(session.is_raw());
    kill(session.child, signal);
    const int status = session.end();
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_FALSE(session.is_raw());
  }
}

// ---- the program as a file

TEST_F(ProgramTest, InterruptEndsGenerate) {
  int out[2];
  ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
  const pid_t child =
      start({"generate", "x", "--ignore-eos"}, {.environment = {"FAKE_STEP_MS=10"}}, 0, out[1], 2);
  close(out[1]);
  char byte = 0;
  ASSERT_EQ(read(out[0], &byte, 1), 1);
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  close(out[0]);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

TEST_F(ProgramTest, ReaderThatLeavesIsNoError) {
  int out[2];
  ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
  const pid_t child =
      start({"generate", "x", "--ignore-eos"}, {.environment = {"FAKE_STEP_MS=1"}}, 0, out[1], 2);
  close(out[1]);
  char byte = 0;
  ASSERT_EQ(read(out[0], &byte, 1), 1);
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ProgramTest, FullDiskIsReported) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "SKIPPED: no /dev/full here";
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  const std::string err = directory_.file("stderr");
  const int error = open(err.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  for (const Strings& args : {Strings{"tokenize", "x"}, Strings{"generate", "x", "-n", "5"}}) {
    const pid_t child = start(args, {}, 0, full, error);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 1);
  }
  close(full);
  close(error);
  const auto message = forge::read_file(err);
  EXPECT_TRUE(
      contains(std::string(message.begin(), message.end()), "standard output: can't be written (No space"));
  expect_failure({"logits", "--tokens", "1", "-o", "/dev/full"}, 1, "/dev/full: can't be written (No space");
}

TEST_F(ProgramTest, RunsInAnEmptyRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "SKIPPED: chroot needs root";
  if (std::string_view(FAKE_PROGRAM).empty() ||
      run({"--help"}, {.chroot_to = directory_.path()}).status == 98) {
    GTEST_SKIP() << "SKIPPED: the fake program is not static in this build (sanitizers)";
  }
  const RunOptions options = {.chroot_to = directory_.path()};
  EXPECT_EQ(output({"generate", "Once", "-n", "20", "--seed", "7"}, options),
            output({"generate", "Once", "-n", "20", "--seed", "7"}));
  EXPECT_TRUE(contains(output({"info", "--verify"}, options), "verified"));
  EXPECT_TRUE(contains(output({"bench", "-p", "8", "-n", "4", "-r", "1"}, options), "start to first token"));
  EXPECT_EQ(
      output({"chat", "--temp", "0", "-n", "5"}, {.input = "hi\n", .chroot_to = directory_.path()}).size(),
      6U);
}

TEST_F(ProgramTest, MissingProcessorFeature) {
  expect_failure({"info"}, 1, "lacks AVX-1024", {.environment = {"FAKE_LACKS_FEATURE=1"}});
}

TEST_F(ProgramTest, DamagedFilesAreFound) {
  const auto whole = forge::read_file(program_);
  const auto code = forge::read_file(FAKE_PROGRAM);
  const auto write = [&](std::span<const uint8_t> bytes) {
    forge::write_file(program_, bytes);
    chmod(program_.c_str(), 0755);
  };
  for (size_t cut = 1; cut < whole.size() - code.size(); cut += cut < 64 ? 13 : 977) {
    write(std::span(whole).first(whole.size() - cut));
    expect_failure({"info"}, 1, "no payload");
  }
  std::mt19937 random(2);
  const size_t begin = (code.size() + 4095) / 4096 * 4096;
  for (int i = 0; i < 40; ++i) {
    auto altered = whole;
    altered[begin + random() % (altered.size() - begin)] ^= 0x10;
    write(altered);
    const Outcome r = run({"info", "--verify"});
    EXPECT_EQ(r.status, 1) << i << r.out << r.err;
  }
  write(whole);
  EXPECT_EQ(run({"info", "--verify"}).status, 0);
}

TEST_F(ProgramTest, SeparateWeights) {
  forge::write_file(program_, forge::read_file(FAKE_PROGRAM));
  chmod(program_.c_str(), 0755);
  expect_failure({"info"}, 1, "story.weights: can't be opened");
  write_payload(program_ + ".weights", fake_payload_input(), nullptr);
  EXPECT_TRUE(contains(output({"info", "--verify"}), "verified"));
  EXPECT_EQ(output({"generate", "x", "-n", "5"}).size(), 5U);
  auto bytes = forge::read_file(program_ + ".weights");
  bytes.pop_back();
  forge::write_file(program_ + ".weights", bytes);
  expect_failure({"info"}, 1, "truncated");
}

}  // namespace
}  // namespace forge::rt
