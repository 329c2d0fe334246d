#include "ir/graph.h"

#include <array>

#include "core/error.h"

namespace forge {
namespace {

constexpr std::array<std::pair<Op, std::string_view>, 15> kOpNames = {{
    {Op::embed, "embed"},
    {Op::rms_norm, "rms_norm"},
    {Op::layer_norm, "layer_norm"},
    {Op::linear, "linear"},
    {Op::rope, "rope"},
    {Op::attention, "attention"},
    {Op::silu, "silu"},
    {Op::gelu, "gelu"},
    {Op::scale, "scale"},
    {Op::softcap, "softcap"},
    {Op::mul, "mul"},
    {Op::add, "add"},
    {Op::select_rows, "select_rows"},
    {Op::quantize, "quantize"},
    {Op::rope_kv, "rope_kv"},
}};

constexpr std::array<std::pair<Epilogue, std::string_view>, 5> kEpilogueNames = {{
    {Epilogue::none, "none"},
    {Epilogue::add, "add"},
    {Epilogue::gelu, "gelu"},
    {Epilogue::silu_mul, "silu_mul"},
    {Epilogue::gelu_mul, "gelu_mul"},
}};

template <class E, size_t n>
std::string_view name_in(const std::array<std::pair<E, std::string_view>, n>& names, E value) {
  for (const auto& [v, name] : names)
    if (v == value) return name;
  return "?";
}
template <class E, size_t n>
std::optional<E> named_in(const std::array<std::pair<E, std::string_view>, n>& names, std::string_view name) {
  for (const auto& [v, text] : names)
    if (text == name) return v;
  return std::nullopt;
}

const Attribute& attribute(const Node& node, std::string_view name) {
  const auto it = node.attributes.find(name);
  if (it == node.attributes.end()) fail("{}: attribute '{}' is missing", op_name(node.op), name);
  return it->second;
}

// The value, or that of a layer where there is one a layer.
template <class T>
T attribute_of(const Node& node, std::string_view name, uint32_t layer) {
  const Attribute& a = attribute(node, name);
  if (const T* value = std::get_if<T>(&a)) return *value;
  const auto* list = std::get_if<std::vector<T>>(&a);
  if (list == nullptr) fail("{}: attribute '{}' has the wrong type", op_name(node.op), name);
  if (layer >= list->size())
    fail("{}: attribute '{}' has no value for layer {}", op_name(node.op), name, layer);
  return (*list)[layer];
}

}  // namespace

std::string Weight::tensor_name(uint32_t layer) const {
  std::string out = tensor;
  if (const size_t at = out.find("%l"); at != std::string::npos) out.replace(at, 2, std::to_string(layer));
  return out;
}

int64_t Node::integer(std::string_view name, uint32_t layer) const {
  return attribute_of<int64_t>(*this, name, layer);
}
double Node::number(std::string_view name, uint32_t layer) const {
  return attribute_of<double>(*this, name, layer);
}
std::string Node::string(std::string_view name) const {
  const auto* value = std::get_if<std::string>(&attribute(*this, name));
  if (value == nullptr) fail("{}: attribute '{}' has the wrong type", op_name(op), name);
  return *value;
}

ValueId Graph::add_value(std::string value_name, ElementType element, uint32_t cols, RowSet rows) {
  values.push_back({std::move(value_name), element, cols, rows});
  return static_cast<ValueId>(values.size() - 1);
}

std::string_view op_name(Op op) { return name_in(kOpNames, op); }
std::optional<Op> op_from_name(std::string_view name) { return named_in(kOpNames, name); }
std::string_view epilogue_name(Epilogue epilogue) { return name_in(kEpilogueNames, epilogue); }
std::optional<Epilogue> epilogue_from_name(std::string_view name) { return named_in(kEpilogueNames, name); }

}  // namespace forge
