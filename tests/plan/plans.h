// Plans of small models for the tests of this folder.
#pragma once

#include <string>
#include <vector>

#include "models/architecture.h"
#include "passes/passes.h"
#include "plan/plan.h"
#include "tests/support/goldens.h"
#include "tests/support/tiny_model.h"

namespace forge {

struct NamedPlan {
  std::string name;
  Graph graph;  // optimized
  Plan plan;
};

inline test::TinyModel plain_llama() {
  test::TinyModel m = test::small_model();
  m.n_ff = 160;
  m.n_vocab = 90;
  return m;
}

inline NamedPlan make_plan(std::string name, const test::TinyModel& model, bool with_bf16 = false) {
  Graph g = optimize(build_graph(make_checkpoint(model), 0));
  if (with_bf16) bf16_prompts(g);
  const std::vector<float> factors(model.rope_factors ? model.head_dim / 2 : 0, 2.0F);
  Plan plan = lower_cpu(g, factors);
  return {std::move(name), std::move(g), std::move(plan)};
}

// Models whose optimized graphs differ in shape.
inline std::vector<NamedPlan> all_plans() {
  std::vector<NamedPlan> out;
  test::TinyModel m = plain_llama();
  out.push_back(make_plan("plain llama", m));
  out.push_back(make_plan("bf16 prompts", m, true));
  m.type = [](const std::string&) { return DType::bf16; };
  out.push_back(make_plan("floats", m));
  m.type = [](const std::string& name) {
    return name.find(".1.") != std::string::npos || name.find("up") != std::string::npos ? DType::f16
                                                                                         : DType::q5_0;
  };
  m.tied = false;
  out.push_back(make_plan("mixed, untied", m));
  m = plain_llama();
  m.architecture = "qwen2";
  m.qkv_bias = true;
  m.n_kv_heads = 1;
  out.push_back(make_plan("qwen2", m));
  m = plain_llama();
  m.n_heads = m.n_kv_heads = 1;
  m.head_dim = 40;
  m.n_hidden = 32;
  m.rope_factors = true;
  m.n_layers = 1;
  m.type = [](const std::string& name) {
    return name.find("attn_output") != std::string::npos ? DType::f32 : DType::q8_0;
  };
  out.push_back(make_plan("one head", m));
  for (const test::GoldenModel& model : test::kGoldenModels) {
    Graph g = optimize(build_graph(test::read_golden_gguf(model.name), model.ctx));
    Plan plan = lower_cpu(g, std::vector<float>(8, 1.0F));
    out.push_back({model.name, std::move(g), std::move(plan)});
    // With a prompt's rows in bf16, which blocks alone have. A plan reads types, no weights.
    Checkpoint checkpoint = test::read_golden_gguf(model.name);
    for (Tensor& t : checkpoint.tensors)
      if (t.shape.size() == 2 && t.cols() % 32 == 0) t.type = DType::q8_0;
    g = optimize(build_graph(checkpoint, model.ctx));
    bf16_prompts(g);
    plan = lower_cpu(g, std::vector<float>(8, 1.0F));
    out.push_back({std::string(model.name) + ", bf16 prompts", std::move(g), std::move(plan)});
  }
  return out;
}

}  // namespace forge
