#include "runtime/core/grammar_json_disjoint.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/core/grammar_json_references.h"

namespace forge::rt {
namespace {

using jinja::Value;

// The schema that a $ref alone stands for.
const Value* target_of(const Value& root, const Value* schema) {
  constexpr uint32_t kMaxReferences = 32;
  for (uint32_t i = 0; i < kMaxReferences && schema != nullptr && schema->is(jinja::Type::dict); ++i) {
    const Value* ref = schema->as_dict().find("$ref");
    if (ref == nullptr) return schema;
    if (!ref->is_string()) return nullptr;
    schema = find_reference(root, ref->as_string());
  }
  return schema;
}

// The values that a schema lists, by const or enum; null where it lists none.
std::vector<const Value*> listed_values(const jinja::Dict& schema) {
  if (const Value* value = schema.find("const")) return {value};
  std::vector<const Value*> out;
  if (const Value* values = schema.find("enum");
      values != nullptr && values->is_sequence(jinja::SequenceKind::list))
    for (const Value& value : values->as_sequence().items) out.push_back(&value);
  return out;
}

// The names in a schema's `type`, or in its `required`.
std::vector<std::string_view> names_in(const jinja::Dict& schema, const char* keyword) {
  const Value* value = schema.find(keyword);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->as_string()};
  std::vector<std::string_view> out;
  if (value->is_sequence(jinja::SequenceKind::list))
    for (const Value& item : value->as_sequence().items)
      if (item.is_string()) out.push_back(item.as_string());
  return out;
}

bool disjoint(const Value& root, const Value* first, const Value* second,
              uint32_t depth) {  // NOLINT(misc-no-recursion)
  first = target_of(root, first);
  second = target_of(root, second);
  if (first == nullptr || second == nullptr || !first->is(jinja::Type::dict) ||
      !second->is(jinja::Type::dict))
    return false;
  const jinja::Dict& a = first->as_dict();
  const jinja::Dict& b = second->as_dict();
  const auto of_a = listed_values(a);
  const auto of_b = listed_values(b);
  if (!of_a.empty() && !of_b.empty())
    return std::none_of(of_a.begin(), of_a.end(), [&](const Value* x) {
      return std::any_of(of_b.begin(), of_b.end(), [&](const Value* y) { return jinja::equals(*x, *y); });
    });
  const auto types_a = names_in(a, "type");
  const auto types_b = names_in(b, "type");
  const auto same_kind = [](std::string_view x, std::string_view y) {
    return x == y || (x == "integer" && y == "number") || (x == "number" && y == "integer");
  };
  if (!types_a.empty() && !types_b.empty() &&
      std::none_of(types_a.begin(), types_a.end(), [&](std::string_view x) {
        return std::any_of(types_b.begin(), types_b.end(),
                           [&](std::string_view y) { return same_kind(x, y); });
      }))
    return true;
  constexpr uint32_t kMaxDepth = 4;
  const Value* of_first = a.find("properties");
  const Value* of_second = b.find("properties");
  const bool are_objects = types_a == std::vector<std::string_view>{"object"} && types_b == types_a;
  if (depth == kMaxDepth || !are_objects || of_first == nullptr || of_second == nullptr ||
      !of_first->is(jinja::Type::dict) || !of_second->is(jinja::Type::dict))
    return false;
  const auto required_b = names_in(b, "required");
  for (const std::string_view name : names_in(a, "required"))
    if (std::find(required_b.begin(), required_b.end(), name) != required_b.end() &&
        disjoint(root, of_first->as_dict().find(name), of_second->as_dict().find(name), depth + 1))
      return true;
  return false;
}

}  // namespace

bool disjoint_schemas(const Value& root, const Value& first, const Value& second) {
  return disjoint(root, &first, &second, 0);
}

}  // namespace forge::rt
