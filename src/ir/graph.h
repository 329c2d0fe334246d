// Graph: the model as tensor operations, in the order in which its paper would write them.
//
// Layers stay rolled up: prologue, one repeated body, epilogue. A value is a matrix [rows, cols] whose rows
// are the rows of a ragged batch (or those of them whose output is wanted); cols is a constant. A weight's
// storage type is data of the weight, one per layer, and not part of the body.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quant/dtype.h"

namespace forge {

// clang-format off
enum class Op : uint8_t {
  // as a paper writes them
  embed,        // (i32[1] tokens) @table {[of] [scale]}      -> f32[cols of table]; of=position: by the row's position
  rms_norm,     // (f32[n]) @gain {eps [n_heads]}             -> f32[n]; after fusion also q8[n], bf16[n], or these alone
  layer_norm,   // (f32[n]) @gain [+ @bias] {eps}             -> the same
  linear,       // (f32[k] and/or q8[k], [bf16[k]] [, f32[n] addend]) [segments] {[scale] [softcap]} {epilogue} -> one value a segment
  rope,         // (f32[heads*head_dim]) {n_heads head_dim n_rot style base scale …} [@factors] -> same (rope.h)
  attention,    // (q, k, v) or, once k and v are in the cache, (q) {n_heads n_kv_heads head_dim scale kv [prompts] [window] [softcap]}
  silu,         // (f32[n])          -> f32[n]: x * sigmoid(x)
  gelu,         // (f32[n])          -> f32[n]: the tanh form
  scale,        // (f32[n]) {by}     -> f32[n]
  softcap,      // (f32[n]) {cap}    -> f32[n]: cap * tanh(x / cap)
  mul,          // (f32[n], f32[n])  -> f32[n]
  add,          // (f32[n], f32[n])  -> f32[n]
  select_rows,  // (f32[n])          -> f32[n], only the rows whose output is wanted
  // introduced by passes
  quantize,     // (f32[n])          -> q8[n]: blocks of 32 int8 with one f32 scale; and bf16[n], of prompt rows
  rope_kv,      // (q, k, v): rotates q and k (n_rot > 0), writes k and v to the cache -> rotated q
};

// bf16: what a linear's prompt rows take instead of the q8 beside it, on levels whose matrix unit multiplies bfloat16.
enum class ElementType : uint8_t { i32, f32, q8, bf16 };
enum class RowSet : uint8_t { all, wanted };
// What a linear does with its sums before they are written.
enum class Epilogue : uint8_t {
  none,
  add,       // adds the last input (a residual)
  gelu,
  silu_mul,  // two segments g, u of equal size: silu(g) * u, one output
  gelu_mul,  // gelu(g) * u
};
// clang-format on

using ValueId = uint32_t;
using WeightId = uint32_t;
inline constexpr WeightId kNoWeight = ~0u;

struct Value {
  std::string name;  // without the %
  ElementType element = ElementType::f32;
  uint32_t cols = 0;
  RowSet rows = RowSet::all;
};

// A weight matrix (vectors have rows == 1), or one for each layer.
struct Weight {
  std::string name;    // without the @
  std::string tensor;  // name in the checkpoint; "%l" stands for the layer's number
  uint32_t rows = 0;   // outputs
  uint32_t cols = 0;   // inputs
  uint32_t first = 0;  // first row (of a vector: element) of the tensor, where it holds several weights
  bool per_layer = false;
  std::vector<DType> types;  // one, or one a layer

  DType type(uint32_t layer) const { return types[per_layer ? layer : 0]; }
  std::string tensor_name(uint32_t layer) const;
};

struct Segment {
  WeightId weight = kNoWeight;
  WeightId bias = kNoWeight;
};

// A list has one number a layer.
using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

struct Node {
  Op op = Op::add;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<Segment> segments;  // linear: one or more; embed, rms_norm, rope: weight of the first
  Epilogue epilogue = Epilogue::none;
  std::map<std::string, Attribute, std::less<>> attributes;

  bool has(std::string_view name) const { return attributes.contains(name); }
  // Of a layer, where the attribute is a list. Throw Error when the attribute is missing or of another type.
  int64_t integer(std::string_view name, uint32_t layer = 0) const;
  double number(std::string_view name, uint32_t layer = 0) const;
  std::string string(std::string_view name) const;
};

struct Graph {
  std::string name;  // the architecture
  uint32_t n_layers = 0;
  uint32_t n_vocab = 0;
  uint32_t n_hidden = 0;
  uint32_t ctx_max = 0;  // positions a sequence may have
  std::vector<Value> values;
  std::vector<Weight> weights;
  ValueId tokens = 0;  // input, i32[1]
  std::vector<Node> prologue, body, epilogue;
  // The value carried around the repeat: body_input is prologue_output in the first layer and body_output of
  // the layer before in the others; the epilogue sees body_output of the last layer under that name.
  ValueId body_input = 0, prologue_output = 0, body_output = 0;
  ValueId hidden = 0;  // after the final norm, of the wanted rows (f32)
  ValueId logits = 0;  // f32[n_vocab], of the wanted rows

  ValueId add_value(std::string name, ElementType element, uint32_t cols, RowSet rows = RowSet::all);
};

std::string_view op_name(Op op);
std::optional<Op> op_from_name(std::string_view name);
// Whether it multiplies the activation of the first segment by the second.
inline bool is_gated(Epilogue e) { return e == Epilogue::silu_mul || e == Epilogue::gelu_mul; }
std::string_view epilogue_name(Epilogue epilogue);
std::optional<Epilogue> epilogue_from_name(std::string_view name);

// The text form, as `forge dump --stage graph` shows it.
std::string print(const Graph& graph);
// Reads the text form back: parse(print(g)) prints as g does. Throws Error with the line number.
Graph parse_graph(std::string_view text);
// Checks types, shapes, attributes, that every value is defined once and before its use. Throws Error naming
// the node; `after` says which step produced the graph.
void verify(const Graph& graph, std::string_view after);

}  // namespace forge
