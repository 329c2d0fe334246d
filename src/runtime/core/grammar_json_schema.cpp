// JSON schema (draft 2020-12, and what older drafts have in common with it) as a grammar of the JSON that is valid.
#include <algorithm>
#include <map>
#include <utility>

#include "runtime/core/grammar.h"
#include "runtime/core/grammar_json_disjoint.h"
#include "runtime/core/grammar_json_numbers.h"
#include "runtime/core/grammar_json_references.h"
#include "runtime/core/grammar_json_schema.h"
#include "runtime/core/grammar_regex.h"
#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

using Expr = GrammarExpressions::Expr;
using Member = GrammarExpressions::Member;
using jinja::Value;

constexpr uint32_t kMaxSchemaDepth = 64;
constexpr uint32_t kMaxSchemaWeight = 100'000;  // values in the schema
constexpr uint32_t kMaxSchemas = 20'000;        // read, those of references and merged ones counted each time
constexpr uint32_t kMaxNesting = 100;           // of schemas within schemas, references aside
constexpr uint64_t kMaxMergeWork = 4'000'000;   // values compared and copied by merging
constexpr uint32_t kMaxMergeDepth = 32;         // of allOf and $ref within each other
constexpr size_t kMaxOtherNames = 120;          // characters of a name that other names are told from

// Kinds of JSON values, one bit each.
enum Kinds : uint32_t {
  kObject = 1,
  kArray = 2,
  kString = 4,
  kInteger = 8,
  kNumber = 16,
  kBoolean = 32,
  kNull = 64
};
constexpr uint32_t kAnyKind = kObject | kArray | kString | kNumber | kBoolean | kNull;

uint32_t kind_named(std::string_view name) {
  constexpr std::string_view kNames[] = {"object", "array", "string", "integer", "number", "boolean", "null"};
  for (uint32_t i = 0; i < 7; ++i) {
    if (kNames[i] == name) return 1u << i;
  }
  return 0;
}

// What a keyword is about, 0 for one that is not known.
uint32_t kinds_of_keyword(std::string_view name) {
  constexpr std::pair<std::string_view, uint32_t> kKeywords[] = {{"properties", kObject},
                                                                 {"required", kObject},
                                                                 {"additionalProperties", kObject},
                                                                 {"items", kArray},
                                                                 {"prefixItems", kArray},
                                                                 {"minItems", kArray},
                                                                 {"maxItems", kArray},
                                                                 {"pattern", kString},
                                                                 {"minLength", kString},
                                                                 {"maxLength", kString},
                                                                 {"format", kString},
                                                                 {"minimum", kInteger | kNumber},
                                                                 {"maximum", kInteger | kNumber},
                                                                 {"exclusiveMinimum", kInteger | kNumber},
                                                                 {"exclusiveMaximum", kInteger | kNumber}};
  for (const auto& [keyword, kinds] : kKeywords) {
    if (keyword == name) return kinds;
  }
  return 0;
}

bool is_annotation(std::string_view name) {
  constexpr std::string_view kNames[] = {"title", "description", "default", "examples", "$schema", "$id",
                                         "$comment", "deprecated", "readOnly", "writeOnly",
                                         // Where references point to; by themselves they say nothing.
                                         "$defs", "definitions"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

std::string escaped_pointer(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

bool is_utf8(std::string_view s) {
  for (size_t at = 0; at < s.size();) {
    const CodePoint c = decode_utf8(s, at);
    if (c.value == 0xFFFD && c.bytes == 1) return false;
    at += c.bytes;
  }
  return true;
}

// Equality of JSON: 1 is 1.0, but not true. Recurses as deep as the schema.
bool same_json(const Value& a, const Value& b) {
  const bool numbers = (a.is(jinja::Type::integer) || a.is(jinja::Type::real)) &&
                       (b.is(jinja::Type::integer) || b.is(jinja::Type::real));
  if (numbers) return jinja::equals(a, b);
  if (a.type() != b.type()) return false;
  if (a.is(jinja::Type::dict)) {
    if (a.as_dict().entries.size() != b.as_dict().entries.size()) return false;
    for (const auto& [key, value] : a.as_dict().entries) {
      const Value* other = b.as_dict().find(key);
      if (other == nullptr || !same_json(value, *other)) return false;
    }
    return true;
  }
  if (a.is_sequence(jinja::SequenceKind::list) && b.is_sequence(jinja::SequenceKind::list)) {
    const auto& left = a.as_sequence().items;
    const auto& right = b.as_sequence().items;
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), same_json);
  }
  return jinja::equals(a, b);
}

// A string as JSON, written as written_characters writes its characters.
void append_json_string(std::string& out, std::string_view s) {
  out += '"';
  for (const char c : s) {
    constexpr std::string_view kCodes = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb", kHex = "0123456789abcdef";
    const auto byte = static_cast<uint8_t>(c);
    if (const size_t i = kCodes.find(c); i != std::string_view::npos) {
      out += '\\';
      out += kNames[i];
    } else if (byte < 0x20) {
      out += text("\\u00", kHex[byte >> 4], kHex[byte & 15]);
    } else {
      out += c;
    }
  }
  out += '"';
}

constexpr std::string_view kDate =
    "(?:(?:[1-9]\\d{3}|0[1-9]\\d{2}|00[1-9]\\d|000[1-9])-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|"
    "(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))|"
    "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)";
constexpr std::string_view kTime =
    "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+\\-](?:[01]\\d|2[0-3]):[0-5]\\d)";
constexpr std::string_view kUuid = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";

struct Names {
  std::string_view yes, no, nothing;
};
constexpr Names kJsonNames = {"true", "false", "null"};
constexpr Names kPythonNames = {"True", "False", "None"};

// Parts of JSON, each made once.
struct JsonParts {
  GrammarExpressions& x;
  Names names;
  Expr space, colon, comma, string_character, whole_string, number;
  uint32_t value_rule = 0, object_rule = 0, array_rule = 0;

  explicit JsonParts(GrammarExpressions& expressions, const Names& given = kJsonNames)
      : x(expressions), names(given) {
    space = x.optional(x.literal(" "));
    colon = x.sequence({x.literal(":"), space});
    comma = x.sequence({x.literal(","), space});
    const auto hex = [&](uint32_t n) {
      return x.repeat(x.characters({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}), n, n);
    };
    const Expr d = x.characters({{'d', 'd'}, {'D', 'D'}});
    const Expr pair = x.sequence({d, x.characters({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), hex(2),
                                  x.literal("\\u"), d, x.characters({{'C', 'F'}, {'c', 'f'}}), hex(2)});
    const Expr unit = x.choice(
        {x.sequence({x.characters({{'0', '9'}, {'A', 'C'}, {'a', 'c'}, {'E', 'F'}, {'e', 'f'}}), hex(3)}),
         x.sequence({d, x.characters({{'0', '7'}}), hex(2)}), pair});
    const Expr escape = x.choice({x.characters({{'"', '"'},
                                                {'\\', '\\'},
                                                {'/', '/'},
                                                {'b', 'b'},
                                                {'f', 'f'},
                                                {'n', 'n'},
                                                {'r', 'r'},
                                                {'t', 't'}}),
                                  x.sequence({x.literal("u"), unit})});
    string_character = x.choice({x.characters(complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}})),
                                 x.sequence({x.literal("\\"), escape})});
    const uint32_t string_rule = x.add_rule("a JSON string");
    x.define(string_rule, x.sequence({x.literal("\""), x.repeat(string_character, 0), x.literal("\"")}));
    whole_string = x.call(string_rule);
    const uint32_t number_rule = x.add_rule("a JSON number");
    x.define(number_rule, *numbers(x, {}, {}));
    number = x.call(number_rule);

    value_rule = x.add_rule("a JSON value");
    object_rule = x.add_rule("a JSON object");
    array_rule = x.add_rule("a JSON array");
    const Expr value = x.call(value_rule);
    const Member member{x.sequence({whole_string, colon, value}), Presence::any_number};
    x.define(object_rule, x.sequence({x.literal("{"), x.list({&member, 1}, comma), x.literal("}")}));
    const Member item{value, Presence::any_number};
    x.define(array_rule, x.sequence({x.literal("["), x.list({&item, 1}, comma), x.literal("]")}));
    x.define(value_rule, x.choice({x.call(object_rule), x.call(array_rule), whole_string, number,
                                   x.literal(names.yes), x.literal(names.no), x.literal(names.nothing)}));
  }
};

struct Keyword {
  std::string name;
  Value value;
  std::string path;
};

// Keywords of schemas that must all hold.
struct Merged {
  std::vector<Keyword> keywords;
  // What each of the schemas says of objects and arrays: additionalProperties and items are about what their own schema
  // does not list.
  struct Part {
    Value properties, additional, items, prefix;
    std::string path;
  };
  std::vector<Part> parts;

  const Keyword* find(std::string_view name) const {
    for (const Keyword& k : keywords) {
      if (k.name == name) return &k;
    }
    return nullptr;
  }
};

struct SchemaReader {
  GrammarExpressions& x;
  JsonParts json;
  const Value* root = nullptr;
  const ArgumentsNotation* outermost = nullptr;  // of the object that is read; null: JSON
  std::string_view end_tag = {};                 // of strings without quotes; empty: they have quotes
  std::map<std::string, uint32_t, std::less<>> references = {};  // rules
  std::map<std::string, uint32_t, std::less<>> strings = {};     // rules of strings with keywords, by these
  std::vector<std::pair<std::string, const Value*>> pending =
      {};  // references whose rules are not defined yet
  std::vector<uint32_t> pending_rules = {};
  uint32_t n_schemas = 0;
  uint32_t nesting = 0;
  uint64_t merge_work = 0;
  std::string error = {};
  bool impossible = false;  // the error is that nothing can match

  explicit SchemaReader(GrammarExpressions& expressions, const Names& names = kJsonNames)
      : x(expressions), json(x, names) {}

  bool fail(std::string_view path, std::string_view what) {
    if (error.empty()) error = text("JSON schema, ", path, ": ", what);
    return false;
  }

  // Nothing can match: an error, but where the keywords are only one way among others.
  bool fail_impossible(std::string_view path, std::string_view what) {
    impossible = error.empty();
    return fail(path, what);
  }

  // --- References

  bool referred(const Value& reference, const std::string& path, const Value*& out) {
    if (!reference.is_string()) return fail(path, "expected a string");
    out = find_reference(*root, reference.as_string());
    if (out == nullptr) {
      return fail(path,
                  text("\"", reference.as_string(),
                       "\" is not found; references into the schema itself (#/$defs/name) can be honoured"));
    }
    return true;
  }

  bool reference(const Value& value, const std::string& path, Expr& out) {
    const Value* target = nullptr;
    if (!referred(value, path, target)) return false;
    const std::string& name = value.as_string();
    const auto found = references.find(name);
    if (found != references.end()) {
      out = x.call(found->second);
      return true;
    }
    const uint32_t rule = x.add_rule(text("JSON schema, ", name));
    references.emplace(name, rule);
    pending.emplace_back(name, target);
    pending_rules.push_back(rule);
    out = x.call(rule);
    return true;
  }

  // --- Merging

  bool merge_types(Keyword& into, const Keyword& k) {
    uint32_t a = 0;
    uint32_t b = 0;
    if (!types(into, a) || !types(k, b)) return false;
    // integer is a part of number.
    uint32_t both = a & b;
    if (((a & kNumber) != 0 && (b & kInteger) != 0) || ((b & kNumber) != 0 && (a & kInteger) != 0))
      both |= kInteger;
    if (both == 0) return fail_impossible(k.path, "no type is left beside the other schemas' types");
    std::vector<Value> names;
    for (const char* name : {"object", "array", "string", "integer", "number", "boolean", "null"}) {
      if ((kind_named(name) & both) != 0) names.push_back(Value::string(name));
    }
    into.value = Value::list(std::move(names));
    return true;
  }

  bool merge(Merged& m, Keyword k) {
    const auto known = std::find_if(m.keywords.begin(), m.keywords.end(),
                                    [&](const Keyword& other) { return other.name == k.name; });
    if (known == m.keywords.end()) {
      m.keywords.push_back(std::move(k));
      return true;
    }
    merge_work += known->value.weight() + k.value.weight();
    if (merge_work > kMaxMergeWork) return fail(k.path, "the schemas that must hold at once are too large");
    if (same_json(known->value, k.value)) return true;
    if (k.name == "type") return merge_types(*known, k);
    if (k.name == "required" && known->value.is_sequence(jinja::SequenceKind::list) &&
        k.value.is_sequence(jinja::SequenceKind::list)) {
      std::vector<Value> names = known->value.as_sequence().items;
      const auto& more = k.value.as_sequence().items;
      names.insert(names.end(), more.begin(), more.end());
      known->value = Value::list(std::move(names));
      return true;
    }
    if (k.name == "properties" && known->value.is(jinja::Type::dict) && k.value.is(jinja::Type::dict)) {
      const jinja::DictBuilder d;
      for (const auto& [name, value] : known->value.as_dict().entries) d->set(name, value);
      for (const auto& [name, value] : k.value.as_dict().entries) {
        const Value* other = d->find(name);
        if (other != nullptr && !same_json(*other, value)) {
          return fail(text(k.path, "/", escaped_pointer(name.as_string())),
                      text("another schema that must hold, too, says otherwise of it (", known->path, ")"));
        }
        d->set(name, value);
      }
      known->value = d.value();
      return true;
    }
    if (k.name == "additionalProperties") {
      // check_parts sees to it that what one schema forbids is not listed by another.
      const bool closed = known->value.is(jinja::Type::boolean) && !known->value.as_bool();
      if (k.value.is(jinja::Type::boolean) && !k.value.as_bool()) known->value = k.value;
      if (closed || (k.value.is(jinja::Type::boolean) && !k.value.as_bool())) return true;
    }
    return fail(k.path, text("can't be merged with ", known->path));
  }

  // Adds all keywords of a schema, of what it refers to and of its allOf.
  bool collect(const Value& schema, const std::string& path, Merged& m, uint32_t depth) {
    if (++n_schemas > kMaxSchemas) return fail(path, text("more than ", kMaxSchemas, " schemas"));
    if (depth > kMaxMergeDepth)
      return fail(path, text("allOf and $ref are nested more than ", kMaxMergeDepth, " levels deep"));
    if (schema.is(jinja::Type::boolean))
      return schema.as_bool() || fail_impossible(path, "false allows nothing");
    if (!schema.is(jinja::Type::dict)) return fail(path, "expected a schema: an object, true or false");
    Merged::Part part;
    part.path = path;
    for (const auto& [key, value] : schema.as_dict().entries) {
      const std::string& name = key.as_string();
      if (is_annotation(name) || name == "allOf" || name == "$ref") continue;
      if (name == "properties") part.properties = value;
      if (name == "additionalProperties") part.additional = value;
      if (name == "items") part.items = value;
      if (name == "prefixItems") part.prefix = value;
      if (!merge(m, {name, value, text(path, "/", escaped_pointer(name))})) return false;
    }
    m.parts.push_back(std::move(part));
    if (const Value* ref = schema.as_dict().find("$ref"); ref != nullptr) {
      const Value* target = nullptr;
      if (!referred(*ref, text(path, "/$ref"), target)) return false;
      if (!collect(*target, ref->as_string(), m, depth + 1)) return false;
    }
    if (const Value* all = schema.as_dict().find("allOf"); all != nullptr) {
      if (!all->is_sequence(jinja::SequenceKind::list))
        return fail(text(path, "/allOf"), "expected a list of schemas");
      const auto& items = all->as_sequence().items;
      for (size_t i = 0; i < items.size(); ++i) {
        if (!collect(items[i], text(path, "/allOf/", i), m, depth + 1)) return false;
      }
    }
    return true;
  }

  bool check_parts(const Merged& m) {
    const Keyword* properties = m.find("properties");
    const Keyword* prefix = m.find("prefixItems");
    for (const Merged::Part& part : m.parts) {
      const bool restricts = !part.additional.is_undefined() &&
                             !(part.additional.is(jinja::Type::boolean) && part.additional.as_bool());
      if (restricts && properties != nullptr && properties->value.is(jinja::Type::dict)) {
        for (const auto& [name, value] : properties->value.as_dict().entries) {
          if (!part.properties.is(jinja::Type::dict) || part.properties.as_dict().find(name) == nullptr) {
            return fail(text(part.path, "/additionalProperties"),
                        text("can't be honoured beside \"", name.as_string(),
                             "\" of another schema that must hold, too"));
          }
        }
      }
      if (!part.items.is_undefined() && prefix != nullptr && part.prefix.is_undefined()) {
        return fail(text(part.path, "/items"), text("can't be merged with ", prefix->path));
      }
    }
    return true;
  }

  // --- Expressions

  bool schema(const Value& value, const std::string& path, Expr& out) {
    const bool ok = any_schema(value, path, out);
    impossible = false;  // what holds of a part is no reason to leave out the whole
    return ok;
  }

  bool any_schema(const Value& value, const std::string& path, Expr& out) {
    if (!x.failure.empty()) return fail(path, x.failure);
    if (++n_schemas > kMaxSchemas) return fail(path, text("more than ", kMaxSchemas, " schemas"));
    if (nesting >= kMaxNesting)
      return fail(path, text("schemas are nested more than ", kMaxNesting, " levels deep"));
    if (value.is(jinja::Type::dict)) {
      // A reference, alone or as the one part of allOf, is a rule: it may recurse.
      const Value* only = nullptr;
      size_t n = 0;
      std::string name;
      for (const auto& [key, v] : value.as_dict().entries) {
        if (is_annotation(key.as_string())) continue;
        only = &v;
        name = key.as_string();
        ++n;
      }
      if (n == 1 && name == "$ref") return reference(*only, text(path, "/$ref"), out);
      if (n == 1 && name == "allOf" && only->is_sequence(jinja::SequenceKind::list) &&
          only->as_sequence().items.size() == 1) {
        ++nesting;
        const bool ok = schema(only->as_sequence().items[0], text(path, "/allOf/0"), out);
        --nesting;
        return ok;
      }
    }
    Merged m;
    if (!collect(value, path, m, 0)) return false;
    ++nesting;
    const bool ok = expression(std::move(m), path, out);
    --nesting;
    return ok;
  }

  bool types(const Keyword& k, uint32_t& out) {
    out = 0;
    if (k.value.is_string()) out = kind_named(k.value.as_string());
    if (k.value.is_sequence(jinja::SequenceKind::list)) {
      for (const Value& v : k.value.as_sequence().items) {
        const uint32_t kind = v.is_string() ? kind_named(v.as_string()) : 0;
        if (kind == 0) return fail(k.path, "expected names of JSON's types");
        out |= kind;
      }
    }
    return out != 0 || fail(k.path, "expected one of JSON's types or a list of them");
  }

  bool expression(Merged m, const std::string& path, Expr& out) {
    for (const char* name : {"anyOf", "oneOf"}) {
      const auto k = std::find_if(m.keywords.begin(), m.keywords.end(),
                                  [&](const Keyword& other) { return other.name == name; });
      if (k != m.keywords.end()) {
        // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): what k refers to is about to go
        const Keyword alternatives = *k;
        m.keywords.erase(k);
        return any_of(m, alternatives, out);
      }
    }
    if (!check_parts(m)) return false;
    uint32_t kinds = 0;
    const Keyword* type = m.find("type");
    if (type != nullptr && !types(*type, kinds)) return false;
    if (m.find("enum") != nullptr || m.find("const") != nullptr)
      return values(m, type == nullptr ? kAnyKind : kinds, out);
    for (const Keyword& k : m.keywords) {
      if (k.name == "type") continue;
      const uint32_t about = kinds_of_keyword(k.name);
      if (about == 0) return fail(k.path, "this keyword can't be honoured");
      if (type == nullptr) {
        kinds |= about == (kInteger | kNumber) ? kNumber : about;
      } else if ((about & kinds) == 0) {
        return fail(k.path, text("says nothing about the types that ", type->path, " allows"));
      }
    }
    if (kinds == 0) {
      out = x.call(json.value_rule);
      return true;
    }
    std::vector<Expr> parts;
    Expr e = 0;
    if ((kinds & kObject) != 0) {
      if (!object(m, path, e)) return false;
      parts.push_back(e);
    }
    if ((kinds & kArray) != 0) {
      if (!array(m, path, e)) return false;
      parts.push_back(e);
    }
    if ((kinds & kString) != 0) {
      if (!string(m, e)) return false;
      parts.push_back(e);
    }
    if ((kinds & (kInteger | kNumber)) != 0) {
      if (!number(m, (kinds & kNumber) == 0, e)) return false;
      parts.push_back(e);
    }
    if ((kinds & kBoolean) != 0)
      parts.push_back(x.choice({x.literal(json.names.yes), x.literal(json.names.no)}));
    if ((kinds & kNull) != 0) parts.push_back(x.literal(json.names.nothing));
    out = x.choice(parts);
    return true;
  }

  bool any_of(const Merged& base, const Keyword& alternatives, Expr& out) {
    if (!alternatives.value.is_sequence(jinja::SequenceKind::list) ||
        alternatives.value.as_sequence().items.empty()) {
      return fail(alternatives.path, "expected a list of schemas");
    }
    const auto& items = alternatives.value.as_sequence().items;
    constexpr size_t kMaxOneOf = 64;  // each is compared with each
    if (alternatives.name == "oneOf" && items.size() > kMaxOneOf)
      return fail(alternatives.path, text("has more than ", kMaxOneOf, " schemas; anyOf takes them"));
    for (size_t i = 0; alternatives.name == "oneOf" && i < items.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        if (!disjoint_schemas(*root, items[j], items[i]))
          return fail(
              alternatives.path,
              text("schemas ", j, " and ", i,
                   " may both be valid, as far as types, const, enum and those of required properties "
                   "show; anyOf takes them"));
    std::vector<Expr> parts(items.size());
    size_t n_impossible = 0;
    std::string first_impossible;
    for (size_t i = 0; i < items.size(); ++i) {
      const std::string path = text(alternatives.path, "/", i);
      if (!x.failure.empty()) return fail(path, x.failure);
      if (base.keywords.empty()) {
        if (!schema(items[i], path, parts[i])) return false;
        continue;
      }
      if (nesting >= kMaxNesting)
        return fail(path, text("schemas are nested more than ", kMaxNesting, " levels deep"));
      Merged m = base;
      ++nesting;
      const bool ok = collect(items[i], path, m, 0) && expression(std::move(m), path, parts[i]);
      --nesting;
      if (ok) continue;
      if (!impossible) return false;
      // An alternative that the keywords beside it rule out.
      first_impossible = first_impossible.empty() ? error : first_impossible;
      error.clear();
      impossible = false;
      parts[i] = x.characters({});
      ++n_impossible;
    }
    if (n_impossible == items.size()) {
      error = first_impossible;
      impossible = true;
      return false;
    }
    out = x.choice(parts);
    return true;
  }

  // --- enum, const

  static uint32_t kind_of(const Value& v) {
    switch (v.type()) {
      case jinja::Type::none: return kNull;
      case jinja::Type::boolean: return kBoolean;
      case jinja::Type::integer: return kInteger | kNumber;
      case jinja::Type::real: {
        const double d = v.as_real();
        const bool whole = d >= -9e15 && d <= 9e15 && d == static_cast<double>(static_cast<int64_t>(d));
        return whole ? kInteger | kNumber : static_cast<uint32_t>(kNumber);
      }
      case jinja::Type::string: return kString;
      case jinja::Type::dict: return kObject;
      default: return kArray;
    }
  }

  bool values(const Merged& m, uint32_t kinds, Expr& out) {
    const Keyword* list = m.find("enum");
    const Keyword* constant = m.find("const");
    for (const Keyword& k : m.keywords) {
      if (&k == list || &k == constant || k.name == "type") continue;
      if (kinds_of_keyword(k.name) == 0) return fail(k.path, "this keyword can't be honoured");
      return fail(k.path, "can't be honoured beside enum or const");
    }
    if (list != nullptr && !list->value.is_sequence(jinja::SequenceKind::list))
      return fail(list->path, "expected a list of values");
    std::vector<Expr> parts;
    const auto add = [&](const Value& v, const std::string& path) {
      if ((kind_of(v) & kinds) == 0) return true;
      Expr e = 0;
      if (!literal(v, path, e)) return false;
      parts.push_back(e);
      return true;
    };
    if (constant != nullptr) {
      bool listed = list == nullptr;
      for (size_t i = 0; !listed && i < list->value.as_sequence().items.size(); ++i) {
        const Value& v = list->value.as_sequence().items[i];
        listed = same_json(v, constant->value);
      }
      if (listed && !add(constant->value, constant->path)) return false;
    } else {
      for (const Value& v : list->value.as_sequence().items) {
        if (!add(v, list->path)) return false;
      }
    }
    if (parts.empty())
      return fail_impossible((list != nullptr ? list : constant)->path,
                             "no value is left that the other keywords allow");
    out = x.choice(parts);
    return true;
  }

  // A value as JSON. Recurses as deep as the schema.
  bool literal(const Value& v, const std::string& path, Expr& out) {
    if (!x.failure.empty()) return fail(path, x.failure);
    std::string s;
    switch (v.type()) {
      case jinja::Type::none: s = json.names.nothing; break;
      case jinja::Type::boolean: s = v.as_bool() ? json.names.yes : json.names.no; break;
      case jinja::Type::integer: s = std::to_string(v.as_int()); break;
      case jinja::Type::real: jinja::append_real(s, v.as_real()); break;
      case jinja::Type::string:
        if (!is_utf8(v.as_string())) return fail(path, "a string that is not UTF-8");
        if (end_tag.empty()) {
          append_json_string(s, v.as_string());
        } else if (v.as_string().find(end_tag) != std::string::npos) {
          return fail(path, text("a text with ", end_tag, " can't be written in this model's calls"));
        } else {
          s = v.as_string();
        }
        break;
      case jinja::Type::dict: {
        std::vector<Expr> parts;
        for (const auto& [key, value] : v.as_dict().entries) {
          Expr k = 0;
          Expr e = 0;
          if (!literal(key, path, k) || !literal(value, path, e)) return false;
          if (!parts.empty()) parts.push_back(json.comma);
          parts.insert(parts.end(), {k, json.colon, e});
        }
        out = x.sequence({x.literal("{"), x.sequence(parts), x.literal("}")});
        return true;
      }
      case jinja::Type::sequence: {
        std::vector<Expr> parts;
        for (const Value& item : v.as_sequence().items) {
          Expr e = 0;
          if (!literal(item, path, e)) return false;
          if (!parts.empty()) parts.push_back(json.comma);
          parts.push_back(e);
        }
        out = x.sequence({x.literal("["), x.sequence(parts), x.literal("]")});
        return true;
      }
      default: return fail(path, "expected a JSON value");
    }
    out = x.literal(s);
    return true;
  }

  // --- Objects

  // Strings that are none of names[first, last), which are alike up to the character `at`; without their quotes.
  Expr other_names(const std::vector<std::u32string>& names, size_t first, size_t last, size_t at) {
    const Expr any = x.repeat(written_characters(x, complement({}), CharacterForm::json_string), 0);
    bool ends_here = false;
    std::vector<Expr> parts;
    std::vector<CodePointRange> taken;
    while (first < last) {
      if (names[first].size() == at) {
        ends_here = true;
        ++first;
        continue;
      }
      const uint32_t c = names[first][at];
      size_t group = first;
      while (group < last && names[group][at] == c) ++group;
      taken.push_back({c, c});
      parts.push_back(x.sequence({written_characters(x, {{c, c}}, CharacterForm::json_string),
                                  other_names(names, first, group, at + 1)}));
      first = group;
    }
    parts.push_back(
        x.sequence({written_characters(x, complement(std::move(taken)), CharacterForm::json_string), any}));
    if (!ends_here) parts.push_back(x.empty());
    return x.choice(parts);
  }

  bool other_name(const std::vector<std::string>& names, const std::string& path, Expr& out) {
    if (names.empty()) {
      out = json.whole_string;
      return true;
    }
    std::vector<std::u32string> sorted;
    for (const std::string& name : names) {
      std::u32string& characters = sorted.emplace_back();
      for (size_t at = 0; at < name.size();) {
        const CodePoint c = decode_utf8(name, at);
        characters += static_cast<char32_t>(c.value);
        at += c.bytes;
      }
      if (characters.size() > kMaxOtherNames) {
        return fail(path, text("other properties can't be told from one whose name has more than ",
                               kMaxOtherNames, " characters"));
      }
    }
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    const uint32_t rule = x.add_rule(text("JSON schema, ", path));
    x.define(rule, x.sequence({x.literal("\""), other_names(sorted, 0, sorted.size(), 0), x.literal("\"")}));
    out = x.call(rule);
    return true;
  }

  bool property(const std::string& name, const std::string& path, Expr value, Expr& out) {
    if (!is_utf8(name)) return fail(path, "a name that is not UTF-8");
    if (outermost != nullptr && outermost->style != ArgumentsNotation::Style::json) {
      const bool python = outermost->style == ArgumentsNotation::Style::python;
      if (!is_plain_name(name, python))
        return fail(path, "an argument of that name can't be written in this model's calls");
      out = argument(x.literal(name), value);
      return true;
    }
    std::string key;
    append_json_string(key, name);
    out = x.sequence({x.literal(key), json.colon, value});
    return true;
  }

  // Letters, digits and underscores, no digit first; between tags also digits first, dots and hyphens.
  static bool is_plain_name(std::string_view name, bool python) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto is_letter = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    return !name.empty() && !(python && is_digit(name[0])) &&
           std::all_of(name.begin(), name.end(), [&](char c) {
             return is_letter(c) || is_digit(c) || (!python && (c == '.' || c == '-'));
           });
  }

  Expr argument(Expr name, Expr value) {
    if (outermost->style == ArgumentsNotation::Style::python)
      return x.sequence({name, x.literal("="), value});
    return x.sequence({outermost->before_name, name, outermost->behind_name, value, outermost->behind_value});
  }

  // Arguments that the schema does not name.
  Expr other_argument(Expr value) {
    std::vector<CodePointRange> first = {{'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    std::vector<CodePointRange> more = first;
    more.push_back({'0', '9'});
    if (outermost->style == ArgumentsNotation::Style::tags) first = more;
    return argument(x.sequence({x.characters(first), x.repeat(x.characters(more), 0)}), value);
  }

  bool object(const Merged& m, const std::string& path, Expr& out) {
    const ArgumentsNotation* notation = std::exchange(outermost, nullptr);  // objects in it are JSON
    const bool ok = object_as(m, path, notation, out);
    outermost = notation;
    return ok;
  }

  // A value of the property `name`, and the property.
  bool member(const Value& value, const std::string& name, const std::string& path,
              const ArgumentsNotation* notation, Expr& out) {
    if (notation != nullptr && notation->style == ArgumentsNotation::Style::tags && is_text_parameter(value))
      end_tag = notation->end_tag;
    const bool ok = schema(value, path, out);
    end_tag = {};
    if (!ok) return false;
    outermost = notation;
    const bool named = property(name, path, out, out);
    outermost = nullptr;
    return named;
  }

  bool object_as(const Merged& m, const std::string& path, const ArgumentsNotation* notation, Expr& out) {
    const bool is_json = notation == nullptr || notation->style == ArgumentsNotation::Style::json;
    const Keyword* properties = m.find("properties");
    const Keyword* required = m.find("required");
    const Keyword* additional = m.find("additionalProperties");
    if (properties != nullptr && !properties->value.is(jinja::Type::dict))
      return fail(properties->path, "expected an object");
    if (required != nullptr && !required->value.is_sequence(jinja::SequenceKind::list))
      return fail(required->path, "expected a list of names");
    const bool closed = additional == nullptr
                            ? properties != nullptr
                            : additional->value.is(jinja::Type::boolean) && !additional->value.as_bool();
    Expr other = x.call(json.value_rule);
    if (!closed && additional != nullptr && !schema(additional->value, additional->path, other)) return false;

    std::map<std::string, bool, std::less<>> needed;  // whether `properties` has it
    if (required != nullptr) {
      for (const Value& name : required->value.as_sequence().items) {
        if (!name.is_string()) return fail(required->path, "expected a list of names");
        needed.emplace(name.as_string(), false);
      }
    }
    std::vector<Member> members;
    std::vector<std::string> names;
    if (properties != nullptr) {
      for (const auto& [key, value] : properties->value.as_dict().entries) {
        const std::string& name = key.as_string();
        const std::string at = text(properties->path, "/", escaped_pointer(name));
        const auto need = needed.find(name);
        if (need != needed.end()) need->second = true;
        names.push_back(name);
        // A property that is never valid is one that is never there.
        if (need == needed.end() && value.is(jinja::Type::boolean) && !value.as_bool()) continue;
        Expr e = 0;
        if (!member(value, name, at, notation, e)) return false;
        members.push_back({e, need != needed.end() ? Presence::required : Presence::optional});
      }
    }
    for (const auto& [name, listed] : needed) {
      if (listed) continue;
      if (closed)
        return fail(required->path,
                    text("\"", name, "\" is not in properties, and additionalProperties does not allow it"));
      static const Value kAnything = Value::boolean(true);
      Expr e = 0;
      if (!member(additional != nullptr ? additional->value : kAnything, name, required->path, notation, e))
        return false;
      names.push_back(name);
      members.push_back({e, Presence::required});
    }
    if (!closed && !is_json) {
      // Beside others they could not be told from those.
      if (names.empty()) {
        if (additional == nullptr && notation->style == ArgumentsNotation::Style::tags) {
          end_tag = notation->end_tag;
          other = any_text();
          end_tag = {};
        }
        outermost = notation;
        members.push_back({other_argument(other), Presence::any_number});
        outermost = nullptr;
      }
    } else if (!closed) {
      if (members.empty() && names.empty() && additional == nullptr) {
        out = x.call(json.object_rule);
        return true;
      }
      Expr name = 0;
      if (!other_name(names, path, name)) return false;
      members.push_back({x.sequence({name, json.colon, other}), Presence::any_number});
    }
    const uint32_t rule = x.add_rule(text("JSON schema, ", path));
    if (is_json) {
      x.define(rule, x.sequence({x.literal("{"), x.list(members, json.comma), x.literal("}")}));
    } else {
      const bool python = notation->style == ArgumentsNotation::Style::python;
      x.define(rule, x.list(members, x.literal(python ? ", " : "")));
    }
    out = x.call(rule);
    return true;
  }

  // --- Arrays

  // A whole number of at least 0, or `out` as it is without the keyword.
  bool count(const Merged& m, std::string_view name, uint32_t& out) {
    const Keyword* k = m.find(name);
    if (k == nullptr) return true;
    if ((kind_of(k->value) & kInteger) == 0 || k->value.as_real() < 0)
      return fail(k->path, "expected a whole number of at least 0");
    if (k->value.as_real() > kMaxRepetition)
      return fail(k->path, text("more than ", kMaxRepetition, " can't be honoured"));
    out = static_cast<uint32_t>(k->value.as_real());
    return true;
  }

  bool array(const Merged& m, const std::string& path, Expr& out) {
    uint32_t min = 0;
    uint32_t max = GrammarExpressions::kUnbounded;
    if (!count(m, "minItems", min) || !count(m, "maxItems", max)) return false;
    const Keyword* items = m.find("items");
    const Keyword* prefix = m.find("prefixItems");
    if (prefix != nullptr && !prefix->value.is_sequence(jinja::SequenceKind::list))
      return fail(prefix->path, "expected a list of schemas");
    if (items != nullptr && items->value.is_sequence(jinja::SequenceKind::list)) {
      return fail(items->path, "a list can't be honoured; write prefixItems");
    }
    std::vector<Expr> first;
    if (prefix != nullptr) {
      const auto& list = prefix->value.as_sequence().items;
      for (size_t i = 0; i < list.size() && i < max; ++i) {
        if (!schema(list[i], text(prefix->path, "/", i), first.emplace_back())) return false;
      }
    }
    const bool no_more = items == nullptr ? prefix != nullptr && min <= first.size()
                                          : items->value.is(jinja::Type::boolean) && !items->value.as_bool();
    const auto n = static_cast<uint32_t>(first.size());
    if (no_more) max = std::min(max, n);
    if (max < min)
      return fail_impossible(path,
                             text("an array can't have at least ", min, " and at most ", max, " items"));
    Expr all = x.empty();
    if (max > n) {
      Expr item = x.call(json.value_rule);
      if (items != nullptr && !schema(items->value, items->path, item)) return false;
      const uint32_t rule = x.add_rule(text("JSON schema, ", path, "/items"));
      x.define(rule, item);
      item = x.call(rule);
      const Expr next = x.sequence({json.comma, item});
      const auto below = [](uint32_t bound, uint32_t by) {
        return bound == GrammarExpressions::kUnbounded ? bound : bound > by ? bound - by : 0;
      };
      if (n == 0) {
        all = x.sequence({item, x.repeat(next, below(min, 1), below(max, 1))});
        if (min == 0) all = x.optional(all);
      } else {
        all = x.repeat(next, below(min, n), below(max, n));
      }
    }
    for (uint32_t i = n; i-- > 0;) {
      all = i > 0 ? x.sequence({json.comma, first[i], all}) : x.sequence({first[i], all});
      if (i >= min) all = x.optional(all);
    }
    const uint32_t rule = x.add_rule(text("JSON schema, ", path));
    x.define(rule, x.sequence({x.literal("["), all, x.literal("]")}));
    out = x.call(rule);
    return true;
  }

  // --- Strings and numbers

  // Equal strings are one rule, so that its masks are found once.
  Expr quoted_rule(const std::string& key, Expr inside) {
    const uint32_t rule = x.add_rule(key);
    strings.emplace(key, rule);
    const Expr quote = x.literal(end_tag.empty() ? "\"" : "");
    x.define(rule, x.sequence({quote, inside, quote}));
    return x.call(rule);
  }

  // Text up to the end tag, made once.
  Expr any_text() {
    const std::string key = "any text";
    if (const auto known = strings.find(key); known != strings.end()) return x.call(known->second);
    return quoted_rule(key, text_without(x, end_tag));
  }

  // What counts characters of a text, or matches them, leaves out '<', so that no end tag is in it.
  bool can_leave_out_tags(const Keyword& k) {
    return end_tag.empty() || end_tag[0] == '<' || fail(k.path, "can't be honoured in this model's calls");
  }

  bool string(const Merged& m, Expr& out) {
    const Keyword* pattern = m.find("pattern");
    const Keyword* format = m.find("format");
    const Keyword* min_length = m.find("minLength");
    const Keyword* max_length = m.find("maxLength");
    uint32_t min = 0;
    uint32_t max = GrammarExpressions::kUnbounded;
    if (!count(m, "minLength", min) || !count(m, "maxLength", max)) return false;
    const std::string_view kind = end_tag.empty() ? "a string" : "a text";
    const Keyword* by_regex = pattern != nullptr ? pattern : format;
    if (by_regex == nullptr) {
      if (min_length == nullptr && max_length == nullptr) {
        out = end_tag.empty() ? json.whole_string : any_text();
        return true;
      }
      if (!can_leave_out_tags(*(min_length != nullptr ? min_length : max_length))) return false;
      if (max < min) return fail_impossible(max_length->path, "is below minLength");
      const std::string key = text(kind, " of ", min, " to ", max, " characters");
      if (const auto known = strings.find(key); known != strings.end()) {
        out = x.call(known->second);
      } else {
        const Expr character = end_tag.empty()
                                   ? json.string_character
                                   : written_characters(x, complement({}), CharacterForm::untagged);
        out = quoted_rule(key, x.repeat(character, min, max));
      }
      return true;
    }
    if (!can_leave_out_tags(*by_regex)) return false;
    for (const Keyword* other : {format, min_length, max_length}) {
      if (other != nullptr && other != by_regex)
        return fail(other->path, text("can't be honoured beside ", by_regex->name));
    }
    if (!by_regex->value.is_string()) return fail(by_regex->path, "expected a string");
    const std::string& given = by_regex->value.as_string();
    std::string regex = given;
    if (format != nullptr) {
      if (given == "date") {
        regex = kDate;
      } else if (given == "time") {
        regex = kTime;
      } else if (given == "date-time") {
        regex = text(kDate, "T", kTime);
      } else if (given == "uuid") {
        regex = kUuid;
      } else {
        return fail(format->path,
                    text("the format \"", given, "\" can't be honoured; date, time, date-time and uuid can"));
      }
    }
    const std::string key = text(kind, " of the ", by_regex->name, " ", given);
    if (const auto known = strings.find(key); known != strings.end()) {
      out = x.call(known->second);
      return true;
    }
    const auto e = add_regex(x, regex, end_tag.empty() ? CharacterForm::json_string : CharacterForm::untagged,
                             format != nullptr ? RegexScope::whole : RegexScope::inside);
    if (!e) return fail(by_regex->path, e.error().message);
    out = quoted_rule(key, *e);
    return true;
  }

  bool bound(const Merged& m, std::string_view inclusive, std::string_view exclusive,
             std::optional<NumberBound>& out) {
    const Keyword* a = m.find(inclusive);
    const Keyword* b = m.find(exclusive);
    if (a != nullptr && b != nullptr) return fail(b->path, text("can't be honoured beside ", inclusive));
    if (a == nullptr) a = b;
    if (a == nullptr) return true;
    const auto given = number_bound(a->value, a == b);
    if (!given) return fail(a->path, given.error().message);
    out = *given;
    return true;
  }

  bool number(const Merged& m, bool whole, Expr& out) {
    std::optional<NumberBound> low;
    std::optional<NumberBound> high;
    if (!bound(m, "minimum", "exclusiveMinimum", low) || !bound(m, "maximum", "exclusiveMaximum", high))
      return false;
    if (whole) {
      out = integers(x, low, high);
      return true;
    }
    if (!low && !high) {
      out = json.number;
      return true;
    }
    const auto e = numbers(x, low, high);
    if (!e) {
      const auto* k = m.find("exclusiveMinimum");
      if (k == nullptr) k = m.find("exclusiveMaximum");
      return fail(k->path, e.error().message);
    }
    out = *e;
    return true;
  }

  // What a schema allows; with a notation, the arguments that it allows.
  bool read(const Value& given, const ArgumentsNotation* notation, Expr& out) {
    root = &given;
    references.clear();
    pending.clear();
    pending_rules.clear();
    if (root->depth() > kMaxSchemaDepth)
      return fail("#", text("nested more than ", kMaxSchemaDepth, " levels deep"));
    if (root->weight() > kMaxSchemaWeight) return fail("#", text("more than ", kMaxSchemaWeight, " values"));
    if (notation == nullptr) {
      if (!schema(*root, "#", out)) return false;
    } else {
      Merged m;
      outermost = notation;
      if (!collect(*root, "#", m, 0) || !merge(m, {"type", Value::string("object"), "#/type"}) ||
          !expression(std::move(m), "#", out))
        return false;
      outermost = nullptr;
      impossible = false;
    }
    // Rules of references may refer on.
    for (size_t i = 0; i < pending.size(); ++i) {
      const auto [name, target] = pending[i];
      Expr e = 0;
      if (!schema(*target, name, e)) return false;
      x.define(pending_rules[i], e);
    }
    return true;
  }
};

}  // namespace

Result<Grammar> json_object_grammar() {
  GrammarExpressions x;
  const uint32_t rule = x.add_rule("any JSON object");
  const JsonParts json(x);
  x.define(rule, x.call(json.object_rule));
  return x.compile();
}

Result<Grammar> json_schema_grammar(const jinja::Value& schema) {
  GrammarExpressions x;
  const uint32_t rule = x.add_rule("the schema");
  SchemaReader reader(x);
  Expr e = 0;
  if (!reader.read(schema, nullptr, e)) return Error{reader.error};
  x.define(rule, e);
  const auto grammar = x.compile();
  if (!grammar) return Error{text("JSON schema: ", grammar.error().message)};
  return *grammar;
}

Result<std::vector<Expr>> add_arguments(GrammarExpressions& x, std::span<const FunctionSchema> functions,
                                        const ArgumentsNotation& notation) {
  const bool python = notation.style == ArgumentsNotation::Style::python;
  SchemaReader reader(x, python ? kPythonNames : kJsonNames);
  std::vector<Expr> out;
  for (const FunctionSchema& f : functions) {
    if (!reader.read(f.schema, &notation, out.emplace_back()))
      return Error{text("the function '", f.name, "': ", reader.error)};
  }
  return out;
}

Expr text_without(GrammarExpressions& x, std::string_view part) {
  std::u32string characters;
  for (size_t at = 0; at < part.size();) {
    const CodePoint c = decode_utf8(part, at);
    characters += static_cast<char32_t>(c.value);
    at += c.bytes;
  }
  // Knuth, Morris and Pratt's automaton: a rule for each beginning of `part` that the text so far may end with. Rules
  // that are called at the end of rules take no stack.
  const size_t n = characters.size();
  std::vector<size_t> border(n + 1);
  for (size_t i = 1, k = 0; i < n; ++i) {
    while (k > 0 && characters[i] != characters[k]) k = border[k];
    if (characters[i] == characters[k]) ++k;
    border[i + 1] = k;
  }
  std::vector<uint32_t> rules;
  rules.reserve(n);
  for (size_t i = 0; i < n; ++i) rules.push_back(x.add_rule("a text between tags"));
  for (size_t i = 0; i < n; ++i) {
    std::vector<Expr> ways = {x.empty()};
    std::vector<CodePointRange> taken;
    for (size_t k = i;; k = border[k]) {
      const uint32_t c = characters[k];
      const auto same = [&](const CodePointRange& r) { return r.low == c; };
      if (std::none_of(taken.begin(), taken.end(), same)) {
        taken.push_back({c, c});
        if (k + 1 < n) ways.push_back(x.sequence({x.characters({{c, c}}), x.call(rules[k + 1])}));
      }
      if (k == 0) break;
    }
    ways.push_back(x.sequence({x.characters(complement(std::move(taken))), x.call(rules[0])}));
    x.define(rules[i], x.choice(ways));
  }
  return x.call(rules[0]);
}

bool is_text_parameter(const jinja::Value& schema) {
  const Value* type = schema.is(jinja::Type::dict) ? schema.as_dict().find("type") : nullptr;
  return type != nullptr && type->is_string() && type->as_string() == "string";
}

}  // namespace forge::rt
