#include <array>

#include "core/error.h"
#include "passes/passes.h"

namespace forge {
namespace {

constexpr std::array<Pass, 8> kPasses = {{
    {"join_linears", join_linears},
    {"fold_scales", fold_scales},
    {"fuse_activation", fuse_activation},
    {"fuse_residual", fuse_residual},
    {"fuse_rope_kv", fuse_rope_kv},
    {"quantize_activations", quantize_activations},
    {"fuse_norm_quantize", fuse_norm_quantize},
    {"drop_dead", drop_dead},
}};

}  // namespace

std::span<const Pass> all_passes() { return kPasses; }

Graph optimize(const Graph& source, KvType kv, PromptType prompts) {
  Graph g = source;
  const auto run = [&](const Pass& pass) {
    pass.run(g);
    verify(g, pass.name);
  };
  for (const Pass& pass : kPasses) run(pass);
  if (kv == KvType::q8_0) run({"quantize_kv", quantize_kv});
  if (prompts == PromptType::bf16) run({"bf16_prompts", bf16_prompts});
  return g;
}

}  // namespace forge
