#include "ir/graph.h"

#include <array>

#include "core/error.h"

namespace forge {
namespace {

constexpr std::array<std::pair<Op, std::string_view>, 11> kOpNames = {{
    {Op::embed, "embed"},
    {Op::rms_norm, "rms_norm"},
    {Op::linear, "linear"},
    {Op::rope, "rope"},
    {Op::attention, "attention"},
    {Op::silu, "silu"},
    {Op::mul, "mul"},
    {Op::add, "add"},
    {Op::select_rows, "select_rows"},
    {Op::quantize, "quantize"},
    {Op::rope_kv, "rope_kv"},
}};

template <class T>
const T& attribute(const Node& node, std::string_view name) {
  const auto it = node.attributes.find(name);
  if (it == node.attributes.end()) fail("{}: attribute '{}' is missing", op_name(node.op), name);
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr) fail("{}: attribute '{}' has the wrong type", op_name(node.op), name);
  return *value;
}

}  // namespace

std::string Weight::tensor_name(uint32_t layer) const {
  std::string out = tensor;
  if (const size_t at = out.find("%l"); at != std::string::npos) out.replace(at, 2, std::to_string(layer));
  return out;
}

int64_t Node::integer(std::string_view name) const { return attribute<int64_t>(*this, name); }
double Node::number(std::string_view name) const { return attribute<double>(*this, name); }
std::string Node::string(std::string_view name) const { return attribute<std::string>(*this, name); }

ValueId Graph::add_value(std::string value_name, ElementType element, uint32_t cols, RowSet rows) {
  values.push_back({std::move(value_name), element, cols, rows});
  return static_cast<ValueId>(values.size() - 1);
}

std::string_view op_name(Op op) {
  for (const auto& [o, name] : kOpNames) {
    if (o == op) return name;
  }
  return "?";
}

std::optional<Op> op_from_name(std::string_view name) {
  for (const auto& [o, n] : kOpNames) {
    if (n == name) return o;
  }
  return std::nullopt;
}

}  // namespace forge
