// The weights section, its signatures, what the plan's text and hash say.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/core/expect_error.h"
#include "tests/ir/small_graph.h"
#include "tests/plan/plans.h"

namespace forge {
namespace {

TEST(Weights, AreAlignedApartAndAllThere) {
  for (const NamedPlan& named : all_plans()) {
    SCOPED_TRACE(named.name);
    std::vector<PlacedWeight> placed = named.plan.weights;
    std::ranges::sort(placed, {}, &PlacedWeight::offset);
    uint64_t end = 0;
    std::set<std::pair<WeightId, uint32_t>> seen;
    for (const PlacedWeight& w : placed) {
      const Weight& weight = named.graph.weights[w.weight];
      EXPECT_EQ(w.offset % 256, 0U) << weight.name;
      EXPECT_GE(w.offset, end) << weight.name;
      EXPECT_LT(w.offset, end + 256) << weight.name << ": a hole";
      EXPECT_EQ(w.type, weight.type(w.layer));
      EXPECT_EQ(w.layout, weight.rows == 1 ? Layout::row : Layout::tiles16);
      EXPECT_EQ(w.bytes, packed_bytes(w.type, w.layout, weight.rows, weight.cols));
      end = w.offset + w.bytes;
      EXPECT_TRUE(seen.emplace(w.weight, w.layer).second) << weight.name << " is placed twice";
    }
    EXPECT_GE(named.plan.weights_bytes, end);
    size_t expected = 0;
    for (const Weight& w : named.graph.weights) expected += w.types.size();
    EXPECT_EQ(seen.size(), expected);
  }
}

TEST(Weights, LayersLieAsTheirSignatureSays) {
  for (const NamedPlan& named : all_plans()) {
    ASSERT_EQ(named.plan.layers.size(), named.graph.n_layers);
    for (uint32_t l = 0; l < named.graph.n_layers; ++l) {
      const Layer& layer = named.plan.layers[l];
      for (const auto& [id, offset] : named.plan.signatures[layer.signature].offsets) {
        EXPECT_EQ(named.plan.placed(id, l).offset, layer.base + offset);
        EXPECT_EQ(named.plan.offset_in_layer(layer.signature, id), offset);
      }
    }
  }
}

TEST(Weights, LayersOfEqualTypesShareASignature) {
  test::TinyModel m = plain_llama();
  m.n_layers = 4;
  EXPECT_EQ(make_plan("equal", m).plan.signatures.size(), 1U);

  // As in Q4_K_M: V and down are wider in an irregular subset of the layers.
  m.n_hidden = m.n_ff = 256;
  m.head_dim = 64;
  m.n_layers = 6;
  m.type = [](const std::string& name) {
    const bool more = name.starts_with("blk.0") || name.starts_with("blk.2") || name.starts_with("blk.5");
    if (name.find("attn_v") != std::string::npos) return more ? DType::q6_k : DType::q4_k;
    if (name.find("ffn_down") != std::string::npos)
      return more && !name.starts_with("blk.2") ? DType::q6_k : DType::q4_k;
    return name.starts_with("token") ? DType::q6_k : DType::q4_k;
  };
  const NamedPlan mixed = make_plan("mixed", m);
  EXPECT_EQ(mixed.plan.signatures.size(), 3U);
  std::vector<uint32_t> signatures(mixed.plan.layers.size());
  std::ranges::transform(mixed.plan.layers, signatures.begin(), &Layer::signature);
  EXPECT_EQ(signatures, (std::vector<uint32_t>{0, 1, 2, 1, 1, 0}));
}

TEST(Weights, BytesThatATokenReads) {
  test::TinyModel m = plain_llama();
  const Plan tied = make_plan("tied", m).plan;
  uint64_t all = 0;
  for (const PlacedWeight& w : tied.weights) all += w.bytes;
  EXPECT_EQ(tied.weight_bytes_per_token, all);
  m.tied = false;
  const Plan untied = make_plan("untied", m).plan;
  // The head's bytes and one row of the table.
  EXPECT_EQ(untied.weight_bytes_per_token, all + row_bytes(DType::q8_0, m.n_hidden));
}

TEST(Plan, KeysAndValuesOfAPosition) {
  const NamedPlan named = make_plan("plain llama", plain_llama());
  EXPECT_EQ(named.plan.kv_layer_bytes, 2U * 64 * (16 + 16) * 2);
  EXPECT_EQ(named.plan.kv_page_bytes, 2 * named.plan.kv_layer_bytes);
  test::TinyModel odd = plain_llama();
  odd.n_hidden = 160;
  odd.head_dim = 40;
  EXPECT_EQ(make_plan("odd", odd).plan.kv_layer_bytes, 2U * 64 * (40 + 48) * 2);
}

TEST(Plan, RopeFrequencies) {
  test::TinyModel m = plain_llama();
  const Plan plan = make_plan("plain", m).plan;
  ASSERT_EQ(plan.ropes.size(), 1U);
  EXPECT_EQ(plan.rope_row, 16U);
  for (const Layer& l : plan.layers) EXPECT_EQ(l.rope, 0U);
  const Rope& plain = plan.ropes[0];
  ASSERT_EQ(plain.frequencies.size(), 8U);
  EXPECT_EQ(plain.frequencies[0], 1.0);
  EXPECT_NEAR(plain.frequencies[4], 0.01, 1e-15);
  m.rope_factors = true;
  const Rope halved = make_plan("factors", m).plan.ropes.at(0);  // all factors are 2
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(halved.frequencies[i], plain.frequencies[i] / 2);
}

// Layers that differ in a window or in rope have code of their own; each rotation is in the table once.
TEST(Plan, AttributesByLayerMakeSignaturesAndRotations) {
  const auto plan_of = [](std::string_view name) {
    const Graph g = optimize(build_graph(test::read_golden_gguf(name), 0));
    return lower_cpu(g, {});
  };
  const Plan gemma3 = plan_of("gemma3");  // five local layers, a global one, a local one
  ASSERT_EQ(gemma3.signatures.size(), 2U);
  ASSERT_EQ(gemma3.ropes.size(), 2U);
  EXPECT_EQ(gemma3.rope_row, 16U);
  EXPECT_EQ(gemma3.ropes[1].offset, 8U);
  for (uint32_t l = 0; l < 7; ++l) {
    EXPECT_EQ(gemma3.layers[l].signature, l == 5 ? 1U : 0U);
    EXPECT_EQ(gemma3.layers[l].rope, l == 5 ? 1U : 0U);
  }
  const Plan smollm3 = plan_of("smollm3");  // the fourth of five layers has no rope
  ASSERT_EQ(smollm3.ropes.size(), 1U);
  for (uint32_t l = 0; l < 5; ++l) EXPECT_EQ(smollm3.layers[l].rope, l == 3 ? kNoRope : 0U);
  const Plan gpt2 = plan_of("gpt2");
  EXPECT_TRUE(gpt2.ropes.empty());
  EXPECT_EQ(gpt2.phases[0].rope_table, kNoBuffer);
}

// export-weights gives back what no node reads, too.
TEST(Plan, KeepsTheFactorsOfTheOtherContext) {
  const Graph g = optimize(build_graph(test::read_golden_gguf("phi3-long"), 64));
  const Plan plan = lower_cpu(g, {1, 1, 1, 1});
  size_t n = 0;
  for (const PlacedWeight& w : plan.weights) n += g.weights[w.weight].tensor.starts_with("rope_factors_");
  EXPECT_EQ(n, 2U);
}

TEST(Plan, TextMentionsEveryWeightBufferAndStage) {
  for (const NamedPlan& named : all_plans()) {
    const std::string text = print(named.plan, named.graph);
    for (const Weight& w : named.graph.weights)
      EXPECT_NE(text.find(w.per_layer ? "@" + w.name + "\n" : w.tensor + "\n"), std::string::npos) << w.name;
    for (const Phase& p : named.plan.phases) {
      EXPECT_NE(text.find("phase " + p.name), std::string::npos);
      for (const Buffer& b : p.buffers)
        if (b.bytes() > 0) EXPECT_NE(text.find("buffer " + b.name), std::string::npos) << b.name;
    }
    const auto count = [&](std::string_view what) {
      size_t n = 0;
      for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
      return n;
    };
    size_t stages = 0, barriers = 0;
    for (const Phase& p : named.plan.phases)
      for (const auto* part : {&p.prologue, &p.body, &p.epilogue})
        for (const Stage& s : *part) {
          ++stages;
          barriers += s.barrier;
        }
    EXPECT_EQ(count(" by "), stages);
    EXPECT_EQ(count("-- barrier\n"), barriers);
    EXPECT_EQ(count("  layer "), named.plan.layers.size());
  }
}

TEST(PlanHash, IsOfAllThatShapesCodeAndPayload) {
  const auto hash_of = [](const test::TinyModel& m) {
    const NamedPlan named = make_plan("", m);
    return plan_hash(named.plan, named.graph);
  };
  const test::TinyModel base = plain_llama();
  std::set<uint64_t> hashes = {hash_of(base)};
  EXPECT_EQ(hash_of(base), *hashes.begin());
  test::TinyModel seed = base;
  seed.seed = 2;
  EXPECT_EQ(hash_of(seed), *hashes.begin()) << "weights are not part of the plan";
  const auto differs = [&](auto change, const char* what) {
    test::TinyModel m = base;
    change(m);
    EXPECT_TRUE(hashes.insert(hash_of(m)).second) << what;
  };
  differs([](auto& m) { m.type = [](const std::string&) { return DType::q5_0; }; }, "types");
  differs(
      [](auto& m) {
        m.type = [](const std::string& n) { return n == "blk.1.ffn_up.weight" ? DType::q4_0 : DType::q8_0; };
      },
      "one layer's type");
  differs([](auto& m) { m.n_ff = 192; }, "shape");
  differs([](auto& m) { m.n_vocab = 91; }, "vocabulary");
  differs([](auto& m) { m.n_layers = 3; }, "layers");
  differs([](auto& m) { m.ctx = 128; }, "context");
  differs([](auto& m) { m.tied = false; }, "head");
  differs([](auto& m) { m.qkv_bias = true; }, "biases");
  differs([](auto& m) { m.rope_factors = true; }, "rope factors");
  differs([](auto& m) { m.n_kv_heads = 4; }, "kv heads");
  // The same graph with other factors: only the frequencies show it.
  const Graph g = make_plan("", base).graph;
  Plan plan = lower_cpu(g, {});
  const uint64_t before = plan_hash(plan, g);
  plan.ropes[0].frequencies[3] *= 1.0 + 0x1p-52;
  EXPECT_NE(plan_hash(plan, g), before);
}

TEST(LowerCpu, RefusesWhatHasNoKernel) {
  const auto refused = [](std::string_view without, std::initializer_list<std::string_view> parts) {
    Graph g = parse_graph(kSmallGraph);
    for (const Pass& pass : all_passes())
      if (pass.name != without) pass.run(g);
    expect_error([&] { (void)lower_cpu(g, {}); }, parts);
  };
  refused("fuse_rope_kv", {"plan: the layer has no rope_kv"});
  Graph no_attention = optimize(parse_graph(kSmallGraph));
  std::erase_if(no_attention.body, [](const Node& n) { return n.op == Op::attention; });
  expect_error([&] { (void)lower_cpu(no_attention, {}); }, {"plan: the layer has no attention"});
}

}  // namespace
}  // namespace forge
