#include "runtime/core/answer_format.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "runtime/core/jinja_json.h"

namespace forge::rt {

namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr size_t kMaxMarker = 256;  // bytes; more is no marker, and a parser's work grows with it

constexpr std::array<std::string_view, 3> kPromptThinkingNames = {"leaves", "opens", "closes"};
constexpr std::array<std::string_view, 6> kCallStyleNames = {"none", "json",   "named_json",
                                                             "xml",  "python", "any"};

// Calls visit(name, member) for each member, in the order of the text form.
template <class Format, class Visit>
void each_member(Format& f, Visit visit) {
  visit("thinking.open", f.thinking.open);
  visit("thinking.close", f.thinking.close);
  visit("thinking.message_key", f.thinking.message_key);
  visit("thinking.variable", f.thinking.variable);
  visit("thinking.on_by_default", f.thinking.on_by_default);
  visit("thinking.by_default", f.thinking.by_default);
  visit("thinking.when_on", f.thinking.when_on);
  visit("thinking.when_off", f.thinking.when_off);
  visit("calls.style", f.calls.style);
  visit("calls.list", f.calls.list);
  visit("calls.section_begin", f.calls.section_begin);
  visit("calls.call_begin", f.calls.call_begin);
  visit("calls.call_end", f.calls.call_end);
  visit("calls.separator", f.calls.separator);
  visit("calls.section_end", f.calls.section_end);
  visit("calls.name_end", f.calls.name_end);
  visit("calls.id_end", f.calls.id_end);
  visit("calls.parameter_begin", f.calls.parameter_begin);
  visit("calls.parameter_middle", f.calls.parameter_middle);
  visit("calls.parameter_end", f.calls.parameter_end);
  visit("calls.name_key", f.calls.name_key);
  visit("calls.arguments_key", f.calls.arguments_key);
  visit("calls.id_key", f.calls.id_key);
  visit("calls.key_order", f.calls.key_order);
  visit("system_role", f.system_role);
  visit("lists_tools", f.lists_tools);
  visit("empty_tools", f.empty_tools);
  visit("renders_calls", f.renders_calls);
  visit("renders_content", f.renders_content);
  visit("renders_results", f.renders_results);
  visit("parallel_calls", f.parallel_calls);
  visit("string_arguments", f.string_arguments);
  visit("null_content", f.null_content);
  visit("call_id_length", f.call_id_length);
}

struct Writer {
  std::string out;

  void write(const std::string& s) { jinja::append_json_string(out, s); }
  void write(std::string_view s) { jinja::append_json_string(out, s); }
  void write(bool b) { out += b ? "true" : "false"; }
  void write(uint32_t n) { out += std::to_string(n); }
  void write(PromptThinking p) { write(kPromptThinkingNames[static_cast<size_t>(p)]); }
  void write(CallStyle s) { write(kCallStyleNames[static_cast<size_t>(s)]); }
  void write(const std::vector<std::string>& list) {
    out += '[';
    for (size_t i = 0; i < list.size(); ++i) {
      if (i > 0) out += ", ";
      write(list[i]);
    }
    out += ']';
  }
};

bool read(const jinja::Value& v, std::string& out) {
  if (!v.is_string() || v.as_string().size() > kMaxMarker) return false;
  out = v.as_string();
  return true;
}
bool read(const jinja::Value& v, bool& out) {
  out = v.is(jinja::Type::boolean) && v.as_bool();
  return v.is(jinja::Type::boolean);
}
bool read(const jinja::Value& v, uint32_t& out) {
  if (!v.is(jinja::Type::integer) || v.as_int() < 0 || v.as_int() > 64) return false;
  out = static_cast<uint32_t>(v.as_int());
  return true;
}
template <class Enum, size_t n>
bool read_name(const jinja::Value& v, const std::array<std::string_view, n>& names, Enum& out) {
  if (!v.is_string()) return false;
  for (size_t i = 0; i < n; ++i) {
    if (v.as_string() != names[i]) continue;
    out = static_cast<Enum>(i);
    return true;
  }
  return false;
}
bool read(const jinja::Value& v, PromptThinking& out) { return read_name(v, kPromptThinkingNames, out); }
bool read(const jinja::Value& v, CallStyle& out) { return read_name(v, kCallStyleNames, out); }
bool read(const jinja::Value& v, std::vector<std::string>& out) {
  if (!v.is_sequence(jinja::SequenceKind::list) || v.as_sequence().items.size() > 3) return false;
  for (const jinja::Value& item : v.as_sequence().items) {
    if (!read(item, out.emplace_back())) return false;
  }
  return true;
}

// What a parser and a writer rely on.
bool is_complete(const AnswerFormat& f) {
  const CallFormat& c = f.calls;
  if (f.thinking.open.empty() != f.thinking.close.empty()) return false;
  if (trim_space(f.thinking.open) != f.thinking.open || trim_space(f.thinking.close) != f.thinking.close)
    return false;
  if (c.style == CallStyle::json) {
    const auto in_order = [&](const std::string& key) {
      return std::count(c.key_order.begin(), c.key_order.end(), key) == 1;
    };
    if (c.name_key.empty() || c.arguments_key.empty() || !in_order(c.name_key) || !in_order(c.arguments_key))
      return false;
    if (c.key_order.size() != (c.id_key.empty() ? 2u : 3u) || (!c.id_key.empty() && !in_order(c.id_key)))
      return false;
  }
  const bool has_begin = !trim_space(c.section_begin).empty() || !trim_space(c.call_begin).empty();
  if ((c.style == CallStyle::named_json || c.style == CallStyle::xml || c.style == CallStyle::any) &&
      !has_begin)
    return false;
  if (c.style == CallStyle::named_json && !c.id_end.empty() &&
      (trim_space(c.name_end).empty() || trim_space(c.id_end).empty()))
    return false;
  if (c.style == CallStyle::xml) {
    return !trim_space(c.parameter_begin).empty() && !trim_space(c.parameter_middle).empty() &&
           !trim_space(c.parameter_end).empty() && !trim_space(c.call_end).empty();
  }
  return true;
}

// A JSON value as Python's literal: only its three words differ.
void append_python(std::string& out, std::string_view json) {
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < json.size()) {
        out += json[++i];
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == 't' || c == 'f' || c == 'n') {
      out += c == 't' ? "True" : c == 'f' ? "False" : "None";
      i += c == 'f' ? 4 : 3;
    } else {
      in_string = c == '"';
      out += c;
    }
  }
}

void write_call(std::string& out, const CallFormat& f, const ToolCall& call) {
  out += f.call_begin;
  switch (f.style) {
    case CallStyle::none: break;
    case CallStyle::json: {
      out += '{';
      bool first = true;
      for (const std::string& key : f.key_order) {
        if (!std::exchange(first, false)) out += ", ";
        jinja::append_json_string(out, key);
        out += ": ";
        if (key == f.arguments_key) {
          out += call.arguments;
        } else {
          jinja::append_json_string(out, key == f.name_key ? call.name : call.id);
        }
      }
      out += '}';
      break;
    }
    case CallStyle::any:
      out += "{\"name\": ";
      jinja::append_json_string(out, call.name);
      out += ", \"arguments\": " + call.arguments + '}';
      break;
    case CallStyle::named_json:
      out += call.name + f.name_end;
      if (!f.id_end.empty()) out += call.id + f.id_end;
      out += call.arguments;
      break;
    case CallStyle::xml:
      out += call.name + f.name_end;
      for (const jinja::JsonMember& argument : jinja::json_members(call.arguments)) {
        const Result<jinja::Value> value = jinja::parse_json(argument.value);
        out += f.parameter_begin + argument.key + f.parameter_middle;
        out += value && value->is_string() ? std::string_view(value->as_string()) : argument.value;
        out += f.parameter_end;
      }
      break;
    case CallStyle::python: {
      out += call.name + '(';
      bool first = true;
      for (const jinja::JsonMember& argument : jinja::json_members(call.arguments)) {
        if (!std::exchange(first, false)) out += ", ";
        out += argument.key + '=';
        append_python(out, argument.value);
      }
      out += ')';
      break;
    }
  }
  out += f.call_end;
}

}  // namespace

std::string_view trim_space(std::string_view s) {
  const size_t begin = s.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return s.substr(begin, s.find_last_not_of(kSpace) + 1 - begin);
}

std::vector<std::string> marker_parts(std::string_view marker) {
  std::vector<std::string> parts;
  for (size_t pos = 0; pos < marker.size();) {
    if (kSpace.find(marker[pos]) != std::string_view::npos) {
      ++pos;
      continue;
    }
    size_t end = marker.find_first_of("<[ \t\r\n", pos + 1);
    if (marker[pos] == '<') {
      const size_t close = marker.find('>', pos);
      if (close < end) end = close + 1;
    } else if (marker[pos] == '[') {
      const size_t close = marker.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_/", pos + 1);
      end = close != std::string_view::npos && close > pos + 1 && marker[close] == ']' ? close + 1 : pos + 1;
    }
    end = std::min(end, marker.size());
    parts.emplace_back(marker.substr(pos, end - pos));
    pos = end;
  }
  return parts;
}

bool AnswerFormat::has_marker(std::string_view token_name) const {
  if (token_name.empty()) return false;
  const std::string* markers[] = {&thinking.open,         &thinking.close,         &calls.section_begin,
                                  &calls.call_begin,      &calls.call_end,         &calls.separator,
                                  &calls.section_end,     &calls.name_end,         &calls.id_end,
                                  &calls.parameter_begin, &calls.parameter_middle, &calls.parameter_end};
  return std::any_of(std::begin(markers), std::end(markers), [&](const std::string* marker) {
    return marker->find(token_name) != std::string::npos;
  });
}

std::string AnswerFormat::to_text() const {
  Writer w;
  w.out = "{\"version\": 1";
  each_member(*this, [&](std::string_view name, const auto& member) {
    w.out += ", ";
    w.write(name);
    w.out += ": ";
    w.write(member);
  });
  return w.out + '}';
}

Result<AnswerFormat> AnswerFormat::from_text(std::string_view text) {
  const Result<jinja::Value> parsed = jinja::parse_json(text);
  if (!parsed) return Error{"answer format: " + parsed.error().message};
  if (!parsed->is(jinja::Type::dict)) return Error{"answer format: expected a JSON object"};
  const jinja::Dict& d = parsed->as_dict();
  const jinja::Value* version = d.find("version");
  if (version == nullptr || !version->is(jinja::Type::integer) || version->as_int() != 1) {
    return Error{"answer format: expected version 1; compile the model again"};
  }
  AnswerFormat f;
  std::string wrong;
  each_member(f, [&](std::string_view name, auto& member) {
    const jinja::Value* value = d.find(name);
    if (wrong.empty() && (value == nullptr || !read(*value, member))) wrong = name;
  });
  if (!wrong.empty()) return Error{"answer format: '" + wrong + "' is missing or out of range"};
  if (!is_complete(f)) return Error{"answer format: markers or keys that its style needs are missing"};
  return f;
}

std::string write_calls(const CallFormat& format, const std::vector<ToolCall>& calls) {
  if (format.style == CallStyle::none || calls.empty()) return {};
  const bool list = format.list || format.style == CallStyle::any;
  std::string out = format.section_begin;
  if (list) out += '[';
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i > 0) out += list && format.separator.empty() ? ", " : format.separator;
    write_call(out, format, calls[i]);
  }
  if (list) out += ']';
  return out + format.section_end;
}

}  // namespace forge::rt
