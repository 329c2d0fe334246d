// Which storage type each tensor of a quantized model gets.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"

namespace forge {

// The layers of a class of tensors that get more bits than the rest.
enum class Layers : uint8_t {
  all,
  first_two,
  first_four,
  first_sixteenth,
  first_eighth,
  outer_and_every_third,  // the first and the last eighth, and every third between them
};

// More bits for one class of tensors ("attn_v"), in some of the layers.
struct Promotion {
  std::string_view tensor_class;
  Layers layers;
  DType type;
  int64_t min_sharing = 1;  // query heads that share a key-value head, at least
};

// A named mixture, after llama.cpp's of the same name: what errs there is known to hurt most keeps more bits.
struct Recipe {
  std::string_view name;  // "q4_k_m"
  uint32_t file_type;     // general.file_type, llama.cpp's number for it
  DType type;             // of the matrices that nothing else is said about
  DType head;             // of the output matrix, and of a token_embd that serves as one
  DType embedding;        // of a token_embd that is only looked up
  std::vector<Promotion> promotions;
};

std::span<const Recipe> all_recipes();
// "f32, f16, ...".
std::string recipe_names();
// Throws a usage Error that lists the names when there is none of that name.
const Recipe& find_recipe(std::string_view name);

// "PATTERN=TYPE": the type of all matrices whose name matches "*PATTERN*" as a shell does it.
struct TensorType {
  std::string pattern;
  DType type;
};
// Throws a usage Error where it is none.
TensorType parse_tensor_type(const std::string& text);

// The first of `overrides` that matches the tensor's name; null where none does.
const TensorType* find_override(const Tensor& tensor, std::span<const TensorType> overrides);

// "attn_q" for "blk.3.attn_q.weight", "token_embd" for "token_embd.weight".
std::string_view tensor_class(std::string_view name);
// 3 for "blk.3.attn_q.weight"; nullopt outside the layers.
std::optional<int64_t> tensor_layer(std::string_view name);

// Whether a tensor is one of those that types are chosen for: the matrices that are multiplied with or looked up in.
// Norms, biases, learned positions and routers keep the type they have.
bool is_quantizable(const Tensor& tensor);

// `wanted`, or the next larger type for rows of `cols` weights that are no multiple of its block.
DType fitting_type(DType wanted, int64_t cols);

// The type of every tensor, in their order; tensors that are not quantizable keep theirs, and so does one that is
// stored in fewer bits already. The first of `overrides` that matches decides; then the recipe. `note` (may be null) is
// told, a line each, what is not as the recipe says.
std::vector<DType> choose_types(const Checkpoint& checkpoint, const Recipe& recipe,
                                std::span<const TensorType> overrides,
                                const std::function<void(std::string_view line)>& note);

}  // namespace forge
