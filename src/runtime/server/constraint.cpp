#include "runtime/server/constraint.h"

#include "runtime/core/grammar.h"

namespace forge::rt {

using jinja::Value;

namespace {

constexpr size_t kMaskBytes = 8u << 20;  // of each grammar

void use(const RequestFields& fields, std::string_view name, const ModelInfo& model, const std::string& key,
         const std::function<Result<Grammar>()>& make, GenerationRequest& out) {
  if (fields.failed()) return;
  if (out.text.guide.masks != nullptr)
    return fields.fail(name, "one of response_format, json_schema, regex, choice and grammar is enough");
  auto masks = model.grammars->get(key, make);
  if (!masks) return fields.fail(name, text(fields.path_of(name), ": ", masks.error().message));
  out.text.guide.masks = std::move(*masks);
}

void use_schema(const RequestFields& fields, std::string_view name, const Value& schema,
                const ModelInfo& model, GenerationRequest& out) {
  std::string key = "schema ";
  if (!jinja::append_repr(key, schema, kMaxGrammarText)) return fields.fail(name, "the schema is too large");
  use(fields, name, model, key, [&] { return json_schema_grammar(schema); }, out);
}

}  // namespace

Result<std::shared_ptr<TokenMasks>> GrammarCache::get(const std::string& key,
                                                      const std::function<Result<Grammar>()>& make) {
  return known_.get(key, [&]() -> Result<std::shared_ptr<TokenMasks>> {
    const auto grammar = make();
    if (!grammar) return grammar.error();
    if (trie_ == nullptr) trie_ = make_vocabulary_trie(*tokenizer_);
    return std::make_shared<TokenMasks>(trie_, *grammar, kMaskBytes);
  });
}

void read_format(const RequestFields& fields, std::string_view name, const ModelInfo& model,
                 GenerationRequest& out) {
  const Value* format = fields.find(name);
  if (format == nullptr) return;
  const RequestFields inner(*format, fields.path_of(name), fields.error());
  std::string type;
  if (inner.required("type") == nullptr || !inner.string("type", type) || type == "text") return;
  if (type != "json_object" && type != "json_schema")
    return inner.expected("type", "text, json_object or json_schema");
  // OpenAI's chat has the schema in an object of its own, its responses and llama.cpp have it here.
  const Value* wrapped = inner.find("json_schema");
  const RequestFields from(wrapped != nullptr ? *wrapped : *format,
                           inner.path_of(wrapped != nullptr ? "json_schema" : ""), fields.error());
  if (const Value* schema = from.find("schema")) return use_schema(from, "schema", *schema, model, out);
  if (type == "json_schema") return (void)from.required("schema");
  use(inner, "type", model, "object", json_object_grammar, out);
}

void read_constraint(const RequestFields& fields, const ModelInfo& model, GenerationRequest& out) {
  read_format(fields, "response_format", model, out);
  if (const Value* schema = fields.find("json_schema"))
    use_schema(fields, "json_schema", *schema, model, out);
  std::string given;
  if (fields.string("regex", given))
    use(fields, "regex", model, "regex " + given, [&] { return regex_grammar(given); }, out);
  if (fields.string("grammar", given))
    use(fields, "grammar", model, "gbnf " + given, [&] { return parse_gbnf(given); }, out);
  std::vector<std::string> choices;
  if (fields.strings("choice", 1000, choices)) {
    std::string key = "choice";
    for (const std::string& choice : choices) key += text(" ", choice.size(), " ", choice);
    use(fields, "choice", model, key, [&] { return choices_grammar(choices); }, out);
  }
}

void set_tool_calls(const Value& tools, const ToolCallGrammarOptions& options, bool lazy,
                    const ModelInfo& model, GenerationRequest& out, ApiError& error) {
  const auto fail = [&](std::string message) {
    error = {.message = std::move(message), .param = lazy ? "tools" : "tool_choice", .code = {}};
  };
  std::string key = text("tools ", options.name, options.parallel ? " several " : " one ");
  if (options.strict != nullptr)
    for (const std::string& name : *options.strict) key += text(name.size(), " ", name, " ");
  if (!jinja::append_repr(key, tools, kMaxGrammarText)) return fail("tools: they are too large");
  auto masks = model.grammars->get(key, [&] { return tool_call_grammar(model.format, tools, options); });
  if (!masks) return fail(masks.error().message);
  AnswerGuideOptions& guide = out.text.guide;
  guide.masks = std::move(*masks);
  if (!lazy) return;
  const CallFormat& calls = model.format.calls;
  guide.opening = call_opening(calls);
  const std::string written = calls.section_begin + calls.call_begin;
  guide.opening_bytes =
      marker_bytes(std::string_view(written).substr(0, written.find(guide.opening) + guide.opening.size()),
                   options.tokens);
}

}  // namespace forge::rt
