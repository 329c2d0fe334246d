// The forge command from outside: what it writes, prints and returns.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <regex>
#include <thread>

#include "codegen/compile.h"
#include "core/error.h"
#include "formats/checkpoint.h"
#include "tests/e2e/command_test.h"
#include "tests/support/tiny_model.h"
#include "toolchain/compiler.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

class ForgeCli : public CommandTest {
 protected:
  static void SetUpTestSuite() {
    set_up_commands();
    model_ = cache_->file("tiny.gguf");
    write_gguf(test::make_checkpoint({}), model_);
  }
};

TEST_F(ForgeCli, ProgramRunsAloneAndSaysWhatForgeSays) {
  const ProcessResult compiled = shell("$forge compile $model -o prog");
  ASSERT_EQ(compiled.status, 0) << compiled.output;
  EXPECT_EQ(compiled.output.substr(0, 10), "prog: code");
  EXPECT_EQ(std::count(compiled.output.begin(), compiled.output.end(), '\n'), 1) << compiled.output;
  EXPECT_EQ(directory_.names(), (std::vector<std::string>{"prog"}));
  const std::string text = output("./prog generate abc -n 20 --seed 1");
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(output("$forge generate $model abc -n 20 --seed 1"), text);
  EXPECT_EQ(output("$forge generate ./prog abc -n 20 --seed 1"), text);
  EXPECT_EQ(output("cd /; $forge generate --cpu native $model abc -n 20 --seed=1"), text);
}

TEST_F(ForgeCli, CodeIsUnderThreeMegabytesAndStatic) {
  output("$forge compile $model -o prog --weights separate");
  EXPECT_LT(fs::file_size(file("prog")), 3'000'000u);
  const std::string readelf = find_on_path("llvm-readelf-19");
  if (readelf.empty())
    GTEST_SKIP() << "llvm-readelf-19 is missing: static linking is not checked (package llvm-19)";
  EXPECT_EQ(run_process({readelf, "--program-headers", file("prog")}, "/").output.find("INTERP"),
            std::string::npos);
}

TEST_F(ForgeCli, RunsInAnEmptyRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: chroot into an empty directory is not tested";
  output("$forge compile $model -o prog && mkdir root && cp prog root");
  const std::string text = output("./prog generate abc -n 20 --seed 1 --threads 1");
  EXPECT_EQ(output("chroot root /prog generate abc -n 20 --seed 1 --threads 1"), text);
}

TEST_F(ForgeCli, SeparateWeights) {
  output("$forge compile $model -o prog --weights separate");
  const std::string text = output("./prog generate abc -n 20 --seed 1");
  EXPECT_EQ(output("$forge generate $model abc -n 20 --seed 1"), text);
  fs::remove(file("prog.weights"));
  EXPECT_NE(error("./prog generate abc", 1).find("prog.weights"), std::string::npos);
}

TEST_F(ForgeCli, SameInputsGiveTheSameBytes) {
  output("$forge compile $model -o one && cd / && FORGE_CACHE_DIR=" + file("other") + " TMPDIR=" + file("") +
         " $forge compile $model -o " + file("two"));
  EXPECT_EQ(shell("cmp one two").output, "");
}

TEST_F(ForgeCli, EmittedSourceBuildsTheSameProgram) {
  output("$forge compile $model --emit source -o source && source/build.sh");
  output("$forge compile $model -o prog --weights separate");
  EXPECT_EQ(shell("cmp source/program prog && cmp source/program.weights prog.weights").output, "");
  output("$forge compile $model --emit source -o source && mkdir mine && touch mine/model.cpp");
  EXPECT_EQ(error("$forge compile $model --emit source -o mine", 1),
            "forge: mine: holds model.cpp, which is not of --emit source; give a new or an empty folder");
}

TEST_F(ForgeCli, ProgramIsAnInput) {
  output("$forge compile $model -o prog && $forge export-weights prog -o back.gguf");
  EXPECT_EQ(shell("cmp back.gguf $model").output, "");
  output("$forge compile prog -o again");
  EXPECT_EQ(output("./again generate abc -n 20 --seed 1"), output("./prog generate abc -n 20 --seed 1"));
  EXPECT_EQ(error("$forge export-weights $model -o x.gguf", 1),
            "forge: " + model_ + ": not a compiled program");
}

TEST_F(ForgeCli, OverridesMendTheMetadata) {
  output("$forge compile $model --override llama.rope.freq_base=500 --override general.name=Mended -o prog");
  EXPECT_NE(output("./prog info").find("Mended"), std::string::npos);
  const std::string logits = "--tokens 1,5,9,7,3 -o ";
  output("./prog logits " + logits + "prog.f32 && $forge logits $model " + logits +
         "plain.f32 && $forge logits " + "--override llama.rope.freq_base=500 $model " + logits +
         "mended.f32");
  EXPECT_EQ(shell("cmp prog.f32 mended.f32").output, "");
  EXPECT_NE(shell("cmp -s prog.f32 plain.f32").status, 0);
  EXPECT_NE(output("$forge dump $model --stage graph --override llama.rope.freq_base=500").find("base=500"),
            std::string::npos);
  // What a program holds can be mended as well, but not while it is only shown.
  output("$forge logits prog --override llama.rope.freq_base=10000 " + logits + "back.f32");
  EXPECT_EQ(shell("cmp back.f32 plain.f32").output, "");
  EXPECT_EQ(error("$forge info prog --override a=b", 2),
            "forge: info: prog is a compiled program; only a model can be changed");
  EXPECT_EQ(error("$forge generate $model --override llama.block_count=x abc", 2),
            "forge: --override llama.block_count: \"x\" is not an integer of type u32, the type of the key");
}

TEST_F(ForgeCli, HuggingFaceDirectoryIsAModel) {
  const std::string goldens = FORGE_SOURCE_DIR "/tests/goldens/";
  const std::string logits = " --tokens 1,5,9,7,3 -o ";
  output("cp -r " + goldens + "hf/llama Tiny-1.5 && $forge logits Tiny-1.5/" + logits +
         "hf.f32 && $forge logits " + goldens + "llama.gguf" + logits + "gguf.f32");
  EXPECT_EQ(shell("cmp hf.f32 gguf.f32").output, "");
  EXPECT_NE(output("$forge info Tiny-1.5").find("Hugging Face directory"), std::string::npos);
  EXPECT_NE(output("cd Tiny-1.5 && $forge compile . -o ../prog && cd .. && ./prog info").find("Tiny-1.5"),
            std::string::npos);
  output("$forge export-weights prog -o back.gguf && $forge logits back.gguf" + logits + "back.f32");
  EXPECT_EQ(shell("cmp back.f32 gguf.f32").output, "");
  EXPECT_EQ(error("mkdir empty && $forge generate empty abc", 1),
            "forge: empty: holds no config.json, expected a Hugging Face model's directory");
}

TEST_F(ForgeCli, QuantizesToAFileAndAtCompileTime) {
  const std::string how = " --tensor-type attn_k=f16";  // the other matrices from q8_0
  EXPECT_NE(output("$forge quantize $model q4.gguf --type q4_0" + how).find("attn_v"), std::string::npos);
  EXPECT_NE(output("$forge info q4.gguf").find("q4_0, attn_k=f16"), std::string::npos);
  output("$forge compile $model --quantize q4_0" + how + " -o prog");
  EXPECT_NE(output("./prog info").find("q4_0, attn_k=f16"), std::string::npos);
  output("$forge export-weights prog -o back.gguf && cmp back.gguf q4.gguf");
  const std::string text = output("./prog generate abc -n 20 --seed 1");
  EXPECT_EQ(output("$forge generate $model --quantize q4_0" + how + " abc -n 20 --seed 1"), text);
  EXPECT_EQ(output("$forge generate q4.gguf abc -n 20 --seed 1"), text);

  EXPECT_EQ(error("$forge quantize $model $model --type q4_0", 2),
            "forge: " + model_ + ": the output would replace what it is made from");
  EXPECT_EQ(error("$forge quantize $model x.gguf", 2),
            "forge: quantize: no --type and no --fit given (see forge quantize --help)");
  EXPECT_NE(error("$forge quantize $model x.gguf --type q9", 2).find("no quantization 'q9'; there are f32,"),
            std::string::npos);
  EXPECT_NE(error("$forge generate $model --quantize q4_0 --imatrix /dev/null abc", 1).find("/dev/null"),
            std::string::npos);
}

TEST_F(ForgeCli, AdaptersAreMerged) {
  const std::string goldens = FORGE_SOURCE_DIR "/tests/goldens/";
  const std::string logits = " --tokens 1,5,9,7,3 -o ", lora = " --lora " + goldens;
  output("cp " + goldens + "llama.gguf base.gguf && $forge logits base.gguf" + logits +
         "plain.f32 && $forge logits base.gguf" + lora + "lora" + logits + "peft.f32 && $forge logits" +
         lora + "lora.gguf base.gguf" + logits + "gguf.f32");
  EXPECT_EQ(shell("cmp peft.f32 gguf.f32").output, "");
  EXPECT_NE(shell("cmp -s peft.f32 plain.f32").status, 0);
  output("$forge logits base.gguf" + lora + "lora:0.25" + logits + "quarter.f32");
  EXPECT_NE(shell("cmp -s peft.f32 quarter.f32").status, 0);
  output("$forge compile base.gguf" + lora + "lora -o prog && ./prog logits" + logits + "prog.f32");
  EXPECT_EQ(shell("cmp peft.f32 prog.f32").output, "");
  EXPECT_NE(output("./prog info").find("source.adapters"), std::string::npos);
  // Half and half again; the program's own record grows.
  output("$forge compile base.gguf" + lora + "lora:0.5" + lora + "lora:0.5 -o twice && $forge info twice");
  EXPECT_NE(output("./twice info").find(" 0.5, "), std::string::npos);
  EXPECT_EQ(error("$forge compile base.gguf --lora base.gguf -o x", 1),
            "forge: base.gguf: no adapter, expected a GGUF file whose general.type is adapter");
  EXPECT_EQ(error("$forge generate base.gguf --lora a:b abc", 2),
            "forge: --lora a:b: \"b\" is no scale, expected PATH or PATH:SCALE");
}

TEST_F(ForgeCli, SeparateWeightsAreAnInput) {
  output("$forge compile $model -o prog --weights separate");
  for (const char* name : {"prog", "prog.weights"}) {
    const std::string input = name;
    EXPECT_NE(output("$forge info --verify " + input).find("all whole"), std::string::npos);
    output("$forge export-weights " + input + " -o back.gguf && cmp back.gguf $model");
    EXPECT_EQ(output("$forge generate " + input + " abc -n 20 --seed 1"),
              output("./prog generate abc -n 20 --seed 1"));
  }
  EXPECT_EQ(error("$forge compile prog.weights -o prog --weights separate", 2),
            "forge: prog.weights: the output would replace what it is made from");
}

// What a trial by a new user found.
TEST_F(ForgeCli, OutputsReplaceNoInput) {
  output("cp $model m.gguf && $forge compile m.gguf --weights separate -o prog && cp prog.weights before");
  EXPECT_EQ(error("$forge dump m.gguf --stage plan -o m.gguf", 2),
            "forge: m.gguf: the output would replace what it is made from");
  EXPECT_EQ(error("$forge export-weights prog -o prog.weights", 2),
            "forge: prog.weights: the output would replace the program");
  EXPECT_EQ(error("echo {{ messages }} >t && $forge compile m.gguf --chat-template t -o t", 2),
            "forge: t: the output would replace the chat template");
  output("cmp m.gguf $model && cmp prog.weights before");
}

// What a second one found.
TEST_F(ForgeCli, MistakesAreNamedBeforeTheWork) {
  for (const char* command : {"compile $model -o ''", "compile '' -o x", "compile $model --chat-template ''",
                              "quantize $model '' --type q4_0", "quantize $model x --type q4_0 --imatrix ''",
                              "compile $model -o x --quantize ''", "quantize $model x --fit ''",
                              "generate $model --quantize '' abc", "tokenize '' abc"})
    EXPECT_NE(error(std::string("$forge ") + command, 2).find("expected a value, this one is empty"),
              std::string::npos)
        << command;
  for (const char* command : {"compile $model -o none/x", "compile $model --weights separate -o none/x",
                              "quantize $model none/x --type q4_0", "dump $model --stage plan -o none/x"})
    EXPECT_EQ(error(std::string("$forge ") + command, 1),
              "forge: none/x: can't be written: there is no folder none");
  EXPECT_EQ(error("$forge quantize $model /dev/full --type q4_0", 1),
            "forge: /dev/full: can't be written: is a device or pipe, expected a file name");
  EXPECT_EQ(output("$forge compile $model --override llama.rope.freqbase=5 -o x 2>&1 | head -n 1"),
            "forge: --override llama.rope.freqbase: the model has no such key, it is added\n");
  EXPECT_EQ(error("$forge compile $model --lora absent -o x", 1),
            "forge: --lora absent: there is no such file or directory");
  EXPECT_EQ(error("$forge compile " FORGE_SOURCE_DIR "/tests/goldens/lora.gguf -o x", 1),
            "forge: " FORGE_SOURCE_DIR
            "/tests/goldens/lora.gguf: an adapter, expected a model; --lora merges the one into the other");
  EXPECT_EQ(
      error("$forge compile $model --chat-template '{{ messages }}' -o x", 2),
      "forge: --chat-template \"{{ messages }}\": looks like a template, expected the name of a file with "
      "one");
  EXPECT_EQ(error("echo '{% bogus %}' >t && $forge compile $model --chat-template t -o x", 1),
            "forge: t: chat template, line 1: unknown tag 'bogus'");
  // What a program says of itself is told as the model's, not under the cache's name for it.
  EXPECT_EQ(error("echo >short && $forge compare $model $model --file short", 1)
                .find("forge: " + model_ + ": short: "),
            0U);
  EXPECT_EQ(error("$forge compare $model $model --file absent", 1),
            "forge: absent: can't be opened: No such file or directory");
  EXPECT_EQ(error("$forge quantize $model x --fit 1KB", 2).find("forge: --fit 1KB: the metadata alone"), 0u);
}

// What a third one found.
TEST_F(ForgeCli, BothFilesOfAProgramAreItsInput) {
  output("$forge compile $model --weights separate -o prog && cp prog.weights before && echo >ct.weights");
  for (const char* command :
       {"compile prog -o prog.weights", "quantize prog ./prog.weights --type q4_0",
        "dump prog --stage plan -o prog.weights", "compile prog.weights -o prog --weights separate"})
    EXPECT_NE(
        error(std::string("$forge ") + command, 2).find("the output would replace what it is made from"),
        std::string::npos)
        << command;
  EXPECT_EQ(error("$forge compile $model --chat-template ct.weights -o ct --weights separate", 2),
            "forge: ct.weights: the output would replace the chat template");
  output("cmp prog.weights before");
}

TEST_F(ForgeCli, DamagedProgramsAreNoInput) {
  output("$forge compile $model --weights separate -o prog");
  {
    std::fstream weights(file("prog.weights"), std::ios::in | std::ios::out | std::ios::binary);
    weights.seekg(-1000, std::ios::end);
    const int byte = weights.peek();
    weights.seekp(-1000, std::ios::end);
    weights.put(static_cast<char>(byte ^ 1));
  }
  for (const char* command :
       {"compile prog -o x", "export-weights prog -o x.gguf", "quantize prog x.gguf --type q4_0"})
    EXPECT_NE(error(std::string("$forge ") + command, 1).find("was altered"), std::string::npos) << command;
}

TEST_F(ForgeCli, OptionsAreCheckedWhereTheyChangeNothing) {
  EXPECT_EQ(error("$forge tokenize $model abc --lora absent", 1),
            "forge: --lora absent: there is no such file or directory");
  EXPECT_EQ(error("$forge tokenize $model abc --kv foo", 2), "forge: --kv foo: expected f16 or q8_0");
  EXPECT_EQ(error("$forge tokenize $model abc --cpu foo", 2), error("$forge info $model --cpu foo", 2));
  EXPECT_EQ(error("$forge info $model --override x", 2), "forge: --override x: expected KEY=VALUE");
  error("$forge info $model --ctx 0", 2);
  EXPECT_EQ(error("$forge dump $model --stage plan >/dev/full", 1),
            "forge: standard output can't be written");
  EXPECT_EQ(error("$forge compile ftp://host/model -o x", 2),
            "forge: ftp://host/model: URLs of ftp are not supported; expected https, http, or hf:ORG/NAME");
}

TEST_F(ForgeCli, OutputsOfProgramsReplaceNoInput) {
  output("$forge compile $model -o prog && $forge compile $model --weights separate -o apart");
  output("seq 2000 >text && cp prog p && cp apart.weights w && cp text t && ln text alias");
  const auto refusal = [](std::string_view path) {
    return fmt::format("{}: is what this command reads; give its output another name", path);
  };
  EXPECT_EQ(error("./prog logits --tokens 1,2 -o prog", 1), "prog: " + refusal("prog"));
  EXPECT_EQ(error("./apart logits --tokens 1,2 -o apart.weights", 1), "apart: " + refusal("apart.weights"));
  EXPECT_EQ(error("./prog generate abc -n 1 --save-state ./prog", 1), "prog: " + refusal("./prog"));
  EXPECT_EQ(error("./prog perplexity text --ctx 32 --logits alias", 1), "prog: " + refusal("alias"));
  EXPECT_EQ(error("./prog generate --file text -n 1 --save-state text", 1), "prog: " + refusal("text"));
  EXPECT_EQ(error("./prog generate abc -n 1 --save-state none/state", 1),
            "prog: none/state: can't be written (No such file or directory)");
  // forge runs a program that it keeps elsewhere; the file that it was given is the user's.
  output("cp $model m.gguf");
  for (const char* name : {"-o m.gguf", "-om.gguf", "--output=m.gguf"})
    for (const char* how : {"", " --interpret"})
      EXPECT_EQ(error(fmt::format("$forge logits m.gguf{} --tokens 1,2 {}", how, name), 2),
                "forge: m.gguf: the output would replace what it is made from");
  EXPECT_EQ(error("$forge generate m.gguf abc -n 1 --save-state ./m.gguf", 2),
            "forge: ./m.gguf: the output would replace what it is made from");
  EXPECT_EQ(error("$forge perplexity m.gguf text --ctx 32 --logits m.gguf", 2),
            "forge: m.gguf: the output would replace what it is made from");
  output("cmp $model m.gguf && cmp prog p && cmp apart.weights w && cmp text t");
  output("./prog generate abc -n 2 --save-state s && ./prog generate --load-state s -n 2 --save-state s def");
}

TEST_F(ForgeCli, CacheInQ8_0) {
  const std::string tokens = " logits --tokens 1,5,9,200,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 -o ";
  output("$forge compile $model -o half && $forge compile $model --kv q8_0 -o prog");
  output("./half" + tokens + "f16 && ./prog" + tokens + "q8");
  output(
      "$forge logits $model --interpret --kv q8_0 --tokens 1,5,9,200,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 "
      "-o oracle");
  EXPECT_EQ(shell("cmp q8 oracle").output, "");
  EXPECT_NE(shell("cmp -s q8 f16").status, 0);
  EXPECT_TRUE(std::regex_search(output("./prog info"), std::regex("\nkv +q8_0\n")));
  const std::string text = output("./prog generate abc -n 20 --seed 1");
  EXPECT_EQ(output("$forge generate --kv q8_0 $model abc -n 20 --seed 1"), text);
  EXPECT_EQ(output("FORGE_KV=q8_0 $forge generate $model abc -n 20 --seed 1"), text);
  // A program, too, is compiled anew where it is not what is asked for.
  const std::string bench = " -p 1 -n 1 -r 1 --json";
  const std::regex page("\"kv_page_bytes\": [0-9]+");
  std::smatch of_prog, anew;
  const std::string a = output("./prog bench" + bench), b = output("$forge bench ./half --kv q8_0" + bench);
  ASSERT_TRUE(std::regex_search(a, of_prog, page) && std::regex_search(b, anew, page)) << a << b;
  EXPECT_EQ(anew.str(), of_prog.str());
  EXPECT_EQ(output("$forge bench ./half" + bench).find(of_prog.str()), std::string::npos);
  EXPECT_TRUE(error("$forge bench ./half --cpu bogus -p 1", 2).starts_with("forge: --cpu bogus: "));
  output("./half generate abc -n 2 --save-state s");
  EXPECT_EQ(error("./prog generate --load-state s", 1),
            "prog: s: the state of another model, or of the same one compiled differently");
  EXPECT_EQ(error("$forge generate --kv q4_0 $model abc", 2), "forge: --kv q4_0: expected f16 or q8_0");
}

TEST_F(ForgeCli, QuantizationOptionsNeedAType) {
  EXPECT_EQ(error("$forge compile $model -o prog --tensor-type attn_v=q4_0", 2),
            "forge: --tensor-type: says how to quantize, but not to what; add a type, or --fit SIZE");
  EXPECT_EQ(error("$forge generate $model --imatrix nofile Hello", 2),
            "forge: --imatrix: says how to quantize, but not to what; add a type, or --fit SIZE");
}

TEST_F(ForgeCli, ErrorOutputThatCantBeWrittenChangesNoExitStatus) {
  for (const char* where : {"2>&-", "2>/dev/full"}) {
    EXPECT_EQ(shell(fmt::format("$forge compile $model -o prog {}", where)).status, 0) << where;
    EXPECT_EQ(shell(fmt::format("$forge info nofile {}", where)).status, 1) << where;
  }
}

TEST_F(ForgeCli, WeightsOfAnotherProgramAreRefused) {
  output(
      "$forge compile $model --weights separate -o one && $forge compile $model --ctx 64 --weights separate "
      "-o two");
  output("cp two.weights one.weights");
  EXPECT_EQ(error("./one info --verify", 1), "one: " + file("one.weights") +
                                                 ": holds the weights of another program; put back the file "
                                                 "that was written with this one, or compile it "
                                                 "anew");
}

TEST_F(ForgeCli, OtherExecutablesAreRefused) {
  for (const char* command :
       {"generate /bin/true abc", "info /bin/true", "export-weights /bin/true -o x.gguf",
        "compile /bin/true -o x", "tokenize /bin/true abc"}) {
    EXPECT_EQ(error(std::string("$forge ") + command, 1).substr(0, 48),
              "forge: /bin/true: no program of forge's, or one ");
  }
  EXPECT_EQ(directory_.names(), std::vector<std::string>());
}

TEST_F(ForgeCli, AlignmentInAPayloadIsChecked) {
  for (const uint32_t alignment : {0u, 3u, 1u << 21}) {
    Checkpoint checkpoint = test::make_checkpoint({});
    checkpoint.meta.set("general.alignment", {MetaType::u32, MetaType::u32, int64_t{alignment}});
    const CompiledModel model = compile_model(checkpoint, {.target = cpu_target("x86-64-v3")}, nullptr);
    write_payload(file("crafted.weights"), model.payload, nullptr);
    EXPECT_NE(error("$forge export-weights crafted.weights -o x.gguf", 1)
                  .find(fmt::format("alignment {}, in key", alignment)),
              std::string::npos);
  }
  EXPECT_FALSE(fs::exists(file("x.gguf")));
}

TEST_F(ForgeCli, DefaultArguments) {
  output("$forge compile $model -o prog --default-args 'tokenize --ids abc'");
  EXPECT_EQ(output("./prog"), output("./prog tokenize --ids abc"));
}

// The KV of the instructions lies in the program: it says what the plain one says with them, and reads them no more.
TEST_F(ForgeCli, SystemPromptIsCompiledIn) {
  output(R"(printf '{%% for m in messages %%}<{{ m.role }}>{{ m.content }}{%% endfor %%}<assistant>' >t)");
  output("yes 'You are terse.' | head -n 6 >system");
  const std::string compile = "$forge compile $model --chat-template t -o ";
  output(compile + "plain && " + compile + "prog --system-prompt system");
  const std::string chat = " chat --temp 0 -n 8 ";
  const std::string said = output("echo hello | ./plain" + chat + "--system \"$(cat system)\"");
  EXPECT_EQ(output("echo hello | ./prog" + chat), said);
  EXPECT_EQ(output("echo hello | ./prog" + chat + "--system ''"), output("echo hello | ./plain" + chat));
  EXPECT_EQ(output("echo hello | ./prog" + chat + "--system bye"),
            output("echo hello | ./plain" + chat + "--system bye"));
  // Only the user's turn is run.
  const std::string stats = output("printf 'hello\\n/stats\\n' | ./prog" + chat + "2>&1");
  std::smatch numbers;
  ASSERT_TRUE(
      std::regex_search(stats, numbers, std::regex("prompt (\\d+) tokens.* (\\d+) more were there already")))
      << stats;
  EXPECT_LE(std::stoi(numbers[1]), 5 + 11 + 6) << stats;  // hello<assistant>, and perhaps a part of <user>
  EXPECT_GE(std::stoi(numbers[2]), 40) << stats;
  EXPECT_NE(output("./prog info").find("system prompt"), std::string::npos);
  EXPECT_NE(output("./prog info --verify").find("all whole"), std::string::npos);
  // The same inputs give the same bytes.
  output(compile + "again --system-prompt system && cmp prog again");
  // A program is an input, with its own weights; nothing else comes along.
  EXPECT_EQ(output("$forge compile prog --chat-template t --system-prompt system -o of_prog && echo hello | "
                   "./of_prog" +
                   chat),
            said);

  EXPECT_EQ(error("$forge compile $model --system-prompt system -o x", 2),
            "forge: --system-prompt: the model has no chat template; give one with --chat-template FILE");
  EXPECT_EQ(error(": >empty; " + compile + "x --system-prompt empty", 1), "forge: empty: the file is empty");
  EXPECT_EQ(error("printf '\\377' >latin; " + compile + "x --system-prompt latin", 1),
            "forge: latin: not a text in UTF-8");
  EXPECT_EQ(error("seq 400 >long; " + compile + "x --system-prompt long", 1).substr(0, 28),
            "forge: --system-prompt: has ");
  EXPECT_EQ(error("cp system s; " + compile + "s --system-prompt s", 2),
            "forge: s: the output would replace the system prompt");
  EXPECT_EQ(error("echo '{{ messages[1].content }}' >u; $forge compile $model --chat-template u "
                  "--system-prompt system -o x",
                  1),
            "forge: --system-prompt: the chat template leaves instructions out");
}

// The masks of a schema lie in the program: its answers match, and those of the plain one that is asked for the schema.
TEST_F(ForgeCli, AnswersMatchTheSchemaThatWasCompiledIn) {
  output(R"(echo '{"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}},
                   "required": ["a"], "additionalProperties": false}' >schema)");
  output(R"(printf '{%% for m in messages %%}{{ m.content }}{%% endfor %%}' >t)");
  output("$forge compile $model --chat-template t -o plain");
  output("$forge compile $model --chat-template t -o prog --json-schema schema");
  for (const char* seed : {"1", "2", "3"}) {
    const std::string of_seed = std::string(" --temp 2 --top-k 0 --min-p 0 --top-p 1 --seed ") + seed;
    const std::string said = output("./prog generate abc" + of_seed);
    EXPECT_TRUE(std::regex_match(said, std::regex(R"(\{"a": ?[1-9]?[0-9]\})"))) << said;
    EXPECT_EQ(output("./plain generate abc --json-schema schema" + of_seed), said);
    EXPECT_TRUE(std::regex_match(output("echo abc | ./prog chat" + of_seed),
                                 std::regex(R"(\{"a": ?[1-9]?[0-9]\}\n)")));
  }
  EXPECT_EQ(output("./prog generate abc --choice x,x"), "x");
  EXPECT_NE(output("./prog info").find("JSON of a schema"), std::string::npos);
  EXPECT_NE(output("./prog info --verify").find("all whole"), std::string::npos);
  output("$forge compile $model --chat-template t -o again --json-schema schema && cmp prog again");
  EXPECT_EQ(
      error(
          R"(echo '{"type": "object", "patternProperties": {}}' >bad; $forge compile $model -o x --json-schema bad)",
          1)
          .substr(0, 23),
      "forge: bad: JSON schema");
  EXPECT_EQ(error("echo '{' >bad; $forge compile $model -o x --json-schema bad", 1).substr(0, 12),
            "forge: bad: ");
}

TEST_F(ForgeCli, TokenizerNeedsNoCompiler) {
  const std::string ids = output("PATH=/ $forge tokenize $model --ids abc");
  EXPECT_EQ(output("$forge compile $model -o prog && ./prog tokenize --ids abc"), ids);
  EXPECT_EQ(output("$forge tokenize prog --ids abc"), ids);
  EXPECT_EQ(output("PATH=/ $forge detokenize $model 100 101 102"), "abc");
}

TEST_F(ForgeCli, ContextBeyondTheCompiledOneCompilesAnew) {
  output("$forge generate $model abc -n 2 --ctx 64");
  EXPECT_NE(output("$forge compile $model -o prog --ctx 64 && ./prog info").find("up to 64 tokens"),
            std::string::npos);
  EXPECT_NE(output("FORGE_CTX=128 $forge compile $model -o prog && ./prog info").find("up to 128 tokens"),
            std::string::npos);
}

TEST_F(ForgeCli, OnlyAContextBeyondTheModelsCompilesAnew) {
  const auto programs = [&] { return std::stoi(output("$forge cache | grep -c ' program '")); };
  const auto generate = [&](const std::string& options) {
    return output("$forge generate $model abc -n 3 --temp 0 " + options);
  };
  const std::string text = generate("");
  const int n = programs();
  for (const char* options : {"--ctx 64", "-c 64", "-c64", "--ctx=256"}) EXPECT_EQ(generate(options), text);
  EXPECT_EQ(programs(), n);
  EXPECT_EQ(generate("-c 300"), text);
  EXPECT_EQ(generate("-c300"), text);
  EXPECT_EQ(programs(), n + 1);
}

TEST_F(ForgeCli, CachedProgramsRunUnderATinyLimitAndWithoutACompiler) {
  const std::string text = output("$forge generate $model abc -n 20 --seed 1");
  EXPECT_EQ(output("PATH=/ $forge generate $model abc -n 20 --seed 1"), text);
  EXPECT_EQ(output("FORGE_CACHE_DIR=c FORGE_CACHE_MAX=1000 $forge generate $model abc -n 20 --seed 1"), text);
  EXPECT_NE(error("FORGE_CACHE_DIR=d PATH=/ $forge generate $model abc", 1).find("no clang 19"),
            std::string::npos);
}

TEST_F(ForgeCli, DamagedCacheEntriesAreBuiltAgain) {
  const std::string text = output("$forge generate $model abc -n 20 --seed 1");
  shell("for f in $FORGE_CACHE_DIR/program/* $FORGE_CACHE_DIR/code/*; do truncate -s -40 $f; done");
  EXPECT_EQ(output("$forge generate $model abc -n 20 --seed 1"), text);
}

TEST_F(ForgeCli, CacheCommand) {
  output("FORGE_CACHE_DIR=c $forge generate $model abc -n 1");
  const std::string list = output("FORGE_CACHE_DIR=c $forge cache");
  EXPECT_NE(list.find("code     "), std::string::npos) << list;
  EXPECT_NE(list.find("program  tiny-"), std::string::npos) << list;
  EXPECT_EQ(output("FORGE_CACHE_DIR=c $forge cache path"), "c\n");
  EXPECT_NE(output("FORGE_CACHE_DIR=c $forge cache clear").find("MB freed"), std::string::npos);
  EXPECT_EQ(output("FORGE_CACHE_DIR=c $forge cache list"), "0 bytes of 20.00 GB in c\n");
}

TEST_F(ForgeCli, InfoAndDump) {
  const std::string info = output("$forge info $model");
  for (const char* part : {"GGUF version 3", "llama", "q8_0 x ", "million", "of weights are read"}) {
    EXPECT_NE(info.find(part), std::string::npos) << part << " in\n" << info;
  }
  output("$forge compile $model -o prog");
  const std::string program = output("$forge info prog --verify");
  EXPECT_NE(program.find("all whole"), std::string::npos) << program;
  for (const char* stage : {"graph", "optimized", "plan", "source"}) {
    const std::string text = output(std::string("$forge dump $model --stage ") + stage);
    EXPECT_GT(std::count(text.begin(), text.end(), '\n'), 10) << stage;
    EXPECT_EQ(output(std::string("$forge dump prog -o text --stage ") + stage + " && cat text"), text)
        << stage;
  }
}

TEST_F(ForgeCli, InfoFindsAlteredWeights) {
  output(
      "$forge compile $model -o prog && printf x | dd of=prog bs=1 seek=$(($(stat -c %s prog) - 5000)) "
      "conv=notrunc");
  output("$forge info prog");
  EXPECT_NE(shell("$forge info prog --verify").output.find("altered"), std::string::npos);
  EXPECT_EQ(shell("$forge info prog --verify").status, 1);
}

TEST_F(ForgeCli, HelpHasAnExampleForEveryCommand) {
  for (const char* command : {"compile", "generate", "chat", "bench", "perplexity", "logits", "tokenize",
                              "detokenize", "info", "dump", "cache", "models", "compare", "export-weights"}) {
    const std::string help = output(std::string("$forge ") + command + " --help");
    EXPECT_NE(help.find(std::string("  forge ") + command), std::string::npos) << help;
  }
  EXPECT_NE(output("$forge --help").find("example:"), std::string::npos);
  EXPECT_EQ(output("$forge --version").substr(0, 6), "forge ");
}

TEST_F(ForgeCli, MisuseIsStatusTwo) {
  EXPECT_EQ(error("$forge nonsense", 2), "forge: no command 'nonsense' (see forge --help)");
  EXPECT_EQ(error("$forge compile", 2), "forge: compile: MODEL is required (see forge compile --help)");
  EXPECT_EQ(error("$forge generate -n 5", 2), "forge: generate: MODEL comes before the program's option -n");
  EXPECT_EQ(error("$forge generate", 2), "forge: generate: no MODEL given (see forge generate --help)");
  EXPECT_EQ(error("$forge generate $model --ctx abc", 2), "forge: --ctx abc: expected a number of tokens");
  EXPECT_EQ(error("$forge compile $model -o $model", 2),
            "forge: " + model_ + ": the output would replace what it is made from");
  error("$forge compile $model --emit everything", 2);
  EXPECT_EQ(error("$forge compile $model --tune=5", 2),
            "forge: compile: --tune takes no value (see forge compile --help)");
  EXPECT_EQ(error("$forge compile $model --cpu native --triple aarch64-linux-gnu", 2).substr(0, 71),
            "forge: --cpu native: is this machine's, and --triple aarch64-linux-gnu ");
  EXPECT_EQ(
      error("$forge compile $model --emit source --weights separate", 2),
      "forge: compile: --weights separate is for programs: a source folder has its weights in a file anyway");
  error("$forge compile $model --cpu pentium", 2);
  error("$forge compile $model --ctx 0", 2);
  error("$forge dump $model", 2);
  error("$forge info $model --verify", 2);
  error("$forge cache shrink", 2);
}

TEST_F(ForgeCli, ComparesWithTheFloat32GraphAndOnlyTheSameVocabulary) {
  output("yes 'a text of some length' | head -n 20 >text");
  const std::string self = output("$forge compare $model $model --file text --ctx 64 --interpret");
  EXPECT_EQ(self.substr(0, 16), "perplexity of A ");
  EXPECT_EQ(self.find("KL divergence, mean       0.000000"), std::string::npos)
      << "quantized activations cost something";
  EXPECT_NE(self.find(" chunks of 64"), std::string::npos) << self;

  write_gguf(test::make_checkpoint({.n_vocab = 310}), file("other.gguf"));
  EXPECT_EQ(error("$forge compare $model other.gguf --file text --ctx 64", 1),
            "forge: " + model_ +
                " has a vocabulary of 300 tokens, other.gguf one of 310: only models with the same "
                "vocabulary can be compared");
  Checkpoint renamed = test::make_checkpoint({});
  const auto* tokens = renamed.meta.strings("tokenizer.ggml.tokens");
  std::vector<std::string> names(tokens->begin(), tokens->end());
  std::swap(names[100], names[101]);  // two bytes
  renamed.meta.set("tokenizer.ggml.tokens", {MetaType::array, MetaType::string, names});
  write_gguf(renamed, file("renamed.gguf"));
  EXPECT_NE(error("$forge compare $model renamed.gguf --file text --ctx 64", 1)
                .find("only models with the same vocabulary can be compared"),
            std::string::npos);
  EXPECT_NE(error("$forge compare $model $model --file none --ctx 64", 1).find("none: can't be opened"),
            std::string::npos);
  EXPECT_NE(error("head -c 100 text >short; $forge compare $model $model --file short", 1)
                .find("tokens, at least 512 are needed"),
            std::string::npos);
}

TEST_F(ForgeCli, FailureIsStatusOneAndLeavesNothing) {
  EXPECT_EQ(error("$forge compile no.gguf -o prog", 1),
            "forge: no.gguf: can't be opened: No such file or directory");
  error("$forge compile /dev/null -o prog", 1);
  error(
      "head -c 5000 $model >cut.gguf; $forge compile cut.gguf -o prog; status=$?; rm cut.gguf; exit $status",
      1);
  error("$forge compile $model -o no/such/folder", 1);
  error("$forge compile $model -o .", 1);
  EXPECT_EQ(error("PATH=/ $forge compile $model -o prog", 1),
            "forge: no clang 19 found to compile with; install it: apt-get install clang-19 lld-19");
  EXPECT_EQ(error("FORGE_HOME=/no/such $forge compile $model -o prog", 1).substr(0, 20),
            "forge: /no/such/shar");
  // The disk is full: a file may have 1 MB (in blocks of 512 bytes).
  EXPECT_EQ(error("ulimit -f 2000; trap '' XFSZ; $forge compile $model -o prog", 1),
            "forge: prog: can't be written: File too large");
  for (const char* help : {"--help", "--version", "compile --help"}) {
    EXPECT_EQ(error(std::string("$forge ") + help + " >/dev/full", 1),
              "forge: standard output can't be written");
  }
  EXPECT_EQ(error("$forge info $model >/dev/full", 1), "forge: standard output can't be written");
  EXPECT_EQ(directory_.names(), std::vector<std::string>());
}

TEST_F(ForgeCli, WithoutAHomeTheCacheIsNamed) {
  const std::string nowhere = "env -u HOME -u XDG_CACHE_HOME -u FORGE_CACHE_DIR $forge ";
  EXPECT_EQ(error(nowhere + "generate $model abc", 1),
            "forge: no folder for compiled programs: HOME is not set; set FORGE_CACHE_DIR to one, or use "
            "forge compile");
  EXPECT_EQ(error(nowhere + "cache", 1), "forge: no cache: HOME is not set; set FORGE_CACHE_DIR to a folder");
  output(nowhere + "compile $model -o prog");
}

TEST_F(ForgeCli, InterruptLeavesNothing) {
  // A compiler that never ends, and says when it began.
  std::ofstream(file("clang")) << "#!/bin/sh\ncase $1 in\n--version) echo 'clang version 19.0.0' ;;\n"
                                  "-print-prog-name*) echo /bin/true ;;\n*) touch model.o; echo > "
                               << file("began") << "; sleep 100 ;;\nesac\n";
  fs::permissions(file("clang"), fs::perms::owner_all);
  fs::create_directory(file("tmp"));
  for (const int signal : {SIGINT, SIGTERM}) {
    fs::remove(file("began"));
    const pid_t forge = ::fork();
    if (forge == 0) {
      ::setenv("FORGE_CLANG", file("clang").c_str(), 1);
      ::setenv("TMPDIR", file("tmp").c_str(), 1);
      ::execl(FORGE_BINARY, "forge", "compile", model_.c_str(), "-o", file("prog").c_str(), nullptr);
      ::_exit(99);
    }
    for (int i = 0; i < 3000 && !fs::exists(file("began")); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(fs::exists(file("began")));
    EXPECT_FALSE(fs::is_empty(file("tmp")));
    ::kill(forge, signal);
    int status = 0;
    ASSERT_EQ(::waitpid(forge, &status, 0), forge);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_TRUE(fs::is_empty(file("tmp")));
    EXPECT_FALSE(fs::exists(file("prog")));
    EXPECT_EQ(directory_.names().size(), 3u);  // clang, tmp, began
  }
}

TEST_F(ForgeCli, InstalledForgeCanBeMovedAndUsedFromAnyFolder) {
  ASSERT_EQ(
      shell("cmake --install " FORGE_BUILD_DIR " --prefix $PWD/installed >/dev/null && mv installed moved")
          .status,
      0);
  EXPECT_TRUE(fs::exists(file("moved/share/doc/forge/LICENSE")));
  output(
      "mkdir elsewhere && cd elsewhere && FORGE_CACHE_DIR=$PWD/cache ../moved/bin/forge compile $model -o "
      "prog");
  EXPECT_EQ(output("elsewhere/prog generate abc -n 20 --seed 1"),
            output("$forge generate $model abc -n 20 --seed 1"));
  output("$forge compile $model -o prog");
  EXPECT_EQ(shell("cmp prog elsewhere/prog").output, "");
}

}  // namespace
}  // namespace forge
