// The generated source: what is in it, that it compiles without a warning, that the same inputs give the same
// bytes. Which symbols leave the object is tests/e2e/symbols_test.cpp.
#include <gtest/gtest.h>

#include "codegen/compile.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "toolchain/compiler.h"
#include "toolchain/process.h"

namespace forge::test {
namespace {

TinyModel mixed_model() {
  TinyModel m;
  m.n_layers = 3;
  m.tied = false;
  m.rope_factors = m.qkv_bias = true;
  m.type = [](const std::string& name) {
    if (name.find("attn_v") != std::string::npos) return name[4] == '1' ? DType::q6_k : DType::q4_k;
    if (name.find("ffn_up") != std::string::npos) return name[4] == '1' ? DType::bf16 : DType::q5_1;
    return name.starts_with("output") ? DType::f16 : DType::q4_0;
  };
  return m;
}
TinyModel odd_qwen2() {
  TinyModel m = test::odd_model();
  m.architecture = "qwen2";
  m.qkv_bias = true;
  return m;
}

CompiledModel compiled(const Checkpoint& checkpoint, const CpuLevel& level) {
  return compile_model(checkpoint, {.target = cpu_target(level), .compiler = "test"}, nullptr);
}

size_t count(std::string_view text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(Emit, SourceFollowsThePlan) {
  const Checkpoint checkpoint = make_checkpoint(mixed_model());
  const CompiledModel m = compiled(checkpoint, cpu_level("x86-64-v3"));
  ASSERT_EQ(m.sources.size(), 1U);
  const std::string& text = m.sources.at("model.cpp");
  ASSERT_EQ(m.plan.signatures.size(), 2U);
  // One function for each signature and phase, in two parts where the last layer leaves rows out, called from its phase; a barrier where
  // the plan has one, and two around the moving of rows.
  size_t barriers = 0, deep_barriers = 0, linears = 0, calls = 0;
  for (const Phase& p : m.plan.phases) {
    EXPECT_EQ(count(text, "void step_" + p.name + "(const Worker& w) {"), 1U);
    for (size_t s = 0; s < m.plan.signatures.size(); ++s) {
      for (const char* part : {"layer", "cache"}) {
        const std::string function = fmt::format("{}_{}_{}(", part, s, p.name);
        const size_t n = part == std::string_view("cache") && p.wanted_from == 0 ? 0 : 1;
        EXPECT_EQ(count(text, "void " + function), n);
        EXPECT_EQ(count(text, function), 2 * n);
      }
    }
    barriers += p.wanted_from == 0 ? 0 : 2;
    for (const auto* part : {&p.prologue, &p.body, &p.epilogue})
      for (const Stage& s : *part) {
        const size_t copies = part == &p.body ? m.plan.signatures.size() : 1;
        barriers += copies * s.barrier;
        deep_barriers += copies * s.deep_barrier;
        calls += copies * (s.division == Division::heads_or_dims);  // one of two
        calls +=
            copies * (s.kernel == Kernel::linear && !is_gated(s.node.epilogue) ? s.node.segments.size() : 1);
        if (s.kernel == Kernel::linear && s.node.epilogue != Epilogue::silu_mul)
          linears += copies * s.node.segments.size();
      }
  }
  EXPECT_EQ(count(text, "if (b.deep) w.barrier();"), deep_barriers);
  EXPECT_GT(deep_barriers, 0U);
  EXPECT_EQ(count(text, "w.barrier();"), barriers + deep_barriers);
  EXPECT_EQ(count(text, " linear<"), linears);
  // Each call ends with a mark of its own, and the step begins with one.
  EXPECT_EQ(count(text, "w.mark("), calls + 1);
  for (size_t i = 0; i < calls; ++i)
    EXPECT_EQ(count(text, fmt::format("w.mark({})", i)) + count(text, fmt::format("w.mark({}, ", i)), 1U)
        << i;
  EXPECT_NE(text.find(fmt::format(".n_stages = {},", calls)), std::string::npos);
  EXPECT_EQ(count(text, "linear_gated<Q4_0, BF16, 256>"), 2U);  // of one signature, in both phases
  EXPECT_EQ(count(text, "linear_gated<Q4_0, Q5_1, 256>"), 2U);
  EXPECT_EQ(count(text, "linear<Q6_K, 256, F32>"), 2U);
  EXPECT_EQ(count(text, "linear<F16, 256>"), 2U);
  EXPECT_EQ(count(text, "#include"), 1U);
  EXPECT_EQ(count(text, "\"/"), 0U) << "a path of this machine";
  EXPECT_NE(text.find(fmt::format(".plan_hash = {}ULL", m.payload.plan_hash)), std::string::npos);
  EXPECT_NE(text.find(".level = \"x86-64-v3\""), std::string::npos);
}

TEST(Emit, SchedulesAreConstantsOfTheKernels) {
  const Checkpoint checkpoint = make_checkpoint(mixed_model());
  const Schedules schedules = {{256, {8192, 16}}, {512, {0, 2}}};
  for (const auto& [level, groups] :
       {std::pair("x86-64-v4+vnni", "kGroupBlock"), std::pair("sapphirerapids", "kPanels")}) {
    const CpuTarget target = cpu_target(level);
    const CompiledModel m = compiled(checkpoint, cpu_level(level));
    EXPECT_EQ(sources_with({}, m, target), m.sources);
    const std::string text = sources_with(schedules, m, target).at("model.cpp");
    EXPECT_NE(text.find(fmt::format("namespace forge::kernels {{\nnamespace {{\n"
                                    "template <>\nconstexpr uint32_t kPrefetch<256> = 8192;\n"
                                    "template <>\nconstexpr uint32_t {0}<256> = 16;\n"
                                    "template <>\nconstexpr uint32_t {0}<512> = 2;\n}}",
                                    groups)),
              std::string::npos)
        << text.substr(0, 1000);
  }
}

TEST(Emit, SchedulesAsText) {
  const Schedules schedules = {{256, {8192, 16}}, {512, {0, 2}}};
  const std::string text = "256: prefetch 8192 prompt_groups 16, 512: prefetch 0 prompt_groups 2";
  EXPECT_EQ(schedules_text(schedules), text);
  EXPECT_EQ(parse_schedules(text), schedules);
  EXPECT_EQ(schedules_text({}), "");
  EXPECT_EQ(parse_schedules(""), Schedules{});
  for (const std::string& wrong :
       {text + ",", text + text, fmt::format("{0}, {0}", text), std::string("256"), text.substr(0, 20),
        std::string("256: prefetch 99999999999 prompt_groups 16"),
        std::string("256: prefetch -1 prompt_groups 16")})
    EXPECT_EQ(parse_schedules(wrong), std::nullopt) << wrong;
}

TEST(Emit, SourceCompilesWithoutAWarning) {
  const Compiler compiler = find_compiler();
  for (const TinyModel& tiny : {mixed_model(), odd_qwen2()}) {
    const Checkpoint checkpoint = make_checkpoint(tiny);
    for (const std::string_view level : {"x86-64-v3", "x86-64-v4+vnni"}) {
      const CompiledModel m = compiled(checkpoint, cpu_level(level));
      const TemporaryDirectory directory;
      const std::string& text = m.sources.at("model.cpp");
      write_file(directory.file("model.cpp"), {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
      std::vector<std::string> command =
          compile_arguments(cpu_level(level), "model.cpp", FORGE_SOURCE_DIR "/src");
      command.insert(command.begin(), compiler.clang);
      command.insert(command.end(), {"-fsyntax-only", "-Wall", "-Wextra", "-Werror"});
      const ProcessResult result = run_process(command, directory.path());
      EXPECT_EQ(result.status, 0) << result.output;
      EXPECT_EQ(result.output, "");
    }
  }
}

// Everything that goes into an artifact.
std::vector<uint8_t> all_bytes(const CompiledModel& m) {
  std::vector<uint8_t> out;
  const auto add = [&](std::string_view text) { out.insert(out.end(), text.begin(), text.end()); };
  for (const auto& [name, text] : m.sources) {
    add(name);
    add(text);
  }
  add(print(m.source));
  add(print(m.optimized));
  add(print(m.plan, m.optimized));
  const PayloadInput& p = m.payload;
  add(std::to_string(p.plan_hash));
  for (const auto& [key, value] : p.manifest) add(fmt::format("{}={}", key, value));
  add(p.chat_template);
  out.insert(out.end(), p.tokenizer.begin(), p.tokenizer.end());
  out.insert(out.end(), p.source_kv.begin(), p.source_kv.end());
  for (const PackedTensor& t : p.tensors) {
    add(fmt::format("{} {} {} {} {} {} {}", t.name, t.type, t.layout, t.rows, t.cols, t.offset, t.bytes));
    const size_t at = out.size();
    out.resize(at + t.bytes, 0xAA);
    t.pack({out.data() + at, t.bytes});
  }
  return out;
}

TEST(Compile, SameInputsGiveTheSameBytes) {
  const CpuLevel& level = cpu_level("x86-64-v3");
  for (const TinyModel& tiny : {mixed_model(), odd_qwen2()}) {
    const Checkpoint one = make_checkpoint(tiny), two = make_checkpoint(tiny);
    const std::vector<uint8_t> bytes = all_bytes(compiled(one, level));
    EXPECT_TRUE(bytes == all_bytes(compiled(two, level)));
    EXPECT_FALSE(bytes == all_bytes(compiled(one, cpu_level("x86-64-v4"))));
    TinyModel other = tiny;
    other.seed = 2;
    const Checkpoint third = make_checkpoint(other);
    EXPECT_FALSE(bytes == all_bytes(compiled(third, level)));
  }
}

// What no program can be made of.
TEST(Compile, Errors) {
  const CompileOptions options = {.target = cpu_target("x86-64-v3"), .compiler = "test"};
  TinyModel tiny = mixed_model();
  Checkpoint c = make_checkpoint(tiny);
  for (Tensor& t : c.tensors)
    if (t.name == "rope_freqs.weight") {
      const auto zeros = std::make_shared<std::vector<uint8_t>>(t.data.size(), 0);
      t.data = *zeros;
      c.storage.push_back(zeros);
    }
  expect_error([&] { (void)compile_model(c, options, nullptr); },
               {"tiny.gguf: tensor rope_freqs.weight holds 0, expected factors above 0"});
  c = make_checkpoint(tiny);
  c.meta.set("tokenizer.chat_template", {MetaType::string, MetaType::u32, std::string("{% bogus %}")});
  expect_error([&] { (void)compile_model(c, options, nullptr); },
               {"tiny.gguf: chat template, line 1: ", "--chat-template FILE takes another one"});
  CompileOptions without = options;
  without.has_chat_template = true;
  EXPECT_EQ(compile_model(c, without, nullptr).payload.chat_template, "");
  c = make_checkpoint(tiny);
  std::vector<std::string> tokens = *c.meta.strings("tokenizer.ggml.tokens");
  tokens.emplace_back("one too many");
  c.meta.set("tokenizer.ggml.tokens", {MetaType::array, MetaType::string, tokens});
  c.meta.set("tokenizer.ggml.scores",
             {MetaType::array, MetaType::f32, std::vector<double>(tokens.size(), -1.0)});
  c.meta.set("tokenizer.ggml.token_type",
             {MetaType::array, MetaType::i32, std::vector<int64_t>(tokens.size(), 1)});
  expect_error([&] { (void)compile_model(c, options, nullptr); },
               {"301 tokens in the vocabulary, but token_embd.weight has 300 rows"});
}

}  // namespace
}  // namespace forge::test
