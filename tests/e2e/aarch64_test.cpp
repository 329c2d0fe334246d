// Programs for aarch64, emulated by qemu-user: the interpreter's bits at every level. What hardware does is not tested here.
#include "codegen/compile.h"
#include "formats/gguf_encoding.h"
#include "tests/e2e/command_test.h"
#include "tests/support/goldens.h"
#include "tests/support/tiny_model.h"
#include "toolchain/compiler.h"
#include "toolchain/cpu_level.h"

namespace forge {
namespace {

class Aarch64 : public CommandTest {
 protected:
  static void SetUpTestSuite() { set_up_commands(); }
  void SetUp() override {
    if (find_on_path("qemu-aarch64").empty())
      GTEST_SKIP() << "qemu-aarch64 is missing (package qemu-user): programs for aarch64 are not run";
    if (!std::filesystem::exists(FORGE_BUILD_DIR "/lib/forge/aarch64-linux-gnu/libforge_rt.a"))
      GTEST_SKIP() << "forge was built without programs for aarch64 (package libstdc++-12-dev-arm64-cross)";
  }

  // The model's logits of a prompt, at each level of a portable program.
  void check(const std::string& path, const std::string& name) const {
    output("$forge compile " + path + " --triple aarch64-linux-gnu -o " + name);
    // Prompts are multiplied 16, 8, 4 and single rows at a time.
    std::string tokens = "0";
    for (int i = 1; i < 16 + 8 + 4 + 1; ++i) tokens += fmt::format(",{}", (i * 7919 + 13) % 256);
    const std::string options = " --tokens " + tokens + " -o ";
    output("$forge logits --cpu x86-64 --interpret " + path + options +
           "expected");  // no level of Arm has bf16 tiles
    for (const CpuLevel* level : cpu_target("portable", kArmTriple).levels) {
      output(fmt::format("FORGE_LEVEL={} qemu-aarch64 -cpu max ./{} logits -t 2{}found", level->name, name,
                         options));
      EXPECT_EQ(shell("cmp expected found").output, "") << name << " at " << level->name;
    }
  }
};

TEST_F(Aarch64, EveryType) {
  write_gguf(test::make_checkpoint(test::every_type_model()), file("types.gguf"));
  check("types.gguf", "types");
}

TEST_F(Aarch64, Architectures) {
  // Windows, caps, layer norms, parts of tensors, partial rotation. Compiling is what takes the time.
  for (const char* name : {"gpt2", "gemma2", "stablelm-parallel"})
    check(fmt::format("{}/tests/goldens/{}.gguf", FORGE_SOURCE_DIR, name), name);
}

TEST_F(Aarch64, GeneratesWhatItDoesHere) {
  const std::string generate = " generate 'Once upon a time' -n 24 --temp 0 2>/dev/null";
  const std::string model = FORGE_SOURCE_DIR "/models/storyteller-q8_0.gguf";
  // Of a level without bf16 tiles: this machine may have them, and its prompts other bits.
  const std::string here =
      output("$forge generate --cpu x86-64 " + model + " 'Once upon a time' -n 24 --temp 0");
  output("$forge compile " + model +
         " --cpu armv8.2-a+dotprod -o story && $forge compile story --cpu armv8.6-a+i8mm -o again");
  EXPECT_EQ(output("qemu-aarch64 -cpu max ./story" + generate), here);
  EXPECT_EQ(output("qemu-aarch64 -cpu max ./again" + generate), here);
  EXPECT_EQ(error("qemu-aarch64 -cpu cortex-a53 ./story info", 1),
            "story: this processor lacks dotprod, which the program was compiled for (armv8.2-a+dotprod); "
            "compile it for "
            "this machine with `forge compile --cpu native`");
  EXPECT_EQ(error("$forge generate --cpu armv8-a " + model + " Hello", 2),
            "forge: --cpu armv8-a: programs for aarch64-linux-gnu don't run on this machine; forge compile "
            "makes one to "
            "copy there");
}

TEST_F(Aarch64, PortableTakesTheBestLevelThatThereIs) {
  const std::string model = FORGE_SOURCE_DIR "/models/storyteller-q8_0.gguf";
  output("$forge compile " + model + " --triple aarch64-linux-gnu --cpu portable -o story");
  for (const auto& [cpu, level] :
       {std::pair{"cortex-a53", "armv8-a"}, {"cortex-a76", "armv8.2-a+dotprod"}, {"max", "armv8.6-a+i8mm"}})
    EXPECT_NE(
        output(fmt::format("qemu-aarch64 -cpu {} ./story info", cpu)).find(fmt::format(" {}, plan", level)),
        std::string::npos)
        << cpu;
}

}  // namespace
}  // namespace forge
