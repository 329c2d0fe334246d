#include "quantize/recipe.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "core/ascii.h"
#include "core/error.h"
#include "quantize/encode.h"

namespace forge {
namespace {

constexpr int64_t kEighth = 8, kSixteenth = 16;

Recipe plain(DType type, uint32_t file_type, DType head = DType::q6_k) {
  return {info(type).name, file_type, type, head, type, {}};
}

std::vector<Recipe> make_recipes() {
  using enum DType;
  using enum Layers;
  return {
      plain(f32, 0, f32),
      plain(f16, 1, f16),
      plain(bf16, 32, bf16),
      plain(q8_0, 7, q8_0),
      plain(q6_k, 18),
      {"q5_k_m",
       17,
       q5_k,
       q6_k,
       q5_k,
       {{"attn_v", outer_and_every_third, q6_k},
        {"ffn_down", outer_and_every_third, q6_k},
        {"attn_qkv", all, q6_k}}},
      {"q5_k_s", 16, q5_k, q6_k, q5_k, {}},
      plain(q5_1, 9),
      plain(q5_0, 8),
      {"q4_k_m",
       15,
       q4_k,
       q6_k,
       q4_k,
       {{"attn_v", outer_and_every_third, q6_k},
        {"ffn_down", outer_and_every_third, q6_k},
        {"attn_qkv", all, q5_k}}},
      {"q4_k_s", 14, q4_k, q6_k, q4_k, {{"attn_v", first_four, q5_k}, {"ffn_down", first_eighth, q5_k}}},
      plain(q4_1, 3),
      plain(q4_0, 2),
      {"iq4_xs", 30, iq4_xs, q6_k, iq4_xs, {{"attn_v", all, q5_k, 4}, {"ffn_down", first_eighth, q5_k}}},
      {"iq4_nl", 25, iq4_nl, q6_k, iq4_nl, {{"attn_v", all, q5_k, 4}, {"ffn_down", first_eighth, q5_k}}},
      plain(mxfp4, 38, q8_0),
      {"q3_k_l",
       13,
       q3_k,
       q6_k,
       q3_k,
       {{"attn_v", all, q5_k}, {"ffn_down", all, q5_k}, {"attn_output", all, q5_k}}},
      {"q3_k_m",
       12,
       q3_k,
       q6_k,
       q3_k,
       {{"attn_v", first_two, q5_k},
        {"attn_v", all, q4_k},
        {"ffn_down", first_sixteenth, q5_k},
        {"ffn_down", all, q4_k},
        {"attn_output", all, q4_k},
        {"attn_qkv", all, q4_k}}},
      {"q3_k_s", 11, q3_k, q6_k, q3_k, {}},
      {"q2_k",
       10,
       q2_k,
       q6_k,
       q2_k,
       {{"attn_v", all, q4_k, 4},
        {"attn_v", all, q3_k},
        {"ffn_down", all, q3_k},
        {"attn_output", all, q3_k}}},
      {"q2_k_s", 21, q2_k, q6_k, q2_k, {{"attn_v", all, q4_k, 4}, {"ffn_down", first_eighth, q4_k}}},
      {"tq2_0", 37, tq2_0, q6_k, q4_k, {}},
      {"tq1_0", 36, tq1_0, q6_k, q4_k, {}},
  };
}

bool is_among(Layers layers, int64_t layer, int64_t n) {
  switch (layers) {
    case Layers::all: return true;
    case Layers::first_two: return layer < 2;
    case Layers::first_four: return layer < 4;
    case Layers::first_sixteenth: return layer < n / kSixteenth;
    case Layers::first_eighth: return layer < n / kEighth;
    case Layers::outer_and_every_third:
      return layer < n / kEighth || layer >= 7 * n / kEighth || (layer - n / kEighth) % 3 == 2;
  }
  return false;
}

// What the promotions ask about a model.
struct Shape {
  int64_t layers, sharing;
  bool tied;
};

Shape shape_of(const Checkpoint& checkpoint) {
  const std::string prefix = checkpoint.meta.string("general.architecture").value_or("") + ".";
  const auto heads = checkpoint.meta.find(prefix + "attention.head_count");
  const auto kv_heads = checkpoint.meta.find(prefix + "attention.head_count_kv");
  // Where heads differ from layer to layer the key is an array; the promotions then take the lower type.
  const auto count = [](const MetaValue* value) -> int64_t {
    const auto* n = value == nullptr ? nullptr : std::get_if<int64_t>(&value->value);
    return n == nullptr ? 0 : *n;
  };
  int64_t layers = 0;
  for (const Tensor& tensor : checkpoint.tensors)
    layers = std::max(layers, tensor_layer(tensor.name).value_or(-1) + 1);
  return {layers, count(kv_heads) > 0 ? count(heads) / count(kv_heads) : 1,
          checkpoint.find("output.weight") == nullptr};
}

DType recipe_type(const Recipe& recipe, const Shape& shape, const Tensor& tensor) {
  if (tensor.name == "output.weight" || (tensor.name == "token_embd.weight" && shape.tied))
    return recipe.head;
  if (tensor.name == "token_embd.weight") return recipe.embedding;
  const std::optional<int64_t> layer = tensor_layer(tensor.name);
  for (const Promotion& p : recipe.promotions) {
    if (layer && p.tensor_class == tensor_class(tensor.name) && shape.sharing >= p.min_sharing &&
        is_among(p.layers, *layer, shape.layers))
      return p.type;
  }
  return recipe.type;
}

}  // namespace

std::span<const Recipe> all_recipes() {
  static const std::vector<Recipe> recipes = make_recipes();
  return recipes;
}

std::string recipe_names() {
  std::string names;
  for (const Recipe& recipe : all_recipes())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", recipe.name);
  return names;
}

const Recipe& find_recipe(std::string_view name) {
  // Elsewhere types are written in capitals: Q4_K_M.
  const std::string wanted = ascii_lower(name);
  for (const Recipe& recipe : all_recipes()) {
    if (recipe.name == wanted) return recipe;
  }
  fail_usage("no quantization '{}'; there are {}", name, recipe_names());
}

TensorType parse_tensor_type(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0)
    fail_usage("tensor type {}: expected PATTERN=TYPE, as in attn_v=q6_k", text);
  const std::string pattern = text.substr(0, equals), name = text.substr(equals + 1);
  // fnmatch takes a bracket that is not closed for the character, which no tensor's name has.
  if (const size_t open = pattern.rfind('[');
      open != std::string::npos && pattern.find(']', open) == std::string::npos)
    fail_usage("tensor type {}: the pattern has a [ without its ]", text);
  const std::optional<DType> type = dtype_from_name(ascii_lower(name));
  if (!type || !can_encode(*type)) {
    std::string known;
    for (const DTypeInfo& t : all_dtypes())
      if (can_encode(t.type)) known += fmt::format("{}{}", known.empty() ? "" : ", ", t.name);
    fail_usage("tensor type {}: no type '{}'; there are {}", text, name, known);
  }
  return {pattern, *type};
}

const TensorType* find_override(const Tensor& tensor, std::span<const TensorType> overrides) {
  const auto it = std::ranges::find_if(overrides, [&](const TensorType& t) {
    return ::fnmatch(("*" + t.pattern + "*").c_str(), tensor.name.c_str(), 0) == 0;
  });
  return it == overrides.end() ? nullptr : &*it;
}

std::string_view tensor_class(std::string_view name) {
  if (name.ends_with(".weight")) name.remove_suffix(std::string_view(".weight").size());
  if (tensor_layer(name)) name.remove_prefix(name.find('.', 4) + 1);
  return name;
}

std::optional<int64_t> tensor_layer(std::string_view name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  constexpr int64_t kMaxLayer = 65535;
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.' || layer < 0 ||
      layer > kMaxLayer)
    return std::nullopt;
  return layer;
}

bool is_quantizable(const Tensor& tensor) {
  if (tensor.shape.size() < 2 || tensor.rows() < 2 || !tensor.name.ends_with(".weight")) return false;
  const std::string_view kind = tensor_class(tensor.name);
  return !kind.ends_with("_norm") && kind != "position_embd" && kind != "token_types" &&
         kind != "ffn_gate_inp";
}

DType fitting_type(DType wanted, int64_t cols) {
  const auto fits = [cols](DType type) { return cols % info(type).block_weights == 0; };
  if (fits(wanted)) return wanted;
  const auto smaller_block = [](DType type) {
    switch (type) {
      case DType::iq4_xs: return DType::iq4_nl;
      case DType::q2_k:
      case DType::q3_k:
      case DType::tq1_0:
      case DType::tq2_0:
      case DType::q1_0:
      case DType::q2_0: return DType::q4_0;
      case DType::q4_k: return DType::q5_0;
      case DType::q5_k: return DType::q5_1;
      case DType::q6_k: return DType::q8_0;
      default: return DType::f16;
    }
  };
  return fits(smaller_block(wanted)) ? smaller_block(wanted) : DType::f16;
}

std::vector<DType> choose_types(const Checkpoint& checkpoint, const Recipe& recipe,
                                std::span<const TensorType> overrides,
                                const std::function<void(std::string_view line)>& note) {
  const Shape shape = shape_of(checkpoint);
  std::vector<bool> used(overrides.size());
  std::map<std::string, size_t> exceptions;  // what to say -> of how many tensors
  std::vector<DType> types;
  for (const Tensor& tensor : checkpoint.tensors) {
    types.push_back(tensor.type);
    if (!is_quantizable(tensor)) continue;
    DType wanted = recipe_type(recipe, shape, tensor);
    if (const TensorType* match = find_override(tensor, overrides)) {
      wanted = match->type;
      used[static_cast<size_t>(match - overrides.data())] = true;
    }
    const DType chosen = fitting_type(wanted, tensor.cols());
    const auto bytes = [&](DType type) { return row_bytes(type, static_cast<size_t>(tensor.cols())); };
    if (chosen != wanted)
      ++exceptions[fmt::format("{}: rows of {} weights are no multiple of {}'s {}: {}",
                               tensor_class(tensor.name), tensor.cols(), info(wanted).name,
                               info(wanted).block_weights, info(chosen).name)];
    if (info(tensor.type).block_weights > 1 && bytes(tensor.type) <= bytes(chosen)) {
      if (tensor.type != chosen)
        ++exceptions[fmt::format("{}: stays {}, {} would be no better", tensor_class(tensor.name),
                                 info(tensor.type).name, info(chosen).name)];
      continue;
    }
    types.back() = chosen;
  }
  for (size_t i = 0; i < overrides.size(); ++i) {
    if (!used[i])
      fail_usage("{}: no matrix matches the pattern '{}' (see forge info --tensors)", checkpoint.path,
                 overrides[i].pattern);
  }
  if (note) {
    for (const auto& [text, n] : exceptions) note(n == 1 ? text : fmt::format("{} ({} tensors)", text, n));
  }
  return types;
}

}  // namespace forge
