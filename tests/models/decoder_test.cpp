// From checkpoints to graphs: what each architecture builds, and what is said of files that don't fit.
#include <gtest/gtest.h>

#include <algorithm>

#include "models/architecture.h"
#include "passes/passes.h"
#include "tests/core/expect_error.h"
#include "tests/support/tiny_model.h"

namespace forge {
namespace {

using test::make_checkpoint;
using test::TinyModel;

TinyModel tiny_llama() {
  TinyModel m = test::small_model();
  m.n_vocab = 80;
  return m;
}
TinyModel tiny_qwen2() {
  TinyModel m = tiny_llama();
  m.architecture = "qwen2";
  m.qkv_bias = true;
  return m;
}

void set_integer(Checkpoint& c, const std::string& key, int64_t v) {
  c.meta.set(key, {MetaType::u32, MetaType::u32, v});
}
void set_number(Checkpoint& c, const std::string& key, double v) {
  c.meta.set(key, {MetaType::f32, MetaType::f32, v});
}
void set_string(Checkpoint& c, const std::string& key, const std::string& v) {
  c.meta.set(key, {MetaType::string, MetaType::u32, v});
}
// Metadata has no removal: the others are copied.
void remove_key(Checkpoint& c, std::string_view key) {
  Metadata rest;
  for (const auto& [k, v] : c.meta.entries())
    if (k != key) rest.set(k, v);
  ASSERT_EQ(rest.entries().size() + 1, c.meta.entries().size()) << key;
  c.meta = rest;
}
Tensor& tensor(Checkpoint& c, std::string_view name) {
  const auto it = std::ranges::find(c.tensors, name, &Tensor::name);
  if (it == c.tensors.end()) ADD_FAILURE() << "no tensor " << name;
  return *it;
}
void remove_tensor(Checkpoint& c, std::string_view name) {
  ASSERT_EQ(std::erase_if(c.tensors, [&](const Tensor& t) { return t.name == name; }), 1U) << name;
}

// Makes a change to a tiny llama and expects the error.
template <class Change>
void refused(Change change, std::initializer_list<std::string_view> parts) {
  Checkpoint c = make_checkpoint(tiny_llama());
  change(c);
  expect_error([&] { (void)build_graph(c, 0); }, parts);
}

const Node& first(const std::vector<Node>& nodes, Op op) {
  const auto it = std::ranges::find(nodes, op, &Node::op);
  EXPECT_NE(it, nodes.end());
  return *it;
}

TEST(Llama, Graph) {
  const Graph g = build_graph(make_checkpoint(tiny_llama()), 0);
  EXPECT_EQ(g.name, "llama");
  EXPECT_EQ(g.n_layers, 2U);
  EXPECT_EQ(g.n_hidden, 64U);
  EXPECT_EQ(g.n_vocab, 80U);
  std::string ops;
  for (const Node& n : g.body) ops += std::string(op_name(n.op)) + " ";
  EXPECT_EQ(ops,
            "rms_norm linear linear linear rope rope attention linear add rms_norm linear linear silu mul "
            "linear add ");
  const Node& rope = first(g.body, Op::rope);
  EXPECT_EQ(rope.string("style"), "norm");
  EXPECT_EQ(rope.integer("n_rot"), 16);
  EXPECT_EQ(rope.number("base"), 10000.0);
  EXPECT_EQ(rope.number("scale"), 1.0);
  EXPECT_TRUE(rope.segments.empty());
  const Node& attention = first(g.body, Op::attention);
  EXPECT_EQ(attention.integer("n_heads"), 4);
  EXPECT_EQ(attention.integer("n_kv_heads"), 2);
  EXPECT_EQ(attention.number("scale"), 0.25);
  EXPECT_EQ(attention.string("kv"), "f32");
  for (const Node& n : g.body)
    for (const Segment& s : n.segments) EXPECT_EQ(s.bias, kNoWeight);
}

TEST(Llama, BiasesAndRopeFactorsAreUsedWhereTheFileHasThem) {
  TinyModel m = tiny_llama();
  m.qkv_bias = m.rope_factors = true;
  const Graph g = build_graph(make_checkpoint(m), 0);
  EXPECT_EQ(g.weights[g.body[1].segments[0].bias].tensor, "blk.%l.attn_q.bias");
  EXPECT_EQ(g.weights[g.body[2].segments[0].bias].tensor, "blk.%l.attn_k.bias");
  EXPECT_EQ(g.weights[g.body[3].segments[0].bias].tensor, "blk.%l.attn_v.bias");
  ASSERT_EQ(g.body[4].segments.size(), 1U);
  EXPECT_EQ(g.weights[g.body[4].segments[0].weight].tensor, "rope_freqs.weight");
  EXPECT_EQ(g.body[5].segments[0].weight, g.body[4].segments[0].weight);
}

TEST(Qwen2, Graph) {
  const Graph g = build_graph(make_checkpoint(tiny_qwen2()), 0);
  EXPECT_EQ(g.name, "qwen2");
  EXPECT_EQ(first(g.body, Op::rope).string("style"), "neox");
  for (const size_t i : {1U, 2U, 3U}) EXPECT_NE(g.body[i].segments[0].bias, kNoWeight);
  Checkpoint no_bias = make_checkpoint(tiny_qwen2());
  remove_tensor(no_bias, "blk.1.attn_k.bias");
  expect_error([&] { (void)build_graph(no_bias, 0); },
               {"tiny.gguf: tensor blk.1.attn_k.bias is missing, expected [1, 32]"});
}

TEST(Decoder, TiedAndUntiedHeads) {
  TinyModel m = tiny_llama();
  const Graph tied = build_graph(make_checkpoint(m), 0);
  EXPECT_EQ(tied.epilogue.back().segments[0].weight, tied.prologue[0].segments[0].weight);
  m.tied = false;
  const Graph untied = build_graph(make_checkpoint(m), 0);
  EXPECT_EQ(untied.weights[untied.epilogue.back().segments[0].weight].tensor, "output.weight");
  EXPECT_EQ(untied.weights.size(), tied.weights.size() + 1);
}

TEST(Decoder, TypesOfEachLayerAreKept) {
  TinyModel m = tiny_llama();
  m.n_layers = 3;
  m.type = [](const std::string& name) { return name == "blk.1.attn_v.weight" ? DType::q5_1 : DType::q8_0; };
  const Graph g = build_graph(make_checkpoint(m), 0);
  EXPECT_EQ(g.weights[g.body[3].segments[0].weight].types,
            (std::vector<DType>{DType::q8_0, DType::q5_1, DType::q8_0}));
}

TEST(Decoder, Context) {
  Checkpoint c = make_checkpoint(tiny_llama());
  EXPECT_EQ(build_graph(c, 0).ctx_max, 256U);
  EXPECT_EQ(build_graph(c, 100).ctx_max, 100U);
  EXPECT_EQ(build_graph(c, 1000).ctx_max, 1000U);
  set_integer(c, "llama.context_length", 131072);
  EXPECT_EQ(build_graph(c, 0).ctx_max, 8192U);
  EXPECT_EQ(build_graph(c, 131072).ctx_max, 131072U);
  try {
    (void)build_graph(c, 1U << 21);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "--ctx 2097152: at most 1048576 positions");
    EXPECT_EQ(e.status, 2);
  }
}

TEST(Decoder, DefaultsOfKeysThatFilesLeaveOut) {
  Checkpoint c = make_checkpoint(tiny_llama());
  for (const char* key :
       {"attention.key_length", "attention.value_length", "rope.dimension_count", "rope.freq_base"})
    remove_key(c, std::string("llama.") + key);
  EXPECT_EQ(print(build_graph(c, 0)), print(build_graph(make_checkpoint(tiny_llama()), 0)));
  TinyModel m = tiny_llama();
  m.n_kv_heads = m.n_heads;
  Checkpoint full = make_checkpoint(m);
  remove_key(full, "llama.attention.head_count_kv");
  EXPECT_EQ(first(build_graph(full, 0).body, Op::attention).integer("n_kv_heads"), 4);
}

TEST(Decoder, RopeScaling) {
  Checkpoint c = make_checkpoint(tiny_llama());
  set_string(c, "llama.rope.scaling.type", "linear");
  set_number(c, "llama.rope.scaling.factor", 4.0);
  EXPECT_EQ(first(build_graph(c, 0).body, Op::rope).number("scale"), 0.25);
  set_string(c, "llama.rope.scaling.type", "none");
  EXPECT_EQ(first(build_graph(c, 0).body, Op::rope).number("scale"), 1.0);
  TinyModel with_factors = tiny_llama();
  with_factors.rope_factors = true;
  Checkpoint llama3 = make_checkpoint(with_factors);
  set_string(llama3, "llama.rope.scaling.type", "llama3");
  EXPECT_EQ(first(build_graph(llama3, 0).body, Op::rope).number("scale"), 1.0);
  set_string(c, "llama.rope.scaling.type", "llama3");
  expect_error([&] { (void)build_graph(c, 0); },
               {"rope scaling 'llama3' needs the tensor rope_freqs.weight"});
  set_string(c, "llama.rope.scaling.type", "dynamic");
  expect_error([&] { (void)build_graph(c, 0); },
               {"rope scaling 'dynamic' is not supported (known: none, linear, llama3, longrope, yarn)"});
  // transformers' and the paper's numbers for 16 rotated dimensions, base 10000, 64 positions before: pair of 32 turns
  // below 0, pair of 1 turn 2.02.
  set_string(c, "llama.rope.scaling.type", "yarn");
  set_integer(c, "llama.rope.scaling.original_context_length", 64);
  const Graph yarn = build_graph(c, 0);
  const Node& rope = first(yarn.body, Op::rope);
  EXPECT_EQ(rope.number("scale"), 0.25);
  EXPECT_EQ(rope.number("ramp_low"), 0.0);
  EXPECT_EQ(rope.number("ramp_high"), 3.0);
  EXPECT_NEAR(rope.number("magnitude"), 1 + 0.1 * std::log(4.0), 1e-12);
  set_number(c, "llama.rope.scaling.yarn_attn_factor", 1.5);
  EXPECT_EQ(first(build_graph(c, 0).body, Op::rope).number("magnitude"), 1.5);
  set_string(c, "llama.rope.scaling.type", "linear");
  set_number(c, "llama.rope.scaling.factor", 0.5);
  expect_error([&] { (void)build_graph(c, 0); }, {"rope.scaling.factor is 0.5, expected 1 to 1e+06"});
  remove_key(c, "llama.rope.scaling.factor");
  expect_error([&] { (void)build_graph(c, 0); }, {"metadata key llama.rope.scaling.factor is missing"});
  // The key of older files.
  Checkpoint old = make_checkpoint(tiny_llama());
  set_number(old, "llama.rope.scale_linear", 8.0);
  EXPECT_EQ(first(build_graph(old, 0).body, Op::rope).number("scale"), 0.125);
}

TEST(Decoder, SlidingWindows) {
  Checkpoint c = make_checkpoint(tiny_llama());
  const auto attention = [&](uint32_t ctx) { return first(build_graph(c, ctx).body, Op::attention); };
  set_integer(c, "llama.attention.sliding_window", 128);
  EXPECT_EQ(attention(0).integer("window"), 128);
  EXPECT_FALSE(attention(128).has("window")) << "no window is needed where the context fits into one";
  set_integer(c, "llama.attention.sliding_window", 0);
  EXPECT_FALSE(attention(0).has("window"));
  // A period, whose last layer sees everything, or the layers one by one.
  set_integer(c, "llama.attention.sliding_window", 100);
  set_integer(c, "llama.attention.sliding_window_pattern", 2);
  EXPECT_EQ(attention(0).integer("window", 0), 100);
  EXPECT_EQ(attention(0).integer("window", 1), 0);
  c.meta.set("llama.attention.sliding_window_pattern",
             {MetaType::array, MetaType::boolean, std::vector<int64_t>{0, 1}});
  EXPECT_EQ(attention(0).integer("window", 0), 0);
  EXPECT_EQ(attention(0).integer("window", 1), 100);
  c.meta.set("llama.attention.sliding_window_pattern",
             {MetaType::array, MetaType::boolean, std::vector<int64_t>{1}});
  expect_error([&] { (void)build_graph(c, 0); },
               {"llama.attention.sliding_window_pattern has 1 values, expected 2"});
}

// The tensors of long rope: the context that is compiled for chooses.
TEST(Decoder, LongRopeTakesItsFactorsByTheContext) {
  Checkpoint c = read_gguf(FORGE_SOURCE_DIR "/tests/goldens/phi3-long.gguf");
  const auto factors = [&](uint32_t ctx) {
    const Graph g = build_graph(c, ctx);
    return g.weights[first(g.body, Op::rope).segments[0].weight].tensor;
  };
  EXPECT_EQ(build_graph(c, 0).ctx_max, 32U) << "the original context by default";
  EXPECT_EQ(factors(32), "rope_factors_short.weight");
  EXPECT_EQ(factors(33), "rope_factors_long.weight");
  std::erase_if(c.tensors, [](const Tensor& t) { return t.name == "rope_factors_short.weight"; });
  expect_error([&] { (void)build_graph(c, 0); },
               {"rope_factors_long.weight and rope_factors_short.weight one is missing"});
}

TEST(Decoder, LearnedPositionsBoundTheContext) {
  const Checkpoint c = read_gguf(FORGE_SOURCE_DIR "/tests/goldens/gpt2.gguf");
  EXPECT_EQ(build_graph(c, 0).ctx_max, 64U);
  expect_error([&] { (void)build_graph(c, 65); }, {"the model has 64 positions, --ctx asks for 65"});
}

// Several weights in one tensor: each is the right part of it, in matrices and in biases.
TEST(Decoder, FusedTensorsAreTakenApart) {
  const Graph g = build_graph(read_gguf(FORGE_SOURCE_DIR "/tests/goldens/gpt2.gguf"), 0);
  uint32_t first_row = 0;
  for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
    const auto w = std::ranges::find(g.weights, name, &Weight::name);
    const auto bias = std::ranges::find(g.weights, std::string(name) + "_bias", &Weight::name);
    ASSERT_TRUE(w != g.weights.end() && bias != g.weights.end()) << name;
    EXPECT_EQ(w->tensor, "blk.%l.attn_qkv.weight");
    EXPECT_EQ(w->rows, 36U);
    EXPECT_EQ(w->first, first_row);
    EXPECT_EQ(bias->tensor, "blk.%l.attn_qkv.bias");
    EXPECT_EQ(bias->cols, 36U);
    EXPECT_EQ(bias->first, first_row);
    first_row += 36;
  }
  EXPECT_EQ(print(parse_graph(print(g))), print(g));
  Checkpoint c = read_gguf(FORGE_SOURCE_DIR "/tests/goldens/phi3.gguf");
  for (Tensor& t : c.tensors)
    if (t.name == "blk.1.attn_qkv.weight") t.shape[0] -= 1;
  expect_error([&] { (void)build_graph(c, 0); }, {"blk.1.attn_qkv.weight is [95, 32], expected [96, 32]"});
}

TEST(Decoder, MissingKeysAreNamed) {
  for (const char* key : {"llama.block_count", "llama.embedding_length", "llama.attention.head_count",
                          "llama.feed_forward_length", "llama.context_length",
                          "llama.attention.layer_norm_rms_epsilon", "general.architecture"})
    refused([&](Checkpoint& c) { remove_key(c, key); },
            {std::string("tiny.gguf: metadata key ") + key + " is missing"});
}

TEST(Decoder, AbsurdNumbersAreNamed) {
  for (const char* key :
       {"block_count", "embedding_length", "attention.head_count", "attention.head_count_kv",
        "attention.key_length", "feed_forward_length", "context_length", "rope.dimension_count"})
    for (const int64_t v : {int64_t{0}, int64_t{-1}, (int64_t{1} << 20) + 1, INT64_MAX, INT64_MIN})
      refused([&](Checkpoint& c) { set_integer(c, std::string("llama.") + key, v); },
              {std::string("llama.") + key + " is " + std::to_string(v) + ", expected 1 to 1048576"});
  for (const char* key : {"attention.layer_norm_rms_epsilon", "rope.freq_base"})
    for (const double v :
         {-1.0, 1e30, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
      refused([&](Checkpoint& c) { set_number(c, std::string("llama.") + key, v); },
              {std::string("metadata key llama.") + key});
  for (const double v : {0.0, 0.5, 1e16})
    refused([&](Checkpoint& c) { set_number(c, "llama.rope.freq_base", v); },
            {"rope.freq_base is ", ", expected 1 to 1e+15"});
  refused([](Checkpoint& c) { set_string(c, "llama.block_count", "two"); }, {"llama.block_count"});
}

TEST(Decoder, NumbersThatDoNotFitTogether) {
  refused([](Checkpoint& c) { set_integer(c, "llama.attention.head_count_kv", 3); },
          {"4 attention heads are no multiple of 3 key-value heads"});
  refused([](Checkpoint& c) { set_integer(c, "llama.rope.dimension_count", 15); },
          {"rope.dimension_count is 15, expected an even number up to the head's 16"});
  refused([](Checkpoint& c) { set_integer(c, "llama.rope.dimension_count", 18); },
          {"rope.dimension_count is 18"});
  refused([](Checkpoint& c) { set_integer(c, "llama.attention.value_length", 8); },
          {"keys and values of different lengths"});
  refused([](Checkpoint& c) { set_integer(c, "llama.expert_count", 8); }, {"mixtures of experts"});
  // 2^32 + 2^16 columns of queries: the product must not wrap to the 2^16 that a tensor may well have.
  refused(
      [](Checkpoint& c) {
        set_integer(c, "llama.attention.head_count", 65537);
        set_integer(c, "llama.attention.head_count_kv", 65537);
        set_integer(c, "llama.attention.key_length", 65536);
        set_integer(c, "llama.attention.value_length", 65536);
      },
      {"65537 attention heads of 65536 dimensions, expected 1048576 dimensions at most in all"});
  // Numbers of another model than the tensors'.
  refused([](Checkpoint& c) { set_integer(c, "llama.block_count", 3); },
          {"tensor blk.2.attn_norm.weight is missing"});
  refused([](Checkpoint& c) { set_integer(c, "llama.block_count", 1); },
          {"tensor blk.1.", "has no place in the architecture 'llama'"});
  refused([](Checkpoint& c) { set_integer(c, "llama.embedding_length", 128); },
          {"tensor token_embd.weight is [80, 64], expected [80, 128]"});
  refused([](Checkpoint& c) { set_integer(c, "llama.feed_forward_length", 64); },
          {"tensor blk.0.ffn_gate.weight is [96, 64], expected [64, 64]"});
}

TEST(Decoder, EveryTensorIsNeeded) {
  TinyModel m = tiny_llama();
  m.tied = false;
  const Checkpoint whole = make_checkpoint(m);
  size_t needed = 0;
  for (const Tensor& t : whole.tensors) {
    if (t.name == "output.weight") continue;  // without it the head is tied
    Checkpoint c = whole;
    remove_tensor(c, t.name);
    expect_error([&] { (void)build_graph(c, 0); },
                 {std::string("tiny.gguf: tensor ") + t.name + " is missing"});
    ++needed;
  }
  EXPECT_EQ(needed, 2U + 9U * 2U);
}

TEST(Decoder, EveryShapeIsChecked) {
  TinyModel m = tiny_qwen2();
  m.tied = false;
  const Checkpoint whole = make_checkpoint(m);
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    Checkpoint c = whole;
    c.tensors[i].shape.back() += 32;
    expect_error([&] { (void)build_graph(c, 0); }, {c.tensors[i].name, ", expected ["});
    c = whole;
    c.tensors[i].shape.insert(c.tensors[i].shape.begin(), 2);
    // Twice the rows are a bigger vocabulary for the table alone, which the head then lacks.
    const bool table = c.tensors[i].name == "token_embd.weight";
    expect_error([&] { (void)build_graph(c, 0); },
                 {table ? "output.weight" : std::string_view(c.tensors[i].name), ", expected ["});
  }
}

TEST(Decoder, VectorsAreFloats) {
  refused([](Checkpoint& c) { tensor(c, "blk.1.ffn_norm.weight").type = DType::q8_0; },
          {"tensor blk.1.ffn_norm.weight is a vector of type q8_0, expected f32, f16 or bf16"});
}

TEST(Decoder, TensorsWithoutAPlaceAreNamed) {
  for (const char* name : {"blk.0.attn_q_norm.weight", "blk.0.ffn_gate_inp.weight", "blk.2.attn_q.weight",
                           "output.scale", "cls.weight"})
    refused(
        [&](Checkpoint& c) {
          c.tensors.push_back(c.tensors[1]);
          c.tensors.back().name = name;
        },
        {std::string("tiny.gguf: tensor ") + name + " has no place in the architecture 'llama'"});
}

TEST(Decoder, ArchitecturesThatAreUnknown) {
  refused([](Checkpoint& c) { set_string(c, "general.architecture", "mamba"); },
          {"tiny.gguf: architecture 'mamba' is not supported (known: gemma, gemma2, "});
  EXPECT_EQ(all_architectures().size(), 12U);
}

TEST(Decoder, FilesWithoutWeights) {
  refused([](Checkpoint& c) { c.tensors.clear(); },
          {"holds a vocabulary and no weights; `forge tokenize` works on it, compiling needs a model"});
  refused([](Checkpoint& c) { remove_tensor(c, "token_embd.weight"); },
          {"tensor token_embd.weight is missing"});
  refused([](Checkpoint& c) { tensor(c, "token_embd.weight").shape[0] = 1 << 21; },
          {"a vocabulary of 2097152 tokens"});
}

}  // namespace
}  // namespace forge
