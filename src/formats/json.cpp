#include "formats/json.h"

#include <algorithm>
#include <unordered_set>

#include "core/error.h"
#include "formats/gguf_encoding.h"

namespace forge {

Json parse_json(std::string_view file, std::span<const uint8_t> bytes) {
  constexpr int kMaxDepth = 64;
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) fail("{}: JSON nested deeper than {}", file, kMaxDepth);
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) fail("{}: key {} twice in one object", file, quote(key));
    }
    return true;
  };
  try {
    return Json::parse(bytes.begin(), bytes.end(), check);
  } catch (const Json::parse_error& e) {
    fail("{}: no JSON at offset {}, expected a JSON document", file, e.byte == 0 ? 0 : e.byte - 1);
  } catch (const Json::out_of_range& e) {  // a number such as 1e999
    fail("{}: a number out of range in JSON", file);
  }
}

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

}  // namespace forge
