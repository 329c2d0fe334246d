#include <algorithm>
#include <array>

#include "runtime/core/answer_messages.h"
#include "runtime/core/jinja_json.h"
#include "runtime/host/json.h"
#include "runtime/server/constraint.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {

using jinja::DictBuilder;
using jinja::Type;
using jinja::Value;

namespace {

void fail(ApiError& error, const std::string& path, std::string_view what) {
  if (!error.message.empty()) return;
  error.message = text(path, ": ", what);
  error.param = path;
}

// tool_calls of an assistant's message.
Value read_tool_calls(const Value& given, const std::string& path, ApiError& error) {
  const auto* items = list_items(given);
  if (items == nullptr) {
    fail(error, path, "expected a list");
    return {};
  }
  std::vector<Value> out;
  for (size_t i = 0; i < items->size(); ++i) {
    const std::string here = text(path, ".", i);
    const RequestFields call((*items)[i], here, error);
    const Value* function = call.required("function");
    if (function == nullptr) return {};
    std::string id;
    call.string("id", id);
    out.push_back(read_call(RequestFields(*function, here + ".function", error), id));
  }
  return Value::list(std::move(out));
}

}  // namespace

Value read_call(const RequestFields& fields, const std::string& id) {
  std::string name;
  std::string arguments = "{}";
  if (fields.required("name") != nullptr) fields.string("name", name);
  fields.string("arguments", arguments);
  auto parsed = jinja::parse_json(arguments.empty() ? "{}" : arguments);
  if (!parsed) {
    fields.expected("arguments", "JSON");
    return {};
  }
  const DictBuilder inner;
  inner->set("name", Value::string(name));
  inner->set("arguments", *parsed);
  const DictBuilder outer;
  outer->set("id", Value::string(id));
  outer->set("type", Value::string("function"));
  outer->set("function", inner.value());
  return outer.value();
}

std::string read_content(const Value& content, const std::string& path, ApiError& error) {
  if (content.is_string()) return content.as_string();
  const auto* parts = list_items(content);
  if (parts == nullptr) {
    fail(error, path, "expected a string or a list of parts");
    return {};
  }
  std::string out;
  for (size_t i = 0; i < parts->size(); ++i) {
    const std::string here = text(path, ".", i);
    if ((*parts)[i].is_string()) {
      out += (*parts)[i].as_string();
      continue;
    }
    const RequestFields part((*parts)[i], here, error);
    std::string type;
    std::string piece;
    part.string("type", type);
    if (type == "refusal") {
      part.string("refusal", piece);
    } else if (type == "text" || type == "input_text" || type == "output_text") {
      if (part.required("text") != nullptr) part.string("text", piece);
    } else {
      part.fail("type", text(here, ".type: this model takes text alone, not '", type, "'"));
    }
    out += piece;
  }
  return out;
}

std::optional<Value> read_message(const Value& given, const std::string& path, ApiError& error) {
  static constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                             "assistant", "tool",      "function"};
  const RequestFields message(given, path, error);
  std::string role;
  if (message.required("role") == nullptr || !message.string("role", role)) return std::nullopt;
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
    message.expected("role", "system, developer, user, assistant or tool");
  if (role == "developer") role = "system";
  if (role == "function") role = "tool";
  const Value* content = message.find("content");
  const Value* calls = role == "assistant" ? message.find("tool_calls") : nullptr;
  if (content == nullptr && calls == nullptr)
    message.fail("content", text("missing field: ", path, ".content"));
  const DictBuilder d;
  d->set("role", Value::string(role));
  d->set("content", Value::string(content == nullptr ? std::string()
                                                     : read_content(*content, path + ".content", error)));
  if (calls != nullptr) d->set("tool_calls", read_tool_calls(*calls, path + ".tool_calls", error));
  for (const char* name : {"name", "tool_call_id", "reasoning_content"}) {
    std::string value;
    if (message.string(name, value)) d->set(name, Value::string(value));
  }
  if (message.failed()) return std::nullopt;
  return d.value();
}

void set_messages(std::vector<Value> list, ApiError& error, ChatRequest& out) {
  if (list.empty()) return fail(error, "messages", "nothing is said in them");
  const jinja::Dict& last = list.back().as_dict();
  if (last.find("role")->as_string() == "assistant" && last.find("tool_calls") == nullptr) {
    out.answer_begins = last.find("content")->as_string();
    list.pop_back();
    if (list.empty())
      return fail(error, "messages", "a message of the user must come before the assistant's");
  }
  out.messages = Value::list(std::move(list));
}

void read_chat(const RequestFields& fields, const ModelInfo& model, ChatRequest& out) {
  if (!model.chat_prompt)
    return fields.fail(
        "messages",
        "the model has no chat template; compile it with --chat-template FILE, or use /v1/completions");
  const Value* list = fields.required("messages");
  if (list == nullptr) return;
  const auto* items = list_items(*list);
  if (items == nullptr || items->empty() || items->size() > kMaxMessages)
    return fields.expected("messages", text("a list of 1 to ", kMaxMessages, " messages"));
  std::vector<Value> read;
  for (size_t i = 0; i < items->size() && !fields.failed(); ++i) {
    if (auto message = read_message((*items)[i], text(fields.path_of("messages"), ".", i), fields.error()))
      read.push_back(std::move(*message));
  }
  if (!fields.failed()) set_messages(std::move(read), fields.error(), out);
  const DictBuilder variables;
  if (const Value* given = fields.find("chat_template_kwargs")) {
    if (!given->is(Type::dict)) return fields.expected("chat_template_kwargs", "a JSON object");
    for (const auto& [key, value] : given->as_dict().entries) {
      if (key.as_string() == "messages" || key.as_string() == "add_generation_prompt")
        return fields.fail("chat_template_kwargs", text("chat_template_kwargs: ", key.as_string(),
                                                        " is what the request itself says"));
      variables->set(key, value);
    }
  }
  read_thinking(fields, model, variables, out);
  read_tools(fields, out);
  out.variables = variables.value();
}

void read_effort(const RequestFields& fields, std::string_view name, std::optional<uint32_t>& max_thoughts) {
  static constexpr std::pair<std::string_view, uint32_t> kEfforts[] = {
      {"none", 0},      {"minimal", 512},      {"low", 1024},       {"medium", 4096},
      {"high", 16'384}, {"xhigh", UINT32_MAX}, {"max", UINT32_MAX},
  };
  std::string given;
  if (!fields.string(name, given)) return;
  const auto* effort =
      std::find_if(std::begin(kEfforts), std::end(kEfforts), [&](const auto& e) { return e.first == given; });
  if (effort == std::end(kEfforts))
    return fields.expected(name, "none, minimal, low, medium, high, xhigh or max");
  max_thoughts = effort->second;
}

void set_thinking(uint32_t max_thoughts, const ModelInfo& model, const DictBuilder& variables,
                  ChatRequest& out) {
  out.max_thoughts = max_thoughts;
  const std::string& variable = model.format.thinking.variable;
  if (!variable.empty() && variables->find(std::string_view(variable)) == nullptr)
    variables->set(variable, Value::boolean(max_thoughts > 0));
}

void read_thinking(const RequestFields& fields, const ModelInfo& model, const DictBuilder& variables,
                   ChatRequest& out) {
  std::optional<uint32_t> max_thoughts;
  read_effort(fields, "reasoning_effort", max_thoughts);
  if (bool on = true; fields.boolean("enable_thinking", on)) max_thoughts = on ? UINT32_MAX : 0;
  const auto read_budgets = [&](const RequestFields& from) {
    for (const char* name :
         {"reasoning_budget", "thinking_budget", "thinking_token_budget", "thinking_budget_tokens"}) {
      int64_t budget = -1;  // no bound
      if (from.integer(name, -1, INT32_MAX, budget))
        max_thoughts = budget < 0 ? UINT32_MAX : static_cast<uint32_t>(budget);
    }
  };
  read_budgets(fields);
  if (const Value* given = fields.find("chat_template_kwargs"))
    read_budgets(RequestFields(*given, fields.path_of("chat_template_kwargs"), fields.error()));
  if (max_thoughts) set_thinking(*max_thoughts, model, variables, out);
}

namespace {

constexpr size_t kMaxTools = 256;

// OpenAI's {"type": "function", "function": {"name", "description", "parameters"}}, or Anthropic's {"name",
// "description", "input_schema"}, as OpenAI has it.
Value read_tool(const RequestFields& fields, std::vector<std::string>& names,
                std::vector<std::string>& strict_tools) {
  const Value* function = fields.find("function");
  std::string type = "function";
  fields.string("type", type);
  if (function != nullptr ? type != "function" : type != "function" && type != "custom") {
    fields.expected("type", "\"function\"");
    return {};
  }
  static const Value kNothing = DictBuilder().value();
  const RequestFields inner(function != nullptr ? *function : kNothing, fields.path_of("function"),
                            fields.error());
  const RequestFields& from = function != nullptr ? inner : fields;
  std::string name;
  std::string description;
  if (from.required("name") == nullptr || !from.string("name", name)) return {};
  // As OpenAI and Anthropic have them; others could not be told from the text around them in every format.
  constexpr size_t kMaxNameBytes = 128;
  if (name.empty() || name.size() > kMaxNameBytes ||
      name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") !=
          std::string::npos)
    from.expected("name", "1 to 128 letters, digits, '_' and '-'");
  if (std::find(names.begin(), names.end(), name) != names.end())
    from.fail("name", text(from.path_of("name"), ": an earlier tool has this name, too"));
  names.push_back(name);
  const DictBuilder made;
  made->set("name", Value::string(name));
  if (from.string("description", description)) made->set("description", Value::string(description));
  const Value* schema =
      from.find(function != nullptr || !from.has("input_schema") ? "parameters" : "input_schema");
  if (schema != nullptr && !schema->is(Type::dict)) from.expected("parameters", "a JSON schema");
  made->set("parameters", schema != nullptr ? *schema : kNothing);
  if (bool strict = false; from.boolean("strict", strict) && strict) strict_tools.push_back(name);
  const DictBuilder out;
  out->set("type", Value::string("function"));
  out->set("function", made.value());
  return out.value();
}

void read_tool_choice(const RequestFields& fields, const Value& choice, ChatRequest& out) {
  constexpr std::string_view kName = "tool_choice";
  if (choice.is_string()) {
    out.tool_choice = choice.as_string();
  } else {
    const RequestFields inner(choice, fields.path_of(kName), fields.error());
    std::string type;
    inner.string("type", type);
    if (type == "function" || type == "tool") {
      type = "named";
      inner.string("name", out.tool_name);
      if (const Value* function = inner.find("function"))
        RequestFields(*function, inner.path_of("function"), fields.error()).string("name", out.tool_name);
    }
    if (bool alone = false; inner.boolean("disable_parallel_tool_use", alone) && alone)
      out.parallel_calls = false;
    out.tool_choice = type;
  }
  if (out.tool_choice == "any") out.tool_choice = "required";  // Anthropic's
  static constexpr std::array<std::string_view, 4> kChoices = {"none", "auto", "required", "named"};
  if (std::find(kChoices.begin(), kChoices.end(), out.tool_choice) == kChoices.end())
    return fields.expected(kName, "none, auto, required or a function");
}

}  // namespace

void read_tools(const RequestFields& fields, ChatRequest& out) {
  const Value* tools = fields.find("tools");
  const Value* choice = fields.find("tool_choice");
  if (tools == nullptr) {
    if (choice != nullptr &&
        !(choice->is_string() && (choice->as_string() == "none" || choice->as_string() == "auto")))
      fields.fail("tool_choice", "tool_choice: there are no tools");
    return;
  }
  const auto* items = list_items(*tools);
  if (items == nullptr || items->size() > kMaxTools)
    return fields.expected("tools", text("a list of at most ", kMaxTools));
  std::vector<Value> read;
  std::vector<std::string> names;
  for (size_t i = 0; i < items->size() && !fields.failed(); ++i)
    read.push_back(
        read_tool(RequestFields((*items)[i], text(fields.path_of("tools"), ".", i), fields.error()), names,
                  out.strict_tools));
  if (choice != nullptr) read_tool_choice(fields, *choice, out);
  fields.boolean("parallel_tool_calls", out.parallel_calls);
  if (read.empty() && (out.tool_choice == "required" || out.tool_choice == "named"))
    fields.fail("tool_choice", "tool_choice: there are no tools");
  if (!read.empty() && out.tool_choice != "none") out.tools = Value::list(std::move(read));
}

namespace {

// The instructions that were compiled in stand before a conversation that brings none.
Value with_instructions(const Value& messages, const std::string& instructions) {
  const auto* given = list_items(messages);
  if (instructions.empty() || given->front().as_dict().find("role")->as_string() == "system") return messages;
  std::vector<Value> out = {chat_message("system", instructions)};
  out.insert(out.end(), given->begin(), given->end());
  return Value::list(std::move(out));
}

// The bytes of all its strings. Values that came from JSON are at most 64 levels deep.
size_t text_bytes(const Value& value) {  // NOLINT(misc-no-recursion)
  size_t n = 0;
  if (value.is_string()) {
    n = value.as_string().size();
  } else if (value.is(Type::sequence)) {
    for (const Value& item : value.as_sequence().items) n += text_bytes(item);
  } else if (value.is(Type::dict)) {
    for (const auto& [key, item] : value.as_dict().entries) n += text_bytes(item);
  }
  return n;
}

}  // namespace

std::optional<ChatPrompt::Prompt> render_chat(const ChatRequest& chat, const ModelInfo& model,
                                              ApiError& error) {
  if (!error.message.empty()) return std::nullopt;
  const size_t n_bytes = text_bytes(chat.messages) + text_bytes(chat.tools) + chat.answer_begins.size();
  if (!check_length(n_bytes, "messages", model, error)) return std::nullopt;
  const ChatPrompt& prompts = *model.chat_prompt;
  // Before markers of calls are written for a template that writes none: those are control tokens.
  const auto prepared =
      prepare_messages(model.format, prompts.disarmed(with_instructions(chat.messages, model.system_prompt)),
                       prompts.disarmed(chat.tools));
  if (!prepared) {
    fail(error, "messages", prepared.error().message);
    return std::nullopt;
  }
  const DictBuilder variables;
  if (chat.variables.is(Type::dict))
    for (const auto& [key, value] : chat.variables.as_dict().entries)
      variables->set(prompts.disarmed(key), prompts.disarmed(value));
  variables->set("tools", prepared->tools);
  auto prompt = prompts.prompt(prepared->messages, {.variables = variables.value(),
                                                    .disarmed = true,
                                                    .now = utc_now(),
                                                    .answer_begins = chat.answer_begins});
  if (prompt) return std::move(*prompt);
  fail(error, "messages", prompt.error().message);
  return std::nullopt;
}

namespace {

// What the answer's guide must know of thoughts: where the prompt ends in them, or leaves them to the model.
void set_thoughts(const ChatRequest& chat, const ModelInfo& model, GenerationRequest& out) {
  const ThinkingFormat& thinking = model.format.thinking;
  const std::string_view prompt = trim_space(out.prompt_text);
  if (thinking.open.empty() || thinking.close.empty() || prompt.ends_with(thinking.close)) return;
  AnswerGuideOptions& guide = out.text.guide;
  guide.open_thoughts = thinking.open;
  guide.close_thoughts = thinking.close;
  guide.thoughts_open = prompt.ends_with(thinking.open);
  guide.max_thoughts = chat.max_thoughts;
  const auto tokens_of = [&](std::string_view marker) {
    return model.tokenizer().encode(marker, {.add_bos = false, .add_eos = false, .parse_special = true});
  };
  const std::vector<int32_t> open = tokens_of(thinking.open);
  if (open.size() == 1 && chat.max_thoughts > 0) guide.open_token = open[0];
  guide.close_tokens = tokens_of(thinking.close);
  guide.behind_thoughts = tokens_of("\n\n");
}

}  // namespace

void set_chat_prompt(const ChatRequest& chat, const ModelInfo& model, GenerationRequest& out,
                     ApiError& error) {
  auto prompt = render_chat(chat, model, error);
  if (!prompt) return;
  out.divided = true;
  out.prompt_text = std::move(prompt->text);
  out.tools = chat.tools;
  out.parallel_calls = chat.parallel_calls;
  const bool forced = chat.tool_choice == "required" || chat.tool_choice == "named";
  if (forced && out.text.guide.masks != nullptr)
    return fail(error, "tool_choice", "a forced call and a response format exclude each other");
  ToolCallGrammarOptions calls{
      .name = chat.tool_name, .parallel = chat.parallel_calls, .tokens = model.marker_tokens};
  if (forced) {
    set_tool_calls(chat.tools, calls, /*lazy=*/false, model, out, error);
  } else if (!chat.strict_tools.empty() && !chat.tools.is_undefined() && out.text.guide.masks == nullptr &&
             !call_opening(model.format.calls).empty()) {
    calls.strict = &chat.strict_tools;
    set_tool_calls(chat.tools, calls, /*lazy=*/true, model, out, error);
  }
  set_thoughts(chat, model, out);
  set_prompt(std::move(prompt->tokens), model, out, error);
}

void apply_template(const EndpointCall& call) {
  ApiError error;
  const RequestFields fields(call.body, {}, error);
  ChatRequest chat;
  read_chat(fields, call.model, chat);
  const auto prompt = render_chat(chat, call.model, error);
  if (!prompt) return respond_error(*call.exchange, error);
  JsonObject out;
  out.add("prompt", prompt->text);
  call.exchange->respond({.body = out.compact() + "\n"});
}

}  // namespace forge::rt
