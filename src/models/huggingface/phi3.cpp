// Phi-3 and Phi-4-mini: fused QKV and gate-up stay fused; long contexts have rope factors of their own.
#include <cmath>

#include "core/error.h"
#include "models/huggingface/mappings.h"

namespace forge::huggingface {
namespace {

constexpr std::string_view kClasses[] = {"Phi3ForCausalLM"};

void write_rope_factors(const ModelConfig& model, int64_t original, Converted& out) {
  const Config& rope = model.rope;
  const auto rotated = static_cast<size_t>(rope.number({"partial_rotary_factor"}).value_or(1) *
                                           static_cast<double>(model.head_dim));
  for (const auto& [key, name] : {std::pair{"long_factor", "rope_factors_long.weight"},
                                  std::pair{"short_factor", "rope_factors_short.weight"}}) {
    const auto factors = rope.numbers({key});
    if (!factors || factors->size() != rotated / 2)
      rope.refuse(key, fmt::format("{} numbers, one for two rotated dimensions", rotated / 2));
    out.vectors.emplace_back(name, std::vector<float>(factors->begin(), factors->end()));
  }
  // How much queries and keys grow with the context (LongRoPE, arXiv:2402.13753).
  const double scale = static_cast<double>(model.context) / static_cast<double>(original);
  const auto given = rope.number({"attention_factor"});
  out.keys.f32("rope.scaling.attn_factor",
               given        ? *given
               : scale <= 1 ? 1.0
                            : std::sqrt(1 + std::log(scale) / std::log(static_cast<double>(original))));
}

void convert(const ModelConfig& model, Converted& out) {
  const int64_t original = model.rope.integer({"original_max_position_embeddings"}).value_or(model.context);
  if (original < 2) model.rope.refuse("original_max_position_embeddings", "2 or more positions");
  out.keys.u32("rope.scaling.original_context_length", original);
  out.keys.u32("attention.sliding_window", model.config.integer({"sliding_window"}).value_or(0));
  const std::string type = model.rope.string({"rope_type"}).value_or("default");
  if (type == "longrope" || type == "su") write_rope_factors(model, original, out);
}

}  // namespace

const Mapping kPhi3 = {
    .classes = kClasses,
    .architecture = "phi3",
    .activations = kSilu,
    .has_long_rope = true,
    .convert = convert,
};

}  // namespace forge::huggingface
