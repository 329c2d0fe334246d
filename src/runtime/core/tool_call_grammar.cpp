#include "runtime/core/tool_call_grammar.h"

#include <algorithm>

#include "runtime/core/grammar_json_schema.h"
#include "runtime/core/jinja_json.h"

namespace forge::rt {

namespace {

using Expr = GrammarExpressions::Expr;
using jinja::Value;

struct Writer {
  GrammarExpressions& x;
  const CallFormat& f;
  std::span<const MarkerToken> tokens;
  uint32_t id_length;

  Expr marker(std::string_view s) const { return x.literal(marker_bytes(s, tokens)); }

  Expr json_string(std::string_view s) const {
    std::string json;
    jinja::append_json_string(json, s);
    return x.literal(json);
  }

  Expr id() const {
    std::vector<CodePointRange> letters = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
    if (id_length == 0) letters.insert(letters.end(), {{'_', '_'}, {'-', '-'}});
    return x.repeat(x.characters(letters), id_length == 0 ? 1 : id_length, id_length == 0 ? 64 : id_length);
  }

  ArgumentsNotation notation() const {
    ArgumentsNotation out;
    if (f.style == CallStyle::python) out.style = ArgumentsNotation::Style::python;
    if (f.style == CallStyle::xml) {
      const std::vector<std::string> end = marker_parts(f.parameter_end);
      out = {.style = ArgumentsNotation::Style::tags,
             .before_name = marker(f.parameter_begin),
             .behind_name = marker(f.parameter_middle),
             .behind_value = marker(f.parameter_end),
             .end_tag = end.empty() ? std::string() : end[0]};
    }
    return out;
  }

  Expr call(const std::string& name, Expr arguments) const {
    switch (f.style) {
      case CallStyle::none: return x.empty();
      case CallStyle::json: {
        std::vector<Expr> parts = {x.literal("{")};
        for (size_t i = 0; i < f.key_order.size(); ++i) {
          const std::string& key = f.key_order[i];
          parts.insert(parts.end(), {x.literal(i > 0 ? ", " : ""), json_string(key), x.literal(": ")});
          parts.push_back(key == f.name_key        ? json_string(name)
                          : key == f.arguments_key ? arguments
                                                   : x.sequence({x.literal("\""), id(), x.literal("\"")}));
        }
        parts.push_back(x.literal("}"));
        return x.sequence(parts);
      }
      case CallStyle::any:
        return x.sequence({x.literal("{\"name\": "), json_string(name), x.literal(", \"arguments\": "),
                           arguments, x.literal("}")});
      case CallStyle::named_json: {
        const Expr ids = f.id_end.empty() ? x.empty() : x.sequence({id(), marker(f.id_end)});
        return x.sequence({x.literal(name), marker(f.name_end), ids, arguments});
      }
      case CallStyle::xml: return x.sequence({x.literal(name), marker(f.name_end), arguments});
      case CallStyle::python: return x.sequence({x.literal(name), x.literal("("), arguments, x.literal(")")});
    }
  }
};

const Value* member(const Value* v, std::string_view key) {
  return v != nullptr && v->is(jinja::Type::dict) ? v->as_dict().find(key) : nullptr;
}

}  // namespace

Result<Grammar> tool_call_grammar(const AnswerFormat& format, const Value& tools,
                                  const ToolCallGrammarOptions& options) {
  const CallFormat& f = format.calls;
  if (f.style == CallStyle::none) return Error{"tool_choice: the chat template has no tool calls"};
  if (!tools.is_sequence(jinja::SequenceKind::list)) return Error{"tools: expected a list"};
  static const Value kAnyObject = jinja::DictBuilder().value();
  std::vector<FunctionSchema> functions;
  for (const Value& tool : tools.as_sequence().items) {
    const Value* function = member(&tool, "function");
    const Value* name = member(function, "name");
    if (name == nullptr || !name->is_string() || name->as_string().empty()) {
      return Error{"tools: expected {\"function\": {\"name\": …}}"};
    }
    if (!options.name.empty() && name->as_string() != options.name) continue;
    const Value* schema = member(function, "parameters");
    const auto* strict = options.strict;
    const bool is_any =
        schema == nullptr || schema->is_none() ||
        (strict != nullptr && std::find(strict->begin(), strict->end(), name->as_string()) == strict->end());
    functions.push_back({name->as_string(), is_any ? kAnyObject : *schema});
  }
  if (functions.empty()) return Error{text("tool_choice: no tool is called '", options.name, "'")};

  GrammarExpressions x;
  const uint32_t root = x.add_rule("a tool call");
  const Writer w{x, f, options.tokens, format.call_id_length};
  const ArgumentsNotation notation = w.notation();
  if (notation.style == ArgumentsNotation::Style::tags && notation.end_tag.empty())
    return Error{"tool_choice: arguments have no end in this model's calls"};
  const auto arguments = add_arguments(x, functions, notation);
  if (!arguments) return Error{text("tools: ", arguments.error().message)};
  std::vector<Expr> ways;
  ways.reserve(functions.size());
  for (size_t i = 0; i < functions.size(); ++i) ways.push_back(w.call(functions[i].name, (*arguments)[i]));
  const uint32_t call_rule = x.add_rule("a call");
  x.define(call_rule, x.sequence({w.marker(f.call_begin), x.choice(ways), w.marker(f.call_end)}));

  const bool list = f.list || f.style == CallStyle::any;
  const std::string separator = list && f.separator.empty() ? ", " : f.separator;
  const Expr call = x.call(call_rule);
  const bool several = options.parallel && format.parallel_calls && options.name.empty();
  const Expr more = several ? x.repeat(x.sequence({w.marker(separator), call}), 0) : x.empty();
  x.define(root, x.sequence({w.marker(f.section_begin + (list ? "[" : "")), call, more,
                             w.marker((list ? "]" : "") + f.section_end)}));
  auto grammar = x.compile();
  if (!grammar) return Error{text("tools: ", grammar.error().message)};
  return std::move(*grammar);
}

std::string marker_bytes(std::string_view marker, std::span<const MarkerToken> tokens) {
  std::string out;
  while (!marker.empty()) {
    const MarkerToken* longest = nullptr;
    for (const MarkerToken& t : tokens) {
      const bool longer = longest == nullptr || t.name.size() > longest->name.size();
      if (!t.name.empty() && longer && marker.starts_with(t.name)) longest = &t;
    }
    out += longest != nullptr ? token_terminal(longest->token) : std::string(marker.substr(0, 1));
    marker.remove_prefix(longest != nullptr ? longest->name.size() : 1);
  }
  return out;
}

std::string_view call_opening(const CallFormat& format) {
  for (const std::string* marker : {&format.section_begin, &format.call_begin}) {
    const std::string_view trimmed = trim_space(*marker);
    if (trimmed.empty()) continue;
    const std::vector<std::string> parts = marker_parts(trimmed);
    return trimmed.substr(0, parts[0].size());
  }
  return {};
}

}  // namespace forge::rt
