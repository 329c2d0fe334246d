// Finds an AnswerFormat: renders probes and looks where their words stand in the text.
#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "runtime/core/answer_format.h"
#include "runtime/core/jinja_json.h"

namespace forge::rt {

namespace {

using jinja::DictBuilder;
using jinja::Value;

// Words that no template has. Ids are as Mistral's templates demand them.
constexpr std::string_view kUser = "forgeprobeuser", kUserAgain = "forgeprobenext",
                           kSystem = "forgeprobesystem";
constexpr std::string_view kContent = "forgeprobecontent", kReasoning = "forgeprobethought";
constexpr std::string_view kResult = "forgeproberesult";
constexpr std::string_view kTools[2] = {"forge_probe_first", "forge_probe_second"};
constexpr std::string_view kKeys[2] = {"forge_key_one", "forge_key_two"};
constexpr std::string_view kValues[2] = {"forgevalueone", "forgevaluetwo"};
constexpr std::string_view kIds[2] = {"forgeid01", "forgeid02"};
constexpr size_t kIdLength = 9;
constexpr std::string_view kLongId = "call_forgeprobe0123456789";

constexpr size_t kMaxPart = 4096;   // bytes of an assistant's part that is looked at
constexpr size_t kMaxMarker = 128;  // bytes

constexpr auto npos = std::string_view::npos;

Value str(std::string_view s) { return Value::string(std::string(s)); }

Value message(std::string_view role, std::string_view content) {
  const DictBuilder d;
  d->set("role", str(role));
  d->set("content", str(content));
  return d.value();
}

Value arguments_object() {
  const DictBuilder d;
  for (size_t i = 0; i < 2; ++i) d->set(kKeys[i], str(kValues[i]));
  return d.value();
}

Value arguments_text() {
  return Value::string(
      text("{\"", kKeys[0], "\": \"", kValues[0], "\", \"", kKeys[1], "\": \"", kValues[1], "\"}"));
}

// Both tools, described as an OpenAI client does.
Value tool_list() {
  std::vector<Value> tools;
  for (const std::string_view name : kTools) {
    const DictBuilder properties, parameters, function, tool;
    for (const std::string_view key : kKeys) {
      const DictBuilder property;
      property->set("type", str("string"));
      property->set("description", str("An argument."));
      properties->set(key, property.value());
    }
    parameters->set("type", str("object"));
    parameters->set("properties", properties.value());
    parameters->set("required", Value::list({str(kKeys[0]), str(kKeys[1])}));
    function->set("name", str(name));
    function->set("description", str("A function."));
    function->set("parameters", parameters.value());
    tool->set("type", str("function"));
    tool->set("function", function.value());
    tools.push_back(tool.value());
  }
  return Value::list(std::move(tools));
}

// How the content of a message with calls is given.
enum class CallContent : uint8_t { none, empty, text };

Value call_message(size_t n_calls, const Value& arguments, CallContent content, std::string_view id = {}) {
  std::vector<Value> calls;
  for (size_t i = 0; i < n_calls; ++i) {
    const DictBuilder function, call;
    function->set("name", str(kTools[i]));
    function->set("arguments", arguments);
    call->set("id", str(id.empty() ? kIds[i] : id));
    call->set("type", str("function"));
    call->set("function", function.value());
    calls.push_back(call.value());
  }
  const DictBuilder d;
  d->set("role", str("assistant"));
  d->set("content",
         content == CallContent::none ? Value::none() : str(content == CallContent::text ? kContent : ""));
  d->set("tool_calls", Value::list(std::move(calls)));
  return d.value();
}

struct Prober {
  const ChatTemplate& chat_template;
  Value tools;  // what `tools` is: none, an empty list, or the list above

  std::optional<std::string> render(std::vector<Value> messages, bool prompt, std::string_view variable = {},
                                    bool on = false) const {
    const DictBuilder variables;
    variables->set("tools", tools);
    if (!variable.empty()) variables->set(variable, Value::boolean(on));
    RenderOptions options;
    options.add_generation_prompt = prompt;
    options.bos_token = "";
    options.eos_token = "<eos>";
    options.variables = variables.value();
    options.now = jinja::BrokenDownTime{};
    options.limits = {.steps = 2'000'000, .bytes = 64u << 20, .output_bytes = 1u << 20, .levels = 400};
    Result<std::string> out = chat_template.render(Value::list(std::move(messages)), options);
    if (!out) return std::nullopt;
    return std::move(*out);
  }
};

// Where two texts part, moved before a tag that it would cut in two.
size_t common_prefix(std::string_view a, std::string_view b) {
  const size_t n = static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(std::min(a.size(), b.size())), b.begin())
          .first -
      a.begin());
  const size_t tag = a.substr(0, n).find_last_of("<[>] \n");
  return tag != npos && (a[tag] == '<' || a[tag] == '[') ? tag : n;
}

// What the assistant wrote: the text behind the generation prompt, or behind as much of it as the text repeats.
std::string_view assistant_part(std::string_view whole, std::string_view prompt) {
  const std::string_view part = whole.substr(common_prefix(whole, prompt));
  return part.size() <= kMaxPart ? part : std::string_view();
}

bool contains(std::string_view s, std::string_view what) { return s.find(what) != npos; }

// ---- Thoughts

constexpr std::array<std::string_view, 5> kThoughtNames = {"think", "thinking", "thought", "reasoning",
                                                           "THINK"};

using Tags = std::pair<std::string, std::string>;
Tags thought_tags(std::string_view name) {
  if (name == "THINK") return {"[THINK]", "[/THINK]"};
  return {text('<', name, '>'), text("</", name, '>')};
}

// "<think>" to "</think>" and "[THINK]" to "[/THINK]"; empty where s is no such tag.
std::string closing_tag(std::string_view s) {
  if (s.size() < 3 || (s[0] != '<' && s[0] != '[') || s[1] == '/') return {};
  return text(s[0], '/', s.substr(1));
}

PromptThinking prompt_thinking(const ThinkingFormat& t, std::string_view prompt) {
  prompt = trim_space(prompt);
  if (t.open.empty()) return PromptThinking::leaves;
  return prompt.ends_with(t.close)  ? PromptThinking::closes
         : prompt.ends_with(t.open) ? PromptThinking::opens
                                    : PromptThinking::leaves;
}

// The template writes thoughts that a message has.
void find_rendered_thoughts(const Prober& p, std::string_view prompt, ThinkingFormat& out) {
  for (const std::string_view key : {"reasoning_content", "reasoning", "thinking"}) {
    const DictBuilder d;
    d->set("role", str("assistant"));
    d->set("content", str(kContent));
    d->set(key, str(kReasoning));
    const std::optional<std::string> whole = p.render({message("user", kUser), d.value()}, false);
    if (!whole) continue;
    const std::string_view all = *whole;
    const size_t thought = all.find(kReasoning), content = all.find(kContent);
    if (thought == npos || content == npos || content < thought) continue;
    const size_t begin = common_prefix(all, prompt);
    std::string_view open;
    if (begin <= thought) open = trim_space(all.substr(begin, thought - begin));
    const std::string_view before = trim_space(all.substr(0, thought));
    const std::vector<std::string> parts =
        marker_parts(before.substr(before.size() - std::min(before.size(), kMaxMarker)));
    // A prompt that opens thoughts has taken the marker away.
    if (open.empty() && !parts.empty()) open = before.substr(before.size() - parts.back().size());
    const std::string_view close =
        trim_space(all.substr(thought + kReasoning.size(), content - thought - kReasoning.size()));
    if (open.empty() || close.empty() || open.size() > kMaxMarker || close.size() > kMaxMarker) continue;
    out.open = open;
    out.close = close;
    out.message_key = key;
    return;
  }
}

struct SwitchedPrompts {
  std::string by_default;
  std::optional<std::string> on, off;
};

void find_hidden_thoughts(const Prober& p, const SwitchedPrompts& prompts, ThinkingFormat& out) {
  // The prompt passes over thoughts ("<think>\n\n</think>"), or opens them.
  for (const std::optional<std::string>& prompt :
       {std::optional(prompts.by_default), prompts.on, prompts.off}) {
    if (!prompt || !out.open.empty()) continue;
    const std::string_view whole = *prompt;
    const std::vector<std::string> parts =
        marker_parts(whole.substr(whole.size() - std::min(whole.size(), kMaxMarker)));
    if (parts.empty()) continue;
    if (parts.size() > 1 && parts.back() == closing_tag(parts[parts.size() - 2])) {
      out.open = parts[parts.size() - 2];
      out.close = parts.back();
    }
    for (const std::string_view name : kThoughtNames) {
      const Tags tags = thought_tags(name);
      if (parts.back() == tags.first) std::tie(out.open, out.close) = tags;
    }
  }
  if (!out.open.empty()) return;
  // Thoughts of earlier answers are cut out of their content, or instructions name the tags.
  for (const std::string_view name : kThoughtNames) {
    const Tags tags = thought_tags(name);
    const std::string content = text(tags.first, kReasoning, tags.second, kContent);
    const std::optional<std::string> cut =
        p.render({message("user", kUser), message("assistant", content), message("user", kUserAgain),
                  message("assistant", "."), message("user", kUserAgain)},
                 false);
    const bool is_cut = cut && contains(*cut, kContent) && !contains(*cut, kReasoning);
    const bool is_named = prompts.on && contains(*prompts.on, tags.first + tags.second) &&
                          (!prompts.off || !contains(*prompts.off, tags.first));
    if (is_cut || is_named) {
      std::tie(out.open, out.close) = tags;
      return;
    }
  }
}

ThinkingFormat find_thinking(const Prober& p) {
  ThinkingFormat out;
  const std::vector<Value> question = {message("user", kUser)};
  std::optional<std::string> prompt = p.render(question, true);
  if (!prompt) return out;
  SwitchedPrompts prompts{std::move(*prompt), std::nullopt, std::nullopt};
  for (const std::string_view variable : {"enable_thinking", "thinking"}) {
    std::optional<std::string> on = p.render(question, true, variable, true);
    std::optional<std::string> off = p.render(question, true, variable, false);
    if (!on || !off || *on == *off) continue;
    out.variable = variable;
    out.on_by_default = *on == prompts.by_default;
    prompts.on = std::move(on);
    prompts.off = std::move(off);
    break;
  }
  find_rendered_thoughts(p, prompts.by_default, out);
  if (out.open.empty()) find_hidden_thoughts(p, prompts, out);
  if (out.open.empty()) return {};  // a variable that switches something else
  out.by_default = prompt_thinking(out, prompts.by_default);
  if (prompts.on) out.when_on = prompt_thinking(out, *prompts.on);
  if (prompts.off) out.when_off = prompt_thinking(out, *prompts.off);
  return out;
}

// ---- Tool calls

// A span of text.
struct Span {
  size_t begin = npos, end = npos;
};

// The JSON object that begins at s[begin]; empty where there is none.
std::string_view object_at(std::string_view s, size_t begin) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = begin; i < s.size(); ++i) {
    const char c = s[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      const std::string_view object = s.substr(begin, i + 1 - begin);
      return jinja::parse_json(object) ? object : std::string_view();
    }
  }
  return {};
}

bool is_arguments(std::string_view json) {
  const Result<Value> v = jinja::parse_json(json);
  return v && equals(*v, arguments_object());
}

// A call's span of the text, without markers, and what shows there of the format.
struct FoundCall {
  CallFormat format;
  Span span;
};

std::optional<FoundCall> find_json_call(std::string_view s, size_t from, size_t call) {
  const size_t name = s.find(kTools[call], from);
  for (size_t begin = s.find('{', from); begin != npos && begin < name; begin = s.find('{', begin + 1)) {
    const std::string_view object = object_at(s, begin);
    FoundCall found;
    CallFormat& f = found.format;
    f.style = CallStyle::json;
    for (const jinja::JsonMember& member : jinja::json_members(object)) {
      const std::string_view value = member.value;
      std::string* key = nullptr;
      if (is_arguments(value)) {
        key = &f.arguments_key;
      } else if (value == text('"', kTools[call], '"')) {
        key = &f.name_key;
      } else if (value == text('"', kIds[call], '"')) {
        key = &f.id_key;
      }
      if (key == nullptr || !key->empty()) continue;
      *key = member.key;
      f.key_order.push_back(member.key);
    }
    if (f.name_key.empty() || f.arguments_key.empty()) continue;
    found.span = {begin, begin + object.size()};
    return found;
  }
  return std::nullopt;
}

std::optional<FoundCall> find_named_call(std::string_view s, size_t from, size_t call) {
  const size_t name = s.find(kTools[call], from);
  if (name == npos) return std::nullopt;
  const size_t name_end = name + kTools[call].size();
  const size_t key = s.find(kKeys[0], name_end);
  if (key == npos) return std::nullopt;
  const size_t begin = s.substr(0, key).rfind('{');
  if (begin == npos || begin < name_end) return std::nullopt;
  const std::string_view object = object_at(s, begin);
  if (!is_arguments(object)) return std::nullopt;
  FoundCall found;
  found.format.style = CallStyle::named_json;
  found.span = {name, begin + object.size()};
  const std::string_view between = s.substr(name_end, begin - name_end);
  const size_t id = between.find(kIds[call]);
  found.format.name_end = between.substr(0, id);
  if (id != npos) {
    found.format.id_end = between.substr(id + kIds[call].size());
    if (trim_space(found.format.name_end).empty() || trim_space(found.format.id_end).empty())
      return std::nullopt;
  }
  return found;
}

std::optional<FoundCall> find_python_call(std::string_view s, size_t from, size_t call) {
  const size_t name = s.find(kTools[call], from);
  if (name == npos) return std::nullopt;
  size_t pos = name + kTools[call].size();
  const auto take = [&](std::string_view what) {
    if (!s.substr(std::min(pos, s.size())).starts_with(what)) return false;
    pos += what.size();
    return true;
  };
  if (!take("(")) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    if (i == 1 && !take(", ") && !take(",")) return std::nullopt;
    if (!take(text(kKeys[i], '=')) ||
        (!take(text('"', kValues[i], '"')) && !take(text('\'', kValues[i], '\'')))) {
      return std::nullopt;
    }
  }
  if (!take(")")) return std::nullopt;
  FoundCall found;
  found.format.style = CallStyle::python;
  found.span = {name, pos};
  return found;
}

std::optional<FoundCall> find_xml_call(std::string_view s, size_t from, size_t call) {
  const size_t name = s.find(kTools[call], from);
  size_t places[4] = {};  // of key, value, key, value
  size_t ends[4] = {};
  size_t pos = name;
  for (size_t i = 0; i < 4; ++i) {
    if (pos == npos) return std::nullopt;
    const std::string_view word = i % 2 == 0 ? kKeys[i / 2] : kValues[i / 2];
    places[i] = s.find(word, pos);
    pos = ends[i] = places[i] == npos ? npos : places[i] + word.size();
  }
  if (pos == npos) return std::nullopt;
  FoundCall found;
  CallFormat& f = found.format;
  f.style = CallStyle::xml;
  const size_t name_end = name + kTools[call].size();
  const std::string_view first = s.substr(name_end, places[0] - name_end);  // name_end parameter_begin
  const std::string_view second = s.substr(ends[1], places[2] - ends[1]);   // parameter_end parameter_begin
  f.parameter_middle = s.substr(ends[0], places[1] - ends[0]);
  // The tag before the name of an argument begins it.
  const size_t tag = first.rfind('<');
  if (tag == npos || !second.ends_with(first.substr(tag))) return std::nullopt;
  f.parameter_begin = first.substr(tag);
  f.name_end = first.substr(0, tag);
  f.parameter_end = second.substr(0, second.size() - f.parameter_begin.size());
  if (trim_space(f.parameter_middle).empty() || trim_space(f.parameter_end).empty()) return std::nullopt;
  if (!s.substr(ends[3]).starts_with(f.parameter_end)) return std::nullopt;
  found.span = {name, ends[3] + f.parameter_end.size()};
  return found;
}

std::optional<FoundCall> find_call(std::string_view s, size_t from, size_t call) {
  for (const auto find : {find_json_call, find_named_call, find_python_call, find_xml_call}) {
    if (std::optional<FoundCall> found = find(s, from, call)) return found;
  }
  return std::nullopt;
}

// Bytes of s that hold its last (or first) n parts.
size_t tail_bytes(std::string_view s, const std::vector<std::string>& parts, size_t n) {
  size_t end = s.size();
  for (size_t i = parts.size(); i-- > parts.size() - n;) end = s.substr(0, end).rfind(parts[i]);
  return s.size() - end;
}
size_t head_bytes(std::string_view s, const std::vector<std::string>& parts, size_t n) {
  size_t end = 0;
  for (size_t i = 0; i < n; ++i) end = s.find(parts[i], end) + parts[i].size();
  return end;
}

// Divides what stands before, between and behind two calls.
void divide_markers(std::string_view before, std::string_view between, std::string_view after,
                    CallFormat& f) {
  if (trim_space(before).ends_with('[') && trim_space(between) == "," && trim_space(after).starts_with(']')) {
    f.list = true;
    f.section_begin = before.substr(0, before.rfind('['));
    f.separator = between;
    f.section_end = after.substr(after.find(']') + 1);
    return;
  }
  const std::vector<std::string> b = marker_parts(before), m = marker_parts(between), a = marker_parts(after);
  size_t begin = 0, end = 0;
  while (begin < std::min(b.size(), m.size()) && b[b.size() - 1 - begin] == m[m.size() - 1 - begin]) ++begin;
  while (end < std::min(a.size(), m.size() - begin) && a[end] == m[end]) ++end;
  const size_t begin_bytes = tail_bytes(before, b, begin), end_bytes = head_bytes(between, m, end);
  f.section_begin = before.substr(0, before.size() - begin_bytes);
  f.call_begin = before.substr(before.size() - begin_bytes);
  f.call_end = between.substr(0, end_bytes);
  f.separator = between.substr(end_bytes, between.size() - tail_bytes(between, m, begin) - end_bytes);
  f.section_end = after.substr(head_bytes(after, a, end));
}

struct CallProbe {
  std::string prompt, plain_end;  // the generation prompt; what ends a plain answer
  std::string thought_close;
  CallContent content = CallContent::none;
  Value arguments;
};

// The assistant's part of a message with n calls, without thoughts before and the end of the turn behind it.
std::optional<std::string> calls_text(const Prober& p, const CallProbe& probe, size_t n) {
  const std::optional<std::string> whole =
      p.render({message("user", kUser), call_message(n, probe.arguments, probe.content)}, false);
  if (!whole) return std::nullopt;
  std::string_view part = assistant_part(*whole, probe.prompt);
  const size_t name = part.find(kTools[0]);
  if (name == npos || (n == 2 && !contains(part, kTools[1]))) return std::nullopt;
  if (!probe.thought_close.empty()) {
    const size_t close = part.substr(0, name).rfind(probe.thought_close);
    if (close != npos) part.remove_prefix(close + probe.thought_close.size());
  }
  part.remove_prefix(std::min(part.size(), part.find_first_not_of(" \t\r\n")));
  if (part.ends_with(probe.plain_end)) part.remove_suffix(probe.plain_end.size());
  // Another message behind the one with calls: the template wants its content another way.
  if (!trim_space(probe.plain_end).empty() && contains(part, trim_space(probe.plain_end)))
    return std::nullopt;
  return std::string(part);
}

bool fits(const CallFormat& f) {
  for (const std::string* marker :
       {&f.section_begin, &f.call_begin, &f.call_end, &f.separator, &f.section_end, &f.name_end, &f.id_end,
        &f.parameter_begin, &f.parameter_middle, &f.parameter_end, &f.name_key, &f.arguments_key,
        &f.id_key}) {
    if (marker->size() > kMaxMarker) return false;
  }
  return true;
}

bool find_calls(const Prober& p, const CallProbe& probe, AnswerFormat& out) {
  const std::optional<std::string> one = calls_text(p, probe, 1);
  if (!one) return false;
  std::optional<FoundCall> found = find_call(*one, 0, 0);
  if (!found) return false;
  CallFormat f = found->format;
  const std::string_view single = *one;
  const std::optional<std::string> two = calls_text(p, probe, 2);
  const std::optional<FoundCall> first = two ? find_call(*two, 0, 0) : std::nullopt;
  const std::optional<FoundCall> second = first ? find_call(*two, first->span.end, 1) : std::nullopt;
  if (first && second && first->format.style == f.style && second->format.style == f.style) {
    const std::string_view both = *two;
    divide_markers(both.substr(0, first->span.begin),
                   both.substr(first->span.end, second->span.begin - first->span.end),
                   both.substr(second->span.end), f);
    out.parallel_calls = true;
  } else {
    f.call_begin = single.substr(0, found->span.begin);
    f.call_end = single.substr(found->span.end);
    if (trim_space(f.call_begin).ends_with('[') && trim_space(f.call_end).starts_with(']')) {
      f.list = true;
      f.section_begin = std::exchange(f.call_begin, {});
      f.section_begin.resize(f.section_begin.rfind('['));
      f.section_end = std::exchange(f.call_end, {});
      f.section_end.erase(0, f.section_end.find(']') + 1);
    }
  }
  if (!fits(f)) return false;
  out.calls = f;
  AnswerFormat check;
  check.calls = f;
  return static_cast<bool>(AnswerFormat::from_text(check.to_text()));
}

// A marker that the prompt's list of tools announces, or that the vocabulary has.
bool find_announced_marker(std::string_view prompt, const FormatHints& hints, CallFormat& out) {
  const auto is_begin = [](std::string_view s) {
    if (s.size() > kMaxMarker || s.size() < 3 || (s[0] != '<' && s[0] != '[')) return false;
    std::string lower(s);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    return (contains(lower, "tool_call") || contains(lower, "function_call")) && !contains(lower, "end") &&
           !contains(lower, "/");
  };
  const auto has_token = [&](std::string_view s) {
    return std::find(hints.control_tokens.begin(), hints.control_tokens.end(), s) !=
           hints.control_tokens.end();
  };
  std::string begin;
  for (const std::string& part : marker_parts(prompt)) {
    if (is_begin(part) && (part.back() == '>' || part.back() == ']')) {
      begin = part;
      break;
    }
  }
  for (const std::string& token : hints.control_tokens) {
    if (begin.empty() && is_begin(token)) begin = token;
  }
  if (begin.empty()) return false;
  out.style = CallStyle::any;
  out.section_begin = begin;
  // Its counterpart, where there is one.
  std::string ends[3] = {closing_tag(begin), begin, begin};
  if (begin.starts_with("<|")) ends[0] = "<|/" + begin.substr(2);
  for (size_t i = 1; i < 3; ++i) {
    const std::string_view word = i == 1 ? "start" : "begin";
    const size_t at = ends[i].find(word);
    ends[i] = at == npos ? std::string() : ends[i].replace(at, word.size(), "end");
  }
  for (const std::string& end : ends) {
    if (!end.empty() && (has_token(end) || contains(prompt, end))) {
      out.section_end = end;
      break;
    }
  }
  return true;
}

// Calls for models whose template knows none.
CallFormat generic_calls() {
  CallFormat f;
  f.style = CallStyle::json;
  f.call_begin = "<tool_call>\n";
  f.call_end = "\n</tool_call>";
  f.separator = "\n";
  f.name_key = "name";
  f.arguments_key = "arguments";
  f.key_order = {f.name_key, f.arguments_key};
  return f;
}

bool calls_behind_content(std::string_view whole, std::string_view prompt) {
  const std::string_view part = assistant_part(whole, prompt);
  const size_t content = part.find(kContent);
  return content != npos && contains(part.substr(content), kTools[0]);
}

void find_tools(const Prober& plain, AnswerFormat& out, const FormatHints& hints) {
  const Prober p{plain.chat_template, tool_list()};
  const std::vector<Value> question = {message("user", kUser)};
  const std::optional<std::string> prompt = p.render(question, true);
  out.lists_tools = prompt && contains(*prompt, kTools[0]) && contains(*prompt, kTools[1]);
  const Prober& with = prompt ? p : plain;
  const std::optional<std::string> start = prompt ? prompt : plain.render(question, true);
  const std::optional<std::string> answer = with.render({question[0], message("assistant", kContent)}, false);
  if (start && answer && contains(*answer, kContent)) {
    CallProbe probe;
    probe.prompt = *start;
    probe.plain_end = answer->substr(answer->rfind(kContent) + kContent.size());
    probe.thought_close = out.thinking.close;
    for (size_t i = 0; i < 4 && !out.renders_calls; ++i) {
      out.string_arguments = i >= 2;
      out.null_content = i % 2 == 1;
      probe.arguments = out.string_arguments ? arguments_text() : arguments_object();
      probe.content = out.null_content ? CallContent::none : CallContent::empty;
      out.renders_calls = find_calls(with, probe, out);
    }
  }
  const CallContent content = out.null_content ? CallContent::none : CallContent::empty;
  if (!out.renders_calls) {
    out.string_arguments = out.null_content = false;
    if (!out.lists_tools || !find_announced_marker(*prompt, hints, out.calls)) {
      out.lists_tools = false;  // without calls the list is of no use
      out.calls = generic_calls();
    }
    out.parallel_calls = true;
  } else {
    const Value arguments = out.string_arguments ? arguments_text() : arguments_object();
    const auto beside = with.render({question[0], call_message(1, arguments, CallContent::text)}, false);
    out.renders_content = beside && calls_behind_content(*beside, *start);
    const auto long_id = with.render({question[0], call_message(1, arguments, content, kLongId)}, false);
    if (!long_id) out.call_id_length = kIdLength;
  }
  const DictBuilder result;
  result->set("role", str("tool"));
  result->set("name", str(kTools[0]));
  result->set("tool_call_id", str(kIds[0]));
  result->set("content", str(kResult));
  const Value call =
      out.renders_calls
          ? call_message(1, out.string_arguments ? arguments_text() : arguments_object(), content)
          : message("assistant", kContent);
  const auto results = with.render({question[0], call, result.value()}, true);
  out.renders_results = results && contains(*results, kResult);
}

}  // namespace

AnswerFormat derive_answer_format(const ChatTemplate& chat_template, const FormatHints& hints) {
  AnswerFormat out;
  Prober p{chat_template, Value::none()};
  const std::vector<Value> question = {message("user", kUser)};
  if (!p.render(question, true)) {
    p.tools = Value::list({});
    out.empty_tools = p.render(question, true).has_value();
  }
  const auto system = p.render({message("system", kSystem), question[0]}, true);
  out.system_role = system && contains(*system, kSystem);
  out.thinking = find_thinking(p);
  find_tools(p, out, hints);
  return out;
}

}  // namespace forge::rt
