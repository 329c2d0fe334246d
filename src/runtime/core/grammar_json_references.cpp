#include "runtime/core/grammar_json_references.h"

#include <algorithm>
#include <string>

namespace forge::rt {

using jinja::Value;

const Value* find_reference(const Value& root, std::string_view reference) {
  if (!reference.starts_with("#")) return nullptr;
  reference.remove_prefix(1);
  const Value* at = &root;
  while (!reference.empty()) {
    if (reference[0] != '/') return nullptr;
    const size_t end = std::min(reference.find('/', 1), reference.size());
    std::string name;
    for (size_t i = 1; i < end; ++i) {
      const char next = i + 1 < end ? reference[i + 1] : '\0';
      if (reference[i] == '%') return nullptr;
      if (reference[i] == '~' && (next == '0' || next == '1')) {
        name += next == '0' ? '~' : '/';
        ++i;
      } else {
        name += reference[i];
      }
    }
    reference.remove_prefix(end);
    if (at->is(jinja::Type::dict)) {
      at = at->as_dict().find(std::string_view(name));
      if (at == nullptr) return nullptr;
    } else if (at->is_sequence(jinja::SequenceKind::list)) {
      size_t index = 0;
      if (name.empty() || name.size() > 6 || name.find_first_not_of("0123456789") != std::string::npos)
        return nullptr;
      for (const char c : name) index = index * 10 + static_cast<size_t>(c - '0');
      if (index >= at->as_sequence().items.size()) return nullptr;
      at = &at->as_sequence().items[index];
    } else {
      return nullptr;
    }
  }
  return at;
}

}  // namespace forge::rt
