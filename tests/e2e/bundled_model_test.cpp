// The bundled model as one program, held against the interpreter and against numbers from elsewhere.
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cli/model_source.h"
#include "codegen/compile.h"
#include "core/error.h"
#include "tests/e2e/command_test.h"
#include "toolchain/cpu_level.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

class BundledModel : public CommandTest {
 protected:
  static void SetUpTestSuite() {
    set_up_commands();
    model_ = FORGE_SOURCE_DIR "/models/storyteller-q8_0.gguf";
    program_ = cache_->file("story");
    const ProcessResult compiled =
        run_process({FORGE_BINARY, "compile", model_, "-o", program_}, cache_->path());
    ASSERT_EQ(compiled.status, 0) << compiled.output;
  }
  void SetUp() override { fs::create_symlink(program_, file("story")); }

  inline static std::string program_;
};

constexpr const char* kTokens = "0,415,260,321,11,412,339,260,17,99,1200,2047,5,5,640,38,7,1111,256,300";

TEST_F(BundledModel, GreedyTextIsTheInterpreters) {
  const std::string options = " \"Once upon a time\" -n 24 --temp 0";
  const std::string text = output("./story generate" + options);
  EXPECT_EQ(text.substr(0, 29), ", there was a little girl nam");
  EXPECT_EQ(output("$forge generate --interpret $model" + options), text);
  EXPECT_EQ(output("$forge generate $model" + options), text);
}

TEST_F(BundledModel, LogitsAreTheInterpretersBitForBitWithAnyThreads) {
  const std::string options = std::string(" --tokens ") + kTokens + " -o ";
  output("$forge logits --interpret $model" + options + "interpreted");
  EXPECT_EQ(fs::file_size(file("interpreted")), 20u * 2048 * 4);
  for (const char* threads : {"1", "2", "3"}) {
    output(std::string("./story logits --threads ") + threads + options + "compiled");
    EXPECT_EQ(shell("cmp interpreted compiled").output, "") << threads << " threads";
  }
}

// Every level is run that this machine has, and by emulation what machines with less do.
TEST_F(BundledModel, PortableProgramTakesTheBestLevelThatThereIs) {
  output("$forge compile $model --cpu portable -o portable");
  const std::string options = std::string(" logits --tokens ") + kTokens + " -o ";
  output("./story" + options + "native && ./portable" + options + "best && cmp native best");
  // Of a prompt, which has other bits where a matrix unit multiplies bfloat16.
  output(std::string("$forge logits --cpu x86-64 --interpret $model --tokens ") + kTokens + " -o plain");
  const CpuTarget target = cpu_target("portable");
  for (const CpuLevel* level : target.levels) {
    const std::string chosen = fmt::format("FORGE_LEVEL={} ./portable", level->name);
    if (const std::string_view missing = missing_feature(*level); !missing.empty()) {
      EXPECT_EQ(
          error(chosen + " info", 2),
          fmt::format("portable: FORGE_LEVEL={}: this processor lacks {}, which that level needs; unset "
                      "FORGE_LEVEL, and the best level it has is taken",
                      level->name, missing));
      continue;
    }
    output(fmt::format("{}{}level && cmp {} level", chosen, options,
                       level->has_bf16_tiles() ? "native" : "plain"));
    EXPECT_NE(output(chosen + " info").find(fmt::format(" {}, plan", level->name)), std::string::npos);
  }
  EXPECT_EQ(
      error("FORGE_LEVEL=mips ./portable info", 2),
      "portable: FORGE_LEVEL=mips: the program was not compiled for that level, but for sapphirerapids, "
      "x86-64-v4+vnni, x86-64-v4, x86-64-v3+avxvnni, x86-64-v3, x86-64");
  if (find_on_path("qemu-x86_64").empty())
    GTEST_SKIP() << "qemu-x86_64 is missing (package qemu-user): no lesser machine is tried";
  for (const char* cpu : {"Haswell", "Nehalem", "qemu64"})
    output(fmt::format("qemu-x86_64 -cpu {} ./portable{}lesser && cmp plain lesser", cpu, options));
  output("$forge compile $model --cpu x86-64-v3 -o v3");
  EXPECT_NE(shell("qemu-x86_64 -cpu Nehalem ./v3 info").output.find("v3: this processor lacks "),
            std::string::npos);
}

TEST_F(BundledModel, TracedTensorsAreTheInterpreters) {
  const std::string options = std::string(" --tokens ") + kTokens + " -o logits --trace-tensors ";
  output("./story logits" + options + "compiled && $forge logits --interpret $model" + options +
         "interpreted");
  EXPECT_EQ(shell("diff -r compiled interpreted").output, "");
  EXPECT_GT(std::distance(fs::directory_iterator(file("compiled")), {}), 20);
}

// llama.cpp has 1.1415 for the same 6 chunks:
//   head -c 6000 models/heldout.txt >text; llama-perplexity -m models/storyteller-q8_0.gguf -f text -c 256
TEST_F(BundledModel, PerplexityIsThatOfLlamaCpp) {
  constexpr double kLlamaCpp = 1.1415;
  const std::string json = output("head -c 6000 " FORGE_SOURCE_DIR
                                  "/models/heldout.txt >text; ./story perplexity text --ctx 256 --json");
  const auto parsed = nlohmann::json::parse(json);
  EXPECT_EQ(parsed.at("chunks").get<int>(), 6);
  EXPECT_NEAR(parsed.at("perplexity").get<double>(), kLlamaCpp, 0.005 * kLlamaCpp);
  EXPECT_EQ(error("printf 'a\\0b' >bytes && ./story perplexity bytes", 1),
            "story: bytes: byte 1 is zero; expected a text");
}

// llama.cpp of the same two files, each with the standard error it gives:
//   llama-perplexity -m models/storyteller-f16.gguf -f text -c 256 --kl-divergence-base base
//   llama-perplexity -m models/storyteller-q8_0.gguf -f text -c 256 --kl-divergence --kl-divergence-base base
TEST_F(BundledModel, ComparesAsLlamaCppDoes) {
  output("head -c 6000 " FORGE_SOURCE_DIR "/models/heldout.txt >text");
  // At a level whose prompts have activations in q8, as llama.cpp's have.
  const auto json =
      nlohmann::json::parse(output("$forge compare --cpu x86-64-v3 " FORGE_SOURCE_DIR
                                   "/models/storyteller-f16.gguf $model --file text --ctx 256 --json"));
  EXPECT_EQ(json.at("chunks"), 6);
  EXPECT_EQ(json.at("tokens"), 6 * 127);
  const auto expect = [&](const char* key, double value, double error) {
    EXPECT_NEAR(json.at(key).at("value").get<double>(), value, error) << key;
    EXPECT_NEAR(json.at(key).at("error").get<double>(), error, 0.2 * error) << key;
  };
  // The perplexities share the text, so they differ far less than their errors say.
  EXPECT_NEAR(json.at("perplexity_a").at("value").get<double>(), 1.141437, 0.0005);
  EXPECT_NEAR(json.at("perplexity_b").at("value").get<double>(), 1.141490, 0.0005);
  expect("log_ratio", 0.000047, 0.000241);
  expect("kl_divergence", 0.000019, 0.000003);
  expect("probability_rms_difference", 0.00200, 0.00024);
  EXPECT_NEAR(json.at("same_first_token").at("value").get<double>(), 0.99606, 0.00227);

  const std::string itself = output("$forge compare story ./story --file text --ctx 256");
  EXPECT_NE(itself.find("KL divergence, mean       0.000000 +/- 0.000000"), std::string::npos) << itself;
  EXPECT_NE(itself.find("same first token          100.000%"), std::string::npos) << itself;
}

// 300 tokens are two steps (one where rows are bf16, of which a step has more), 6 are 6; every layer's stages appear in
// each, but for the last layer's where no row is wanted: in a prompt's steps before the last.
TEST_F(BundledModel, ProfileAndTraceShowEveryStage) {
  const std::string options = "bench -p 300 -n 6 -r 1 --threads 2 --profile";
  const auto json = nlohmann::json::parse(output("./story " + options + " --json --trace trace.json"));
  const Checkpoint checkpoint = read_model({.path = model_}, nullptr);
  const int n_layers = static_cast<int>(*checkpoint.meta.integer("llama.block_count"));
  const int prompt_steps = native_cpu_level().has_bf16_tiles() ? 1 : 2;
  const int of_prompt = n_layers * prompt_steps - (prompt_steps - 1), of_tokens = n_layers * 6;
  for (const auto& [key, n_steps, n_attentions] :
       {std::tuple{"prefill_profile", prompt_steps, of_prompt}, {"decode_profile", 6, of_tokens}}) {
    const auto& profile = json.at(key);
    double sum = profile.at("waiting_seconds").get<double>() + profile.at("outside_seconds").get<double>();
    for (const auto& stage : profile.at("stages")) {
      sum += stage.at("seconds").get<double>();
      if (stage.at("stage") == "attention") EXPECT_EQ(stage.at("calls"), n_attentions);
      if (stage.at("stage").get<std::string>().starts_with("embed")) EXPECT_EQ(stage.at("calls"), n_steps);
    }
    EXPECT_NEAR(sum / profile.at("seconds").get<double>(), 1, 1e-6) << key;  // printed with 9 digits
  }
  const auto trace = nlohmann::json::parse(output("cat trace.json"));
  std::map<std::pair<int, int>, double> end_of;  // by process and thread
  std::map<std::pair<int, int>, int> attentions;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    const std::pair<int, int> worker{event.at("pid"), event.at("tid")};
    const double begin = event.at("ts"), duration = event.at("dur");
    EXPECT_GE(begin, end_of[worker] - 1e-4) << event;  // nanoseconds, in microseconds
    EXPECT_GE(duration, 0);
    end_of[worker] = begin + duration;
    attentions[worker] += event.at("name") == "attention";
  }
  EXPECT_EQ(end_of.size(), 4U);
  for (const auto& [worker, n] : attentions) EXPECT_EQ(n, worker.first == 1 ? of_prompt : of_tokens);
  EXPECT_NE(output("./story " + options).find("waiting at barriers"), std::string::npos);
  // A step has outputs for 16 sequences: 40 read the weights three times.
  const auto many = nlohmann::json::parse(output("./story bench -p 0 -n 2 -r 1 --parallel 40 --json"));
  const auto of = [&](const char* key) { return many.at(key).get<double>(); };
  const double read = of("decode_tok_s") / 40 * 3 * of("weight_bytes_per_token");
  EXPECT_NEAR(of("decode_bandwidth_share") * of("read_bandwidth") / read, 1, 1e-6);  // printed with 9 digits
  EXPECT_EQ(error("./story bench --trace .", 1), "story: .: can't be written (Is a directory)");
  EXPECT_EQ(error("./story bench --trace ''", 2),
            "story: bench: --trace: the value is empty, expected a file");
  EXPECT_EQ(error("./story bench -p 0 -n 0 --profile", 2),
            "story: bench: --profile and --trace have nothing to show with -p 0 and -n 0");
  EXPECT_EQ(error("./story bench --trace - --json", 2),
            "story: bench: --trace -: standard output has the figures; expected a file");
  EXPECT_NE(error("$forge bench --interpret $model --profile", 2).find("leave out --interpret"),
            std::string::npos);
}

// Which schedule is found depends on the machine; what the program says does not.
TEST_F(BundledModel, TunesOnceAndSaysTheSame) {
  const std::string compile = "FORGE_CACHE_DIR=tuning $forge compile $model --tune -o ";
  // Two at once: one measures, and the other waits for what it finds.
  const std::string first = shell(compile + "beside & " + compile + "tuned; wait").output;
  EXPECT_NE(first.find("forge: tune: waits until another forge has measured"), std::string::npos) << first;
  EXPECT_NE(first.find("forge: tune: measured before: "), std::string::npos) << first;
  output("cmp tuned beside");
  EXPECT_NE(first.find("forge: tune: "), std::string::npos) << first;
  EXPECT_NE(output("FORGE_CACHE_DIR=tuning $forge cache").find(" schedules "), std::string::npos);
  const std::string second = shell(compile + "again").output;
  EXPECT_TRUE(second.starts_with("forge: tune: measured before: ")) << second;
  output("cmp tuned again");
  const std::string generate = " generate --temp 0 --tokens 20 'Once upon a time'";
  EXPECT_EQ(output("./tuned" + generate), output("./story" + generate));
  EXPECT_EQ(error("$forge compile $model --tune --cpu portable -o no", 2),
            "forge: --tune: measures one level, and portable programs have several; --cpu native is this "
            "machine's");
  EXPECT_NE(
      error("$forge compile $model --tune --triple aarch64-linux-gnu --cpu armv8-a -o no", 2)
          .find("--tune: programs for aarch64-linux-gnu don't run on this machine to be measured; leave"),
      std::string::npos);
  EXPECT_EQ(error("$forge compile $model --tune --ctx 100 -o no", 2),
            "forge: --tune: measures prompts of 128 tokens, and the context has 100; leave out --tune, or "
            "see --ctx");
}

TEST_F(BundledModel, ChatAnswersThroughTheModelsTemplate) {
  const std::string answer = output("echo 'What is 3 plus 4?' | ./story chat --temp 0");
  EXPECT_NE(answer.find('7'), std::string::npos) << answer;
  output(R"(printf '<|im_start|>user\nWhat is 3 plus 4?<|im_end|>\n<|im_start|>assistant\n' >prompt)");
  EXPECT_EQ(output("./story generate -f prompt --special --temp 0; echo"), answer);
  const std::string two =
      output("printf 'What is 3 plus 4?\\nWhat is 9 minus 5?\\n' | ./story chat --temp 0");
  EXPECT_EQ(two.substr(0, answer.size() + 4), answer + "---\n");
  EXPECT_NE(two.find('4', answer.size()), std::string::npos) << two;
}

TEST_F(BundledModel, SameSeedGivesTheSameTextWithAnyThreads) {
  const std::string options = " \"Once upon a time\" -n 60 --temp 1 --seed 7";
  const std::string text = output("./story generate --threads 1" + options);
  for (const char* threads : {"2", "3"})
    EXPECT_EQ(output(std::string("./story generate --threads ") + threads + options), text) << threads;
  EXPECT_NE(output("./story generate \"Once upon a time\" -n 60 --temp 1 --seed 8"), text);
}

TEST_F(BundledModel, StopStringEndsTheTextBeforeIt) {
  const std::string text = output("./story generate \"Once upon a time\" -n 40 --temp 0");
  const std::string stop = "girl named";
  ASSERT_NE(text.find(stop), std::string::npos) << text;
  EXPECT_EQ(output("./story generate \"Once upon a time\" -n 40 --temp 0 --stop '" + stop + "'"),
            text.substr(0, text.find(stop)));
}

TEST_F(BundledModel, SavedStateGoesOnAsIfItHadNotStopped) {
  const std::string text = output("./story generate \"Once upon a time\" -n 40 --temp 0");
  const std::string first = output("./story generate \"Once upon a time\" -n 15 --temp 0 --save-state state");
  EXPECT_EQ(first + output("./story generate --load-state state -n 25 --temp 0"), text);
}

TEST_F(BundledModel, ExportGivesTheModelFileBack) {
  output("$forge export-weights story -o back.gguf");
  EXPECT_EQ(shell("cmp back.gguf $model").output, "");
}

TEST_F(BundledModel, AProcessorThatLacksAFeatureIsToldSo) {
  if (find_on_path("qemu-x86_64").empty())
    GTEST_SKIP() << "qemu-x86_64 is missing: older processors are not tested (package qemu-user)";
  const std::string message = error("qemu-x86_64 -cpu Nehalem ./story info", 1);
  EXPECT_EQ(message.substr(0, 28), "story: this processor lacks ");
  EXPECT_NE(message.find("forge compile --cpu native"), std::string::npos) << message;
}

// The compiler's front half on a file that may be anything: an Error or a model, nothing else.
bool is_accepted(const std::string& path) {
  try {
    const Checkpoint checkpoint = read_model({.path = path}, nullptr);
    compile_model(checkpoint, {.target = cpu_target("x86-64-v3")}, nullptr);
    return true;
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return false;
  }
}

// Where the weights begin in the bundled file.
size_t header_bytes(const std::string& path) {
  const Checkpoint checkpoint = read_gguf(path);
  return static_cast<size_t>(checkpoint.tensors[0].data.data() - checkpoint.files[0].data());
}

TEST_F(BundledModel, AFileCutAnywhereIsRefused) {
  fs::copy_file(model_, file("cut.gguf"));
  const size_t whole = fs::file_size(model_), header = header_bytes(model_);
  std::vector<size_t> cuts = {whole - 1, whole / 2, header + 1, header, header - 1};
  for (size_t at = header; at > 600; at -= header / 60) cuts.push_back(at);
  for (size_t at = 600; at > 0; --at) cuts.push_back(at - 1);
  std::ranges::sort(cuts, std::greater());
  for (const size_t cut : cuts) {
    fs::resize_file(file("cut.gguf"), cut);
    EXPECT_FALSE(is_accepted(file("cut.gguf"))) << cut;
  }
}

TEST_F(BundledModel, AFileWithAFlippedByteIsRefusedOrCompiled) {
  fs::copy_file(model_, file("flipped.gguf"));
  std::fstream stream(file("flipped.gguf"), std::ios::in | std::ios::out | std::ios::binary);
  const size_t header = header_bytes(model_);
  std::vector<size_t> places(600);
  std::iota(places.begin(), places.end(), 0);
  for (size_t at = 600; at < header; at += header / 150) places.push_back(at);
  size_t n_refused = 0;
  const auto put = [&](size_t at, char byte) {
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte).flush();
  };
  for (const size_t at : places) {
    stream.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(stream.get());
    put(at, static_cast<char>(byte ^ (1 << (at % 8))));
    if (!is_accepted(file("flipped.gguf"))) ++n_refused;
    put(at, byte);
  }
  EXPECT_GT(n_refused, 100u);
  EXPECT_TRUE(is_accepted(file("flipped.gguf")));
}

TEST_F(BundledModel, CompilingADamagedFileIsOneLineAndLeavesNothing) {
  const size_t header = header_bytes(model_);
  for (const size_t cut : {size_t{0}, size_t{3}, size_t{24}, size_t{1000}, header / 2, header + 1000}) {
    error("head -c " + std::to_string(cut) + " $model >in.gguf; $forge compile in.gguf -o prog", 1);
  }
  for (const size_t at : {size_t{0}, size_t{4}, size_t{15}, size_t{23}, size_t{31}}) {
    error("cp $model in.gguf; printf '\\377' | dd of=in.gguf bs=1 conv=notrunc status=none seek=" +
              std::to_string(at) + "; $forge compile in.gguf -o prog",
          1);
  }
  fs::remove(file("in.gguf"));
  EXPECT_EQ(directory_.names(), std::vector<std::string>{"story"});
}

}  // namespace
}  // namespace forge
