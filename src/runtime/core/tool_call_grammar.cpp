#include "runtime/core/tool_call_grammar.h"

#include "runtime/core/jinja_json.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt {

namespace {

using jinja::Value;

// Text as a GBNF literal; empty text as an empty literal.
std::string literal(std::string_view s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

std::string json_literal(std::string_view s) {
  std::string json;
  jinja::append_json_string(json, s);
  return literal(json);
}

// Text up to and with `end`, in which no two characters in a row are those that begin `end`.
std::string text_until(std::string_view end) {
  const auto in_class = [](std::string_view c) {
    return text(std::string_view("[]\\^-").find(c) != std::string_view::npos ? "\\" : "",
                c == "\n" ? "\\n" : c);
  };
  size_t n = 0;
  jinja::next_code_point(end, n);
  const std::string_view first = end.substr(0, n);
  const size_t begin = n;
  if (n < end.size()) jinja::next_code_point(end, n);
  const std::string_view second = end.substr(begin, n - begin);
  if (second.empty()) return text("[^", in_class(first), "]* ", literal(end));
  return text("([^", in_class(first), "] | ", literal(first), "+ [^", in_class(first), in_class(second),
              "])* ", literal(end));
}

// Numbers that parse_json takes: 64 bits, or a double.
constexpr std::string_view kJsonRules = R"(object ::= "{" ws (member ("," ws member)*)? "}"
member ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]"
value ::= (object | array | string | number | "true" | "false" | "null") ws
string ::= "\"" character* "\"" ws
character ::= [^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" hex hex hex hex)
hex ::= [0-9a-fA-F]
number ::= "-"? ("0" | [1-9] [0-9]{0,17}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?
ws ::= [ \n]?
)";
constexpr std::string_view kPythonRules = R"(keywords ::= (keyword (", " keyword)*)?
keyword ::= [a-zA-Z_] [a-zA-Z0-9_]* "=" literal
literal ::= string | number | "True" | "False" | "None" | list | dict
list ::= "[" (literal (", " literal)*)? "]"
dict ::= "{" (pair (", " pair)*)? "}"
pair ::= string ": " literal
string ::= "\"" character* "\""
character ::= [^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" hex hex hex hex)
hex ::= [0-9a-fA-F]
number ::= "-"? ("0" | [1-9] [0-9]{0,17}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?
)";

std::string call_rule(const CallFormat& f, const std::string& names, uint32_t id_length) {
  const std::string id = id_length > 0 ? text("[a-zA-Z0-9]{", id_length, "}") : "[a-zA-Z0-9_-]{1,64}";
  switch (f.style) {
    case CallStyle::none: return {};
    case CallStyle::json: {
      std::string out = literal("{");
      for (size_t i = 0; i < f.key_order.size(); ++i) {
        const std::string& key = f.key_order[i];
        out += text(' ', literal(i > 0 ? ", " : ""), ' ', json_literal(key), ' ', literal(": "), ' ');
        out += key == f.name_key        ? names
               : key == f.arguments_key ? "object"
                                        : text("\"\\\"\" ", id, " \"\\\"\"");
      }
      return out + ' ' + literal("}");
    }
    case CallStyle::any: return text(R"("{\"name\": " )", names, R"( ", \"arguments\": " object "}")");
    case CallStyle::named_json: {
      const std::string id_part = f.id_end.empty() ? "" : text(' ', id, ' ', literal(f.id_end));
      return text(names, ' ', literal(f.name_end), id_part, " object");
    }
    case CallStyle::xml:
      return text(names, ' ', literal(f.name_end), " (", literal(f.parameter_begin), " [a-zA-Z0-9_.-]+ ",
                  literal(f.parameter_middle), ' ', text_until(f.parameter_end), ")*");
    case CallStyle::python: return text(names, " \"(\" keywords \")\"");
  }
}

}  // namespace

Result<std::string> tool_call_gbnf(const AnswerFormat& format, const Value& tools,
                                   const ToolCallGrammarOptions& options) {
  const CallFormat& f = format.calls;
  if (f.style == CallStyle::none) return Error{"tool_choice: the chat template has no tool calls"};
  if (!tools.is_sequence(jinja::SequenceKind::list)) return Error{"tools: expected a list"};
  const bool quoted = f.style == CallStyle::json || f.style == CallStyle::any;
  std::string names;
  for (const Value& tool : tools.as_sequence().items) {
    const Value* function = tool.is(jinja::Type::dict) ? tool.as_dict().find("function") : nullptr;
    const Value* name =
        function != nullptr && function->is(jinja::Type::dict) ? function->as_dict().find("name") : nullptr;
    if (name == nullptr || !name->is_string() || name->as_string().empty()) {
      return Error{"tools: expected {\"function\": {\"name\": …}}"};
    }
    if (!options.name.empty() && name->as_string() != options.name) continue;
    if (!names.empty()) names += " | ";
    names += quoted ? json_literal(name->as_string()) : literal(name->as_string());
  }
  if (names.empty()) return Error{text("tool_choice: no tool is called '", options.name, "'")};

  const bool list = f.list || f.style == CallStyle::any;
  const std::string separator = list && f.separator.empty() ? ", " : f.separator;
  std::string out = "root ::= ";
  const ThinkingFormat& t = format.thinking;
  if (!t.close.empty() && options.thoughts_open) {
    out += "thoughts ";
  } else if (!t.close.empty() && options.thoughts) {
    out += text('(', literal(t.open), " thoughts)? ");
  }
  out += text(literal(f.section_begin + (list ? "[" : "")), " call ");
  if (options.parallel && format.parallel_calls && options.name.empty())
    out += text('(', literal(separator), " call)* ");
  out += text(literal((list ? "]" : "") + f.section_end), '\n');
  out += text("call ::= ", literal(f.call_begin), ' ', call_rule(f, "name", format.call_id_length), ' ',
              literal(f.call_end), "\nname ::= ", names, '\n');
  if (!t.close.empty() && (options.thoughts_open || options.thoughts)) {
    out += text("thoughts ::= ", text_until(t.close), " [ \\n]*\n");
  }
  if (f.style == CallStyle::python) {
    out += kPythonRules;
  } else if (f.style != CallStyle::xml) {
    out += kJsonRules;
  }
  return out;
}

}  // namespace forge::rt
